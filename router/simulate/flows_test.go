package simulate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
)

// A node is a piece of a flow beside what it is to yield: the oracle knows the documented meaning of steps, and nothing of the engine.
type node struct {
	doc  map[string]any
	eval func(in any, s *story) (out any, ok bool)
}

// A story is what an evaluation goes through.
type story struct {
	data    any
	signals map[string]any // by name
	calls   int            // functions that are called, retries not counted
	cancel  bool           // somebody asks for the end of the run
	reached map[string]int // settings that were come to
	exact   bool           // false: a failure cancels what ran beside it, so that how many are called is up to chance
}

// anError stands in an expected value for any error.
type anError struct{}

// A garden grows flows.
type garden struct {
	settings  settings
	own       map[uintptr]bool // documents of steps that are counted by themselves
	keep      []map[string]any // so that no other has the address of one
	rng       *rand.Rand
	names     int
	story     *story
	inside    int              // of maps, whose children would all wait for one signal
	subs      []map[string]any // flows of triggers that steps start runs of
	flows     []body           // flows with names
	gathering *gathering       // how events come together to a run; nil: each is one
	below     int              // how many runs the flow that grows is away from the first
}

func (g *garden) name(kind string) string {
	g.names++
	return fmt.Sprintf("%s%d", kind, g.names)
}

// flow returns a random step, at most depth policies deep.
func (g *garden) flow(depth int) node {
	kinds, leaves := g.kinds()
	if depth > 0 && g.rng.IntN(5) > 0 {
		return g.seen(kinds[g.rng.IntN(len(kinds))](depth - 1))
	}
	if g.inside > 0 {
		leaves = leaves[:len(leaves)-2]
	}
	return g.seen(leaves[g.rng.IntN(len(leaves))]())
}

// kinds are those of policies, and those of steps without any; of them the last two wait for signals.
func (g *garden) kinds() (kinds []func(int) node, leaves []func() node) {
	kinds = []func(int) node{g.sequence, g.forkjoin, g.mapping, g.dag, g.weave, g.choice, g.caught, g.tidied, g.raced, g.looped, g.undone, g.started, g.cleaned, g.picked, g.pages, g.grouped, g.joined,
		g.met, g.met, g.crowd, g.crowd, g.loaded, g.hurried, g.named, g.loose, g.graph, g.graph}
	leaves = []func() node{g.function, g.function, g.function, g.flaky, g.slow, g.more, g.wait, g.passed, g.ruled, g.until, g.patient, g.beating, g.signal, g.signals}
	return kinds, leaves
}

// function calls one of three that answer with a pair of their number and their input.
func (g *garden) function() node {
	k := g.rng.IntN(3)
	n := node{doc: map[string]any{"function": fmt.Sprint("f", k)}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return []any{float64(k), in}, true
	}}
	if g.rng.IntN(4) == 0 {
		inner := n.eval
		n.doc["output"] = "${ {'out': output} }"
		n.eval = func(in any, s *story) (any, bool) {
			out, _ := inner(in, s)
			return map[string]any{"out": out}, true
		}
	}
	return n
}

// flaky fails twice before it answers.
func (g *garden) flaky() node {
	return node{doc: map[string]any{"function": "flaky"}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return in, true
	}}
}

// slow takes long, and says all the while that it is at work.
func (g *garden) slow() node {
	return node{doc: map[string]any{"function": "slow"}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return in, true
	}}
}

// started is a run of another trigger, with the same data. What it calls is its own.
func (g *garden) started(depth int) node {
	if g.below == 2 || len(g.subs) == 4 {
		return g.function()
	}
	g.inside++ // It has signals of its own, which nobody sends.
	g.below++
	flow := g.flow(depth)
	g.inside--
	g.below--
	if g.rng.IntN(3) == 0 {
		flow = g.ended(flow)
	}
	trigger := fmt.Sprint("sub", len(g.subs))
	g.subs = append(g.subs, flow.doc)
	return node{doc: map[string]any{"subrun": trigger, "input": "${ data }"}, eval: func(_ any, s *story) (any, bool) {
		own := *s
		return flow.eval(s.data, &own)
	}}
}

// more runs out of time once, and goes on with its state.
func (g *garden) more() node {
	return node{doc: map[string]any{"function": "more"}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return in, true
	}}
}

func (g *garden) wait() node {
	return node{doc: map[string]any{"wait": fmt.Sprintf("%ds", 1+g.rng.IntN(90))}, eval: func(in any, _ *story) (any, bool) { return in, true }}
}

func (g *garden) signal() node {
	name := g.name("signal")
	g.story.signals[name] = float64(g.rng.IntN(100))
	return node{doc: map[string]any{"signal": name}, eval: func(_ any, s *story) (any, bool) { return s.signals[name], true }}
}

