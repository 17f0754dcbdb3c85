package filter

import (
	"math/rand/v2"
	"slices"
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
		"sql":                {Filter{SQL: "type LIKE 'com.example.%' AND count > 6"}, true},
		"sql, false":         {Filter{SQL: "country IN ('DE', 'AT')"}, false},
		"sql, missing":       {Filter{SQL: "nothing = 'x' OR subject = '42'"}, false},
		"sql, bad cast":      {Filter{SQL: "country > 3"}, false},
	} {
		a := Of(sample())
		if p := c.f.Check(); len(p) > 0 {
			t.Errorf("%s: %v", name, p)
		}
		if got := c.f.Match(a); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if why := Explain([]Filter{c.f}, a); (why == "") != c.want {
			t.Errorf("%s explains %q", name, why)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	for name, f := range map[string]Filter{
		"nothing": {}, "two dialects": {Exact: m{"a": "b"}, Prefix: m{"a": "b"}}, "empty any": {Any: []Filter{}}, "empty exact": {Exact: m{}},
		"bad name": {Exact: m{"Type": "x"}}, "empty text": {Prefix: m{"type": ""}}, "data": {Exact: m{"data": "x"}}, "too long": {Exact: m{"type": strings.Repeat("x", 1025)}},
		"a line break": {Exact: m{"type": "a\n"}}, "no time": {Exact: m{"time": "yesterday"}}, "sql and exact": {SQL: "id = 'x'", Exact: m{"a": "b"}},
	} {
		if len(f.Check()) == 0 {
			t.Errorf("%s: no problem found", name)
		}
	}
	for text, want := range map[string]string{
		"type = ":                        "at character 8: a value is due here, and not the end",
		"data.amount > 13":               "at character 5: '.' has no meaning here",
		"data = 'x'":                     "at character 1: data is no attribute: sql does not see an event's data",
		"a = 'x' AND b = 'y' OR c = 'z'": "at character 21: OR beside AND is read in more than one way",
		"NOT type = 'x'":                 "at character 1: NOT binds tighter than what stands behind it, and negates the first value only",
		"SIZE(type) > 3":                 "at character 1: there is no function SIZE",
		"subject":                        "at character 1: an attribute alone lets through only what is sent as a JSON boolean",
		"1 = 1":                          "at character 3: it names no attribute, and is the same for every event",
		"id = 'x' AND 1 / 0 = 3":         "at character 16: it always fails: a division by 0",
	} {
		f := Filter{SQL: text}
		if p := f.Check(); len(p) != 1 || p[0].What != want {
			t.Errorf("%s: %+v; want %s", text, p, want)
		}
	}
}

// TestErrors counts an evaluation that errs as one that does not match, and tells of it.
func TestErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"country > 3": `sql fails at character 1: "CH" is no integer of 32 bits`, "nothing = 'x'": "it has no nothing, which its sql compares",
		"subject = '43'": "it is not so that subject = '43'",
	} {
		f := []Filter{{SQL: text}}
		f[0].Check()
		matches, err := Try(f, Of(sample()))
		if why := Explain(f, Of(sample())); matches || (err == nil) != strings.HasPrefix(want, "it is not") || why != want {
			t.Errorf("%s: %v, %v, %q", text, matches, err, why)
		}
		if not := []Filter{{Not: &f[0]}}; !MatchAll(not, Of(sample())) {
			t.Errorf("NOT of %s does not match", text)
		}
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
	case f.SQL != "":
		return sqlOracle(f.SQL, attrs)
	}
	return !oracle(f.Not, attrs)
}

// sqlOracle decides what grower.sql makes: comparisons, one and all, each of an attribute with texts.
func sqlOracle(text string, attrs map[string]string) bool {
	for _, part := range strings.Split(text, " AND ") {
		words := strings.Split(part, " ")
		s, has := attrs[words[0]]
		want := strings.Trim(words[len(words)-1], "'()")
		ok := false
		switch words[1] {
		case "=":
			ok = s == want
		case "!=":
			ok = s != want
		case "IN":
			ok = slices.Contains(strings.Split(want, "','"), s)
		case "LIKE":
			head, tail, _ := strings.Cut(want, "%")
			ok = len(s) >= len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
		}
		if !has || !ok {
			return false
		}
	}
	return true
}

// sql grows an expression that sqlOracle understands.
func (g *grower) sql() Filter {
	var parts []string
	word := func() string { return growTexts[g.pick(len(growTexts))] }
	for range 1 + g.pick(3) {
		name := growNames[g.pick(len(growNames))]
		switch g.pick(4) {
		case 0:
			parts = append(parts, name+" = '"+word()+"'")
		case 1:
			parts = append(parts, name+" != '"+word()+"'")
		case 2:
			parts = append(parts, name+" IN ('"+word()+"','"+word()+"')")
		case 3:
			head, tail := "", ""
			if g.pick(3) > 0 {
				head = word()
			}
			if g.pick(3) > 1 {
				tail = word()
			}
			parts = append(parts, name+" LIKE '"+head+"%"+tail+"'")
		}
	}
	f := Filter{SQL: strings.Join(parts, " AND ")}
	if p := f.Check(); len(p) > 0 {
		panic(p[0].What)
	}
	return f
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
	kinds := 7
	if depth == 0 {
		kinds = 4
	}
	switch g.pick(kinds) {
	case 0:
		return Filter{Exact: g.attrs()}
	case 1:
		return Filter{Prefix: g.attrs()}
	case 2:
		return Filter{Suffix: g.attrs()}
	case 3:
		return g.sql()
	case 4:
		return Filter{All: g.filters(depth - 1)}
	case 5:
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
	a := Texts(func(name string) (string, bool) { v, ok := attrs[name]; return v, ok })
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
	if why := Contradiction(list); why != "" {
		same("what contradicts itself matches nothing: "+why, MatchAll(list, a), false)
	}
	return MatchAll(list, a)
}

func TestLaws(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 64)
	const n = 8000
	matched, indexed, contradict := 0, 0, 0
	for range n {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if checkLaws(t, b) {
			matched++
		}
		list := (&grower{b}).filters(2)
		if len(needsOf(list)) > 0 {
			indexed++
		}
		if Contradiction(list) != "" {
			contradict++
		}
	}
	if matched < n/20 || indexed < n/20 || contradict < n/50 {
		t.Errorf("of %d only %d matched, %d were indexed and %d contradicted themselves: the laws are hardly tested", n, matched, indexed, contradict)
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
		if got, ok := a(name); got.String() != want || !ok {
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
