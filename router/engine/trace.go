package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/journal"
)

// A Trace is what became of an invocation, of a step that is more than one, or of a policy's try: people ask for it later. Nothing decides by it.
type Trace struct {
	Run     journal.RunID
	Inv     *Invocation // nil: a step
	Path    string
	Signal  string // that it is the coming of, under a path of its own, if it is one
	Policy  string // of a step: its policy's name; empty for one that calls
	Attempt int
	Input   lang.Value
	Outcome lang.Outcome
	// Queued and Ended are the fold's times in nanoseconds: when it was to be sent, or the step opened, and its end. Between them lie Made, Sent and
	// Arrived, by the clock of who sent it (Sending); 0 is not known. Of an answer that came as an event Made and Sent are an owner's to add.
	Queued, Made, Sent, Arrived, Ended int64

	Again bool // it failed, and is tried again
	Ends  bool // its step has ended as it did: there is no Trace of that
	// Try is of a policy's try its number in the run, and Queued when it began; 0: it is none. A step is told of try by try where it may have more than one.
	Try   uint32
	Quiet bool // of a step whose end says nothing that its invocations do not, or that was stopped: only for those who want each step

	// Spot is where a step stands. A call's is looked for when it is asked: Stands.
	Spot    Spot
	Redrive uint32               // of the run
	Traced  *traceparent.Context // of the event that started the run; nil is none

	step *task // that it is a try of
	task *task // whose path it is; nil: Path has to be looked at
}

// AppendPath appends Path, as long as nothing else is folded. A call's path was made when that was made: its labels and indexes are nearer than its text.
func (t *Trace) AppendPath(b []byte) []byte {
	if t.task == nil {
		return append(b, t.Path...)
	}
	path := t.task.appendPath(b[len(b):]) // In b's own room, where there is enough of it.
	if len(path) != len(t.Path) {
		return append(b, t.Path...)
	}
	return append(b, path...)
}

// traceSignal notes that a signal came.
func (s *State) traceSignal(r *run, f *SignalFact) {
	if len(f.Name) <= s.limits.NameBytes { // No step waits for a longer one.
		s.out.Traces = append(s.out.Traces, Trace{Run: r.id, Path: "signal " + f.Name, Signal: f.Name, Outcome: lang.Success(f.Data), Queued: s.now, Ended: s.now})
	}
}

// A StepKey names a step of a run, once for each time that it was opened.
type StepKey struct {
	Redrive, Frame uint32
	Path           string
}

// Stands is where the step stands that it tells of, or that its invocation is a try of; the zero Spot is nowhere in the flow. It may be asked for as long as
// nothing else is folded.
func (t *Trace) Stands() Spot {
	if t.step != nil {
		return t.step.stands()
	}
	return t.Spot
}

// Step names the step that it tells of, or that its invocation is a try of; false: nothing in the flow.
func (t *Trace) Step() (StepKey, bool) {
	at := t.Stands()
	k := StepKey{t.Redrive, at.Frame, t.Path}
	if at.Is == Unnamed {
		k.Path = ""
	}
	return k, at.Is != 0
}

// Above names the step that Step is a part of; false: it is part of the run alone.
func (t *Trace) Above() (StepKey, bool) {
	at := t.Stands()
	if at.Is != Inside {
		return StepKey{}, false
	}
	return StepKey{t.Redrive, at.Above, t.Path[:max(strings.LastIndexByte(t.Path, '/'), 0)]}, true
}

// In is the try of the step Above that it is part of, by its number in the run; 0: of the step itself.
func (t *Trace) In() uint32 {
	if at := t.Stands(); at.Tried {
		return at.Frame
	}
	return 0
}

// A Spot is where a step stands in its run. Of two steps of one path, one in each try of a policy, the frames differ.
type Spot struct {
	Frame  uint32 // the number of the frame that it is a child of; 0 is none
	Above  uint32 // that of the step that it is a part of
	Opened int64
	Is     Standing
	Tried  bool // the step above is told of try by try, and Frame is which of them
}

