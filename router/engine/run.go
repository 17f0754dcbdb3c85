package engine

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/journal"
)

// A run is one activation of a trigger's flow. There may be a million of them that wait: what few have is in seldom, and the rest is small.
type run struct {
	id      journal.RunID
	tenant  string
	def     *definition
	event   lang.Value
	data    lang.Value
	started int64

	fuel  int    // runs that its chain may still have, itself included
	next  uint32 // the last number given: to an invocation, a frame or a timer
	calls int32
	// attempts is how often the function that failed last was tried; destinations are told.
	attempts int32
	root     *task // nil once the run has ended

	live   few[live] // invocations without an outcome
	timers few[timer]
	seldom *seldom
	traced *traceparent.Context // of the event that started it; nil is none

	outcome *lang.Outcome // once ended
	ended   int64         // when

	bytes int    // of the values that it keeps
	open  int32  // children that are open, in all its frames
	debts int32  // slots that owe openings
	part  uint32 // of what it owed, the last that was paid

	// Not state.
	at    int32  // in State.order
	saved uint32 // the last snapshot that it is in, or need not be

	cancelled bool
	aged      bool // the function that failed last had no time left for another try
	asked     bool // its owner has been told that it owes, or will be; not state
	stuck     bool // what it owes waits for others to end; not state
}

// A live is an invocation without an outcome, with the step that waits for it; task is nil for the deliveries of the run's end.
type live struct {
	inv  *Invocation
	task *task
	// accepted is when; below zero it is when it was tried first, in vain, and nobody has accepted it since.
	accepted int64
	ticket   *string // what its far end knows it by, of one that was accepted; nil is nothing
}

// tried is when it was tried first, as far as that counts: 0 is never, or it was accepted since.
func (l *live) tried() int64 { return max(-l.accepted, 0) }

const supersededKept = 1024

// latest are the invocations that were replaced of which it is still known.
func (x *seldom) latest() []uint32 { return x.superseded[max(0, len(x.superseded)-supersededKept):] }

// sorted returns the runs by id.
func (s *State) sorted() []*run {
	runs := slices.Clone(s.order)
	slices.SortFunc(runs, func(a, b *run) int { return bytes.Compare(a.id[:], b.id[:]) })
	return runs
}

func (s *State) waitingDigests() []lang.Digest { return sortedDigests(s.waiting) }

func (s *State) definitionDigests() []lang.Digest { return sortedDigests(s.definitions) }

func sortedDigests[V any](m map[lang.Digest]V) []lang.Digest {
	return slices.SortedFunc(maps.Keys(m), func(a, b lang.Digest) int { return bytes.Compare(a[:], b[:]) })
}

func sortedNumbers[V any](m map[uint32]V) []uint32 { return slices.Sorted(maps.Keys(m)) }

func newRun(id journal.RunID, tenant string, def *definition, f *StartFact, now int64) *run {
	return &run{id: id, tenant: tenant, def: def, event: f.Event, data: f.Data, started: now, traced: traced(f.Event)}
}

