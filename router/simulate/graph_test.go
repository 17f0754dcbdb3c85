package simulate_test

import (
	"fmt"
	"slices"
)

// How a step of a graph has ended; below is that a failure before it kept it from running.
const (
	wentWell = "succeeded"
	wentOut  = "skipped"
	wentDown = "failed"
	below    = "below"
)

var graphRules = []string{
	"all_success", "all_failed", "all_done", "all_done_min_one_success", "all_skipped", "one_success", "one_failed", "one_done", "none_failed", "none_failed_min_one_success",
	"none_skipped", "always",
}

// ruled says what a rule makes of a step whose needs have ended so, by the guide of the dag.
func ruledBy(rule string, ends []string) (how string, early bool) {
	n := map[string]int{}
	for _, e := range ends {
		n[e]++
	}
	bad := n[wentDown] + n[below]
	pick := func(run bool, or string) string {
		if run {
			return wentWell
		}
		return or
	}
	switch rule {
	case "always":
		return wentWell, true
	case "all_failed":
		return pick(bad == len(ends), wentOut), false
	case "all_done":
		return wentWell, false
	case "all_skipped":
		return pick(n[wentOut] == len(ends), wentOut), false
	case "one_success":
		if n[wentOut] == len(ends) {
			return wentOut, true
		}
		return pick(n[wentWell] > 0, below), true
	case "one_failed":
		return pick(bad > 0, wentOut), true
	case "one_done":
		return pick(n[wentWell]+n[wentDown] > 0, wentOut), true
	case "none_failed":
		return pick(bad == 0, below), false
	case "none_failed_min_one_success":
		if bad > 0 {
			return below, false
		}
		return pick(n[wentWell] > 0, wentOut), false
	case "none_skipped":
		return pick(n[wentOut] == 0, wentOut), false
	case "all_done_min_one_success":
		if n[wentOut] > 0 {
			return wentOut, false
		}
		return pick(n[wentWell] > 0, below), false
	}
	if bad > 0 {
		return below, false
	}
	return pick(n[wentOut] == 0, wentOut), false
}

// wordedBy says what the words of needs make of a step.
func wordedBy(words, ends []string) string {
	how := wentWell
	for i, word := range words {
		bad := ends[i] == wentDown || ends[i] == below
		fits := word == "ended" || word == ends[i] || word == "failed" && bad || word == "done" && (ends[i] == wentWell || ends[i] == wentDown)
		switch {
		case fits:
		case bad:
			return below
		default:
			how = wentOut
		}
	}
	return how
}

// A vertex is a step of a graph.
type vertex struct {
	child
	name  string
	needs []int
	words []string // of each need; nil leaves it to the rule
	rule  string
	over  int // elements and one more, of which some fail; 0 is none
	fails func(i int) bool
	skips func(i int) bool
	pairs int // the step whose elements its elements need, and one more; 0 is none
}

// graph is a dag whose steps fail, are skipped and run behind failures, with any end.
func (g *garden) graph(depth int) node {
	n := 2 + g.rng.IntN(5)
	steps, docs, leaf := make([]*vertex, n), make([]any, n), make([]bool, n)
	for i := range steps {
		leaf[i] = true
		v := &vertex{name: g.name("step"), rule: "all_success"}
		keys := map[string]any{"name": v.name}
		if g.rng.IntN(4) == 0 {
			g.inside++
			g.wide(v, keys, steps[:i], leaf)
			g.inside--
		} else {
			v.child = g.child(min(depth, 1))
		}
		g.need(v, keys, i, steps, leaf)
		steps[i], docs[i] = v, g.with(v.node, keys)
	}
	g.rng.Shuffle(n, func(a, b int) { docs[a], docs[b] = docs[b], docs[a] })
	settings := map[string]any{"steps": docs}
	if g.rng.IntN(2) == 0 {
		settings["concurrency"] = 1 + g.rng.IntN(3)
	}
	leaves := 0
	for _, is := range leaf {
		if is {
			leaves++
		}
	}
	var m meeting
	end := []string{"steps", "leaves", "join"}[g.rng.IntN(3)]
	if end == "join" {
		m = g.meeting(settings, leaves, allWords...)
	} else if g.rng.IntN(2) == 0 || end == "leaves" {
		settings["end"] = end
	}
	doc, instead := g.caughtIn(map[string]any{"dag": settings})
	return node{doc: doc, eval: func(in any, s *story) (any, bool) {
		s.exact = false
		ends, first := walk(steps, in, s)
		var keys []string
		var last []ending
		bad, object := first, map[string]any{}
		for i, e := range ends {
			if !leaf[i] {
				continue
			}
			if e.verdict == below {
				e.verdict = wentDown
			}
			bad = bad || end == "leaves" && e.verdict == wentDown
			keys, last = append(keys, steps[i].name), append(last, e)
			object[steps[i].name] = e.value
		}
		if end == "leaves" {
			bad = slices.ContainsFunc(last, func(e ending) bool { return e.verdict == wentDown })
		}
		switch {
		case end == "join":
			value, succeeds, fails := m.decide(last, keys)
			return settle(value, succeeds, fails, instead), true
		case bad:
			return instead, true
		}
		return object, true
	}}
}

