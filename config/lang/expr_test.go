package lang

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types/ref"
)

func val(t testing.TB, text string) Value {
	t.Helper()
	v, err := ParseValue([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestEval(t *testing.T) {
	t.Parallel()
	data := val(t, `{"n":3,"big":9007199254740993,"f":1.5,"files":["a","b"],"o":{"z":1,"a":2,"m":3},"s":"x\"y","u":18446744073709551615,"e":{},"nul":null,"é":"ü"}`)
	scope := Vars{{"data", data}, {"item", Text("a.go")}, {"name", Text("Ada")}}
	for _, c := range []struct{ doc, want string }{
		{`"plain"`, `"plain"`},
		{`"${ data.n + 1 }"`, `4`},
		{`"${ data.n * 2 }"`, `6`},
		{`"${ base64.encodeUrl(bytes('hi?')) + string(base64.decodeUrl('aGk_')) + string(base64.decodeUrl('aGk')) }"`, `"aGk_hi?hi"`},
		{`"${ data.n / 2.0 }"`, `1.5`},
		{`"${ size(data.files) * 0.65 }"`, `1.3`},
		{`"${ data.n % 2 }"`, `1`},
		{`"${ data.f - 1 }"`, `0.5`},
		{`"${ data.u - 1u }"`, `18446744073709551614`},
		{`"${ 1 + data.u }"`, `18446744073709552000`},
		{`"${ data.big }"`, `9007199254740993`},
		{`"${ data.o.map(k, k) }"`, `["a","m","z"]`},
		{`"${ {'b':1,'a':2,'c':3}.map(k, k) }"`, `["a","b","c"]`},
		{`"${ {'path': item} }"`, `{"path":"a.go"}`},
		{`"hello ${ name }, ${ data.n } times"`, `"hello Ada, 3 times"`},
		{`"$${ not } ${ data.n }"`, `"${ not } 3"`},
		{`{"a":"${ data.n }","b":["${ name }",1]}`, `{"a":3,"b":["Ada",1]}`},
		{`"${ data.files + ['c'] }"`, `["a","b","c"]`},
		{`"${ 'a' + 'b' }"`, `"ab"`},
		{`"${ data.?missing.orValue(7) }"`, `7`},
		{`"${ data.?missing }"`, `null`},
		{`"${ data[?'n'].orValue(1) }"`, `3`},
		{`"${ data.n < 3.5 && data.f > 1 }"`, `true`},
		{`"${ data.n == 3.0 }"`, `true`},
		{`"${ has(data.files) }"`, `true`},
		{`"${ data.files.exists(f, f == 'b') }"`, `true`},
		{`"${ 'A,b'.split(',') }"`, `["A","b"]`},
		{`"${ duration('90s') }"`, `"1m30s"`},
		{`"${ timestamp('2024-01-02T03:04:05Z') + duration('1h') }"`, `"2024-01-02T04:04:05Z"`},
		{`"${ data.s }"`, `"x\"y"`},
		{`"${ data['é'] }"`, `"ü"`},
		{`"${ {'}': '{'} }"`, `{"}":"{"}`},
		{`"${ data }"`, data.JSON()},
		{`"${ data.o }"`, `{"z":1,"a":2,"m":3}`},
		{`"${ 1e21 }"`, `1e+21`},
		{`"${ 1e-7 }"`, `1e-7`},
		{`"${ 3.0 }"`, `3`},
		{`"${ b'hi' }"`, `"aGk="`},
		{`"${ data.n > 2 ? 'y' : 'n' }"`, `"y"`},
		{`"${ data.e == {} }"`, `true`},
		{`"${ data.files[1] }"`, `"b"`},
		{`"${ 'n' in data }"`, `true`},
		{`"${ data.nul == null }"`, `true`},
	} {
		e, err := ParseExpr(val(t, c.doc))
		if err != nil {
			t.Errorf("%s: %v", c.doc, err)
			continue
		}
		cache := NewCache(1 << 20)
		for i := range 100 {
			v, err := e.Eval(scope, cache)
			if err != nil || v.JSON() != c.want {
				t.Errorf("%s, evaluation %d: %s, %v; want %s", c.doc, i, v, err, c.want)
				break
			}
		}
		if v, err := e.Eval(scope, nil); err != nil || v.JSON() != c.want {
			t.Errorf("%s without a cache: %s, %v", c.doc, v, err)
		}
		if b := Of(e).JSON(); b != val(t, c.doc).JSON() {
			t.Errorf("%s marshals as %s", c.doc, b)
		}
	}
}

func TestEvalErrors(t *testing.T) {
	t.Parallel()
	scope := Vars{{"data", Trusted(`{"files":[],"name":"x","n":9223372036854775807,"deep":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`)}, {"o", val(t, `{"files":1,"name":2}`)}}
	for _, c := range []struct{ doc, want string }{
		{`"${ o.fles }"`, `no such key "fles"; o has ["files" "name"]`},
		{`"${ nope }"`, `unknown name "nope"`},
		{`"${ o.name + [] }"`, `o.name + []`},
		{`"${ data.deep == [] || size(string(data.deep)) > 0 }"`, `no such o`},
		{`"${ data.deep.flatten(600) }"`, `nested deeper than 512`},
		{`"${ 9223372036854775807 + 1 }"`, `overflow`},
		{`"${ 1 / 0 }"`, `zero`},
		{`"${ 0.0 / 0.0 }"`, `no JSON form`},
		{`"${ 'a' * 2 }"`, `no such operation on string and int`},
		{`"${ {1: 2} }"`, `a key is int and not a string`},
		{`"${ type(1) }"`, `no JSON form`},
		{`"${ [1,2,3,4,5,6,7,8].map(a, [1,2,3,4,5,6,7,8].map(b, [1,2,3,4,5,6,7,8].map(c, [1,2,3,4,5,6,7,8].map(d, [1,2,3,4,5,6,7,8].map(e, [1,2,3,4,5,6,7,8].map(f, [1,2,3,4,5,6,7,8].map(g, [1,2,3,4,5,6,7,8].map(h, a+b+c+d+e+f+g+h))))))))}"`, `costs more than`},
	} {
		e, err := ParseExpr(val(t, c.doc))
		if err != nil {
			t.Errorf("%s: %v", c.doc, err)
			continue
		}
		if _, err = e.Eval(scope, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.doc, err, c.want)
		}
	}
}

func TestParseExprErrors(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`"${ a"`:       "no closing }",
		`"${ }"`:       "empty",
		`"${ a + }"`:   "at character",
		`"${ 'a }"`:    "not closed",
		`{"k":"${ ("}`: `k: `,
	} {
		if _, err := ParseExpr(val(t, doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", doc, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	e, err := ParseExpr(val(t, `{"a":"${ data.files.map(f, f + input.x) }","b":"${ steps.count.n + steps['merge'] }"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Names(); !reflect.DeepEqual(got, []string{"data", "input", "steps"}) {
		t.Errorf("names %q", got)
	}
	if got, whole := e.Steps(); !reflect.DeepEqual(got, []string{"count", "merge"}) || whole {
		t.Errorf("steps %q, whole %v", got, whole)
	}
	if _, whole := MustExpr("${ steps }").Steps(); !whole {
		t.Error("steps as a whole was not seen")
	}
}

func TestMembersAreLazy(t *testing.T) {
	t.Parallel()
	var asked []string
	scope := scopeFunc(func(name string) (Term, bool) {
		return Members{Keys: func() []string { return []string{"a", "b"} }, Get: func(k string) (Value, bool) {
			asked = append(asked, k)
			return Text(k), k == "a" || k == "b"
		}}, name == "steps"
	})
	if v, err := MustExpr("${ steps.b }").Eval(scope, nil); err != nil || v.JSON() != `"b"` || !reflect.DeepEqual(asked, []string{"b"}) {
		t.Errorf("%s, %v, asked for %q", v, err, asked)
	}
	if v, err := MustExpr("${ steps }").Eval(scope, nil); err != nil || v.JSON() != `{"a":"a","b":"b"}` {
		t.Errorf("%s, %v", v, err)
	}
}

type scopeFunc func(string) (Term, bool)

func (f scopeFunc) Lookup(name string) (Term, bool) { return f(name) }

func TestCacheElements(t *testing.T) {
	t.Parallel()
	c := NewCache(1 << 20)
	for _, text := range []string{`[]`, `[1]`, `["a,]\"","b",{"x":[1,2]},[3],null]`, `[` + strings.Repeat(`"abcdefgh",`, 1000) + `1]`} {
		var want []json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		v := val(t, text)
		n, ok := c.Length(v)
		if !ok || n != len(want) {
			t.Errorf("%.40s: length %d, %v; want %d", text, n, ok, len(want))
		}
		for i := range want {
			if got := c.Element(v, i); got.JSON() != string(want[i]) {
				t.Errorf("%.40s: item %d is %s", text, i, got)
			}
		}
		if !c.Element(v, len(want)).IsNull() || !c.Element(v, -1).IsNull() {
			t.Errorf("%.40s: items beyond the list", text)
		}
	}
	if _, ok := c.Length(val(t, `{"a":1}`)); ok {
		t.Error("an object has a length")
	}
}

func TestCacheStaysWithinItsLimit(t *testing.T) {
	t.Parallel()
	c := NewCache(64 << 10)
	for i := range 1000 {
		v := val(t, fmt.Sprintf(`{"k%d":%q}`, i, strings.Repeat("x", 500)))
		if _, _, err := c.tree(v); err != nil {
			t.Fatal(err)
		}
	}
	if c.used > 64<<10 || c.recent.Len() != len(c.entries) {
		t.Errorf("holds %d bytes in %d entries", c.used, c.recent.Len())
	}
}

func FuzzTree(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,"x\u00e9"],"b":null}`, `[[]]`, `{"a":1,"a":2}`, `1e400`, `"\ud800"`, `-0`, ` { } `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseValue([]byte(s))
		if err != nil {
			return
		}
		tree, _, err := decodeTree(v.JSON())
		if err != nil {
			return // Too deep, or a number beyond a double.
		}
		if same, err := encodeTree(tree); err != nil || same != v && s[0] != '"' { // A text keeps its characters, and not its escapes.
			t.Fatalf("%q is passed on as %s, %v", v, same, err)
		}
		out, err := appendTree(nil, textless(tree), 0)
		if err != nil {
			return // A part is too deep, or a number is beyond a double.
		}
		var a, b any
		if err := json.Unmarshal([]byte(s), &a); err != nil {
			return
		}
		if err := json.Unmarshal(out, &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q became %q: %v", s, out, err)
		}
	})
}

// textless is a tree without what it was decoded from, as if an expression had made it.
func textless(v ref.Val) ref.Val {
	switch v := unwrap(v).(type) {
	case *object:
		o := &object{keys: v.keys}
		for i := range v.keys {
			o.vals = append(o.vals, textless(v.val(i)))
		}
		return o
	case *array:
		var items []ref.Val
		for i := range v.vals {
			items = append(items, textless(read(v.vals, i)))
		}
		return listOf(items)
	default:
		return v
	}
}

// FuzzParseExpr holds that an expression gives the same twice, with a cache and without, that what it makes is JSON, and that lint refuses nothing that
// evaluates.
func FuzzParseExpr(f *testing.F) {
	for _, s := range []string{"${ a }", "x ${ a['}'] } $${", "${ {'a': \"}\"} }", "${ r'\\' }", "${ '''a''' }", "${", "${ a.map(x, x) }", "{{ a }}"} {
		f.Add(s)
	}
	for _, source := range walk() {
		f.Add("${ " + source + " }")
	}
	// What is not evaluated may be as wrong as it likes.
	lazy := regexp.MustCompile(`\|\||&&|\?|\b(map|filter|all|exists\w*|existsOne|bind|optMap|optFlatMap|sortBy|or\w*)\b`)
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseExpr(Text(s))
		if err != nil {
			return
		}
		scope := Vars{{"a", Trusted(`{"x":[1,2.50,"s",null,{"y":1e3}],"n":1.10}`)}}
		c := NewCache(1 << 20)
		c.Budget(100_000)
		v, err := e.Eval(scope, c)
		c.Budget(100_000)
		again, err2 := e.Eval(scope, c)
		if v != again || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%q: %s, %v then %s, %v", s, v, err, again, err2)
		}
		if err != nil {
			return
		}
		if !json.Valid([]byte(v.JSON())) {
			t.Fatalf("%q makes %s", s, v)
		}
		if found := e.Check(); len(found) > 0 && !lazy.MatchString(s) {
			t.Fatalf("%q makes %s, and lint finds %v", s, v, found)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	files := make([]string, 10_000)
	for i := range files {
		files[i] = fmt.Sprintf("dir/some/file/name/%d.go", i)
	}
	data := Of(map[string]any{"files": files, "kind": "x"})
	for name, doc := range map[string]string{"filter": "${ data.kind == 'x' && file.startsWith('dir') }", "object": "${ {'path': file} }", "bare": "${ file }"} {
		e := MustExpr(doc)
		b.Run(name, func(b *testing.B) {
			c := NewCache(32 << 20)
			scope := Vars{{"data", data}, {"file", Text("dir/a.go")}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Eval(scope, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("element", func(b *testing.B) {
		c := NewCache(32 << 20)
		list := Of(files)
		i := 0
		for b.Loop() {
			c.Element(list, i%10_000)
			i++
		}
	})
}
