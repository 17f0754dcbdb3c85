// Package forkjoin is the policy that runs branches side by side and joins their outcomes.
package forkjoin

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A ForkJoin gives every branch its own input. Over a list of branches it yields a list, over named ones an object; with join: any, the value of the branch
// that was first.
type ForkJoin struct {
	Branches  lang.Steps            `doc:"branches,value,rest,required" help:"the branches: a list of steps, or names with steps, which may also stand beside the other keys"`
	Speculate *schedulers.Speculate `doc:"speculate" help:"a second try beside a branch that takes long: the first to succeed counts, the other is cancelled"`
	Join      schedulers.Join       `doc:"join" help:"when branches are enough: all (the first failure fails the step), settled (each branch as {outcome: succeeded, value}, {outcome: failed, error} or {outcome: skipped}), any (the first success is the result), { atLeast: 3 }, { percent: 65 } or { until: ... }; with deadline, onDeadline and losers" default:"all"`
}

// State counts the branches that are done. How they ended only matters to some joins.
type State struct {
	Done            int
	Failed, Skipped int                     `json:",omitempty"`
	Late            []schedulers.Stragglers `json:",omitempty"` // one, with speculate
}

// Next opens all branches, and ends when the join is decided.
func (p *ForkJoin) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	n := len(p.Branches.List)
	switch ev.Kind {
	case schedulers.Started:
		p.Join.Begin(f)
		if p.Speculate != nil {
			s.Late = make([]schedulers.Stragglers, 1)
			p.Speculate.Begin(f)
		}
		for slot := range n {
			f.Spawn(slot, 1)
		}
		if n == 0 {
			p.decide(f, s, ev.Outcome)
		}
	case schedulers.Done:
		if p.Speculate != nil {
			p.Speculate.Done(f, &s.Late[0], schedulers.Children{N: n}, ev)
		}
		s.count(p.Join, ev.Outcome.Verdict)
		p.decide(f, s, ev.Outcome)
	case schedulers.Fired:
		if ev.Name == schedulers.StragglerTimer {
			p.Speculate.Fired(f, &s.Late[0], schedulers.Children{N: n})
			return nil
		}
		progress, err := p.Join.Late(s.tally(n))
		p.end(f, progress, err, lang.Null)
	}
	return nil
}

func (s *State) count(j schedulers.Join, v lang.Verdict) {
	s.Done++
	switch {
	case !j.Early():
	case v == lang.Failed:
		s.Failed++
	case v == lang.Skipped:
		s.Skipped++
	}
}

func (s *State) tally(n int) schedulers.Counts {
	return schedulers.Counts{Spawned: n, Succeeded: s.Done - s.Failed - s.Skipped, Failed: s.Failed, Skipped: s.Skipped}
}

func (p *ForkJoin) decide(f schedulers.Frame, s *State, o lang.Outcome) {
	progress, err := p.Join.Judge(f, s.tally(len(p.Branches.List)), o)
	p.end(f, progress, err, o.Value)
}

func (p *ForkJoin) end(f schedulers.Frame, progress schedulers.Progress, err *lang.Error, first lang.Value) {
	switch {
	case progress == schedulers.Unreachable:
		f.Fail(err, p.Join.How()...)
	case progress == schedulers.Open:
	case p.Join.One():
		f.Succeed(first, p.Join.How()...)
	default:
		f.Succeed(p.collect(f), p.Join.How()...)
	}
}

func (p *ForkJoin) collect(f schedulers.Frame) lang.Value {
	values := make([]lang.Value, len(p.Branches.List))
	for slot := range values {
		values[slot] = p.Join.Show(f, slot, 0)
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

// DeclareOwn says what the join's expression sees.
func (p *ForkJoin) DeclareOwn(field string) []string { return schedulers.DeclareJoin(field) }

// Check reports a join that the branches cannot reach, and a percentile of too few.
func (p *ForkJoin) Check() []plugin.Problem {
	n := len(p.Branches.List)
	return append(p.Join.CheckWidth(n), p.Speculate.CheckWidth(n)...)
}

// Twins says that all branches may get a second try.
func (p *ForkJoin) Twins(int) bool { return p.Speculate != nil }

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[ForkJoin, State](r, "forkjoin", 1, "Runs branches side by side and joins their outcomes into a list, or into an object by name.")
}

// Sketch is branches side by side.
func (*ForkJoin) Sketch() schedulers.Sketch { return schedulers.Sketch{Shape: schedulers.Beside} }
