package filter

import "testing"

func TestContradiction(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	for name, c := range map[string]struct {
		filters []Filter
		want    string
	}{
		"nothing":             {nil, ""},
		"two types":           {[]Filter{{Exact: m{"type": "a"}}, {Exact: m{"type": "b"}}}, `type is to be "a" and "b"`},
		"one type twice":      {[]Filter{{Exact: m{"type": "a"}}, {Exact: m{"type": "a"}}}, ""},
		"other attributes":    {[]Filter{{Exact: m{"type": "a"}}, {Exact: m{"source": "b"}}}, ""},
		"exact and prefix":    {[]Filter{{Exact: m{"type": "a.b"}}, {Prefix: m{"type": "b"}}}, `type is to be "a.b" and to begin with "b"`},
		"exact within prefix": {[]Filter{{Exact: m{"type": "a.b"}}, {Prefix: m{"type": "a"}}, {Suffix: m{"type": ".b"}}}, ""},
		"two prefixes":        {[]Filter{{Prefix: m{"type": "a."}}, {Prefix: m{"type": "b."}}}, `type is to begin with "a." and "b."`},
		"prefix in prefix":    {[]Filter{{Prefix: m{"type": "a."}}, {Prefix: m{"type": "a.b."}}}, ""},
		"two suffixes":        {[]Filter{{Suffix: m{"type": "x"}}, {Suffix: m{"type": "y"}}}, `type is to end in "x" and "y"`},
		"within all":          {[]Filter{{All: []Filter{{Exact: m{"type": "a"}}, {Exact: m{"type": "b"}}}}}, `type is to be "a" and "b"`},
		"not":                 {[]Filter{{Exact: m{"type": "a"}}, {Not: &Filter{Exact: m{"type": "a"}}}}, "what not refuses is what the others ask for"},
		"not of another":      {[]Filter{{Exact: m{"type": "a"}}, {Not: &Filter{Exact: m{"type": "a", "source": "b"}}}}, ""},
		"any":                 {[]Filter{{Exact: m{"type": "a"}}, {Any: []Filter{{Exact: m{"type": "b"}}, {Prefix: m{"type": "c"}}}}}, "none of the filters under any goes with the others"},
		"any with one":        {[]Filter{{Exact: m{"type": "a"}}, {Any: []Filter{{Exact: m{"type": "b"}}, {Exact: m{"source": "c"}}}}}, ""},
	} {
		if got := Contradiction(c.filters); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}
