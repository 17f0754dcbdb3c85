package api

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// behind says of the runs that the steps of a run wait for, as many as have room and are folded here, what those wait for themselves: an item of a map that awaits
// an event of its own is such a run.
func (a *API) behind(ctx context.Context, st *engine.Status, now time.Time) (said []Reason) {
	for _, s := range starters(st.Root, nil) {
		id, err := journal.ParseRunID(s.Invocation.Child)
		if err != nil || !a.Shards.Has(id) {
			continue
		}
		child, _, err := a.Status(ctx, id, named)
		if err != nil || child == nil {
			continue // It has ended, or has not begun.
		}
		said = append(said, Reason{
			Kind: whyRun, Path: cmp.Or(s.Path, s.Does), Run: child.Run.String(), Trigger: child.Trigger, Since: child.Started,
			Text: fmt.Sprintf("run %s of trigger %s, for which it waits: %s", child.Run, child.Trigger, strings.Join(linesOf(explain(child, now)), "; ")),
		})
	}
	return said
}

// starters are the first steps, in order, that wait for runs which they have started.
func starters(s *engine.StepStatus, found []*engine.StepStatus) []*engine.StepStatus {
	if s == nil || len(found) >= named {
		return found
	}
	if s.Invocation != nil && s.Invocation.Child != "" && s.RetryAt.IsZero() {
		found = append(found, s)
	}
	found = starters(s.Twin, starters(s.Handler, found))
	for i := range s.Slots {
		for _, below := range s.Slots[i].Waiting {
			found = starters(below, found)
		}
	}
	return found
}
