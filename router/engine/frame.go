package engine

import (
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// A frame is one policy at work inside a run.
type frame struct {
	owner  *task
	info   *stepInfo
	n      uint32 // run-wide
	began  int64  // people are told
	phase  phase
	state  any
	slots  []slot
	left   int // children that were spawned and are not done
	bytes  int // of the outcomes that it keeps
	weight int // of its state
	timers timerNames
	awaits int                // signals that it waits for
	lone   string             // the signal, where it has waited for one alone; not state
	given  int                // signals that it is about to be told of
	limbo  int                // children that were cancelled and still clean up
	note   string             // JSON of where it says it is; empty is nothing
	result *lang.Outcome      // once it has one and waits for what cleans up
	memo   []memo             // answers of expressions without further names; not state
	yields map[int]lang.Value // what steps.NAME shows of slots that run more than once; not state
	known  []lang.Value       // large values in its state that have been looked at, in their order; not state
}

type namedTimer struct {
	name string
	id   uint32
}

type memo struct {
	expr  lang.Expr
	value lang.Value
	cost  uint64
	fold  uint64 // of which record's budget it was last taken
}

// A slot has the children of one step of a frame. Children open in index order; what is below opened and not in tasks is done.
type slot struct {
	spawned, opened, window    int
	succeeded, failed, skipped int
	bytes                      int // of the outcomes
	discard                    bool
	owes                       uint32          // the debt that it is entered under; 0 is none
	tasks                      map[int32]*task // open, or ended and not yet told
	outcomes                   []lang.Outcome  // by index, unless discarded
	early                      *early          // cancelled before they opened
}

func (sl *slot) get(index int32) *task { return sl.tasks[index] }

// keep books that a child is done.
func (s *State) keep(f *frame, sl *slot, index int, o lang.Outcome) {
	f.left--
	switch o.Verdict {
	case lang.Succeeded:
		sl.succeeded++
	case lang.Skipped:
		sl.skipped++
	default:
		sl.failed++
	}
	if sl.discard {
		return
	}
	for len(sl.outcomes) <= index {
		sl.outcomes = append(sl.outcomes, lang.Outcome{})
	}
	sl.outcomes[index] = o
	n := weight(o)
	sl.bytes += n
	f.bytes += n
	s.hold(f.owner.run, n)
}

// drop forgets the outcome of a child that is done: nothing will ask for it.
func (s *State) drop(f *frame, at, index int) {
	sl := &f.slots[at]
	if index >= len(sl.outcomes) {
		return
	}
	n := weight(sl.outcomes[index])
	sl.outcomes[index] = lang.Outcome{}
	sl.bytes -= n
	f.bytes -= n
	s.hold(f.owner.run, -n)
}

type frameEvent struct {
	kind  eventKind
	child *task
	name  string
	data  lang.Value
	key   signalKey
	out   lang.Outcome
}

type eventKind uint8

const (
	evStarted eventKind = iota + 1
	evDone
	evFired
	evSignalled
	evCancelled
)

func (f *frame) isolated() bool { return f.owner.step.Use == lang.UseFlow }

func (f *frame) outcome(slot, index int) lang.Outcome {
	if slot < 0 || slot >= len(f.slots) || index < 0 || index >= len(f.slots[slot].outcomes) {
		return lang.Outcome{}
	}
	return f.slots[slot].outcomes[index]
}

// childDone books the outcome of a child, tells the policy, and lets the next ones run.
func (s *State) childDone(f *frame, t *task, o lang.Outcome) {
	sl := &f.slots[t.slot]
	s.vacate(sl, t)
	s.keep(f, sl, int(t.index), o)
	full := s.overfull(f, sl)
	switch {
	case full == nil:
	case f.info.cleans == nil:
		s.endFrame(f, lang.Failure(full), false)
		return
	case f.phase != working: // What cleans up goes on. Nobody needs to know what it yielded.
		s.drop(f, int(t.slot), int(t.index))
		o.Value, full = lang.Null, nil
	}
	s.step(f, frameEvent{kind: evDone, child: t, out: o}) // Who cleans up has to hear of it, full or not.
	if full != nil {
		s.failFrame(f, full)
	}
	if !f.closed() {
		s.fill(f, int(t.slot))
		s.checkStuck(f)
	}
}

// step tells a policy of an event and does what it asks for.
func (s *State) step(f *frame, ev frameEvent) {
	event := schedulers.Event{}
	switch ev.kind {
	case evCancelled:
		event.Kind = schedulers.Cancelled
	case evStarted:
		event.Kind = schedulers.Started
	case evDone:
		event.Kind, event.Slot, event.Index, event.Outcome, event.Input = schedulers.Done, int(ev.child.slot), int(ev.child.index), ev.out, ev.child.input
	case evFired:
		event.Kind, event.Name = schedulers.Fired, ev.name
	case evSignalled:
		event.Kind, event.Name, event.Outcome = schedulers.Signalled, ev.name, lang.Success(ev.data)
		f.given--
	}
	if ev.kind == evCancelled {
		f.phase = cleaning
	}
	c := &desk{s: s, f: f, told: ev.child}
	if ev.kind == evSignalled {
		c.signal = &keptSignal{ev.name, ev.data, ev.key}
	}
	err := f.info.machine.Next(c, f.info.settings, f.state, event)
	if err == nil {
		err = c.misuse
	}
	if err == nil {
		err = s.weigh(f, event.Outcome.Value)
	}
	if err != nil {
		s.failFrame(f, policyError(err))
		return
	}
	started := ev.kind == evStarted
	if started {
		f.takeWindows()
	}
	s.perform(f, c.requests, started)
	if ev.kind != evDone {
		s.checkStuck(f)
	}
}

// checkStuck fails a frame that waits for nothing: its policy forgot to end it. One that cleans up has ended when it waits for nothing more.
func (s *State) checkStuck(f *frame) {
	if f.phase != working && f.phase != cleaning || f.left > 0 || f.timers.len() > 0 || f.awaits > 0 || f.given > 0 {
		return
	}
	s.failFrame(f, lang.Failf(lang.ClassPlatform, "policy_stuck", "policy %q neither ended nor waits for anything", f.owner.step.Use))
}

func (sl *slot) sorted() []*task {
	tasks := make([]*task, 0, len(sl.tasks))
	for _, t := range sl.tasks {
		tasks = append(tasks, t)
	}
	sortTasks(tasks)
	return tasks
}

// fill opens spawned children as the window allows.
func (s *State) fill(f *frame, at int) {
	sl := &f.slots[at]
	window := sl.window
	if window <= 0 || window > s.limits.Window {
		window = s.limits.Window
	}
	for (f.phase == working || f.cleansUp(at)) && !f.closed() && sl.opened < sl.spawned && len(sl.tasks) < window {
		if !s.mayOpen(f.owner.run, sl) {
			s.owe(f, at)
			return
		}
		s.budget--
		index := sl.opened
		sl.opened++
		if sl.early.has(index) {
			continue
		}
		s.openChild(f, at, index)
	}
	s.forgive(f, sl)
}

func (s *State) openChild(f *frame, at, index int) {
	t := &task{run: f.owner.run, step: f.info.children[at], frame: f, slot: int32(at), index: int32(index)}
	sl := &f.slots[at]
	if sl.tasks == nil {
		sl.tasks = make(map[int32]*task)
	}
	sl.tasks[t.index] = t
	s.occupy(t.run, 1)
	b, err := f.info.machine.Bind(&desk{s: s, f: f}, f.info.settings, f.state, at, index)
	if err == nil {
		err = s.bindable(f, b)
	}
	if err != nil {
		t.opened = s.now
		s.failed(t, policyError(err))
		return
	}
	t.bound = b.Input
	if (len(b.Vars) > 0 || len(b.Siblings) > 0) && t.info().looks {
		t.names = &names{b.Vars, b.Siblings}
	}
	s.open(t)
}

// A request is one thing that a policy asked of its frame.
type request struct {
	op      op
	slot, a int // a: how many, a window, or an index
	name    string
	signal  *keptSignal
	d       time.Duration
	outcome lang.Outcome
	leave   bool // of end: leave alone what is under way
	whole   bool // of end: the run ends with the outcome
}

type op uint8

const (
	opSpawn op = iota + 1
	opWindow
	opDiscard
	opDrop
	opCancel
	opTwin
	opAfter
	opStop
	opAwait
	opUnawait
	opGiveBack
	opNote
	opEnd
)

// perform does what the policy asked for, in order. The windows that a frame starts with are those that somebody has given to its step, if any.
func (s *State) perform(f *frame, requests []request, started bool) {
	phase := f.phase
	for i := range requests {
		if f.closed() || f.phase != phase {
			return
		}
		q := &requests[i]
		switch q.op {
		case opSpawn:
			f.left += q.a
			f.slots[q.slot].spawned += q.a
			s.fill(f, q.slot)
		case opWindow:
			if _, changed := f.changedWindow(q.slot); changed && started {
				continue
			}
			f.slots[q.slot].window = q.a
			s.fill(f, q.slot)
		case opDiscard:
			f.slots[q.slot].discard = true
		case opDrop:
			s.drop(f, q.slot, q.a)
		case opCancel:
			s.cancelChild(f, q.slot, q.a)
		case opTwin:
			s.twin(f, q.slot, q.a)
		case opAfter:
			s.after(f, q.name, q.d)
		case opStop:
			s.dropTimer(f.owner.run, f.timers.take(q.name))
		case opAwait:
			s.await(f, q.name)
		case opUnawait:
			s.unawait(f, q.name)
		case opGiveBack:
			s.lend(f.owner, *q.signal)
		case opNote:
			s.hold(f.owner.run, len(q.name)-len(f.note))
			f.note = q.name
		case opEnd:
			if q.whole {
				s.queue = append(s.queue, work{run: f.owner.run, outcome: q.outcome}) // Before anybody is told that the frame has ended.
			}
			s.endFrame(f, q.outcome, q.leave)
		}
	}
}

func (s *State) cancelChild(f *frame, at, index int) {
	sl := &f.slots[at]
	if index >= sl.opened {
		if !sl.early.has(index) {
			if sl.early == nil {
				sl.early = new(early)
			}
			sl.early.set(index)
			s.keep(f, sl, index, cancelled())
		}
		return
	}
	t := sl.tasks[int32(index)]
	if t == nil || t.ended {
		return
	}
	if s.cancel(t, false) {
		s.vacate(sl, t)
	} else {
		f.limbo++
	}
	s.keep(f, sl, index, cancelled())
	s.fill(f, at)
}

func cancelled() lang.Outcome {
	return lang.Outcome{Verdict: lang.Cancelled, Err: &lang.Error{Type: "cancelled", Message: "cancelled by its policy", Class: lang.ClassCancelled}}
}

func (s *State) after(f *frame, name string, d time.Duration) {
	r := f.owner.run
	s.dropTimer(r, f.timers.take(name))
	if r.timers.len() >= s.limits.Timers {
		s.failFrame(f, lang.Failf(lang.ClassPlatform, "timer_limit", "more than %d timers in one run", s.limits.Timers))
		return
	}
	id := s.setTimer(r, d, timer{kind: timerPolicy, task: f.owner, name: name})
	f.timers.put(name, id)
	s.note(r, Change{Kind: TimerSet, Path: f.owner.path(), Text: name, Wait: d})
}
