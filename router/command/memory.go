package command

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// spareMemory lets the collector leave less unused the larger the heap is: half a million idle runs are to take what they keep and little more, while a
// small router is not to collect all the time. A GOGC in the environment is left as it is.
func spareMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for percent := 100; ; {
		metrics.Read(live)
		if next := percentFor(live[0].Value.Uint64()); next != percent {
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

// smallHeap is what a heap may come to before less than as much again is left unused: with what a process has beside it, 300 MiB hold a router whose
// partitions are full.
const smallHeap = 208 << 20

// percentFor is what may be unused, in percent of what is live: as much again, as long as both fit in a small heap; beyond, a third, and of what half a
// million runs keep a fifth.
func percentFor(live uint64) int {
	spare := 35
	switch {
	case live >= 512<<20:
		spare = 20
	case live >= 384<<20:
		spare = 25
	}
	return min(max(int(smallHeap*100/max(live, 1))-100, spare), 100)
}
