package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// RunStates are all that a run can be in, those of open runs first.
var RunStates = []string{"running", "waiting", "queued", "paused", "redriving", "cancelling", "ending", "stranded", "succeeded", "failed", "skipped", "cancelled"}

func (r *run) phase() string {
	switch {
	case r.outcome != nil:
		return "ending"
	case r.queued():
		return "queued"
	case r.rare().result != nil:
		return "cancelling"
	case r.rare().recollection.gathers():
		return "redriving"
	}
	if r.rare().halt != nil {
		return "paused"
	}
	if r.gathers() || r.live.len() == 0 && (r.rare().waits.n > 0 || r.timers.len() > 0) {
		return "waiting"
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
		Run: id, Tenant: r.tenant, Trigger: r.def.Trigger, State: r.phase(), Paused: r.rare().halt.pause(), Started: time.Unix(0, r.started).UTC(), Calls: int(r.calls), Open: r.live.len(), Event: r.event, Now: s.Now(),
	}
	if r.outcome != nil {
		st.Outcome, st.Result, st.Error = r.outcome.Verdict.String(), r.outcome.Value, r.outcome.Err
		if r.cancelled {
			st.Outcome = "cancelled"
		}
		for _, n := range r.live.numbers() {
			st.Deliveries = append(st.Deliveries, *r.live.get(n).status())
			st.Deliveries[len(st.Deliveries)-1].Path = r.live.get(n).inv.Path
		}
		for _, n := range sortedNumbers(r.rare().pauses) {
			p := r.rare().pauses[n]
			d := (&live{inv: p.inv}).status()
			d.Path, d.LastError, d.RetryAt = p.inv.Path, p.err, time.Unix(0, r.timers.get(n).due).UTC()
			st.Deliveries = append(st.Deliveries, *d)
		}
	}
	for _, k := range r.rare().kept.all() {
		st.Signals = append(st.Signals, k.name)
	}
	st.Queue, st.Round = s.queueOf(r), r.roundStatus()
	if r.root != nil {
		st.Root = statusOf(r.root, waiting)
	}
	return st, true
}

func (s *State) statusWaiting(id journal.RunID) (*Status, bool) {
	w := s.waitingRuns[id]
	if w == nil {
		return nil, false
	}
	st := &Status{Run: id, Tenant: w.tenant, Trigger: w.fact.Trigger, State: "stranded", Paused: w.halt().pause(), Started: s.Now(), Event: w.fact.Event, Now: s.Now()}
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
	st.Accepted, st.Ticket = timeOf(max(l.accepted, 0)), l.ticketed()
	if l.inv.Purpose == Call && l.inv.ToTrigger != "" {
		st.Starts = l.inv
	}
	return st
}

// statusMost bounds the steps of a status, level by level: who looks does not hold the fold up, however many are open.
const statusMost = 500

// A look is a status on its way.
type look struct {
	waiting int // open children of a slot that are shown
	left    int // steps that still may be
	todo    []looked
	frames  map[*frame]*StepStatus // that wait for signals
}

type looked struct {
	t  *task
	st *StepStatus
}

// statusOf tells of a run's open steps, those further up first.
func statusOf(root *task, waiting int) *StepStatus {
	l := &look{waiting: waiting, left: statusMost}
	st := l.shallow(root)
	for len(l.todo) > 0 {
		x := l.todo[0]
		l.todo = l.todo[1:]
		l.within(x.t, x.st)
	}
	root.run.rare().waits.tell(l.frames)
	return st
}

