package outbox

import (
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// A call with a ticket is at work at its function, and its sink asks for the result (decision 82). It is in the state sending: its delivery is under way, in the
// room that it takes up at its function. A successor, who finds it accepted with a ticket, delivers it at once: it waits for no room, no rate, no probe and no pause,
// since nothing is started by it.

// fetcher is the sink of an item's function, where that asks for results; nil: it does not.
func (it *item) fetcher() sinks.Fetcher {
	if it.lane.fn == nil || it.lane.fn.Batch != nil || it.inv.Purpose != engine.Call {
		return nil
	}
	f, _ := it.lane.fn.sink.(sinks.Fetcher)
	return f
}

// listens reports an item whose sink is told when somebody says that its result is there.
func (it *item) listens() bool {
	is := it.fetcher() != nil
	if is && it.news == nil {
		it.news = make(chan struct{}, 1)
	}
	return is
}

// goOn takes an item over that its far end has taken under a ticket. The lock is held.
func (o *Outbox) goOn(it *item, ticket string) {
	it.ticket = ticket
	o.tickets[ticket] = itemKey{it.inv.Run, it.inv.N}
	o.enqueue(it)
}

// fetches has the result of an item with a ticket asked for, or awaits it where its function asks for none any more. False: the documents do not have its function.
func (o *Outbox) fetches(it *item) bool {
	switch {
	case it.lane.fn == nil:
		return false
	case it.fetcher() == nil:
		o.await(it)
	default:
		o.place(it.lane, it, time.Now())
	}
	return true
}

// await keeps an item that its far end has taken, and whose outcome comes as an event. The lock is held.
func (o *Outbox) await(it *item) {
	it.state = accepted
	o.watchAccepted(it)
	o.listen(it)
}

// took is the delivery's Took.
func (s *dispatch) took(ticket string) { s.o.took(s.it, ticket) }

// took takes the ticket of a call whose delivery is under way: its function has answered, and is up.
func (o *Outbox) took(it *item, ticket string) {
	o.mu.Lock()
	first := o.isCurrent(it) && it.state == sending && it.ticket == "" && engine.IsTicket(ticket)
	if first {
		it.ticket = ticket
		o.tickets[ticket] = itemKey{it.inv.Run, it.inv.N}
		it.owner.Accepted(it.inv, ticket)
		if o.early.has(ticket, time.Now()) {
			it.tell()
		}
	}
	o.mu.Unlock()
	if !first {
		return
	}
	o.judge(it, sinks.Accept(), true, notOver, time.Now())
	o.mu.Lock()
	o.fill(it.lane)
	o.mu.Unlock()
	o.pump()
}

// tell tells an item's delivery that its result may be there.
func (it *item) tell() {
	select {
	case it.news <- struct{}{}:
	default: // It has been told, and has not looked yet; or it does not listen.
	}
}

// untake gives back what a sending has used up of its function's rate, and is not made.
func (it *item) untake() {
	if it.ticket == "" {
		it.lane.bucket.Untake()
	}
}

// unticket forgets whose a ticket was.
func (o *Outbox) unticket(it *item) {
	if key := (itemKey{it.inv.Run, it.inv.N}); it.ticket != "" && o.tickets[it.ticket] == key {
		delete(o.tickets, it.ticket)
	}
}

// Fetch has the results of calls asked for by their tickets, since somebody says that they are there, and returns whose they are: zero where no call of those whom
// owns lets see has the ticket. A ticket that no call has is remembered for a while: the answer that brings it may be on its way.
func (o *Outbox) Fetch(tickets []string, owns func(tenant string) bool) []journal.RunID {
	o.mu.Lock()
	defer o.mu.Unlock()
	runs, now := make([]journal.RunID, len(tickets)), time.Now()
	for i, ticket := range tickets {
		it := o.items[o.tickets[ticket]]
		switch {
		case it == nil:
			o.early.add(ticket, now)
		case owns(it.inv.Tenant):
			it.tell()
			runs[i] = it.inv.Run
		}
	}
	return runs
}

// How many tickets are remembered that nobody has, and for how long.
const (
	earlyMost = 4096
	earlyFor  = time.Minute
)

// early are the latest tickets that nobody had.
type early struct {
	at   map[string]time.Time
	ring []string
	next int // place in the ring
}

func (e *early) add(ticket string, now time.Time) {
	if e.at == nil {
		e.at = make(map[string]time.Time)
	}
	if _, again := e.at[ticket]; again {
		e.at[ticket] = now
		return
	}
	if len(e.ring) < earlyMost {
		e.ring = append(e.ring, ticket)
	} else {
		delete(e.at, e.ring[e.next])
		e.ring[e.next] = ticket
		e.next = (e.next + 1) % earlyMost
	}
	e.at[ticket] = now
}

func (e *early) has(ticket string, now time.Time) bool {
	at, has := e.at[ticket]
	return has && now.Sub(at) < earlyFor
}
