package engine

import (
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A Trace is what became of an invocation, or of a step that is more than one: people ask for it later. Nothing decides by it.
type Trace struct {
	Run     journal.RunID
	Inv     *Invocation // nil: a step
	Path    string
	Signal  string // that it is the coming of, under a path of its own, if it is one
	Attempt int
	Input   lang.Value
	Outcome lang.Outcome
	// Queued and Ended are the fold's times in nanoseconds: when it was to be sent, or the step opened, and its end. Between them lie Made, Sent and
	// Arrived, by the clock of who sent it (Sending); 0 is not known.
	Queued, Made, Sent, Arrived, Ended int64
	Again                              bool // it failed, and is tried again

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

// trace notes what became of an invocation. Where its record does not say when it was sent, that is when a function accepted it, or when it was tried first.
func (s *State) trace(l *live, o lang.Outcome, when Sending) {
	i, sent := l.inv, nanos(when.Sent)
	if sent == 0 {
		sent = max(l.accepted, -l.accepted)
	}
	s.out.Traces = append(s.out.Traces, Trace{
		Run: i.Run, Inv: i, Path: i.Path, Attempt: i.Attempt, Input: i.Input, Outcome: o,
		Queued: i.Created.UnixNano(), Made: nanos(when.Made), Sent: sent, Arrived: nanos(when.Arrived), Ended: s.now,
	})
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
	e := lang.Error{Class: lang.ClassCancelled, Type: "cancelled", Message: "nobody waits for it any more"}
	s.trace(l, lang.Outcome{Verdict: lang.Cancelled, Err: &e}, Sending{})
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
	s.trace(&live{inv: inv}, o, Sending{})
	s.out.Traces[len(s.out.Traces)-1].Again = again
}

// traceStep notes the end of a step, unless the trace of its last invocation says the same.
func (s *State) traceStep(t *task, o lang.Outcome) {
	calls := t.step.Use == lang.UseFunction || t.info().starts != ""
	if calls && t.tries > 0 && o.Verdict != lang.Failed {
		return
	}
	path := t.place()
	if calls && t.tries > 0 && s.traced(path) {
		return
	}
	s.out.Traces = append(s.out.Traces, Trace{
		Run: t.run.id, Path: path, Attempt: int(t.tries), Input: t.input, Outcome: o, Queued: t.opened, Ended: s.now,
	})
}

// traced reports whether this fold has noted the failure of an invocation of a path, as one of its latest.
func (s *State) traced(path string) bool {
	for i := len(s.out.Traces) - 1; i >= max(0, len(s.out.Traces)-8); i-- {
		if x := &s.out.Traces[i]; x.Inv != nil && x.Path == path && x.Outcome.Verdict == lang.Failed {
			return true
		}
	}
	return false
}

// nanos is a time of a Sending; 0 is not known.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixNano(), 0)
}
