package outbox

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/prometheus/client_golang/prometheus"
)

// An Owner is the shard that an invocation is of: it journals what became of it.
type Owner interface {
	Context() context.Context // ends with the tenure
	// Accepted writes down that an invocation or event has arrived, with the ticket that its far end has given; empty is none.
	Accepted(inv *engine.Invocation, ticket string)
	// Write appends a record of the owner's soon.
	Write(rec journal.Record)
	// Now is the time by which Accepted times are: the fold's, which this machine's clock may be far from. It is asked by whoever adds.
	Now() time.Time
}

// An Intake knows what an invocation is outside, and takes in again what never leaves the router: the ends of runs.
type Intake interface {
	// Outgoing is the event of an invocation. The error is final: what a destination says of it makes no event.
	Outgoing(inv *engine.Invocation) (envelope.Outgoing, error)
	// Match returns what the filters let through of a run's end; nil is nothing.
	Match(inv *engine.Invocation) *engine.MatchedFact
	// Place says which run a call of a trigger starts, to be journaled before it does. The errors are StartFor's.
	Place(inv *engine.Invocation) (*engine.MatchedFact, error)
	// StartFor starts what was matched, or the trigger that a destination names, durably; repeated it starts nothing twice. A *lang.Error is final,
	// after any other error it is to be tried again.
	StartFor(ctx context.Context, inv *engine.Invocation) error
	// Child returns the id of the run that a call of a trigger starts; false when it cannot be told.
	Child(inv *engine.Invocation) (journal.RunID, bool)
	// Reply takes in the event that a function has answered an invocation with, durably, and is idempotent by the invocation. An error says that it may yet be.
	Reply(ctx context.Context, inv *engine.Invocation, e *event.Event) error
	// Current reports whether a trigger that the documents do not have has been taken away, for a run that began at a time: they are newer than it. Else
	// another router may have newer ones.
	Current(began time.Time) bool
}

// Options are what an outbox is made of.
type Options struct {
	Intake   Intake
	Host     sinks.Host                 // what sinks are offered; Concurrency is each function's
	Halt     func(function, why string) // stops a function until people let it go on; nil: nothing does
	MaxValue int                        // bytes of a value inside a run
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil registers nothing
}

// An Outbox sends what the folds oblige to: at most a function's concurrency at a time, tenants, triggers and runs in turn, again under the same id
// until it is known to have arrived or its time is over. It decides nothing that is not in its hands: outcomes are records.
type Outbox struct {
	Options
	metrics *metrics
	bound   bound

	mu    sync.Mutex
	lanes map[string]*lane
	items map[itemKey]*item
	// owners are those whose tries are out, with what stops the looking out for the end of their tenures.
	owners map[Owner]func() bool
	kept   map[journal.RunID]*kept // runs that are paused
	// tickets are of items, early those that were named before their items were known here.
	tickets map[string]itemKey
	early   early
	// stopped are the functions and triggers that people have paused, limits what they allow functions at a time.
	stopped   map[string]*kept
	limits    map[string]int
	governing sync.Mutex // of who changes them
	ready     []*item    // to be started once the lock is free
	// gathering are lanes of functions that take batches, to which something has come.
	gathering []*lane
	// pumping says that a goroutine starts them.
	pumping bool
	// draining says that nothing more is sent: what is queued is for the next owner.
	draining bool
	// under has the deliveries that sinks have not ended.
	under tally
}

// New makes an outbox without functions: Load brings them.
func New(o Options) *Outbox {
	out := &Outbox{Options: o, metrics: newMetrics(o.Metrics), lanes: make(map[string]*lane), items: make(map[itemKey]*item), owners: make(map[Owner]func() bool), tickets: make(map[string]itemKey), kept: make(map[journal.RunID]*kept), stopped: make(map[string]*kept)}
	if o.Metrics != nil {
		o.Metrics.MustRegister(out)
	}
	return out
}

// A Share is what one owner has in the outbox. Its methods may be called concurrently.
type Share struct {
	o     *Outbox
	owner Owner
}

// For returns an owner's share, for one tenure.
func (o *Outbox) For(owner Owner) *Share { return &Share{o, owner} }

