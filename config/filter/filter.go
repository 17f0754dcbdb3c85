// Package filter decides which events a trigger sees: the filters of the CloudEvents Subscriptions API 1.0 (section 3.2.4).
package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/plugin"
)

// A Filter is one dialect over context attributes. All attributes of a map must match, by case; an attribute that the event lacks does not.
type Filter struct {
	Exact  map[string]string `doc:"exact" help:"attributes that must equal these texts"`
	Prefix map[string]string `doc:"prefix" help:"attributes that must begin with these texts"`
	Suffix map[string]string `doc:"suffix" help:"attributes that must end with these texts"`
	All    []Filter          `doc:"all" help:"filters that must all match"`
	Any    []Filter          `doc:"any" help:"filters of which one must match"`
	Not    *Filter           `doc:"not" help:"a filter that must not match"`
}

// Check reports filters without or with several dialects, empty ones, and names that no attribute has.
func (f *Filter) Check() []plugin.Problem {
	var dialects []string
	var out []plugin.Problem
	for _, d := range []struct {
		name  string
		attrs map[string]string
	}{{"exact", f.Exact}, {"prefix", f.Prefix}, {"suffix", f.Suffix}} {
		if d.attrs == nil {
			continue
		}
		dialects = append(dialects, d.name)
		if len(d.attrs) == 0 {
			out = append(out, plugin.Problem{Path: []string{d.name}, What: d.name + " names no attribute", Cure: "write " + d.name + ": { type: com.example.thing }"})
		}
		for name, text := range d.attrs {
			if !isName(name) {
				out = append(out, plugin.Problem{Path: []string{d.name, name}, What: fmt.Sprintf("%q is no attribute's name", name), Cure: "names are lower-case letters and digits"})
			} else if text == "" {
				out = append(out, plugin.Problem{Path: []string{d.name, name}, What: fmt.Sprintf("%s compares %q with an empty text", d.name, name)})
			}
		}
	}
	if f.All != nil {
		dialects = append(dialects, "all")
	}
	if f.Any != nil {
		dialects = append(dialects, "any")
	}
	if f.All != nil && len(f.All) == 0 || f.Any != nil && len(f.Any) == 0 {
		out = append(out, plugin.Problem{What: "an empty list of filters"})
	}
	if f.Not != nil {
		dialects = append(dialects, "not")
	}
	if len(dialects) != 1 {
		out = append(out, plugin.Problem{What: fmt.Sprintf("a filter has one dialect, and this one has %d", len(dialects)), Cure: "write a list of filters: all of them must match"})
	}
	slices.SortFunc(out, func(a, b plugin.Problem) int { return strings.Compare(a.What, b.What) })
	return out
}

// Schema tells what Check refuses.
func (*Filter) Schema() plugin.Schema {
	attributes := plugin.Schema{
		"minProperties": 1, "propertyNames": plugin.Schema{"pattern": "^[a-z0-9]+$"}, "additionalProperties": plugin.Schema{"minLength": 1},
	}
	some := plugin.Schema{"minItems": 1}
	var dialects []any
	for _, d := range []string{"exact", "prefix", "suffix", "all", "any", "not"} {
		dialects = append(dialects, plugin.Schema{"required": []any{d}})
	}
	return plugin.Schema{
		"oneOf":      dialects,
		"properties": plugin.Schema{"exact": attributes, "prefix": attributes, "suffix": attributes, "all": some, "any": some},
	}
}

func isName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// Attributes reads an event's context attributes by name.
type Attributes func(name string) (string, bool)

// Of returns the attributes of an event, extensions included, in their canonical text.
func Of(e *event.Event) Attributes {
	return func(name string) (string, bool) {
		switch name {
		case "id":
			return e.ID(), true
		case "source":
			return e.Source(), true
		case "type":
			return e.Type(), true
		case "specversion":
			return e.SpecVersion(), true
		case "subject":
			return e.Subject(), e.Subject() != ""
		case "datacontenttype":
			return e.DataContentType(), e.DataContentType() != ""
		case "dataschema":
			return e.DataSchema(), e.DataSchema() != ""
		case "time":
			return types.FormatTime(e.Time()), !e.Time().IsZero()
		}
		ctx, ok := e.Context.(*event.EventContextV1) // Whose Extensions method would copy them.
		if !ok {
			return "", false
		}
		switch v := ctx.Extensions[name].(type) {
		case nil:
			return "", false
		case string:
			return v, true
		default:
			text, err := types.Format(v)
			return text, err == nil
		}
	}
}

// Match reports whether a filter lets the attributes through.
func (f *Filter) Match(a Attributes) bool {
	compare := func(want map[string]string, how func(s, x string) bool) bool {
		for name, x := range want {
			if s, ok := a(name); !ok || !how(s, x) {
				return false
			}
		}
		return true
	}
	switch {
	case f.Exact != nil:
		return compare(f.Exact, func(s, x string) bool { return s == x })
	case f.Prefix != nil:
		return compare(f.Prefix, strings.HasPrefix)
	case f.Suffix != nil:
		return compare(f.Suffix, strings.HasSuffix)
	case f.All != nil:
		return MatchAll(f.All, a)
	case f.Any != nil:
		return slices.ContainsFunc(f.Any, func(x Filter) bool { return x.Match(a) })
	case f.Not != nil:
		return !f.Not.Match(a)
	}
	return false
}

// MatchAll reports whether all filters let the attributes through; no filter lets everything through.
func MatchAll(filters []Filter, a Attributes) bool {
	for i := range filters {
		if !filters[i].Match(a) {
			return false
		}
	}
	return true
}

// Explain names the first part of the filters that does not let the attributes through; empty when all do.
func Explain(filters []Filter, a Attributes) string {
	for i := range filters {
		if !filters[i].Match(a) {
			return filters[i].explain(a)
		}
	}
	return ""
}

func (f *Filter) explain(a Attributes) string {
	for _, d := range []struct {
		word  string
		attrs map[string]string
		how   func(s, x string) bool
	}{
		{"is not", f.Exact, func(s, x string) bool { return s == x }}, {"does not begin with", f.Prefix, strings.HasPrefix}, {"does not end with", f.Suffix, strings.HasSuffix},
	} {
		names := make([]string, 0, len(d.attrs))
		for name := range d.attrs {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if s, ok := a(name); !ok {
				return fmt.Sprintf("it has no %s", name)
			} else if !d.how(s, d.attrs[name]) {
				return fmt.Sprintf("%s %q %s %q", name, s, d.word, d.attrs[name])
			}
		}
	}
	switch {
	case f.All != nil:
		return Explain(f.All, a)
	case f.Not != nil:
		return "a filter under not matches"
	}
	return "none of the filters under any matches"
}

// Type returns the one type of events that filters can let through, and whether there is only one: an index for routers with many triggers.
func Type(filters []Filter) (string, bool) {
	for i := range filters {
		if t, ok := filters[i].Exact["type"]; ok {
			return t, true
		}
		if t, ok := Type(filters[i].All); ok && filters[i].All != nil {
			return t, true
		}
	}
	return "", false
}
