package outbox

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// send gives a function's sink some items, which go together where there are several.
func (o *Outbox) send(items []*item) {
	l := items[0].lane
	defer o.handed(l, len(items))
	var fn *function
	deliveries := make([]*sinks.Delivery, 0, len(items))
	for _, it := range items {
		d, of := o.prepare(it, fn)
		if d != nil {
			deliveries, fn = append(deliveries, d), of
		}
	}
	if fn == nil {
		return
	}
	defer o.unuse(fn, len(deliveries))
	if fn.Batch != nil {
		o.metrics.batches.Of(fn.Name).Observe(float64(len(deliveries)), time.Now(), items[0].inv.Run.String)
	}
	if err := guard.Do("deliver", func() { fn.sink.Deliver(items[0].owner.Context(), deliveries) }); err != nil {
		for _, d := range deliveries {
			d.Done(sinks.Fail(&sinks.Error{Type: "router_panicked", Message: err.Error(), Class: "platform"}))
		}
	}
}

// prepare makes the delivery of an item; nil when it is not sent. as is the function that those beside it go to; nil is none yet.
func (o *Outbox) prepare(it *item, as *function) (*sinks.Delivery, *function) {
	inv, now := it.inv, time.Now()
	o.mu.Lock()
	if it.old() {
		it.untake()
		o.mu.Unlock()
		o.finish(it, wasGivenUp, func() { o.gaveUp(it.owner, inv, it.undelivered()) })
		return nil, nil
	}
	if !o.isCurrent(it) {
		it.untake()
		o.mu.Unlock()
		o.release(it)
		return nil, nil
	}
	fn := it.lane.fn
	if fn == nil || as != nil && fn != as { // A reload has taken the function away, or changed it, since there was room.
		it.untake()
		it.leaveRoom()
		o.enqueue(it)
		o.mu.Unlock()
		return nil, nil
	}
	if fn.Concurrency == 0 && inv.Purpose != engine.Cancel && it.ticket == "" {
		it.untake()
		o.mu.Unlock()
		o.finish(it, wasGivenUp, func() { o.gaveUp(it.owner, inv, stopped(fn)) })
		return nil, nil
	}
	o.begins(it, now)
	out := &dispatch{o: o, it: it, fn: fn, began: now}
	out.try.owner = it.owner.Context()
	out.try.due, out.timed = it.bound(fn.Timeout, now)
	it.try = &out.try
	o.endsWith(it.owner)
	fetches := it.listens()
	o.under.begin()
	fn.use()
	o.mu.Unlock()
	out.d = sinks.Delivery{Context: &out.try, Function: inv.Function, Contract: inv.Contract, Invoke: inv.Purpose == engine.Call, Attempt: inv.Attempt, Done: out.done}
	if fetches {
		out.d.Ticket, out.d.News, out.d.Took = it.ticket, it.news, out.took
	}
	var bad error
	if out.d.Outgoing, bad = o.Intake.Outgoing(inv); bad != nil {
		o.unuse(fn, 1)
		out.done(sinks.Fail(&sinks.Error{Type: "bad_event", Message: bad.Error(), Class: "function"}))
		return nil, nil
	}
	return &out.d, fn
}

// A dispatch is one try of an item, with what its sink is given.
type dispatch struct {
	o     *Outbox
	it    *item
	fn    *function
	began time.Time
	timed bool // its time is over by its timeout, and not by the item's age
	ended atomic.Bool
	try   try
	d     sinks.Delivery
}

// done is the delivery's Done. Once is the contract, and a sink that has panicked may have ended it before.
func (s *dispatch) done(r sinks.Result) {
	if s.ended.Swap(true) {
		return
	}
	o := s.o
	defer o.under.end()
	defer o.unuse(s.fn, 1)
	end := time.Now()
	how := overOf(s.try.close(end), s.timed)
	o.metrics.deliver.Of(s.fn.Sink.Name).Observe(end.Sub(s.began).Seconds(), end, s.it.inv.Run.String)
	o.done(s.it, r, how, end)
}

// begins books a sending. What has a ticket is not sent: its result is asked for. The lock is held.
func (o *Outbox) begins(it *item, now time.Time) {
	wait := now.Sub(it.since)
	if it.ticket == "" {
		it.since = now
	}
	if it.tries++; it.tries == 1 {
		it.sentFirst(now)
	}
	switch {
	case it.ticket != "":
	case it.tries == 1:
		o.metrics.queue.Observe(wait.Seconds(), now, it.inv.Run.String)
	default:
		o.metrics.resent.Inc()
	}
	o.listen(it)
}

