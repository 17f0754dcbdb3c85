package history

import (
	"fmt"
	"strings"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Mark is where the history of steps ends now: what is noted later lies behind it. It goes out as a cursor, and says whose it is.
func (h *Endings) Mark() string {
	s := h.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.last(streamSteps)
	if p == nil {
		return s.marking() + ":0.0"
	}
	return fmt.Sprintf("%s:%d.%d", s.marking(), p.n, p.entries)
}

// marking is whose a mark is. What was filled in since lies before it and is new. The lock is held.
func (s *Store) marking() string { return fmt.Sprintf("%s-%d", s.name, s.fillings) }

// mark reads what Mark gave: how many entries of which page lie before it. One that is another history's, or of what this one has lost, or empty, lies before
// everything; what was never a mark is refused.
func (s *Store) mark(text string) (p place, own bool, err error) {
	if text == "" {
		return p, false, nil
	}
	name, at, _ := strings.Cut(text, ":")
	if p, err = parsePlace(at); err != nil || at == "" || name == "" {
		return place{}, false, fmt.Errorf("%.60q is %w", text, engine.ErrCursor)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if name != s.marking() {
		return place{}, false, nil
	}
	var end place
	if last := s.last(streamSteps); last != nil {
		end = place{last.n, last.entries}
	}
	if end.page < p.page || end.page == p.page && end.entry < p.entry {
		return place{}, false, nil
	}
	return p, true, nil
}

// cursor reads a timeline's: the place of the last entry that was given. Another history has other places.
func (s *Store) cursor(text string) (place, error) {
	if text == "" {
		return place{page: -1}, nil
	}
	name, at, _ := strings.Cut(text, ":")
	p, err := parsePlace(at)
	switch {
	case err != nil || at == "":
		return p, fmt.Errorf("%.60q is %w", text, engine.ErrCursor)
	case name != s.name:
		return p, fmt.Errorf("%.60q is of another router's history, or of one that was lost since; leave after out to begin anew: %w", text, engine.ErrCursor)
	}
	return p, nil
}

// Became gives how each step of a run stands that has ended, as often as it ended, in order: its path without the last index, that index, -1 for none. late
// says that it was noted behind a mark. With after, a mark too, it gives what is behind that; it reports whether it could: a mark may be another history's,
// or of what was let go of since, and then it gives all.
func (h *Endings) Became(run journal.RunID, after, mark string, yield func(group []byte, index int, is engine.StepState, late bool)) (since bool, err error) {
	s := h.store
	from, since, err := s.mark(after)
	if err != nil {
		return false, err
	}
	at, _, err := s.mark(mark)
	if err != nil {
		return false, err
	}
	s.mu.RLock()
	if all := s.streams[streamSteps]; len(all) > 0 && from.page < all[0].n {
		from, since = place{}, false
	}
	s.mu.RUnlock()
	pages := s.pages(streamSteps, run, from.page)
	digests, err := s.digests(pages)
	if err != nil {
		return false, err
	}
	for _, p := range pages {
		late := p.n > at.page
		if d := digests[p.n]; d != nil && p.n != from.page && p.n != at.page {
			has, err := readDigest(d, run, func(group []byte, index int, is engine.StepState) bool {
				yield(group, index, is, late)
				return true
			})
			if has && err == nil {
				continue
			}
		} // One that is spoiled is none: the page says the same, again.
		raw, err := s.read(p)
		if err != nil {
			return false, err
		}
		if err := each(raw, func(i int, id journal.RunID, text []byte) bool {
			if id != run || p.n == from.page && i < from.entry {
				return true
			}
			if path, is, ok := became(text); ok {
				group, index := engine.SplitPath(path)
				yield(group, index, is, late || p.n == at.page && i >= at.entry)
			}
			return true
		}); err != nil {
			return false, err
		}
	}
	return since, nil
}

// digests returns those of pages that have one.
func (s *Store) digests(pages []*page) (map[int64][]byte, error) {
	found := make(map[int64][]byte, len(pages))
	d := s.file()
	if d == nil {
		s.mu.RLock()
		defer s.mu.RUnlock()
		for _, p := range pages {
			if p.digest != nil {
				found[p.n] = p.digest
			}
		}
		return found, nil
	}
	err := d.digests(pages, func(n int64, b []byte) { found[n] = b })
	s.broken.CompareAndSwap(false, isDamage(err))
	return found, err
}
