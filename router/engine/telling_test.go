package engine_test

import (
	"slices"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestStatusLooksAtWhatTellsMost: of many open children a status has those of which a try has failed first, then those that have been open for longest.
func TestStatusLooksAtWhatTellsMost(t *testing.T) {
	t.Parallel()
	reg := registry()
	def := defined(t, reg, "{ map: { items: 20, window: 6, do: { function: f, retry: { attempts: 3, backoff: 1h } } } }")
	l := begun(t, reg)
	var open []*engine.Invocation
	fold := func(rec journal.Record) {
		t.Helper()
		l.must(rec)
		open = append(open, l.out.Send...)
	}
	fold(defineRecord(def))
	fold(startRecord(1, def, lang.Null))
	done := func(i int, o lang.Outcome) {
		fold(engine.Record(journal.Completion, open[i].Run, &engine.CompletionFact{N: open[i].N, Outcome: o}))
	}
	done(0, lang.Success(lang.Null))                                        // 6 opens, the youngest but one.
	done(1, lang.Success(lang.Null))                                        // So does 7.
	done(4, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "broken"))) // 2, 3 and 5 are the oldest.
	for most, want := range [][]int{nil, {4}, {4, 2}, {4, 2, 3}, {4, 2, 3, 5}, {4, 2, 3, 5, 6}, {4, 2, 3, 5, 6, 7}, {4, 2, 3, 5, 6, 7}} {
		st, _ := l.state.Status(open[0].Run, most)
		if got := st.Root.Slots[0].Indexes; !slices.Equal(got, want) {
			t.Errorf("of %d: %v; want %v", most, got, want)
		}
	}
}