// handed books that a sink has what it was to be given.
func (o *Outbox) handed(l *lane, n int) {
	o.mu.Lock()
	l.handing -= n
	o.mu.Unlock()
}

// stopped is how an invocation of a function ends whose document says concurrency: 0. It is kept as a dead letter; nobody tries it again.
func stopped(fn *function) *lang.Error {
	return lang.Failf(lang.ClassThrottle, engine.ZeroConcurrency, "function %q is stopped by concurrency: 0; raise it, and redrive", fn.Name)
}

// bound is when a try's time is over; zero is never. A try that has a timeout is not cut by the age of its invocation: it is at work. timed says that it ends by
// its timeout.
func (it *item) bound(timeout time.Duration, now time.Time) (at time.Time, timed bool) {
	if it.inv.Purpose == engine.Call {
		timeout = it.inv.Timeout
	}
	at = it.inv.Expires
	switch {
	case timeout <= 0 && it.inv.Heartbeat > 0: // Its age does not cut it, either, while its heart beats.
	case timeout <= 0:
		at = it.end()
	default:
		if over := it.over(timeout, now); at.IsZero() || over.Before(at) {
			at, timed = over, true
		}
	}
	return at, timed
}

// over is when the time of a try is over: counted from its sending, also by a successor, who asks for a while at least for the result of what is at work.
func (it *item) over(timeout time.Duration, now time.Time) time.Time {
	if it.ticket == "" {
		return now.Add(timeout)
	}
	over := it.since.Add(timeout)
	if least := now.Add(min(successorTries, timeout)); it.tries == 1 && over.Before(least) {
		return least
	}
	return over
}

// An over says why a delivery's context had ended when the delivery did.
type over uint8

const (
	notOver  over = iota
	tryOver       // the try took too long
	timeOver      // its deadline has passed, or it is too old
	aborted       // it is not wanted any more, or its shard has left
)

func overOf(err error, timed bool) over {
	switch {
	case err == nil:
		return notOver
	case err != context.DeadlineExceeded:
		return aborted
	case timed:
		return tryOver
	}
	return timeOver
}

// release gives the function's room back, once it has let go of what it was sent.
func (o *Outbox) release(it *item) {
	if busy := it.busy; busy != nil {
		it.busy = nil
		go func() {
			<-busy
			o.release(it)
		}()
		return
	}
	o.mu.Lock()
	free := it.leaveRoom()
	if free {
		o.fill(it.lane)
	}
	o.mu.Unlock()
	if free {
		o.pump()
	}
}

// leaveRoom gives up an item's room, and reports whether that is free for another one: the last of a parcel frees it. The lock is held.
func (it *item) leaveRoom() (free bool) {
	l, p := it.lane, it.parcel
	l.flying--
	if free = p == nil || p.gone(); free {
		l.rooms--
	}
	it.parcel, it.probe = nil, false
	if l.probe == it {
		l.probe = nil
	}
	return free
}

// finish removes an item that was being sent, writes down how it ended, and lets the next go. An item that was stopped meanwhile says nothing.
func (o *Outbox) finish(it *item, outcome string, write func()) {
	o.mu.Lock()
	current := o.isCurrent(it)
	if current {
		o.forget(it)
	}
	o.mu.Unlock()
	if current {
		o.timed(it, outcome)
		write()
	}
	o.release(it)
}

// timed tells which outcome an invocation has, and how long it took; of an event it is empty once that was taken. What never was sent has none of its function's.
func (o *Outbox) timed(it *item, outcome string) {
	if it.first.IsZero() {
		return
	}
	now := time.Now()
	if it.inv.Purpose == engine.Call {
		o.metrics.function.Of(it.inv.Function).Observe(now.Sub(it.first).Seconds(), now, it.inv.Run.String)
		o.metrics.calls.WithLabelValues(o.metrics.names.Of(it.inv.Function), outcome).Inc()
	}
	failed := outcome != "" && outcome != lang.Succeeded.String() && outcome != lang.Continue.String()
	o.mu.Lock()
	defer o.mu.Unlock()
	if it.lane.ended++; failed {
		it.lane.broken, it.lane.brokenAt = it.lane.broken+1, now
	}
}

