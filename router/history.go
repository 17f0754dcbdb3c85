package router

import (
	"context"
	"fmt"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A Finished is a run that has ended.
type Finished = engine.Ending

// Wait returns how a run ended, once it has, also when another router folds it. The error is the context's.
func (r *Router) Wait(ctx context.Context, id journal.RunID) (*Finished, error) {
	f, w, stop := r.endings.Get(id)
	defer stop()
	if f != nil {
		return f, nil
	}
	var theirs chan *Finished
	if r.shared() != nil {
		asking, done := context.WithCancel(ctx)
		defer done()
		theirs = make(chan *Finished, 1)
		go r.waitAtOwner(asking, id, theirs)
	}
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
func (r *Router) Status(ctx context.Context, id journal.RunID, waiting int) (*engine.Status, *Finished, error) {
	var st *engine.Status
	gone := false
	if err := r.shards.Ask(ctx, id, func(state *engine.State) {
		st, _ = state.Status(id, waiting)
		gone = state.Ended(id)
	}); err != nil {
		return nil, nil, err
	}
	if st != nil {
		if st.Root != nil {
			r.fillIn(st.Root)
		}
		for i := range st.Deliveries {
			d := &st.Deliveries[i]
			d.Outbox, d.Since = r.outbox.Explain(id, d.N)
		}
		return st, nil, nil
	}
	if f := r.endings.Find(id); f != nil {
		return nil, f, nil
	}
	if f := r.elsewhere(ctx, id); f != nil {
		return nil, f, nil
	}
	if gone {
		return nil, nil, fmt.Errorf("%w: run %s has ended, too long ago to say how", errUnknownRun, id)
	}
	return nil, nil, fmt.Errorf("%w: no run %s", errUnknownRun, id)
}

func (r *Router) fillIn(s *engine.StepStatus) {
	if inv := s.Invocation; inv != nil {
		if run, _, n, ok := engine.ParseInvocationID(inv.ID); ok {
			inv.Outbox, inv.Since = r.outbox.Explain(run, n)
		}
	}
	if s.Handler != nil {
		r.fillIn(s.Handler)
	}
	for i := range s.Slots {
		for _, child := range s.Slots[i].Waiting {
			r.fillIn(child)
		}
	}
}
