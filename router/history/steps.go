package history

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Timeline gives up to limit steps of a run behind a cursor; failed asks only for those that failed for good.
func (h *Endings) Timeline(run journal.RunID, after string, limit int, failed bool) (*engine.Timeline, error) {
	from, err := h.store.cursor(after)
	if err != nil {
		return nil, err
	}
	stream := byte(streamSteps)
	if failed {
		stream = streamFailed
	}
	t := &engine.Timeline{Steps: []*engine.PastStep{}}
	var last place
	var bad error
	err = h.store.walk(stream, run, from, func(at place, text []byte) bool {
		if len(t.Steps) == limit {
			t.Next = h.store.name + ":" + last.String()
			return false
		}
		var s *engine.PastStep
		if s, bad = decodeStep(run, text); bad != nil {
			return false
		}
		t.Steps, last = append(t.Steps, s), at
		return true
	})
	if err == nil {
		err = bad
	}
	if err == nil && len(t.Steps) > 0 {
		t.Missing, err = h.missing(t.Steps[0].Queued.UnixNano(), t.Steps[len(t.Steps)-1].Ended.UnixNano())
	}
	return t, err
}

// missing counts what was let go of in a time, and has not been brought since.
func (h *Endings) missing(from, to int64) (n int, err error) {
	h.store.mu.RLock()
	for _, x := range h.store.holes {
		if x.from <= to && x.to >= from {
			n += x.entries
		}
	}
	h.store.mu.RUnlock()
	err = h.store.walk(streamSteps, journal.RunID{}, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		if count, first, last := r.uint(), r.int(), r.int(); first <= to && last >= from {
			n += int(count)
		}
		return true
	})
	return n, err
}

func appendGap(b []byte, g *gap) []byte {
	return binary.AppendVarint(binary.AppendVarint(binary.AppendUvarint(b, uint64(g.entries)), g.from), g.to)
}

// Outcomes gives what the successful invocations of a run gave, by path and number, until yield returns false. One of which only a part is kept is not
// among them.
func (h *Endings) Outcomes(run journal.RunID, yield func(path string, n uint32, output lang.Value) bool) error {
	var bad error
	err := h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		if x := r.head(); x.verdict != lang.Succeeded || x.marks&markCall == 0 || x.marks&(markDelivery|markOutputCut) != 0 {
			return true
		}
		s, err := decodeStep(run, text)
		if bad = err; err != nil {
			return false
		}
		return yield(s.Path, s.N, s.Output)
	})
	if err == nil {
		err = bad
	}
	return err
}

// A summing is a StepSummary on its way.
type summing struct {
	engine.StepSummary
	took []int64
}

// Summary sums a run's steps up by their paths, in the order in which they began.
func (h *Endings) Summary(run journal.RunID) ([]*engine.StepSummary, error) {
	by := make(map[string]*summing)
	var all []*engine.StepSummary
	var sums []*summing
	var key []byte
	var bad bool
	err := h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		x := r.head()
		if bad = r.bad; bad {
			return false
		}
		key = engine.AppendPattern(key[:0], x.path)
		s := by[string(key)]
		if s == nil {
			s = &summing{StepSummary: engine.StepSummary{Path: string(key), First: at(x.queued)}}
			by[s.Path], sums = s, append(sums, s)
		}
		s.count(&x)
		return true
	})
	if err == nil && bad {
		err = errSpoiled
	}
	for _, s := range sums {
		all = append(all, &s.StepSummary)
		slices.Sort(s.took)
		if n := len(s.took); n > 0 {
			s.Min, s.P50, s.P95, s.Max = plugin.Duration(s.took[0]), plugin.Duration(s.took[(n-1)/2]), plugin.Duration(s.took[(n-1)*95/100]), plugin.Duration(s.took[n-1])
		}
	}
	slices.SortStableFunc(all, func(a, b *engine.StepSummary) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	return all, err
}

func (s *summing) count(x *head) {
	if q := at(x.queued); q.Before(s.First) {
		s.First = q
	}
	if e := at(x.ended); e.After(s.Last) {
		s.Last = e
	}
	if x.marks&markCall != 0 {
		s.Calls++
	}
	if t, known := x.times(); known {
		if s.Times == nil {
			s.Times = new(engine.Times)
		}
		s.Times.Add(t)
	}
	s.took = append(s.took, x.ended-x.queued)
	switch {
	case x.marks&markAgain != 0:
		s.Again++
	case x.verdict == lang.Succeeded || x.verdict == lang.Continue:
		s.Succeeded++
	case x.verdict == lang.Failed:
		s.Failed++
	case x.verdict == lang.Skipped:
		s.Skipped++
	default:
		s.Cancelled++
	}
}
