package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/prometheus/client_golang/prometheus"
)

// An Owner is the shard that an invocation is of: it journals what became of it.
type Owner interface {
	Context() context.Context // ends with the tenure
	// Accepted writes down that an invocation or event has arrived.
	Accepted(inv *engine.Invocation)
	// Write appends a record of the owner's soon.
	Write(rec journal.Record)
}

// An Intake knows what an invocation is outside, and takes in again what never leaves the router: the ends of runs.
type Intake interface {
	// Event makes the event of an invocation, or of a run's end.
	Event(inv *engine.Invocation) *event.Event
	// Match returns what the filters let through of a run's end; nil is nothing.
	Match(inv *engine.Invocation) *engine.MatchedFact
	// StartFor starts what was matched, or the trigger that a destination names, durably; repeated it starts nothing twice. A *lang.Error is final,
	// after any other error it is to be tried again.
	StartFor(ctx context.Context, inv *engine.Invocation) error
}

// Options are what an outbox is made of.
type Options struct {
	Intake   Intake
	Host     sinks.Host // what sinks are offered; Concurrency is each function's
	MaxValue int        // bytes of a value inside a run
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil registers nothing
}

// An Outbox sends what the folds oblige to: at most a function's concurrency at a time, runs in turn, again under the same id until it is known to
// have arrived or its time is over. It decides nothing that is not in its hands: outcomes are records.
type Outbox struct {
	Options
	metrics *metrics
	bound   bound

	mu    sync.Mutex
	lanes map[string]*lane
	items map[itemKey]*item
	ready []*item // to be started once the lock is free
	// pumping says that a goroutine starts them.
	pumping bool
	// draining says that nothing more is sent: what is queued is for the next owner.
	draining bool
	// under has the deliveries that sinks have not ended.
	under sync.WaitGroup
}

// New makes an outbox without functions: Load brings them.
func New(o Options) *Outbox {
	return &Outbox{Options: o, metrics: newMetrics(o.Metrics), lanes: make(map[string]*lane), items: make(map[itemKey]*item)}
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

// Stop forgets an invocation that is no longer wanted, and aborts it where that can be done. answered says that it is because its outcome has come.
func (s *Share) Stop(inv *engine.Invocation, answered bool) { s.o.stop(inv, answered) }

// Pump starts what may be sent.
func (s *Share) Pump() { s.o.pump() }

// Leave forgets what the owner had: the next one sends it.
func (s *Share) Leave() { s.o.leave(s.owner) }

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
	owner Owner
	lane  *lane
	state itemState
	since time.Time
	first time.Time // it was sent first; zero before
	until time.Time // of resending
	tries int
	err   string // of the last try
	stop  context.CancelFunc
	timer *time.Timer
}

// A lane is a function's queue: a ring of runs, each with its own.
type lane struct {
	name    string
	sink    sinks.Sink // nil while the documents do not have the function
	kind    string     // of the sink
	limit   int
	timeout time.Duration // of one delivery of an event; invocations have their own
	flying  int
	queue   int // items in the ring that are still wanted
	ring    []*runQueue
	byRun   map[journal.RunID]*runQueue
}

// bind looks the function up.
func (l *lane) bind(b *function) {
	l.sink, l.kind, l.limit, l.timeout = nil, "", 0, 0
	if b != nil {
		l.sink, l.kind, l.limit, l.timeout = b.sink, b.Sink.Name, b.Concurrency, b.Timeout
	}
}

type runQueue struct {
	run   journal.RunID
	items []*item
}

// add takes an invocation over. It is sent with the next pump.
func (o *Outbox) add(s Owner, inv *engine.Invocation) {
	switch {
	case inv.Purpose == engine.Route:
		o.route(s, inv)
		return
	case inv.ToTrigger != "":
		go o.start(s, inv)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key := itemKey{inv.Run, inv.N}
	if o.items[key] != nil {
		return
	}
	it := &item{inv: inv, owner: s, since: time.Now()}
	o.items[key] = it
	it.lane = o.laneOf(inv.Function)
	if !inv.Accepted.IsZero() {
		it.state, it.since = accepted, inv.Accepted
		o.watchAccepted(it, time.Until(inv.Accepted.Add(inv.Timeout)))
		return
	}
	o.enqueue(it)
}

// route puts the event of a run's end past the filters: what it starts is journaled in the run's own partition first.
func (o *Outbox) route(s Owner, inv *engine.Invocation) {
	if inv.Starts != nil {
		go o.start(s, inv)
		return
	}
	matched := o.Intake.Match(inv)
	if matched == nil {
		s.Accepted(inv)
		return
	}
	s.Write(engine.Record(journal.Matched, inv.Run, matched))
}

// start starts what was matched or the trigger of a destination, then closes the invocation. A crash in between repeats it under the same run ids.
func (o *Outbox) start(s Owner, inv *engine.Invocation) {
	err := o.Intake.StartFor(s.Context(), inv)
	var final *lang.Error
	switch {
	case err == nil:
		s.Accepted(inv)
	case errors.As(err, &final):
		gaveUp(s, inv, final)
	default:
		o.again(s, inv, err)
	}
}

// completed, timedOut and gaveUp write down how an invocation ended.
func completed(s Owner, inv *engine.Invocation, outcome lang.Outcome) {
	s.Write(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: outcome}))
}

