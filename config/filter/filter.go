// Package filter decides which events a trigger sees: the filters of the CloudEvents Subscriptions API 1.0 (section 3.2.4).
package filter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/filter/cesql"
	"github.com/onward-router/onward/config/plugin"
)

// A Filter is one dialect over context attributes. All attributes of a map must match, by case; an attribute that the event lacks does not. An expression
// of sql whose evaluation errs does not match; Check is what compiles it, and before that it matches nothing.
type Filter struct {
	Exact  map[string]string `doc:"exact" help:"attributes that must equal these texts"`
	Prefix map[string]string `doc:"prefix" help:"attributes that must begin with these texts"`
	Suffix map[string]string `doc:"suffix" help:"attributes that must end with these texts"`
	All    []Filter          `doc:"all" help:"filters that must all match"`
	Any    []Filter          `doc:"any" help:"filters of which one must match"`
	Not    *Filter           `doc:"not" help:"a filter that must not match"`
	SQL    string            `doc:"sql" help:"a CloudEvents SQL expression over attributes that must be true, such as type = 'com.example.order' AND NOT (country IN ('CH', 'LI')); where it errs, as over an attribute that the event lacks, it does not match"`

	sql *cesql.Expr
}

// Check reports filters without or with several dialects, empty ones, and what no event can have. It compiles sql.
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
			if p := impossible(d.name, name, text); p.What != "" {
				p.Path = []string{d.name, name}
				out = append(out, p)
			}
		}
	}
	for name, given := range map[string]bool{"all": f.All != nil, "any": f.Any != nil, "not": f.Not != nil, "sql": f.SQL != ""} {
		if given {
			dialects = append(dialects, name)
		}
	}
	if f.All != nil && len(f.All) == 0 || f.Any != nil && len(f.Any) == 0 {
		out = append(out, plugin.Problem{What: "an empty list of filters"})
	}
	if f.SQL != "" {
		out = append(out, f.compile()...)
	}
	if len(dialects) != 1 {
		out = append(out, plugin.Problem{What: fmt.Sprintf("a filter has one dialect, and this one has %d", len(dialects)), Cure: "write a list of filters: all of them must match"})
	}
	slices.SortFunc(out, func(a, b plugin.Problem) int { return strings.Compare(a.What, b.What) })
	return out
}

// compile reads sql. What is right and cannot be meant is no better than what is wrong.
func (f *Filter) compile() []plugin.Problem {
	var wrong []*cesql.Error
	var err error
	if f.sql, err = cesql.Compile(f.SQL); err != nil {
		wrong = []*cesql.Error{err.(*cesql.Error)}
	} else {
		wrong = f.sql.Doubts()
	}
	var out []plugin.Problem
	for _, e := range wrong {
		out = append(out, plugin.Problem{Path: []string{"sql"}, What: fmt.Sprintf("at character %d: %s", e.At, e.What), Cure: e.Cure})
	}
	return out
}

// maxText is how long an attribute may be: the doors take no longer ones (envelope.MaxAttribute).
const maxText = 1 << 10

// impossible says why no event's attribute can be compared with a text.
func impossible(dialect, name, text string) (p plugin.Problem) {
	switch {
	case !isName(name):
		p.What, p.Cure = fmt.Sprintf("%q is no attribute's name", name), "names are lower-case letters and digits"
	case name == "data":
		p.What, p.Cure = "data is no attribute, and filters do not see it", `ask for it by the trigger's when: "${ data.amount > 13 }"`
	case text == "":
		p.What = fmt.Sprintf("%s compares %q with an empty text", dialect, name)
	case len(text) > maxText:
		p.What, p.Cure = fmt.Sprintf("no event has %q with %d bytes: an attribute has at most %d", name, len(text), maxText), "compare with less of it, by prefix:"
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f }):
		p.What, p.Cure = fmt.Sprintf("no event has %q with a control character", name), "look for a line break in it"
	case dialect == "exact" && name == "time":
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			p.What, p.Cure = fmt.Sprintf("no event has the time %q", text), "write RFC 3339, such as 2006-01-02T15:04:05Z"
		}
	}
	return p
}

// Names adds the attributes that a filter compares by exact, prefix and suffix to those in to.
func (f *Filter) Names(to map[string]bool) {
	for _, attrs := range []map[string]string{f.Exact, f.Prefix, f.Suffix} {
		for name := range attrs {
			to[name] = true
		}
	}
	for _, inner := range [][]Filter{f.All, f.Any} {
		for i := range inner {
			inner[i].Names(to)
		}
	}
	if f.Not != nil {
		f.Not.Names(to)
	}
}

