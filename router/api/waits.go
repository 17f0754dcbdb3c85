package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/onward-router/onward/router/engine"
)

// A WaitLine is a step of a run that waits for a signal.
type WaitLine struct {
	Run     string `json:"run"`
	Tenant  string `json:"tenant"`
	Trigger string `json:"trigger"`
	engine.Await
	Paused  *engine.Pause `json:"paused,omitempty"` // its run
	Event   string        `json:"event,omitempty"`  // id of what started it
	Subject string        `json:"subject,omitempty"`
}

// A WaitList is who waits for signals, the longest first.
type WaitList struct {
	Waits []WaitLine `json:"waits"`
	Total int        `json:"total"`          // whatever the part
	Next  string     `json:"next,omitempty"` // cursor of the next part; empty: there is no more
}

// getWaits lists who waits for which signal since when.
func (a *API) getWaits(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	tenant, err := tenantAsked(r, v.Get("tenant"))
	if err != nil {
		return err
	}
	after, err := cursorOf(v.Get("after"))
	if err != nil {
		return err
	}
	behind := func(run string, x *engine.Await) bool {
		return after == engine.Cursor{} || waitCursor(run, x).compare(after) > 0
	}
	run, trigger, signal := strings.ToLower(v.Get("run")), v.Get("trigger"), v.Get("signal")
	said := WaitList{Waits: []WaitLine{}}
	counts := make(map[string]int) // by run: one may be looked at twice
	err = a.Shards.List(r.Context(), engine.Listing{Limit: limit + 1, Waits: true, Want: func(x *engine.Summary) (int64, bool) {
		if run != "" && x.Run.String() != run || tenant != "" && x.Tenant != tenant || trigger != "" && x.Trigger != trigger {
			return 0, false
		}
		if signal != "" {
			x.Awaits = slices.DeleteFunc(x.Awaits, func(y engine.Await) bool { return y.Signal != signal })
		}
		if len(x.Awaits) == 0 {
			return 0, false
		}
		counts[x.Run.String()] = len(x.Awaits)
		x.Awaits = slices.DeleteFunc(x.Awaits, func(y engine.Await) bool { return !behind(x.Run.String(), &y) })
		if len(x.Awaits) == 0 {
			return 0, false
		}
		x.Awaits = x.Awaits[:min(len(x.Awaits), limit+1)]
		return x.Awaits[0].Since.UnixNano(), true
	}}, func(part *engine.Listing) {
		for _, x := range part.Runs() {
			var attrs struct{ ID, Subject string }
			_ = x.Event.Decode(&attrs) // What it does not tell is left out.
			for _, y := range x.Awaits {
				said.Waits = append(said.Waits, WaitLine{x.Run.String(), x.Tenant, x.Trigger, y, x.Paused, attrs.ID, attrs.Subject})
			}
		}
	})
	if err != nil {
		return err
	}
	for _, n := range counts {
		said.Total += n
	}
	more := false
	unanswered := a.Cluster.Gather(r, func() (any, func()) {
		theirs := new(WaitList)
		return theirs, func() {
			said.Total += theirs.Total
			more = more || theirs.Next != ""
			said.Waits = append(said.Waits, theirs.Waits...)
		}
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	said.cut(limit, more)
	return reply(w, http.StatusOK, said)
}

// cursorOf reads where a list goes on; without a text it is the zero one.
func cursorOf(text string) (after engine.Cursor, err error) {
	if text == "" {
		return after, nil
	}
	if after, err = engine.ParseCursor(text); err != nil {
		return after, invalid("after: %w", err)
	}
	return after, nil
}

// cut sorts, and leaves so many.
func (l *WaitList) cut(limit int, more bool) {
	slices.SortStableFunc(l.Waits, func(x, y WaitLine) int {
		return waitCursor(x.Run, &x.Await).compare(waitCursor(y.Run, &y.Await).Cursor)
	})
	more = more || len(l.Waits) > limit
	l.Waits = l.Waits[:min(len(l.Waits), limit)]
	if n := len(l.Waits); more && n > 0 {
		l.Next = waitCursor(l.Waits[n-1].Run, &l.Waits[n-1].Await).String()
	}
}

// A waitPlace is where a wait stands in the list: the longest first, and those of one moment by run, step and signal.
type waitPlace struct{ engine.Cursor }

func waitCursor(run string, x *engine.Await) waitPlace {
	return waitPlace{engine.Cursor{N: x.Since.UnixNano(), ID: run + "/" + x.Path + "/" + x.Signal}}
}

func (p waitPlace) compare(o engine.Cursor) int {
	return cmp.Or(cmp.Compare(p.N, o.N), strings.Compare(p.ID, o.ID))
}
