package config

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// Accepts are the kinds of events that a source lets in.
type Accepts struct {
	Starts      bool // what triggers' filters let through
	Completions bool // outcomes of functions
	Signals     bool // to runs
}

// AcceptsAll is what a source accepts that does not say.
var AcceptsAll = Accepts{Starts: true, Completions: true, Signals: true}

var acceptable = []string{"starts", "completions", "signals"}

type sourceDoc struct {
	Accepts []string `doc:"accepts,list" help:"what may come in here: starts (events that triggers' filters let through), completions (outcomes and heartbeats of functions), signals (to runs); default: all three. The rest is refused: 403 by a webhook, parked by a topic"`
	pace
}

// A pace is how often something is taken, as documents say it.
type pace struct {
	Rate  Rate `doc:"rate" help:"how many events that start something each router takes: 100/s, 600/m or 5000/h; beyond, a webhook answers 429 with Retry-After, and a topic waits. Outcomes and signals are never held back. Default: no bound"`
	Burst *int `doc:"burst" help:"how many may be taken at once after a pause, where a rate is said; default: as many as a second of the rate, at least one"`
}

func (p *pace) problems() []plugin.Problem {
	switch {
	case p.Burst == nil:
	case *p.Burst < 1:
		return []plugin.Problem{{Path: []string{"burst"}, What: fmt.Sprintf("a burst of %d lets nothing through", *p.Burst), Cure: "write 1 or more, or leave it out"}}
	case p.Rate.IsZero():
		return []plugin.Problem{{Path: []string{"burst"}, What: "a burst without a rate bounds nothing", Cure: "add rate: 100/s"}}
	}
	return nil
}

// burst is how many may be taken at once.
func (p *pace) burst() int {
	if p.Burst != nil {
		return *p.Burst
	}
	return p.Rate.OneSecond()
}

func (*pace) schema(more plugin.Schema) plugin.Schema {
	more["burst"] = plugin.Schema{"minimum": 1}
	return plugin.Schema{"properties": more, "dependentRequired": plugin.Schema{"burst": []any{"rate"}}}
}

// A Tenant is what is said of one besides its triggers.
type Tenant struct {
	Name  string
	Rate  Rate // how often its triggers start something, all told
	Burst int
}

type tenantDoc struct{ pace }

// Check reports what bounds nothing.
func (t *tenantDoc) Check() []plugin.Problem { return t.problems() }

// Schema tells what Check refuses.
func (t *tenantDoc) Schema() plugin.Schema { return t.schema(plugin.Schema{}) }

// tenant takes over what is said of a tenant.
func (l *loader) tenant(name string, pos lang.Pos, n *lang.Node) {
	path := "tenants." + name
	if l.set.Tenants[name] != nil {
		l.find(pos, path, "keep one", "tenant %q is said twice", name)
		return
	}
	var doc tenantDoc
	l.prefixed(path, lang.Decode(n, &doc, l.registry))
	l.set.Tenants[name] = &Tenant{Name: name, Rate: doc.Rate, Burst: doc.burst()}
	l.tenants = append(l.tenants, namedAt{name, pos})
}

type namedAt struct {
	name string
	pos  lang.Pos
}

// strangers warns of tenants that no trigger belongs to: a word may be misspelled.
func (l *loader) strangers() {
	var known []string
	for _, t := range l.triggers {
		known = append(known, t.Tenant)
	}
	slices.Sort(known)
	for _, t := range l.tenants {
		if !slices.Contains(known, t.name) {
			l.warnings = append(l.warnings, lang.Finding{Pos: t.pos, Path: "tenants." + t.name, What: fmt.Sprintf("no trigger is of tenant %q", t.name), Cure: lang.Nearest(t.name, slices.Compact(known)), Warning: true})
		}
	}
}

// Check reports words that are none, and a source that lets nothing in.
func (s *sourceDoc) Check() []plugin.Problem {
	var out []plugin.Problem
	for i, word := range s.Accepts {
		p := plugin.Problem{Path: []string{"accepts", fmt.Sprint(i)}}
		switch {
		case !slices.Contains(acceptable, word):
			p.What, p.Cure = fmt.Sprintf("a source cannot accept %q", word), lang.Nearest(word, acceptable)
		case slices.Contains(s.Accepts[:i], word):
			p.What, p.Cure = fmt.Sprintf("%q comes twice", word), "keep one"
		default:
			continue
		}
		out = append(out, p)
	}
	if s.Accepts != nil && len(s.Accepts) == 0 {
		out = append(out, plugin.Problem{Path: []string{"accepts"}, What: "the source accepts nothing", Cure: "write accepts: [starts], or leave it out to accept all"})
	}
	return append(out, s.problems()...)
}

// Schema tells what Check refuses.
func (s *sourceDoc) Schema() plugin.Schema {
	words := plugin.Schema{"enum": []any{"starts", "completions", "signals"}}
	list := plugin.Schema{"type": "array", "items": words, "minItems": 1, "uniqueItems": true}
	return s.schema(plugin.Schema{"accepts": plugin.Schema{"anyOf": []any{list, words}}})
}

func (s *sourceDoc) accepts() Accepts {
	if s.Accepts == nil {
		return AcceptsAll
	}
	return Accepts{
		Starts: slices.Contains(s.Accepts, "starts"), Completions: slices.Contains(s.Accepts, "completions"), Signals: slices.Contains(s.Accepts, "signals"),
	}
}
