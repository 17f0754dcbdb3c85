package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// A RunLine is one line of the list of runs.
type RunLine struct {
	Run     string     `json:"run"`
	Tenant  string     `json:"tenant"`
	Trigger string     `json:"trigger"`
	State   string     `json:"state"`
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	Calls   int        `json:"calls"`
	Open    int        `json:"open"`

	Paused *engine.Pause `json:"paused,omitempty"`
	Parent string        `json:"parent,omitempty"` // the run that started it, by a step
}

func (a *API) getRuns(w http.ResponseWriter, q *http.Request) error {
	limit := 100
	if text := q.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: limit %q is not a number from 1", triggers.ErrInvalid, text)
		}
		limit = min(n, 10_000)
	}
	state, trigger, parent := q.URL.Query().Get("state"), q.URL.Query().Get("trigger"), strings.ToLower(q.URL.Query().Get("parent"))
	want := func(ofState, ofTrigger, ofParent string) bool {
		return (state == "" || ofState == state) && (trigger == "" || ofTrigger == trigger) && (parent == "" || ofParent == parent)
	}
	lines := []RunLine{}
	keep := func(l RunLine) {
		if want(l.State, l.Trigger, l.Parent) && len(lines) < limit {
			lines = append(lines, l)
		}
	}
	var after journal.RunID
	if text := q.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = journal.ParseRunID(text); err != nil {
			return fmt.Errorf("%w: after: %w", triggers.ErrInvalid, err)
		}
	}
	open, err := a.Shards.List(q.Context(), after, limit, func(x *engine.Summary) bool {
		return want(x.State, x.Trigger, x.Parent)
	})
	if err != nil {
		return err
	}
	for _, x := range open {
		keep(RunLine{x.Run.String(), x.Tenant, x.Trigger, x.State, x.Started, nil, x.Calls, x.Open, x.Paused, x.Parent})
	}
	// What has ended has no place behind an open run.
	if err := a.Endings.Each(func(f *engine.Ending) bool {
		if after.IsZero() {
			keep(RunLine{f.ID, f.Tenant, f.Trigger, f.State, f.Started, &f.Ended, f.Calls, 0, nil, engine.ParentOf(f.Event)})
		}
		return after.IsZero() && len(lines) < limit
	}); err != nil {
		return err
	}
	lines, unanswered := a.gather(q, lines, limit)
	if len(unanswered) > 0 {
		w.Header().Set(unansweredHeader, strings.Join(unanswered, ", "))
	}
	return reply(w, 200, lines)
}

func (a *API) getRun(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	if text := q.URL.Query().Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%w: wait %q is not a duration such as 30s", triggers.ErrInvalid, text)
		}
		ctx, cancel := context.WithTimeout(q.Context(), min(d, 5*time.Minute))
		defer cancel()
		if f, err := a.Wait(ctx, id); err == nil {
			return reply(w, 200, f)
		}
	}
	st, f, err := a.Status(q.Context(), id, 10)
	if err != nil {
		return err
	}
	if f != nil {
		return reply(w, 200, f)
	}
	return reply(w, 200, st)
}

// getEnded is what routers ask one another: how a run ended, as the history keeps it, after waiting for its end for a while.
func (a *API) getEnded(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	f := a.Endings.Find(id)
	if text := q.URL.Query().Get("wait"); f == nil && text != "" && a.Shards.Has(id) {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%w: wait %q is not a duration such as 30s", triggers.ErrInvalid, text)
		}
		ctx, cancel := context.WithTimeout(q.Context(), min(d, 5*time.Minute))
		defer cancel()
		f, _ = a.Wait(ctx, id) // The time was over: it has not ended.
	}
	if f == nil {
		return fmt.Errorf("%w: run %s has not ended here", errUnknownRun, id)
	}
	return reply(w, 200, f.Keep())
}

func (a *API) getExplain(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	lines, err := a.Explain(q.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, 200, map[string]any{"run": id, "explain": lines})
}

// getWatch streams a run's changes as server-sent events, first what it is doing, last how it ended.
func (a *API) getWatch(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	changes := a.Shards.Watch(ctx, id)
	st, f, err := a.Status(ctx, id, 10)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	send := func(name string, v any) {
		b, _ := json.Marshal(v) // Our own types marshal.
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
		_ = http.NewResponseController(w).Flush()
	}
	if f != nil {
		send("ended", f)
		return nil
	}
	send("status", st)
	ended, waiting, stop := a.Endings.Get(id)
	defer stop()
	end := func(f *engine.Ending) {
		for len(changes) > 0 { // What led to the end comes before it.
			c := <-changes
			send(c.Kind.String(), watchLine(c))
		}
		send("ended", f)
	}
	if ended != nil {
		end(ended)
		return nil
	}
	for {
		select {
		case c := <-changes:
			send(c.Kind.String(), watchLine(c))
		case f := <-waiting:
			end(f)
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// A WatchLine is one change as `runs watch` shows it.
type WatchLine struct {
	Time    time.Time   `json:"time"`
	Path    string      `json:"path,omitempty"`
	N       uint32      `json:"n,omitempty"`
	Attempt int         `json:"attempt,omitempty"`
	Outcome string      `json:"outcome,omitempty"`
	Error   *lang.Error `json:"error,omitempty"`
	Wait    string      `json:"wait,omitempty"`
	Text    string      `json:"text,omitempty"`
}

func watchLine(c engine.Change) WatchLine {
	l := WatchLine{Time: c.Time, Path: c.Path, N: c.N, Attempt: c.Attempt, Text: c.Text, Error: c.Outcome.Err}
	if c.Outcome.Verdict != 0 {
		l.Outcome = c.Outcome.Verdict.String()
	}
	if c.Wait > 0 {
		l.Wait = c.Wait.String()
	}
	return l
}

// gather adds the runs that the other routers list, each run once, and returns who did not answer.
func (a *API) gather(q *http.Request, lines []RunLine, limit int) ([]RunLine, []string) {
	var theirs []RunLine
	unanswered := a.Cluster.Gather(q, func() (any, func()) {
		var some []RunLine
		return &some, func() { theirs = append(theirs, some...) }
	})
	if len(theirs) == 0 {
		return lines, unanswered
	}
	known := make(map[string]int, len(lines))
	for i, l := range lines {
		known[l.Run] = i
	}
	for _, l := range theirs {
		if i, double := known[l.Run]; !double {
			known[l.Run] = len(lines)
			lines = append(lines, l)
		} else if lines[i].Ended == nil && l.Ended != nil {
			lines[i] = l // Who folded it last knows best.
		}
	}
	slices.SortStableFunc(lines, func(a, b RunLine) int {
		switch {
		case (a.Ended == nil) != (b.Ended == nil):
			return map[bool]int{true: -1, false: 1}[a.Ended == nil]
		case a.Ended == nil: // As one router has them: who asks goes on after the last one.
			return strings.Compare(a.Run, b.Run)
		}
		return b.Started.Compare(a.Started)
	})
	return lines[:min(len(lines), limit)], unanswered
}
