package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// What passes between a run and one that it starts: the start, the cancel and the answer, each a record in the other's partition.

// startedBy returns the run that an invocation starts, or that the call has which it cancels, with the event that starts it.
func (g *Gate) startedBy(inv *engine.Invocation) (beginning, *event.Event, error) {
	id := inv.ID()
	if inv.Purpose == engine.Cancel {
		id = inv.Cause
	}
	e := g.eventOf(inv, id) // Not sealed: who sees the child's event is not who may answer the call.
	set := g.Set()
	t := set.Triggers[inv.ToTrigger]
	if len(inv.Starts) > 0 {
		var at place
		err := json.Unmarshal(inv.Starts, &at)
		run, bad := journal.ParseRunID(at.Run)
		if err = errors.Join(err, bad); err != nil {
			return beginning{}, nil, &lang.Error{Type: "bad_matches", Message: err.Error(), Class: lang.ClassPlatform}
		}
		if t != nil || inv.Purpose == engine.Cancel {
			b := beginning{trigger: t, run: run, key: at.Key, tenant: at.Tenant, names: at.Names}
			if t != nil && t.Gathers() && b.names == nil { // Another document said otherwise when its place was found.
				b.names = []string{""}
			}
			return b, e, nil
		}
	}
	if t == nil {
		return beginning{}, nil, fmt.Errorf("%w %q; %s", triggers.ErrNoTrigger, inv.ToTrigger, lang.Nearest(inv.ToTrigger, set.TriggerNames()))
	}
	b, err := g.beginning(t, nameOf(e), e, envelope.Attributes(e), inv.Input)
	waits := inv.Type == engine.TypeSub && inv.Purpose == engine.Call
	switch {
	case err == nil && waits && t.Gathers() && !t.Definition.Await.Signals:
		err = errors.New("it gathers events, and what a step waits for is a run of its own; let it have signals: in place of await:, or write wait: false")
	case err == nil && waits && t.Gathers():
		b.names = []string{""} // It begins a run, whatever the filters.
	}
	if err != nil {
		err = &lang.Error{Type: "bad_event", Message: fmt.Sprintf("trigger %s: %v", inv.ToTrigger, err), Class: lang.ClassFunction} // It never will be taken.
	}
	return b, e, err
}

// A place is where a run goes that a step starts, as it was journaled before it started: another document does not change it.
type place struct {
	Run    string   `json:"run"`
	Key    string   `json:"key,omitempty"`
	Names  []string `json:"names,omitempty"` // which of the events that the trigger awaits the start is
	Tenant string   `json:"tenant"`
}

// Place says which run a call starts, for its own run's journal.
func (g *Gate) Place(inv *engine.Invocation) (*engine.MatchedFact, error) {
	b, _, err := g.startedBy(inv)
	if err != nil {
		return nil, err
	}
	starts, err := json.Marshal(place{b.run.String(), b.key, b.names, b.tenant})
	if err != nil {
		return nil, &lang.Error{Type: "bad_event", Message: err.Error(), Class: lang.ClassFunction}
	}
	return &engine.MatchedFact{N: inv.N, Count: 1, Starts: starts}, nil
}

// settling is how long a reload of all routers may take, one after the other: documents in force for less may be followed by those that they are behind of.
const settling = time.Minute

// Current reports whether what the documents do not have has been taken away, as far as a run is concerned that began at a time: they were loaded after all
// routers had those that it began with, and have been in force since.
func (g *Gate) Current(began time.Time) bool {
	since := g.rules.Load().since
	return since.Sub(began) >= settling && time.Since(since) >= settling
}

// Child returns the id of the run that a call starts; false when nobody can tell.
func (g *Gate) Child(inv *engine.Invocation) (journal.RunID, bool) {
	b, _, err := g.startedBy(inv)
	return b.run, err == nil
}

// between makes the record of a start, a cancel or an answer durable.
func (g *Gate) between(ctx context.Context, inv *engine.Invocation) error {
	in := &intake{g: g, rules: g.rules.Load(), receipts: make([]triggers.Receipt, 1)}
	if inv.Purpose == engine.Return {
		rec, _ := inv.Answer()
		if small, smaller := engine.Smaller(&rec); smaller && g.MaxRecord > 0 && len(rec.Payload) > g.MaxRecord {
			rec = small
		}
		in.add(rec, 0)
		return errors.Join(in.append(ctx), in.receipts[0].Err)
	}
	b, e, err := g.startedBy(inv)
	switch {
	case err != nil:
		return err
	case inv.Purpose == engine.Cancel:
		rec := engine.Record(journal.Cancel, b.run, &engine.CancelFact{Reason: fmt.Sprintf("run %s, which started it, no longer waits for it", inv.Run), Ahead: true, ID: inv.ID()})
		rec.Tenant = b.tenant
		in.add(rec, 0)
	default:
		if inv.Type == engine.TypeSub {
			b.parent = inv.ID()
		}
		fuel, _ := g.fuelOf(e)
		in.start(&b, envelope.Attributes(e), inv.Input, fuel, 0)
	}
	if err := in.receipts[0].Err; err != nil {
		return &lang.Error{Type: "too_large", Message: err.Error(), Class: lang.ClassPlatform} // It never will be taken.
	}
	return errors.Join(in.append(ctx), in.receipts[0].Err)
}
