package lang

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// walk returns expressions that together use every function, operator, macro and type of the language; a test holds it to that.
func walk() []string {
	const t, d = "timestamp('2024-03-10T07:08:09.123Z')", "duration('5025.006s')"
	out := []string{
		// Operators, on all that they take.
		"!false", "-1", "-int('1')", "-double('1.5')", "1 + 2", "1u + 2u", "1.5 + 2.0", "'a' + 'b'", "b'a' + b'b'", "[1] + [2]", d + " + " + d, t + " + " + d, d + " + " + t,
		"3 - 2", "3u - 2u", "3.5 - 1.0", d + " - " + d, t + " - " + d, t + " - " + t, "3 * 2", "3u * 2u", "1.5 * 2.0", "7 / 2", "7u / 2u", "7.0 / 2.0", "7 % 4", "7u % 4u",
		"1 == 1.0", "1 != 2", "true && false", "true || false", "1 in [1, 2]", "'a' in {'a': 1}", "true ? 1 : 2", "[1, 2][1]", "{'b': 1, 'a': 2}['a']",
		"{'a': 1}.?a", "{'a': {'b': 1}}.?a.?b", "{'a': 1}[?'b']", "[1][?0]", "optional.of([1])[?0]", "optional.of({'a': 1})[?'a']", "optional.of([1])[0]", "optional.of({'a': 1})['a']",
		"{?'a': {'x': 1}.?x, ?'b': {'x': 1}.?y}", "[?{'x': 1}.?x, 2]",
		// Conversions and types.
		"bool(true)", "bool('true')", "bytes(b'a')", "bytes('a')", "double(1.5)", "double(1)", "double('1.25')", "double(2u)", "int(1)", "int(1.9)", "int(" + d + ")", "int('12')",
		"int(" + t + ")", "int(3u)", "uint(3u)", "uint(1.9)", "uint(3)", "uint('4')", "string('a')", "string(true)", "string(b'a')", "string(1.5)", "string(" + d + ")", "string(1)", "string(" + t + ")", "string(1u)",
		"duration(" + d + ")", "duration('1h')", "timestamp(" + t + ")", "timestamp(1700000000)", t, "dyn(1)", "type(1)", "type(1) == int", "type(dyn('a')) == string", "[type(1.0) == double, type(1u) == uint, type(true) == bool]",
		"[type(b'') == bytes, type([]) == list, type({}) == map, type(null) == null_type, type(type(1)) == type]", "type(" + t + ") == google.protobuf.Timestamp", "type(" + d + ") == google.protobuf.Duration",
		"type(optional.none()) == optional_type", "timestamp('2024-03-10T07:08:09+05:30')",
		// Sizes and texts.
		"size(b'ab')", "b'ab'.size()", "size([1])", "[1].size()", "size({'a': 1})", "{'a': 1}.size()", "size('héé')", "'héé'.size()", "'abc'.contains('b')", "'abc'.endsWith('c')", "'abc'.startsWith('a')",
		"'abc'.matches('b+')", "matches('abc', '^x')", "'tacocat'.charAt(3)", "'abcabc'.indexOf('b')", "'abcabc'.indexOf('b', 2)", "'abcabc'.lastIndexOf('b')", "'abcabc'.lastIndexOf('b', 3)",
		"['a', 'b'].join()", "['a', 'b'].join(', ')", "'ÄBC'.lowerAscii()", "'äbc'.upperAscii()", "'a-b-c'.replace('-', '+')", "'a-b-c'.replace('-', '+', 1)", "'a,b,c'.split(',')", "'a,b,c'.split(',', 2)",
		"'abc'.substring(1)", "'abc'.substring(1, 2)", "' a '.trim()", "'abc'.reverse()", "strings.quote('a\"b')", "'%s %d %.2f %e %b %x %X %o %s'.format(['a', 1, 2.567, 1234.5, 5, 255, 'hi', 8, {'b': [1, 1.5], 'a': null}])",
		"'%s %s %s %s'.format([" + t + ", " + d + ", b'ab', int])",
		// Lists, sets, maths.
		"[3, 1, 2].sort()", "[3u, 1u].sort()", "[2.5, 1.5].sort()", "[true, false].sort()", "[" + d + "].sort()", "[" + t + "].sort()", "['b', 'a'].sort()", "[b'b', b'a'].sort()",
		"[1, 2, 1, 1.0].distinct()", "[[1], [2, 3]].flatten()", "[1, [2, [3]]].flatten(1)", "[1, 2].reverse()", "[1, 2, 3].slice(1, 3)", "lists.range(3)", "[1, 2].first()", "[1, 2].last()",
		"[1].hasOnly([1, 2])", "[1].hasAny([2])", "[1, 2].hasAll([1])", "[1].hasExactly([1])", "sets.contains([1, 2], [1.0])", "sets.contains([1, 2], [1])", "sets.equivalent([1], [1, 1])", "sets.intersects([1], [2])",
		"math.abs(-1.5)", "math.abs(-1)", "math.abs(1u)", "math.bitAnd(6, 3)", "math.bitAnd(6u, 3u)", "math.bitNot(1)", "math.bitNot(1u)", "math.bitOr(6, 3)", "math.bitOr(6u, 3u)", "math.bitXor(6, 3)", "math.bitXor(6u, 3u)",
		"math.bitShiftLeft(1, 3)", "math.bitShiftLeft(1u, 3)", "math.bitShiftRight(8, 1)", "math.bitShiftRight(8u, 1)", "math.ceil(1.2)", "math.floor(1.8)", "math.round(1.5)", "math.trunc(1.8)", "math.sign(-2.0)", "math.sum([1, 2u, 2.5, -0.5])", "math.sum([])", "math.sum(['a'])",
		"math.sign(-2)", "math.sign(2u)", "math.isFinite(1.0)", "math.isInf(1.0)", "math.isNaN(1.0)", "math.sqrt(2.0)", "math.sqrt(4)", "math.sqrt(4u)",
		// Encodings.
		"base64.encode(b'hi?')", "base64.decode('aGk/')", "base64.encodeUrl(b'hi?')", "base64.decodeUrl('aGk_')", "json.encode({'b': 1.10, 'a': [" + t + "]})", "json.parse('{\"a\": 1.10}')",
		// Optionals.
		"optional.of(1).hasValue()", "optional.of(1).value()", "optional.none()", "optional.ofNonZeroValue(0)", "optional.none().or(optional.of(2))", "optional.none().orValue(3)",
		"optional.unwrap([optional.of(1), optional.none()])", "[optional.of(1), optional.none()].unwrapOpt()", "optional.of(2).optMap(x, x + 1)", "optional.of(2).optFlatMap(x, optional.of(x))", "optional.of(1).hasValue(1)",
		// Macros.
		"[1, 2].all(x, x > 0)", "[1, 2].exists(x, x > 1)", "[1, 2].exists_one(x, x > 1)", "[1, 2].existsOne(x, x > 1)", "[1, 2].map(x, x * 2)", "[1, 2].map(x, x > 1, x * 2)", "[1, 2].filter(x, x > 1)", "has({'a': 1}.a)",
		"[3, 1].sortBy(x, -x)", "['bb', 'a'].sortBy(x, size(x))", "[1u, 2u].sortBy(x, x)", "[1.5].sortBy(x, x)", "[true].sortBy(x, x)", "[b'a'].sortBy(x, x)", "[" + t + "].sortBy(x, x)", "[" + d + "].sortBy(x, x)",
		"['b', 'a'].sortBy(x, x)", "cel.bind(x, 2, x * x)", "math.greatest(1)", "math.least(1)", "{'c': 1, 'b': 2, 'a': 3}.map(k, k)",
		// What is wrong says so alike.
		"{1: 'a', 2u: 'b', true: 'c'}", "{'b': 1, 'a': 1, 'b': 2, 'a': 2}", "{'b': 1}.a", "[1][7]", "1 / 0", t + ".getHours('Local')", t + ".getHours('Nowhere/Never')", t + ".getHours('+25:00')", "timestamp('never')",
	}
	for _, get := range slices.Sorted(maps.Keys(clocks)) {
		out = append(out, t+"."+get+"()")
		for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "-03:30", "+14:00", "EST5EDT", "Local", "", "local", "posixrules", "../etc/passwd"} {
			out = append(out, t+"."+get+"('"+zone+"')")
		}
	}
	for _, get := range []string{"getHours", "getMinutes", "getSeconds", "getMilliseconds"} {
		out = append(out, d+"."+get+"()")
	}
	for _, op := range []string{"<", "<=", ">", ">="} {
		for _, v := range []string{"true", "'a'", "b'a'", t, d} {
			out = append(out, v+" "+op+" "+v)
		}
		for _, a := range []string{"1", "1u", "1.5"} {
			for _, b := range []string{"2", "2u", "2.5"} {
				out = append(out, a+" "+op+" "+b)
			}
		}
	}
	for _, f := range []string{"math.greatest", "math.least"} {
		for _, a := range []string{"1", "1u", "1.5"} {
			out = append(out, f+"("+a+")", f+"(["+a+"])")
			for _, b := range []string{"2", "2u", "2.5"} {
				out = append(out, f+"("+a+", "+b+")")
			}
		}
	}
	return out
}

