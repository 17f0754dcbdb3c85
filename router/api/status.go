package api

import (
	"context"
	"fmt"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Wait returns how a run ended, once it has, also when another router folds it. The error is the context's.
func (a *API) Wait(ctx context.Context, id journal.RunID) (*engine.Ending, error) {
	f, w, stop := a.Endings.Get(id)
	if f != nil && a.open(ctx, id) {
		w, stop = a.Endings.Next(id)
		if f = nil; !a.open(ctx, id) {
			f = a.Endings.Find(id) // It has ended in between.
		}
	}
	defer stop()
	if f != nil {
		return f, nil
	}
	asking, done := context.WithCancel(ctx)
	defer done()
	theirs := make(chan *engine.Ending, 1)
	go func() {
		if f := a.Cluster.Wait(asking, id); f != nil {
			theirs <- f
		}
	}()
	select {
	case f := <-w:
		return f, nil
	case f := <-theirs:
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Status tells what an open run is doing, with what the outbox knows of its invocations; of an ended one, how it ended.
func (a *API) Status(ctx context.Context, id journal.RunID, waiting int) (*engine.Status, *engine.Ending, error) {
	var st *engine.Status
	gone := false
	if err := a.Shards.Ask(ctx, id, func(state *engine.State) {
		st, _ = state.Status(id, waiting)
		gone = state.Ended(id)
	}); err != nil {
		return nil, nil, err
	}
	if st != nil {
		st.Queued = min(a.Outbox.Unsent(st.Tenant, st.Trigger, id), st.Calls)
		st.Calls -= st.Queued
		if st.Root != nil {
			a.fillIn(st.Root)
		}
		for i := range st.Deliveries {
			d := &st.Deliveries[i]
			if !d.RetryAt.IsZero() {
				continue // It is between two tries.
			}
			d.Outbox, d.Since, d.GivesUp = a.Outbox.Explain(id, d.N)
		}
		return st, nil, nil
	}
	if f := a.Endings.Find(id); f != nil {
		return nil, f, nil
	}
	if f := a.Cluster.Find(ctx, id); f != nil {
		return nil, f, nil
	}
	if gone {
		return nil, nil, fmt.Errorf("%w: run %s has ended, too long ago to say how", errUnknownRun, id)
	}
	return nil, nil, fmt.Errorf("%w: no run %s", errUnknownRun, id)
}

// tellChild says which run a call of a trigger waits for.
func (a *API) tellChild(inv *engine.InvocationStatus) {
	inv.Outbox = inv.Function + ": the start of its run is being journaled"
	if a.Child == nil || inv.Accepted.IsZero() {
		return
	}
	if child, ok := a.Child(inv.Starts); ok {
		inv.Child = child.String()
		inv.Outbox = fmt.Sprintf("waits for run %s of %s", inv.Child, inv.Function)
	}
}

func (a *API) fillIn(s *engine.StepStatus) {
	if inv := s.Invocation; inv != nil {
		if run, _, n, ok := engine.ParseInvocationID(inv.ID); ok {
			inv.Outbox, inv.Since, inv.GivesUp = a.Outbox.Explain(run, n)
			inv.Heartbeat, inv.Progress = a.Outbox.Progress(run, n)
			if inv.Starts != nil {
				a.tellChild(inv)
			}
			if a.Seal != nil {
				inv.ID = a.Seal(inv.ID)
			}
		}
	}
	for _, below := range []*engine.StepStatus{s.Handler, s.Twin} {
		if below != nil {
			a.fillIn(below)
		}
	}
	for i := range s.Slots {
		for _, child := range s.Slots[i].Waiting {
			a.fillIn(child)
		}
	}
}

// open reports whether a run is open here: one that has ended is, once it was redriven.
func (a *API) open(ctx context.Context, id journal.RunID) (open bool) {
	if !a.Shards.Has(id) {
		return false
	}
	_ = a.Shards.Ask(ctx, id, func(s *engine.State) { // Without an answer it is not known.
		if st, here := s.Status(id, 0); here {
			open = st.Outcome == ""
		}
	})
	return open
}
