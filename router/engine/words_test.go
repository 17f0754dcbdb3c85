package engine_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// A team is a third party's policy with an optional step before and behind a map of steps: first, then all of the map side by side, then last. It yields
// what each of the map did, by its key.
type team struct {
	First *lang.Step           `doc:"first" help:"what to do before the others"`
	Of    map[string]lang.Step `doc:"of,required" help:"what to do side by side, by name"`
	Last  *lang.Step           `doc:"last" help:"what to do after the others"`
	Until lang.Expr            `doc:"until,condition" help:"the others are enough once this is true of the value of one of them"`
}

type teamState struct {
	Done   int
	Latest lang.Outcome // of the others: last is given it
}

// The slots of a team: first has 0, whether it is there or not.
func (p *team) last() int { return 1 + len(p.Of) }

func (p *team) Next(f schedulers.Frame, s *teamState, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		if p.First != nil {
			f.Spawn(0, 1)
			return nil
		}
	case schedulers.Done:
		if ev.Outcome.Verdict == lang.Failed {
			f.Fail(ev.Outcome.Err)
			return nil
		}
		switch ev.Slot {
		case 0:
		case p.last():
			f.Succeed(p.collect(f))
			return nil
		default:
			s.Latest = ev.Outcome
			enough, err := p.enough(f, ev.Outcome.Value)
			if err != nil || enough {
				f.Succeed(p.collect(f)) // Cancels the others.
				return err
			}
			if s.Done++; s.Done < len(p.Of) {
				return nil
			}
		}
	default:
		return nil
	}
	switch {
	case s.Done == 0 && len(p.Of) > 0:
		for slot := 1; slot < p.last(); slot++ {
			f.Spawn(slot, 1)
		}
	case p.Last != nil:
		f.Spawn(p.last(), 1)
	default:
		f.Succeed(p.collect(f))
	}
	return nil
}

func (p *team) collect(f schedulers.Scope) lang.Value {
	var members []lang.Member
	for i, key := range slices.Sorted(maps.Keys(p.Of)) {
		members = append(members, lang.Member{Key: key, Value: f.Outcome(1+i, 0).Value})
	}
	return lang.Object(members...)
}

func (p *team) enough(f schedulers.Scope, value lang.Value) (bool, error) {
	if p.Until.IsZero() {
		return false, nil
	}
	v, err := f.Eval(p.Until, lang.Vars{{Name: "value", Value: value}})
	return v.JSON() == "true", err
}

// DeclareOwn says that until sees the value of who has just ended.
func (p *team) DeclareOwn(field string) []string {
	if field == "until" {
		return []string{"value"}
	}
	return nil
}

func (p *team) Declare(slot int) schedulers.Declaration {
	if slot == 0 || p.First == nil {
		return schedulers.Declaration{}
	}
	return schedulers.Declaration{Siblings: []int{0}}
}

func (p *team) Bind(f schedulers.Scope, s *teamState, slot, _ int) (schedulers.Binding, error) {
	b := schedulers.Binding{Input: f.Input()}
	if slot == p.last() {
		b.Input = s.Latest.Settled()
	}
	if slot > 0 && p.First != nil {
		b.Siblings = []int{0}
	}
	return b, nil
}

// tries says by which rules of retry the open steps of a run are at work.
func (s *stage) tries(d *datadriven.TestData) {
	st, _ := s.state.Status(s.run(d), 10)
	var walk func(x *engine.StepStatus)
	walk = func(x *engine.StepStatus) {
		if x.Retry != nil {
			s.say("%s: %s", strings.TrimPrefix(x.Path+" "+x.Does, " "), x.Retry)
		}
		for _, slot := range x.Slots {
			for _, open := range slot.Waiting {
				walk(open)
			}
		}
	}
	walk(st.Root)
}

// TestTeamKeepsTheLaws: maps of steps and optional steps under the laws of policies.
func TestTeamKeepsTheLaws(t *testing.T) {
	t.Parallel()
	schedulertest.Run(t, registry(), "team", schedulertest.Options{
		Documents: []string{
			`{of: {b: {function: f}, a: {function: g}}}`,
			`{first: {function: f}, of: {b: {function: f}, a: {function: g}, c: {function: f}}}`,
			`{of: {}, last: {function: f}}`,
			`{of: {b: {function: f}, a: {function: g}}, until: "${ value == 1.5 || value == data }"}`,
			`{first: {function: e}, of: {a: {function: g}}, last: {function: f}}`,
		},
		Plays:    80,
		Commutes: func(p *schedulertest.Play) bool { return p.Settings.(*team).Until.IsZero() && !p.Has(lang.Failed) },
		Partial:  func(p *schedulertest.Play) bool { return !p.Settings.(*team).Until.IsZero() },
	})
}
