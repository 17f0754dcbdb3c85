// Package pass is the policy that does nothing but yield a value.
package pass

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Pass succeeds at once. Without a value, `pass: {}`, it yields its input; `pass: null` yields null.
type Pass struct {
	Value lang.Expr `doc:"value,value" help:"what it yields, a constant or an expression; default: its input"`
}

// State is empty.
type State struct{}

// Next yields the value.
func (p *Pass) Next(f schedulers.Frame, _ *State, _ schedulers.Event) error {
	if p.Value.IsZero() {
		f.Succeed(f.Input())
		return nil
	}
	v, err := f.Eval(p.Value, nil)
	if err != nil {
		return err
	}
	f.Succeed(v)
	return nil
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Pass, State](r, "pass", 1, "Does nothing but yield a value, or its input.")
}