// begin makes a run and opens its flow, unless the event meets others that have opened one. before, which may be nil, has what came before the run could begin.
func (s *State) begin(id journal.RunID, tenant string, def *definition, f *StartFact, before *waitingRun) Reason {
	if tenant == def.Tenant {
		tenant = def.Tenant // One text for all.
	}
	s.cause = cause{event: f.Event}
	var had inheritance
	if def.Await != nil && f.Arrived.IsNull() {
		if def.Await.Signals && f.Parent != "" {
			had = s.inherit(keyName{tenant, def.Trigger, f.Key}, id)
		} else if reason := s.meet(id, tenant, def, f); reason != Applied {
			return reason
		}
	}
	r := newRun(id, tenant, def, f, s.now)
	s.add(r)
	r.child(f)
	s.fuel(r, f)
	s.note(r, Change{Kind: RunStarted, Text: def.Trigger})
	for _, v := range []*lang.Value{&r.event, &r.data} {
		if e := s.unfit("the event", *v); e != nil {
			*v = lang.Null
			s.endRun(r, lang.Failure(e))
			return Applied
		}
	}
	if r.fuel == 0 {
		s.endRun(r, lang.Failure(lang.Failf(lang.ClassPlatform, ChainLimit,
			"nothing is left of the %d runs that one event from outside may lead to; look for triggers that start one another, and narrow their filters", s.limits.Fuel)))
		return Applied
	}
	if def.Flow == nil && def.Await == nil {
		s.endRun(r, lang.Success(r.data))
		return Applied
	}
	if !s.takeInheritance(r, f.Key, &had) {
		return Applied
	}
	if before != nil {
		for i := range before.signals {
			f := &before.signals[i]
			s.keepSignals(r, keptSignal{f.Name, f.Data, f.key()})
		}
		for _, t := range before.turns {
			s.take(r, t)
		}
	}
	switch {
	case def.Await != nil && !f.Arrived.IsNull():
		r.own().arrived = f.Arrived
		s.hold(r, size(f.Arrived))
		s.openFlow(r)
	case def.Await != nil:
		s.openRound(r, f)
	case f.Key != "" && def.Concurrency != nil:
		s.admit(r, f.Key, def.Concurrency)
	case f.Overlap != 0:
		s.admit(r, f.Key, f.Overlap.concurrency())
	default:
		s.openFlow(r)
	}
	return Applied
}

func (s *State) openFlow(r *run) {
	if r.def.Flow == nil { // What it gathered goes straight to the destinations.
		s.endRun(r, lang.Success(r.rare().arrived))
		return
	}
	r.root = &task{run: r, step: r.def.Flow, bound: r.data}
	s.open(r.root)
}

// attribute reads one attribute of an event; empty when it has none. Events are small and this is off the path of completions.
func attribute(event lang.Value, name string) string {
	var attrs map[string]any
	if event.Decode(&attrs) != nil {
		return ""
	}
	text, _ := attrs[name].(string)
	return text
}

// note tells the observer of a change in r.
func (s *State) note(r *run, c Change) {
	if s.observe == nil {
		return
	}
	c.Run, c.Time = r.id, s.Now()
	s.observe(c)
}

// A cause is the event that led to what a Fold does: its id, or what to read that from once it is asked for.
type cause struct {
	id    string
	inv   *Invocation
	event lang.Value
}

func (c *cause) String() string {
	switch {
	case c.id != "":
	case c.inv != nil:
		c.id = c.inv.ID()
	case !c.event.IsNull():
		c.id = attribute(c.event, "id")
	}
	return c.id
}

// number gives an invocation a new number, and what it has from its run.
func (s *State) number(r *run, inv *Invocation) {
	r.next++
	inv.N, inv.Run, inv.Tenant, inv.Trigger, inv.Redrive, inv.Traced, inv.Began = r.next, r.id, r.tenant, r.def.Trigger, r.rare().redrives, r.traced, r.started
	if inv.Created.IsZero() {
		inv.Created, inv.Cause = s.Now(), s.cause.String()
	}
}

// addLive enters an invocation under a new number and sends it.
func (s *State) addLive(r *run, inv *Invocation, t *task) {
	s.number(r, inv)
	if inv.Purpose == Call && !inv.sub() {
		inv.Fuel = FuelBehind(inv.N, s.limits.Fuel)
	}
	r.live.put(inv.N, &live{inv: inv, task: t})
	s.live++
	s.out.Send = append(s.out.Send, inv)
}

