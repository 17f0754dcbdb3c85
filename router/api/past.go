package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// Lines is the media type of an answer that is a JSON value a line.
const Lines = "application/x-ndjson"

// The most that one answer has of what is asked for in parts, and what it has when nobody says.
const (
	partMost    = 10_000
	partDefault = 100
)

// A RunSteps is a part of what became of a run's steps. The last part of a run that is open has what its steps are at.
type RunSteps struct {
	Run string `json:"run"`
	engine.Timeline
	Open []*engine.PastStep `json:"open,omitempty"`
	More bool               `json:"more,omitempty"` // of those below a path, than the limit
	// Summary and Times, which are those of all its calls together, are told where the summary is asked for.
	Summary []*engine.StepSummary `json:"summary,omitempty"`
	Times   *engine.Times         `json:"times,omitempty"`
}

// sumUp takes over a summary.
func (r *RunSteps) sumUp(all []*engine.StepSummary) {
	r.Summary = all
	for _, s := range all {
		if s.Times == nil {
			continue
		}
		if r.Times == nil {
			r.Times = new(engine.Times)
		}
		r.Times.Add(*s.Times)
	}
}

func limitOf(q *http.Request) (int, error) {
	text := q.URL.Query().Get("limit")
	if text == "" {
		return partDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > partMost {
		return 0, fmt.Errorf("%w: limit %.40q is not a number from 1 to %d; for more, go on with after", errRequest, text, partMost)
	}
	return n, nil
}

// isTrue reads a flag; what is none was refused.
func isTrue(q *http.Request, name string) bool {
	is, _ := strconv.ParseBool(q.URL.Query().Get(name))
	return is
}

// getSteps tells what became of a run's steps, in parts; as lines, all of it.
func (a *API) getSteps(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	failed := isTrue(q, "failed")
	if strings.Contains(q.Header.Get("Accept"), Lines) {
		return a.streamSteps(w, q, id, failed)
	}
	if path := q.URL.Query().Get("path"); path != "" {
		return a.getBelow(w, q, id, path, limit)
	}
	said := &RunSteps{Run: id.String()}
	switch {
	case isTrue(q, "open"):
		if said.Steps = []*engine.PastStep{}; failed || isTrue(q, "slowest") || isTrue(q, "summary") {
			return invalid("open goes with none of failed, slowest and summary; ask for each on its own")
		}
		if said.Open, err = a.openSteps(q, id); err != nil {
			return err
		}
		return replyPacked(w, q, said)
	case isTrue(q, "slowest"):
		return a.getSlowest(w, q, said, id, limit)
	}
	t, err := a.Past.Timeline(id, q.URL.Query().Get("after"), limit, failed)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	said.Timeline = *t
	if isTrue(q, "summary") {
		all, err := a.Past.Summary(id)
		if err != nil {
			return err
		}
		said.sumUp(all)
	}
	if said.Next == "" && !failed {
		said.Open, err = a.openSteps(q, id)
	}
	if len(said.Steps) > 0 || q.URL.Query().Get("after") != "" {
		return replyPacked(w, q, said)
	}
	// Its partition may have moved here since: another router has what was.
	a.Cluster.Gather(q, func() (any, func()) {
		theirs := new(RunSteps)
		return theirs, func() {
			if len(theirs.Steps) > len(said.Steps) {
				theirs.Open, said = said.Open, theirs
			}
		}
	})
	if len(said.Steps) == 0 && err != nil {
		return err
	}
	return replyPacked(w, q, said)
}

// getSlowest tells of the calls of a run that took longest.
func (a *API) getSlowest(w http.ResponseWriter, q *http.Request, said *RunSteps, id journal.RunID, limit int) (err error) {
	if isTrue(q, "failed") || isTrue(q, "summary") || q.URL.Query().Get("after") != "" {
		return invalid("slowest goes with none of failed, summary and after; raise limit for more")
	}
	if said.Steps, err = a.Past.Slowest(id, limit); err != nil {
		return err
	}
	if len(said.Steps) == 0 {
		a.Cluster.Gather(q, func() (any, func()) { // Its partition may have moved here since: another router has what was.
			theirs := new(RunSteps)
			return theirs, func() {
				if len(theirs.Steps) > len(said.Steps) {
					said.Steps = theirs.Steps
				}
			}
		})
		if err := a.known(q.Context(), id); len(said.Steps) == 0 && err != nil {
			return err
		}
	}
	return replyPacked(w, q, said)
}

// getBelow tells what became of what is at a path and below it, and what of it is open.
func (a *API) getBelow(w http.ResponseWriter, q *http.Request, id journal.RunID, path string, limit int) error {
	if err := checkText("path", path); err != nil {
		return err
	}
	said := &RunSteps{Run: id.String()}
	var err error
	if said.Steps, said.More, err = a.Past.Below(id, path, limit); err != nil {
		return err
	}
	if said.Steps == nil {
		said.Steps = []*engine.PastStep{}
	}
	open, err := a.openSteps(q, id)
	for _, s := range open {
		if s.Path == path || strings.HasPrefix(s.Path, path+"/") {
			said.Open = append(said.Open, s)
		}
	}
	if len(said.Steps) == 0 && err == nil {
		a.Cluster.Gather(q, func() (any, func()) { // Its partition may have moved here since: another router has what was.
			theirs := new(RunSteps)
			return theirs, func() {
				if len(theirs.Steps) > len(said.Steps) {
					said.Steps, said.More = theirs.Steps, theirs.More
				}
			}
		})
	}
	if len(said.Steps) == 0 && err != nil {
		return err
	}
	return replyPacked(w, q, said)
}

// The most parts of a time, and the most steps that are told of one by one.
const (
	binsMost   = 2000
	singleMost = 2000
)

// getStrips tells when the steps of a run were at work, within a time.
func (a *API) getStrips(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	ask := q.URL.Query()
	st, f, err := a.Status(q.Context(), id, 0)
	if err != nil {
		return err
	}
	from, to := time.Time{}, time.Now().UTC()
	if f != nil {
		from, to = f.Started, f.Ended
	} else {
		from = st.Started
	}
	bins, single := 200, 200
	for key, into := range map[string]*time.Time{"from": &from, "to": &to} {
		if at, err := timeOf(q, key); err != nil {
			return err
		} else if !at.IsZero() {
			*into = at
		}
	}
	for key, x := range map[string]struct {
		into *int
		most int
	}{"bins": {&bins, binsMost}, "single": {&single, singleMost}} {
		if text := ask.Get(key); text != "" {
			if *x.into, err = strconv.Atoi(text); err != nil || *x.into < 1 || *x.into > x.most {
				return invalid("%s %.40q is not a number from 1 to %d", key, text, x.most)
			}
		}
	}
	if !to.After(from) {
		to = from.Add(time.Millisecond)
	}
	said, err := a.Past.Strips(id, from, to, bins, single)
	if err != nil {
		return err
	}
	switch {
	case said.Strips == nil:
		if said.Steps, err = a.withOpen(q, id, said.Steps, single); err != nil {
			return err
		}
	case f == nil:
		open, err := a.look(q.Context(), id, "", &survey{groups: make(map[string]*cells)})
		if err != nil {
			return err
		}
		enterOpen(said, open, time.Now())
	}
	return replyPacked(w, q, said)
}

// withOpen adds the calls of a run that are open.
func (a *API) withOpen(q *http.Request, id journal.RunID, steps []*engine.PastStep, most int) ([]*engine.PastStep, error) {
	open, err := a.openSteps(q, id)
	if err != nil {
		return nil, err
	}
	for _, s := range open {
		if s.N != 0 && len(steps) < 2*most {
			steps = append(steps, s)
		}
	}
	return steps, nil
}

// streamSteps answers with all steps, a line each.
func (a *API) streamSteps(w http.ResponseWriter, q *http.Request, id journal.RunID, failed bool) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for cursor, begun := "", false; cursor != "" || !begun; begun = true {
		t, err := a.Past.Timeline(id, cursor, 1000, failed)
		if err != nil {
			if begun {
				panic(http.ErrAbortHandler) // Who reads is to see that it is not all.
			}
			return err
		}
		if !begun && len(t.Steps) == 0 {
			if _, _, err := a.Status(q.Context(), id, 0); err != nil { // There is no such run.
				return err
			}
		}
		if !begun {
			w.Header().Set("Content-Type", Lines)
		}
		for _, s := range t.Steps {
			if enc.Encode(s) != nil {
				return nil // The client has gone.
			}
		}
		cursor = t.Next
	}
	return nil
}

