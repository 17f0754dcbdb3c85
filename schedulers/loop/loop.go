// Package loop is the policy that runs one step again and again: until a condition is true, while one is, or a number of times.
package loop

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Loop gives each round what the one before it yielded. It always has a bound, and keeps what one round needs: rounds that are over leave nothing behind,
// unless they are collected. A round that fails fails the loop; retry and catch of Do are a round's own. Rounds come one after the other and never meet: a join
// is for what meets within one, and stands in Do.
type Loop struct {
	Do      lang.Step            `doc:"do,required" help:"the step to run; it is given what the round before yielded, also under the name previous (the first one the loop's input), and sees round, from 0, and the names of state"`
	While   lang.Expr            `doc:"while,condition" help:"asked before each round: another one only if this is true; sees round (the next one), previous and the names of state"`
	Until   lang.Expr            `doc:"until,condition" help:"asked after each round: no other one if this is true; sees round, output (what the round yielded), previous (what it was given) and the names of state, as next made them"`
	Times   lang.Expr            `doc:"times" help:"how many rounds there are, in place of a condition: a whole number, or an expression"`
	Max     lang.Expr            `doc:"max" help:"the most rounds that a condition may lead to: a whole number from 1, or an expression"`
	OnMax   string               `doc:"onMax" help:"what comes when max rounds have not met the condition: fail (loop_limit) or take (it ends as if they had)" default:"fail"`
	State   map[string]lang.Expr `doc:"state" help:"names with what they stand for in the first round"`
	After   map[string]lang.Expr `doc:"next" help:"what names of state stand for in the rounds after this one; sees output, previous, round and the names as they were. One that is left out stays"`
	Pause   lang.Expr            `doc:"pause" help:"how long to wait between two rounds: a duration, a number of seconds or an expression; sees what until sees"`
	Collect bool                 `doc:"collect" help:"yield the list of what all rounds yielded in place of what the last one did"`
}

// State is what the round at work was given, or the next one will be.
type State struct {
	Previous lang.Value
	Vars     []lang.Value // of the names of state, by name
	Most     int          // rounds
}

const (
	slot  = 0
	pause = "pause"
)

// Next begins another round, or ends.
func (p *Loop) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		return p.start(f, s)
	case schedulers.Done:
		if ev.Outcome.Verdict == lang.Failed {
			f.Fail(ev.Outcome.Err)
			return nil
		}
		return p.over(f, s, ev)
	case schedulers.Fired:
		p.round(f, s)
	}
	return nil
}

func (p *Loop) start(f schedulers.Frame, s *State) error {
	bound := p.Max
	if !p.Times.IsZero() {
		bound = p.Times
	}
	v, err := f.Eval(bound, nil)
	if err != nil {
		return err
	}
	var ok bool
	if s.Most, ok = schedulers.Whole(v); !ok || s.Most > lang.MaxWidth || s.Most == 0 && p.Times.IsZero() {
		return bad("%s yields %.80s and not a whole number of rounds up to %d", bound.Source(), v.JSON(), lang.MaxWidth)
	}
	s.Previous = f.Input()
	for _, name := range p.names() {
		v, err := f.Eval(p.State[name], nil)
		if err != nil {
			return err
		}
		s.Vars = append(s.Vars, v)
	}
	if !p.Collect {
		f.Discard(slot)
	}
	if goesOn, err := p.goesOn(f, s); err != nil || !goesOn {
		p.end(f, s, err)
		return err
	}
	p.round(f, s)
	return nil
}

// over takes what a round yielded.
func (p *Loop) over(f schedulers.Frame, s *State, ev schedulers.Event) error {
	output := s.Previous // A round that was skipped passes on what it was given.
	if ev.Outcome.Verdict == lang.Succeeded {
		output = ev.Outcome.Value
	}
	seen := lang.Vars{{Name: "output", Value: output}, {Name: "previous", Value: s.Previous}, {Name: "round", Value: lang.Trusted(strconv.Itoa(ev.Index))}}
	vars, err := p.next(f, s, seen)
	if err != nil {
		return err
	}
	s.Vars = vars
	seen = append(seen, p.vars(s)...)
	if !p.Until.IsZero() {
		met, err := p.is(f, "until", p.Until, seen)
		if err != nil {
			return err
		}
		if met {
			s.Previous = output
			p.end(f, s, nil)
			return nil
		}
	}
	var wait time.Duration
	if !p.Pause.IsZero() {
		v, err := f.Eval(p.Pause, seen)
		if err != nil {
			return err
		}
		var ok bool
		if wait, ok = schedulers.Span(v); !ok {
			return bad("pause: %s yields %.80s, which is neither a duration nor a number of seconds", p.Pause.Source(), v.JSON())
		}
	}
	s.Previous = output
	if goesOn, err := p.goesOn(f, s); err != nil || !goesOn {
		p.end(f, s, err)
		return err
	}
	if wait > 0 {
		f.After(pause, wait)
		return nil
	}
	p.round(f, s)
	return nil
}