// failing is a step that fails, each time.
func (g *garden) failing(depth int) node { return g.seen(g.fails(depth)) }

func (g *garden) fails(depth int) node {
	switch g.rng.IntN(7) {
	case 5, 6:
		return g.hopeless(depth)
	case 4:
		return node{doc: map[string]any{"fail": map[string]any{"type": "sold_out", "message": "${ size(data) } are left", "data": "${ data }"}}, eval: func(any, *story) (any, bool) { return nil, false }}
	case 0:
		return node{doc: map[string]any{"wait": "1h", "deadline": "5s"}, eval: func(any, *story) (any, bool) { return nil, false }}
	case 1:
		return node{doc: map[string]any{"sequence": []any{map[string]any{"wait": "1h"}}, "timeout": "5s"}, eval: func(any, *story) (any, bool) { return nil, false }}
	case 2:
		inner := g.flow(depth)
		return node{doc: map[string]any{"sequence": []any{inner.doc, map[string]any{"function": "boom"}}}, eval: func(in any, s *story) (any, bool) {
			if _, ok := inner.eval(in, s); ok {
				s.calls++
			}
			return nil, false
		}}
	}
	return node{doc: map[string]any{"function": "boom"}, eval: func(_ any, s *story) (any, bool) {
		s.calls++
		return nil, false
	}}
}

// caught is a failing step with a handler.
func (g *garden) caught(depth int) node {
	inner, handler := g.failing(depth), g.flow(depth)
	inner.doc["catch"] = []any{
		map[string]any{"when": "${ error.type == 'none' }", "do": map[string]any{"function": "boom"}}, map[string]any{"errors": []any{"none"}, "do": map[string]any{"function": "boom"}},
		map[string]any{"as": g.name("failure"), "do": handler.doc},
	}
	return node{doc: inner.doc, eval: func(in any, s *story) (any, bool) {
		inner.eval(in, s)
		return handler.eval(in, s)
	}}
}

// tidied is a step behind which another is called in any case: check holds the two against each other.
func (g *garden) tidied(depth int) node {
	inner, name := g.flow(depth), g.name("")
	do := map[string]any{"name": "do" + name, "sequence": []any{map[string]any{"name": "opens" + name, "function": "f0", "output": "${ input }"}, inner.doc}}
	after := map[string]any{"name": "closes" + name, "function": "f1"}
	return node{doc: map[string]any{"tidy": map[string]any{"do": do, "after": after}}, eval: func(in any, s *story) (any, bool) {
		s.calls += 2
		return inner.eval(in, s)
	}}
}

// looped is a step in rounds, with pauses or without.
func (g *garden) looped(depth int) node {
	g.inside++
	inner, n := g.flow(depth), 1+g.rng.IntN(4)
	g.inside--
	settings := map[string]any{"do": inner.doc, "times": n}
	if g.rng.IntN(2) == 0 {
		did := g.name("did")
		settings = map[string]any{
			"do": inner.doc, "until": fmt.Sprintf("${ %s == %d }", did, n), "max": n + g.rng.IntN(2), "onMax": "take", "state": map[string]any{did: 0}, "next": map[string]any{did: "${ " + did + " + 1 }"},
		}
	}
	if g.rng.IntN(2) == 0 {
		settings["pause"] = fmt.Sprintf("%ds", 1+g.rng.IntN(60))
	}
	return node{doc: map[string]any{"loop": settings}, eval: func(in any, s *story) (any, bool) {
		out, ok := in, true
		for i := 0; i < n && ok; i++ {
			out, ok = inner.eval(out, s)
		}
		return out, ok
	}}
}

// undone is a saga whose last step fails: all before it are called, and so are their undos.
func (g *garden) undone(depth int) node {
	g.inside++ // A twin of what has taken a signal and failed would wait for another.
	inner := g.failing(depth)
	g.inside--
	handler := g.flow(depth)
	steps := make([]any, 1+g.rng.IntN(3))
	for i := range steps {
		steps[i] = map[string]any{"function": "f0", "output": "${ input }", "undo": map[string]any{"function": "flaky"}}
	}
	doc := map[string]any{"saga": append(steps, inner.doc), "catch": []any{map[string]any{"do": handler.doc}}}
	return node{doc: doc, eval: func(in any, s *story) (any, bool) {
		s.calls += 2 * len(steps)
		inner.eval(in, s)
		return handler.eval(in, s)
	}}
}

// raced is a step with a twin after a while, or beside one that fails and is left alone.
func (g *garden) raced(depth int) node {
	g.inside++ // Of two twins one would take a signal, and the other wait for it.
	inner := g.flow(depth)
	g.inside--
	of := []any{inner.doc}
	settings := map[string]any{"twin": fmt.Sprintf("%ds", 1+g.rng.IntN(30))}
	if g.rng.IntN(2) == 0 {
		of = append(of, g.failing(depth).doc)
		g.story.exact = false
		settings["let"] = g.rng.IntN(2) == 0
	}
	settings["of"] = of
	return node{doc: map[string]any{"racer": settings}, eval: inner.eval}
}

