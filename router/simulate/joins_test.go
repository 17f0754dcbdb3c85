package simulate_test

import (
	"fmt"
	"math"
)

// An expectation is an expected value that more than one value may be.
type expectation interface{ met(got any) bool }

// either is a value that one of several stands for, as chance has it.
type either []any

func (e either) met(got any) bool {
	for _, want := range e {
		if same(got, want) {
			return true
		}
	}
	return false
}

// aRun stands for what a run yields that nobody waits for.
type aRun struct{}

func (aRun) met(got any) bool {
	object, ok := got.(map[string]any)
	id, isText := object["run"].(string)
	return ok && len(object) == 1 && isText && len(id) == 26
}

// An ending is how a child of a policy ends, unless it is stopped.
type ending struct {
	verdict string // succeeded, failed or skipped
	value   any
	slow    bool // not within an hour
}

// told is how it is told where a join tells.
func (e ending) told() any {
	switch e.verdict {
	case "succeeded":
		return map[string]any{"outcome": e.verdict, "value": e.value}
	case "failed":
		return map[string]any{"outcome": e.verdict, "error": anError{}}
	}
	return map[string]any{"outcome": e.verdict}
}

// A meeting is a join as the guide says it: what it is enough with, and until when.
type meeting struct {
	word        string // all, settled, any, atLeast, percent, until, untilFailed or tolerate
	need        int    // how many have to succeed, or, with untilFailed, to fail; with tolerate, how many may fail
	short, take bool   // its deadline may pass; then it takes what there is
	run         bool   // losers are left to run
}

// meeting returns a random join of n children, which is put into settings.
func (g *garden) meeting(settings map[string]any, n int, words ...string) meeting {
	m := meeting{word: words[g.rng.IntN(len(words))], need: 1 + g.rng.IntN(n)}
	join := map[string]any{}
	switch m.word {
	case "atLeast":
		join["atLeast"] = m.need
	case "percent":
		percent := 1 + g.rng.IntN(100)
		join["percent"], m.need = percent, int(math.Ceil(float64(percent*n)/100))
	case "until":
		join["until"] = fmt.Sprintf("${ succeeded >= %d && failed + skipped + succeeded <= total }", m.need)
	case "untilFailed":
		join["until"] = fmt.Sprintf("${ failed >= %d }", m.need)
	case "tolerate":
		m.need = g.rng.IntN(min(n, 2))
		tolerate := map[string]any{"count": m.need}
		switch g.rng.IntN(3) {
		case 0: // One that is not reached.
			tolerate["percent"] = 100
		case 1:
			tolerate = map[string]any{"percent": math.Min(100, math.Ceil(float64(m.need)*100/float64(n)))}
		}
		settings["tolerate"] = tolerate
	default:
		join["for"] = m.word
	}
	switch g.rng.IntN(4) {
	case 0:
		join["deadline"] = "1000h"
		m.take = g.rng.IntN(2) == 0
	case 1:
		m.short, m.take = true, g.rng.IntN(2) == 0
		join["deadline"] = fmt.Sprintf("%ds", 1+g.rng.IntN(90))
	}
	if join["deadline"] != nil {
		if m.take {
			join["onDeadline"] = "take"
		} else if g.rng.IntN(2) == 0 {
			join["onDeadline"] = "fail"
		}
	}
	if m.run = g.rng.IntN(3) == 0; m.run {
		join["losers"] = "run"
	}
	if len(join) > 0 {
		settings["join"] = join
	}
	return m
}

// tells reports whether it yields how each child ended.
func (m meeting) tells() bool { return m.word != "any" && (m.word != "all" || m.take) }

// early reports whether it may be enough while children are at work.
func (m meeting) early() bool {
	return m.word != "all" && m.word != "settled" && m.word != "tolerate" || m.take
}

