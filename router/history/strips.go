package history

import (
	"bytes"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// stripsMost bounds the steps that strips are kept for; those that began last are left out.
const stripsMost = 200

// Strips tells when a run's calls and steps were at work between two times: each of them while there are no more than single, else how many there were at a
// time, by the steps of the definition, in as many equal parts of that time as bins says.
func (h *Endings) Strips(run journal.RunID, from, to time.Time, bins, single int) (*engine.Strips, error) {
	t := &engine.Strips{From: from, To: to}
	w := window{from: from.UnixNano(), to: to.UnixNano(), bins: bins}
	by := make(map[string]*engine.Strip)
	var key []byte
	var texts [][]byte
	spoiled := false
	err := h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		x := r.head()
		if spoiled = r.bad; spoiled {
			return false
		}
		if x.ended < w.from || x.queued > w.to {
			return true
		}
		if len(texts) <= single {
			texts = append(texts, text)
		}
		key = engine.AppendPattern(key[:0], x.path)
		s := by[string(key)]
		if s == nil {
			if len(by) == stripsMost {
				t.Left++
				return true
			}
			s = &engine.Strip{Path: string(key), Queued: make([]int, bins+1), Running: make([]int, bins+1), Failed: make([]int, bins+1)}
			by[s.Path] = s
			t.Strips = append(t.Strips, s)
		}
		w.enter(s, &x)
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case spoiled:
		return nil, errSpoiled
	case len(texts) <= single:
		t.Strips, t.Steps = nil, []*engine.PastStep{}
		for _, text := range texts {
			s, err := decodeStep(run, text)
			if err != nil {
				return nil, err
			}
			t.Steps = append(t.Steps, s)
		}
		return t, nil
	}
	for _, s := range t.Strips {
		s.Queued, s.Running, s.Failed = sum(s.Queued), sum(s.Running), s.Failed[:bins]
	}
	return t, nil
}

// A window is a time in equal parts.
type window struct {
	from, to int64
	bins     int
}

// bin is the part that a time lies in; times outside are in the first or behind the last.
func (w *window) bin(at int64) int {
	if at <= w.from {
		return 0
	}
	return min(int(float64(at-w.from)/float64(w.to-w.from)*float64(w.bins)), w.bins)
}

// enter counts a step. What is at work from one part to another is added where it begins and taken off behind where it ends; sum makes numbers of that.
func (w *window) enter(s *engine.Strip, x *head) {
	s.Total++
	sent := x.sent
	if sent == 0 || sent > x.ended {
		sent = x.queued // It is a step with others in it, or nobody knows.
	}
	span := func(of []int, from, to int64) {
		if to < w.from || from > w.to {
			return
		}
		of[w.bin(from)]++
		if end := w.bin(to) + 1; end <= w.bins {
			of[end]--
		}
	}
	if sent > x.queued {
		span(s.Queued, x.queued, sent)
	}
	span(s.Running, sent, x.ended)
	if x.verdict == lang.Failed && x.ended <= w.to {
		s.Failed[w.bin(x.ended)]++
	}
}

func sum(of []int) []int {
	for i := 1; i < len(of); i++ {
		of[i] += of[i-1]
	}
	return of[:len(of)-1]
}

// Below gives the first steps of a run at a path and below it, in the order in which their ends were known, and whether there are more.
func (h *Endings) Below(run journal.RunID, path string, limit int) (steps []*engine.PastStep, more bool, err error) {
	var bad error
	err = h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		x := r.head()
		if r.bad {
			bad = errSpoiled
			return false
		}
		if rest, is := bytes.CutPrefix(x.path, []byte(path)); !is || len(rest) > 0 && rest[0] != '/' {
			return true
		}
		if more = len(steps) == limit; more {
			return false
		}
		var s *engine.PastStep
		s, bad = decodeStep(run, text)
		steps = append(steps, s)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return steps, more, err
}
