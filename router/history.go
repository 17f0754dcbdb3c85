package router

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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

func (r *Router) ended(e *engine.Ended) { r.endings.Add(e.Run, engine.EndingOf(e)) }

// watchers are those who follow runs as they go.
type watchers struct {
	any  atomic.Int64
	mu   sync.Mutex
	runs map[journal.RunID][]chan engine.Change
}

// observe hands a change to those who watch its run; one who does not keep up misses some, never holds the fold.
func (r *Router) observe(c engine.Change) {
	if r.watch.any.Load() == 0 {
		return
	}
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	for _, w := range r.watch.runs[c.Run] {
		select {
		case w <- c:
		default:
		}
	}
}

// Watch gives the changes of a run until ctx ends. A watcher that falls more than 1,024 behind misses changes.
func (r *Router) Watch(ctx context.Context, id journal.RunID) <-chan engine.Change {
	c := make(chan engine.Change, 1024)
	r.watch.mu.Lock()
	if r.watch.runs == nil {
		r.watch.runs = make(map[journal.RunID][]chan engine.Change)
	}
	r.watch.runs[id] = append(r.watch.runs[id], c)
	r.watch.mu.Unlock()
	r.watch.any.Add(1)
	context.AfterFunc(ctx, func() {
		r.watch.any.Add(-1)
		r.watch.mu.Lock()
		defer r.watch.mu.Unlock()
		list := r.watch.runs[id]
		for i := range list {
			if list[i] == c {
				r.watch.runs[id] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(r.watch.runs[id]) == 0 {
			delete(r.watch.runs, id)
		}
		close(c)
	})
	return c
}

// Status tells what an open run is doing, with what the outbox knows of its invocations; of an ended one, how it ended.
func (r *Router) Status(ctx context.Context, id journal.RunID, waiting int) (*engine.Status, *Finished, error) {
	s := r.shardOf(id)
	if s == nil {
		return nil, nil, fmt.Errorf("run %s: %w", id, errMoving)
	}
	var st *engine.Status
	gone := false
	if err := s.ask(ctx, func(state *engine.State) {
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
