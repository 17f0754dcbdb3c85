package admission

import (
	"context"
	"fmt"

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
	said    <-chan engine.Said // nil where another router folds it
	stop    func()
}

func (in *intake) meeting(rec *journal.Record, trigger string, receipt int) meeting {
	m := meeting{receipt: receipt, run: rec.Run, trigger: trigger}
	m.said, m.stop = in.g.Runs.Await(rec)
	return m
}

// A doubt is an event that is refused unless runs wait for it: those are asked together.
type doubt struct {
	receipt int
	c       *content
	begins  []beginning
	fuel    int
	outside bool
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

// settleDoubts takes those events for which runs wait, and refuses the others. What is waited for costs nothing of a rate.
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
		for k := range d.begins {
			b := &d.begins[k]
			if b.names == nil {
				costs = append(costs, *b)
				continue // There is room for it.
			}
			if !gathers[0] {
				costs = append(costs, *b)
			}
			room := in.busy() == nil && in.g.Runs.Full(b.run) == ""
			joins = joins && (gathers[0] || room)
			gathers = gathers[1:]
		}
		if !joins {
			in.receipts[d.receipt] = triggers.Receipt{Err: d.why}
			in.g.overRate(d.why)
			continue
		}
		if err := in.pay(costs); err != nil {
			in.receipts[d.receipt] = triggers.Receipt{Err: err}
			in.g.overRate(err)
			continue
		}
		if panicked := guard.Do("admission", func() { in.begin(d.receipt, d.c, d.begins, d.fuel, d.outside) }); panicked != nil {
			in.receipts[d.receipt] = triggers.Receipt{Err: fmt.Errorf("%w: %w", triggers.ErrPanicked, panicked)}
		}
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
	at := -1
	for i := range r.Runs {
		if r.Runs[i].Trigger == m.trigger {
			at = i
		}
	}
	if at < 0 {
		return
	}
	drop := func(why string) {
		r.Runs = append(r.Runs[:at], r.Runs[at+1:]...)
		if r.Note == "" {
			r.Note = clip("trigger " + m.trigger + ": " + why)
		}
	}
	switch {
	case said.Reason == engine.Applied:
		r.Runs[at].Key = "" // It has opened the round.
	case said.Reason == 0: // Nobody could say in time.
		if r.Note == "" {
			r.Note = clip("trigger " + m.trigger + ": it is durable; the run is this one, unless another one gathers for its key")
		}
	case said.Reason == engine.Unmatched, said.Reason == engine.Limited:
		drop(said.Met.Why)
		if len(r.Runs) == 0 && r.Kind == triggers.Matched && said.Reason == engine.Unmatched {
			r.Kind = triggers.Unmatched
		}
	case said.Reason == engine.Finished && !in.g.Runs.Ended(m.run):
		drop("it has come before, and counts once")
	case !said.Met.Run.IsZero():
		r.Runs[at] = in.g.handle(said.Met.Run, m.trigger)
		if said.Met.Why != "" && r.Note == "" {
			r.Note = clip("trigger " + m.trigger + ": " + said.Met.Why)
		}
	}
}