// Add takes an invocation over. It is sent with the next Pump.
func (s *Share) Add(inv *engine.Invocation) { s.o.add(s.owner, inv) }

// Stop forgets invocations that are no longer wanted, and aborts them where that can be done; that of this run and number, because its outcome has come:
// it returns since when that was here and when it was sent, which is zero when a former owner has sent it.
func (s *Share) Stop(list []*engine.Invocation, run journal.RunID, answered engine.Answer) engine.Sending {
	return s.o.stop(list, run, answered)
}

// Halt keeps a run's calls back that are not sent yet, or sends those that were kept back.
func (s *Share) Halt(h engine.Halt) { s.o.hold(s.owner, h) }

// Pump starts what may be sent.
func (s *Share) Pump() { s.o.pump() }

// Leave forgets what the owner had: the next one sends it.
func (s *Share) Leave() { s.o.leave(s.owner) }

// add takes an invocation over. It is sent with the next pump.
func (o *Outbox) add(s Owner, inv *engine.Invocation) {
	switch {
	case inv.Purpose == engine.Route:
		o.route(s, inv)
		return
	case inv.ToTrigger != "" || inv.Purpose == engine.Return:
		if o.keepsSub(s, inv) {
			return
		}
		go o.start(s, inv, time.Time{})
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key := itemKey{inv.Run, inv.N}
	if o.items[key] != nil {
		return
	}
	if inv.Purpose == engine.Cancel && o.neverSent(inv.Cause) {
		o.metrics.cancels.WithLabelValues(inv.Function, "not needed").Inc()
		s.Accepted(inv, "")
		return
	}
	now := time.Now()
	it := &item{inv: inv, owner: s, since: now, made: now, former: inv.Created.Before(s.Now())}
	o.items[key] = it
	if inv.Purpose == engine.Cancel {
		it.lane = o.laneOfCancels(inv.Function)
	} else {
		it.lane = o.laneOf(inv.Function)
	}
	past := inv.Past()
	if !past.Accepted.IsZero() {
		it.since = it.since.Add(min(past.Accepted.Sub(s.Now()), 0))
		it.first = it.since
		if past.Ticket != "" {
			o.goOn(it, past.Ticket)
			return
		}
		o.await(it)
		return
	}
	if !past.Tried.IsZero() {
		it.first = it.since.Add(min(past.Tried.Sub(s.Now()), 0))
	}
	o.enqueue(it)
}

// completed, timedOut and gaveUp write down how an invocation ended.
func completed(s Owner, inv *engine.Invocation, outcome lang.Outcome, when engine.Sending) {
	s.Write(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: outcome, Sending: when}))
}

func (o *Outbox) gaveUp(s Owner, inv *engine.Invocation, e *lang.Error) {
	if inv.Purpose == engine.Cancel {
		o.metrics.cancels.WithLabelValues(inv.Function, "given up").Inc()
		o.Log.Warn("a function could not be told that a call is dropped", "function", inv.Function, "call", inv.Cause, "error", e)
	}
	s.Write(engine.Record(journal.GaveUp, inv.Run, &engine.GaveUpFact{N: inv.N, Err: e}))
}

func (o *Outbox) laneOf(function string) *lane {
	l := o.lanes[function]
	if l == nil {
		l = newLane(function, o.bound.get(function))
		o.limit(l)
		o.lanes[function] = l
	}
	return l
}

// laneOfCancels is a function's second lane: what tells it of dropped calls has room of its own, since calls that hang may have taken all that there is. Its
// rate is the function's.
func (o *Outbox) laneOfCancels(function string) *lane {
	key := function + "~cancel"
	l := o.lanes[key]
	if l == nil {
		l = newLane(function, o.bound.get(function))
		o.limit(l)
		l.cancels, l.bucket = true, o.laneOf(function).bucket
		o.lanes[key] = l
	}
	return l
}

// neverSent reports whether a call that is dropped has not left yet: its function need not hear of it.
func (o *Outbox) neverSent(call string) bool {
	run, _, n, ok := engine.ParseInvocationID(call)
	it := o.items[itemKey{run, n}]
	return ok && it != nil && (it.state == queued || it.state == held) && it.tries == 0 && !it.former
}

