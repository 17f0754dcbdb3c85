package router

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// The outbox sends what the folds oblige to: at most a function's concurrency at a time, runs in turn, again under the same id until it is known
// to have arrived or its time is over. It decides nothing that is not in its hands: outcomes are records.
type outbox struct {
	r *Router

	mu    sync.Mutex
	lanes map[string]*lane
	items map[itemKey]*item
	ready []*item // to be started once the lock is free
	// pumping says that a goroutine starts them.
	pumping bool
}

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
)

// An item is one invocation that has no outcome yet.
type item struct {
	inv   *engine.Invocation
	shard *shard
	lane  *lane
	state itemState
	since time.Time
	until time.Time // of resending
	tries int
	err   string // of the last try
	stop  context.CancelFunc
	timer *time.Timer
}

// A lane is a function's queue: a ring of runs, each with its own.
type lane struct {
	name   string
	sink   sinks.Sink
	limit  int
	flying int
	queue  int
	ring   []*runQueue
	byRun  map[journal.RunID]*runQueue
}

type runQueue struct {
	run   journal.RunID
	items []*item
}

func newOutbox(r *Router) *outbox {
	return &outbox{r: r, lanes: make(map[string]*lane), items: make(map[itemKey]*item)}
}

// add takes an invocation over. It is sent with the next pump.
func (o *outbox) add(s *shard, inv *engine.Invocation) {
	switch {
	case inv.Purpose == engine.Route:
		o.r.route(s, inv)
		return
	case inv.ToTrigger != "":
		go o.r.startDestination(s, inv)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key := itemKey{inv.Run, inv.N}
	if o.items[key] != nil {
		return
	}
	it := &item{inv: inv, shard: s, since: time.Now()}
	o.items[key] = it
	it.lane = o.laneOf(inv.Function)
	if !inv.Accepted.IsZero() {
		it.state = accepted
		o.watchAccepted(it, time.Until(inv.Accepted.Add(inv.Timeout)))
		return
	}
	o.enqueue(it)
}

func (o *outbox) laneOf(function string) *lane {
	l := o.lanes[function]
	if l == nil {
		l = &lane{name: function, byRun: make(map[journal.RunID]*runQueue)}
		if b := o.r.functions.Load().get(function); b != nil {
			l.sink, l.limit = b.sink, b.Concurrency
		}
		o.lanes[function] = l
	}
	return l
}

func (o *outbox) enqueue(it *item) {
	it.state = queued
	l := it.lane
	q := l.byRun[it.inv.Run]
	if q == nil {
		q = &runQueue{run: it.inv.Run}
		l.byRun[it.inv.Run] = q
		l.ring = append(l.ring, q)
	}
	q.items = append(q.items, it)
	l.queue++
	o.fill(l)
}

// fill takes from the runs in turn while the function has room.
func (o *outbox) fill(l *lane) {
	for l.flying < l.limit && len(l.ring) > 0 {
		q := l.ring[0]
		l.ring = l.ring[1:]
		it := q.items[0]
		q.items[0] = nil
		q.items = q.items[1:]
		l.queue--
		if len(q.items) > 0 {
			l.ring = append(l.ring, q)
		} else {
			delete(l.byRun, q.run)
		}
		if o.items[itemKey{it.inv.Run, it.inv.N}] != it {
			continue // It was stopped while it waited.
		}
		it.state = sending
		l.flying++
		o.ready = append(o.ready, it)
	}
}

// pump starts what may be sent. One goroutine does it at a time: a sink that is done at once calls back into here, and must not recurse.
func (o *outbox) pump() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pumping {
		return
	}
	o.pumping = true
	for len(o.ready) > 0 {
		ready := o.ready
		o.ready = nil
		o.mu.Unlock()
		for _, it := range ready {
			o.send(it)
		}
		o.mu.Lock()
	}
	o.pumping = false
}

