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
		"another version":     {[]Filter{{Exact: m{"specversion": "0.3"}}}, `specversion is to be "0.3", and every event that is taken has "1.0"`},
		"this version":        {[]Filter{{Exact: m{"specversion": "1.0"}}}, ""},
		"sql and exact":       {[]Filter{{Exact: m{"type": "a"}}, {SQL: "type = 'b' AND count > 3"}}, `type is to be "a" and "b"`},
		"sql alone":           {[]Filter{{SQL: "type LIKE 'a.%' AND type LIKE 'b.%'"}}, `type is to begin with "a." and "b."`},
		"sql, suffix":         {[]Filter{{SQL: "type LIKE '%x' AND type = 'y'"}}, `type is to be "y" and to end in "x"`},
		"sql, IN":             {[]Filter{{Exact: m{"type": "c"}}, {SQL: "type IN ('a', 'b')"}}, "sql is false for what the filters ask for: it is not so that type IN ('a', 'b')"},
		"sql, decided":        {[]Filter{{Exact: m{"type": "a"}}, {SQL: "NOT (LENGTH(type) = 1)"}}, "sql is false for what the filters ask for: it is not so that NOT (LENGTH(type) = 1)"},
		"sql, version":        {[]Filter{{SQL: "specversion = '0.3'"}}, `specversion is to be "0.3", and every event that is taken has "1.0"`},
		"sql, not of it":      {[]Filter{{Exact: m{"type": "a"}}, {Not: &Filter{SQL: "type = 'a'"}}}, "what not refuses is what the others ask for"},
		"sql, by OR":          {[]Filter{{Exact: m{"type": "c"}}, {SQL: "type = 'a' OR source = 'b'"}}, ""},
		"sql, number":         {[]Filter{{Exact: m{"count": "7"}}, {SQL: "count < 8"}}, ""},
		"any with one":        {[]Filter{{Exact: m{"type": "a"}}, {Any: []Filter{{Exact: m{"type": "b"}}, {Exact: m{"source": "c"}}}}}, ""},
	} {
		for i := range c.filters {
			c.filters[i].Check()
			if c.filters[i].Not != nil {
				c.filters[i].Not.Check()
			}
		}
		if got := Contradiction(c.filters); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
}