// A Standing says what a step is part of.
type Standing uint8

// The standings.
const (
	Inside  Standing = iota + 1 // of the step whose path is its own without the last part
	Top                         // of none: it is the flow itself
	Unnamed                     // the same, without a name: its path is the empty one, and in a Trace what it does
)

// stands is where t stands.
func (t *task) stands() Spot {
	p := Spot{Opened: t.opened, Is: Inside}
	if t.frame != nil {
		p.Frame = t.frame.n
	}
	switch up := t.parent(); {
	case up == nil && t.step.Use != lang.UseFunction && t.step.Name == "":
		p.Is = Unnamed
	case up == nil:
		p.Is = Top
	default:
		p.Tried = t.frame != nil && up == t.frame.owner && up.triedApart()
		if up.frame != nil {
			p.Above = up.frame.n
		}
	}
	return p
}

// triedApart reports whether a policy's step is told of try by try: it may have another one, after a failure or beside it.
func (t *task) triedApart() bool {
	return t.rest != nil && t.rest.of != nil || slices.ContainsFunc(t.step.Retry, func(r lang.Retry) bool { return r.Attempts > 1 })
}

// traceTry notes the end of a policy's try.
func (s *State) traceTry(f *frame, o lang.Outcome) {
	t := f.owner
	if !t.triedApart() {
		return
	}
	s.out.Traces = append(s.out.Traces, Trace{
		Run: t.run.id, Path: t.place(), Policy: t.step.Use, Attempt: int(t.tries), Input: t.input, Outcome: o, Queued: f.began, Ended: s.now, Quiet: true,
		Try: f.n, Spot: t.first().stands(), Redrive: t.run.rare().redrives, Traced: t.run.traced,
	})
}

// A cut says how the try of a step ends that is being stopped.
type cut struct {
	task    *task
	outcome lang.Outcome
}

// cutShort is how the try of a frame ends that was stopped.
func (s *State) cutShort(f *frame) lang.Outcome {
	switch x := f.owner.few(); {
	case s.cut.task == f.owner:
		return s.cut.outcome
	case x.sequel == tries || x.sequel == fails:
		return x.outcome
	}
	return unwanted()
}

// first is the step that t is a second try of, or t.
func (t *task) first() *task {
	if of := t.few().of; of != nil {
		return of
	}
	return t
}

// trace notes what became of an invocation. Where its record does not say when it was sent, that is when a function accepted it, or when it was tried first.
func (s *State) trace(l *live, o lang.Outcome, when Sending) *Trace {
	i, sent := l.inv, nanos(when.Sent)
	if sent == 0 {
		sent = max(l.accepted, -l.accepted)
	}
	t := s.nextTrace() // Field by field: a value of its size that is made and copied costs as much as all that is in it.
	t.Run, t.Inv, t.Path, t.Attempt, t.Input, t.Outcome, t.Redrive, t.Traced = i.Run, i, i.Path, i.Attempt, i.Input, o, i.Redrive, i.Traced
	t.Queued, t.Made, t.Sent, t.Arrived, t.Ended = i.Created.UnixNano(), nanos(when.Made), sent, nanos(when.Arrived), s.now
	if l.task != nil {
		t.step = l.task.first()
	}
	return t
}

// nextTrace is room for one more, empty.
func (s *State) nextTrace() *Trace {
	n := len(s.out.Traces)
	if n < cap(s.out.Traces) {
		s.out.Traces = s.out.Traces[:n+1] // Effects.reset has emptied it.
	} else {
		s.out.Traces = append(s.out.Traces, Trace{})
	}
	return &s.out.Traces[n]
}

