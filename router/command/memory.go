package command

import (
	"context"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// spareMemory lets the collector leave less unused the larger the heap is: half a million idle runs are to take what they keep and little more, while a
// small router is not to collect all the time. What the process may have at most is a limit to the collector too. A GOGC or a GOMEMLIMIT in the
// environment is left as it is.
func spareMemory(ctx context.Context) {
	most := debug.SetMemoryLimit(-1) // That of GOMEMLIMIT.
	if os.Getenv("GOMEMLIMIT") == "" {
		if bound := memoryLimit(); bound < most {
			most = bound
			debug.SetMemoryLimit(most)
			slog.Debug("the collector keeps to the process's limit of memory", "bytes", most)
		}
	}
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for percent := 100; ; {
		metrics.Read(live)
		if next := percentFor(live[0].Value.Uint64(), most); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			debug.SetGCPercent(100)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// memoryLimit is nine tenths, in bytes, of what the process may have: the least of its control group's limit and of ulimit -d; math.MaxInt64 without one.
// The tenth is for what Go does not count.
func memoryLimit() int64 {
	most := dataLimit()
	if group, err := memlimit.FromCgroup(); err == nil { // No group, or none with a limit: there is nothing to keep to.
		most = min(most, group)
	}
	if most > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(most / 10 * 9)
}

// smallHeap is what a heap may come to before less than as much again is left unused.
const smallHeap = 512 << 20

// percentFor is what may be unused, in percent of what is live: as much again, as long as both fit in a small heap, or in three quarters of what there may
// be at most; beyond, a third, and of what half a million runs keep a fifth. (A process of 300 MiB holds partitions that are full: decision 0014.)
func percentFor(live uint64, most int64) int {
	spare := 35
	switch {
	case live >= 512<<20:
		spare = 20
	case live >= 384<<20:
		spare = 25
	}
	small := min(smallHeap, most/4*3)
	return min(max(int(small*100/int64(max(live, 1)))-100, spare), 100)
}