func (o *outbox) send(it *item) {
	now := time.Now()
	inv := it.inv
	if !inv.Expires.IsZero() && now.After(inv.Expires) {
		o.finish(it, func() {
			it.shard.gaveUp(inv, lang.Failf(lang.ClassPlatform, "undelivered", "not delivered in time; %d tries, the last: %s", it.tries, it.err))
		})
		return
	}
	deadline := inv.Expires
	if inv.Timeout > 0 && (deadline.IsZero() || now.Add(inv.Timeout).Before(deadline)) {
		deadline = now.Add(inv.Timeout)
	}
	var ctx context.Context
	var cancel context.CancelFunc
	if deadline.IsZero() {
		ctx, cancel = context.WithCancel(it.shard.ctx)
	} else {
		ctx, cancel = context.WithDeadline(it.shard.ctx, deadline)
	}
	o.mu.Lock()
	if o.items[itemKey{inv.Run, inv.N}] != it {
		o.mu.Unlock()
		cancel()
		o.release(it)
		return
	}
	it.stop = cancel
	it.tries++
	wait := now.Sub(it.since)
	it.since = now
	sink := it.lane.sink
	o.mu.Unlock()
	if it.tries == 1 {
		o.r.metrics.queue.Observe(wait.Seconds())
	} else {
		o.r.metrics.resent.Inc()
	}
	d := &sinks.Delivery{
		Context: ctx, Event: eventOf(inv), Function: inv.Function, Contract: inv.Contract, Invoke: inv.Purpose == engine.Call, Attempt: inv.Attempt,
	}
	d.Done = func(r sinks.Result) {
		expired := ctx.Err() == context.DeadlineExceeded
		cancel()
		o.r.metrics.deliver.WithLabelValues(inv.Function).Observe(time.Since(now).Seconds())
		o.done(it, r, expired)
	}
	sink.Deliver(ctx, []*sinks.Delivery{d})
}

// release gives the function's room back.
func (o *outbox) release(it *item) {
	o.mu.Lock()
	it.lane.flying--
	o.fill(it.lane)
	o.mu.Unlock()
	o.pump()
}

// finish removes an item that was being sent, writes down how it ended, and lets the next go. An item that was stopped meanwhile says nothing.
func (o *outbox) finish(it *item, write func()) {
	key := itemKey{it.inv.Run, it.inv.N}
	o.mu.Lock()
	current := o.items[key] == it
	if current {
		delete(o.items, key)
	}
	o.mu.Unlock()
	if current {
		write()
	}
	o.release(it)
}

// done takes the result of a delivery.
func (o *outbox) done(it *item, r sinks.Result, expired bool) {
	inv, s := it.inv, it.shard
	switch {
	case r.Verdict == sinks.Completed && inv.Purpose == engine.Call:
		o.finish(it, func() { s.completed(inv, outcomeOf(r, o.r.maxValue)) })
	case r.Verdict == sinks.Completed && r.Completion.Err == nil:
		o.finish(it, func() { s.accepted(inv) })
	case r.Verdict == sinks.Accepted && inv.Purpose == engine.Call:
		o.accept(it)
	case r.Verdict == sinks.Accepted:
		o.finish(it, func() { s.accepted(inv) })
	case expired && inv.Purpose == engine.Call:
		o.finish(it, func() { s.timedOut(inv) })
	case r.Verdict == sinks.Retry || expired:
		o.resend(it, r)
	case inv.Purpose == engine.Call:
		o.finish(it, func() { s.completed(inv, outcomeOf(r, o.r.maxValue)) })
	default:
		e := r.Err
		if r.Verdict == sinks.Completed {
			e = r.Completion.Err
		}
		o.r.o.Log.Warn("the event of a run's end was refused", "run", inv.Run, "destination", inv.Function, "error", e)
		o.finish(it, func() { s.gaveUp(inv, errorFrom(e, o.r.maxValue)) })
	}
}

// accept keeps an invocation whose completion comes later as an event; the clock of its try runs on.
func (o *outbox) accept(it *item) {
	o.mu.Lock()
	if o.items[itemKey{it.inv.Run, it.inv.N}] == it {
		it.state = accepted
		o.watchAccepted(it, it.inv.Timeout-time.Since(it.since))
		it.shard.accepted(it.inv)
	}
	o.mu.Unlock()
	o.release(it)
}

// watchAccepted times an accepted invocation out; without a timeout it may take for ever.
func (o *outbox) watchAccepted(it *item, left time.Duration) {
	if it.inv.Timeout <= 0 {
		return
	}
	it.timer = time.AfterFunc(max(left, 0), func() {
		o.mu.Lock()
		key := itemKey{it.inv.Run, it.inv.N}
		current := o.items[key] == it
		delete(o.items, key)
		o.mu.Unlock()
		if current {
			it.shard.timedOut(it.inv)
		}
	})
}

// The pauses between sends under one id.
const (
	resendFrom = 200 * time.Millisecond
	resendMax  = 30 * time.Second
)

