// Package mapping is the policy `map`: one step, run for each item of a list or for each number below n, a window of them at a time.
//
// Its cost does not grow with what is not open: it keeps no items, a tally, and only the results that it is to return.
package mapping

import (
	"strconv"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Map gives each child its item as input, and the names item and index. With a batch a child is a group of items, and all that is said of items below is of
// batches.
//
// Each child goes on by itself: a sequence of steps is done item by item (depth first), since a new item opens only in the place of one that is done.
type Map struct {
	Items     lang.Expr             `doc:"items,required" help:"a list, or a number n for the items 0 to n-1"`
	As        string                `doc:"as" help:"a further name for the item"`
	Do        lang.Step             `doc:"do,required" help:"the step to run for each item"`
	Window    lang.Expr             `doc:"window" help:"how many may be open at a time, a number or an expression; 0 is the engine's own limit; onward runs window changes it while it runs"`
	Batch     *Batch                `doc:"batch" help:"items go to the step in batches: its input is { items: [...] } with what with says, its item the list of items, its index the batch's; results, joins and counts are of batches"`
	Speculate *schedulers.Speculate `doc:"speculate" help:"a second try beside an item that takes long: the first to succeed counts, the other is cancelled"`
	Join      schedulers.Join       `doc:"join" help:"when items are enough: all (the first failure fails the step), settled (each item as {outcome: succeeded, value}, {outcome: failed, error} or {outcome: skipped}), any (the first success is the result), { atLeast: 3 }, { percent: 65 } or { until: ... }; with deadline, onDeadline and losers" default:"all"`
	Tolerate  *Tolerate             `doc:"tolerate" help:"how many items may fail, by count, percent or both, of which the one that is passed first ends it; the results are as with join: settled"`
	GroupBy   lang.Expr             `doc:"groupBy" help:"the key of an item, such as \"${ item.bucket }\": the results of items with one key go to one reduce"`
	Reduce    *lang.Step            `doc:"reduce" help:"the step to run for each key, once all its items are done: its input is the list of their results; it sees key and index; its results are the map's, by the keys' first appearance"`
	Results   string                `doc:"results" help:"list (the outcomes in order), count (a tally) or none" default:"list"`
}

// A Tolerate bounds failures. What it does not say is no bound.
type Tolerate struct {
	Count   *int     `doc:"count" help:"how many may fail"`
	Percent *float64 `doc:"percent" help:"which part of all may fail, from 0 to 100"`
}

// State is what the frame's tally does not say.
type State struct {
	Cuts    []int32                 `json:",omitempty"` // of batches by bytes: the item that each begins with
	Grouped []Group                 `json:",omitempty"` // one, where there are groups
	Late    []schedulers.Stragglers `json:",omitempty"` // one, with speculate
}

// The slots.
const (
	work = iota
	reduction
)

// Next opens the range of children, and ends when the join is decided.
func (p *Map) Next(f schedulers.Frame, s *State, ev schedulers.Event) error {
	switch {
	case ev.Kind == schedulers.Started:
		return p.start(f, s)
	case ev.Kind == schedulers.Fired && ev.Name == schedulers.StragglerTimer:
		p.Speculate.Fired(f, &s.Late[0], p.children(f))
	case ev.Kind == schedulers.Fired:
		counts := f.Counts(work)
		progress, err := p.join().Late(counts)
		p.end(f, s, progress, err, lang.Null)
	case ev.Kind == schedulers.Done && ev.Slot == reduction:
		p.reduced(f, s, ev.Outcome)
	case ev.Kind == schedulers.Done:
		if p.Speculate != nil {
			p.Speculate.Done(f, &s.Late[0], p.children(f), ev)
		}
		progress, err := p.judge(f, f.Counts(work), ev.Outcome)
		if progress != schedulers.Unreachable && len(s.Grouped) > 0 {
			s.Grouped[0].done(f, ev.Index)
			progress = schedulers.Open // It goes on to its reducers.
		}
		p.end(f, s, progress, err, ev.Outcome.Value)
	}
	return nil
}

func (p *Map) children(f schedulers.Scope) schedulers.Children {
	return schedulers.Children{N: f.Counts(work).Spawned, Slot: work, Many: true}
}

// join is what decides when items are enough, but for how many may fail.
func (p *Map) join() schedulers.Join {
	j := p.Join
	if p.Tolerate != nil {
		j.Word = schedulers.JoinSettled
	}
	return j
}

func (p *Map) judge(f schedulers.Scope, c schedulers.Counts, o lang.Outcome) (schedulers.Progress, *lang.Error) {
	if t := p.Tolerate; t != nil && o.Verdict == lang.Failed && (t.Count != nil && c.Failed > *t.Count || t.Percent != nil && schedulers.Percent(*t.Percent).Below(c.Failed, c.Spawned)) {
		return schedulers.Unreachable, schedulers.TooManyFailed(c, o)
	}
	return p.join().Judge(f, c, o)
}

func (p *Map) start(f schedulers.Frame, s *State) error {
	items, n, err := p.count(f)
	if err != nil {
		return err
	}
	window, err := p.window(f)
	if err != nil {
		return err
	}
	if !p.GroupBy.IsZero() {
		if err := p.group(f, s, items, n); err != nil {
			return err
		}
	}
	if n, err = p.batches(f, s, items, n); err != nil {
		return err
	}
	if n == 0 {
		progress, err := p.join().Judge(f, schedulers.Counts{}, lang.Outcome{})
		p.end(f, s, progress, err, lang.Null)
		return nil
	}
	if len(s.Grouped) == 0 && (p.Results != "list" || p.Join.One()) {
		f.Discard(work)
	} else if e := p.join().Fits(n); e != nil {
		return e
	}
	p.join().Begin(f)
	if p.Speculate != nil {
		s.Late = make([]schedulers.Stragglers, 1)
		p.Speculate.Begin(f)
	}
	f.Window(work, window)
	if len(s.Grouped) > 0 {
		f.Window(reduction, window)
		if p.Results != "list" {
			f.Discard(reduction)
		}
	}
	f.Spawn(work, n)
	return nil
}

func (p *Map) end(f schedulers.Frame, s *State, progress schedulers.Progress, err *lang.Error, first lang.Value) {
	how := p.Join.How()
	slot := work
	if len(s.Grouped) > 0 {
		slot = reduction
	}
	switch {
	case progress == schedulers.Open:
	case progress == schedulers.Unreachable:
		f.Fail(err, how...)
	case p.Results == "count":
		c := f.Counts(slot)
		f.Succeed(lang.Of(map[string]int{"succeeded": c.Succeeded, "failed": c.Failed, "skipped": c.Skipped}), how...)
	case p.Results == "none":
		f.Succeed(lang.Null, how...)
	case slot == reduction:
		f.Succeed(s.Grouped[0].list(f, p.join()), how...)
	case p.Join.One():
		f.Succeed(first, how...)
	default:
		f.Succeed(p.join().List(f, work), how...)
	}
}

// count returns the items and their number.
func (p *Map) count(f schedulers.Scope) (lang.Value, int, error) {
	items, err := f.Eval(p.Items, nil)
	if err != nil {
		return items, 0, err
	}
	n, err := schedulers.Width(f, "items", p.Items, items)
	return items, n, err
}

func (p *Map) window(f schedulers.Scope) (int, error) {
	return schedulers.Window(p.Window, func(e lang.Expr) (lang.Value, error) { return f.Eval(e, nil) })
}

// Bind gives child i its item or its batch, and a reducer the results of its items.
func (p *Map) Bind(f schedulers.Scope, s *State, slot, i int) (schedulers.Binding, error) {
	if slot == reduction {
		return p.bindGroup(f, s, i)
	}
	items, n, err := p.count(f)
	if err != nil {
		return schedulers.Binding{}, err
	}
	var item, input lang.Value
	if p.Batch == nil {
		item = schedulers.Item(f, items, i)
		input = item
	} else if item, input, err = p.batch(f, s, items, n, i); err != nil {
		return schedulers.Binding{}, err
	}
	vars := lang.Vars{{Name: "item", Value: item}, {Name: "index", Value: lang.Trusted(strconv.Itoa(i))}}
	if p.As != "" {
		vars = append(vars, lang.Var{Name: p.As, Value: item})
	}
	return schedulers.Binding{Input: input, Vars: vars}, nil
}

// Declare says that a child sees item, index and the name of as, and a reducer key and index.
func (p *Map) Declare(slot int) schedulers.Declaration {
	if slot == reduction {
		return schedulers.Declaration{Names: []string{"key", "index"}, Many: true}
	}
	return schedulers.Declaration{Names: p.names(), Many: true}
}

func (p *Map) names() []string {
	if p.As != "" {
		return []string{"item", "index", p.As}
	}
	return []string{"item", "index"}
}

// Twins says that items may get a second try, and reducers none.
func (p *Map) Twins(slot int) bool { return p.Speculate != nil && slot == work }

// DeclareOwn says what the join's expression sees, and that of the groups.
func (p *Map) DeclareOwn(field string) []string {
	if field == "groupBy" && !p.GroupBy.IsZero() {
		return p.names()
	}
	return schedulers.DeclareJoin(field)
}

// Register enters the policy.
func Register(r *plugin.Registry) {
	schedulers.Register[Map, State](r, "map", 1, "Runs one step for each item of a list, or for each number below n, a window of them at a time; in batches, and by groups, where that is said.")
}

// Sketch is a step for each item.
func (p *Map) Sketch() schedulers.Sketch {
	return schedulers.Sketch{Shape: schedulers.Each, Caption: p.Items.Source()}
}