// wide makes a step one that runs over numbers, some of which fail; its elements may need those of another one, or those before them.
func (g *garden) wide(v *vertex, keys map[string]any, before []*vertex, leaf []bool) {
	inner, n := g.flow(0), g.rng.IntN(5)
	for at, x := range before {
		if x.over > 0 && g.rng.IntN(2) == 0 {
			v.pairs, n = at+1, x.over-1
		}
	}
	if v.pairs > 0 {
		leaf[v.pairs-1] = false
	}
	v.over = n + 1
	var condition string
	v.fails, v.skips, condition = g.some()
	a := -1
	for i := range 4 {
		if v.fails(i) {
			a = i
		}
	}
	picky := map[string]any{"function": "picky", "input": fmt.Sprintf("${ {'fails': index %% 4 == %d, 'value': input} }", a)}
	doc := map[string]any{"sequence": []any{inner.doc, picky}}
	if condition != "" {
		doc["when"] = condition
	}
	v.node = node{doc: doc, eval: inner.eval}
	keys["over"] = n
	if g.rng.IntN(2) == 0 {
		keys["as"] = g.name("part")
	}
	if g.rng.IntN(2) == 0 {
		keys["window"] = 1 + g.rng.IntN(3)
	}
	if v.pairs > 0 {
		keys["needs"] = map[string]any{before[v.pairs-1].name: "same"}
	}
}

// need gives a step those before it to wait for.
func (g *garden) need(v *vertex, keys map[string]any, i int, steps []*vertex, leaf []bool) {
	if v.pairs > 0 { // Its rule is for its elements.
		v.rule = []string{"all_success", "all_done"}[g.rng.IntN(2)]
		keys["rule"] = v.rule
		return
	}
	for p := range i {
		if g.rng.IntN(2) == 0 {
			v.needs, leaf[p] = append(v.needs, p), false
		}
	}
	switch {
	case v.needs == nil:
	case g.rng.IntN(3) == 0:
		needs := map[string]any{}
		for _, p := range v.needs {
			word := []string{"succeeded", "failed", "skipped", "done", "ended", "ended"}[g.rng.IntN(6)]
			v.words = append(v.words, word)
			needs[steps[p].name] = word
		}
		keys["needs"] = needs
	default:
		var names []any
		for _, p := range v.needs {
			names = append(names, steps[p].name)
		}
		v.rule = graphRules[g.rng.IntN(len(graphRules))]
		if v.over > 0 && v.rule == "always" { // It would not see what to run over.
			v.rule = "all_done"
		}
		keys["needs"], keys["rule"] = names, v.rule
		if len(names) == 1 && g.rng.IntN(2) == 0 {
			keys["needs"] = names[0]
		}
	}
}

// walk says how each step ends, and whether one failed.
func walk(steps []*vertex, in any, s *story) (ends []ending, failed bool) {
	ends = make([]ending, len(steps))
	elements := make([][]string, len(steps))
	for i, v := range steps {
		var of []string
		slow := false
		for _, p := range v.needs {
			of = append(of, ends[p].verdict)
			slow = slow || ends[p].slow
		}
		how, early := wentWell, false
		switch {
		case v.words != nil:
			how = wordedBy(v.words, of)
		case v.needs != nil:
			how, early = ruledBy(v.rule, of)
		}
		e := ending{verdict: how, slow: slow}
		if how == wentWell {
			given := in
			if v.needs != nil {
				object := map[string]any{}
				for _, p := range v.needs {
					value := ends[p].value
					if ends[p].verdict == wentDown || ends[p].verdict == below {
						value = map[string]any{"error": anError{}}
					}
					if early {
						value = either{value, nil}
					}
					object[steps[p].name] = value
				}
				given = object
			}
			if v.over > 0 {
				elements[i], e = v.elements(elements, ends, s)
				e.slow = e.slow || slow
			} else {
				e = v.end(given, s)
				e.slow = e.slow || slow
			}
		}
		failed = failed || e.verdict == wentDown
		ends[i] = e
	}
	return ends, failed
}

// elements says how the elements of a step end, and the step by them.
func (v *vertex) elements(all [][]string, ends []ending, s *story) (own []string, e ending) {
	n := v.over - 1
	var values []any
	counts := map[string]int{}
	for i := range n {
		how := wentWell
		if v.pairs > 0 {
			e.slow = e.slow || ends[v.pairs-1].slow
			if other := all[v.pairs-1]; other != nil {
				how, _ = ruledBy(v.rule, []string{other[i]})
			} else {
				how, _ = ruledBy(v.rule, []string{ends[v.pairs-1].verdict}) // It ended as a whole.
			}
		}
		var value any
		switch {
		case how != wentWell:
		case v.skips(i):
			how = wentOut
		default:
			var ok bool
			if value, ok = v.eval(float64(i), s); !ok || v.fails(i) {
				how, value = wentDown, nil
			}
		}
		own, values = append(own, how), append(values, value)
		counts[how]++
	}
	switch {
	case counts[wentDown] > 0:
		e.verdict = wentDown
	case counts[below] > 0:
		e.verdict = below
	case counts[wentWell] > 0:
		e.verdict, e.value = wentWell, values
	default:
		e.verdict = wentOut
	}
	return own, e
}