// traceCall is trace for a call that its step waited for, whose outcome is given to it now.
func (s *State) traceCall(l *live, o lang.Outcome, when Sending) {
	at := len(s.out.Traces)
	s.trace(l, o, when)
	s.out.Traces[at].task = l.task
	s.callEnded(l, o)
	s.out.Traces[at].Again = o.Verdict == lang.Failed && !l.task.ended && l.task.retryTimer != 0
}

// traceDropped is trace for an invocation that nobody waits for any more.
func (s *State) traceDropped(l *live) {
	t := s.trace(l, unwanted(), Sending{})
	t.Ends = t.step != nil && t.step.ended && l.task == t.step
}

func unwanted() lang.Outcome {
	return lang.Outcome{Verdict: lang.Cancelled, Err: &lang.Error{Class: lang.ClassCancelled, Type: "cancelled", Message: "nobody waits for it any more"}}
}

// traceDelivery is trace for the event of a run's end at a destination.
func (s *State) traceDelivery(inv *Invocation, e *lang.Error, again bool) {
	if inv.Purpose != Notify {
		return
	}
	o := lang.Success(lang.Null)
	if e != nil {
		o = lang.Failure(e)
	}
	s.trace(&live{inv: inv}, o, Sending{}).Again = again
}

// traceStep notes the end of a step, unless the trace of its last invocation says the same.
func (s *State) traceStep(t *task, o lang.Outcome) {
	quiet := false
	if t.calls() && t.tries > 0 {
		if last := s.lastCall(t, o.Verdict == lang.Failed); last != nil {
			last.Ends = true
			return
		}
		quiet = o.Verdict != lang.Failed
	}
	s.traceEnd(t, o, quiet)
}

// calls reports whether t is an invocation, tried for once or more.
func (t *task) calls() bool { return t.step.Use == lang.UseFunction || t.info().starts != "" }

func (s *State) traceEnd(t *task, o lang.Outcome, quiet bool) {
	policy := t.step.Use
	if t.calls() {
		policy = ""
	}
	s.out.Traces = append(s.out.Traces, Trace{
		Run: t.run.id, Path: t.place(), Policy: policy, Attempt: int(t.tries), Input: t.input, Outcome: o, Queued: t.opened, Ended: s.now, Quiet: quiet,
		Spot: t.stands(), Redrive: t.run.rare().redrives, Traced: t.run.traced,
	})
}

// traceStopped notes that a step is cancelled, unless the trace of its invocation says so. One whose invocation is left alone has ended for those that were
// before it: it is none of the step's any more.
func (s *State) traceStopped(t *task, leave bool) {
	if t.few().of == nil && (t.tries > 0 || t.handler != nil) && (t.inv == 0 || leave) {
		s.traceEnd(t, unwanted(), true)
	}
}

// traceGone notes the end of a step for which nobody waits any more.
func (s *State) traceGone(t *task, o lang.Outcome) {
	if t.few().of != nil {
		return
	}
	if last := s.lastCall(t, false); last != nil {
		last.Ends = true
		return
	}
	s.traceEnd(t, o, true)
}

// lastCall is what this fold has noted of an invocation of t, as one of its latest; of one that has failed, where that is asked for.
func (s *State) lastCall(t *task, failed bool) *Trace {
	for i := len(s.out.Traces) - 1; i >= max(0, len(s.out.Traces)-8); i-- {
		if x := &s.out.Traces[i]; x.step == t && (!failed || x.Outcome.Verdict == lang.Failed) {
			return x
		}
	}
	return nil
}

// nanos is a time of a Sending; 0 is not known.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixNano(), 0)
}

// traceEvent notes that an event has joined the round of a run.
func (s *State) traceEvent(r *run, name string, f *StartFact) {
	if r.def.Await.Signals || name == "" {
		return // A batch has many: how many is told by its end.
	}
	s.out.Traces = append(s.out.Traces, Trace{Run: r.id, Path: "event " + name, Signal: name, Outcome: lang.Success(f.Data), Queued: s.now, Ended: s.now})
}
