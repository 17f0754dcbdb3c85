// Package saga is the policy that runs steps one after the other, and undoes those that were done when it cannot go on.
package saga

import (
	"fmt"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Saga is a sequence whose steps may have an undo. When a step fails, or the saga is cancelled, the undos of exactly the steps that have succeeded run, one
// after the other, the last step's first; then the saga fails with the step's error. The step that failed, or was cancelled at work, is not undone: what a
// failed step leaves behind is for itself to put away. Who cancelled a saga waits for its undos.
//
// An undo that fails, after the tries that its own retry allows, keeps none of the others from running: stopping there would leave more undone, and no
// later undo needs an earlier one. The saga then fails with compensation_failed, since somebody has to look at it, whatever the step's error was.
type Saga struct {
	Steps []Stage `doc:"steps,value,required" help:"steps in order, with the key undo; each is given what the one before it yielded"`
}

// A Stage is a step with what undoes it.
type Stage struct {
	lang.Step
	Undo *lang.Step `doc:"undo" help:"the step that undoes it. Its input is what the step was given, output what the step yielded, error why the saga is undone"`
}

// State is how far a saga is.
type State struct {
	Previous lang.Value         // what the next step is given
	Inputs   map[int]lang.Value // of the steps that have succeeded and have an undo
	Undoing  bool
	At       int // the step that is at work, or is undone
	Undone   int // undos that have ended
	Failed   []int
}

func stepSlot(i int) int { return 2 * i }
func undoSlot(i int) int { return 2*i + 1 }

// Next opens the next step, or the next undo, or ends.
func (p *Saga) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	switch {
	case ev.Kind == schedulers.Started:
		s.Previous = f.Input()
		return p.open(f, s, 0)
	case ev.Kind == schedulers.Cancelled && s.Undoing: // It goes on.
	case ev.Kind == schedulers.Cancelled:
		p.undo(f, s)
	case ev.Kind == schedulers.Done && s.Undoing:
		s.Undone++
		if ev.Outcome.Verdict == lang.Failed {
			s.Failed = append(s.Failed, s.At)
		}
		p.undo(f, s)
	case ev.Kind == schedulers.Done && ev.Outcome.Verdict == lang.Failed:
		p.undo(f, s)
	case ev.Kind == schedulers.Done:
		p.done(s, ev)
		return p.open(f, s, s.At+1)
	}
	return nil
}

// done takes what a step yielded.
func (p *Saga) done(s *State, ev schedulers.Event) {
	if ev.Outcome.Verdict != lang.Succeeded {
		return
	}
	s.Previous = ev.Outcome.Value
	if p.Steps[s.At].Undo != nil {
		if s.Inputs == nil {
			s.Inputs = make(map[int]lang.Value)
		}
		s.Inputs[s.At] = ev.Input
	}
}

func (p *Saga) open(f schedulers.Frame, s *State, i int) error {
	if i == len(p.Steps) {
		f.Succeed(s.Previous)
		return nil
	}
	s.At = i
	f.Spawn(stepSlot(i), 1)
	return nil
}

// undo runs the next undo, or ends when there is none.
func (p *Saga) undo(f schedulers.Frame, s *State) {
	s.Undoing = true
	for s.At--; s.At >= 0; s.At-- {
		if _, did := s.Inputs[s.At]; did {
			f.Note(lang.Text(fmt.Sprintf("compensating %d of %d", s.Undone+1, len(s.Inputs))))
			f.Spawn(undoSlot(s.At), 1)
			return
		}
	}
	why := p.why(f)
	if len(s.Failed) == 0 {
		f.Fail(why)
		return
	}
	f.Fail(p.failed(f, s, why))
}

// why is the error of the step that failed; when there is none, the saga was cancelled.
func (p *Saga) why(f schedulers.Scope) *lang.Error {
	for i := range p.Steps {
		if o := f.Outcome(stepSlot(i), 0); o.Verdict == lang.Failed {
			return o.Err
		}
	}
	return &lang.Error{Type: "cancelled", Class: lang.ClassCancelled, Message: "the saga was cancelled"}
}

