package admission

import (
	"context"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// A beginning is a run that is to be started.
type beginning struct {
	trigger *config.Trigger
	run     journal.RunID
	key     string
	names   []string // which of the events that the trigger awaits it is; nil for a trigger whose every event starts a run
	several bool     // the event has other keys of the trigger as well
	tenant  string
	parent  string // the invocation that waits for its end
	overlap engine.Overlap
}

// A name is that by which it is known whether an event has come before.
type name struct{ source, id string }

func nameOf(e *event.Event) name { return name{envelope.SourceOf(e), e.ID()} }

// nameOf is the name of event i of those that came together. No source of a CloudEvent is "sealed:", for that is no URI reference.
func (in *intake) nameOf(i int, e *event.Event) name {
	if seal := triggers.SealOf(in.ctx); seal != "" {
		return name{"sealed: " + in.door.Source, fmt.Sprint(seal, ".", i)}
	}
	return nameOf(e)
}

// beginnings adds to a list which runs of a trigger an event starts that is known by a name: more than one where it has several keys. The error says why it has none.
func (g *Gate) beginnings(to []beginning, t *config.Trigger, n name, e *event.Event, attrs, data lang.Value) ([]beginning, error) {
	if t.Gathers() {
		met, err := t.MeetOf(filter.Of(e), attrs, data)
		if err != nil {
			return to, err
		}
		if whole := attrs.Size() + data.Size(); len(met) > 1 && len(met)*whole > maxKeyed {
			return to, fmt.Errorf("it has %d keys for correlate and %d bytes, and is journaled once a key, with %d bytes in all at most; pass large data by reference (dataref)", len(met), whole, maxKeyed)
		}
		for _, m := range met {
			to = append(to, beginning{trigger: t, tenant: t.Tenant, run: g.ids.Keyed(t.Tenant, t.Name, m.Key, n.source, n.id), key: m.Key, names: m.Names, several: len(met) > 1})
		}
		return to, nil
	}
	key, err := t.KeyOf(attrs, data)
	switch {
	case err != nil:
		return to, err
	case key == "":
		return append(to, beginning{trigger: t, tenant: t.Tenant, run: g.ids.Of(t.Tenant, t.Name, n.source, n.id)}), nil
	}
	return append(to, beginning{trigger: t, tenant: t.Tenant, run: g.ids.Keyed(t.Tenant, t.Name, key, n.source, n.id), key: key}), nil
}

// maxKeyed bounds what one event with several keys comes to in the journal: it is journaled once a key. One key always has room.
const maxKeyed = 16 << 20

// beginning is beginnings for who starts one run by name. The error says so of an event that would start several.
func (g *Gate) beginning(t *config.Trigger, n name, e *event.Event, attrs, data lang.Value) (beginning, error) {
	begins, err := g.beginnings(nil, t, n, e, attrs, data)
	switch {
	case err != nil:
		return beginning{}, err
	case len(begins) > 1:
		return beginning{}, fmt.Errorf("its correlate yields %d keys, and this is to start one run; send it as an event, or let a map start a run of each", len(begins))
	}
	return begins[0], nil
}

// beginnings are the runs that an event starts; without says of which trigger it starts none, for want of a key: it is a dead letter then.
func (in *intake) beginnings(matched []*config.Trigger, n name, e *event.Event, attrs, data lang.Value) (begins []beginning, without string) {
	begins = make([]beginning, 0, len(matched))
	for _, t := range matched {
		var err error
		before := len(begins)
		begins, err = in.g.beginnings(begins, t, n, e, attrs, data)
		if err == nil && in.door.Overlap != 0 && t.Key.IsZero() { // All that the source starts of the trigger lies together.
			b := &begins[before]
			b.overlap, b.key = in.door.Overlap, "source/"+in.door.Source
			b.run = in.g.ids.Keyed(t.Tenant, t.Name, b.key, n.source, n.id)
		}
		if err != nil && without == "" {
			without = clip(fmt.Sprintf("trigger %s starts nothing: %v", t.Name, err))
			in.bury(t, e, err)
		}
	}
	return begins, without
}

// shares divides what an event's chain has left among what it begins: the triggers that take it share it, and so do the keys of an event that runs have brought
// about. One from outside, for which outside stands, brings as much for each of its keys as an event of that key alone would, and one run at least.
func shares(begins []beginning, fuel int, outside bool) []int {
	triggers, all := 0, make([]int, len(begins))
	for i := range begins {
		if i == 0 || begins[i].trigger != begins[i-1].trigger {
			triggers++
		}
	}
	for i, at := 0, 0; i < len(begins); at++ {
		end := i + 1
		for end < len(begins) && begins[end].trigger == begins[i].trigger {
			end++
		}
		share := engine.Share(fuel, triggers, at)
		for k := i; k < end; k++ {
			if all[k] = engine.Share(share, end-i, k-i); outside {
				all[k] = max(share, 1) // What many triggers take is no chain yet.
			}
		}
		i = end
	}
	return all
}

// start adds the record that starts a run with so much of its chain's fuel; false when the receipt says why there is none.
func (in *intake) start(b *beginning, attrs, data lang.Value, fuel, receipt int) bool {
	t := b.trigger
	f := engine.StartFact{Trigger: t.Name, Digest: t.Digest, Event: attrs, Data: data, Spent: fullFuel - fuel, Key: b.key, Parent: b.parent, Overlap: b.overlap, Names: b.names}
	rec := engine.Record(journal.Start, b.run, &f)
	rec.Tenant = t.Tenant
	p := in.g.Layout.Partition(b.run.Route())
	if in.g.definitions.first(p, t.Digest) {
		define := journal.Record{Kind: journal.Define, Level: journal.Level, Partition: p, Payload: engine.DefinePayload(t.Definition)}
		in.records = append(in.records, define)
		in.whose = append(in.whose, -1)
	}
	if !in.add(rec, receipt) {
		return false
	}
	if b.names != nil && in.asks {
		in.meets = append(in.meets, in.meeting(&in.records[len(in.records)-1], b, receipt))
	}
	return true
}

// handle is what a source may do with a run that it touched.
func (g *Gate) handle(id journal.RunID, trigger string) triggers.Run {
	return triggers.Run{ID: id.String(), Trigger: trigger, Wait: func(ctx context.Context) (*event.Event, error) {
		f, err := g.Runs.Wait(ctx, id)
		if err != nil {
			return nil, err
		}
		return endEvent(f), nil
	}}
}

// Start starts a run of a trigger by name, whatever its filters, and returns its id. The same source and id give the same run. Of a trigger whose events meet
// it is the run to whose round the event has come; an error wraps ErrInvalid when no round takes it.
func (g *Gate) Start(ctx context.Context, trigger string, e *event.Event) (journal.RunID, error) {
	if err := g.busy(0); err != nil {
		return journal.RunID{}, err
	}
	if why := g.Runs.Full(g.RunIDOf(trigger, e)); why != "" {
		return journal.RunID{}, elsewhere(why)
	}
	if set := g.rules.Load().set; set.Trigger(trigger) != nil {
		if err := g.pay(set, "", set.Trigger(trigger).Tenant); err != nil {
			g.overRate(err)
			return journal.RunID{}, err
		}
	}
	in, run, err := g.startInside(ctx, trigger, e, true)
	if err != nil || len(in.meets) == 0 {
		return run, err
	}
	if in.met(ctx); len(in.receipts[0].Runs) == 0 {
		return run, fmt.Errorf("%w: %s", triggers.ErrInvalid, in.receipts[0].Note)
	}
	return journal.ParseRunID(in.receipts[0].Runs[0].ID)
}

// StartInside is Start for what runs bring about: it is never refused for being too much. What ends is bounded by what was started, and would not end. The id is
// that under which the event goes, whatever round it comes to.
func (g *Gate) StartInside(ctx context.Context, trigger string, e *event.Event) (journal.RunID, error) {
	_, run, err := g.startInside(ctx, trigger, e, false)
	return run, err
}

func (g *Gate) startInside(ctx context.Context, trigger string, e *event.Event, asks bool) (*intake, journal.RunID, error) {
	rl := g.rules.Load()
	t := rl.set.Trigger(trigger)
	if t == nil {
		return nil, journal.RunID{}, fmt.Errorf("%w %q; %s", triggers.ErrNoTrigger, trigger, lang.Nearest(trigger, rl.set.TriggerNames()))
	}
	if g.draining.Load() {
		return nil, journal.RunID{}, triggers.ErrDraining
	}
	data, err := dataOf(e)
	if err != nil {
		return nil, journal.RunID{}, err
	}
	in := &intake{g: g, ctx: ctx, asks: asks, rules: rl, receipts: make([]triggers.Receipt, 1)}
	fuel, outside := g.fuelOf(e)
	attrs := envelope.Attributes(e)
	begins, err := g.beginnings(nil, t, nameOf(e), e, attrs, data)
	if err == nil && asks && len(begins) > 1 {
		_, err = g.beginning(t, nameOf(e), e, attrs, data) // Who asks is told of one run.
	}
	if err != nil {
		return nil, journal.RunID{}, fmt.Errorf("%w: trigger %q: %w", triggers.ErrInvalid, trigger, err)
	}
	in.begin(0, attrs, data, begins, shares(begins, fuel, outside))
	if err := in.append(ctx); err != nil {
		return nil, begins[0].run, err
	}
	return in, begins[0].run, in.receipts[0].Err
}

// RunIDOf returns the id of the run that Start makes of an event.
func (g *Gate) RunIDOf(trigger string, e *event.Event) journal.RunID {
	t := g.rules.Load().set.Trigger(trigger)
	if t == nil {
		return g.ids.Of(config.DefaultTenant, trigger, e.Source(), e.ID())
	}
	var b beginning
	if data, err := dataOf(e); t.Key.IsZero() && !t.Gathers() || err == nil {
		b, _ = g.beginning(t, nameOf(e), e, envelope.Attributes(e), data) // Start says what is wrong with it.
	}
	return b.run
}