// resend sends again under the same id, after what the receiver asked for or a growing pause.
func (o *outbox) resend(it *item, r sinks.Result) {
	pause := max(min(resendFrom<<min(it.tries-1, 20), resendMax), 0)
	pause = pause/2 + rand.N(pause/2+1)
	pause = max(pause, r.After)
	o.mu.Lock()
	if o.items[itemKey{it.inv.Run, it.inv.N}] == it {
		it.state, it.until = resending, time.Now().Add(pause)
		if r.Err != nil {
			it.err = r.Err.Error()
		}
		if !it.inv.Expires.IsZero() && it.until.After(it.inv.Expires) {
			pause = max(time.Until(it.inv.Expires), 0)
		}
		it.timer = time.AfterFunc(pause, func() {
			o.mu.Lock()
			if o.items[itemKey{it.inv.Run, it.inv.N}] == it {
				o.enqueue(it)
			}
			o.mu.Unlock()
			o.pump()
		})
	}
	o.mu.Unlock()
	o.release(it)
}

// again tries an invocation that the router itself carries out once more.
func (o *outbox) again(s *shard, inv *engine.Invocation, err error) {
	if s.ctx.Err() != nil {
		return
	}
	if time.Now().After(inv.Expires) {
		s.gaveUp(inv, &lang.Error{Type: "undelivered", Message: err.Error(), Class: lang.ClassPlatform})
		return
	}
	time.AfterFunc(resendFrom*5, func() {
		if s.ctx.Err() == nil {
			o.add(s, inv)
		}
	})
}

// stop forgets an invocation that is no longer wanted, and aborts it where that can be done.
func (o *outbox) stop(inv *engine.Invocation) {
	key := itemKey{inv.Run, inv.N}
	o.mu.Lock()
	it := o.items[key]
	delete(o.items, key)
	var cancel context.CancelFunc
	if it != nil {
		cancel = it.stop
		if it.timer != nil {
			it.timer.Stop()
		}
	}
	o.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// leave forgets what a shard had: its next owner sends it.
func (o *outbox) leave(s *shard) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, it := range o.items {
		if it.shard == s {
			delete(o.items, key)
			if it.timer != nil {
				it.timer.Stop()
			}
		}
	}
}

// bind looks all functions up anew after a reload.
func (o *outbox) bind() {
	o.mu.Lock()
	for name, l := range o.lanes {
		l.sink, l.limit = nil, 0
		if b := o.r.functions.Load().get(name); b != nil {
			l.sink, l.limit = b.sink, b.Concurrency
		}
		o.fill(l)
	}
	o.mu.Unlock()
	o.pump()
}

// explain says where an invocation is, for a person.
func (o *outbox) explain(run journal.RunID, n uint32) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.items[itemKey{run, n}]
	if it == nil {
		return "its outcome is being journaled"
	}
	since := time.Since(it.since).Round(time.Second)
	switch it.state {
	case queued:
		if it.lane.limit == 0 {
			return fmt.Sprintf("function %s is not in the documents; load those that define it", it.lane.name)
		}
		return fmt.Sprintf("queued since %s; function %s at its concurrency limit of %d", since, it.lane.name, it.lane.limit)
	case sending:
		return fmt.Sprintf("function %s is at work since %s", it.lane.name, since)
	case resending:
		return fmt.Sprintf("sent again in %s, after %d tries; the last: %s", time.Until(it.until).Round(time.Second), it.tries, it.err)
	case accepted:
		return fmt.Sprintf("accepted by function %s; waiting for its completion event since %s", it.lane.name, since)
	}
	return ""
}

// A FunctionStatus is a function's queue.
type FunctionStatus struct {
	Name        string `json:"name"`
	Sink        string `json:"sink"`
	Concurrency int    `json:"concurrency"`
	InFlight    int    `json:"inFlight"`
	Queued      int    `json:"queued"`
}

func (o *outbox) statuses() []FunctionStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []FunctionStatus
	bound := o.r.functions.Load()
	for _, name := range sortedNames(bound.byName) {
		b := bound.byName[name]
		st := FunctionStatus{Name: name, Sink: b.Sink.Name, Concurrency: b.Concurrency}
		if l := o.lanes[name]; l != nil {
			st.InFlight, st.Queued = l.flying, l.queue
		}
		out = append(out, st)
	}
	return out
}
