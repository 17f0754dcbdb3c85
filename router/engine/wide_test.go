package engine_test

import (
	"runtime"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestWideJoin folds a join of a million that is decided by its last children: those cost what the first did, in allocations and in bytes, the state stays
// as small, and the join ends with the one that is enough.
func TestWideJoin(t *testing.T) { // Not parallel: it counts allocations.
	const n, part = 1_000_000, 20_000
	reg := registry()
	def := defined(t, reg, "{ map: { items: 1000000, window: 1000, results: count, join: { atLeast: 999990 }, do: { function: f } } }")
	l := begun(t, reg)
	var open []*engine.Invocation
	fold := func(rec journal.Record) {
		t.Helper()
		l.must(rec)
		open = append(open, l.out.Send...)
	}
	fold(defineRecord(def))
	fold(startRecord(1, def, lang.Null))
	done := func(children int) (mallocs, bytes uint64) {
		var before, after runtime.MemStats
		open = append(make([]*engine.Invocation, 0, len(open)+children), open...)
		runtime.ReadMemStats(&before)
		for range children {
			inv := open[0]
			open = open[1:]
			fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)}))
		}
		runtime.ReadMemStats(&after)
		return (after.Mallocs - before.Mallocs) / uint64(children), (after.TotalAlloc - before.TotalAlloc) / uint64(children)
	}
	done(part) // What grows once has grown.
	firstMallocs, firstBytes := done(part)
	done(n - 5*part)
	small := len(savedBytes(t, l.state))
	lastMallocs, lastBytes := done(part)
	done(2*part - 2000)
	t.Logf("a completion allocates %d times, %d bytes at first, and %d times, %d bytes at last; a snapshot has %d bytes", firstMallocs, firstBytes, lastMallocs, lastBytes, small)
	if lastMallocs > firstMallocs+1 || lastBytes > firstBytes+firstBytes/4 || small > 1<<20 {
		t.Errorf("the last completions allocate %d times, %d bytes each, the first did %d times, %d bytes; a snapshot has %d bytes", lastMallocs, lastBytes, firstMallocs, firstBytes, small)
	}
	for len(l.out.Ended) == 0 {
		done(1)
	}
	if o := l.out.Ended[0].Outcome; o.Value.JSON() != `{"failed":0,"skipped":0,"succeeded":999990}` {
		t.Errorf("it ends with %v %v", o.Value, o.Err)
	}
	if st := l.state.Stats(); st.Timers != 0 || st.Invocations > 1 { // The event of its end.
		t.Errorf("left behind: %+v", st)
	}
}