// goesOn asks before each round whether there is to be another; false where the loop is to end, by its condition or by its bound.
func (p *Loop) goesOn(f schedulers.Frame, s *State) (bool, error) {
	rounds := f.Counts(slot).Spawned
	if !p.While.IsZero() {
		seen := append(lang.Vars{{Name: "previous", Value: s.Previous}, {Name: "round", Value: lang.Trusted(strconv.Itoa(rounds))}}, p.vars(s)...)
		if is, err := p.is(f, "while", p.While, seen); err != nil || !is {
			return false, err
		}
	}
	if rounds < s.Most {
		return true, nil
	}
	if p.Times.IsZero() && p.OnMax == "fail" {
		condition := "until: " + p.Until.Source()
		if p.Until.IsZero() {
			condition = "while: " + p.While.Source()
		}
		return false, &lang.Error{
			Type: "loop_limit", Class: lang.ClassFunction, Data: s.Previous,
			Message: fmt.Sprintf("%d rounds, which are the most, and it would go on by %s", rounds, condition),
		}
	}
	return false, nil
}

func (p *Loop) round(f schedulers.Frame, s *State) {
	f.Note(lang.Text(fmt.Sprintf("round %d of at most %d", f.Counts(slot).Spawned+1, s.Most)))
	f.Spawn(slot, 1)
}

func (p *Loop) end(f schedulers.Frame, s *State, err error) {
	switch {
	case err != nil:
	case p.Collect:
		f.Succeed(f.Collect(slot))
	default:
		f.Succeed(s.Previous)
	}
}

// next is what the names of state stand for after a round; all are made of what they were.
func (p *Loop) next(f schedulers.Scope, s *State, seen lang.Vars) ([]lang.Value, error) {
	if len(p.After) == 0 {
		return s.Vars, nil
	}
	seen = append(slices.Clone(seen), p.vars(s)...)
	out := slices.Clone(s.Vars)
	for i, name := range p.names() {
		e, changes := p.After[name]
		if !changes {
			continue
		}
		v, err := f.Eval(e, seen)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (p *Loop) is(f schedulers.Scope, word string, e lang.Expr, seen lang.Vars) (bool, error) {
	v, err := f.Eval(e, seen)
	if err != nil {
		return false, err
	}
	switch v.JSON() {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, bad("%s: %s yields %.80s and not true or false", word, e.Source(), v.JSON())
}

// names are those of state, in order.
func (p *Loop) names() []string { return slices.Sorted(maps.Keys(p.State)) }

func (p *Loop) vars(s *State) lang.Vars {
	var vars lang.Vars
	for i, name := range p.names() {
		vars = append(vars, lang.Var{Name: name, Value: s.Vars[i]})
	}
	return vars
}

// Bind gives a round what the one before it yielded.
func (p *Loop) Bind(_ schedulers.Scope, s *State, _, index int) (schedulers.Binding, error) {
	vars := lang.Vars{{Name: "previous", Value: s.Previous}, {Name: "round", Value: lang.Trusted(strconv.Itoa(index))}}
	return schedulers.Binding{Input: s.Previous, Vars: append(vars, p.vars(s)...)}, nil
}

// Declare says what a round sees.
func (p *Loop) Declare(int) schedulers.Declaration {
	return schedulers.Declaration{Names: append([]string{"previous", "round"}, p.names()...), Many: true}
}

// DeclareOwn says what the loop's own expressions see.
func (p *Loop) DeclareOwn(field string) []string {
	switch field {
	case "while":
		return append([]string{"previous", "round"}, p.names()...)
	case "until", "next", "pause":
		return append([]string{"output", "previous", "round"}, p.names()...)
	}
	return nil
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Loop, State](r, "loop", 1, "Runs one step again and again, until a condition is true, while one is, or a number of times.")
}

// Sketch is a step that is run again.
func (p *Loop) Sketch() schedulers.Sketch {
	out := schedulers.Sketch{Shape: schedulers.Again}
	switch {
	case !p.While.IsZero():
		out.Caption = "while " + p.While.Source()
	case !p.Until.IsZero():
		out.Caption = "until " + p.Until.Source()
	default:
		out.Caption = p.Times.Source() + " times"
	}
	if !p.Max.IsZero() {
		out.Caption += ", at most " + p.Max.Source() + " rounds"
	}
	return out
}
