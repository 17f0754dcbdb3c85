package dag

import (
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// graph is what Check derives of the steps, mostly per slot.
type graph struct {
	needs      [][]int    // as a whole; of a teardown its setups too
	words      [][]string // of the needs, where one has a word
	worded     []bool
	successors [][]edge
	pairs      [][]pair // elements that its elements need
	paired     [][]pair // steps whose elements need its elements
	setups     [][]int
	leaves     []bool
	tips       int    // how many leaves there are
	told       []bool // it is told by outcomes how its needs ended

	own   map[lang.Expr]int // the slots on which the expressions of the dag's own stand
	wide  []int             // 1 + the place among the steps with over; 0 of any other
	wides int               // how many there are
	gates []int32           // per step: needs that branch; nil when none does
}

// An edge leads to a step that needs another.
type edge struct {
	slot int
	word string
	via  []int // other steps behind a branch through which it is reached
}

// A pair tells which elements of another step an element needs: i plus each offset.
type pair struct {
	slot    int
	offsets []int
	listed  bool
}

// same reports whether element i needs element i.
func (p *pair) same() bool { return slices.Contains(p.offsets, 0) }

func newGraph(n int) graph {
	return graph{
		needs: make([][]int, n), words: make([][]string, n), worded: make([]bool, n), successors: make([][]edge, n), pairs: make([][]pair, n), paired: make([][]pair, n),
		own: make(map[lang.Expr]int), setups: make([][]int, n), leaves: make([]bool, n), told: make([]bool, n), wide: make([]int, n),
	}
}

// need enters that a step needs another as a whole; once is enough.
func (g *graph) need(slot, need int, word string) {
	g.needs[slot] = append(g.needs[slot], need)
	g.words[slot] = append(g.words[slot], word)
	g.worded[slot] = g.worded[slot] || word != ""
	g.successors[need] = append(g.successors[need], edge{slot: slot, word: word})
}

func (g *graph) pair(slot, need int, n Need) {
	g.pairs[slot] = append(g.pairs[slot], pair{need, n.Offsets, n.Listed})
	g.paired[need] = append(g.paired[need], pair{slot, n.Offsets, n.Listed})
}

// before calls f with all that a step waits for, other steps' elements included.
func (g *graph) before(slot int, f func(int)) {
	for _, need := range g.needs[slot] {
		f(need)
	}
	for i := range g.pairs[slot] {
		if from := g.pairs[slot][i].slot; from != slot {
			f(from)
		}
	}
}

// behind calls f with all that wait for a step.
func (g *graph) behind(slot int, f func(int)) {
	for i := range g.successors[slot] {
		f(g.successors[slot][i].slot)
	}
	for i := range g.paired[slot] {
		if to := g.paired[slot][i].slot; to != slot {
			f(to)
		}
	}
}

// ordered takes away steps without open needs again and again: what is left has a circle.
func (g *graph) ordered() (order, left []int) {
	left = make([]int, len(g.needs))
	for slot := range left {
		g.before(slot, func(int) { left[slot]++ })
		if left[slot] == 0 {
			order = append(order, slot)
		}
	}
	for i := 0; i < len(order); i++ {
		g.behind(order[i], func(next int) {
			if left[next]--; left[next] == 0 {
				order = append(order, next)
			}
		})
	}
	return order, left
}

// cycle names one cycle, if there is any.
func (p *DAG) cycle(left []int) plugin.Problem {
	slot := 0
	for left[slot] == 0 {
		slot++
	}
	seen := make([]int, len(p.Steps)) // 1 + place in path
	var path []int
	for seen[slot] == 0 {
		path = append(path, slot)
		seen[slot] = len(path)
		next := -1
		p.graph.before(slot, func(need int) {
			if next < 0 && left[need] > 0 {
				next = need
			}
		})
		slot = next
	}
	var names []string
	for _, s := range append(path[seen[slot]-1:], slot) {
		names = append(names, p.Steps[s].Name)
	}
	return plugin.Problem{
		Path: at(slot, "needs"), What: "the steps need one another in a circle: " + strings.Join(names, " needs "), Cure: "leave one of these needs out",
	}
}

// derive finds out what hangs on the whole graph, which has no circle.
func (p *DAG) derive(order []int) {
	g := &p.graph
	place := make([]int, len(order))
	for i, slot := range order {
		place[slot] = i
	}
	for slot := range p.Steps {
		g.leaves[slot], g.told[slot] = !p.ignored(slot), p.told(slot)
		g.behind(slot, func(next int) { g.leaves[slot] = g.leaves[slot] && p.ignored(next) })
		if g.leaves[slot] {
			g.tips++
		}
		if p.Steps[slot].Branch.IsZero() {
			continue
		}
		if g.gates == nil {
			g.gates = make([]int32, len(p.Steps))
		}
		for i := range g.successors[slot] {
			e := &g.successors[slot][i]
			g.gates[e.slot]++
			e.via = g.via(slot, e.slot, place)
		}
	}
}

// via are the steps directly behind a branch from which there is a way to another one of them.
func (g *graph) via(branch, to int, place []int) (out []int) {
	if len(g.needs[to])+len(g.pairs[to]) == 1 {
		return nil
	}
	seen := map[int]bool{to: true}
	for todo := []int{to}; len(todo) > 0; {
		slot := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		g.before(slot, func(need int) {
			// What stands before the branch is not behind it.
			if !seen[need] && place[need] > place[branch] {
				seen[need] = true
				todo = append(todo, need)
			}
		})
	}
	for i := range g.successors[branch] {
		if other := g.successors[branch][i].slot; other != to && seen[other] {
			out = append(out, other)
		}
	}
	return out
}

// told reports whether a step may run behind a failure.
func (p *DAG) told(slot int) bool {
	step := &p.Steps[slot]
	if !step.Over.IsZero() && len(p.graph.pairs[slot]) == 0 {
		return false // Each of its elements would have a copy.
	}
	forgiving := func(n Need) bool { return n.Word == wordFailed || n.Word == wordDone || n.Word == wordEnded }
	return tolerant[step.Rule] || len(step.Teardown) > 0 || step.Over.IsZero() && slices.ContainsFunc(step.Needs, forgiving)
}
