package engine

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// The types of a run's end event.
const (
	TypeInvoke    = "dev.onward.function.invoke"
	TypeCancel    = "dev.onward.function.cancel"
	TypeSucceeded = "dev.onward.run.succeeded"
	TypeFailed    = "dev.onward.run.failed"
	TypeSkipped   = "dev.onward.run.skipped" // by the condition of the flow itself
	TypeCancelled = "dev.onward.run.cancelled"
)

// ChainLimit is the type of the error of a run that its chain has no fuel left for.
const ChainLimit = "chain_limit"

// EndID is the id of the event of a run's end, wherever it goes. A run that was redriven ends again, by another event.
func EndID(run journal.RunID, redrives uint32) string {
	id := run.String() + "~end"
	if redrives > 0 {
		id += "+" + strconv.FormatUint(uint64(redrives), 10)
	}
	return id
}

// A pause is what a destination has between two tries.
type pause struct {
	inv *Invocation // the last try
	err *lang.Error
}

// endRun ends r. Its end is one event: it goes past all filters again, and to the trigger's destinations.
func (s *State) endRun(r *run, o lang.Outcome) {
	key, told, gathered := r.key(), []byte(nil), !r.gathers()
	if o.Verdict == lang.Failed || o.Verdict == lang.Cancelled {
		told = r.told()
	}
	s.leave(r)
	s.leaveRound(r)
	r.root, r.outcome, r.ended = nil, &o, s.now
	s.timers.live -= r.timers.len()
	r.timers, r.debts = few[timer]{}, 0
	s.resume(r)
	if x := r.seldom; x != nil {
		r.seldom = &seldom{superseded: x.superseded, parent: x.parent, redrives: x.redrives, arrived: x.arrived, spared: x.spared}
	}
	s.occupy(r, -int(r.open))
	s.hold(r, size(r.event)+size(r.data)+size(r.rare().arrived)-r.bytes)
	for _, n := range r.live.numbers() {
		// What was left alone is delivered yet; what a function has, nobody waits for.
		if l := r.live.get(n); l.left() && l.accepted != 0 {
			r.live.remove(n)
			s.live--
		}
	}
	s.announce(r, key, told)
	if last := len(s.out.Ended) - 1; gathered {
		s.out.Ended[last].Arrived = r.rare().arrived
	}
	s.tell(r)
}

// announce tells those who watch, wait or ask that r has ended.
func (s *State) announce(r *run, key string, told []byte) {
	kind, data, _ := s.end(r)
	s.note(r, Change{Kind: RunEnded, Outcome: *r.outcome})
	s.out.Ended = append(s.out.Ended, Ended{
		Run: r.id, Tenant: r.tenant, Trigger: r.def.Trigger, Digest: r.def.digest, Outcome: *r.outcome, Cancelled: r.cancelled,
		Started: time.Unix(0, r.started).UTC(), Ended: time.Unix(0, r.ended).UTC(), Event: r.event, Input: r.data, Calls: int(r.calls), EventType: kind, Data: data,
		EventID: EndID(r.id, r.rare().redrives), Spent: s.limits.Fuel - r.fuel, Key: key, Numbers: r.next, Redrives: r.rare().redrives, Traced: r.traced, Told: told,
	})
}

// end is what the event of r's end says, and which destinations get it.
func (s *State) end(r *run) (kind string, data lang.Value, destinations []lang.Destination) {
	switch o := r.outcome; o.Verdict {
	case lang.Succeeded:
		return TypeSucceeded, o.Value, r.def.OnSuccess
	case lang.Skipped:
		return TypeSkipped, o.Value, nil // What filters itself out, or was dropped, is no success: nobody is told but who asks for it.
	default:
		kind = TypeFailed
		if r.cancelled {
			kind = TypeCancelled
		}
		members := []lang.Member{{Key: "error", Value: o.Err.Value()}, {Key: "attempts", Value: lang.Of(r.attempts)}, {Key: "input", Value: r.data}}
		if data = lang.Object(members...); s.unfit("the end", data) != nil {
			data = lang.Object(members[:2]...) // The input is the one part that may be large: its event's sender has it.
		}
		return kind, data, r.def.OnFailure
	}
}