// hidden are functions that nothing that a person writes can call.
var hidden = []string{"__not_strictly_false__", "_in_", "in", "cel.@block"}

// TestWalkIsWhole fails for a function, an overload, a macro or a type that the walk leaves out: it must be looked at whether it hangs on the host.
func TestWalkIsWhole(t *testing.T) {
	t.Parallel()
	seen, used := make(map[string]bool), ""
	for _, source := range walk() {
		used += source + "\n"
		parsed, issues := environment().Parse(source)
		if issues.Err() != nil {
			t.Errorf("%s: %v", source, issues.Err())
			continue
		}
		checked, issues := environment().Check(parsed)
		if issues.Err() != nil {
			continue // Checked types are stricter than the language.
		}
		for _, r := range checked.NativeRep().ReferenceMap() {
			for _, id := range r.OverloadIDs {
				seen[id] = true
			}
		}
	}
	for name, f := range environment().Functions() {
		for _, o := range f.OverloadDecls() {
			if !seen[o.ID()] && !slices.Contains(hidden, name) {
				t.Errorf("function %s: overload %s is in no expression of the walk", name, o.ID())
			}
		}
	}
	for _, m := range environment().Macros() {
		if !strings.Contains(used, m.Function()+"(") {
			t.Errorf("macro %s is in no expression of the walk", m.Function())
		}
	}
	for _, name := range []string{"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "google.protobuf.Timestamp", "google.protobuf.Duration", "optional_type"} {
		if typeNamed(name) == nil || !strings.Contains(used, "== "+name) {
			t.Errorf("type %s is in no expression of the walk, or is none", name)
		}
	}
}