func timedOut(s Owner, inv *engine.Invocation) {
	s.Write(engine.Record(journal.TimedOut, inv.Run, &engine.NumbersFact{Numbers: []uint32{inv.N}}))
}

func gaveUp(s Owner, inv *engine.Invocation, e *lang.Error) {
	s.Write(engine.Record(journal.GaveUp, inv.Run, &engine.GaveUpFact{N: inv.N, Err: e}))
}

func (o *Outbox) laneOf(function string) *lane {
	l := o.lanes[function]
	if l == nil {
		l = &lane{name: function, byRun: make(map[journal.RunID]*runQueue)}
		l.bind(o.bound.get(function))
		o.lanes[function] = l
	}
	return l
}

func (o *Outbox) enqueue(it *item) {
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
	if l.sink == nil {
		o.watchQueued(it)
	}
	o.fill(l)
}

// watchQueued gives an item up at its deadline while its function is not there; else that is found when its turn comes.
func (o *Outbox) watchQueued(it *item) {
	if !it.inv.Expires.IsZero() {
		it.timer = time.AfterFunc(time.Until(it.inv.Expires), func() { o.expire(it) })
	}
}

// expire gives an item up that waited for its function to come back until its time was over.
func (o *Outbox) expire(it *item) {
	o.mu.Lock()
	mine := o.isCurrent(it) && it.state == queued && it.lane.sink == nil
	if mine {
		o.forget(it)
	}
	o.mu.Unlock()
	if mine {
		gaveUp(it.owner, it.inv, undelivered(it, "the documents do not have the function"))
	}
}

func (o *Outbox) isCurrent(it *item) bool { return o.items[itemKey{it.inv.Run, it.inv.N}] == it }

// forget takes an item out, wherever it is; a lane's ring drops it when its turn comes.
func (o *Outbox) forget(it *item) {
	delete(o.items, itemKey{it.inv.Run, it.inv.N})
	if it.state == queued {
		it.lane.queue--
	}
	if it.timer != nil {
		it.timer.Stop()
	}
}

// fill takes from the runs in turn while the function has room.
func (o *Outbox) fill(l *lane) {
	for l.flying < l.limit && len(l.ring) > 0 && !o.draining {
		q := l.ring[0]
		l.ring = l.ring[1:]
		it := q.items[0]
		q.items[0] = nil
		q.items = q.items[1:]
		if len(q.items) > 0 {
			l.ring = append(l.ring, q)
		} else {
			delete(l.byRun, q.run)
		}
		if !o.isCurrent(it) {
			continue // It was stopped while it waited.
		}
		l.queue--
		it.state = sending
		l.flying++
		o.ready = append(o.ready, it)
	}
}

// pump starts what may be sent. One goroutine does it at a time: a sink that is done at once calls back into here, and must not recurse.
func (o *Outbox) pump() {
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

func (o *Outbox) send(it *item) {
	inv, now := it.inv, time.Now()
	if !inv.Expires.IsZero() && !now.Before(inv.Expires) {
		o.finish(it, func() { gaveUp(it.owner, inv, undelivered(it, it.err)) })
		return
	}
	o.mu.Lock()
	if !o.isCurrent(it) {
		o.mu.Unlock()
		o.release(it)
		return
	}
	l := it.lane
	if l.sink == nil { // A reload has taken the function away since there was room.
		o.enqueue(it)
		o.mu.Unlock()
		o.release(it)
		return
	}
	timeout := inv.Timeout
	if inv.Purpose != engine.Call {
		timeout = l.timeout
	}
	deadline, timed := inv.Expires, false
	if timeout > 0 && (deadline.IsZero() || now.Add(timeout).Before(deadline)) {
		deadline, timed = now.Add(timeout), true
	}
	ctx, cancel := withDeadline(it.owner.Context(), deadline)
	it.stop = cancel
	it.tries++
	wait, sink, kind := now.Sub(it.since), l.sink, l.kind
	it.since = now
	if it.tries == 1 {
		it.first = now
		o.metrics.queue.Observe(wait.Seconds())
	} else {
		o.metrics.resent.Inc()
	}
	o.under.Add(1)
	o.mu.Unlock()
	d := &sinks.Delivery{
		Context: ctx, Event: o.Intake.Event(inv), Function: inv.Function, Contract: inv.Contract, Invoke: inv.Purpose == engine.Call, Attempt: inv.Attempt,
	}
	var ended atomic.Bool
	d.Done = func(r sinks.Result) {
		if ended.Swap(true) {
			return // Once is the contract, and a sink that has panicked may have ended it before.
		}
		defer o.under.Done()
		how := overOf(ctx, timed)
		cancel()
		o.metrics.deliver.WithLabelValues(kind).Observe(time.Since(now).Seconds())
		o.done(it, r, how)
	}
	if err := guard.Do("deliver", func() { sink.Deliver(ctx, []*sinks.Delivery{d}) }); err != nil {
		d.Done(sinks.Fail(&sinks.Error{Type: "router_panicked", Message: err.Error(), Class: "platform"}))
	}
}

// withDeadline takes the zero time for none.
func withDeadline(ctx context.Context, at time.Time) (context.Context, context.CancelFunc) {
	if at.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, at)
}