func (g *garden) sequence(depth int) node {
	steps := make([]node, 1+g.rng.IntN(4))
	docs := make([]any, len(steps))
	for i := range steps {
		steps[i] = g.flow(depth)
		if g.rng.IntN(8) == 0 {
			inner := steps[i]
			inner.doc["when"] = "${ size(data) > 1000 }"
			steps[i].eval = func(in any, _ *story) (any, bool) { return in, true } // A skipped step passes on what it was given.
		}
		docs[i] = steps[i].doc
	}
	return node{doc: map[string]any{"sequence": docs}, eval: func(in any, s *story) (any, bool) {
		for _, step := range steps {
			var ok bool
			if in, ok = step.eval(in, s); !ok {
				return nil, false
			}
		}
		return in, true
	}}
}

func (g *garden) forkjoin(depth int) node {
	n, settled, named := 1+g.rng.IntN(4), g.rng.IntN(3) == 0, g.rng.IntN(2) == 0
	branches := make([]node, n)
	list, names := make([]any, n), make(map[string]any, n)
	keys := make([]string, n)
	for i := range branches {
		if branches[i] = g.flow(depth); settled && g.rng.IntN(3) == 0 {
			branches[i] = g.failing(depth)
		}
		keys[i] = fmt.Sprint("b", i)
		list[i], names[keys[i]] = branches[i].doc, branches[i].doc
	}
	settings := map[string]any{"branches": list}
	if named {
		settings["branches"] = names
	}
	if settled {
		settings["join"] = "settled"
	}
	return node{doc: map[string]any{"forkjoin": settings}, eval: func(in any, s *story) (any, bool) {
		values, object, good := make([]any, n), make(map[string]any, n), true
		for i, b := range branches {
			v, ok := b.eval(in, s)
			switch {
			case settled && ok:
				v = map[string]any{"outcome": "succeeded", "value": v}
			case settled:
				v = map[string]any{"outcome": "failed", "error": anError{}}
			}
			good = good && (ok || settled)
			values[i], object[keys[i]] = v, v
		}
		if !good {
			s.exact = false
			return nil, false
		}
		if named {
			return object, true
		}
		return values, true
	}}
}

func (g *garden) mapping(depth int) node {
	g.inside++
	child, n := g.flow(min(depth, 1)), g.rng.IntN(9)
	g.inside--
	settings := map[string]any{"items": n, "do": child.doc}
	list := g.rng.IntN(2) == 0
	if list {
		settings["items"] = "${ data }"
	}
	if g.rng.IntN(2) == 0 {
		settings["window"] = 1 + g.rng.IntN(4)
	}
	results := []string{"list", "list", "count", "none"}[g.rng.IntN(4)]
	settings["results"] = results
	return node{doc: map[string]any{"map": settings}, eval: func(_ any, s *story) (any, bool) {
		items := make([]any, n)
		for i := range items {
			items[i] = float64(i)
		}
		if list {
			items = s.data.([]any)
		}
		values := make([]any, len(items))
		for i, item := range items {
			v, ok := child.eval(item, s)
			if !ok {
				s.exact = false
				return nil, false
			}
			values[i] = v
		}
		switch results {
		case "count":
			return map[string]any{"succeeded": float64(len(items)), "failed": 0.0, "skipped": 0.0}, true
		case "none":
			return nil, true
		}
		return values, true
	}}
}

func (g *garden) dag(depth int) node {
	n := 2 + g.rng.IntN(5)
	steps, names, needs := make([]node, n), make([]string, n), make([][]int, n)
	docs, leaf := make([]any, n), make([]bool, n)
	rules := []string{"all_success", "all_done", "none_failed", "none_failed_min_one_success", "none_skipped", "all_done_min_one_success"} // All run behind successes.
	for i := range steps {
		steps[i], names[i], leaf[i] = g.flow(min(depth, 1)), g.name("step"), true
		var words []string
		for p := range i {
			if g.rng.IntN(3) == 0 {
				needs[i], words, leaf[p] = append(needs[i], p), append(words, names[p]), false
			}
		}
		doc := g.with(steps[i], map[string]any{"name": names[i]})
		if words != nil {
			doc["needs"], doc["rule"] = words, rules[g.rng.IntN(len(rules))]
		}
		docs[i] = doc
	}
	return node{doc: map[string]any{"dag": docs}, eval: func(in any, s *story) (any, bool) {
		out, object := make([]any, n), make(map[string]any)
		for i, step := range steps {
			input := in
			if needs[i] != nil {
				given := make(map[string]any)
				for _, p := range needs[i] {
					given[names[p]] = out[p]
				}
				input = given
			}
			v, ok := step.eval(input, s)
			if !ok {
				s.exact = false
				return nil, false
			}
			out[i] = v
			if leaf[i] {
				object[names[i]] = v
			}
		}
		return object, true
	}}
}

