// Package dag is the policy that runs steps as a directed acyclic graph: each as soon as its trigger rule over the steps it needs allows.
package dag

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A DAG fails when a step failed and nothing caught it, after all that can still run has ended; with `end: leaves`, Airflow's rule, only when a leaf
// failed or could not run. It yields an object: the outputs of its leaves by name, null for skipped ones.
//
// A step without needs is given the DAG's input; any other an object of its needs' outputs by name, and it sees them as steps.NAME: null for what was
// skipped, {"error": ...} for what failed. In the input that also stands for what could not run, with the error that kept it from it. Where the rule
// lets a step run behind a failure it has a further name that tells all ways to end apart whatever the outputs are: outcomes.NAME is {outcome:
// succeeded, value}, {outcome: failed, error} or {outcome: skipped}. A step whose rule lets it run before all its needs have ended stays with what it was given then: null, and no steps.NAME, for those that
// had not.
//
// With `join` it ends when its leaves are enough, as the branches of a forkjoin are, whatever failed before them; a leaf that could not run has failed.
//
// A step with `over` runs once for each item, as soon as what it needs allows, and yields the list of what its elements yielded, null for skipped ones. It
// fails when one of them did, after all have ended, with the error of the first one in the list's order. No items, or none that was not skipped, is skipped.
// An element is given its item, and sees item, index and the name of `as`. Where elements need elements they wait for those alone: needed.NAME is what they yielded.
//
// A teardown runs once what it needs has ended, however that went, when one of its setups succeeded; also when the dag is cancelled, after all else is gone.
// What a setup did that was itself cut off is not taken down.
type DAG struct {
	Steps       []Step           `doc:"steps,value,required" help:"named steps with needs"`
	End         string           `doc:"end" help:"steps (any failed step fails the dag) or leaves (only a failed leaf does)" default:"steps"`
	Join        *schedulers.Join `doc:"join" help:"when the leaves are enough, in place of end: all, settled, any, { atLeast: 3 }, { percent: 65 } or { until: ... }; with deadline, onDeadline and losers"`
	Concurrency lang.Expr        `doc:"concurrency" help:"how many steps may be open at a time, each element of a step with over counted: a whole number from 1; what stands first in the document goes first"`

	graph graph
}

// A Step is a step with its place in the graph.
type Step struct {
	lang.Step
	Needs    Needs     `doc:"needs" help:"names of the steps that it waits for, or each name with how it must have ended (succeeded, failed, skipped, done: succeeded or failed, ended) or, of steps with over, with the elements needed: same, -1, [-1, -2]"`
	Rule     string    `doc:"rule" help:"when to run, given how its needs ended" default:"all_success"`
	Branch   lang.Expr `doc:"branch" help:"which of the steps behind it go on, once it succeeded: a name, a list of names, or null for none; the others are skipped, but for those that also stand behind a chosen one"`
	Over     lang.Expr `doc:"over" help:"a list, or a number n for 0 to n-1: the step runs once for each item, when its needs have ended; none is skipped"`
	As       string    `doc:"as" help:"a further name for the item"`
	Window   lang.Expr `doc:"window" help:"how many elements may be open at a time, a number or an expression, which sees what over sees; 0 is the engine's own limit"`
	Teardown []string  `doc:"teardown,list" help:"the setups that it takes down: it runs once its needs have ended when one of them succeeded, and does not decide how the dag ends"`
	Decides  bool      `doc:"decides" help:"a teardown that fails fails the dag"`
}

// Status of a step.
const (
	pending uint8 = iota
	running
	succeeded
	failed
	skipped
	upstreamFailed
)

// State is how far the graph is.
type State struct {
	Status []uint8
	Tally  []Tally // per step: how its needs ended
	Ended  int
	Done   int32   // events of that kind so far; one more where a step may end at once
	Opens  []int32 // per step: Done when it opened
	Ends   []int32 // per step: Done when it ended; 0 before
	First  int     // 1 + slot of the first step that failed

	Succeeded, Failed, Skipped int `json:",omitempty"` // leaves, for the join

	Gates    []int32 `json:",omitempty"` // per step: those of its needs that branch and have not ended
	Limit    int     `json:",omitempty"` // of concurrency
	Running  int     `json:",omitempty"` // children, where there is a limit
	Runnable []int32 `json:",omitempty"` // slots that have children to open: a heap, the first of the document on top
	Wide     []Wide  `json:",omitempty"` // of the steps with over, in order
	Cells    []int32 `json:",omitempty"` // of the steps whose elements need elements
	Causes   []Cause `json:",omitempty"`
	Faults   []Fault `json:",omitempty"`
	Stopped  bool    `json:",omitempty"` // it was cancelled: only teardowns run
}