// failed is the error of a saga of which not all could be undone.
func (p *Saga) failed(f schedulers.Scope, s *State, why *lang.Error) *lang.Error {
	var names []string
	var all []lang.Value
	for _, i := range s.Failed {
		e := f.Outcome(undoSlot(i), 0).Err
		names = append(names, fmt.Sprintf("%q (%s)", p.name(i), e))
		all = append(all, lang.Object(lang.Member{Key: "error", Value: e.Value()}, lang.Member{Key: "step", Value: lang.Text(p.name(i))}))
	}
	return &lang.Error{
		Type: "compensation_failed", Class: lang.ClassFunction,
		Message: fmt.Sprintf("%d of %d steps could not be undone: %s; it was undone because of %s", len(s.Failed), len(s.Inputs), strings.Join(names, ", "), why),
		Data:    lang.Object(lang.Member{Key: "error", Value: why.Value()}, lang.Member{Key: "failed", Value: lang.List(all...)}),
	}
}

// name is a step's own name, else what it does and the how manieth it is.
func (p *Saga) name(i int) string {
	switch step := &p.Steps[i].Step; {
	case step.Name != "":
		return step.Name
	case step.Target != "":
		return fmt.Sprintf("%s, step %d", step.Target, i+1)
	default:
		return fmt.Sprintf("%s, step %d", step.Use, i+1)
	}
}

// Cleanup says that undos run when the saga is cancelled.
func (*Saga) Cleanup(slot int) bool { return slot%2 == 1 }

// Bind gives a step what the one before it yielded, and an undo what its step was given and yielded.
func (p *Saga) Bind(f schedulers.Scope, s *State, slot, _ int) (schedulers.Binding, error) {
	i := slot / 2
	if slot == stepSlot(i) {
		return schedulers.Binding{Input: s.Previous, Vars: lang.Vars{{Name: "previous", Value: s.Previous}}, Siblings: before(i)}, nil
	}
	vars := lang.Vars{{Name: "output", Value: f.Outcome(stepSlot(i), 0).Value}, {Name: "error", Value: p.why(f).Value()}}
	return schedulers.Binding{Input: s.Inputs[i], Vars: vars, Siblings: before(i + 1)}, nil
}

// Declare says what a step and an undo see.
func (*Saga) Declare(slot int) schedulers.Declaration {
	i := slot / 2
	if slot == stepSlot(i) {
		return schedulers.Declaration{Names: []string{"previous"}, Siblings: before(i)}
	}
	return schedulers.Declaration{Names: []string{"output", "error"}, Siblings: before(i + 1)}
}

// before are the slots of the first n steps.
func before(n int) []int {
	slots := make([]int, n)
	for i := range slots {
		slots[i] = stepSlot(i)
	}
	return slots
}

// Label tells undos from steps, where they have no names of their own.
func (p *Saga) Label(slot int) string {
	i := slot / 2
	if slot == stepSlot(i) {
		return ""
	}
	if name := p.Steps[i].Name; name != "" {
		return "undo-" + name
	}
	return "undo"
}

// Check reports a saga that undoes nothing.
func (p *Saga) Check() []plugin.Problem {
	if len(p.Steps) == 0 {
		return []plugin.Problem{{What: "a saga without steps", Cure: "write a list of steps with the key undo"}}
	}
	for i := range p.Steps {
		if p.Steps[i].Undo != nil {
			return nil
		}
	}
	return []plugin.Problem{{What: "a saga in which nothing is undone", Cure: "give a step the key undo, or write a sequence"}}
}

// Schema tells what Check refuses.
func (*Saga) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"steps": plugin.Schema{"minItems": 1, "contains": plugin.Schema{"required": []any{"undo"}}}}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Saga, State](r, "saga", 1, "Runs steps one after the other, and undoes those that were done, in reverse order, when one fails or it is cancelled.")
}

// Sketch is a line of steps, each with what undoes it.
func (p *Saga) Sketch() schedulers.Sketch {
	out := schedulers.Sketch{Shape: schedulers.InLine}
	for i := range p.Steps {
		if p.Steps[i].Undo != nil {
			out.Edges = append(out.Edges, schedulers.Edge{From: stepSlot(i), To: undoSlot(i), Word: "undo"})
		}
	}
	return out
}
