package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/onward-router/onward/router/engine"
)

// A text is looked for in so many ended runs at a time, and for so long: who asks goes on behind them.
const (
	searchMost = 50_000
	searchTime = 500 * time.Millisecond
)

// A Looked says how far a text was looked for.
type Looked struct {
	Runs  int       `json:"runs"`  // ended ones, that were looked at for this part
	Left  int       `json:"left"`  // that may be asked for, and lie behind
	Last  time.Time `json:"last"`  // when the last of those that were looked at began
	Until string    `json:"until"` // its place, as a cursor
}

// A search is for a text in what is kept of ended runs: in the order of the list, so that it may be stopped anywhere.
type search struct {
	q    *runQuery
	most int
	all  []sought
	left int
}

type sought struct {
	place engine.Place
	head  engine.EndHead
}

// keep notes a run that is to be looked at.
func (s *search) keep(x *engine.EndHead) {
	place := s.q.placeOf(x)
	if s.q.after != nil && place.Compare(*s.q.after) <= 0 {
		return
	}
	if s.all = append(s.all, sought{place, *x}); len(s.all) >= 2*s.most {
		s.cut()
	}
}

// cut leaves out those that lie behind as many as are looked at.
func (s *search) cut() {
	slices.SortFunc(s.all, func(a, b sought) int { return a.place.Compare(b.place) })
	if n := len(s.all) - s.most; n > 0 {
		s.left += n
		s.all = s.all[:s.most]
	}
}

// look looks at as many as there is time for, and adds those that have the text.
func (s *search) look(ctx context.Context, read endReader, found *runsFound, open []engine.Seen) error {
	s.cut()
	begin := time.Now()
	n := 0
	for n < len(s.all) && (n%64 != 0 || n == 0 || time.Since(begin) < searchTime) {
		x := &s.all[n].head
		is, err := s.q.hasText(x, read)
		if err != nil || ctx.Err() != nil {
			return cmp.Or(err, ctx.Err())
		}
		if is {
			found.ends(s.q, x, open)
		}
		n++
	}
	if left := s.left + len(s.all) - n; left > 0 {
		last := &s.all[n-1]
		found.looked = &Looked{Runs: n, Left: left, Last: time.Unix(0, last.head.Started).UTC(), Until: runCursor(last.place)}
		found.until = last.place
	}
	return nil
}

// lookedToo adds how far another router has looked: all of what is before the nearer of both places is known.
func (f *runsFound) lookedToo(theirs *Looked) {
	if theirs == nil {
		return
	}
	until, err := parseRunPlace(theirs.Until)
	if err != nil {
		return // It is none of ours, whatever it is.
	}
	if f.looked == nil {
		f.looked = theirs
		f.until = *until
		return
	}
	f.looked.Runs, f.looked.Left = f.looked.Runs+theirs.Runs, f.looked.Left+theirs.Left
	if until.Compare(f.until) < 0 {
		f.looked.Until, f.looked.Last, f.until = theirs.Until, theirs.Last, *until
	}
}
