package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
)

// waitOf is how long somebody waits.
func waitOf(text string) (time.Duration, error) {
	var d plugin.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return 0, invalid("wait: %w", err)
	}
	return min(d.D(), 5*time.Minute), nil
}

func (a *API) getRun(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	if text := q.URL.Query().Get("wait"); text != "" {
		d, err := waitOf(text)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(q.Context(), d)
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
		d, err := waitOf(text)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(q.Context(), d)
		defer cancel()
		f, _ = a.Wait(ctx, id) // The time was over: it has not ended.
	}
	if f == nil || !access.Asking(q.Context()).Owns(f.Tenant) {
		return fmt.Errorf("%w: run %s has not ended here", errUnknownRun, id)
	}
	return reply(w, 200, f.Keep())
}

func (a *API) getExplain(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	said, err := a.Explain(q.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, said)
}

// watchLook is how often a run that is watched is looked at whole: who falls behind its changes misses some.
const watchLook = 2 * time.Second

// getWatch streams a run's changes as server-sent events, first what it is doing, which comes again now and then, last how it ended.
func (a *API) getWatch(w http.ResponseWriter, q *http.Request) error {
	id, err := runOf(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	changes := a.Shards.Watch(ctx, id)
	waiting, stop := a.Endings.Next(id) // Before the question: a run that was redriven has an end already, which is not the one to wait for.
	defer stop()
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
	if st.Outcome != "" { // Its end is being delivered, and no other one comes.
		if f = a.Endings.Find(id); f != nil {
			send("ended", f)
			return nil
		}
	}
	again := time.NewTicker(watchLook)
	defer again.Stop()
	for changed := false; ; {
		select {
		case c := <-changes:
			changed = true
			send(c.Kind.String(), watchLine(c))
		case <-again.C:
			if changed {
				changed = false
				if st, _, err := a.Status(ctx, id, 10); err == nil && st != nil {
					send("status", st)
				}
			}
		case f := <-waiting:
			for len(changes) > 0 { // What led to the end comes before it.
				c := <-changes
				send(c.Kind.String(), watchLine(c))
			}
			send("ended", f)
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