// A Fault is the error of a step that failed by an expression of the dag's own.
type Fault struct {
	Slot          int
	Type, Message string
	Class         uint8
}

// A turn is one event at work.
type turn struct {
	*DAG
	f      schedulers.Frame
	s      *State
	queue  []ended
	chose  int   // the slot that chose a branch; -1 is none
	chosen []int // by it
	tips   []int // leaves that have ended, where there is a join
}

// ended is a step that has ended, or an element of one.
type ended struct {
	slot, element int // -1 is the step
}

// Next books an outcome and opens what became runnable: the work is that of the step's successors, not of the graph.
func (p *DAG) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	t := &turn{DAG: p, f: f, s: s, chose: -1}
	switch ev.Kind {
	case schedulers.Started:
		if err := t.start(); err != nil {
			return err
		}
		if p.Join != nil {
			p.Join.Begin(f)
		}
	case schedulers.Done:
		t.done(ev)
	case schedulers.Cancelled:
		t.cancelled()
	case schedulers.Fired:
		progress, err := p.Join.Late(p.tally(s)) // There is no other timer.
		t.joined(progress, err, lang.Null)
		return nil
	default:
		return nil
	}
	t.settle()
	t.drain()
	switch {
	case p.Join != nil && !s.Stopped && t.judge():
	case s.Ended == len(p.Steps):
		p.end(f, s)
	}
	return nil
}

func (t *turn) start() error {
	n, s := len(t.Steps), t.s
	s.Status, s.Tally, s.Opens, s.Ends = make([]uint8, n), make([]Tally, n), make([]int32, n), make([]int32, n)
	if t.graph.wides > 0 {
		s.Wide, s.Done = make([]Wide, t.graph.wides), 1
	}
	if t.graph.gates != nil {
		s.Gates = append(s.Gates, t.graph.gates...)
	}
	if !t.Concurrency.IsZero() {
		v, err := t.f.Eval(t.Concurrency, nil)
		if err != nil {
			return err
		}
		var ok bool
		if s.Limit, ok = schedulers.Whole(v); !ok || s.Limit < 1 {
			return &lang.Error{Type: "bad_concurrency", Class: lang.ClassFunction, Message: fmt.Sprintf("concurrency: %s yields %.80s and not a whole number from 1", t.Concurrency.Source(), v.JSON())}
		}
	}
	for slot := range t.Steps {
		if len(t.graph.needs[slot]) == 0 || t.Steps[slot].Rule == ruleAlways {
			t.consider(slot)
		}
	}
	return nil
}

func (t *turn) done(ev schedulers.Event) {
	t.s.Done++
	if t.s.Limit > 0 {
		t.s.Running--
	}
	if t.wide(ev.Slot) != nil {
		t.enqueue(ev.Slot) // Its window has room again.
		t.queue = append(t.queue, ended{ev.Slot, t.elementOf(t.s, ev.Slot, ev.Index)})
		return
	}
	status := statusOf(ev.Outcome.Verdict)
	if status == succeeded && !t.Steps[ev.Slot].Branch.IsZero() {
		status = t.choose(ev.Slot, ev.Outcome.Value)
	}
	t.end(ev.Slot, status)
}

func statusOf(v lang.Verdict) uint8 {
	switch v {
	case 0:
		return pending
	case lang.Failed:
		return failed
	case lang.Skipped:
		return skipped
	}
	return succeeded
}

// end books that a step has ended; settle tells the others.
func (t *turn) end(slot int, status uint8) {
	t.s.Status[slot], t.s.Ends[slot] = status, t.s.Done
	t.s.Ended++
	if t.Join != nil && t.graph.leaves[slot] {
		t.tips = append(t.tips, slot)
	}
	if status == failed && t.s.First == 0 && !t.ignored(slot) {
		t.s.First = 1 + slot
	}
	t.queue = append(t.queue, ended{slot, -1})
}

// fault ends a step that failed by an expression of the dag's own.
func (t *turn) fault(slot int, err *lang.Error) {
	t.s.Faults = append(t.s.Faults, Fault{slot, err.Type, err.Message, uint8(err.Class)})
}