// An over says why a delivery's context had ended when the delivery did.
type over uint8

const (
	notOver  over = iota
	tryOver       // the try took too long
	timeOver      // its deadline has passed
	aborted       // it is not wanted any more, or its shard has left
)

func overOf(ctx context.Context, timed bool) over {
	switch err := ctx.Err(); {
	case err == nil:
		return notOver
	case err != context.DeadlineExceeded:
		return aborted
	case timed:
		return tryOver
	}
	return timeOver
}

func undelivered(it *item, last string) *lang.Error {
	if last == "" {
		last = "no answer"
	}
	return lang.Failf(lang.ClassPlatform, "undelivered", "not delivered in time; %d tries, the last: %s", it.tries, last)
}

// Wait returns when no delivery is under way any more. Shards must have left: that ends the deliveries' contexts.
func (o *Outbox) Wait() {
	done := make(chan struct{})
	go func() {
		o.under.Wait()
		close(done)
	}()
	select {
	case <-done:
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
	done := make(chan struct{})
	go func() {
		o.under.Wait()
		close(done)
	}()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// release gives the function's room back.
func (o *Outbox) release(it *item) {
	o.mu.Lock()
	it.lane.flying--
	o.fill(it.lane)
	o.mu.Unlock()
	o.pump()
}

// finish removes an item that was being sent, writes down how it ended, and lets the next go. An item that was stopped meanwhile says nothing.
func (o *Outbox) finish(it *item, write func()) {
	o.mu.Lock()
	current := o.isCurrent(it)
	if current {
		o.forget(it)
	}
	o.mu.Unlock()
	if current {
		o.timed(it)
		write()
	}
	o.release(it)
}

// timed tells how long an invocation took that has its outcome.
func (o *Outbox) timed(it *item) {
	if it.inv.Purpose == engine.Call && !it.first.IsZero() {
		o.metrics.function.WithLabelValues(it.inv.Function).Observe(time.Since(it.first).Seconds())
	}
}

// done takes the result of a delivery. What was aborted and has no answer says nothing: it is not wanted, or the partition's next owner sends it.
func (o *Outbox) done(it *item, r sinks.Result, how over) {
	inv, s := it.inv, it.owner
	switch {
	case r.Verdict == sinks.Completed && inv.Purpose == engine.Call:
		o.finish(it, func() { completed(s, inv, outcomeOf(r, o.MaxValue)) })
	case r.Verdict == sinks.Completed && r.Completion.Err == nil:
		o.finish(it, func() { s.Accepted(inv) })
	case r.Verdict == sinks.Accepted && inv.Purpose == engine.Call:
		o.accept(it)
	case r.Verdict == sinks.Accepted:
		o.finish(it, func() { s.Accepted(inv) })
	case how == aborted && r.Verdict != sinks.Completed:
		o.abort(it)
	case how == tryOver && inv.Purpose == engine.Call:
		o.finish(it, func() { timedOut(s, inv) })
	case how == timeOver && r.Verdict != sinks.Completed:
		o.finish(it, func() { gaveUp(s, inv, undelivered(it, it.err)) })
	case r.Verdict == sinks.Retry || how == tryOver:
		o.resend(it, r)
	case inv.Purpose == engine.Call:
		o.finish(it, func() { completed(s, inv, outcomeOf(r, o.MaxValue)) })
	default:
		e := r.Err
		if r.Verdict == sinks.Completed {
			e = r.Completion.Err
		}
		o.Log.Warn("the event of a run's end was refused", "run", inv.Run, "destination", inv.Function, "error", e)
		o.finish(it, func() { gaveUp(s, inv, errorFrom(e, o.MaxValue)) })
	}
}

func (o *Outbox) abort(it *item) {
	o.mu.Lock()
	if o.isCurrent(it) {
		o.forget(it)
	}
	o.mu.Unlock()
	o.release(it)
}

// accept keeps an invocation whose completion comes later as an event; the clock of its try runs on.
func (o *Outbox) accept(it *item) {
	o.mu.Lock()
	if o.isCurrent(it) {
		it.state = accepted
		o.watchAccepted(it, it.inv.Timeout-time.Since(it.since))
		it.owner.Accepted(it.inv)
	}
	o.mu.Unlock()
	o.release(it)
}

// watchAccepted times an accepted invocation out; without a timeout it may take for ever.
func (o *Outbox) watchAccepted(it *item, left time.Duration) {
	if it.inv.Timeout <= 0 {
		return
	}
	it.timer = time.AfterFunc(max(left, 0), func() {
		o.mu.Lock()
		current := o.isCurrent(it)
		if current {
			o.forget(it)
		}
		o.mu.Unlock()
		if current {
			o.timed(it)
			timedOut(it.owner, it.inv)
		}
	})
}

// The pauses between sends under one id.
const (
	resendFrom = 200 * time.Millisecond
	resendMax  = 30 * time.Second
)

// resend sends again under the same id, after what the receiver asked for or a growing pause.
func (o *Outbox) resend(it *item, r sinks.Result) {
	pause := max(min(resendFrom<<min(it.tries-1, 20), resendMax), 0)
	pause = pause/2 + rand.N(pause/2+1)
	pause = max(pause, r.After)
	o.mu.Lock()
	if o.isCurrent(it) {
		it.state, it.until = resending, time.Now().Add(pause)
		if r.Err != nil {
			it.err = r.Err.Error()
		}
		if !it.inv.Expires.IsZero() && it.until.After(it.inv.Expires) {
			pause = max(time.Until(it.inv.Expires), 0)
		}
		it.timer = time.AfterFunc(pause, func() {
			o.mu.Lock()
			if o.isCurrent(it) {
				it.since = time.Now()
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
func (o *Outbox) again(s Owner, inv *engine.Invocation, err error) {
	if s.Context().Err() != nil {
		return
	}
	if time.Now().After(inv.Expires) {
		gaveUp(s, inv, &lang.Error{Type: "undelivered", Message: err.Error(), Class: lang.ClassPlatform})
		return
	}
	time.AfterFunc(resendFrom*5, func() {
		if s.Context().Err() == nil {
			o.add(s, inv)
		}
	})
}

// stop forgets an invocation that is no longer wanted, and aborts it where that can be done. answered says that it is because its outcome has come.
func (o *Outbox) stop(inv *engine.Invocation, answered bool) {
	o.mu.Lock()
	it := o.items[itemKey{inv.Run, inv.N}]
	if it == nil {
		o.mu.Unlock()
		return
	}
	o.forget(it)
	cancel := it.stop
	o.mu.Unlock()
	if answered {
		o.timed(it)
	}
	if cancel != nil {
		cancel()
	}
}

// leave forgets what a shard had: its next owner sends it.
func (o *Outbox) leave(s Owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, it := range o.items {
		if it.owner == s {
			o.forget(it)
		}
	}
}

// rebind looks all functions up anew after a reload.
func (o *Outbox) rebind() {
	o.mu.Lock()
	for name, l := range o.lanes {
		l.bind(o.bound.get(name))
		for _, q := range l.ring {
			for _, it := range q.items {
				if l.sink == nil && o.isCurrent(it) {
					o.watchQueued(it)
				}
			}
		}
		o.fill(l)
	}
	o.mu.Unlock()
	o.pump()
}

// Explain says where an invocation is, for a person: why, in words that are the same for all that wait for the same, and since when.
func (o *Outbox) Explain(run journal.RunID, n uint32) (why string, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.items[itemKey{run, n}]
	if it == nil {
		return "its outcome is being journaled", time.Time{}
	}
	switch {
	case it.state == queued && it.lane.limit == 0:
		why = fmt.Sprintf("function %s is not in the documents; load those that define it", it.lane.name)
	case it.state == queued:
		why = fmt.Sprintf("function %s at its concurrency limit of %d", it.lane.name, it.lane.limit)
	case it.state == sending:
		why = fmt.Sprintf("function %s is at work", it.lane.name)
	case it.state == resending:
		why = fmt.Sprintf("function %s is sent it again in %s, after %d tries; the last: %s", it.lane.name, time.Until(it.until).Round(time.Second), it.tries, it.err)
	case it.state == accepted:
		why = fmt.Sprintf("function %s has accepted it; its completion event has not come", it.lane.name)
	}
	return why, it.since
}