// reached says, of children of which some may be slow, whether the join can be enough, and whether it can fail, by their endings alone.
func (m meeting) reached(children []ending) (enough, fails bool) {
	var succeeded, failed, skipped, slow int
	for _, c := range children {
		switch {
		case c.slow && m.short:
			slow++
		case c.verdict == "succeeded":
			succeeded++
		case c.verdict == "failed":
			failed++
		default:
			skipped++
		}
	}
	all := slow == 0
	switch m.word {
	case "all":
		return all && failed == 0, failed > 0
	case "settled":
		return all, false
	case "tolerate":
		return all && failed <= m.need, failed > m.need
	case "untilFailed":
		return failed >= m.need, all && failed < m.need
	case "until":
		return succeeded >= m.need, all && succeeded < m.need
	case "any":
		m.need = 1
	}
	return succeeded >= m.need, succeeded+slow < m.need
}

// decide says what may come of the join: a value, a failure, or either.
func (m meeting) decide(children []ending, keys []string) (value any, succeeds, fails bool) {
	enough, missed := m.reached(children)
	if m.short {
		// The deadline may pass before anything is done, and need not where all is done by then.
		if m.take {
			enough = true
		} else {
			missed = true
		}
	}
	return m.value(children, keys), enough, missed
}

func (m meeting) value(children []ending, keys []string) any {
	if m.word == "any" {
		var first either
		for _, c := range children {
			if c.verdict == "succeeded" {
				first = append(first, c.value)
			}
		}
		if m.take && m.short {
			first = append(first, nil)
		}
		return first
	}
	all := tale{keys: keys}
	for _, c := range children {
		switch {
		case !m.tells() && c.verdict == "skipped":
			all.each = append(all.each, nil)
		case !m.tells():
			all.each = append(all.each, c.value)
		case m.early() && (m.word != "all" && m.word != "settled" && m.word != "tolerate" || m.short):
			undone := either{map[string]any{"outcome": "cancelled"}}
			if m.run {
				undone = append(undone, map[string]any{"outcome": "running"})
			}
			all.each = append(all.each, append(undone, c.told()))
		default:
			all.each = append(all.each, c.told())
		}
	}
	if !m.short {
		switch m.word {
		case "atLeast", "percent", "until":
			all.outcome, all.need = "succeeded", m.need
		case "untilFailed":
			all.outcome, all.need = "failed", m.need
		}
	}
	return all
}

// A tale is what stands for each of several children, in a list or by their names, so many of them with one outcome.
type tale struct {
	keys    []string // nil is a list
	each    []any
	outcome string
	need    int
}

func (e tale) met(got any) bool {
	values, ok := got.([]any)
	if e.keys != nil {
		object, isObject := got.(map[string]any)
		ok, values = isObject && len(object) == len(e.keys), nil
		for _, key := range e.keys {
			values = append(values, object[key])
		}
	}
	if !ok || len(values) != len(e.each) {
		return false
	}
	n := 0
	for i, want := range e.each {
		if !same(values[i], want) {
			return false
		}
		if object, told := values[i].(map[string]any); told && object["outcome"] == e.outcome {
			n++
		}
	}
	return n >= e.need
}

// caughtIn puts a step into another one, which yields a constant when it fails.
func (g *garden) caughtIn(doc map[string]any) (out map[string]any, instead any) {
	k := g.rng.IntN(100)
	return map[string]any{
		"sequence": []any{doc}, "catch": []any{map[string]any{"do": map[string]any{"pass": map[string]any{"value": map[string]any{"failed": k}}}}},
	}, map[string]any{"failed": float64(k)}
}

// settle is what a step with a join yields behind a catch.
func settle(value any, succeeds, fails bool, instead any) any {
	switch {
	case succeeds && fails:
		return either{value, instead}
	case succeeds:
		return value
	}
	return instead
}

// A child is a step, and how it ends.
type child struct {
	node
	how  string // "", failed, skipped
	slow bool
}

// child is a step that may fail, be skipped, or take an hour.
func (g *garden) child(depth int) child {
	switch g.rng.IntN(6) {
	case 0:
		return child{node: g.failing(depth), how: "failed"}
	case 1:
		c := child{node: g.flow(0), how: "skipped"}
		c.doc["when"] = "${ size(data) > 1000 }"
		return c
	case 2:
		inner := g.flow(0)
		return child{node: node{doc: map[string]any{"sequence": []any{map[string]any{"wait": "1h"}, inner.doc}}, eval: inner.eval}, slow: true}
	}
	return child{node: g.flow(depth)}
}

