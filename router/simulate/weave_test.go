package simulate_test

import "fmt"

// weave is a dag with all that a dag has beside needs: a setup with its teardown, elements that wait for elements, a
// branch, a limit and needs with words.
func (g *garden) weave(depth int) node {
	n, name, decides := g.rng.IntN(5), g.name(""), g.rng.IntN(2) == 0
	g.inside++ // Of two twins one would take the signal of a step, and the other that of a step beside it: neither would end.
	first, second, work, taken, left := g.flow(min(depth, 1)), g.flow(min(depth, 1)), g.flow(min(depth, 1)), g.flow(min(depth, 1)), g.flow(0)
	g.inside--
	step := func(kind string, of node, keys map[string]any) map[string]any {
		doc := g.with(of, keys)
		doc["name"] = kind + name
		return doc
	}
	fixed := func(f string) node { return node{doc: map[string]any{"function": f}} }
	steps := []any{
		step("takes", fixed("f1"), map[string]any{"teardown": "sets" + name, "needs": []any{"taken" + name, "left" + name}, "decides": decides}),
		step("sets", fixed("f0"), map[string]any{"output": "${ input }"}),
		step("first", first, map[string]any{"over": n, "needs": "sets" + name, "window": g.rng.IntN(3)}),
		step("second", second, map[string]any{"over": n, "needs": map[string]any{"first" + name: "same", "second" + name: []int{-1, -2}}}),
		step("work", work, map[string]any{"needs": map[string]any{"sets" + name: "succeeded", "second" + name: "ended"}}),
		step("way", fixed("f2"), map[string]any{"needs": "work" + name, "branch": "${ output == null ? [] : ['taken" + name + "'] }"}),
		step("taken", taken, map[string]any{"needs": "way" + name}),
		step("left", left, map[string]any{"needs": "way" + name}),
	}
	dag := map[string]any{"steps": steps}
	if g.rng.IntN(2) == 0 {
		dag["concurrency"] = 1 + g.rng.IntN(3)
	}
	return node{doc: map[string]any{"dag": dag}, eval: func(in any, s *story) (any, bool) {
		s.calls += 3 // The setup, the way and the teardown.
		var list any
		if n > 0 {
			values := make([]any, n)
			for i := range values {
				_, ok := first.eval(float64(i), s)
				if ok {
					values[i], ok = second.eval(float64(i), s)
				}
				if !ok {
					panic(fmt.Sprintf("a step of a garden fails: %v", dag))
				}
			}
			list = values
		}
		out, ok := work.eval(map[string]any{"sets" + name: in, "second" + name: list}, s)
		if ok {
			out, ok = taken.eval(map[string]any{"way" + name: []any{float64(2), map[string]any{"work" + name: out}}}, s)
		}
		if !ok {
			s.exact = false
			return nil, false
		}
		all := map[string]any{"taken" + name: out, "left" + name: nil}
		if decides { // It is a step like any other, the only one that no other needs.
			all["sets"+name] = in
			all = map[string]any{"takes" + name: []any{1.0, all}}
		}
		return all, true
	}}
}