// tell puts the event of r's end past all filters. Its destinations are next, once it is known how many runs that starts: all of them share what the
// chain has left. A run that its chain had nothing left for tells nobody.
func (s *State) tell(r *run) {
	if r.fuel > 0 {
		kind, data, _ := s.end(r)
		s.addLive(r, &Invocation{
			Purpose: Route, Path: "end", Type: kind, Input: data, Attempt: 1, Fuel: r.left(),
			Created: time.Unix(0, r.ended).UTC(), Cause: s.cause.String(),
		}, nil)
	}
	s.tellParent(r)
	s.leaveIfDone(r)
}

// notify sends the event of r's end to its destinations, and returns the fuel that is left for the runs that the filters let it start.
func (s *State) notify(r *run, route *Invocation, matched int) int {
	kind, data, destinations := s.end(r)
	var due []*Invocation
	for i := range destinations {
		if inv := s.destined(r, &destinations[i], kind, data, route); inv != nil {
			due = append(due, inv)
		}
	}
	forMatched := r.share(due, matched)
	for _, inv := range due {
		s.addLive(r, inv, nil)
		s.note(r, Change{Kind: Notified, N: inv.N, Path: inv.Path, Text: inv.to()})
	}
	return forMatched
}

// destined is the event of r's end for one destination; nil when its condition does not hold, or cannot be told: then it is a dead letter.
func (s *State) destined(r *run, d *lang.Destination, kind string, data lang.Value, route *Invocation) *Invocation {
	inv := &Invocation{
		Purpose: Notify, Path: "end:" + d.Name, Function: d.Function, ToTrigger: d.Trigger, Contract: r.def.Functions[d.Function].Contract,
		Attempt: 1, Input: data, Type: kind, Created: route.Created, Cause: route.Cause,
	}
	scope := endScope{r: r, kind: kind}
	if !d.When.IsZero() {
		ok, err := d.When.EvalBool(scope, s.cache)
		if err != nil {
			s.number(r, inv)
			s.giveUp(r, inv, expressionError("when", err))
			return nil
		}
		if !ok {
			return nil
		}
	}
	if e := s.dress(r, d, inv, scope); e != nil {
		s.number(r, inv)
		s.giveUp(r, inv, e)
		return nil
	}
	return inv
}

// dress gives the event of r's end the form, the data and the attributes that a destination says.
func (s *State) dress(r *run, d *lang.Destination, inv *Invocation, scope endScope) *lang.Error {
	var own []lang.Member
	switch d.Format {
	case lang.FormatDLQ:
		inv.Input, own = r.data, letterAttributes(r)
	case lang.FormatKnative:
		inv.Input, own = r.data, knativeAttributes(r)
	case lang.FormatAWS, lang.FormatEventBridge:
		inv.Input = s.record(r, d)
	}
	if !d.Data.IsZero() {
		v, err := d.Data.Eval(scope, s.cache)
		if err != nil {
			return expressionError("data", err)
		}
		inv.Input = v
	}
	if inv.Attributes = lang.Null; own != nil {
		inv.Attributes = lang.Object(own...)
	}
	if d.Event.IsZero() {
		return nil
	}
	v, err := d.Event.Eval(scope, s.cache)
	if err != nil {
		return expressionError("event", err)
	}
	said, ok := members(v)
	if !ok {
		return lang.Failf(lang.ClassFunction, "bad_event", "event yields %.80s, and not names of attributes with their texts", v.JSON())
	}
	inv.Attributes = lang.Object(replaced(own, said)...)
	if inv.Attributes.Size() > maxDress {
		return lang.Failf(lang.ClassFunction, "bad_event", "event yields attributes of %d bytes; all of an event's have at most %d", inv.Attributes.Size(), maxDress)
	}
	return nil
}

// maxDress bounds the attributes of an event, as JSON (config/envelope bounds what they say).
const maxDress = 64 << 10

// members are those of an object; ok is false for another value.
func members(v lang.Value) (list []lang.Member, ok bool) {
	var m map[string]lang.Value
	if v.IsNull() || v.Decode(&m) != nil {
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, lang.Member{Key: name, Value: m[name]})
	}
	return list, true
}