// traced is the trace context that an event carries; nil is none. Its texts are the event's own, which is kept anyhow.
func traced(event lang.Value) *traceparent.Context {
	text := event.JSON()
	// Most events carry none: looking for the word is cheaper than decoding.
	if !strings.Contains(text, `"`+traceparent.Parent+`"`) {
		return nil
	}
	var attrs map[string]any
	if event.Decode(&attrs) != nil {
		return nil
	}
	parent, _ := attrs[traceparent.Parent].(string)
	state, _ := attrs[traceparent.State].(string)
	c, ok := traceparent.Of(parent, state)
	if !ok {
		return nil
	}
	for _, part := range []*string{&c.Parent, &c.State} {
		if at := strings.Index(text, *part); at >= 0 {
			*part = text[at : at+len(*part)]
		}
	}
	return &c
}

// dropLive forgets an invocation whose result no longer counts.
func (s *State) dropLive(r *run, n uint32) {
	l := r.live.get(n)
	if l == nil {
		return
	}
	s.part(r, l)
	s.out.Stop = append(s.out.Stop, l.inv)
	x := r.own()
	if x.superseded = append(x.superseded, n); len(x.superseded) > 2*supersededKept { // Not at each one.
		x.superseded = x.superseded[:copy(x.superseded, x.latest())]
	}
	s.revoke(r, l.inv)
}

// missing says why number n is not live.
func (r *run) missing(n uint32) Reason {
	switch {
	case n <= r.next>>depthAt<<depthAt || n > r.next: // It never was given.
		return Unknown
	case slices.Contains(r.rare().latest(), n):
		return Superseded
	case r.outcome != nil:
		return Finished
	}
	return Duplicate
}

func (s *State) foldCompletion(r *run, payload []byte) Reason {
	f, err := DecodeCompletion(payload)
	if err != nil {
		return Malformed
	}
	l := r.live.get(f.N)
	if l == nil {
		return r.missing(f.N)
	}
	if l.left() {
		if f.Cause != "" {
			s.out.Stop = append(s.out.Stop, l.inv)
		}
		s.trace(l, f.Outcome, f.Sending)
		s.forget(r, l)
		return Superseded
	}
	s.cause = cause{id: f.Cause, inv: l.inv}
	if l.task == nil {
		s.deliveryEnded(r, l.inv, f.Outcome.Err)
		return Applied
	}
	s.part(r, l)
	if f.Cause != "" {
		// It came as an event: whoever still times the invocation, or waits for its answer, need not.
		s.out.Stop = append(s.out.Stop, l.inv)
	}
	s.note(r, Change{Kind: Answered, N: f.N, Path: l.inv.Path, Outcome: f.Outcome, Attempt: l.inv.Attempt})
	s.traceCall(l, f.Outcome, f.Sending)
	return Applied
}

func (s *State) foldAccepted(r *run, payload []byte) Reason {
	f, err := DecodeAccepted(payload)
	if err != nil {
		return Malformed
	}
	reason := Duplicate
	for i, n := range f.Numbers {
		l, ticket := r.live.get(n), ""
		if f.Tickets != nil {
			ticket = f.Tickets[i]
		}
		switch {
		case l == nil:
			continue
		case l.left() && r.outcome != nil:
			s.forget(r, l)
			reason = Applied
			continue
		case l.task == nil && !l.left():
			s.deliveryEnded(r, l.inv, nil)
			reason = Applied
			continue
		case l.accepted > 0 && (ticket == "" || l.ticket != nil):
			continue
		case l.accepted <= 0:
			l.accepted = s.now
		}
		if ticket != "" && l.task != nil {
			s.bookTicket(r, l, ticket)
		}
		s.note(r, Change{Kind: Delivered, N: n, Path: l.inv.Path, Text: ticket})
		reason = Applied
	}
	return reason
}

// foldTried keeps when an invocation was tried first, for the owners that are to come: its age counts from then.
func (r *run) foldTried(payload []byte, now int64) Reason {
	f, err := DecodeNumbers(payload)
	if err != nil {
		return Malformed
	}
	reason := Duplicate
	for _, n := range f.Numbers {
		if l := r.live.get(n); l != nil && l.accepted == 0 {
			l.accepted, reason = -now, Applied
		}
	}
	return reason
}

