package simulate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// passed yields a constant, or its input.
func (g *garden) passed() node {
	if g.rng.IntN(2) == 0 {
		return node{doc: map[string]any{"pass": map[string]any{}}, eval: func(in any, _ *story) (any, bool) { return in, true }}
	}
	k := g.rng.IntN(100)
	return node{doc: map[string]any{"pass": map[string]any{"value": map[string]any{"is": k}}}, eval: func(any, *story) (any, bool) {
		return map[string]any{"is": float64(k)}, true
	}}
}

// ruled fails twice by one of its rules, and when its platform fails by another.
func (g *garden) ruled() node {
	n := g.flaky()
	n.doc["retry"] = []any{
		map[string]any{"attempts": 60, "backoff": "1s", "max": "10s", "never": []any{"boom"}},
		map[string]any{"attempts": 3, "backoff": "${ error.type == 'boom' ? '2s' : '1h' }", "on": []any{"boom"}},
	}
	return n
}

// until waits for a time, which may have passed.
func (g *garden) until() node {
	at := fmt.Sprintf("2030-01-01T00:%02d:00Z", g.rng.IntN(5))
	return node{doc: map[string]any{"wait": map[string]any{"until": at}}, eval: func(in any, _ *story) (any, bool) { return in, true }}
}

// signals waits for any of two, of which one comes, or takes it that none does.
func (g *garden) signals() node {
	name, other := g.name("signal"), g.name("none")
	if g.rng.IntN(3) == 0 {
		return node{doc: map[string]any{"signal": map[string]any{"any": []any{other}, "fails": []any{name}, "within": "20s", "onTimeout": "take"}}, eval: func(any, *story) (any, bool) {
			return map[string]any{"name": nil, "data": nil}, true
		}}
	}
	g.story.signals[name] = float64(g.rng.IntN(100))
	return node{doc: map[string]any{"signal": map[string]any{"any": []any{other, name}}}, eval: func(_ any, s *story) (any, bool) {
		return map[string]any{"name": name, "data": s.signals[name]}, true
	}}
}

// cleaned is a step behind which a function is called in any case.
func (g *garden) cleaned(depth int) node {
	inner := g.flow(depth)
	return node{doc: map[string]any{"finally": map[string]any{"do": inner.doc, "always": map[string]any{"function": "f2"}}}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return inner.eval(in, s)
	}}
}

// picked is one of two by name.
func (g *garden) picked(depth int) node {
	a, b, at := g.flow(depth), g.flow(depth), g.rng.IntN(10)
	of := map[string]any{"pick": fmt.Sprintf("${ size(data) > %d ? 'a' : 'b' }", at), "of": map[string]any{"a": a.doc, "b": b.doc}}
	return node{doc: map[string]any{"among": of}, eval: func(in any, s *story) (any, bool) {
		if len(s.data.([]any)) > at {
			return a.eval(in, s)
		}
		return b.eval(in, s)
	}}
}

// pages is a loop that goes on while it is to, and keeps what its rounds yield.
func (g *garden) pages(depth int) node {
	g.inside++
	inner, n, did := g.flow(min(depth, 1)), g.rng.IntN(4), g.name("did")
	g.inside--
	settings := map[string]any{
		"do": inner.doc, "while": fmt.Sprintf("${ %s < %d }", did, n), "max": n + 1, "state": map[string]any{did: 0}, "next": map[string]any{did: "${ " + did + " + 1 }"}, "collect": true,
	}
	return node{doc: map[string]any{"loop": settings}, eval: func(in any, s *story) (any, bool) {
		all, ok := make([]any, n), true
		for i := range all {
			if in, ok = inner.eval(in, s); !ok {
				return nil, false
			}
			all[i] = in
		}
		return all, true
	}}
}

// grouped is a map whose results are brought together by what is left of their items over two.
func (g *garden) grouped(depth int) node {
	g.inside++
	child, n := g.flow(min(depth, 1)), g.rng.IntN(6)
	g.inside--
	settings := map[string]any{"items": n, "do": child.doc, "groupBy": "${ item % 2 }", "reduce": map[string]any{"pass": map[string]any{}}}
	return node{doc: map[string]any{"map": settings}, eval: func(_ any, s *story) (any, bool) {
		groups := make([]any, min(n, 2))
		for i := range n {
			v, ok := child.eval(float64(i), s)
			if !ok {
				s.exact = false
				return nil, false
			}
			group, _ := groups[i%2].([]any)
			groups[i%2] = append(group, v)
		}
		return groups, true
	}}
}

// joined is a map, in batches or not, with a join that is enough with all, or that bears failures, and with second tries. What its children call is little:
// a batch is in what they yield, and the next step passes that on.
func (g *garden) joined(depth int) node {
	g.inside++
	child, n, batch := g.flow(min(depth, 1)), 1+g.rng.IntN(5), 1+g.rng.IntN(3)
	g.inside--
	settings := map[string]any{"items": n, "do": child.doc}
	if batch > 1 {
		settings["batch"] = map[string]any{"size": batch}
	}
	children := (n + batch - 1) / batch
	switch g.rng.IntN(4) {
	case 0:
		settings["join"] = map[string]any{"percent": 100, "losers": "run", "deadline": "100h"}
	case 1:
		settings["join"] = map[string]any{"atLeast": children}
	case 2:
		settings["join"] = map[string]any{"until": "${ succeeded == total }"}
	default:
		settings["tolerate"] = map[string]any{"count": 0}
	}
	if all, _ := json.Marshal(settings); g.rng.IntN(2) == 0 && !strings.Contains(string(all), `"signal"`) { // A twin would wait for a signal of its own.
		settings["speculate"] = map[string]any{"after": fmt.Sprintf("%ds", 1+g.rng.IntN(30)), "max": 1 + g.rng.IntN(2)}
		g.story.exact = false
	}
	return node{doc: map[string]any{"map": settings}, eval: func(_ any, s *story) (any, bool) {
		var items []any
		for i := range n {
			items = append(items, float64(i))
		}
		if batch > 1 {
			var batches []any
			for part := range slices.Chunk(items, batch) {
				batches = append(batches, map[string]any{"items": part})
			}
			items = batches
		}
		values := make([]any, len(items))
		for i, item := range items {
			v, ok := child.eval(item, s)
			if !ok {
				s.exact = false
				return nil, false
			}
			values[i] = map[string]any{"outcome": "succeeded", "value": v}
		}
		return values, true
	}}
}

// ended is a flow that ends its run early: of a run that a step has started, so that the others can be told.
func (g *garden) ended(flow node) node {
	k := g.rng.IntN(100)
	steps := []any{flow.doc, map[string]any{"end": map[string]any{"value": k}, "when": "${ size(data) < 1000 }"}, map[string]any{"function": "boom"}}
	return g.seen(node{doc: map[string]any{"sequence": steps}, eval: func(in any, s *story) (any, bool) {
		if _, ok := flow.eval(in, s); !ok {
			return nil, false
		}
		return float64(k), true
	}})
}
