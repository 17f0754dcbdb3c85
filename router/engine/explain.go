package engine

import (
	"slices"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// List gives one line a run, by run id, at most limit of them, until yield returns false.
func (s *State) List(limit int, yield func(Summary) bool) {
	for i, id := range s.runIDs() {
		r := s.runs[id]
		if i >= limit || !yield(Summary{
			Run: id, Tenant: r.tenant, Trigger: r.def.Trigger, State: r.phase(), Started: time.Unix(0, r.started).UTC(),
			Open: len(r.live), Calls: r.calls,
		}) {
			return
		}
	}
}

func (r *run) phase() string {
	if r.outcome != nil {
		return "ending"
	}
	return "running"
}

// Status tells what a run is doing, with at most waiting open children a slot; false when it is not in memory.
func (s *State) Status(id journal.RunID, waiting int) (*Status, bool) {
	r := s.runs[id]
	if r == nil {
		return s.statusWaiting(id)
	}
	st := &Status{
		Run: id, Tenant: r.tenant, Trigger: r.def.Trigger, State: r.phase(), Started: time.Unix(0, r.started).UTC(), Calls: r.calls, Event: r.event,
	}
	if r.outcome != nil {
		st.Outcome, st.Result, st.Error = r.outcome.Verdict.String(), r.outcome.Value, r.outcome.Err
		if r.cancelled {
			st.Outcome = "cancelled"
		}
		for _, n := range sortedNumbers(r.live) {
			st.Deliveries = append(st.Deliveries, *r.live[n].status())
			st.Deliveries[len(st.Deliveries)-1].Path = r.live[n].inv.Path
		}
		for _, n := range sortedNumbers(r.pauses) {
			p := r.pauses[n]
			d := (&live{inv: p.inv}).status()
			d.Path, d.LastError, d.RetryAt = p.inv.Path, p.err, time.Unix(0, r.timers[n].due).UTC()
			st.Deliveries = append(st.Deliveries, *d)
		}
	}
	for _, k := range r.kept {
		st.Signals = append(st.Signals, k.name)
	}
	if r.root != nil {
		st.Root = s.stepStatus(r.root, waiting)
	}
	return st, true
}

func (s *State) statusWaiting(id journal.RunID) (*Status, bool) {
	w := s.waitingRuns[id]
	if w == nil {
		return nil, false
	}
	st := &Status{Run: id, Tenant: w.tenant, Trigger: w.fact.Trigger, State: "waiting", Started: s.Now(), Event: w.fact.Event}
	for i := range w.signals {
		st.Signals = append(st.Signals, w.signals[i].Name)
	}
	if w.ended != nil {
		st.State, st.Outcome, st.Error = "ending", w.ended.outcome.Verdict.String(), w.ended.outcome.Err
		if w.ended.cancelled {
			st.Outcome = "cancelled"
		}
	}
	return st, true
}

func (l *live) status() *InvocationStatus {
	st := &InvocationStatus{
		ID: l.inv.ID(), N: l.inv.N, Function: l.inv.to(), Attempt: l.inv.Attempt, Created: l.inv.Created, Expires: l.inv.Expires,
	}
	if l.accepted != 0 {
		st.Accepted = time.Unix(0, l.accepted).UTC()
	}
	return st
}

func (s *State) stepStatus(t *task, waiting int) *StepStatus {
	st := &StepStatus{Path: t.path(), Does: t.step.Use, Since: time.Unix(0, t.opened).UTC(), Attempt: int(t.tries), LastError: t.lastErr}
	if t.step.Target != "" {
		st.Does = t.step.Use + " " + t.step.Target
	}
	if d := t.run.timers[t.deadlineTimer]; d != nil {
		st.Deadline = time.Unix(0, d.due).UTC()
	}
	if d := t.run.timers[t.retryTimer]; d != nil {
		st.RetryAt = time.Unix(0, d.due).UTC()
	}
	if l := t.run.live[t.inv]; l != nil {
		st.Invocation = l.status()
	}
	if t.handler != nil {
		st.Handler = s.stepStatus(t.handler, waiting)
	}
	f := t.body
	if f == nil {
		return st
	}
	for _, named := range f.timers {
		if d := t.run.timers[named.id]; d != nil {
			st.Timers = append(st.Timers, TimerStatus{named.name, time.Unix(0, d.due).UTC()})
		}
	}
	for _, w := range t.run.waits {
		if w.frame == f {
			st.Awaits = append(st.Awaits, w.name)
		}
	}
	for i := range f.slots {
		if f.slots[i].spawned > 0 {
			st.Slots = append(st.Slots, s.slotStatus(f, i, waiting))
		}
	}
	return st
}

func (s *State) slotStatus(f *frame, at, waiting int) SlotStatus {
	sl := &f.slots[at]
	st := SlotStatus{
		Name: f.info.childLabel(f.owner.run.def, at), Spawned: sl.spawned, Open: len(sl.tasks), Succeeded: sl.succeeded, Failed: sl.failed,
		Skipped: sl.skipped, Window: sl.window,
	}
	open := sl.sorted()
	for _, t := range open[:min(waiting, len(open))] {
		st.Indexes = append(st.Indexes, int(t.index))
		st.Waiting = append(st.Waiting, s.stepStatus(t, waiting))
	}
	return st
}

func (i *stepInfo) childLabel(d *definition, at int) string {
	child := i.children[at]
	if info := d.steps[child]; info != nil {
		return info.label
	}
	return stepLabel(child)
}

// UsesFunction reports whether a definition that runs are pinned to names the function, sorted triggers first: a reload may warn before it goes.
func (s *State) UsesFunction(name string) []string {
	var triggers []string
	for _, id := range s.runIDs() {
		d := s.runs[id].def
		if _, uses := d.Functions[name]; uses && !slices.Contains(triggers, d.Trigger) {
			triggers = append(triggers, d.Trigger)
		}
	}
	slices.Sort(triggers)
	return triggers
}