// outcomes evaluates the walk, and says what came of each.
func outcomes() string {
	var out strings.Builder
	for _, source := range walk() {
		e, err := ParseExpr(Text("${ " + source + " }"))
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", source, err)
			continue
		}
		v, err := e.Eval(Vars{}, nil)
		fmt.Fprintf(&out, "%s: %s, %v\n", source, v, err)
	}
	return out.String()
}

// TestNothingHangsOnTheHost evaluates all of the language in processes that differ in time zone, time zone data, locale and map seeds.
func TestNothingHangsOnTheHost(t *testing.T) {
	t.Parallel()
	if os.Getenv("ONWARD_WALK") != "" {
		fmt.Printf("<<<%s>>>", outcomes())
		return
	}
	want := outcomes()
	for _, env := range [][]string{
		{"TZ=America/New_York", "LC_ALL=C"}, {"TZ=Asia/Tokyo", "LC_ALL=de_DE.UTF-8", "LANG=de_DE.UTF-8", "ZONEINFO=/nonexistent"},
		{"TZ=", "ZONEINFO="}, {"TZ=Nowhere/Never", "LC_ALL=tr_TR.UTF-8", "GODEBUG=randautoseed=0"}, {"TZ=:/etc/localtime", "GOMAXPROCS=1"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNothingHangsOnTheHost$")
		cmd.Env = append(env, "ONWARD_WALK=1")
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", env, err, text)
		}
		_, got, _ := strings.Cut(string(text), "<<<")
		if got, _, _ = strings.Cut(got, ">>>"); got == want {
			continue
		}
		a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Errorf("with %v:\n%s\nand here:\n%s", env, b[i], a[i])
			}
		}
		if len(a) != len(b) {
			t.Errorf("with %v: %d lines, and here %d", env, len(b), len(a))
		}
	}
}