// openSteps are what a run is at, as steps that have not ended.
func (a *API) openSteps(q *http.Request, id journal.RunID) ([]*engine.PastStep, error) {
	const most = 100 // of a step's open children
	st, _, err := a.Status(q.Context(), id, most)
	if err != nil || st == nil {
		return nil, err
	}
	var open []*engine.PastStep
	var calls []int
	var numbers []uint32
	var visit func(s *engine.StepStatus)
	visit = func(s *engine.StepStatus) {
		x := &engine.PastStep{Path: s.Path, Attempt: s.Attempt, Outcome: "open", Queued: s.Since, Error: s.LastError, State: engine.StepRunning.String()}
		if inv := s.Invocation; inv != nil {
			x.N, x.Function, x.Queued, x.Sent = inv.N, inv.Function, inv.Created, inv.Accepted
			if inv.Starts == nil && inv.Accepted.IsZero() {
				calls, numbers = append(calls, len(open)), append(numbers, inv.N)
			}
		}
		if !s.RetryAt.IsZero() || len(s.Awaits)+len(s.Timers) > 0 && !atWork(s) {
			x.State = engine.StepWaiting.String()
		}
		open = append(open, x)
		for _, below := range []*engine.StepStatus{s.Handler, s.Twin} {
			if below != nil {
				visit(below)
			}
		}
		for i := range s.Slots {
			for _, child := range s.Slots[i].Waiting {
				visit(child)
			}
		}
	}
	if st.Root != nil {
		visit(st.Root)
	}
	for _, d := range st.Deliveries {
		x := &engine.PastStep{Path: d.Path, N: d.N, Function: d.Function, Delivery: true, Attempt: d.Attempt, Outcome: "open", Queued: d.Created, Error: d.LastError, State: engine.StepRunning.String()}
		if !d.RetryAt.IsZero() {
			x.State = engine.StepWaiting.String()
		}
		open = append(open, x)
	}
	for i, is := range a.Outbox.Standing(id, numbers) {
		open[calls[i]].State = is.String()
	}
	return open, nil
}

