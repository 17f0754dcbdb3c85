package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Redrive sends a dead letter again, under its id and in its function's turn, until it has arrived or ctx ends. The run that it was of is not told: an
// outcome is nothing to it any more.
func (o *Outbox) Redrive(ctx context.Context, l *engine.Letter) error {
	inv, err := l.Invocation()
	if err != nil {
		return err
	}
	if inv.Purpose == engine.Route || inv.ToTrigger != "" {
		return o.Intake.StartFor(ctx, inv)
	}
	if o.bound.get(inv.Function) == nil {
		return fmt.Errorf("function %q is not in the documents; load those that define it", inv.Function)
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	r := &redriver{ctx: ctx, ended: make(chan error, 1)}
	o.mu.Lock()
	under := o.items[itemKey{inv.Run, inv.N}] != nil
	o.mu.Unlock()
	if under {
		return errors.New("it is being sent again already")
	}
	o.add(r, inv)
	o.pump()
	select {
	case err = <-r.ended:
	case <-ctx.Done():
		why, since, _ := o.Explain(inv.Run, inv.N)
		if since.IsZero() { // What was at work has been broken off.
			why = "function " + inv.Function + " was at work"
		}
		err = fmt.Errorf("no answer in time: %s", why)
	}
	o.stop([]*engine.Invocation{inv}, inv.Run, engine.Answer{})
	return err
}

// A redriver is the owner of one dead letter that is sent again.
type redriver struct {
	ctx   context.Context
	ended chan error
}

// Context ends when nobody waits for it any more.
func (r *redriver) Context() context.Context { return r.ctx }

// Accepted says that it has arrived. What has a ticket is at work, and is waited for.
func (r *redriver) Accepted(_ *engine.Invocation, ticket string) {
	if ticket == "" {
		r.end(nil)
	}
}

// Now is this machine's time: what is sent again was accepted by nobody.
func (r *redriver) Now() time.Time { return time.Now() }

// Write takes what became of it.
func (r *redriver) Write(rec journal.Record) {
	switch rec.Kind {
	case journal.Tried: // It is no end.
	case journal.Completion:
		f, err := engine.DecodeCompletion(rec.Payload)
		if err == nil && f.Outcome.Verdict == lang.Failed {
			err = f.Outcome.Err
		}
		r.end(err)
	case journal.GaveUp:
		f, err := engine.DecodeGaveUp(rec.Payload)
		if err == nil {
			err = f.Err
		}
		r.end(err)
	default:
		r.end(errors.New("it took longer than its function's timeout"))
	}
}

func (r *redriver) end(err error) {
	select {
	case r.ended <- err:
	default: // Its end is told once.
	}
}