// TestHours holds zones against what they are.
func TestHours(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{"": "7", "UTC": "7", "Europe/Berlin": "8", "America/New_York": "3", "-03:30": "3", "+14:00": "21", "Asia/Kathmandu": "12", "02:00": "9"} {
		v, err := MustExpr("${ timestamp('2024-03-10T07:08:09Z').getHours('"+zone+"') }").Eval(Vars{}, nil)
		if err != nil || v.JSON() != want {
			t.Errorf("%q: %s, %v; want %s", zone, v, err, want)
		}
	}
	for _, zone := range []string{"Local", "Nowhere", "+24:00", "1:2:3", "+1:5", "../x"} {
		if v, err := MustExpr("${ timestamp('2024-03-10T07:08:09Z').getHours('"+zone+"') }").Eval(Vars{}, nil); err == nil {
			t.Errorf("%q: %s", zone, v)
		}
	}
}

// TestSelectionIsIdentity passes numbers on by every way that passes values on: their text stays, also that of a number that no double holds.
func TestSelectionIsIdentity(t *testing.T) {
	t.Parallel()
	numbers := []string{"18446744073709551616", "9007199254740993.0", "1.10", "1.0", "-0", "0.0", "-0.0", "1E400", "1e3", "1E+2", "100000000000000000000000", "0.1000", "12345678901234567890.12345", "1e-7", "1e-400", "3"}
	data := val(t, `{"y":1,"x":1E400,"n":[`+strings.Join(numbers, ",")+`],"o":{`+`"k":1.10`+`},"big":[`+strings.Repeat(`{"v":1.10},`, 200)+`1]}`)
	c := NewCache(1 << 20)
	for i, n := range numbers {
		for source, want := range map[string]string{
			"data.n[I]": "N", "[data.n[I]]": "[N]", "{'b': data.n[I], 'a': 1}": `{"a":1,"b":N}`, "data.n.filter(x, true)[I]": "N", "data.n.map(x, x)[I]": "N", "true ? data.n[I] : 0": "N",
			"data.n[?I].orValue(7)": "N", "optional.of(data.n[I])": "N", "cel.bind(v, data.n[I], v)": "N", "data.n.slice(I, I + 1)": "[N]", "dyn(data.n[I])": "N", "(data.n + [1])[I]": "N",
			"json.encode(data.n[I])": `"N"`, "data.n.reverse().reverse()[I]": "N", "json.parse(json.encode(data.n)).value()[I]": "N",
		} {
			source, want = strings.ReplaceAll(source, "I", fmt.Sprint(i)), strings.ReplaceAll(want, "N", n)
			v, err := MustExpr("${ "+source+" }").Eval(Vars{{"data", data}}, c)
			if err != nil || v.JSON() != want {
				t.Errorf("%s: %s, %v; want %s", source, v, err, want)
			}
		}
	}
	for source, want := range map[string]string{
		"data.y": "1", "data.n[2] + 1": "2.1", "data.n[2] == 1.1": "true", "data.n[3] == 1": "true", "data.n[3] in [1]": "true", "math.greatest(data.n[2], 1)": "1.1", "math.greatest([data.n[2], 1.5])": "1.5", "int(data.n[3])": "1",
		"data.n[8] > 999": "true", "[data.n[3], 1, 1.0].distinct()": "[1.0]", "[1, 2][data.n[3]]": "2", "string(data.n[2])": `"1.1"`, "type(data.n[2]) == double": "true", "'%.1f'.format([data.n[2]])": `"1.1"`,
		"[data.n[2], 0.5].sort()": "[0.5,1.10]", "-data.n[2]": "-1.1", "data.o == {'k': 1.1}": "true", "data.big.map(x, has(x.v))[0] || true": "true",
	} {
		v, err := MustExpr("${ "+source+" }").Eval(Vars{{"data", data}}, c)
		if err != nil || v.JSON() != want {
			t.Errorf("%s: %s, %v; want %s", source, v, err, want)
		}
	}
	if v, err := MustExpr("${ data.x + 1 }").Eval(Vars{{"data", data}}, c); err == nil || !strings.Contains(err.Error(), "1E400") {
		t.Errorf("%s, %v", v, err)
	}
}

// TestMessagesAreRefused holds that an expression makes JSON's values alone.
func TestMessagesAreRefused(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"google.protobuf.Struct{}", "google.protobuf.Struct{fields: {'a': google.protobuf.Value{}}}", "[1].map(x, google.protobuf.Int64Value{value: x})", "{'a': google.protobuf.Any{}}"} {
		if _, err := ParseExpr(Text("${ " + source + " }")); err == nil || !strings.Contains(err.Error(), "makes a message") {
			t.Errorf("%s: %v", source, err)
		}
	}
}
