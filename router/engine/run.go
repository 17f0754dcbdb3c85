package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A run is one activation of a trigger's flow.
type run struct {
	id      journal.RunID
	tenant  string
	def     *definition
	event   lang.Value
	traced  string // traceparent of event
	data    lang.Value
	hops    int
	started int64

	next  uint32 // the last number given: to an invocation, a frame or a timer
	calls int
	// attempts is how often the function that failed last was tried; destinations are told.
	attempts int
	root     *task // nil once the run has ended

	live       map[uint32]*live // invocations without an outcome
	timers     map[uint32]*timer
	superseded []uint32 // the latest invocations that were replaced, to tell a late result from a repeated one

	seen  map[signalKey]struct{} // of the signals kept and taken
	kept  []keptSignal           // in order
	taken []takenSignal          // oldest first
	waits []wait                 // in order

	outcome   *lang.Outcome // once ended
	ended     int64         // when
	cancelled bool

	open  int    // children that are open, in all its frames
	bytes int    // of the values that it keeps
	part  uint32 // of what it owed, the last that was paid
	debts int    // slots that owe openings
	owed  []debt // them, the oldest first, with some that no longer do

	// Not state.
	entered uint32 // debts so far
	asked   bool   // its owner has been told that it owes, or will be
	stuck   bool   // what it owes waits for others to end
}

// A live is an invocation without an outcome, with the step that waits for it; task is nil for the deliveries of the run's end.
type live struct {
	inv      *Invocation
	task     *task
	accepted int64
}

const supersededKept = 1024

func (s *State) runIDs() []journal.RunID {
	return slices.SortedFunc(maps.Keys(s.runs), func(a, b journal.RunID) int { return slices.Compare(a[:], b[:]) })
}

func (s *State) waitingDigests() []lang.Digest {
	return slices.SortedFunc(maps.Keys(s.waiting), func(a, b lang.Digest) int { return slices.Compare(a[:], b[:]) })
}

func sortedNumbers[V any](m map[uint32]V) []uint32 { return slices.Sorted(maps.Keys(m)) }

func newRun(id journal.RunID, tenant string, def *definition, f *StartFact, now int64) *run {
	return &run{id: id, tenant: tenant, def: def, event: f.Event, traced: traceparent(f.Event), data: f.Data, hops: f.Hops, started: now}
}