// settle tells those behind of what has ended, and those behind them.
func (t *turn) settle() {
	for len(t.queue) > 0 {
		e := t.queue[0]
		if t.queue = t.queue[1:]; e.element >= 0 {
			t.elementEnded(e.slot, e.element)
		} else {
			t.stepEnded(e.slot)
		}
	}
}

func (t *turn) stepEnded(slot int) {
	s, branches := t.s, !t.Steps[slot].Branch.IsZero()
	successors := t.graph.successors[slot]
	for i := range successors {
		next := &successors[i]
		s.Tally[next.slot].add(as(next.word, s.Status[slot]))
		if branches {
			s.Gates[next.slot]--
		}
		if t.chose == slot && s.Status[next.slot] == pending && !next.among(t.chosen) {
			t.end(next.slot, skipped)
		} else {
			t.consider(next.slot)
		}
	}
	for i := range t.graph.paired[slot] {
		t.consider(t.graph.paired[slot][i].slot)
	}
}

// consider opens a step that may run now, and ends one that will not.
func (t *turn) consider(slot int) {
	if t.s.Status[slot] != pending || t.s.Gates != nil && t.s.Gates[slot] > 0 {
		return
	}
	switch verdict := t.verdict(slot); verdict {
	case skipped, upstreamFailed:
		t.end(slot, verdict)
	case running:
		// Which elements need which is known once all have their items.
		for i := range t.graph.pairs[slot] {
			if from := t.graph.pairs[slot][i].slot; from != slot && t.s.Status[from] == pending {
				return
			}
		}
		t.s.Status[slot], t.s.Opens[slot] = running, t.s.Done
		if t.wide(slot) != nil {
			t.expand(slot)
		} else {
			t.admit(slot, 1)
		}
	}
}

// verdict is what a step's rule, or the words of its needs, say of how its needs have ended.
func (t *turn) verdict(slot int) uint8 {
	n, tally := int32(len(t.graph.needs[slot])), t.s.Tally[slot]
	rule := t.Steps[slot].Rule
	switch {
	case n == 0:
		return running // Its rule may be for its elements.
	case len(t.Steps[slot].Teardown) > 0:
		if tally.ended() < n {
			return pending
		}
		var setups Tally
		for _, setup := range t.graph.setups[slot] {
			setups.add(t.s.Status[setup])
		}
		return decideTeardown(setups)
	case t.graph.worded[slot]:
		rule = ruleDefault
	}
	return decide(rule, tally, n)
}

// ignored reports a step that does not decide how the dag ends.
func (p *DAG) ignored(slot int) bool {
	return len(p.Steps[slot].Teardown) > 0 && !p.Steps[slot].Decides
}

// Cleanup reports a teardown: it runs although the dag is cancelled, when a setup of its had succeeded.
func (p *DAG) Cleanup(slot int) bool { return slot < len(p.Steps) && len(p.Steps[slot].Teardown) > 0 }

// cancelled ends all that was at work and all that would have come, so that the teardowns need not wait for it.
func (t *turn) cancelled() {
	s := t.s
	s.Stopped, s.Running = true, 0
	s.Done++
	for slot := range t.Steps {
		switch open := s.Status[slot] == pending || s.Status[slot] == running; {
		case t.Cleanup(slot):
			counts := t.f.Counts(slot)
			s.Running += counts.Spawned - counts.Done()
		case open:
			t.end(slot, failed)
		}
	}
	s.Runnable = slices.DeleteFunc(s.Runnable, func(slot int32) bool { return !t.Cleanup(int(slot)) })
	slices.Sort(s.Runnable) // As a heap may be.
}

func (p *DAG) end(f schedulers.Frame, s *State) {
	if s.Stopped {
		f.Fail(lang.Failf(lang.ClassCancelled, "cancelled", "the dag was cancelled"))
		return
	}
	if p.End != "leaves" && s.First > 0 {
		f.Fail(p.outcome(f, s, s.First-1, s.Done).Err)
		return
	}
	var members []lang.Member
	for slot := range p.Steps {
		if p.graph.leaves[slot] {
			o := p.outcome(f, s, slot, s.Done)
			if o.Verdict == lang.Failed {
				f.Fail(o.Err)
				return
			}
			members = append(members, lang.Member{Key: p.Steps[slot].Name, Value: o.Value})
		}
	}
	f.Succeed(lang.Object(members...))
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[DAG, State](r, "dag", 1, "Runs named steps as a directed acyclic graph, each as soon as the steps that it needs allow.")
}
