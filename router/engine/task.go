package engine

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A task is one activation of a step: the wrapper that every step, function or policy, gets alike. It ends exactly once.
type task struct {
	run     *run
	step    *lang.Step
	frame   *frame // whose child it is; nil at the top
	handles *task  // the failed step that it, a catch handler, stands in for
	slot    int32
	index   int32
	opened  int64 // who looks at many for those that tell most looks no further than here
	lastErr *lang.Error

	bound lang.Value // input as its policy gave it
	input lang.Value // input after the step's own expression
	names *names     // that its policy, or its being a handler, gave it; nil is none

	tries     int32
	continues int32
	ended     bool
	inv       uint32 // of the invocation at work; 0 is none
	body      *frame // of the policy at work
	handler   *task  // at work
	rest      *rest  // nil: nothing of it

	deadlineTimer, retryTimer, tryTimer uint32

	counts *counts // of a step with several rules of retry, once one has counted
}

// names are what a step sees beside what the step around it does.
type names struct {
	vars     lang.Vars
	siblings []int // slots of the frame that it is in, in order
}

func (t *task) vars() lang.Vars {
	if t.names == nil {
		return nil
	}
	return t.names.vars
}

func (t *task) siblings() []int {
	if t.names == nil {
		return nil
	}
	return t.names.siblings
}

func (t *task) info() *stepInfo {
	if t.frame != nil && t.handles == nil { // The one around it knows it: a completion asks for this some times.
		return t.frame.info.below[t.slot]
	}
	return t.run.def.steps[t.step]
}

func (s *State) scope(t *task, vars ...lang.Var) view {
	return view{s: s, t: t, input: t.input, vars: vars}
}

// open begins a step: its condition, its deadline, its input, its first try.
func (s *State) open(t *task) {
	t.opened, t.input = s.now, t.bound
	s.hold(t.run, t.weight())
	if !t.step.When.IsZero() {
		ok, err := t.step.When.EvalBool(s.scope(t), s.cache)
		if err != nil {
			s.failed(t, expressionError("when", err))
			return
		}
		if !ok {
			s.finish(t, lang.Skip())
			return
		}
	}
	if d, err := s.span(t, "deadline", t.step.Deadline); err != nil {
		s.failed(t, policyError(err))
		return
	} else if d > 0 {
		t.deadlineTimer = s.setTimer(t.run, d, timer{kind: timerDeadline, task: t})
	}
	if !t.step.Input.IsZero() {
		v, err := t.step.Input.Eval(s.scope(t), s.cache)
		if err != nil {
			s.failed(t, expressionError("input", err))
			return
		}
		if e := s.unfit("the input", v); e != nil {
			s.failed(t, e)
			return
		}
		before := t.weight()
		t.input = v
		s.hold(t.run, t.weight()-before)
		if e := s.overweight(t.run); e != nil {
			s.failed(t, e)
			return
		}
	}
	if t.step.Use == lang.UseFunction && !t.info().reopens {
		// Nothing will ask for its names again: a wide map need not keep them.
		s.hold(t.run, -t.failure())
		t.names = nil
	}
	s.attempt(t)
}

// attempt begins a try.
func (s *State) attempt(t *task) {
	t.tries++
	if s.recall(t) {
		return
	}
	if t.step.Use == lang.UseFunction || t.info().starts != "" {
		s.invoke(t, t.input, 0)
		return
	}
	if t.depth() >= s.limits.Depth {
		s.failed(t, lang.Failf(lang.ClassPlatform, "depth_limit", "more than %d policies inside one another", s.limits.Depth))
		return
	}
	if d, err := s.span(t, "timeout", t.step.Timeout); err != nil {
		s.failed(t, policyError(err))
		return
	} else if d > 0 {
		t.tryTimer = s.setTimer(t.run, d, timer{kind: timerTry, task: t})
	}
	info := t.info()
	t.run.next++
	t.body = &frame{owner: t, info: info, n: t.run.next, began: s.now, state: info.machine.State(), slots: make([]slot, len(info.children))}
	s.step(t.body, frameEvent{kind: evStarted})
}

func (t *task) depth() int {
	d := 0
	for x := t; x != nil; x = x.parent() {
		if x.handles == nil && x.frame != nil && x.few().of == nil {
			d++
		}
	}
	return d
}

