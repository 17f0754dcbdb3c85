// Package choice is the policy that runs the first case whose condition is true.
package choice

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Choice yields what the chosen step did. Without a true condition and without else it fails with type no_choice_matched.
type Choice struct {
	Cases []Case     `doc:"cases,value,required" help:"steps with the key if; the first that is true is run"`
	Else  *lang.Step `doc:"else" help:"the step to run when no condition is true"`
}

// A Case is a step with its condition.
type Case struct {
	lang.Step
	If lang.Expr `doc:"if,required,condition" help:"the step is chosen when this is true"`
}

// State is empty.
type State struct{}

// Next chooses, and yields what the chosen step did.
func (p *Choice) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		for slot := range p.Cases {
			v, err := f.Eval(p.Cases[slot].If, nil)
			if err != nil {
				return err
			}
			switch v.JSON() {
			case "true":
				f.Spawn(slot, 1)
				return nil
			case "false":
			default:
				return &lang.Error{Type: "expression_error", Class: lang.ClassFunction, Message: fmt.Sprintf("if: %s yields %.80s and not true or false", p.Cases[slot].If.Source(), v.JSON())}
			}
		}
		if p.Else == nil {
			f.Fail(&lang.Error{Type: "no_choice_matched", Class: lang.ClassFunction, Message: "no condition is true, and there is no else"})
			return nil
		}
		f.Spawn(len(p.Cases), 1)
	case schedulers.Done:
		if ev.Outcome.Verdict == lang.Failed {
			f.Fail(ev.Outcome.Err)
		} else {
			f.Succeed(ev.Outcome.Value)
		}
	}
	return nil
}

// Check reports cases that can never be chosen.
func (p *Choice) Check() []plugin.Problem {
	var out []plugin.Problem
	if len(p.Cases) == 0 {
		out = append(out, plugin.Problem{What: "a choice without cases", Cure: "write a list of steps with the key if"})
	}
	for i := range p.Cases {
		v, constant := p.Cases[i].If.Const()
		if !constant {
			continue
		}
		at := []string{"cases", fmt.Sprint(i)}
		if v.JSON() != "true" {
			out = append(out, plugin.Problem{Path: at, What: "unreachable step: its condition is never true", Cure: "write a condition in ${ }"})
		} else if i < len(p.Cases)-1 || p.Else != nil {
			out = append(out, plugin.Problem{Path: at, What: "unreachable steps: nothing after a condition that is always true is ever chosen", Cure: "make it the else"})
		}
	}
	return out
}

// Schema tells what Check refuses.
func (*Choice) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"cases": plugin.Schema{"minItems": 1}}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Choice, State](r, "choice", 1, "Runs the first case whose condition is true, or else.")
}

// Sketch is one of the cases.
func (p *Choice) Sketch() schedulers.Sketch {
	out := schedulers.Sketch{Shape: schedulers.OneOf}
	for i := range p.Cases {
		out.At = append(out.At, p.Cases[i].If.Source())
	}
	return out
}
