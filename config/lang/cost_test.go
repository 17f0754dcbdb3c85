package lang

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// nest binds the doubling of a value n times over, from what begins as seed.
func nest(n int, seed, result string) string {
	source := "cel.bind(v0, " + seed + ", "
	for i := 1; i <= n; i++ {
		source += fmt.Sprintf("cel.bind(v%d, %s, ", i, strings.ReplaceAll("X + X", "X", fmt.Sprintf("v%d", i-1)))
	}
	return source + strings.ReplaceAll(result, "LAST", fmt.Sprintf("v%d", n)) + strings.Repeat(")", n+1)
}

// share puts a value twice into a list, n times over: small to hold, and 2^n items to look at.
func share(n int, seed, result string) string {
	source := "cel.bind(v0, " + seed + ", "
	for i := 1; i <= n; i++ {
		source += fmt.Sprintf("cel.bind(v%d, [v%d, v%d], ", i, i-1, i-1)
	}
	return source + strings.ReplaceAll(result, "LAST", fmt.Sprintf("v%d", n)) + strings.Repeat(")", n+1)
}

// TestCostIsBounded holds what an evaluation may not do: it ends with a CostError, soon, and without having made what it may not make.
func TestCostIsBounded(t *testing.T) {
	t.Parallel()
	objects := make([]map[string]any, 8000)
	for i := range objects {
		objects[i] = map[string]any{"id": i, "name": strings.Repeat("n", 40), "tags": []string{"a", "b"}}
	}
	scope := Vars{{"data", Of(map[string]any{"objects": objects, "text": strings.Repeat("x", 1<<20), "list": make([]int, 20_000)})}}
	for _, source := range []string{
		nest(30, "'0123456789'", "LAST"),
		nest(30, "data.text", "size(LAST)"),
		nest(30, "[1, 2]", "size(LAST)"),
		share(40, "1", "LAST"),
		share(40, "'x'", "json.encode(LAST)"),
		share(40, "1", "'%s'.format([LAST])"),
		share(40, "1", "LAST == LAST"),
		share(40, "1", "LAST in [LAST]"),
		share(40, "1", "[LAST, 2] == [LAST, 1]"),
		share(40, "1", "LAST.flatten(50)"),
		share(40, "1", "[LAST, LAST].distinct()"),
		share(40, "1", "sets.contains([LAST], [LAST])"),
		"data.text.replace('', data.text)",
		"data.text.replace('x', data.text)",
		"data.list.map(i, data.text).join(',')",
		"data.list.map(i, data.text)",
		"data.list.map(i, data.list.map(j, data.list.map(k, 1)))",
		"data.list.exists(i, data.list.exists(j, data.list.exists(k, false)))",
		"data.list.map(i, data.text.matches('(x+x+)+y')).size()",
		"data.text.matches('x{900}.*y{900}.*z{900}')",
		"data.objects.map(o, data.objects.distinct()).size()",
		"data.objects.filter(o, data.objects.filter(p, p.tags == o.tags).size() == 0)",
		"data.list.map(i, data.text.charAt(i))",
		"data.list.map(i, data.text.split(''))",
	} {
		e, err := ParseExpr(Text("${ " + source + " }"))
		if err != nil {
			t.Errorf("%s: %v", shorten(source), err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)

		c := NewCache(32 << 20)
		c.Budget(EvalCost / 10) // A tenth is quicker, and no other.
		v, err := e.Eval(scope, c)

		runtime.ReadMemStats(&after)
		var broken *CostError
		if !errors.As(err, &broken) {
			t.Errorf("%s: %v, %v; want a CostError", shorten(source), shorten(v.JSON()), err)
		}
		if testing.Verbose() {
			t.Logf("%6d MiB %s: %v", (after.TotalAlloc-before.TotalAlloc)>>20, shorten(source), err)
		}
	}
}

// TestTemplatesAreBounded holds templates, which put values together without an expression.
func TestTemplatesAreBounded(t *testing.T) {
	t.Parallel()
	scope := Vars{{"data", Text(strings.Repeat("x", 9<<20))}}
	for _, doc := range []string{`"a ${ data } and ${ data }"`, `["${ data }","${ data }"]`, `{"a":"${ data }","b":{"c":"${ data }"}}`} {
		e, err := ParseExpr(val(t, doc))
		if err != nil {
			t.Fatal(err)
		}
		var broken *CostError
		if _, err := e.Eval(scope, nil); !errors.As(err, &broken) {
			t.Errorf("%s: %v; want a CostError", doc, err)
		}
	}
}

// TestBudget holds that evaluations of one record share a budget, which costs the same whatever the cache remembers.
func TestBudget(t *testing.T) {
	t.Parallel()
	scope := Vars{{"data", Of(map[string]any{"list": make([]int, 20_000)})}}
	e := MustExpr("${ data.list.map(i, i + 1).size() }")
	c := NewCache(32 << 20)
	c.Budget(RecordCost)
	if _, err := e.Eval(scope, c); err != nil {
		t.Fatal(err)
	}
	cost := RecordCost - c.Left()
	for range 3 {
		before := c.Left()
		if _, err := e.Eval(scope, c); err != nil || before-c.Left() != cost {
			t.Fatalf("costs %d at first, and %d again, %v", cost, before-c.Left(), err)
		}
	}
	for _, fresh := range []*Cache{NewCache(1), NewCache(1 << 30)} {
		fresh.Budget(RecordCost)
		if _, err := e.Eval(scope, fresh); err != nil || RecordCost-fresh.Left() != cost {
			t.Errorf("costs %d with another cache, and %d with this one: %v", RecordCost-fresh.Left(), cost, err)
		}
	}
	c.Budget(cost - 1)
	var broken *CostError
	if _, err := e.Eval(scope, c); !errors.As(err, &broken) || !strings.Contains(err.Error(), "together") || c.Left() != 0 {
		t.Errorf("%v with %d left; want a CostError of the record", err, c.Left())
	}
	if _, err := MustExpr("${ 1 + 1 }").Eval(scope, c); !errors.As(err, &broken) {
		t.Errorf("%v; nothing was left", err)
	}
	c.Budget(cost)
	if _, err := e.Eval(scope, c); err != nil {
		t.Errorf("%v; the next record has a budget of its own", err)
	}
}

// TestCacheKeepsNothingElseAlive decodes parts of large texts that nobody keeps: what lives on is bounded by the limit.
func TestCacheKeepsNothingElseAlive(t *testing.T) {
	c := NewCache(8 << 20)
	e := MustExpr("${ data.a.b }")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 60 {
		list := val(t, fmt.Sprintf(`[{"a":{"b":%d,"c":%q}},%q]`, i, strings.Repeat("y", 300), strings.Repeat("x", 1<<20)))
		item := c.Element(list, 0)
		if v, err := e.Eval(Vars{{"data", item}}, c); err != nil || v.JSON() != fmt.Sprint(i) {
			t.Fatalf("%v, %v", v, err)
		}
		whole := val(t, fmt.Sprintf(`{"a":{"b":%d},"c":%q}`, i, strings.Repeat("z", 1<<20)))
		if v, err := e.Eval(Vars{{"data", whole}}, c); err != nil || v.JSON() != fmt.Sprint(i) {
			t.Fatalf("%v, %v", v, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 24<<20 || c.used > 8<<20 {
		t.Errorf("120 values of 1 MiB that nobody keeps hold %d MiB; the cache says %d", grown>>20, c.used>>20)
	}
	runtime.KeepAlive(c)
}

// TestSelectionsShareTheirText holds that what is passed on is a part of the value that it was selected from, and no part of a copy.
func TestSelectionsShareTheirText(t *testing.T) {
	t.Parallel()
	data := val(t, `{"o":{"z":1,"a":[`+strings.Repeat("1,", 500)+`1]}}`)
	c := NewCache(1 << 20)
	for _, source := range []string{"${ data.o }", "${ data.o.a }", "${ data }"} {
		v, err := MustExpr(source).Eval(Vars{{"data", data}}, c)
		if err != nil || !partOf(v.text, data.text) {
			t.Errorf("%s: a copy, %v", source, err)
		}
	}
}

func partOf(part, text string) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(part))) - uintptr(unsafe.Pointer(unsafe.StringData(text)))
	return at < uintptr(len(text))
}

// big is an event of about a MiB.
func big(i int) Value {
	items := make([]map[string]any, 12_000)
	for k := range items {
		items[k] = map[string]any{"id": k, "event": i, "name": strings.Repeat("n", 40), "price": 1.5}
	}
	return Of(map[string]any{"kind": "x", "items": items})
}

func BenchmarkLists(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		objects := make([]map[string]any, n)
		for i := range objects {
			objects[i] = map[string]any{"id": n - i, "name": fmt.Sprint("name ", i)}
		}
		scope := Vars{{"data", Of(objects)}}
		for _, source := range []string{"data.map(x, x.id + 1)", "data.filter(x, x.id > 5)", "data.sortBy(x, x.id)", "data.distinct()", "sets.contains(data, data)", "data.map(x, x.name).join(',')"} {
			e := MustExpr("${ " + source + " }")
			b.Run(fmt.Sprintf("%s/%d", source, n), func(b *testing.B) {
				c := NewCache(32 << 20)
				for b.Loop() {
					c.Budget(RecordCost)
					if _, err := e.Eval(scope, c); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkSideBySide evaluates over events of 1 MiB in turns.
func BenchmarkSideBySide(b *testing.B) {
	for _, n := range []int{1, 2, 8, 40} {
		events := make([]Value, n)
		for i := range events {
			events[i] = big(i)
		}
		for _, source := range []string{"data.kind", "data.items[7].name"} {
			e := MustExpr("${ " + source + " }")
			b.Run(fmt.Sprintf("%s/%d", source, n), func(b *testing.B) {
				c := NewCache(32 << 20)
				for i := 0; b.Loop(); i++ {
					if _, err := e.Eval(Vars{{"data", events[i%n]}}, c); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
