package engine

import (
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A subrun is a run that a step of another starts, in whatever partition it lies. To the run that starts it, it is a call: the owner's admission makes a
// start of the invocation, and the child's end comes back as its completion. A call that is dropped becomes a cancel of the child, which is state until it is
// durable there. Nothing else passes between the two.

// The types of the events that start subruns.
const (
	TypeSub   = "dev.onward.subrun"
	TypeLoose = "dev.onward.subrun.loose" // nobody waits for it
)

// asSubrun makes the call of t the start of a run. Its try is timed by the fold, as a policy's is: no function has it.
func (s *State) asSubrun(t *task, inv *Invocation) {
	if inv.Timeout > 0 {
		t.tryTimer = s.setTimer(t.run, inv.Timeout, timer{kind: timerTry, task: t})
	}
	inv.ToTrigger, inv.Timeout, inv.Type = t.info().starts, 0, TypeSub
	if !t.info().waits {
		inv.Type = TypeLoose
	}
}

// sub reports whether the invocation starts a run of a step.
func (i *Invocation) sub() bool { return i.Purpose == Call && i.ToTrigger != "" }

// cancelSub cancels the run that a dropped call has started, or is about to: the one that was journaled before it started (Matched). Of a call that has none
// its id follows from the call's id and input.
func (s *State) cancelSub(r *run, call *Invocation) {
	s.addLive(r, &Invocation{
		Purpose: Cancel, Path: call.Path, ToTrigger: call.ToTrigger, Attempt: call.Attempt, Input: call.Input, Type: TypeSub, Cause: call.ID(),
		Created: time.Unix(0, s.now).UTC(), Fuel: FuelBehind(call.N, s.limits.Fuel), Starts: call.Starts,
	}, nil)
}

// child notes who waits for r's end.
func (r *run) child(f *StartFact) {
	if f.Parent != "" {
		r.own().parent = f.Parent
	}
}

// tellParent sends r's outcome to the run that waits for it.
func (s *State) tellParent(r *run) {
	_, _, n, ok := ParseInvocationID(r.rare().parent)
	if !ok {
		return
	}
	o := *r.outcome
	if o.Verdict == lang.Skipped {
		o.Value = lang.Null
	}
	s.addLive(r, &Invocation{
		Purpose: Return, Path: "return", Attempt: 1, Type: TypeSub, Cause: r.rare().parent, Created: time.Unix(0, r.ended).UTC(),
		Starts: (&CompletionFact{N: n, Outcome: o}).Append(nil),
	}, nil)
}

// foldAhead folds a record of a run that is not known here. A cancel that has overtaken the start lets nothing begin.
func (s *State) foldAhead(rec *journal.Record) Reason {
	if rec.Kind != journal.Cancel {
		return Unknown
	}
	f, err := DecodeCancel(rec.Payload)
	switch {
	case err != nil:
		return Malformed
	case !f.Ahead:
		return Unknown
	}
	s.tombstones.add(rec.Run, s.now, s.limits)
	return Applied
}

// Answer returns the record that a Return is: the completion of the invocation that waits.
func (i *Invocation) Answer() (journal.Record, bool) {
	run, _, _, ok := ParseInvocationID(i.Cause)
	return journal.Record{Kind: journal.Completion, Level: journal.Level, Run: run, Tenant: i.Tenant, Payload: i.Starts}, ok && i.Purpose == Return
}

// ParentOf returns the run that started another by one of its steps, as the event tells that did; empty for one that none has started.
func ParentOf(event lang.Value) string {
	if !strings.Contains(event.JSON(), TypeSub) || !strings.HasPrefix(attribute(event, "type"), TypeSub) {
		return ""
	}
	run, _, _, ok := ParseInvocationID(attribute(event, "id"))
	if !ok {
		return ""
	}
	return run.String()
}

// skipStart ends a run whose start was passed over, and for whose end another one waits: that one hears so at once.
func (s *State) skipStart(rec *journal.Record, start StartFact, f SkipFact) {
	w := &waitingRun{run: rec.Run, tenant: rec.Tenant, fact: start}
	s.arrive(w)
	s.endWaiting(w, lang.Failure(lang.Failf(lang.ClassPlatform, "skipped",
		"the start of this run, the record at offset %d, was passed over: %s; nothing of it has begun: start it again with another input, or give the step that starts it a retry", f.Offset, f.Reason)), false)
	if def := s.definitions[start.Digest]; def != nil {
		s.beginFirst(def, w)
		return
	}
	s.out.Need = append(s.out.Need, start.Digest)
}
