package outbox

import (
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

type itemKey struct {
	run journal.RunID
	n   uint32
}

// An itemState says where an invocation is.
type itemState uint8

const (
	queued itemState = iota + 1
	sending
	resending
	accepted
	held // its run, function or trigger is paused
)

// An item is one invocation that has no outcome yet.
type item struct {
	inv    *engine.Invocation
	owner  Owner
	lane   *lane
	state  itemState
	probe  bool    // it was sent to find out whether the function is back
	parcel *parcel // that it goes in; nil where it goes alone
	since  time.Time
	made   time.Time // it came here
	first  time.Time // it was sent first; zero before
	until  time.Time // of resending
	tries  int       // sends
	again  int       // of them, those that were not answered
	err    string    // of the last try, and its type
	kind   string
	gone   bool            // forgotten
	former bool            // it is older than the tenure: a former owner may have sent it
	try    *try            // its sending, while it may be ended
	timer  *time.Timer     // of its state
	age    *time.Timer     // gives it up
	by     *kept           // that it is kept by
	busy   <-chan struct{} // its function works on though it was given up
	pulse  pulse
	ticket string        // what the far end knows it by, that has taken it; empty is nothing
	news   chan struct{} // somebody says that its result is there; nil where nobody listens
}

// unsent reports a call that no function has been sent yet.
func (it *item) unsent() bool {
	return it.tries == 0 && it.ticket == "" && it.inv.Purpose == engine.Call
}

// successorTries is how long an owner tries at least, of what a former one has tried for longer than it may: it may be that owner who could not.
const successorTries = time.Minute

// sentFirst keeps from when an item's age counts: its first sending, by this owner or a former one.
func (it *item) sentFirst(now time.Time) {
	if it.first.IsZero() {
		it.first = now
	} else if fn := it.lane.fn; fn != nil && fn.MaxAge > 0 && it.first.Add(fn.MaxAge).Before(now.Add(successorTries)) {
		it.first = now.Add(min(successorTries, fn.MaxAge) - fn.MaxAge)
	}
}

// end is when an item is given up; zero is never. Its age counts from its first sending: what waits in our own queue is not late, nor what this owner
// has not tried yet.
func (it *item) end() time.Time {
	end := it.inv.Expires
	if it.state == accepted && it.inv.Heartbeat > 0 {
		return end // It is not without an answer: it has a heartbeat, or is timed out.
	}
	if fn := it.lane.fn; fn != nil && fn.MaxAge > 0 && (it.tries > 0 || it.state == accepted) {
		if at := it.first.Add(fn.MaxAge); end.IsZero() || at.Before(end) {
			end = at
		}
	}
	return end
}

// old reports whether an item's time is over.
func (it *item) old() bool {
	end := it.end()
	return !end.IsZero() && !time.Now().Before(end)
}

// missingAge is how long an item waits for a function, or a trigger, that the documents do not have: as long as a reload of all routers takes, one after
// the other, or a person who sees what he has taken away. Beyond that somebody has to hear of it. A run that waits for another one hears of a missing trigger
// sooner, where it is known that no reload brings it (Intake.Current).
const missingAge = 10 * time.Minute

func (it *item) timedOut(silent bool, end time.Time) {
	it.owner.Write(engine.Record(journal.TimedOut, it.inv.Run, &engine.TimedOutFact{Numbers: []uint32{it.inv.N}, Silent: silent, Sending: it.times(end)}))
}

// times are those of an item whose try has ended.
func (it *item) times(end time.Time) engine.Sending {
	return engine.Sending{Made: it.made, Sent: it.since, Arrived: end}
}

// sent are those of an item that was sent and has not been answered here: it may wait to be sent again, and then its first sending counts.
func (it *item) sent() engine.Sending {
	switch {
	case it.tries == 0:
		return engine.Sending{}
	case it.state == queued || it.state == held:
		return engine.Sending{Made: it.made, Sent: it.first}
	}
	return engine.Sending{Made: it.made, Sent: it.since}
}

// missed is when an item is given up whose function is not in the documents.
func (it *item) missed() time.Time {
	at := it.lane.missing.Add(missingAge)
	if end := it.inv.Expires; !end.IsZero() && end.Before(at) {
		return end
	}
	return at
}
