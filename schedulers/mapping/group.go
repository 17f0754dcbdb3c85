package mapping

import (
	"strconv"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// A Group is which items belong together. Groups are counted by the first appearance of their keys; the keys themselves are those of their first items.
type Group struct {
	Of    []int32 // by item: its group
	Next  []int32 // by item: the next one of its group; 0 is none
	First []int32 // by group: its first item
	Left  []int32 // by group: its items that are not done
	Order []int32 `json:",omitempty"` // the groups in the order in which their reducers began
}

// maxGrouped bounds a map with groups: the keys of all its items are known before the first one begins, so that each group knows when it is whole.
const maxGrouped = 10_000

// group finds out the groups of all items.
func (p *Map) group(f schedulers.Scope, s *State, items lang.Value, n int) error {
	if n > maxGrouped {
		return lang.Failf(lang.ClassFunction, "bad_items", "items: %d, and a map with groupBy has at most %d; put a map into a map", n, maxGrouped)
	}
	g := Group{Of: make([]int32, n), Next: make([]int32, n)}
	known := make(map[string]int32)
	var last []int32
	for i := range n {
		key, err := p.key(f, items, i)
		if err != nil {
			return err
		}
		at, again := known[key.JSON()]
		if again {
			g.Next[last[at]], last[at] = int32(i), int32(i)
		} else {
			at = int32(len(g.First))
			known[key.JSON()] = at
			g.First, g.Left, last = append(g.First, int32(i)), append(g.Left, 0), append(last, int32(i))
		}
		g.Of[i] = at
		g.Left[at]++
	}
	s.Grouped = []Group{g}
	return nil
}

// key is that of item i.
func (p *Map) key(f schedulers.Scope, items lang.Value, i int) (lang.Value, error) {
	item := schedulers.Item(f, items, i)
	vars := lang.Vars{{Name: "item", Value: item}, {Name: "index", Value: lang.Trusted(strconv.Itoa(i))}}
	if p.As != "" {
		vars = append(vars, lang.Var{Name: p.As, Value: item})
	}
	return f.Eval(p.GroupBy, vars)
}

// done books an item, and begins the reducer of a group that is whole.
func (g *Group) done(f schedulers.Frame, item int) {
	at := g.Of[item]
	if g.Left[at]--; g.Left[at] == 0 {
		g.Order = append(g.Order, at)
		f.Spawn(reduction, 1)
	}
}

// reduced hears how a reducer ended.
func (p *Map) reduced(f schedulers.Frame, s *State, o lang.Outcome) {
	if o.Verdict == lang.Failed && p.Join.Word == schedulers.JoinAll {
		f.Fail(o.Err, p.Join.How()...)
	} else if f.Counts(reduction).Done() == len(s.Grouped[0].First) {
		p.end(f, s, schedulers.Enough, nil, lang.Null)
	}
}

// list is what the reducers yielded, in the order of the groups.
func (g *Group) list(f schedulers.Scope, j schedulers.Join) lang.Value {
	values := make([]lang.Value, len(g.Order))
	for i, at := range g.Order {
		values[at] = j.Show(f, reduction, i)
	}
	return lang.List(values...)
}

// bindGroup gives a reducer the results of its items, in their order.
func (p *Map) bindGroup(f schedulers.Scope, s *State, i int) (schedulers.Binding, error) {
	items, _, err := p.count(f)
	if err != nil {
		return schedulers.Binding{}, err
	}
	g := &s.Grouped[0]
	at := g.Order[i]
	key, err := p.key(f, items, int(g.First[at]))
	if err != nil {
		return schedulers.Binding{}, err
	}
	var values []lang.Value
	for item := g.First[at]; ; item = g.Next[item] {
		values = append(values, p.join().Show(f, work, int(item)))
		if g.Next[item] == 0 {
			break
		}
	}
	return schedulers.Binding{Input: lang.List(values...), Vars: lang.Vars{{Name: "key", Value: key}, {Name: "index", Value: lang.Trusted(strconv.Itoa(int(at)))}}}, nil
}
