package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// wants is what filters that must all match ask of attributes.
type wants struct {
	exact          map[string]string
	prefix, suffix map[string][]string
	any            [][]Filter
	not            []Filter
	sql            []*Filter
	clash          string
}

// specVersion is that of every event that the doors take.
const specVersion = "1.0"

// Contradiction says why no event can pass all of the filters; empty when one can, as far as that is seen.
func Contradiction(filters []Filter) string {
	w := wants{exact: map[string]string{"specversion": specVersion}, prefix: make(map[string][]string), suffix: make(map[string][]string)}
	for i := range filters {
		w.add(&filters[i])
	}
	return w.contradiction()
}

func (w *wants) add(f *Filter) {
	for _, name := range slices.Sorted(maps.Keys(f.Exact)) {
		w.is(name, f.Exact[name])
	}
	for name, text := range f.Prefix {
		w.prefix[name] = append(w.prefix[name], text)
	}
	for name, text := range f.Suffix {
		w.suffix[name] = append(w.suffix[name], text)
	}
	for i := range f.All {
		w.add(&f.All[i])
	}
	if f.Any != nil {
		w.any = append(w.any, f.Any)
	}
	if f.Not != nil {
		w.not = append(w.not, *f.Not)
	}
	if f.sql != nil {
		w.addSQL(f)
	}
}

func (w *wants) is(name, text string) {
	switch had, double := w.exact[name]; {
	case !double || had == text || w.clash != "":
	case name == "specversion" && had == specVersion:
		w.clash = fmt.Sprintf("specversion is to be %q, and every event that is taken has %q", text, had)
	default:
		w.clash = fmt.Sprintf("%s is to be %q and %q", name, had, text)
	}
	w.exact[name] = text
}

// addSQL takes over what an expression needs at least.
func (w *wants) addSQL(f *Filter) {
	w.sql = append(w.sql, f)
	for _, need := range f.sql.Needs() {
		switch {
		case len(need.Exact) == 1:
			w.is(need.Name, need.Exact[0])
			continue
		case need.Exact != nil:
			one := make([]Filter, len(need.Exact))
			for i, text := range need.Exact {
				one[i] = Filter{Exact: map[string]string{need.Name: text}}
			}
			w.any = append(w.any, one)
			continue
		}
		if need.Prefix != "" {
			w.prefix[need.Name] = append(w.prefix[need.Name], need.Prefix)
		}
		if need.Suffix != "" {
			w.suffix[need.Name] = append(w.suffix[need.Name], need.Suffix)
		}
	}
}

func (w *wants) contradiction() string {
	if w.clash != "" {
		return w.clash
	}
	for _, end := range []struct {
		of  map[string][]string
		has func(s, part string) bool
		how string
	}{{w.prefix, strings.HasPrefix, "begin with"}, {w.suffix, strings.HasSuffix, "end in"}} {
		for _, name := range slices.Sorted(maps.Keys(end.of)) {
			parts := slices.Sorted(slices.Values(end.of[name]))
			for i, a := range parts {
				if text, exact := w.exact[name]; exact && !end.has(text, a) {
					return fmt.Sprintf("%s is to be %q and to %s %q", name, text, end.how, a)
				}
				for _, b := range parts[i+1:] {
					if !end.has(a, b) && !end.has(b, a) {
						return fmt.Sprintf("%s is to %s %q and %q", name, end.how, a, b)
					}
				}
			}
		}
	}
	// What is exact is known: a filter over nothing else has its answer.
	known := Texts(func(name string) (string, bool) { text, ok := w.exact[name]; return text, ok })
	for i := range w.not {
		if w.decided(&w.not[i]) && w.not[i].Match(known) {
			return "what not refuses is what the others ask for"
		}
	}
	for _, f := range w.sql {
		if w.decided(f) && !f.Match(known) {
			return "sql is false for what the filters ask for: " + f.explain(known)
		}
	}
	for _, some := range w.any {
		if !slices.ContainsFunc(some, func(f Filter) bool { return !w.decided(&f) || f.Match(known) }) {
			return "none of the filters under any goes with the others"
		}
	}
	return ""
}

// decided reports whether a filter looks at nothing but attributes that are known.
func (w *wants) decided(f *Filter) bool {
	for _, attrs := range []map[string]string{f.Exact, f.Prefix, f.Suffix} {
		for name := range attrs {
			if _, known := w.exact[name]; !known {
				return false
			}
		}
	}
	if f.sql != nil && slices.ContainsFunc(f.sql.Names(), func(name string) bool { _, known := w.exact[name]; return !known }) {
		return false
	}
	for _, some := range [][]Filter{f.All, f.Any} {
		for i := range some {
			if !w.decided(&some[i]) {
				return false
			}
		}
	}
	return f.Not == nil || w.decided(f.Not)
}
