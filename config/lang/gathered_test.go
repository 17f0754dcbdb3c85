package lang_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
)

// TestGatheredIsWhatItStandsFor: an expression yields the same of a list to which items were added, and costs the same, as of the value; the second time too.
func TestGatheredIsWhatItStandsFor(t *testing.T) {
	t.Parallel()
	items := []string{`{"id":"1","data":{"n":1,"last":false}}`, `{"id":"2","data":{"n":2.50,"last":true,"pad":"` + strings.Repeat("x", 700) + `"}}`, `{"id":"3","data":null}`, `[1,"ä\n"]`, `1e400`}
	nested := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	for _, items := range [][]string{items, items[:2], items[:1], {}, {nested}, append(items[:3:3], nested)} {
		list := "[" + strings.Join(items, ",") + "]"
		first := "null"
		if len(items) > 0 {
			first = items[0]
		}
		for _, c := range []struct {
			whole lang.Value
			names []string
			exprs []string
		}{
			{lang.Trusted(list), nil, []string{"arrived", "size(arrived)", "arrived.exists(x, x.data.last)", "arrived.map(x, x)", "arrived[0]", "arrived[9]", "arrived[1].data.n", "json.encode(arrived)", "arrived + arrived", "arrived == arrived", "arrived == [1]", "1 in arrived", "arrived.filter(x, has(x.id)).map(x, x.id)", "{'a': arrived}", "type(arrived) == list", "arrived.nothing"}},
			{lang.Trusted(`{"a":` + list + `,"b":` + first + `,"c":null}`), []string{"a", "b", "c"}, []string{"arrived", "arrived.a", "arrived.b.id", "arrived.b.data.n", "arrived.c == null", "size(arrived.a)", "arrived.a.exists(x, x.data.last)", "arrived.map(k, k)", "json.encode(arrived)", "json.encode(arrived.a)", "arrived.d", "has(arrived.d)", "arrived == {}", "[arrived.a, arrived.b]"}},
		} {
			g, same := lang.NewGathered(c.names, []bool{true, false, false}, func() lang.Value { return c.whole }), true
			for _, item := range items {
				same = same && g.Add(0, lang.Trusted(item)) && (c.names == nil || g.Add(1, lang.Trusted(item)))
			}
			if deep := strings.Contains(list, nested); same == deep {
				t.Fatalf("%.40s is taken: %t", list, same)
			} else if deep {
				continue
			}
			for _, source := range append(c.exprs, c.exprs...) {
				e, err := lang.ParseExpr(lang.Text("${ " + source + " }"))
				if err != nil {
					t.Fatal(err)
				}
				eval := func(term lang.Term) string {
					cache := lang.NewCache(1 << 20)
					cache.Budget(1_000_000)
					v, err := e.Eval(termed{term}, cache)
					return fmt.Sprint(v, err, " for ", cache.Left())
				}
				if got, want := eval(g), eval(c.whole); got != want {
					t.Errorf("%s of %.60s: %.300s; want %.300s", source, c.whole, got, want)
				}
			}
		}
	}
}

type termed struct{ lang.Term }

func (s termed) Lookup(string) (lang.Term, bool) { return s.Term, true }
