package traces

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// An entry is what spans are made of, without the values that were passed: of a run's end, of a step's, or of a try with perhaps its step's.
type entry struct {
	run          journal.RunID
	redrive      uint32
	traced       *traceparent.Context
	at           int64 // its record
	began, ended int64
	outcome      string
	failure      failure // zero: it did not fail

	of   *whole // a run
	try  *try   // a try
	step *step  // a step, or what a try is part of
}

type failure struct{ kind, message, class string }

// A whole is what a run's end adds.
type whole struct {
	tenant, trigger string
	calls           int
	event           lang.Value
}

// A try is an invocation.
type try struct {
	n                     uint32
	attempt               int
	id, function, trigger string
	purpose               engine.Purpose
	path                  string
	sent                  int64 // 0 is not known
	times                 engine.Times
	timed                 bool
}

// A step is where a step stands.
type step struct {
	key, above engine.StepKey
	inside     bool   // it is part of another step
	in         uint32 // the try of that which it is part of; 0: of the step itself
	try        uint32 // it is told of this try of it alone; 0 is none
	ends       bool   // it has ended; a try that is repeated does not end it
	policy     string
	path       string
	opened     int64
	attempts   int
}

// size is about what an entry takes while it waits.
func (e *entry) size() int {
	n := 400 + len(e.failure.message) + len(e.failure.kind)
	if e.of != nil {
		n += e.of.event.Size()
	}
	return n
}

func failureOf(o lang.Outcome) failure {
	if o.Verdict != lang.Failed || o.Err == nil {
		return failure{}
	}
	return failure{o.Err.Type, o.Err.Message, o.Err.Class.String()}
}

func entryOf(t *engine.Trace, at int64) entry {
	e := entry{
		run: t.Run, redrive: t.Redrive, traced: t.Traced, at: at, began: t.Queued, ended: t.Ended, outcome: t.Outcome.Verdict.String(), failure: failureOf(t.Outcome),
	}
	if key, in := t.Step(); in {
		e.step = &step{key: key, ends: t.Inv == nil && t.Try == 0 || t.Ends, in: t.In(), try: t.Try, policy: t.Policy, path: t.Path, opened: t.Stands().Opened, attempts: t.Attempt}
		e.step.above, e.step.inside = t.Above()
	}
	if i := t.Inv; i != nil {
		e.try = &try{n: i.N, attempt: i.Attempt, id: i.ID(), function: i.Function, trigger: i.ToTrigger, purpose: i.Purpose, path: i.Path, sent: t.Sent}
		e.try.times, e.try.timed = engine.TimesOf(t.Queued, t.Made, t.Sent, t.Arrived, t.Ended)
	}
	return e
}

func entryOfEnd(e *engine.Ended, at int64) entry {
	out := entry{
		run: e.Run, redrive: e.Redrives, traced: e.Traced, at: at, began: e.Started.UnixNano(), ended: e.Ended.UnixNano(), outcome: e.State(), failure: failureOf(e.Outcome),
		of: &whole{e.Tenant, e.Trigger, e.Calls, e.Event},
	}
	if e.Cancelled {
		out.failure = failure{}
	}
	return out
}
