package filter

import (
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
