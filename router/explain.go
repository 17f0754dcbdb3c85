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
	switch st.State {
	case "waiting":
		return []string{"waiting for the definition that it started with; load the documents that it was started from"}, nil
	case "ending":
		lines := []string{st.Outcome + "; the event of its end is being delivered"}
		for _, d := range st.Deliveries {
			lines = append(lines, fmt.Sprintf("%s: %s", d.Function, d.Outbox))
		}
		return lines, nil
	}
	var lines []string
	if st.Root != nil {
		explainStep(st.Root, &lines)
	}
	return lines, nil
}

func explainStep(s *engine.StepStatus, lines *[]string) {
	say := func(format string, a ...any) {
		at := s.Path
		if at == "" {
			at = s.Does
		}
		*lines = append(*lines, at+": "+fmt.Sprintf(format, a...))
	}
	if !s.RetryAt.IsZero() {
		say("try %d failed (%v); the next is due in %s", s.Attempt, s.LastError, time.Until(s.RetryAt).Round(time.Second))
	}
	if s.Invocation != nil {
		say("%s", s.Invocation.Outbox)
	}
	for _, t := range s.Timers {
		say("waiting until %s (%s)", t.Due.Format(time.RFC3339), time.Until(t.Due).Round(time.Second))
	}
	for _, name := range s.Awaits {
		say("waiting for the signal %q since %s", name, time.Since(s.Since).Round(time.Second))
	}
	if s.Handler != nil {
		explainStep(s.Handler, lines)
	}
	for _, sl := range s.Slots {
		left := sl.Spawned - sl.Succeeded - sl.Failed - sl.Skipped
		if sl.Spawned > 1 && left > 0 {
			say("waiting for %d of %d: %s; since %s", left, sl.Spawned, indexes(sl), time.Since(s.Since).Round(time.Second))
		}
		for _, child := range sl.Waiting {
			explainStep(child, lines)
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