func (c child) end(in any, s *story) ending {
	e := ending{verdict: "succeeded", slow: c.slow}
	if c.how == "skipped" {
		e.verdict = "skipped"
		return e
	}
	var ok bool
	if e.value, ok = c.eval(in, s); !ok {
		e.verdict = "failed"
	}
	return e
}

var allWords = []string{"all", "settled", "any", "atLeast", "percent", "until", "untilFailed"}

// patience is a speculate setting.
func (g *garden) patience() any {
	switch g.rng.IntN(3) {
	case 0:
		return fmt.Sprintf("%ds", 1+g.rng.IntN(30))
	case 1:
		return map[string]any{"after": fmt.Sprintf("%ds", 1+g.rng.IntN(30)), "max": 1 + g.rng.IntN(3)}
	}
	return map[string]any{"after": "p50 x 1.5", "max": 2}
}

// met is a fork-join with any join.
func (g *garden) met(depth int) node {
	n := 1 + g.rng.IntN(4)
	settings := map[string]any{}
	m := g.meeting(settings, n, allWords...)
	if g.rng.IntN(2) == 0 && n <= 4 {
		settings["speculate"] = map[string]any{"after": fmt.Sprintf("%ds", 1+g.rng.IntN(30)), "max": 1 + g.rng.IntN(3)}
		g.inside++ // A twin would wait for a signal of its own.
		defer func() { g.inside-- }()
	}
	children, list, named := make([]child, n), make([]any, n), map[string]any{}
	var keys []string
	for i := range children {
		children[i] = g.child(depth)
		list[i] = children[i].doc
		named[fmt.Sprint("b", i)] = children[i].doc
	}
	settings["branches"] = list
	if g.rng.IntN(2) == 0 {
		settings["branches"] = named
		for i := range children {
			keys = append(keys, fmt.Sprint("b", i))
		}
	}
	return g.metIn(map[string]any{"forkjoin": settings}, m, keys, func(in any, s *story) []ending {
		ends := make([]ending, n)
		for i, c := range children {
			ends[i] = c.end(in, s)
		}
		return ends
	})
}

// metIn is a step with a join, behind a catch.
func (g *garden) metIn(doc map[string]any, m meeting, keys []string, ends func(in any, s *story) []ending) node {
	caught, instead := g.caughtIn(doc)
	return node{doc: caught, eval: func(in any, s *story) (any, bool) {
		s.exact = false
		value, succeeds, fails := m.decide(ends(in, s), keys)
		return settle(value, succeeds, fails, instead), true
	}}
}

// picked by number: what fails of the items of a map, and what is skipped.
func (g *garden) some() (fails, skips func(i int) bool, condition string) {
	a, b := g.rng.IntN(4), 1+g.rng.IntN(4) // None fails where a is 0.
	fails = func(i int) bool { return i%4 == a && a > 0 }
	if g.rng.IntN(3) > 0 {
		return fails, func(int) bool { return false }, ""
	}
	return fails, func(i int) bool { return i%5 == b }, fmt.Sprintf("${ index %% 5 != %d }", b)
}