// atWork reports whether something in a step is open.
func atWork(s *engine.StepStatus) bool {
	return s.Handler != nil || s.Twin != nil || slices.ContainsFunc(s.Slots, func(x engine.SlotStatus) bool { return len(x.Waiting) > 0 })
}

// FoundEvents is a part of the events that came, the latest first.
type FoundEvents struct {
	Events []*engine.PastEvent `json:"events"`
	Next   string              `json:"next,omitempty"`
}

// getEvents lists the events that came, to whichever router. A cursor is a time, and holds at each of them.
func (a *API) getEvents(w http.ResponseWriter, q *http.Request) error {
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	after, taken := q.URL.Query().Get("after"), q.URL.Query().Get("taken")
	var said FoundEvents
	if said.Events, said.Next, err = a.someEvents(q.Context(), after, limit, taken); err != nil {
		return err
	}
	a.gatherEvents(w, q, &said)
	slices.SortStableFunc(said.Events, func(x, y *engine.PastEvent) int { return x.Place().Compare(y.Place()) })
	if len(said.Events) > limit {
		said.Events, said.Next = said.Events[:limit], "more"
	}
	if n := len(said.Events); said.Next != "" && n > 0 {
		said.Next = said.Events[n-1].Place().String()
	}
	return reply(w, http.StatusOK, said)
}