// Schema tells what Check refuses.
func (*Filter) Schema() plugin.Schema {
	attributes := plugin.Schema{
		"minProperties": 1, "propertyNames": plugin.Schema{"pattern": "^[a-z0-9]+$"}, "additionalProperties": plugin.Schema{"minLength": 1},
	}
	some := plugin.Schema{"minItems": 1}
	var dialects []any
	for _, d := range []string{"exact", "prefix", "suffix", "all", "any", "not", "sql"} {
		dialects = append(dialects, plugin.Schema{"required": []any{d}})
	}
	return plugin.Schema{
		"oneOf":      dialects,
		"properties": plugin.Schema{"exact": attributes, "prefix": attributes, "suffix": attributes, "all": some, "any": some, "sql": plugin.Schema{"minLength": 1, "maxLength": cesql.MaxText}},
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

// Attributes reads an event's context attributes by name. Numbers and booleans are what they were sent as: over HTTP, headers are texts.
type Attributes = cesql.Attributes

// Texts are attributes that are all texts.
func Texts(read func(name string) (string, bool)) Attributes {
	return func(name string) (cesql.Value, bool) {
		s, ok := read(name)
		return cesql.Text(s), ok
	}
}

// Of returns the attributes of an event, extensions included; times with the offset that they came with.
func Of(e *event.Event) Attributes {
	return func(name string) (cesql.Value, bool) {
		switch name {
		case "id":
			return cesql.Text(e.ID()), true
		case "source":
			return cesql.Text(e.Source()), true
		case "type":
			return cesql.Text(e.Type()), true
		case "specversion":
			return cesql.Text(e.SpecVersion()), true
		case "subject":
			return cesql.Text(e.Subject()), e.Subject() != ""
		case "datacontenttype":
			return cesql.Text(e.DataContentType()), e.DataContentType() != ""
		case "dataschema":
			return cesql.Text(e.DataSchema()), e.DataSchema() != ""
		case "time":
			return cesql.Text(e.Time().Format(time.RFC3339Nano)), !e.Time().IsZero()
		}
		ctx, ok := e.Context.(*event.EventContextV1) // Whose Extensions method would copy them.
		if !ok {
			return cesql.Value{}, false
		}
		switch v := ctx.Extensions[name].(type) {
		case nil:
			return cesql.Value{}, false
		case string:
			return cesql.Text(v), true
		case int32:
			return cesql.Int(v), true
		case bool:
			return cesql.Bool(v), true
		default:
			text, err := types.Format(v)
			return cesql.Text(text), err == nil
		}
	}
}

// Match reports whether a filter lets the attributes through.
func (f *Filter) Match(a Attributes) bool { return f.match(a, new(error)) }

// match is Match; erred becomes the first error of an evaluation.
func (f *Filter) match(a Attributes, erred *error) bool {
	switch {
	case f.Exact != nil:
		return compare(f.Exact, a, func(s, x string) bool { return s == x })
	case f.Prefix != nil:
		return compare(f.Prefix, a, strings.HasPrefix)
	case f.Suffix != nil:
		return compare(f.Suffix, a, strings.HasSuffix)
	case f.All != nil:
		return matchAll(f.All, a, erred)
	case f.Any != nil:
		for i := range f.Any {
			if f.Any[i].match(a, erred) {
				return true
			}
		}
		return false
	case f.Not != nil:
		return !f.Not.match(a, erred)
	case f.sql != nil:
		matches, err := f.sql.Match(a)
		if err != nil && *erred == nil {
			*erred = err
		}
		return matches
	}
	return false
}

func compare(want map[string]string, a Attributes, how func(s, x string) bool) bool {
	for name, x := range want {
		if s, ok := a(name); !ok || !how(s.String(), x) {
			return false
		}
	}
	return true
}

// MatchAll reports whether all filters let the attributes through; no filter lets everything through.
func MatchAll(filters []Filter, a Attributes) bool { return matchAll(filters, a, new(error)) }

// Try is MatchAll; the error, a *cesql.Error, is the first of an evaluation that was asked for.
func Try(filters []Filter, a Attributes) (matches bool, err error) {
	matches = matchAll(filters, a, &err)
	return matches, err
}

func matchAll(filters []Filter, a Attributes, erred *error) bool {
	for i := range filters {
		if !filters[i].match(a, erred) {
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
			} else if !d.how(s.String(), d.attrs[name]) {
				return fmt.Sprintf("%s %q %s %q", name, s, d.word, d.attrs[name])
			}
		}
	}
	switch {
	case f.All != nil:
		return Explain(f.All, a)
	case f.Not != nil:
		return "a filter under not matches"
	case f.sql != nil:
		return f.explainSQL(a)
	}
	return "none of the filters under any matches"
}

func (f *Filter) explainSQL(a Attributes) string {
	const most = 100
	source := f.SQL
	if len(source) > most {
		source = strings.ToValidUTF8(source[:most], "") + "..."
	}
	_, err := f.sql.Match(a)
	switch e, _ := err.(*cesql.Error); {
	case e == nil:
		return "it is not so that " + source
	case e.Kind == cesql.MissingAttribute:
		return e.What + ", which its sql compares"
	default:
		return fmt.Sprintf("sql fails at character %d: %s", e.At, e.What)
	}
}
