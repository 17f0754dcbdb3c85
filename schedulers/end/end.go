// Package end is the policy that ends the whole run, from wherever it stands.
package end

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// An End ends the run as succeeded, with a value as its result: its destinations are told as ever. What else is at work is cancelled, and the run ends once
// that has cleaned up. The first end counts.
type End struct {
	Value lang.Expr `doc:"value,value" help:"the run's result, a constant or an expression; default: the input of the step"`
}

// State is empty.
type State struct{}

// Next ends the run.
func (p *End) Next(f schedulers.Frame, _ *State, _ schedulers.Event) error {
	if p.Value.IsZero() {
		f.Succeed(f.Input(), schedulers.EndRun)
		return nil
	}
	v, err := f.Eval(p.Value, nil)
	if err != nil {
		return err
	}
	f.Succeed(v, schedulers.EndRun)
	return nil
}

// Stops says that nothing behind it runs.
func (*End) Stops() {}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[End, State](r, "end", 1, "Ends the whole run with a result, from wherever it stands.")
}