// shallow tells of a step without what is in it.
func (l *look) shallow(t *task) *StepStatus {
	l.left--
	st := &StepStatus{Path: t.path(), Does: t.step.Use, Since: time.Unix(0, t.opened).UTC(), Attempt: int(t.tries), LastError: t.lastErr}
	if t.step.Target != "" {
		st.Does = t.step.Use + " " + t.step.Target
	}
	if d := t.run.timers.get(t.deadlineTimer); d != nil {
		st.Deadline = time.Unix(0, d.due).UTC()
	}
	if d := t.run.timers.get(t.retryTimer); d != nil {
		st.RetryAt = time.Unix(0, d.due).UTC()
	}
	if l := t.run.live.get(t.inv); l != nil {
		st.Invocation = l.status()
	}
	st.Retry = t.retryStatus()
	st.Stopping = t.few().sequel != goesOn
	if t.handler != nil || t.body != nil || t.few().twin != nil {
		l.todo = append(l.todo, looked{t, st})
	}
	return st
}

// within tells of what is in a step.
func (l *look) within(t *task, st *StepStatus) {
	if t.handler != nil {
		st.Handler = l.shallow(t.handler)
	}
	if twin := t.few().twin; twin != nil {
		st.Twin = l.shallow(twin)
	}
	f := t.body
	if f == nil {
		return
	}
	if f.note != "" {
		st.Note = lang.Trusted(f.note)
	}
	for _, named := range f.timers.all() {
		if d := t.run.timers.get(named.id); d != nil {
			st.Timers = append(st.Timers, TimerStatus{named.name, time.Unix(0, d.due).UTC()})
		}
	}
	if f.awaits > 0 {
		if l.frames == nil {
			l.frames = make(map[*frame]*StepStatus)
		}
		l.frames[f] = st
	}
	for i := range f.slots {
		if f.slots[i].spawned > 0 {
			st.Slots = append(st.Slots, l.slot(f, i))
		}
	}
}

func (t *task) retryStatus() *RetryStatus {
	if t.lastErr == nil || t.handler != nil {
		return nil
	}
	at := t.step.Retry.For(t.lastErr)
	if at < 0 {
		return nil
	}
	failed := t.counts.of(at, t.tries)
	if len(t.step.Retry) == 1 && t.retryTimer == 0 {
		failed-- // The try at work is counted already.
	}
	st := &RetryStatus{Try: failed + 1, Of: t.step.Retry[at].Attempts}
	if len(t.step.Retry) > 1 {
		st.Rule = at + 1
	}
	return st
}

func (l *look) slot(f *frame, at int) SlotStatus {
	sl := &f.slots[at]
	st := SlotStatus{
		Name: f.info.childLabel(f.owner.run.def, at), Spawned: sl.spawned, Open: len(sl.tasks), Succeeded: sl.succeeded, Failed: sl.failed,
		Skipped: sl.skipped, Window: sl.window,
	}
	if when := f.info.children[at].When; sl.skipped > 0 && !when.IsZero() {
		st.When = when.Source()
	}
	for _, t := range sl.telling(min(l.waiting, l.left)) {
		st.Indexes = append(st.Indexes, t.number())
		st.Waiting = append(st.Waiting, l.shallow(t))
	}
	return st
}

// telling returns the n open children that tell most, without putting all in order: those of which a try has failed first, and of these those that opened first.
func (sl *slot) telling(n int) []*task {
	if n <= 0 {
		return nil
	}
	out := make([]*task, 0, min(n, len(sl.tasks))+1)
	for _, t := range sl.tasks { // Each has its place, in whatever order they come.
		if len(out) == n && compareTelling(t, out[n-1]) > 0 {
			continue
		}
		i, _ := slices.BinarySearchFunc(out, t, compareTelling)
		out = slices.Insert(out, i, t)
		out = out[:min(n, len(out))]
	}
	return out
}

func compareTelling(a, b *task) int {
	if fa, fb := a.lastErr != nil, b.lastErr != nil; fa != fb {
		if fa {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.opened, b.opened), cmp.Compare(a.index, b.index))
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
	for _, d := range s.definitions {
		if d.runs == 0 {
			continue
		}
		if _, uses := d.Functions[name]; uses && !slices.Contains(triggers, d.Trigger) {
			triggers = append(triggers, d.Trigger)
		}
	}
	slices.Sort(triggers)
	return triggers
}
