package filter

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

func sample() *event.Event {
	e := event.New()
	e.SetID("1")
	e.SetSource("/shop/orders")
	e.SetType("com.example.order.placed")
	e.SetSubject("42")
	e.SetTime(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC))
	e.SetExtension("country", "CH")
	e.SetExtension("count", 7)
	return &e
}

func TestMatch(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	for name, c := range map[string]struct {
		f    Filter
		want bool
	}{
		"exact":              {Filter{Exact: m{"type": "com.example.order.placed", "subject": "42"}}, true},
		"exact, by case":     {Filter{Exact: m{"country": "ch"}}, false},
		"exact, one differs": {Filter{Exact: m{"type": "com.example.order.placed", "subject": "43"}}, false},
		"exact, missing":     {Filter{Exact: m{"nothing": "x"}}, false},
		"number extension":   {Filter{Exact: m{"count": "7"}}, true},
		"time":               {Filter{Prefix: m{"time": "2024-01-02T"}}, true},
		"prefix":             {Filter{Prefix: m{"source": "/shop/"}}, true},
		"suffix":             {Filter{Suffix: m{"type": ".placed"}}, true},
		"suffix, not":        {Filter{Suffix: m{"type": ".paid"}}, false},
		"any":                {Filter{Any: []Filter{{Exact: m{"type": "x"}}, {Exact: m{"subject": "42"}}}}, true},
		"all":                {Filter{All: []Filter{{Exact: m{"type": "x"}}, {Exact: m{"subject": "42"}}}}, false},
		"not":                {Filter{Not: &Filter{Exact: m{"type": "x"}}}, true},
	} {
		a := Of(sample())
		if got := c.f.Match(a); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if why := Explain([]Filter{c.f}, a); (why == "") != c.want {
			t.Errorf("%s explains %q", name, why)
		}
		if p := c.f.Check(); len(p) > 0 {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	for name, f := range map[string]Filter{
		"nothing": {}, "two dialects": {Exact: m{"a": "b"}, Prefix: m{"a": "b"}}, "empty any": {Any: []Filter{}}, "empty exact": {Exact: m{}},
		"bad name": {Exact: m{"Type": "x"}}, "empty text": {Prefix: m{"type": ""}},
	} {
		if len(f.Check()) == 0 {
			t.Errorf("%s: no problem found", name)
		}
	}
}

func TestType(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	if got, ok := Type([]Filter{{Prefix: m{"source": "/"}}, {All: []Filter{{Exact: m{"type": "x"}}}}}); got != "x" || !ok {
		t.Errorf("%q, %v", got, ok)
	}
	if _, ok := Type([]Filter{{Any: []Filter{{Exact: m{"type": "x"}}}}}); ok {
		t.Error("any has one type")
	}
}

func BenchmarkMatch(b *testing.B) {
	f := []Filter{{Exact: map[string]string{"type": "com.example.order.placed"}}}
	a := Of(sample())
	for b.Loop() {
		MatchAll(f, a)
	}
}

// oracle decides by the words of the specification, in another shape than Match does: by the set of attributes, attribute by attribute.
func oracle(f *Filter, attrs map[string]string) bool {
	holds := func(want map[string]string, cut func(s, x string) (string, bool), whole bool) bool {
		n := 0
		for name, x := range want {
			if s, ok := attrs[name]; ok {
				if rest, ok := cut(s, x); ok && (!whole || rest == "") {
					n++
				}
			}
		}
		return n == len(want)
	}
	passed := func(list []Filter) (n int) {
		for i := range list {
			if oracle(&list[i], attrs) {
				n++
			}
		}
		return n
	}
	switch {
	case f.Exact != nil:
		return holds(f.Exact, strings.CutPrefix, true)
	case f.Prefix != nil:
		return holds(f.Prefix, strings.CutPrefix, false)
	case f.Suffix != nil:
		return holds(f.Suffix, strings.CutSuffix, false)
	case f.All != nil:
		return passed(f.All) == len(f.All)
	case f.Any != nil:
		return passed(f.Any) > 0
	}
	return !oracle(f.Not, attrs)
}

// A grower makes filters and attributes out of bytes, from few words, so that they meet often.
type grower struct {
	b []byte
}

func (g *grower) pick(n int) int {
	if len(g.b) == 0 {
		return 0
	}
	c := g.b[0]
	g.b = g.b[1:]
	return int(c) % n
}

var (
	growNames = []string{"type", "source", "subject", "country", "id"}
	growTexts = []string{"a", "b", "ab", "ba", "aba", "abab", "ä", "A"}
)

func (g *grower) attrs() map[string]string {
	m := make(map[string]string)
	for range 1 + g.pick(3) {
		m[growNames[g.pick(len(growNames))]] = growTexts[g.pick(len(growTexts))]
	}
	return m
}

func (g *grower) filter(depth int) Filter {
	kinds := 6
	if depth == 0 {
		kinds = 3
	}
	switch g.pick(kinds) {
	case 0:
		return Filter{Exact: g.attrs()}
	case 1:
		return Filter{Prefix: g.attrs()}
	case 2:
		return Filter{Suffix: g.attrs()}
	case 3:
		return Filter{All: g.filters(depth - 1)}
	case 4:
		return Filter{Any: g.filters(depth - 1)}
	}
	f := g.filter(depth - 1)
	return Filter{Not: &f}
}

func (g *grower) filters(depth int) (out []Filter) {
	for range 1 + g.pick(3) {
		out = append(out, g.filter(depth))
	}
	return out
}

func not(f Filter) Filter { return Filter{Not: &f} }

func each(list []Filter, change func(Filter) Filter) (out []Filter) {
	for _, f := range list {
		out = append(out, change(f))
	}
	return out
}

// checkLaws grows filters and attributes out of bytes and holds them to the laws; it reports whether the filter let the attributes through.
func checkLaws(t *testing.T, b []byte) bool {
	g := &grower{b}
	attrs := g.attrs()
	attrs["type"] = growTexts[g.pick(len(growTexts))] // Every event has one.
	list := g.filters(2)
	a := Attributes(func(name string) (string, bool) { v, ok := attrs[name]; return v, ok })
	same := func(law string, x, y bool) {
		t.Helper()
		if x != y {
			t.Errorf("%s: %v and %v, of %+v with %v", law, x, y, list, attrs)
		}
	}
	all, anyOf := Filter{All: list}, Filter{Any: list}
	for i := range list {
		f := &list[i]
		if p := f.Check(); len(p) > 0 {
			t.Errorf("Check of %+v: %v", *f, p)
		}
		same("oracle", f.Match(a), oracle(f, attrs))
		twice := not(not(*f))
		same("not of not", twice.Match(a), f.Match(a))
		one := Filter{All: []Filter{*f}}
		same("all of one", one.Match(a), f.Match(a))
		same("Explain is silent", Explain([]Filter{*f}, a) == "", f.Match(a))
		if f.Exact != nil && f.Match(a) {
			prefix, suffix := Filter{Prefix: f.Exact}, Filter{Suffix: f.Exact}
			same("exact is prefix and suffix", prefix.Match(a) && suffix.Match(a), true)
		}
	}
	notAll, anyNot := not(all), Filter{Any: each(list, not)}
	same("not all is any not", notAll.Match(a), anyNot.Match(a))
	notAny, allNot := not(anyOf), Filter{All: each(list, not)}
	same("not any is all not", notAny.Match(a), allNot.Match(a))
	same("a list is all of it", MatchAll(list, a), all.Match(a))
	if kind, ok := Type(list); ok && MatchAll(list, a) {
		same("the type of the index is the event's", kind == attrs["type"], true)
	}
	return MatchAll(list, a)
}

func TestLaws(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 64)
	const n = 20000
	matched, indexed := 0, 0
	for range n {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if checkLaws(t, b) {
			matched++
		}
		if _, ok := Type((&grower{b}).filters(2)); ok {
			indexed++
		}
	}
	if matched < n/20 || indexed < n/20 {
		t.Errorf("of %d only %d matched and %d had one type: the laws are hardly tested", n, matched, indexed)
	}
}

func FuzzLaws(f *testing.F) {
	f.Add([]byte("filters and attributes grow out of bytes"))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, b []byte) { checkLaws(t, b) })
}

// TestOf reads every attribute that an event has, and none that it lacks.
func TestOf(t *testing.T) {
	t.Parallel()
	e := sample()
	_ = e.SetData(event.ApplicationJSON, 1)
	e.SetDataSchema("https://example.com/s")
	a := Of(e)
	for name, want := range map[string]string{
		"id": "1", "source": "/shop/orders", "type": "com.example.order.placed", "specversion": "1.0", "subject": "42", "time": "2024-01-02T03:04:05Z",
		"datacontenttype": "application/json", "dataschema": "https://example.com/s", "country": "CH", "count": "7",
	} {
		if got, ok := a(name); got != want || !ok {
			t.Errorf("%s: %q, %v; want %q", name, got, ok, want)
		}
	}
	bare := event.New()
	for _, name := range []string{"subject", "time", "datacontenttype", "dataschema", "country", "Country", ""} {
		if got, ok := Of(&bare)(name); ok {
			t.Errorf("%s: %q of an event without", name, got)
		}
	}
}