// invoke sends the function of t an input under a new number: its own, or the state of a continuation.
func (s *State) invoke(t *task, input lang.Value, continued int) {
	r := t.run
	if int(r.calls) >= s.limits.Steps && !(t.cleansUp() && int(r.calls) < 2*s.limits.Steps) {
		s.failed(t, lang.Failf(lang.ClassPlatform, "step_limit", "more than %d invocations in one run", s.limits.Steps))
		return
	}
	timeout, err := s.span(t, "timeout", t.step.Timeout)
	if err != nil {
		s.failed(t, policyError(err))
		return
	}
	heartbeat, err := s.span(t, "heartbeat", t.step.Heartbeat)
	if err == nil && heartbeat <= 0 && !t.step.Heartbeat.Expr.IsZero() {
		err = lang.Failf(lang.ClassFunction, "bad_duration", "heartbeat: %s yields no time, and nothing else might bound the try; let it yield more than 0", t.step.Heartbeat.Expr.Source())
	}
	if err != nil {
		s.failed(t, policyError(err))
		return
	}
	fuel := 0
	if t.info().starts != "" {
		if fuel = s.toSubrun(r); fuel == 0 {
			s.failed(t, lang.Failf(lang.ClassPlatform, ChainLimit, "nothing is left of the %d runs that one subrun of a run from outside may lead to; look for triggers that start themselves", s.limits.Fuel))
			return
		}
	}
	r.calls++
	var expires time.Time
	if due, bounded := t.due(); bounded {
		expires = time.Unix(0, due).UTC()
	}
	inv := &Invocation{
		Purpose: Call, Path: t.path(), Function: t.step.Target, Contract: r.def.Functions[t.step.Target].Contract, Attempt: int(t.tries),
		Input: input, Timeout: timeout, Heartbeat: heartbeat, Expires: expires, Type: TypeInvoke, Continued: continued, Fuel: fuel,
	}
	if t.info().starts != "" {
		s.asSubrun(t, inv)
	}
	s.addLive(r, inv, t)
	t.inv = inv.N
	s.note(r, Change{Kind: Invoked, N: inv.N, Path: inv.Path, Attempt: inv.Attempt, Text: inv.to()})
}

// cleansUp reports whether t stands in a cleanup slot, or below one: that has to work when the run is at its limit.
func (t *task) cleansUp() bool {
	for x := t; x != nil; x = x.parent() {
		if x.frame != nil && x.frame.cleansUp(int(x.slot)) {
			return true
		}
	}
	return false
}

// due is the earliest deadline of t and of all that it is in.
func (t *task) due() (at int64, bounded bool) {
	for x := t; x != nil; x = x.parent() {
		if d := t.run.timers.get(x.deadlineTimer); d != nil && (!bounded || d.due < at) {
			at, bounded = d.due, true
		}
	}
	return at, bounded
}

// overdue is the outermost step around t, or t itself, whose deadline has come though its timer has not been told to fire; nil when there is none.
func (t *task) overdue(now int64) (over *task) {
	for x := t; x != nil; x = x.parent() {
		if d := t.run.timers.get(x.deadlineTimer); d != nil && d.due <= now {
			over = x
		}
	}
	return over
}

// parent is the step whose twin t is, that t handles, or that t is a child of; nil at the top.
func (t *task) parent() *task {
	switch {
	case t.few().of != nil:
		return t.rest.of
	case t.handles != nil:
		return t.handles
	case t.frame != nil:
		return t.frame.owner
	}
	return nil
}

// place is where an error of t arose: its path, or what it does where it has none.
func (t *task) place() string {
	if path := t.path(); path != "" {
		return path
	}
	return t.info().label
}

// callEnded takes the outcome of an invocation.
func (s *State) callEnded(l *live, o lang.Outcome) {
	l.task.inv = 0
	if o.Verdict == lang.Failed {
		o.Err = o.Err.At(l.inv.Path, l.inv.Attempt, l.inv.ID())
	}
	s.attemptEnded(l.task, o)
}