// crowd is a map with any join, with items some of which fail, are skipped or take long.
func (g *garden) crowd(depth int) node {
	g.inside++
	inner, n := g.flow(min(depth, 1)), 1+g.rng.IntN(7)
	g.inside--
	slow := g.rng.IntN(4) == 0
	settings := map[string]any{"items": n}
	m := g.meeting(settings, n, append([]string{"tolerate", "tolerate", "tolerate", "tolerate"}, allWords...)...)
	fails, skips, condition := g.some()
	steps := []any{inner.doc, map[string]any{"function": "picky", "input": "${ [index, input] }"}}
	if slow {
		steps = append(steps, map[string]any{"wait": "${ index % 2 == 1 ? '1h' : '1s' }"})
	}
	a := -1
	for i := range 4 {
		if fails(i) {
			a = i
		}
	}
	steps[1].(map[string]any)["input"] = fmt.Sprintf("${ {'fails': index %% 4 == %d, 'value': input} }", a)
	do := map[string]any{"sequence": steps}
	if condition != "" {
		do["when"] = condition
	}
	settings["do"] = do
	switch g.rng.IntN(3) {
	case 0:
		settings["window"] = "${ 1 + size(data) % 3 }"
	case 1:
		settings["window"] = 1 + g.rng.IntN(3)
	}
	if g.rng.IntN(3) == 0 {
		settings["speculate"] = g.patience()
	}
	results := "list"
	if g.rng.IntN(4) == 0 {
		results = []string{"count", "none"}[g.rng.IntN(2)]
		settings["results"] = results
	}
	if settings["speculate"] != nil && n < 10 {
		settings["speculate"] = map[string]any{"after": fmt.Sprintf("%ds", 1+g.rng.IntN(30)), "max": 1 + g.rng.IntN(2)}
	}
	caught, instead := g.caughtIn(map[string]any{"map": settings})
	return node{doc: caught, eval: func(_ any, s *story) (any, bool) {
		s.exact = false
		ends := make([]ending, n)
		for i := range ends {
			ends[i] = ending{verdict: "succeeded", slow: slow && i%2 == 1}
			v, ok := inner.eval(float64(i), s)
			switch {
			case skips(i):
				ends[i] = ending{verdict: "skipped"}
			case fails(i) || !ok:
				ends[i] = ending{verdict: "failed"}
			default:
				ends[i].value = v
			}
		}
		value, succeeds, fails := m.decide(ends, nil)
		switch results {
		case "count":
			value = counts{m: m, ends: ends}
		case "none":
			value = nil
		}
		return settle(value, succeeds, fails, instead), true
	}}
}

// counts is a tally of so many children at most, and, where all are done, exactly.
type counts struct {
	m    meeting
	ends []ending
}

func (c counts) met(got any) bool {
	object, ok := got.(map[string]any)
	if !ok || len(object) != 3 {
		return false
	}
	want := map[string]float64{"succeeded": 0, "failed": 0, "skipped": 0}
	for _, e := range c.ends {
		want[e.verdict]++
	}
	for word, most := range want {
		n, _ := object[word].(float64)
		if n > most || n < most && !c.m.early() {
			return false
		}
	}
	return true
}

// loaded is a map over what the run was started with, in batches by bytes, by number or both, with something beside the items.
func (g *garden) loaded(depth int) node {
	g.inside++
	inner := g.flow(min(depth, 1))
	g.inside--
	batch, size, most, k := map[string]any{}, 1000, 1<<30, g.rng.IntN(100)
	if g.rng.IntN(2) == 0 {
		size = 1 + g.rng.IntN(4)
		batch["size"] = size
	}
	if len(batch) == 0 || g.rng.IntN(2) == 0 {
		most = 1 + g.rng.IntN(12)
		batch["bytes"] = most
	}
	with := map[string]any{"k": float64(k)}
	batch["with"] = with
	if g.rng.IntN(2) == 0 {
		batch["with"] = fmt.Sprintf("${ {'k': %d} }", k)
	}
	settings := map[string]any{"items": "${ data }", "batch": batch, "as": g.name("part"), "do": inner.doc}
	return node{doc: map[string]any{"map": settings}, eval: func(_ any, s *story) (any, bool) {
		var batches [][]any
		bytes := 0
		for _, item := range s.data.([]any) {
			length := len(fmt.Sprint(item)) + 1
			if last := len(batches) - 1; last < 0 || len(batches[last]) == size || bytes+length > most {
				batches, bytes = append(batches, nil), 0
			}
			last := len(batches) - 1
			batches[last], bytes = append(batches[last], item), bytes+length
		}
		values := make([]any, len(batches))
		for i, items := range batches {
			v, ok := inner.eval(map[string]any{"items": items, "k": float64(k)}, s)
			if !ok {
				s.exact = false
				return nil, false
			}
			values[i] = v
		}
		return values, true
	}}
}
