package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
)

// Match returns what the filters let through of a run's end; nil is nothing.
func (g *Gate) Match(inv *engine.Invocation) *engine.MatchedFact {
	matched := g.rules.Load().match(inv.Type, routed(inv), g.metrics)
	if len(matched) > 0 {
		c := &content{data: inv.Input, have: true}
		if slices.ContainsFunc(matched, func(t *config.Trigger) bool { return !t.When.IsZero() }) {
			c.attrs = envelope.Attributes(g.eventOf(inv, inv.ID()))
		}
		matched, _ = wanted(matched, c, g.metrics)
	}
	if len(matched) == 0 {
		return nil
	}
	var starts startsPayload
	for _, t := range matched {
		starts = append(starts, matchedStart{t.Name, t.Digest})
	}
	return &engine.MatchedFact{N: inv.N, Count: len(starts), Starts: starts.encode()}
}

// Event makes the event of an invocation. The id of a call is sealed: who sends it back as the cause of an outcome was sent it.
// The error says why the attributes that a destination gives an event of a run's end make none.
func (g *Gate) Event(inv *engine.Invocation) (*event.Event, error) {
	id := inv.ID()
	switch inv.Purpose {
	case engine.Call:
		id = g.tags.Seal(id)
	case engine.Cancel: // It names the call as it was sent.
		named := *inv
		named.Cause = g.tags.Seal(inv.Cause)
		return g.eventOf(&named, named.ID()), nil
	}
	e := g.eventOf(inv, id)
	if inv.Attributes.IsNull() {
		return e, nil
	}
	return e, envelope.Dress(e, inv.Attributes, extFuel, extAttempt, traceparent.Parent, traceparent.State)
}

// Outgoing is an invocation as it leaves, see Event: a call is made an event only where somebody needs all of it.
func (g *Gate) Outgoing(inv *engine.Invocation) (envelope.Outgoing, error) {
	if inv.Purpose == engine.Call {
		return &outgoing{g: g, inv: inv, id: g.tags.Seal(inv.ID())}, nil
	}
	e, err := g.Event(inv)
	if err != nil {
		return nil, err
	}
	return envelope.Made(e), nil
}

// Reply takes in the event that a function has answered an invocation with: it meets the filters as any event does whose cause is the invocation. It keeps its
// type, source, data and extensions; its id is the invocation's, since a function that is asked again answers with another one.
func (g *Gate) Reply(ctx context.Context, inv *engine.Invocation, e *event.Event) error {
	reply, sent := e.Clone(), g.tags.Seal(inv.ID())
	reply.SetID(sent + "~reply")
	reply.SetExtension(extCausation, sent)
	reply.SetExtension(extCorrelation, inv.Run.String())
	var receipts []triggers.Receipt
	var err error
	if guard.Do("admission", func() {
		receipts, err = g.admit(ctx, &Door{Accepts: config.AcceptsAll, inside: true}, []event.Event{reply})
	}) != nil {
		return nil // It is logged, and would do it again.
	}
	if err != nil {
		return err
	}
	switch why := receipts[0].Err; {
	case errors.Is(why, triggers.ErrFull), errors.Is(why, triggers.ErrBusy):
		return why
	case why != nil:
		g.Log.Warn("an event that a function has answered is not taken", "function", inv.Function, "run", inv.Run, "type", e.Type(), "error", why)
	}
	return nil
}

// Seal gives the id of a call as it is sent.
func (g *Gate) Seal(id string) string { return g.tags.Seal(id) }

// routed reads the attributes of a run's end event without making the event.
func routed(inv *engine.Invocation) filter.Attributes {
	return filter.Texts(func(name string) (string, bool) {
		switch name {
		case "id":
			return inv.ID(), true
		case "source":
			return "/onward/" + inv.Trigger, true
		case "type":
			return inv.Type, true
		case "subject", extCorrelation:
			return inv.Run.String(), true
		case "specversion":
			return event.CloudEventsVersionV1, true
		case "datacontenttype":
			return event.ApplicationJSON, true
		}
		return "", false
	})
}

// StartFor starts what was matched of a run's end, or the trigger that a destination names: repeated, under the same run ids. A *lang.Error is final;
// triggers.ErrNoTrigger is not, since documents change. What runs bring about is never refused for there being too many runs.
func (g *Gate) StartFor(ctx context.Context, inv *engine.Invocation) error {
	if inv.Purpose == engine.Return || inv.Purpose == engine.Cancel || inv.ToTrigger != "" && inv.Purpose == engine.Call {
		return g.between(ctx, inv)
	}
	if inv.ToTrigger != "" {
		e, err := g.Event(inv)
		if err == nil {
			_, err = g.StartInside(ctx, inv.ToTrigger, e)
		} else {
			err = fmt.Errorf("%w: %w", triggers.ErrInvalid, err)
		}
		if errors.Is(err, triggers.ErrInvalid) {
			return &lang.Error{Type: "bad_event", Message: err.Error(), Class: lang.ClassFunction} // It never will be taken.
		}
		return err
	}
	starts, err := decodeStarts(inv.Starts)
	if err != nil {
		return &lang.Error{Type: "bad_matches", Message: err.Error(), Class: lang.ClassPlatform}
	}
	e := g.eventOf(inv, inv.ID())
	rl := g.rules.Load()
	for i, m := range starts {
		t := rl.set.Triggers[m.Trigger]
		if t == nil {
			g.Log.Warn("a trigger that was matched has gone; its start is left out", "trigger", m.Trigger, "run", inv.Run)
			continue
		}
		in := &intake{g: g, rules: rl, receipts: make([]triggers.Receipt, 1)}
		attrs := envelope.Attributes(e)
		begins, err := g.beginnings(nil, t, nameOf(e), e, attrs, inv.Input)
		if err != nil {
			g.Log.Warn("a trigger that was matched has no key for this event; its start is left out", "trigger", m.Trigger, "run", inv.Run, "error", err)
			continue
		}
		in.begin(0, attrs, inv.Input, begins, shares(begins, engine.Share(inv.Fuel, len(starts), i), false))
		if err := in.receipts[0].Err; err != nil {
			return &lang.Error{Type: "too_large", Message: err.Error(), Class: lang.ClassPlatform} // It never will be taken.
		}
		if err := errors.Join(in.append(ctx), in.receipts[0].Err); err != nil {
			return err
		}
	}
	return nil
}
