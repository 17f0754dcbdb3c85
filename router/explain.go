package router

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// NewID returns a random id for an event that its sender gave none.
func NewID() string { return rand.Text() }

// Explain says in plain words why a run is not further.
func (r *Router) Explain(ctx context.Context, id journal.RunID) ([]string, error) {
	st, f, err := r.Status(ctx, id, 3)
	if err != nil {
		return nil, err
	}
	if f != nil {
		line := fmt.Sprintf("%s at %s, after %s and %d calls", f.State, f.Ended.Format(time.RFC3339), f.Ended.Sub(f.Started).Round(time.Millisecond), f.Calls)
		if f.Error != nil {
			line += ": " + f.Error.Error()
		}
		return []string{line}, nil
	}
	return ExplainStatus(st, time.Now()), nil
}

// ExplainStatus says in plain words why an open run is not further; now is the time by which waits are counted.
func ExplainStatus(st *engine.Status, now time.Time) []string {
	switch st.State {
	case "waiting":
		return []string{"waiting for the definition that it started with; load the documents that it was started from"}
	case "ending":
		lines := []string{st.Outcome + "; the event of its end is being delivered"}
		for _, d := range st.Deliveries {
			lines = append(lines, fmt.Sprintf("%s: %s", d.Function, d.Outbox))
		}
		return lines
	}
	e := explainer{now: now}
	if st.Root != nil {
		e.step(st.Root)
	}
	return e.lines
}

// An explainer gathers the lines of one answer.
type explainer struct {
	now   time.Time
	lines []string
}

func (e *explainer) say(s *engine.StepStatus, format string, a ...any) {
	at := s.Path
	if at == "" {
		at = s.Does
	}
	e.lines = append(e.lines, at+": "+fmt.Sprintf(format, a...))
}

func (e *explainer) since(t time.Time) time.Duration { return e.now.Sub(t).Round(time.Second) }

func (e *explainer) step(s *engine.StepStatus) {
	if !s.RetryAt.IsZero() {
		e.say(s, "try %d failed (%v); the next is due in %s", s.Attempt, s.LastError, s.RetryAt.Sub(e.now).Round(time.Second))
	}
	if s.Invocation != nil {
		e.say(s, "%s", s.Invocation.Outbox)
	}
	for _, t := range s.Timers {
		e.say(s, "waiting until %s (%s)", t.Due.Format(time.RFC3339), t.Due.Sub(e.now).Round(time.Second))
	}
	for _, name := range s.Awaits {
		e.say(s, "waiting for the signal %q since %s", name, e.since(s.Since))
	}
	if s.Handler != nil {
		e.step(s.Handler)
	}
	for _, sl := range s.Slots {
		left := sl.Spawned - sl.Succeeded - sl.Failed - sl.Skipped
		if sl.Spawned > 1 && left > 0 {
			e.say(s, "waiting for %d of %d: %s; since %s", left, sl.Spawned, indexes(sl), e.since(s.Since))
		}
		for _, child := range sl.Waiting {
			e.step(child)
		}
	}
}

func indexes(sl engine.SlotStatus) string {
	parts := make([]string, len(sl.Indexes))
	for i, n := range sl.Indexes {
		parts[i] = fmt.Sprint(n)
	}
	if sl.Open > len(parts) || sl.Spawned-sl.Succeeded-sl.Failed-sl.Skipped > len(parts) {
		parts = append(parts, "...")
	}
	return strings.Join(parts, ", ")
}
