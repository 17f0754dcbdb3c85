package simulate

import (
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A result is what a function has of a call that it took under a ticket, from some time on.
type result struct {
	due     time.Duration
	outcome lang.Outcome
}

// took writes the ticket of a call down, and begins to ask for its outcome.
func (o *outbox) took(it *item, ticket string) {
	if !o.current(it) || it.ticket != "" {
		return
	}
	it.ticket = ticket
	o.t.write(engine.Record(journal.Accepted, it.inv.Run, &engine.AcceptedFact{Numbers: []uint32{it.inv.N}, Tickets: []string{ticket}}))
	o.fetch(it, time.Second)
}

// goOn asks for the outcome of what a former owner has the ticket of.
func (o *outbox) goOn(it *item, ticket string) {
	w, inv := o.t.w, it.inv
	w.GoneOn++
	it.ticket, it.flying, it.sent = ticket, true, w.now
	o.lane(inv.Function).flying++
	if inv.Timeout > 0 {
		o.timeOut(it, max(inv.Past().Accepted.Add(inv.Timeout).Sub(o.t.clock()), min(time.Minute, inv.Timeout)))
	}
	if w.beating[key{inv.Run, inv.N}] {
		o.listen(it)
	}
	w.After(w.transit(), func() { o.fetch(it, time.Second) })
}

// fetch asks for an outcome until it is there.
func (o *outbox) fetch(it *item, pause time.Duration) {
	w := o.t.w
	if !o.current(it) {
		return
	}
	if r, has := w.tickets[it.ticket]; !has {
		w.fail("tenure %d: nobody has given the ticket %q", o.t.id, it.ticket)
	} else if r.due <= w.now && !w.chance(LostAnswer) {
		o.answered(it, journal.Completion, r.outcome)
		return
	}
	w.After(pause, func() { o.fetch(it, min(2*pause, 10*time.Second)) })
}

// knew holds an owner to what was journaled before it began: what has a ticket is not started again.
func (o *outbox) knew(inv *engine.Invocation) {
	log := o.t.p.log
	for i := range log[:min(o.t.mark, int64(len(log)))] {
		rec := &log[i]
		if rec.Kind != journal.Accepted || rec.Run != inv.Run {
			continue
		}
		f, err := engine.DecodeAccepted(rec.Payload)
		for k, n := range f.Numbers {
			if err == nil && n == inv.N && f.Tickets != nil && f.Tickets[k] != "" {
				o.t.w.fail("tenure %d: call %s is started again, and its ticket was journaled at %d", o.t.id, inv.ID(), i)
			}
		}
	}
}
