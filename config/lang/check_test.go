package lang

import (
	"strings"
	"testing"
)

// TestCheckRefuses holds what can never be evaluated.
func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"siez(data)":             `unknown function "siez"; did you mean "size"?`,
		"data.siez()":            `unknown function "siez"`,
		"data.map(x, foo(x))":    `unknown function "foo"`,
		"math.foo(1)":            `unknown function "foo"`,
		"now()":                  `unknown function "now"`,
		"'a' * 2":                "no such operation: * on string and int",
		"'a' + 1":                "no such operation: + on string and int",
		"size(data) + 'a'":       "no such operation: + on int and string",
		"1.5 % 2.5":              "no such operation: % on double and double",
		"1 > 'a'":                "no such operation: > on int and string",
		"!1":                     "no such operation: ! on int",
		"1 && true":              "expected type 'bool'",
		"1 ? 2 : 3":              "int where true or false is due, before ?",
		"size()":                 "size does not take ()",
		"size(1)":                "size does not take (int)",
		"startsWith('a', 'b')":   "startsWith is called otherwise; write string.startsWith(string)",
		"'a'.startsWith(1)":      "startsWith does not take string.(int)",
		"type(1)":                "yields a type, which no JSON is; compare it",
		"string":                 "yields a type",
		"1.map(x, x)":            "cannot be range",
		"1 in 'abc'":             "no such operation: in on int and string",
		"lists.range('a')":       "lists.range does not take (string)",
		"'a'.getHours()":         "getHours does not take",
		"[1, 2].map(x, 'a' - x)": "no such operation: - on string and int",
	} {
		e, err := ParseExpr(Text("${ " + source + " }"))
		var got []string
		if err != nil {
			got = append(got, err.Error())
		}
		for _, f := range e.Check() {
			got = append(got, f.String())
		}
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s finds %q; want %q", source, got, want)
		}
		if v, err2 := e.Eval(Vars{{"data", Trusted(`{"a":1}`)}}, nil); err == nil && err2 == nil {
			t.Errorf("%s is refused, and evaluates to %s", source, v)
		}
	}
}

// TestCheckAccepts holds that whatever evaluates passes: all of the walk, and what CEL's types would refuse.
func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	sources := append(walk(), "-duration('1s')", "'a'.format([1])", "1 == 'a'", "true ? 1 : 'a'", "1 + 1.5", "2u * 3", "[1] + ['a']", "'a b'.split(' ') + lists.range(2)", "1 in ['a']", "optional.of(1).orValue('a')", "data.a + 1", "data.a.b[0].c > 1 && data.x",
		"{'a': [1, 'b', null]}.a[1]", "data.map(x, x.y).filter(z, z != '')", "[1, 2][1u]", "[1, 2][1.0]", "{'a': 1, 'b': 'c'}.map(k, k)", "data.?a.?b.orValue([])", "cel.bind(x, data, x.y + x.z)", "sets.contains([1], ['a'])")
	for _, source := range sources {
		e, err := ParseExpr(Text("${ " + source + " }"))
		if err != nil {
			continue
		}
		_, err = e.Eval(Vars{{"data", Trusted(`{"a":1}`)}}, nil)
		if found := e.Check(); len(found) > 0 && err == nil {
			t.Errorf("%s evaluates, and finds %v", source, found)
		}
	}
}

// TestKinds holds what is known of a template without data.
func TestKinds(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`"${ data.x } == 1"`: KindText, `"${ data.a }${ data.b }"`: KindText, `"${ data.x == 1 }"`: KindBool, `"${ data.x }"`: KindAny, `"${ size(data) }"`: "number", `"${ [1] }"`: "list", `"${ {'a': 1} }"`: "object",
		`"a"`: KindText, `true`: KindBool, `[1]`: "list", `["${ data }"]`: "list", `{"a":"${ data }"}`: "object", `null`: "null", `12`: "number", `"${ true ? 1 : 'a' }"`: KindAny, `"${ optional.of(1) }"`: KindAny, `"${ duration('1s') }"`: KindText,
	} {
		e, err := ParseExpr(val(t, doc))
		if err != nil || e.Kind() != want {
			t.Errorf("%s: %s, %v; want %s", doc, e.Kind(), err, want)
		}
	}
}

// TestNearest holds what is suggested, and that a word of a megabyte costs nothing.
func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"function", "flow", "map"}
	for word, want := range map[string]string{"fucntion": `did you mean "function"?`, "elephant": "known are function, flow, map", strings.Repeat("x", 1<<20): "known are function, flow, map"} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%s: %s; want %s", shorten(word), got, want)
		}
	}
}