// done takes the result of a delivery. What was aborted and has no answer says nothing: it is not wanted, or the partition's next owner sends it.
func (o *Outbox) done(it *item, r sinks.Result, how over, end time.Time) {
	inv, s, call := it.inv, it.owner, it.inv.Purpose == engine.Call
	arrived := r.Verdict == sinks.Completed || r.Verdict == sinks.Accepted
	o.judge(it, r, arrived, how, end)
	it.busy = r.Busy
	if reply := r.Completion.Reply; reply != nil && call && !o.reply(it, reply) {
		o.abort(it) // Its partition's next owner sends it again, and has its answer anew.
		return
	}
	switch {
	case r.Verdict == sinks.Completed && call:
		outcome := outcomeOf(r, o.MaxValue)
		o.finish(it, outcomeWord(outcome.Verdict), func() { completed(s, inv, outcome, it.times(end)) })
	case r.Verdict == sinks.Accepted && call:
		o.accept(it)
	case r.Verdict == sinks.Accepted, r.Verdict == sinks.Completed && r.Completion.Err == nil:
		if inv.Purpose == engine.Cancel {
			o.metrics.cancels.WithLabelValues(inv.Function, "told").Inc()
		}
		o.finish(it, "", func() { s.Accepted(inv, "") })
	case how == aborted && !arrived:
		o.abort(it)
	case how == tryOver && call:
		o.finish(it, wasTimedOut, func() { it.timedOut(false, end) })
	case how == timeOver && !arrived:
		o.finish(it, wasGivenUp, func() { o.gaveUp(it.owner, inv, it.undelivered()) })
	case r.Verdict == sinks.Retry || how == tryOver:
		o.resend(it, r)
	case call:
		o.finish(it, lang.Failed.String(), func() { completed(s, inv, outcomeOf(r, o.MaxValue), it.times(end)) })
	default: // The fold decides whether it is tried again.
		refusal := r.Err
		if r.Verdict == sinks.Completed {
			refusal = r.Completion.Err
		}
		o.finish(it, wasGivenUp, func() { o.gaveUp(s, inv, errorFrom(refusal, o.MaxValue)) })
	}
}

// reply has the event taken in that a function has answered, before its outcome is written: what is done twice by a crash in between is the same. It reports
// false when the owner has left.
func (o *Outbox) reply(it *item, reply *event.Event) bool {
	for {
		err := o.Intake.Reply(it.owner.Context(), it.inv, reply)
		if err == nil {
			return true
		}
		o.Log.Warn("the event that a function has answered cannot be taken in yet", "function", it.inv.Function, "run", it.inv.Run, "error", err)
		select {
		case <-it.owner.Context().Done():
			return false
		case <-time.After(replyPause):
		}
	}
}

// replyPause is between two tries to take in a function's event.
const replyPause = time.Second

// judge books what a delivery's end says of its function, and tells people when that changes its state.
func (o *Outbox) judge(it *item, r sinks.Result, arrived bool, how over, now time.Time) {
	o.mu.Lock()
	l := it.lane
	was := l.is
	switch {
	case arrived || r.Verdict == sinks.Failed && how == notOver || r.Heard || it.ticket != "": // What has a ticket was taken: whatever keeps its result, it is up.
		l.answered(it, now)
	case how != aborted && !it.parcel.refusedBefore():
		l.refused(it, r, now)
	}
	if l.is != was && l.fn != nil && !l.cancels {
		o.metrics.show(l.name, l.is)
	}
	news := l.is != l.told && !l.cancels
	o.mu.Unlock()
	if news {
		o.tell(l)
	}
}

// tell tells people of a function's state, when they have not been told of it; not the same twice in a short while.
func (o *Outbox) tell(l *lane) {
	now := time.Now()
	o.mu.Lock()
	yes, later := l.tell(now)
	if later > 0 && l.telling == nil {
		l.telling = time.AfterFunc(later, func() {
			o.mu.Lock()
			l.telling = nil
			o.mu.Unlock()
			o.tell(l)
		})
	}
	is, why, queue, pause := l.is, l.why, l.queue, max(l.until.Sub(now), 0).Round(time.Millisecond)
	o.mu.Unlock()
	switch {
	case !yes:
	case is == up:
		o.Log.Info("a function is back", "function", l.name, "waiting", queue)
	case is == throttled:
		o.Log.Warn("a function asks for less; nothing is sent for a while, then one at a time until it takes it", "function", l.name, "error", why, "waiting", queue, "next", pause)
	default:
		o.Log.Error("a function is down; one at a time is sent until it answers", "function", l.name, "error", why, "waiting", queue, "next", pause)
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
		it.state, it.try = accepted, nil // It is over, and need not be kept.
		o.watchAccepted(it)
		it.owner.Accepted(it.inv, "")
	}
	o.mu.Unlock()
	o.release(it)
}

