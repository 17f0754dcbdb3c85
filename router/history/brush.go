package history

import (
	"bytes"
	"container/heap"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Within gives the indexes of a step's activations that were queued or at work between two times and have ended, some of them more than once: those whose
// paths without the last index are group.
func (h *Endings) Within(run journal.RunID, group string, from, to time.Time, yield func(index int)) error {
	begin, end, spoiled := from.UnixNano(), to.UnixNano(), false
	err := h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		x := r.head()
		if spoiled = r.bad; spoiled {
			return false
		}
		if x.ended >= begin && x.queued <= end {
			if of, index := engine.SplitPath(x.path); string(of) == group {
				yield(index)
			}
		}
		return true
	})
	if err == nil && spoiled {
		err = errSpoiled
	}
	return err
}

// Slowest gives the calls of a run that took longest, the slowest first: from when they were to be sent until their outcome counted.
func (h *Endings) Slowest(run journal.RunID, limit int) ([]*engine.PastStep, error) {
	var found slowest
	spoiled := false
	err := h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		x := r.head()
		if spoiled = r.bad; spoiled {
			return false
		}
		took := x.ended - x.queued
		if x.marks&markCall == 0 || x.verdict == lang.Skipped || len(found) == limit && took <= found[0].took {
			return true
		}
		if heap.Push(&found, slow{took, bytes.Clone(text)}); len(found) > limit {
			heap.Pop(&found)
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case spoiled:
		return nil, errSpoiled
	}
	slices.SortStableFunc(found, func(a, b slow) int { return int(max(-1, min(1, b.took-a.took))) })
	steps := make([]*engine.PastStep, len(found))
	for i := range found {
		if steps[i], err = decodeStep(run, found[i].text); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

type slow struct {
	took int64
	text []byte
}

// slowest has the quickest of them on top.
type slowest []slow

func (s slowest) Len() int           { return len(s) }
func (s slowest) Less(i, j int) bool { return s[i].took < s[j].took }
func (s slowest) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *slowest) Push(x any)        { *s = append(*s, x.(slow)) }
func (s *slowest) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