// begin makes a run and opens its flow. The signals are what came before the run could begin.
func (s *State) begin(id journal.RunID, tenant string, def *definition, f *StartFact, signals []SignalFact) {
	r := newRun(id, tenant, def, f, s.now)
	s.add(r)
	s.note(r, Change{Kind: RunStarted, Text: def.Trigger})
	s.cause = cause{event: f.Event}
	for _, v := range []*lang.Value{&r.event, &r.data} {
		if e := s.unfit("the event", *v); e != nil {
			*v = lang.Null
			s.endRun(r, lang.Failure(e))
			return
		}
	}
	if r.hops > s.limits.Hops {
		s.endRun(r, lang.Failure(lang.Failf(lang.ClassPlatform, "hop_limit", "more than %d runs in one chain; a trigger's own events start it again", s.limits.Hops)))
		return
	}
	if def.Flow == nil {
		s.endRun(r, lang.Success(r.data))
		return
	}
	for i := range signals {
		s.keepSignal(r, keptSignal{signals[i].Name, signals[i].Data, signals[i].key()}, len(r.kept))
	}
	r.root = &task{run: r, step: def.Flow, bound: r.data}
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

// addLive enters an invocation under a new number and sends it.
func (s *State) addLive(r *run, inv *Invocation, t *task) {
	r.next++
	inv.N, inv.Run, inv.Tenant, inv.Trigger, inv.Digest = r.next, r.id, r.tenant, r.def.Trigger, r.def.digest
	inv.Created, inv.Hops, inv.Traced = s.Now(), r.hops, r.traced
	inv.Cause = s.cause.String()
	if r.live == nil {
		r.live = make(map[uint32]*live)
	}
	r.live[inv.N] = &live{inv: inv, task: t}
	s.live++
	s.out.Send = append(s.out.Send, inv)
}

func traceparent(event lang.Value) string {
	// Most events carry none: looking for the word is cheaper than decoding.
	if !strings.Contains(event.JSON(), `"traceparent"`) {
		return ""
	}
	return attribute(event, "traceparent")
}

// dropLive forgets an invocation whose result no longer counts.
func (s *State) dropLive(r *run, n uint32) {
	l := r.live[n]
	if l == nil {
		return
	}
	delete(r.live, n)
	s.live--
	s.out.Stop = append(s.out.Stop, l.inv)
	r.superseded = append(r.superseded, n)
	if len(r.superseded) > supersededKept {
		r.superseded = r.superseded[:copy(r.superseded, r.superseded[len(r.superseded)-supersededKept:])]
	}
}

// missing says why number n is not live.
func (r *run) missing(n uint32) Reason {
	switch {
	case n == 0 || n > r.next:
		return Unknown
	case slices.Contains(r.superseded, n):
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
	l := r.live[f.N]
	if l == nil {
		return r.missing(f.N)
	}
	s.cause = cause{id: f.Cause, inv: l.inv}
	delete(r.live, f.N)
	s.live--
	if f.Cause != "" {
		// It came as an event: whoever still times the invocation, or waits for its answer, need not.
		s.out.Stop = append(s.out.Stop, l.inv)
	}
	if l.task == nil {
		s.note(r, Change{Kind: Delivered, N: f.N, Path: l.inv.Path})
		s.leaveIfDone(r)
		return Applied
	}
	s.note(r, Change{Kind: Answered, N: f.N, Path: l.inv.Path, Outcome: f.Outcome, Attempt: l.inv.Attempt})
	s.callEnded(l, f.Outcome)
	return Applied
}

func (s *State) foldAccepted(r *run, payload []byte) Reason {
	f, err := DecodeNumbers(payload)
	if err != nil {
		return Malformed
	}
	reason := Duplicate
	for _, n := range f.Numbers {
		l := r.live[n]
		switch {
		case l == nil:
			continue
		case l.task == nil:
			delete(r.live, n)
			s.live--
		case l.accepted != 0:
			continue
		default:
			l.accepted = s.now
		}
		s.note(r, Change{Kind: Delivered, N: n, Path: l.inv.Path})
		reason = Applied
	}
	s.leaveIfDone(r)
	return reason
}

func (s *State) foldTimedOut(r *run, payload []byte) Reason {
	f, err := DecodeNumbers(payload)
	if err != nil {
		return Malformed
	}
	reason := Duplicate
	for _, n := range f.Numbers {
		l := r.live[n]
		if l == nil || l.task == nil {
			continue
		}
		reason = Applied
		s.cause = cause{inv: l.inv}
		s.dropLive(r, n)
		s.callEnded(l, lang.Failure(lang.Failf(lang.ClassTimeout, "timeout", "no outcome within %s of sending", l.inv.Timeout)))
	}
	return reason
}

func (s *State) foldGaveUp(r *run, payload []byte) Reason {
	f, err := DecodeGaveUp(payload)
	if err != nil {
		return Malformed
	}
	l := r.live[f.N]
	if l == nil {
		return r.missing(f.N)
	}
	s.cause = cause{inv: l.inv}
	if l.task == nil {
		delete(r.live, f.N)
		s.live--
		s.note(r, Change{Kind: Delivered, N: f.N, Path: l.inv.Path, Outcome: lang.Failure(f.Err)})
		s.leaveIfDone(r)
		return Applied
	}
	if x := l.task.overdue(s.now); x != nil {
		// Its owner and the timer of the deadline race: it is the deadline either way.
		s.dropTimer(r, x.deadlineTimer)
		x.deadlineTimer = 0
		s.deadline(x)
		return Applied
	}
	s.dropLive(r, f.N)
	s.callEnded(l, lang.Failure(f.Err))
	return Applied
}

func (s *State) foldMatched(r *run, payload []byte) Reason {
	f, err := DecodeMatched(payload)
	if err != nil {
		return Malformed
	}
	l := r.live[f.N]
	if l == nil || l.inv.Purpose != Route || l.inv.Starts != nil {
		return Duplicate
	}
	inv := *l.inv
	inv.Starts = append([]byte{}, f.Starts...)
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
	if r.root != nil {
		s.cancel(r.root)
		r.root = nil
	}
	r.cancelled = true
	s.endRun(r, lang.Failure(f.error()))
	return Applied
}

// The types of a run's end event.
const (
	TypeInvoke    = "dev.onward.function.invoke"
	TypeSucceeded = "dev.onward.run.succeeded"
	TypeFailed    = "dev.onward.run.failed"
	TypeSkipped   = "dev.onward.run.skipped" // by the condition of the flow itself
	TypeCancelled = "dev.onward.run.cancelled"
)

// endRun ends r: its destinations get the event of its end, and that event goes past all filters again.
func (s *State) endRun(r *run, o lang.Outcome) {
	r.root, r.outcome, r.ended = nil, &o, s.now
	for range r.timers {
		s.timers.live--
	}
	r.timers, r.seen, r.kept, r.taken, r.waits = nil, nil, nil, nil, nil
	r.owed, r.debts = nil, 0
	s.occupy(r, -r.open)
	s.hold(r, size(r.event)+size(r.data)-r.bytes)
	s.announce(r)
	s.tell(r)
}

// announce tells those who watch, wait or ask that r has ended.
func (s *State) announce(r *run) {
	kind, data, _ := s.end(r)
	s.note(r, Change{Kind: RunEnded, Outcome: *r.outcome})
	s.out.Ended = append(s.out.Ended, Ended{
		Run: r.id, Tenant: r.tenant, Trigger: r.def.Trigger, Digest: r.def.digest, Outcome: *r.outcome, Cancelled: r.cancelled,
		Started: time.Unix(0, r.started).UTC(), Ended: time.Unix(0, r.ended).UTC(), Event: r.event, Calls: r.calls, EventType: kind, Data: data,
		EventID: r.id.String() + "~end",
	})
}

// end is what the event of r's end says, and which destinations get it.
func (s *State) end(r *run) (string, lang.Value, []lang.Destination) {
	o := *r.outcome
	kind, data, destinations := TypeSucceeded, o.Value, r.def.OnSuccess
	switch o.Verdict {
	case lang.Skipped:
		kind, destinations = TypeSkipped, nil // What it was filtered out by is no success: nobody is told but who asks for it.
	case lang.Failed:
		kind, destinations = TypeFailed, r.def.OnFailure
		if r.cancelled {
			kind = TypeCancelled
		}
		data = lang.Object(
			lang.Member{Key: "error", Value: o.Err.Value()},
			lang.Member{Key: "attempts", Value: lang.Of(r.attempts)},
			lang.Member{Key: "input", Value: r.data},
		)
		if s.unfit("the end", data) != nil { // The input is the one part that may be large: its event's sender has it.
			data = lang.Object(lang.Member{Key: "error", Value: o.Err.Value()}, lang.Member{Key: "attempts", Value: lang.Of(r.attempts)})
		}
	}
	return kind, data, destinations
}

// tell sends the event of r's end to its destinations, and past all filters again.
func (s *State) tell(r *run) {
	kind, data, destinations := s.end(r)
	o, label := *r.outcome, "onSuccess"
	if o.Verdict == lang.Failed {
		label = "onFailure"
	}
	for i := range destinations {
		s.notify(r, &destinations[i], label, i, kind, data)
	}
	route := &Invocation{Purpose: Route, Path: "end", Type: kind, Input: data, Attempt: 1, Expires: s.Now().Add(s.limits.Deliver)}
	if o.Verdict == lang.Failed && o.Err.Type == "hop_limit" {
		route = nil
	}
	if route != nil {
		s.addLive(r, route, nil)
	}
	s.leaveIfDone(r)
}

// notify sends the event of r's end to a destination, when its condition holds.
func (s *State) notify(r *run, d *lang.Destination, label string, i int, kind string, data lang.Value) {
	scope := endScope{r: r, data: data}
	inv := &Invocation{
		Purpose: Notify, Path: destinationPath(label, i), Function: d.Function, ToTrigger: d.Trigger, Contract: r.def.Functions[d.Function].Contract,
		Attempt: 1, Input: data, Type: kind, Expires: s.Now().Add(s.limits.Deliver),
	}
	if !d.When.IsZero() {
		ok, err := d.When.EvalBool(scope, s.cache)
		if err != nil {
			s.note(r, Change{Kind: Notified, Path: inv.Path, Text: d.Function + d.Trigger, Outcome: lang.Failure(expressionError("when", err))})
			return
		}
		if !ok {
			return
		}
	}
	if !d.Data.IsZero() {
		v, err := d.Data.Eval(scope, s.cache)
		if err != nil {
			s.note(r, Change{Kind: Notified, Path: inv.Path, Text: d.Function + d.Trigger, Outcome: lang.Failure(expressionError("data", err))})
			return
		}
		inv.Input = v
	}
	s.addLive(r, inv, nil)
	s.note(r, Change{Kind: Notified, N: inv.N, Path: inv.Path, Text: d.Function + d.Trigger})
}

// leaveIfDone lets a run that has ended leave memory once nothing of it is under way.
func (s *State) leaveIfDone(r *run) {
	if r.outcome == nil || len(r.live) > 0 || s.runs[r.id] == nil {
		return
	}
	s.remove(r)
	s.tombstones.add(r.id, s.now, s.limits)
	s.note(r, Change{Kind: RunLeft})
}

// sortTasks orders tasks by slot and index.
func sortTasks(tasks []*task) {
	slices.SortFunc(tasks, func(a, b *task) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.index, b.index))
	})
}