// watchAccepted times an accepted invocation out; one without a timeout is given up by its age.
func (o *Outbox) watchAccepted(it *item) {
	if it.inv.Timeout <= 0 {
		o.watchAge(it)
		return
	}
	it.timer = time.AfterFunc(time.Until(it.since.Add(it.inv.Timeout)), func() {
		o.mu.Lock()
		current := o.isCurrent(it)
		if current {
			o.forget(it)
		}
		o.mu.Unlock()
		if current {
			o.timed(it, wasTimedOut)
			it.timedOut(false, time.Now())
		}
	})
}

// The pauses between sends under one id.
const (
	resendFrom = 200 * time.Millisecond
	resendMax  = 30 * time.Second
)

// resend sends again under the same id after a pause that grows, unless it was sent often enough. What the receiver asks for holds the whole lane.
func (o *Outbox) resend(it *item, r sinks.Result) {
	o.mu.Lock()
	if r.Err != nil {
		it.err, it.kind = short(r.Err.Message), short(r.Err.Type)
	}
	it.again++
	it.try = nil
	if fn := it.lane.fn; it.old() || fn != nil && fn.Resends != nil && it.again > *fn.Resends {
		o.mu.Unlock()
		o.finish(it, wasGivenUp, func() { o.gaveUp(it.owner, it.inv, it.undelivered()) })
		return
	}
	o.later(it, growing(resendFrom, resendMax, it.again))
	o.mu.Unlock()
	o.release(it)
}

// later lets an item wait for a pause before it stands in its lane again. The lock is held.
func (o *Outbox) later(it *item, pause time.Duration) {
	if !o.isCurrent(it) {
		return
	}
	it.state, it.until = resending, time.Now().Add(pause)
	it.timer = time.AfterFunc(pause, func() {
		o.mu.Lock()
		if o.isCurrent(it) {
			it.since = time.Now()
			o.enqueue(it)
		}
		o.mu.Unlock()
		o.pump()
	})
	if it.age == nil {
		o.watchAge(it)
	}
	if it.again == 1 && it.inv.Past().Tried.IsZero() && it.lane.fn != nil && it.lane.fn.MaxAge > 0 {
		it.owner.Write(engine.Record(journal.Tried, it.inv.Run, &engine.NumbersFact{Numbers: []uint32{it.inv.N}}))
	}
}

// undelivered says why an item was given up that had no answer.
func (it *item) undelivered() *lang.Error {
	fn := it.lane.fn
	if it.state == accepted && fn != nil {
		return lang.Failf(lang.ClassTimeout, "unanswered", "function %s accepted it, and no completion came within %s (maxAge)", it.inv.Function, fn.MaxAge)
	}
	sent := fmt.Sprintf("%d tries, the last: ", it.tries)
	if it.tries == 1 {
		sent = "one try: "
	}
	sent += cmp.Or(it.err, "no answer")
	why := ""
	switch {
	case !it.inv.Expires.IsZero() && !time.Now().Before(it.inv.Expires):
		why = "not delivered by the deadline of its step; " + sent
	case fn == nil:
		why = fmt.Sprintf("not delivered: the documents have not had function %q for %s; load those that define it, then: onward dead redrive", it.inv.Function, missingAge)
	case fn.Resends != nil && *fn.Resends == 0:
		why = "not delivered: no answer, and it is not to be sent again (resends: 0); " + sent
	case fn.Resends != nil && it.again > *fn.Resends:
		why = fmt.Sprintf("not delivered: no answer, and it is not to be sent again more often (resends: %d); %s", *fn.Resends, sent)
	default:
		why = fmt.Sprintf("not delivered within %s of its first sending (maxAge); %s", fn.MaxAge, sent)
	}
	e := lang.Failf(lang.ClassPlatform, "undelivered", "%s", why)
	if it.kind != "" {
		e.Data = lang.Object(lang.Member{Key: "last", Value: lang.Text(it.kind)})
	}
	return e
}