// attemptEnded takes the outcome of a try: it ends the step, or begins another try.
func (s *State) attemptEnded(t *task, o lang.Outcome) {
	s.dropTimer(t.run, t.tryTimer)
	t.tryTimer, t.body = 0, nil
	if t.step.Use == lang.UseFunction {
		t.run.aged = false
		if t.run.def.conditions && o.Err != nil && !reached(o.Err) {
			t.own().spared++
		}
	}
	if e := s.unfit("the outcome", o.Value); e != nil {
		o = lang.Failure(e)
	} else if o.Err != nil {
		o.Err = o.Err.Bounded()
	}
	switch o.Verdict {
	case lang.Continue:
		if t.continues++; int(t.continues) > s.limits.Continues {
			s.failed(t, lang.Failf(lang.ClassFunction, "continue_limit", "continued more than %d times", s.limits.Continues))
			return
		}
		s.invoke(t, o.Value, int(t.continues))
	case lang.Failed:
		e := o.Err.At(t.place(), int(t.tries), "")
		if again, e := s.retry(t, e); !again {
			s.failed(t, e)
		}
	case lang.Succeeded:
		if !t.step.Output.IsZero() {
			v, err := t.step.Output.Eval(s.scope(t, lang.Var{Name: "output", Value: o.Value}), s.cache)
			if err != nil {
				s.failed(t, expressionError("output", err))
				return
			}
			if e := s.unfit("the output", v); e != nil {
				s.failed(t, e)
				return
			}
			o.Value = v
		}
		if t.frame == nil && t.handles == nil {
			t.run.spare(t.few().spared)
		}
		s.finish(t, o)
	default:
		s.finish(t, o)
	}
}

// counts are how many errors each rule of retry has counted.
type counts []int32

// count returns the counts with one more of a rule's. Of a single rule it is the number of tries: what it is not for would have ended the step.
func (c *counts) count(rules lang.Retries, rule int) *counts {
	next := make(counts, len(rules))
	if c != nil {
		copy(next, *c)
	}
	next[rule]++
	return &next
}

// of is a rule's count; tries are all there were.
func (c *counts) of(rule int, tries int32) int {
	if c == nil {
		return int(tries)
	}
	return int((*c)[rule])
}

// notAgain begins what is put behind the message of an error that there was no time to try again after.
const notAgain = " (not tried again: "

// retry sets the timer of the next try, if there is to be one. A pause that a deadline would cut short is not begun: nothing could come of it, and
// the error that there is says more than that the time was over.
func (s *State) retry(t *task, e *lang.Error) (bool, *lang.Error) {
	rules := t.step.Retry
	at := rules.For(e)
	if at < 0 || e.Type == ZeroConcurrency { // A function that is stopped stays so.
		return false, e
	}
	if len(rules) > 1 {
		t.counts = t.counts.count(rules, at)
	}
	counted := t.counts.of(at, t.tries)
	if counted >= rules[at].Attempts {
		return false, e
	}
	backoff, most, err := s.pauses(t, &rules[at], e)
	if err != nil {
		wrong := policyError(err)
		wrong.Message += fmt.Sprintf("; the step was to be tried again after: %s", e)
		return false, wrong.At(t.place(), int(t.tries), "")
	}
	pause := rules[at].Pause(backoff, most, counted, spread(t.run.id, t.path(), int(t.tries)))
	if due, bounded := t.due(); bounded && s.now+int64(pause) >= due {
		forbidden := *e
		t.run.aged = t.run.def.conditions
		forbidden.Message += fmt.Sprintf(notAgain+"the next try would come in %s, the deadline in %s)", pause.Round(time.Millisecond), time.Duration(due-s.now).Round(time.Millisecond))
		return false, &forbidden
	}
	t.lastErr = e
	t.retryTimer = s.setTimer(t.run, pause, timer{kind: timerRetry, task: t})
	s.note(t.run, Change{Kind: Retrying, Path: t.path(), Attempt: int(t.tries), Outcome: lang.Failure(e), Wait: pause})
	s.giveBack(t)
	return true, e
}

