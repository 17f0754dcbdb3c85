package api

import (
	"net/http"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// timeOf reads a moment of a run; the zero time is where none is said.
func timeOf(q *http.Request, key string) (at time.Time, err error) {
	text := q.URL.Query().Get(key)
	if text == "" {
		return at, nil
	}
	if at, err = time.Parse(time.RFC3339, text); err != nil {
		return at, invalid("%s %.40q is no time; write one as RFC 3339 has it: 2026-01-31T15:04:05Z", key, text)
	}
	if at.Year() < 1970 || at.Year() > 2200 { // Nanoseconds would not count beyond.
		return at, invalid("%s %.40q is a time in which no run was; write one of the run's", key, text)
	}
	return at, nil
}

// brushOf is the time of which a field is asked; until now, and since ever, where only one end is said.
func brushOf(q *http.Request) (from, to time.Time, asked bool, err error) {
	if from, err = timeOf(q, "from"); err != nil {
		return from, to, false, err
	}
	if to, err = timeOf(q, "to"); err != nil {
		return from, to, false, err
	}
	if asked = !from.IsZero() || !to.IsZero(); from.IsZero() {
		from = time.Unix(0, 0)
	}
	if to.IsZero() {
		to = time.Now()
	}
	if asked && to.Before(from) {
		return from, to, false, invalid("to is before from; write the earlier time as from")
	}
	return from, to, asked, nil
}

// within notes which activations of a step were queued or at work between two times: by the history, and those that are open since before its end.
func (a *API) within(id journal.RunID, step string, from, to time.Time, v *survey) error {
	size := 1
	if c := v.groups[step]; c != nil {
		size = max(size, len(c.many))
	}
	v.within = make([]byte, (size+7)/8)
	mark := func(index int) {
		if index = max(index, 0); index < size {
			v.within[index/8] |= 1 << (index % 8)
		}
	}
	for _, x := range v.spans {
		if x.group == step && x.since <= to.UnixNano() {
			mark(x.index)
		}
	}
	return a.Past.Within(id, step, from, to, mark)
}

// enterOpen adds what is open now to strips: it was queued, or at work, from when it opened until their end.
func enterOpen(t *engine.Strips, open []openStep, now time.Time) {
	bins := 0
	by := make(map[string]*engine.Strip)
	for _, s := range t.Strips {
		by[s.Path], bins = s, len(s.Running)
	}
	if bins == 0 {
		return
	}
	from, to := t.From.UnixNano(), t.To.UnixNano()
	bin := func(at int64) int { return max(0, min(bins-1, int(float64(at-from)/float64(to-from)*float64(bins)))) }
	var key []byte
	for _, x := range open {
		if x.since > to || now.UnixNano() < from {
			continue
		}
		key = engine.AppendPattern(key[:0], x.group)
		if x.index >= 0 {
			key = append(key, "[*]"...)
		}
		s := by[string(key)]
		if s == nil {
			s = &engine.Strip{Path: string(key), Queued: make([]int, bins), Running: make([]int, bins), Failed: make([]int, bins)}
			by[s.Path], t.Strips = s, append(t.Strips, s)
		}
		into := s.Running
		if x.is == engine.StepQueued {
			into = s.Queued
		}
		s.Total++
		for i := bin(x.since); i <= bin(min(to, now.UnixNano())); i++ {
			into[i]++
		}
	}
}
