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
		case <-time.After(time.Second):
		}
	}
}

// percentFor is what may be unused, in percent of what is live.
func percentFor(live uint64) int {
	switch {
	case live < 64<<20:
		return 100
	case live < 192<<20:
		return 70
	}
	return 35
}