// pauses are the backoff and the longest pause of a rule, for an error that it is for.
func (s *State) pauses(t *task, rule *lang.Retry, e *lang.Error) (backoff, most time.Duration, err error) {
	if rule.Backoff.Expr.IsZero() && rule.Max.Expr.IsZero() {
		return rule.Backoff.D(), rule.Max.D(), nil
	}
	vars := t.seen(e)
	if backoff, err = s.span(t, "backoff", rule.Backoff, vars...); backoff == 0 && !rule.Backoff.Expr.IsZero() {
		backoff = lang.DefaultBackoff
	}
	if err == nil {
		most, err = s.span(t, "max", rule.Max, vars...)
	}
	if most == 0 && !rule.Max.Expr.IsZero() {
		most = lang.DefaultMax
	}
	return backoff, most, err
}

// seen are the names that what is done about an error sees.
func (t *task) seen(e *lang.Error) lang.Vars {
	return lang.Vars{{Name: "error", Value: e.Value()}, {Name: "attempt", Value: lang.Of(t.tries)}}
}

// span is what a duration of a step's is now.
func (s *State) span(t *task, key string, d lang.Span, vars ...lang.Var) (time.Duration, error) {
	return d.Value(key, func(e lang.Expr) (lang.Value, error) {
		v, err := e.Eval(s.scope(t, vars...), s.cache)
		if err != nil {
			return lang.Null, expressionError(key, err)
		}
		return v, nil
	})
}

// spread is a number in [0,1) that is the same for the same try of the same step of the same run.
func spread(run journal.RunID, path string, tries int) float64 {
	h := fnv.New64a()
	h.Write(run[:])
	h.Write([]byte(path))
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(tries))
	h.Write(b[:])
	return float64(h.Sum64()>>11) / (1 << 53)
}

// failed ends a step by an error that is not tried again: a handler takes over, or the step fails.
func (s *State) failed(t *task, e *lang.Error) {
	e = e.At(t.place(), int(t.tries), "")
	if t.handles != nil && t.tries == 0 {
		e = insteadOf(e, t.handles.lastErr)
	}
	t.lastErr = e
	if t.step.Use == lang.UseFunction && t.tries > 0 {
		t.run.attempts = t.tries
		t.run.spare(t.few().spared)
	}
	switch x := t.few(); {
	case x.of != nil:
		s.finish(t, lang.Failure(e)) // What handles it is the first try's.
	case x.twin != nil:
		t.rest.held = true
		s.giveBack(t) // Its twin may be waiting for what it took.
	default:
		s.catch(t, e, 0)
	}
}

// catch lets the first handler from the given one on that is for the error take over; without one the step fails.
func (s *State) catch(t *task, e *lang.Error, from int) {
	var seen lang.Vars
	for i := from; i < len(t.step.Catch); i++ {
		c := &t.step.Catch[i]
		if !c.Matches(e) {
			continue
		}
		if seen == nil {
			seen = t.seen(e)
		}
		if !c.When.IsZero() {
			ok, err := c.When.EvalBool(s.scope(t, seen...), s.cache)
			if err != nil {
				s.finish(t, lang.Failure(insteadOf(expressionError("when of catch", err), e).At(t.place(), int(t.tries), "")))
				return
			}
			if !ok {
				continue
			}
		}
		s.handle(t, c, e, seen)
		return
	}
	s.finish(t, lang.Failure(e))
}

// handle lets a handler take over.
func (s *State) handle(t *task, c *lang.Catch, e *lang.Error, seen lang.Vars) {
	h := &task{run: t.run, step: &c.Do, frame: t.frame, slot: t.slot, index: t.index, handles: t, bound: t.input, names: &names{vars: seen}}
	if c.As != "" {
		failure := lang.Object(lang.Member{Key: "attempt", Value: seen[1].Value}, lang.Member{Key: "error", Value: seen[0].Value}, lang.Member{Key: "input", Value: t.input})
		h.names.vars = append(h.names.vars, lang.Var{Name: c.As, Value: failure})
		s.hold(t.run, h.failure())
		bad := s.unfit(c.As, failure)
		if bad == nil {
			bad = s.overweight(t.run)
		}
		if bad != nil {
			s.hold(t.run, -h.failure())
			s.finish(t, lang.Failure(insteadOf(bad, e).At(t.place(), int(t.tries), "")))
			return
		}
	}
	t.handler = h
	s.note(t.run, Change{Kind: Caught, Path: t.path(), Outcome: lang.Failure(e)})
	s.open(h)
}

