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
	Total int        `json:"total"` // also those beyond the limit
}

// getWaits lists who waits for which signal since when.
func (a *API) getWaits(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	if err := checkKeys(v, []string{"run", "tenant", "trigger", "signal", "limit"}); err != nil {
		return err
	}
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	tenant, err := tenantAsked(r, v.Get("tenant"))
	if err != nil {
		return err
	}
	run, trigger, signal := strings.ToLower(v.Get("run")), v.Get("trigger"), v.Get("signal")
	said := WaitList{Waits: []WaitLine{}}
	counts := make(map[string]int) // by run: one may be looked at twice
	err = a.Shards.List(r.Context(), engine.Listing{Limit: limit, Waits: true, Want: func(x *engine.Summary) (int64, bool) {
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
		x.Awaits = x.Awaits[:min(len(x.Awaits), limit)]
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
	unanswered := a.Cluster.Gather(r, func() (any, func()) {
		theirs := new(WaitList)
		return theirs, func() {
			said.Total += theirs.Total
			said.Waits = append(said.Waits, theirs.Waits...)
		}
	})
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	slices.SortStableFunc(said.Waits, func(x, y WaitLine) int {
		return cmp.Or(x.Since.Compare(y.Since), strings.Compare(x.Run, y.Run), strings.Compare(x.Path, y.Path))
	})
	said.Waits = said.Waits[:min(len(said.Waits), limit)]
	return reply(w, http.StatusOK, said)
}
