// Package mapping is the policy `map`: one step, run for each item of a list or for each number below n, a window of them at a time.
//
// Its cost does not grow with what is not open: it keeps no items, a tally, and only the results that it is to return.
package mapping

import (
	"fmt"
	"strconv"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Map gives each child its item as input, and the names item and index.
type Map struct {
	Items   lang.Expr       `doc:"items,required" help:"a list, or a number n for the items 0 to n-1"`
	As      string          `doc:"as" help:"a further name for the item"`
	Do      lang.Step       `doc:"do,required" help:"the step to run for each item"`
	Window  int             `doc:"window" help:"how many may be open at a time; 0 is the engine's own limit"`
	Join    schedulers.Join `doc:"join" help:"when items are enough: all (the first failure fails the step), settled (each item as {outcome: succeeded, value}, {outcome: failed, error} or {outcome: skipped}), any (the first success is the result), { atLeast: 3 }, { percent: 65 } or { until: ... }; with deadline, onDeadline and losers" default:"all"`
	Results string          `doc:"results" help:"list (the outcomes in order), count (a tally) or none" default:"list"`
}

// State is empty: the frame's tally says it all.
type State struct{}

const slot = 0

// Next opens the range of children, and ends when the join is decided.
func (p *Map) Next(f schedulers.Frame, _ *State, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		return p.start(f)
	case schedulers.Done:
		counts := f.Counts(slot)
		progress, err := p.Join.Judge(f, counts, ev.Outcome)
		p.end(f, progress, err, counts, ev.Outcome.Value)
	case schedulers.Fired:
		counts := f.Counts(slot)
		progress, err := p.Join.Late(counts)
		p.end(f, progress, err, counts, lang.Null)
	}
	return nil
}

func (p *Map) start(f schedulers.Frame) error {
	n, err := p.count(f)
	if err != nil {
		return err
	}
	if n == 0 {
		progress, err := p.Join.Judge(f, schedulers.Counts{}, lang.Outcome{})
		p.end(f, progress, err, schedulers.Counts{}, lang.Null)
		return nil
	}
	if p.Results != "list" || p.Join.One() {
		f.Discard(slot)
	} else if e := p.Join.Fits(n); e != nil {
		return e
	}
	p.Join.Begin(f)
	f.Window(slot, p.Window)
	f.Spawn(slot, n)
	return nil
}

func (p *Map) end(f schedulers.Frame, progress schedulers.Progress, err *lang.Error, c schedulers.Counts, first lang.Value) {
	how := p.Join.How()
	switch {
	case progress == schedulers.Open:
	case progress == schedulers.Unreachable:
		f.Fail(err, how...)
	case p.Results == "count":
		f.Succeed(lang.Of(map[string]int{"succeeded": c.Succeeded, "failed": c.Failed, "skipped": c.Skipped}), how...)
	case p.Results == "none":
		f.Succeed(lang.Null, how...)
	case p.Join.One():
		f.Succeed(first, how...)
	default:
		f.Succeed(p.Join.List(f, slot), how...)
	}
}

// count returns the number of items.
func (p *Map) count(f schedulers.Scope) (int, error) {
	items, err := f.Eval(p.Items, nil)
	if err != nil {
		return 0, err
	}
	return schedulers.Width(f, "items", p.Items, items)
}

// Bind gives child i its item.
func (p *Map) Bind(f schedulers.Scope, _ *State, _, i int) (schedulers.Binding, error) {
	items, err := f.Eval(p.Items, nil)
	if err != nil {
		return schedulers.Binding{}, err
	}
	item := schedulers.Item(f, items, i)
	vars := lang.Vars{{Name: "item", Value: item}, {Name: "index", Value: lang.Trusted(strconv.Itoa(i))}}
	if p.As != "" {
		vars = append(vars, lang.Var{Name: p.As, Value: item})
	}
	return schedulers.Binding{Input: item, Vars: vars}, nil
}

// Declare says that a child sees item, index and the name of as.
func (p *Map) Declare(int) schedulers.Declaration {
	d := schedulers.Declaration{Names: []string{"item", "index"}, Many: true}
	if p.As != "" {
		d.Names = append(d.Names, p.As)
	}
	return d
}

// DeclareOwn says what the join's expression sees.
func (p *Map) DeclareOwn(field string) []string { return schedulers.DeclareJoin(field) }

// Check reports words and numbers that cannot be.
func (p *Map) Check() []plugin.Problem {
	var out []plugin.Problem
	switch p.Results {
	case "list", "count", "none":
	default:
		out = append(out, plugin.Problem{Path: []string{"results"}, What: fmt.Sprintf("unknown results %q", p.Results), Cure: lang.Nearest(p.Results, []string{"list", "count", "none"})})
	}
	out = append(out, schedulers.CheckItems(p.Items, "items")...)
	out = append(out, schedulers.CheckWindow(p.Window)...)
	if n, known := schedulers.ConstantWidth(p.Items); known {
		out = append(out, p.Join.CheckWidth(n)...)
	}
	return out
}

// Schema tells what Check refuses.
func (*Map) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"results": plugin.Schema{"enum": []any{"list", "count", "none"}}, "window": plugin.Schema{"minimum": 0, "maximum": lang.MaxWindow}}}
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Map, State](r, "map", 1, "Runs one step for each item of a list, or for each number below n, a window of them at a time.")
}
