package admission

import (
	"context"

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

// joins reports whether an event is waited for by a run: then it is taken however many runs there are, or those would not end.
func (in *intake) joins(b *beginning) bool {
	return b.names != nil && in.g.Runs.Gathers(in.ctx, b.run, b.tenant, b.trigger.Name, b.key)
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
