// Package signal is the policy that waits for a named signal from outside: an approval, a payment, a human.
package signal

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Signal yields the signal's data. A signal that came early was kept; several waits for one name are served first come first. The common key
// deadline bounds the wait of any step; within does so with an error type of its own, signal_deadline.
type Signal struct {
	Name   lang.Expr `doc:"name,value,required" help:"the signal's name"`
	Within lang.Span `doc:"within,above0" help:"fail with signal_deadline when it has not come by then"`
}

// State is empty.
type State struct{}

// Next waits, and ends with the signal or the deadline.
func (p *Signal) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		name, err := p.name(f)
		if err != nil {
			return err
		}
		within, err := schedulers.SpanOf(f, "within", p.Within)
		if err != nil {
			return err
		}
		if within > 0 {
			f.After("within", within)
		}
		f.Await(name)
	case schedulers.Signalled:
		f.Succeed(ev.Outcome.Value)
	case schedulers.Fired:
		name, err := p.name(f)
		if err != nil {
			return err
		}
		within, err := schedulers.SpanOf(f, "within", p.Within)
		if err != nil {
			return err
		}
		f.Fail(lang.Failf(lang.ClassTimeout, "signal_deadline", "signal %q has not come within %s", name, within))
	}
	return nil
}

func (p *Signal) name(f schedulers.Scope) (string, error) {
	v, err := f.Eval(p.Name, nil)
	if err != nil {
		return "", err
	}
	return p.parse(v)
}

func (p *Signal) parse(v lang.Value) (string, error) {
	var name string
	if v.Decode(&name) != nil || name == "" {
		return "", &lang.Error{Type: "bad_signal", Class: lang.ClassFunction, Message: fmt.Sprintf("name: %s yields %.80s and not a name", p.Name.Source(), v.JSON())}
	}
	return name, nil
}

// Check reports a constant that is no name.
func (p *Signal) Check() []plugin.Problem {
	if v, constant := p.Name.Const(); constant {
		if _, err := p.parse(v); err != nil {
			return []plugin.Problem{{Path: []string{"name"}, What: fmt.Sprintf("%.80s is not the name of a signal", v.JSON()), Cure: "write signal: NAME"}}
		}
	}
	return nil
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Signal, State](r, "signal", 1, "Waits for a named signal from outside and yields its data.")
}
