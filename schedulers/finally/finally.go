// Package finally is the policy that runs a step, and then another whatever became of the first: also when it is cancelled.
package finally

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Finally ends as Do did. Always runs once Do has ended, or was cancelled, by a deadline, by the frame around it or with its run: who cancelled it waits
// for that. When Always fails, a success of Do becomes that failure; a failure of Do stays what it is, and its message tells of the other.
type Finally struct {
	Do     lang.Step `doc:"do,required" help:"the step whose outcome counts"`
	Always lang.Step `doc:"always,required" help:"the step that is run after it in any case, with the same input; outcome is how it ended, {outcome: succeeded, value}, {outcome: failed, error}, {outcome: skipped} or {outcome: cancelled}"`
}

// State is empty: the frame's outcomes say it all.
type State struct{}

// The slots.
const (
	do = iota
	always
)

// Next opens one after the other.
func (p *Finally) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	switch {
	case ev.Kind == schedulers.Started:
		f.Spawn(do, 1)
	case ev.Kind == schedulers.Cancelled && f.Counts(always).Spawned > 0: // It is at work, and goes on.
	case ev.Kind == schedulers.Cancelled, ev.Slot == do:
		f.Spawn(always, 1)
	default:
		end(f, f.Outcome(do, 0), ev.Outcome)
	}
	return nil
}

func end(f schedulers.Frame, o, after lang.Outcome) {
	failed := after.Verdict == lang.Failed
	switch {
	case o.Verdict == lang.Failed && failed:
		both := *o.Err
		both.Message += fmt.Sprintf("; and what is always to be done after it failed: %s", after.Err)
		f.Fail(&both)
	case o.Verdict == lang.Failed:
		f.Fail(o.Err)
	case failed:
		f.Fail(after.Err)
	default:
		f.Succeed(o.Value)
	}
}

// Cleanup says that always is run in any case.
func (*Finally) Cleanup(slot int) bool { return slot == always }

// Bind gives always the outcome, and the output where do has a name.
func (p *Finally) Bind(f schedulers.Scope, _ *State, slot, _ int) (schedulers.Binding, error) {
	b := schedulers.Binding{Input: f.Input()}
	if slot == always {
		o := f.Outcome(do, 0)
		if o.Verdict == 0 {
			o.Verdict = lang.Cancelled
		}
		b.Vars = lang.Vars{{Name: "outcome", Value: o.Settled()}}
		b.Siblings = []int{do}
	}
	return b, nil
}

// Declare says what always sees.
func (*Finally) Declare(slot int) schedulers.Declaration {
	if slot == do {
		return schedulers.Declaration{}
	}
	return schedulers.Declaration{Names: []string{"outcome"}, Siblings: []int{do}}
}

// Label calls the second step always, unless it has a name.
func (*Finally) Label(slot int) string {
	if slot == always {
		return "always"
	}
	return ""
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Finally, State](r, "finally", 1, "Runs a step, and another after it whatever became of the first, also when it is cancelled.")
}

// Sketch is a line of two.
func (*Finally) Sketch() schedulers.Sketch { return schedulers.Sketch{Shape: schedulers.InLine} }