func (s *State) foldTimedOut(r *run, payload []byte) Reason {
	f, err := DecodeTimedOut(payload)
	if err != nil {
		return Malformed
	}
	reason := Duplicate
	for _, n := range f.Numbers {
		l := r.live.get(n)
		s.why = because{reason: "timeout"}
		if l != nil && l.left() {
			s.revoke(r, l.inv)
			s.out.Stop = append(s.out.Stop, l.inv)
			s.forget(r, l)
			reason = Applied
			continue
		}
		if l == nil || l.task == nil {
			continue
		}
		reason = Applied
		s.cause = cause{inv: l.inv}
		s.dropLive(r, n)
		late := lang.Failf(lang.ClassTimeout, "timeout", "no outcome within %s of sending", l.inv.Timeout)
		if f.Silent {
			late = lang.Failf(lang.ClassTimeout, HeartbeatTimeout, "neither an outcome nor a heartbeat within %s", l.inv.Heartbeat)
		}
		s.traceCall(l, lang.Failure(late), f.Sending)
	}
	return reason
}

func (s *State) foldGaveUp(r *run, payload []byte) Reason {
	f, err := DecodeGaveUp(payload)
	if err != nil {
		return Malformed
	}
	l := r.live.get(f.N)
	if l == nil {
		return r.missing(f.N)
	}
	s.cause, s.why = cause{inv: l.inv}, because{reason: f.Err.Type}
	if l.left() {
		s.revoke(r, l.inv)
		s.giveUp(r, l.inv, f.Err)
		s.forget(r, l)
		return Applied
	}
	if l.task == nil {
		s.deliveryEnded(r, l.inv, f.Err)
		return Applied
	}
	if x := l.task.overdue(s.now); x != nil {
		// Its owner and the timer of the deadline race: it is the deadline either way.
		due := r.timers.get(x.deadlineTimer).due
		s.dropTimer(r, x.deadlineTimer)
		x.deadlineTimer = 0
		s.deadline(x, due)
		return Applied
	}
	s.dropLive(r, f.N)
	if s.traceCall(l, lang.Failure(f.Err), Sending{}); l.task.retryTimer == 0 {
		s.giveUp(r, l.inv, f.Err)
	}
	return Applied
}

func (s *State) foldMatched(r *run, payload []byte) Reason {
	f, err := DecodeMatched(payload)
	if err != nil {
		return Malformed
	}
	l := r.live.get(f.N)
	if l == nil || l.inv.Purpose != Route && !l.inv.sub() || l.inv.Starts != nil {
		return Duplicate
	}
	inv := *l.inv
	if inv.sub() {
		inv.Starts = append([]byte{}, f.Starts...)
		l.inv = &inv
		s.out.Send = append(s.out.Send, &inv)
		return Applied
	}
	inv.Starts, inv.Fuel = append([]byte{}, f.Starts...), s.notify(r, l.inv, f.Count)
	l.inv = &inv
	s.out.Send = append(s.out.Send, &inv)
	return Applied
}

func (s *State) foldCancel(r *run, payload []byte) Reason {
	f, err := DecodeCancel(payload)
	if err != nil {
		return Malformed
	}
	if r.outcome != nil {
		return Finished
	}
	if key, has := f.key(); has {
		if _, repeated := r.rare().seen[key]; repeated {
			return Duplicate
		}
		s.remember(r.own(), key)
	}
	if r.rare().result != nil {
		return Duplicate
	}
	r.cancelled, s.why = true, because{"cancelled", f.error().Message}
	s.cancelRun(r, lang.Failure(f.error()))
	return Applied
}

// sortTasks orders tasks by slot and index.
func sortTasks(tasks []*task) {
	slices.SortFunc(tasks, func(a, b *task) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.index, b.index))
	})
}
