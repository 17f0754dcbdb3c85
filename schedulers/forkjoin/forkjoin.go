// Package forkjoin is the policy that runs branches side by side and joins their outcomes.
package forkjoin

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A ForkJoin gives every branch its own input. Over a list of branches it yields a list, over named ones an object.
type ForkJoin struct {
	Branches lang.Steps      `doc:"branches,value,rest,required" help:"the branches: a list of steps, or names with steps, which may also stand beside the other keys"`
	Join     schedulers.Join `doc:"join" help:"all (the first failure fails the step) or settled (each branch as {outcome: succeeded, value}, {outcome: failed, error} or {outcome: skipped})" default:"all"`
}

// State counts the branches that are done.
type State struct{ Done int }

// Next opens all branches, and ends when the join is decided.
func (p *ForkJoin) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	n := len(p.Branches.List)
	switch ev.Kind {
	case schedulers.Started:
		for slot := range n {
			f.Spawn(slot, 1)
		}
	case schedulers.Done:
		if ev.Outcome.Verdict == lang.Failed && !p.Join.Settled() {
			f.Fail(ev.Outcome.Err)
			return nil
		}
		s.Done++
	}
	if s.Done == n && ev.Kind != schedulers.Cancelled {
		f.Succeed(p.collect(f))
	}
	return nil
}

func (p *ForkJoin) collect(f schedulers.Frame) lang.Value {
	values := make([]lang.Value, len(p.Branches.List))
	for slot := range values {
		values[slot] = p.Join.Value(f.Outcome(slot, 0))
	}
	if p.Branches.Names == nil {
		return lang.List(values...)
	}
	members := make([]lang.Member, len(values))
	for i, v := range values {
		members[i] = lang.Member{Key: p.Branches.Names[i], Value: v}
	}
	return lang.Object(members...)
}

// Label is the branch's name.
func (p *ForkJoin) Label(slot int) string {
	if p.Branches.Names == nil {
		return ""
	}
	return p.Branches.Names[slot]
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[ForkJoin, State](r, "forkjoin", 1, "Runs branches side by side and joins their outcomes into a list, or into an object by name.")
}