func (o *Outbox) enqueue(it *item) {
	if it.ticket != "" && o.fetches(it) || o.keeps(it) {
		return
	}
	l := it.lane
	if l.fn != nil && l.fn.Batch == nil && l.queue == 0 && !o.draining {
		if now := time.Now(); l.open(now) {
			o.place(l, it, now) // Nobody waits: it need not stand in line.
			return
		}
	}
	it.state = queued
	l.waiting.push(it)
	l.queue++
	if l.fn != nil && l.fn.Batch != nil {
		o.gather(l)
		return
	}
	if l.fn == nil {
		o.watchMissing(it)
	}
	o.fill(l)
}

// watchMissing gives an item up when its function does not come back to the documents: at once when it has been gone for long.
func (o *Outbox) watchMissing(it *item) {
	it.timer = time.AfterFunc(time.Until(it.missed()), func() {
		o.giveUp(it, func() bool { return it.state == queued && it.lane.fn == nil })
	})
}

// watchAge gives an item up that is too old, unless it is at work then: a try has its own bounds.
func (o *Outbox) watchAge(it *item) {
	if it.age != nil {
		it.age.Stop()
	}
	end := it.end()
	if end.IsZero() {
		return
	}
	it.age = time.AfterFunc(time.Until(end), func() {
		o.giveUp(it, func() bool { return it.state != sending && it.old() })
	})
}

// giveUp gives an item up, if it is still what it was.
func (o *Outbox) giveUp(it *item, still func() bool) {
	o.mu.Lock()
	mine, why := o.isCurrent(it) && still(), (*lang.Error)(nil)
	if mine {
		why = it.undelivered()
		o.forget(it)
	}
	o.mu.Unlock()
	if mine {
		o.timed(it, wasGivenUp)
		o.gaveUp(it.owner, it.inv, why)
	}
}

func (o *Outbox) isCurrent(it *item) bool { return !it.gone }

// forget takes an item out, wherever it is.
func (o *Outbox) forget(it *item) {
	delete(o.items, itemKey{it.inv.Run, it.inv.N})
	o.unticket(it)
	it.gone = true
	switch it.state {
	case queued:
		it.lane.unwanted(o.isCurrent)
	case held:
		it.lane.held--
		it.by.take(it)
	}
	for _, t := range []*time.Timer{it.timer, it.age, it.pulse.timer} {
		if t != nil {
			t.Stop()
		}
	}
}

// fill takes from those in turn while the function has room, or one while it is held.
func (o *Outbox) fill(l *lane) {
	now := time.Now()
	for !o.draining && l.open(now) && !o.isPaused(l) && !o.lingers(l, now) {
		it := o.next(l)
		if it == nil {
			break
		}
		o.place(l, it, now)
		if l.fn.Batch != nil {
			o.pack(l, it, now)
		}
	}
	if l.queue > 0 && !o.draining && l.free(now) && !o.isPaused(l) && !o.lingers(l, now) {
		o.awaitToken(l, now)
	} else {
		l.dry = time.Time{}
	}
	if l.is != up && l.queue > 0 && l.probe == nil && l.until.After(now) {
		o.wakeAt(l, l.until)
	}
}

// next takes the next item that may go; nil is none, or that too many stand before it which were paused just now: who pauses lays them aside, and fills the lane.
func (o *Outbox) next(l *lane) *item {
	for range atATime {
		it := l.next(o.isCurrent)
		if it == nil {
			return nil
		}
		k := o.keeper(it)
		if k == nil {
			return it
		}
		o.setAside(it, k)
	}
	return nil
}

// place gives an item room in its function.
func (o *Outbox) place(l *lane, it *item, now time.Time) {
	it.state = sending
	l.flying++
	l.handing++
	if it.parcel == nil {
		l.rooms++
	}
	if it.ticket == "" {
		l.bucket.Take()
	}
	if !l.dry.IsZero() {
		o.metrics.rateWait.WithLabelValues(l.name).Add(now.Sub(l.dry).Seconds())
		l.dry = time.Time{}
	}
	if l.is != up && it.ticket == "" { // What is at work proves nothing of who takes more.
		it.probe, l.probe = true, it
		o.wakeAt(l, now.Add(probePatience))
	}
	o.ready = append(o.ready, it)
}

