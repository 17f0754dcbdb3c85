package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// A meeting is an event of a round whose sender is told what became of it: which run it has come to, or why to none.
type meeting struct {
	receipt int
	run     journal.RunID // as which it goes
	trigger string
	key     string             // of several that the event has; empty where it has one
	said    <-chan engine.Said // nil where another router folds it
	stop    func()
}

func (in *intake) meeting(rec *journal.Record, b *beginning, receipt int) meeting {
	m := meeting{receipt: receipt, run: rec.Run, trigger: b.trigger.Name}
	if b.several {
		m.key = b.key
	}
	m.said, m.stop = in.g.Runs.Await(rec)
	return m
}

// note is what is told of the meeting, as a receipt's note.
func (m *meeting) note(what string) string {
	if m.key != "" {
		return clip(fmt.Sprintf("trigger %s, key %.100q: %s", m.trigger, m.key, what))
	}
	return clip("trigger " + m.trigger + ": " + what)
}

// A doubt is an event that is refused unless runs wait for it: those are asked together.
type doubt struct {
	receipt int
	c       *content
	begins  []beginning
	fuel    []int // of each
	why     error // it is refused
}

// crowded says why nothing that an event begins is taken at present; with doubts, all of that may be waited for by runs, which are to be asked: then it is taken
// however many there are, or those would not end.
func (in *intake) crowded(begins []beginning) (why error, doubts bool) {
	for k := range begins {
		b := &begins[k]
		full := in.busy()
		if other := in.g.Runs.Full(b.run); other != "" {
			full = elsewhere(other)
		}
		switch {
		case full == nil:
		case b.names == nil:
			return full, false
		default:
			why, doubts = full, true
		}
	}
	return why, doubts
}

// settleDoubts takes those events for which runs wait, and refuses the others. What is waited for costs nothing of a rate. Of an event with several keys those
// are taken for which runs wait, whatever becomes of the others, or what would make room could not end; as a whole it is refused then, and sent again it is
// completed: what was taken counts once.
func (in *intake) settleDoubts() {
	if len(in.doubts) == 0 {
		return
	}
	var keys []engine.RoundKey
	for _, d := range in.doubts {
		for k := range d.begins {
			if b := &d.begins[k]; b.names != nil {
				keys = append(keys, engine.RoundKey{Run: b.run, Tenant: b.tenant, Trigger: b.trigger.Name, Key: b.key})
			}
		}
	}
	ctx, cancel := context.WithTimeout(in.ctx, patience)
	defer cancel()
	gathers := in.g.Runs.Gathers(ctx, keys)
	for i := range in.doubts {
		d := &in.doubts[i]
		joins, costs := true, []beginning(nil)
		var awaited []beginning // for want of room, of several keys
		var fuel []int
		for k := range d.begins {
			b := &d.begins[k]
			if b.names == nil {
				costs = append(costs, *b)
				continue // There is room for it.
			}
			if !gathers[0] {
				costs = append(costs, *b)
			} else if b.several {
				awaited, fuel = append(awaited, *b), append(fuel, d.fuel[k])
			}
			room := in.busy() == nil && in.g.Runs.Full(b.run) == ""
			joins = joins && (gathers[0] || room)
			gathers = gathers[1:]
		}
		why := d.why
		if joins {
			why = in.pay(costs)
		}
		if why == nil {
			in.beginDoubtful(d, d.begins, d.fuel)
			in.g.metrics.taken[triggers.Matched].Inc()
			continue
		}
		in.receipts[d.receipt] = triggers.Receipt{}
		if in.beginDoubtful(d, awaited, fuel); in.receipts[d.receipt].Err == nil {
			in.receipts[d.receipt] = triggers.Receipt{Err: why}
		}
		in.g.overRate(why)
	}
}

// beginDoubtful lets what was in doubt begin.
func (in *intake) beginDoubtful(d *doubt, begins []beginning, fuel []int) {
	n, met := len(in.records), len(in.meets)
	if panicked := guard.Do("admission", func() { in.begin(d.receipt, d.c.attrs, d.c.data, begins, fuel) }); panicked != nil {
		in.takeBack(n, met)
		in.receipts[d.receipt] = triggers.Receipt{Err: fmt.Errorf("%w: %w", triggers.ErrPanicked, panicked)}
	}
}

// met writes into the receipts what the folds have made of the events that meet others, for as long as patience goes.
func (in *intake) met(ctx context.Context) {
	if len(in.meets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range in.meets {
		m := &in.meets[i]
		r := &in.receipts[m.receipt]
		if r.Err != nil {
			m.stop()
			continue
		}
		var said engine.Said
		if m.said != nil {
			select {
			case said = <-m.said:
			case <-ctx.Done():
			}
		}
		m.stop()
		in.tell(m, r, said)
	}
}

// tell makes a receipt say what became of its event.
func (in *intake) tell(m *meeting, r *triggers.Receipt, said engine.Said) {
	id := m.run.String()
	at := slices.IndexFunc(r.Runs, func(run triggers.Run) bool { return run.ID == id })
	if at < 0 {
		return
	}
	note := func(what string) {
		if r.Note == "" && what != "" {
			r.Note = m.note(what)
		}
	}
	drop := func(why string) {
		r.Runs = append(r.Runs[:at], r.Runs[at+1:]...)
		note(why)
	}
	switch {
	case said.Reason == engine.Applied:
		r.Runs[at].Key = "" // It has opened the round.
		note(said.Met.Why)
	case said.Reason == 0: // Nobody could say in time.
		note("it is durable; the run is this one, unless another one gathers for its key")
	case said.Reason == engine.Unmatched, said.Reason == engine.Limited:
		drop(said.Met.Why)
		if len(r.Runs) == 0 && r.Kind == triggers.Matched && said.Reason == engine.Unmatched {
			r.Kind = triggers.Unmatched
		}
	case said.Reason == engine.Finished && !in.g.Runs.Ended(m.run):
		drop("it has come before, and counts once")
	case !said.Met.Run.IsZero():
		r.Runs[at] = in.g.handle(said.Met.Run, m.trigger)
		note(said.Met.Why)
	}
}
