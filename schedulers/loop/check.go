package loop

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

func bad(format string, a ...any) error {
	return &lang.Error{Type: "bad_loop", Class: lang.ClassFunction, Message: fmt.Sprintf(format, a...)}
}

// Check reports a loop without a bound, and words that do not fit together.
func (p *Loop) Check() (out []plugin.Problem) {
	find := func(key, cure, format string, a ...any) {
		at := plugin.Problem{What: fmt.Sprintf(format, a...), Cure: cure}
		if key != "" {
			at.Path = []string{key}
		}
		out = append(out, at)
	}
	asks := !p.While.IsZero() || !p.Until.IsZero()
	switch {
	case !p.Times.IsZero() && asks:
		find("times", "write max: with while or until, or times: alone", "a number of rounds and a condition")
	case !p.Times.IsZero() && !p.Max.IsZero():
		find("max", "leave max out", "times: says how many rounds there are, and max: the most")
	case p.Times.IsZero() && !asks:
		find("", `write until: "${ ... }" or while:, with max:, or times: N`, "a loop that nothing ends")
	case p.Times.IsZero() && p.Max.IsZero():
		find("", "write the most rounds that you can bear, such as max: 100", "a loop without a bound: a condition that is never met would go on for ever")
	}
	p.checkNumber("times", p.Times, 0, find)
	p.checkNumber("max", p.Max, 1, find)
	if v, constant := p.Pause.Const(); constant {
		if _, ok := schedulers.Span(v); !ok {
			find("pause", "write 30s, 5m, or a number of seconds", "%.80s is not how long to wait", v.JSON())
		}
	}
	p.checkConstant("while", p.While, find)
	p.checkConstant("until", p.Until, find)
	if p.OnMax != "fail" && p.OnMax != "take" {
		find("onMax", lang.Nearest(p.OnMax, []string{"fail", "take"}), "unknown word %q", p.OnMax)
	}
	for _, name := range slices.Sorted(maps.Keys(p.After)) {
		if _, known := p.State[name]; !known {
			find("next", "say under state what it is in the first round", "%q is no name of state", name)
		}
	}
	return out
}

type finder func(key, cure, format string, a ...any)

func (p *Loop) checkConstant(key string, e lang.Expr, find finder) {
	if v, constant := e.Const(); constant {
		find(key, "write a condition in ${ }, or times: N", "a condition that is always %.80s", v.JSON())
	}
}

func (p *Loop) checkNumber(key string, e lang.Expr, least int, find finder) {
	if v, constant := e.Const(); constant {
		if n, ok := schedulers.Whole(v); !ok || n < least || n > lang.MaxWidth {
			find(key, "write a number, or an expression that yields one", "%.80s is not a whole number from %d to %d", v.JSON(), least, lang.MaxWidth)
		}
	} else if kind := e.Kind(); kind == "object" || kind == "list" {
		find(key, "write a number, or an expression that yields one", "%.80s is not a whole number: it is a %s", e.Source(), kind)
	}
}

// Schema tells what Check refuses.
func (*Loop) Schema() plugin.Schema {
	never := func(keys ...string) plugin.Schema {
		var ways []any
		for _, key := range keys {
			ways = append(ways, plugin.Schema{"required": []any{key}})
		}
		return plugin.Schema{"not": plugin.Schema{"anyOf": ways}}
	}
	whole := func(least int) plugin.Schema {
		return plugin.Schema{"anyOf": []any{plugin.Schema{"type": "number", "multipleOf": 1, "minimum": least, "maximum": lang.MaxWidth}, plugin.Schema{"type": "string", "pattern": `\$\{`}}}
	}
	condition := plugin.Schema{"type": "string", "pattern": `\$\{`}
	counted := never("while", "until", "max")
	counted["required"] = []any{"times"}
	asked := never("times")
	asked["required"] = []any{"max"}
	asked["anyOf"] = []any{plugin.Schema{"required": []any{"while"}}, plugin.Schema{"required": []any{"until"}}}
	return plugin.Schema{
		"oneOf": []any{counted, asked},
		"properties": plugin.Schema{
			"times": whole(0), "max": whole(1), "while": condition, "until": condition, "onMax": plugin.Schema{"enum": []any{"fail", "take"}},
			"pause": plugin.Schema{"not": plugin.Schema{"type": []any{"null", "boolean", "array", "object"}}, "minimum": 0, "pattern": plugin.DurationPattern},
		},
	}
}
