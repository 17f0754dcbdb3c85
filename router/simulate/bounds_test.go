package simulate_test

import (
	"fmt"
	"strings"
)

// hurried is a step that may not be done by its deadline, or within the time of its tries, and then another value is taken.
func (g *garden) hurried(depth int) node {
	inner, short := g.flow(depth), g.rng.IntN(4) > 0
	bound := "1000h"
	if short {
		bound = fmt.Sprintf("%ds", 1+g.rng.IntN(90))
	}
	if g.rng.IntN(4) == 0 {
		bound = "${ '" + bound + "' }"
	}
	step := map[string]any{"sequence": []any{inner.doc}}
	if g.rng.IntN(2) == 0 {
		step["deadline"] = bound
	} else {
		step["timeout"], step["retry"] = bound, map[string]any{"attempts": 1 + g.rng.IntN(3), "backoff": "3s", "factor": 1.5, "jitter": 0.5, "on": []any{"timeout"}}
	}
	doc, instead := g.caughtIn(step)
	return node{doc: doc, eval: func(in any, s *story) (any, bool) {
		out, ok := inner.eval(in, s)
		if !ok || !short {
			return out, ok
		}
		s.exact = false
		return either{out, instead}, true
	}}
}

// patient is a function that answers no sooner than the third try, within a step that may have to be tried again by then.
func (g *garden) patient() node {
	doc := map[string]any{"function": "mute", "timeout": "4s"}
	if g.rng.IntN(2) == 0 {
		doc = map[string]any{"sequence": []any{doc}, "timeout": "30s", "retry": map[string]any{"attempts": 40, "backoff": "1s", "max": "5s"}}
	}
	return node{doc: doc, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return in, true
	}}
}

// beating is a step that asks for heartbeats itself.
func (g *garden) beating() node {
	bound := any("4s")
	if g.rng.IntN(3) == 0 {
		bound = "${ size(data) > 1000 ? '1s' : '4s' }"
	}
	return node{doc: map[string]any{"function": "long", "heartbeat": bound}, eval: func(in any, s *story) (any, bool) {
		s.calls++
		return in, true
	}}
}

// named is a step that is written elsewhere, and may be in other places too.
func (g *garden) named(depth int) node {
	if n := len(g.flows); n > 0 && g.rng.IntN(3) == 0 {
		at := g.rng.IntN(n)
		if g.flows[at].often {
			return node{doc: map[string]any{"flow": fmt.Sprint("flow", at)}, eval: g.flows[at].eval}
		}
	}
	inner := g.flow(depth)
	text := fmt.Sprint(inner.doc)
	at := len(g.flows)
	// A signal comes once, and a step has its name once in a trigger.
	g.flows = append(g.flows, body{inner, !strings.Contains(text, "signal") && !strings.Contains(text, "name:") && !strings.Contains(text, "subrun") && !strings.Contains(text, "as:")})
	return node{doc: map[string]any{"flow": fmt.Sprint("flow", at)}, eval: inner.eval}
}

// A body is a flow with a name.
type body struct {
	node
	often bool // it may be used more than once
}

// loose is a run of another trigger that nobody waits for.
func (g *garden) loose(depth int) node {
	n := g.started(depth)
	trigger, ok := n.doc["subrun"].(string)
	if !ok {
		return n
	}
	return node{doc: map[string]any{"subrun": map[string]any{"trigger": trigger, "wait": false}, "input": "${ data }"}, eval: func(_ any, s *story) (any, bool) {
		own := *s
		n.eval(s.data, &own)
		return aRun{}, true
	}}
}

// hopeless is a step that fails since too few of its children do, or not soon enough.
func (g *garden) hopeless(depth int) node {
	fails := func(any, *story) (any, bool) { return nil, false }
	boom := map[string]any{"function": "boom"}
	hour := map[string]any{"wait": "1h"}
	one := g.flow(depth)
	var doc map[string]any
	switch g.rng.IntN(8) {
	case 0:
		doc = map[string]any{"forkjoin": map[string]any{"branches": []any{boom, map[string]any{"function": "boom"}}, "join": "any"}}
	case 1:
		doc = map[string]any{"forkjoin": map[string]any{"branches": []any{one.doc, boom}, "join": map[string]any{"atLeast": 2}}}
	case 2:
		doc = map[string]any{"map": map[string]any{"items": 4, "do": boom, "tolerate": map[string]any{"count": 3, "percent": 50}}}
	case 3:
		doc = map[string]any{"forkjoin": map[string]any{"branches": []any{one.doc, hour}, "join": map[string]any{"for": "settled", "deadline": "5s", "losers": "run"}}}
	case 4:
		doc = map[string]any{"map": map[string]any{"items": 3, "do": hour, "join": map[string]any{"percent": 30, "deadline": "5s", "onDeadline": "fail"}}}
	case 5:
		doc = map[string]any{"function": "mute", "timeout": "3s", "retry": map[string]any{"attempts": 2, "backoff": "1s"}}
	case 6:
		doc = map[string]any{"loop": map[string]any{"do": map[string]any{"function": "f0"}, "until": "${ size(data) > 1000 }", "max": 2, "onMax": "fail"}}
	case 7:
		name := g.name("step")
		doc = map[string]any{"dag": map[string]any{"end": "leaves", "steps": []any{map[string]any{"name": name, "function": "boom"}, g.with(one, map[string]any{"name": g.name("step"), "needs": name})}}}
	}
	return node{doc: doc, eval: func(in any, s *story) (any, bool) {
		s.exact = false
		return fails(in, s)
	}}
}