// awaitToken looks after a lane that has room, and has used up its rate.
func (o *Outbox) awaitToken(l *lane, now time.Time) {
	if l.dry.IsZero() {
		l.dry = now
	}
	if l.refill != nil {
		return
	}
	l.refill = time.AfterFunc(l.bucket.Wait(now), func() {
		o.mu.Lock()
		l.refill = nil
		o.fill(l)
		o.mu.Unlock()
		o.pump()
	})
}

// wakeAt looks after a lane that is held: its next probe is due, or one has been at work for so long that another may go.
func (o *Outbox) wakeAt(l *lane, at time.Time) {
	if l.wake != nil {
		l.wake.Stop()
	}
	probe := l.probe
	l.wake = time.AfterFunc(time.Until(at), func() {
		o.mu.Lock()
		if probe != nil && l.probe == probe {
			l.probe = nil
		}
		o.fill(l)
		o.mu.Unlock()
		o.pump()
	})
}

// pump starts what may be sent. One goroutine does it at a time: a sink that is done at once calls back into here, and must not recurse.
func (o *Outbox) pump() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pumping {
		return
	}
	o.pumping = true
	o.gathered()
	for len(o.ready) > 0 {
		ready := o.ready
		o.ready = nil
		o.mu.Unlock()
		for len(ready) > 0 {
			n := 1
			for p := ready[0].parcel; p != nil && n < len(ready) && ready[n].parcel == p; {
				n++
			}
			o.send(ready[:n])
			ready = ready[n:]
		}
		o.mu.Lock()
		o.gathered()
	}
	o.pumping = false
}

// Wait returns when no delivery is under way any more. Shards must have left: that ends the deliveries' contexts.
func (o *Outbox) Wait() {
	select {
	case <-o.under.ended():
	case <-time.After(waitAtMost):
		o.Log.Error("a sink does not end its deliveries though they are cancelled; the router ends without it", "after", waitAtMost)
	}
}

const waitAtMost = 30 * time.Second

// Drain sends nothing more and lets what is under way end, at most for a while: what is cut short is sent again, under the same id.
func (o *Outbox) Drain(ctx context.Context, atMost time.Duration) {
	o.mu.Lock()
	o.draining = true
	flying := 0
	for _, l := range o.lanes {
		flying += l.flying
	}
	o.mu.Unlock()
	if flying == 0 || atMost <= 0 {
		return
	}
	o.Log.Info("letting invocations end", "inFlight", flying, "atMost", atMost)
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-o.under.ended():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// stop forgets invocations that are no longer wanted, and aborts them where that can be done: first all are forgotten, so that the room of one that was
// aborted does not go to another one of them. The one of this run and number is stopped because its outcome has come.
func (o *Outbox) stop(list []*engine.Invocation, run journal.RunID, answered engine.Answer) (when engine.Sending) {
	var room [8]*item
	stopped := room[:0]
	o.mu.Lock()
	for _, inv := range list {
		o.dropSub(inv)
		if it := o.items[itemKey{inv.Run, inv.N}]; it != nil {
			o.forget(it)
			stopped = append(stopped, it)
		}
	}
	o.mu.Unlock()
	for _, it := range stopped {
		if answered.N != 0 && it.inv.N == answered.N && it.inv.Run == run {
			o.timed(it, outcomeWord(answered.Verdict))
			when = it.sent()
		}
		if it.try != nil {
			it.try.end(context.Canceled)
		}
	}
	return when
}

// leave forgets what a shard had: its next owner sends it.
func (o *Outbox) leave(s Owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if stop := o.owners[s]; stop != nil {
		stop()
		delete(o.owners, s)
	}
	for _, it := range o.items {
		if it.owner == s {
			if o.forget(it); it.try != nil {
				it.try.end(context.Canceled)
			}
		}
	}
	maps.DeleteFunc(o.kept, func(_ journal.RunID, k *kept) bool { return k.owner == s })
	for _, k := range o.stopped {
		for _, x := range k.subs {
			if x.owner == s {
				k.takeSub(x.inv)
			}
		}
	}
}