func (g *garden) choice(depth int) node {
	a, b := g.flow(depth), g.flow(depth)
	at := g.rng.IntN(10)
	first := g.with(a, map[string]any{"if": fmt.Sprintf("${ size(data) > %d }", at)})
	return node{doc: map[string]any{"choice": map[string]any{"cases": []any{first}, "else": b.doc}}, eval: func(in any, s *story) (any, bool) {
		if len(s.data.([]any)) > at {
			return a.eval(in, s)
		}
		return b.eval(in, s)
	}}
}

// document puts a flow into a document whose functions are the garden's.
func document(t testing.TB, flow map[string]any, g *garden) string {
	t.Helper()
	text, err := json.Marshal(flow)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("version: 1\nfunctions:\n")
	for _, f := range []string{"f0", "f1", "f2", "flaky", "more", "slow", "boom", "long", "mute", "picky", "mend"} {
		retry := ", retry: { attempts: 50, backoff: 1s, max: 10s }"
		if f == "picky" || f == "mend" {
			retry = ", retry: { attempts: 50, backoff: 1s, max: 10s, never: [boom] }"
		}
		if f == "boom" {
			retry = ""
		}
		if f == "f0" || f == "f2" || f == "more" {
			retry += ", cancel: true"
		}
		bound := "timeout: 20s"
		if f == "slow" {
			bound = "heartbeat: 4s"
		}
		if f == "long" {
			bound = "timeout: 0s"
		}
		fmt.Fprintf(&b, "  %s: { http: { url: \"http://127.0.0.1:1/\" }, %s%s }\n", f, bound, retry)
	}
	if len(g.flows) > 0 {
		b.WriteString("flows:\n")
	}
	for i, flow := range g.flows {
		text, err := json.Marshal(flow.doc)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  flow%d: %s\n", i, text)
	}
	b.WriteString("triggers:\n  next: { onSuccess: { name: told, log: next } }\n")
	for i, sub := range g.subs {
		text, err := json.Marshal(sub)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  sub%d: { filters: [{ exact: { type: nothing } }], flow: %s }\n", i, text)
	}
	const destinations = "[{ name: flaky, log: done, %s, retry: { attempts: 4, backoff: 1s } }, { name: hopeless, log: never, retry: { attempts: 2, backoff: 1s } }, { trigger: next }]"
	well, badly := fmt.Sprintf(destinations, `event: { type: com.example.done, tries: "${ end.attempts }" }`), fmt.Sprintf(destinations, "format: aws")
	fmt.Fprintf(&b, "  t:\n    onSuccess: %s\n    onFailure: %s\n    flow: %s\n", well, badly, text)
	if g.gathering != nil {
		for _, key := range slices.Sorted(maps.Keys(g.gathering.keys)) {
			fmt.Fprintf(&b, "    %s: %s\n", key, lang.Of(g.gathering.keys[key]).JSON())
		}
	}
	return b.String()
}

// answer is what the garden's functions do.
func answer(inv *engine.Invocation) lang.Outcome {
	switch {
	case inv.Function == "boom", inv.Function == "flaky" && inv.Attempt <= 2, inv.Function == "mend" && inv.Redrive == 0:
		return lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
	case inv.Function == "picky":
		var asked struct {
			Fails bool
			Value json.RawMessage
		}
		if err := inv.Input.Decode(&asked); err != nil {
			panic(err)
		}
		if asked.Fails {
			return lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
		}
		return lang.Success(lang.Trusted(string(asked.Value)))
	case inv.Function == "flaky", inv.Function == "slow", inv.Function == "long", inv.Function == "mute", inv.Function == "mend":
		return lang.Success(inv.Input)
	case inv.Function == "more":
		if state, goesOn := strings.CutPrefix(inv.Input.JSON(), `{"state":`); goesOn {
			return lang.Success(lang.Trusted(strings.TrimSuffix(state, "}")))
		}
		return lang.Outcome{Verdict: lang.Continue, Value: lang.Object(lang.Member{Key: "state", Value: inv.Input})}
	}
	return lang.Success(lang.List(lang.Trusted(inv.Function[1:]), inv.Input))
}

// same compares what a run yielded with what it was to yield.
func same(got, want any) bool {
	switch want := want.(type) {
	case expectation:
		return want.met(got)
	case anError:
		object, ok := got.(map[string]any)
		return ok && object["type"] != nil && object["path"] != nil
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		for i := range want {
			if !same(list[i], want[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			return false
		}
		for k := range want {
			if v, ok := object[k]; !ok || !same(v, want[k]) {
				return false
			}
		}
		return true
	}
	return got == want
}
