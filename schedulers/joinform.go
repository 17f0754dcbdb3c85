package schedulers

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

var (
	joinWords = []string{JoinAll, JoinSettled, JoinAny}
	joinKeys  = []string{JoinAtLeast, JoinPercent, JoinUntil}
)

// What the reference page of a policy with a join tells of it.
const JoinYields = "With any, the value of the first success alone. With settled, atLeast, percent, until, and with onDeadline: take, each stands in its place as " +
	"{outcome: succeeded, value}, {outcome: failed, error}, {outcome: skipped}, or, when it was not done, as {outcome: cancelled}, or {outcome: running} where it was left to run."

// JoinErrors are the errors of a join.
var JoinErrors = []string{
	"join_unreachable: too few have succeeded, or can still; data is the tally (class function)",
	"join_deadline: the join's deadline has come; data is the tally (class timeout)",
}

// joinForm is the mapping that a join may be written as: its keys are the fields'.
type joinForm Join

// UnmarshalNode reads the forms of a join. A mapping without one of the words is of all.
func (j *Join) UnmarshalNode(n *lang.Node, decode func(*lang.Node, any)) []plugin.Problem {
	if n.Kind != lang.MapNode {
		return j.word(n.Text(), nil)
	}
	decode(n, (*joinForm)(j))
	for _, x := range [][2]string{{"onDeadline", j.OnDeadline}, {"losers", j.Losers}} {
		if n.Get(x[0]) != nil && x[1] == "" {
			return []plugin.Problem{{Path: x[:1], What: fmt.Sprintf("unknown %s %q", x[0], x[1]), Cure: "leave it out"}}
		}
	}
	var said []string
	for _, key := range append([]string{"for"}, joinKeys...) {
		if n.Get(key) != nil {
			said = append(said, key)
		}
	}
	switch {
	case len(said) > 1:
		return []plugin.Problem{{Path: said[1:2], What: fmt.Sprintf("a join waits for one thing, and this one says %s and %s", said[0], said[1]), Cure: "keep one; until can say both"}}
	case len(said) == 0:
		j.Word = JoinAll
	case said[0] == "for":
		return j.word(j.Word, said)
	default:
		j.Word = said[0]
	}
	return nil
}

func (j *Join) word(word string, path []string) []plugin.Problem {
	for _, known := range joinWords {
		if word == known {
			j.Word = word
			return nil
		}
	}
	cure := lang.Nearest(word, joinWords)
	for _, key := range joinKeys {
		if word == key {
			cure = fmt.Sprintf("write join: { %s: ... }", key)
		}
	}
	return []plugin.Problem{{Path: path, What: "unknown join " + word, Cure: cure}}
}

// MarshalNode writes the word, or the mapping where there is more to say.
func (j Join) MarshalNode() lang.Value {
	if j == (Join{Word: j.Word}) {
		return lang.Text(j.Word)
	}
	form := joinForm(j)
	for _, key := range joinKeys {
		if key == j.Word {
			form.Word = ""
		}
	}
	return lang.Document(form)
}

// Check reports what cannot be reached, and words that there are not.
func (j *Join) Check() []plugin.Problem {
	var out []plugin.Problem
	find := func(key, what, cure string) {
		out = append(out, plugin.Problem{Path: []string{key}, What: what, Cure: cure})
	}
	switch {
	case j.Word == JoinAtLeast && j.AtLeast < 1:
		find("atLeast", fmt.Sprintf("a join of at least %d is none", j.AtLeast), "write how many have to succeed, from 1")
	case j.Word == JoinAtLeast && j.AtLeast > lang.MaxWidth:
		find("atLeast", fmt.Sprintf("a join of at least %d, and a step has at most %d children", j.AtLeast, lang.MaxWidth), "write how many have to succeed")
	case j.Word == JoinPercent && (j.Percent < 1e-6 || j.Percent > 100):
		find("percent", fmt.Sprintf("a join of %v percent", j.Percent), "write more than 0, and 100 at most")
	}
	switch j.OnDeadline {
	case "", "fail", "take":
		if j.OnDeadline != "" && j.Deadline == 0 {
			find("onDeadline", "a join without a deadline says what to do when it comes", "add deadline: 10m")
		}
	default:
		find("onDeadline", fmt.Sprintf("unknown onDeadline %q", j.OnDeadline), lang.Nearest(j.OnDeadline, []string{"take", "fail"}))
	}
	switch j.Losers {
	case "", "cancel", "run":
	default:
		find("losers", fmt.Sprintf("unknown losers %q", j.Losers), lang.Nearest(j.Losers, []string{"cancel", "run"}))
	}
	return out
}

// CheckWidth reports a join that children of that number cannot reach.
func (j *Join) CheckWidth(n int) []plugin.Problem {
	switch {
	case j.Word == JoinAtLeast && j.AtLeast > n:
		return []plugin.Problem{{Path: []string{"join", "atLeast"}, What: fmt.Sprintf("a join of at least %d, and the children here are %d", j.AtLeast, n), Cure: fmt.Sprintf("write %d at most, or a percent", n)}}
	case j.Word == JoinAny && n == 0:
		return []plugin.Problem{{Path: []string{"join"}, What: "a join of any, and there are no children", Cure: "leave the step out, or write join: all"}}
	}
	return nil
}

// Schema is the form of a join.
func (Join) Schema() plugin.Schema {
	properties := plugin.Schema{
		"for":        plugin.Schema{"enum": []any{JoinAll, JoinSettled, JoinAny}, "description": "all (the first failure fails the step), settled (failures are values in place) or any (the first success is the result)"},
		"atLeast":    plugin.Schema{"type": "integer", "minimum": 1, "maximum": lang.MaxWidth, "description": "how many have to succeed"},
		"percent":    plugin.Schema{"type": "number", "minimum": 1e-6, "maximum": 100, "description": "which part of all children has to succeed; rounded up to whole children"},
		"until":      plugin.Schema{"$ref": "#/$defs/expression"},
		"deadline":   plugin.Schema{"$ref": "#/$defs/duration", "not": plugin.Zero()},
		"onDeadline": plugin.Schema{"enum": []any{"fail", "take"}, "description": "fail, or take: go on with what there is"},
		"losers":     plugin.Schema{"enum": []any{"cancel", "run"}, "description": "what becomes of children that are not done when the join is decided: run leaves them, and counts their results as late"},
	}
	var rivals []any
	keys := append([]string{"for"}, joinKeys...)
	for i, key := range keys {
		for _, other := range keys[:i] {
			rivals = append(rivals, plugin.Schema{"required": []any{other, key}})
		}
	}
	return plugin.Schema{"description": "when children are enough", "anyOf": []any{
		plugin.Schema{"enum": []any{JoinAll, JoinSettled, JoinAny}},
		plugin.Schema{
			"type": "object", "additionalProperties": false, "properties": properties, "not": plugin.Schema{"anyOf": rivals},
			"dependentRequired": plugin.Schema{"onDeadline": []any{"deadline"}},
		},
	}}
}