// replaced is list with what is said put in place of its own, by name.
func replaced(list, said []lang.Member) []lang.Member {
	kept := slices.DeleteFunc(list, func(m lang.Member) bool {
		return slices.ContainsFunc(said, func(x lang.Member) bool { return x.Key == m.Key })
	})
	return append(kept, said...)
}

// deliveryEnded takes how the event of r's end fared at the filters or at a destination: with an error it is tried again, as a call is, or given up.
func (s *State) deliveryEnded(r *run, inv *Invocation, e *lang.Error) {
	r.live.remove(inv.N)
	s.live--
	if inv.Purpose == Route && inv.Starts == nil {
		s.notify(r, inv, 0)
	}
	switch {
	case inv.Purpose == Cancel: // It was told, or could not be.
	case e == nil:
		s.traceDelivery(inv, nil, false)
		s.note(r, Change{Kind: Delivered, N: inv.N, Path: inv.Path})
	default:
		again := s.pauseDelivery(r, inv, e)
		s.traceDelivery(inv, e, again)
		if !again {
			s.giveUp(r, inv, e)
		}
	}
	s.leaveIfDone(r)
}

// final are the types of errors with which a destination is not tried again, whatever its retry says: its owner has given it up for its age, or another try would be
// the same. An event that cannot be made will not be one later.
var final = map[string]bool{"undelivered": true, "unknown_trigger": true, ZeroConcurrency: true, "bad_event": true, "expression_error": true}

// pauseDelivery sets the timer of the next try of a destination, if there is to be one.
func (s *State) pauseDelivery(r *run, inv *Invocation, e *lang.Error) bool {
	rules := r.retryOf(inv.Path)
	at := rules.For(e)
	if final[e.Type] || at < 0 {
		return false
	}
	if len(rules) > 1 {
		tried := *inv
		tried.counts = inv.counts.count(rules, at)
		inv = &tried
	}
	counted := inv.counts.of(at, int32(inv.Attempt))
	if counted >= rules[at].Attempts {
		return false
	}
	wait := rules[at].Pause(rules[at].Backoff.D(), rules[at].Max.D(), counted, spread(r.id, inv.Path, inv.Attempt))
	x := r.own()
	if x.pauses == nil {
		x.pauses = make(map[uint32]pause)
	}
	x.pauses[s.setTimer(r, wait, timer{kind: timerDelivery})] = pause{inv, e.At(inv.Path, inv.Attempt, inv.ID())}
	s.note(r, Change{Kind: Retrying, Path: inv.Path, Attempt: inv.Attempt, Outcome: lang.Failure(e), Wait: wait})
	return true
}

// retryOf is how a destination is tried again; nil when it is not.
func (r *run) retryOf(path string) lang.Retries {
	for _, list := range [][]lang.Destination{r.def.OnSuccess, r.def.OnFailure} {
		for i := range list {
			if path == "end:"+list[i].Name {
				return list[i].Retry
			}
		}
	}
	return nil
}

// deliverAgain begins the next try of a destination.
func (s *State) deliverAgain(r *run, timer uint32) {
	p := r.rare().pauses[timer]
	delete(r.rare().pauses, timer)
	inv := *p.inv
	inv.Attempt++
	s.addLive(r, &inv, nil)
}

// giveUp makes a dead letter of what could not be delivered.
func (s *State) giveUp(r *run, inv *Invocation, e *lang.Error) {
	e = e.At(inv.Path, inv.Attempt, inv.ID())
	s.out.Dead = append(s.out.Dead, Dead{Invocation: inv, Err: e, Time: s.Now()})
	s.note(r, Change{Kind: DeadLettered, N: inv.N, Path: inv.Path, Text: inv.to(), Attempt: inv.Attempt, Outcome: lang.Failure(e)})
}

// leaveIfDone lets a run that has ended leave memory once nothing of it is under way.
func (s *State) leaveIfDone(r *run) {
	if r.outcome == nil || r.live.len() > 0 || len(r.rare().pauses) > 0 || s.runs[r.id] == nil {
		return
	}
	s.remove(r)
	s.tombstones.count(r.id, r.rare().redrives)
	s.tombstones.add(r.id, s.now, s.limits)
	s.note(r, Change{Kind: RunLeft})
}