// someEvents are up to limit events of who asks, behind a cursor. Of a tenant's are those that started a run of its: what started nothing is nobody's.
func (a *API) someEvents(ctx context.Context, after string, limit int, taken string) (events []*engine.PastEvent, next string, err error) {
	events = []*engine.PastEvent{}
	for next = after; ; {
		var some []*engine.PastEvent
		if some, next, err = a.Past.Events(next, limit-len(events), taken); err != nil {
			return nil, "", fmt.Errorf("%w: %w", errRequest, err)
		}
		if events = append(events, a.eventsFor(ctx, some)...); next == "" || len(events) == limit || ctx.Err() != nil {
			return events, next, ctx.Err()
		}
	}
}

// eventsFor are the events that are there for who asks, with those of their runs that are.
func (a *API) eventsFor(ctx context.Context, all []*engine.PastEvent) []*engine.PastEvent {
	who := access.Asking(ctx)
	if who.Tenant == "" {
		return all
	}
	var out []*engine.PastEvent
	for _, e := range all {
		e.Runs = slices.DeleteFunc(e.Runs, func(r engine.PastRun) bool { return !a.ownsRun(ctx, who, r) })
		if len(e.Runs) > 0 {
			out = append(out, e)
		}
	}
	return out
}

// ownsRun reports whether a run that an event started is of who asks: by its trigger, where the documents have that still.
func (a *API) ownsRun(ctx context.Context, who access.Who, r engine.PastRun) bool {
	if t := a.Set().Trigger(r.Trigger); t != nil {
		return who.Owns(t.Tenant)
	}
	id, err := journal.ParseRunID(r.Run)
	return err == nil && a.owned(ctx, id, false) == nil
}

// gatherEvents adds what the other routers say.
func (a *API) gatherEvents(w http.ResponseWriter, q *http.Request, said *FoundEvents) {
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		theirs := new(FoundEvents)
		return theirs, func() {
			if said.Events = append(said.Events, theirs.Events...); theirs.Next != "" {
				said.Next = theirs.Next
			}
		}
	})
	said.Events = engine.MergeEvents(said.Events) // A partition that has moved is told of by two.
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
}

var errUnknownEvent = errors.New("unknown event")

// getEvent tells what became of the events of an id: which came here, and which ended runs say that such a one started them.
func (a *API) getEvent(w http.ResponseWriter, q *http.Request) error {
	id := q.PathValue("id")
	events, err := a.Past.Event(id)
	if err != nil {
		return err
	}
	said := FoundEvents{Events: a.eventsFor(q.Context(), events)}
	a.gatherEvents(w, q, &said)
	if len(said.Events) == 0 { // It came before a crash, or by another way than a source.
		ended, err := a.endedOf(&runQuery{event: id, tenant: access.Asking(q.Context()).Tenant, limit: partDefault})
		if err != nil {
			return err
		}
		for _, f := range ended {
			said.Events = append(said.Events, eventOf(f))
		}
	}
	if len(said.Events) == 0 {
		return fmt.Errorf("%w: no event of id %q came, as far as the history reaches", errUnknownEvent, id)
	}
	return reply(w, http.StatusOK, said)
}

// eventOf is what an ended run tells of the event that started it.
func eventOf(f *engine.Ending) *engine.PastEvent {
	var attrs struct {
		ID, Source, Type string
	}
	_ = f.Event.Decode(&attrs) // What it does not tell is left out.
	return &engine.PastEvent{ID: attrs.ID, Source: attrs.Source, Type: attrs.Type, Came: f.Started, Taken: triggers.Matched.String(), Runs: []engine.PastRun{{Run: f.ID, Trigger: f.Trigger}}}
}
