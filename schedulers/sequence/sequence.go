// Package sequence is the policy that runs steps one after the other, each given what the one before it yielded.
package sequence

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Sequence fails with its first failure. A skipped step passes on what it was given. It yields what its last step did.
type Sequence struct {
	Steps []lang.Step `doc:"steps,value,required" help:"the steps, in order"`
}

// State is how far a sequence is.
type State struct {
	Previous lang.Value // what the next step is given
}

// Next opens the next step, or ends.
func (p *Sequence) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		s.Previous = f.Input()
		return p.open(f, s, 0)
	case schedulers.Done:
		switch ev.Outcome.Verdict {
		case lang.Failed:
			f.Fail(ev.Outcome.Err)
			return nil
		case lang.Succeeded:
			s.Previous = ev.Outcome.Value
		}
		if p.Steps[ev.Slot].Name == "" {
			f.Drop(ev.Slot, 0) // It is previous for the next step, and nothing else can name it.
		}
		return p.open(f, s, ev.Slot+1)
	}
	return nil
}

func (p *Sequence) open(f schedulers.Frame, s *State, slot int) error {
	if slot == len(p.Steps) {
		f.Succeed(s.Previous)
		return nil
	}
	f.Spawn(slot, 1)
	return nil
}

// Bind gives a step what the one before it yielded, also under the name previous.
func (p *Sequence) Bind(_ schedulers.Scope, s *State, slot, _ int) (schedulers.Binding, error) {
	return schedulers.Binding{Input: s.Previous, Vars: lang.Vars{{Name: "previous", Value: s.Previous}}, Siblings: before(slot)}, nil
}

// Declare says that a step sees previous and the outputs of the steps before it.
func (p *Sequence) Declare(slot int) schedulers.Declaration {
	return schedulers.Declaration{Names: []string{"previous"}, Siblings: before(slot)}
}

func before(slot int) []int {
	if slot <= len(ascending) {
		return ascending[:slot:slot]
	}
	return ascend(slot)
}

// ascending is what all steps of a sequence share: each of a thousand would have a list of its own.
var ascending = ascend(4096)

func ascend(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// InOrder says that what stands behind a step which never succeeds cannot run.
func (*Sequence) InOrder() {}

// Check reports a sequence without steps.
func (p *Sequence) Check() []plugin.Problem {
	if len(p.Steps) == 0 {
		return []plugin.Problem{{What: "a sequence without steps", Cure: "add a step, or leave the sequence out"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Sequence) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"steps": plugin.Schema{"minItems": 1}}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Sequence, State](r, "sequence", 1, "Runs steps one after the other; each is given what the one before it yielded.")
}

// Sketch is a line.
func (*Sequence) Sketch() schedulers.Sketch { return schedulers.Sketch{Shape: schedulers.InLine} }