// failure is how many bytes a handler keeps under the name that its catch gives the failure.
func (t *task) failure() int {
	if t.handles == nil || len(t.vars()) < 3 {
		return 0
	}
	return size(t.names.vars[2].Value)
}

// insteadOf is the error of a handler that has not begun: what it was for is not to be lost over that.
func insteadOf(e, was *lang.Error) *lang.Error {
	e.Message += fmt.Sprintf("; it was to handle: %s", was)
	return e
}

// finish ends a step; who waits for it is told when the work queued before is done.
func (s *State) finish(t *task, o lang.Outcome) {
	if t.few().twin != nil {
		s.then(t, ends, o)
		return
	}
	t.ended = true
	s.dropTimer(t.run, t.deadlineTimer)
	s.dropTimer(t.run, t.retryTimer)
	t.deadlineTimer, t.retryTimer = 0, 0
	if t.few().of == nil || o.Verdict == lang.Failed {
		s.handOn(t) // What a twin took that succeeds stays with it until the other is stopped.
	}
	s.queue = append(s.queue, work{task: t, outcome: o})
}

// settle hands the outcome of an ended step to who waits for it: the step it handles, its parent's policy, or the run.
func (s *State) settle(t *task, o lang.Outcome) {
	if t.gone() {
		s.traceGone(t, o)
		return
	}
	if t.few().of == nil {
		s.traceStep(t, o)
	}
	if s.observe != nil && t.few().of == nil {
		s.note(t.run, Change{Kind: StepEnded, Path: t.path(), Input: t.input, Outcome: o, Attempt: int(t.tries)})
	}
	switch {
	case t.few().of != nil:
		s.twinEnded(t.rest.of, o)
	case t.handles != nil:
		s.handled(t.handles, o)
	case t.frame != nil:
		s.childDone(t.frame, t, o)
	default:
		s.endRun(t.run, o)
	}
}

// handled ends a step as its handler has ended. A handler that its own condition skips is none: the next is tried, else the error stands.
func (s *State) handled(t *task, o lang.Outcome) {
	was := t.catching()
	s.hold(t.run, -t.handler.failure())
	t.handler = nil
	if o.Verdict == lang.Skipped {
		s.catch(t, t.lastErr, was+1)
		return
	}
	s.finish(t, o)
}

// gone reports whether nobody waits for t any more: it was cancelled, by itself or with what it is in, after it had ended.
func (t *task) gone() bool {
	switch {
	case t.few().of != nil:
		return t.rest.of.few().twin != t
	case t.handles != nil:
		return t.handles.handler != t
	case t.frame != nil:
		return t.frame.closed() || t.frame.slots[t.slot].get(t.index) != t
	}
	return t.run.root != t
}

// deadline ends a step whose time is over, whatever it is at. When a handler is at it, the step has failed and its time is that of both: no other
// handler takes over.
func (s *State) deadline(t *task, due int64) {
	if t.ended {
		return
	}
	s.dropTimer(t.run, t.retryTimer)
	s.dropTimer(t.run, t.tryTimer)
	t.retryTimer, t.tryTimer = 0, 0
	s.why = because{reason: "deadline"}
	e := s.interrupted(t, lang.Failf(lang.ClassTimeout, "deadline", "not done within %s of opening", time.Duration(due-t.opened)))
	if t.handler != nil {
		e.Message += fmt.Sprintf("; it had failed before, and its handler was at work: %s", t.lastErr)
		s.then(t, ends, lang.Failure(e))
		return
	}
	s.then(t, fails, lang.Failure(e))
}

// interrupted gives an error the place of t and of the invocation that is at work for it.
func (s *State) interrupted(t *task, e *lang.Error) *lang.Error {
	id := ""
	if l := t.run.live.get(t.inv); l != nil {
		id = l.inv.ID()
	}
	return e.At(t.place(), int(t.tries), id)
}

// tryTimedOut ends a policy's try that took too long. A second try beside it began later, and goes on.
func (s *State) tryTimedOut(t *task) {
	if t.ended || t.few().sequel != goesOn {
		return
	}
	s.why = because{reason: "timeout"}
	late := lang.Failf(lang.ClassTimeout, "timeout", "no outcome within %s", t.step.Timeout)
	s.cut = cut{t, lang.Failure(late)}
	s.follow(t, tries, lang.Failure(late), s.stopTry(t, false))
}
