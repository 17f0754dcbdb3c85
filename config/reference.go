package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
)

// A Page is the reference of one part of documents, made of the struct that it decodes into: what it does, and each of its keys.
type Page struct {
	Kind     string   `json:"kind"` // policy, sink, source, or what all of a kind have: keys
	Name     string   `json:"name"`
	Version  int      `json:"version,omitempty"`
	Summary  string   `json:"summary"`
	Text     string   `json:"text,omitempty"`
	Keys     []KeyDoc `json:"keys"`
	Yields   string   `json:"yields,omitempty"`
	Errors   []string `json:"errors,omitempty"`
	Examples []string `json:"examples,omitempty"`
}

// A KeyDoc is one key of a page.
type KeyDoc struct {
	Key      string `json:"key"` // with those around it, and dots between
	Form     string `json:"form"`
	Default  string `json:"default,omitempty"`
	Required bool   `json:"required,omitempty"`
	Help     string `json:"help"`
	Example  string `json:"example,omitempty"` // from the page's examples
}

// Reference returns the pages: what steps, functions, triggers, destinations and sources have in common, and each policy, sink and source of a registry.
func Reference(r *plugin.Registry) []Page {
	b := referrer{schemas: lang.NewSchemas(r)}
	pages := []Page{
		b.page("keys", "step", "What every step may say, whatever it does.", reflect.TypeFor[lang.Step](), stepGuide),
		b.page("keys", "function", "What a function may say beside its sink.", reflect.TypeFor[functionDoc](), functionGuide),
		b.page("keys", "trigger", "What a trigger may say.", reflect.TypeFor[triggerDoc](), triggerGuide),
		b.page("keys", "destination", "What a destination of a trigger may say: a sink with its keys, a function or a trigger.", reflect.TypeFor[destinationDoc](), destinationGuide),
		b.page("keys", "source", "What a source may say beside what it is.", reflect.TypeFor[sourceDoc](), sourceGuide),
	}
	for _, door := range []plugin.Door{plugin.Policy, plugin.Sink, plugin.Source} {
		for _, c := range r.List(door) {
			var guide plugin.Guide
			if g, ok := reflect.New(c.Settings).Interface().(plugin.Guider); ok {
				guide = g.Guide()
			}
			p := b.page(door.String(), c.Name, c.Summary, c.Settings, guide)
			p.Version = c.Version
			pages = append(pages, p)
		}
	}
	return pages
}

// File is where a page stands among the others.
func (p *Page) File() string {
	if p.Kind == "keys" {
		return p.Name + ".md"
	}
	return p.Kind + "-" + p.Name + ".md"
}

type referrer struct {
	schemas *lang.Schemas
	around  []reflect.Type // of what is being told: a type may hold itself
}

func (b *referrer) page(kind, name, summary string, t reflect.Type, guide plugin.Guide) Page {
	p := Page{Kind: kind, Name: name, Summary: summary, Text: guide.Text, Yields: guide.Yields, Errors: guide.Errors}
	var shown []*lang.Node
	for _, example := range guide.Examples {
		p.Examples = append(p.Examples, strings.Trim(example, "\n"))
		nodes, _ := yamldoc.Parse(name, []byte(example))
		for _, n := range nodes {
			if kind != "keys" && n.Get(name) != nil {
				n = n.Get(name)
			}
			shown = append(shown, n)
		}
	}
	b.around = []reflect.Type{t, reflect.TypeFor[lang.Step]()}
	p.Keys = b.keys(t, nil, kind == "keys" && name == "step", shown)
	return p
}

// keys are those of a type, and of what is in it; what is a step's own in there is told on the page of steps.
func (b *referrer) keys(t reflect.Type, path []string, own bool, shown []*lang.Node) []KeyDoc {
	var out []KeyDoc
	for _, k := range b.schemas.Keys(t) {
		at := append(slices.Clip(path), k.Name)
		d := KeyDoc{Key: strings.Join(at, "."), Form: b.form(k.Schema), Default: k.Default, Required: k.Required, Help: k.Help}
		for _, n := range shown {
			if d.Example != "" {
				break
			}
			if len(path) == 0 && k.Value && n.Kind != lang.MapNode {
				d.Example = inline(n)
			} else if found := lookUp(n, at); found != nil {
				d.Example = inline(found)
			}
		}
		out = append(out, d)
		inner := k.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if elsewhere := !own && inner.PkgPath() == reflect.TypeFor[lang.Step]().PkgPath(); inner.Kind() != reflect.Struct || elsewhere || slices.Contains(b.around, inner) {
			continue
		}
		b.around = append(b.around, inner)
		out = append(out, b.keys(inner, at, own, shown)...)
		b.around = b.around[:len(b.around)-1]
	}
	return out
}

// lookUp finds what stands under keys, in any item of the lists and names between.
func lookUp(n *lang.Node, path []string) *lang.Node {
	if len(path) == 0 {
		return n
	}
	if x := n.Get(path[0]); x != nil {
		if found := lookUp(x, path[1:]); found != nil {
			return found
		}
	}
	for _, item := range n.Items {
		if item.Kind != lang.ScalarNode && (n.Kind == lang.ListNode || item.Get(path[0]) != nil) {
			if found := lookUp(item, path); found != nil {
				return found
			}
		}
	}
	return nil
}

// inline is a value as it may be written in one line.
func inline(n *lang.Node) string {
	switch n.Kind {
	case lang.ListNode:
		items := make([]string, len(n.Items))
		for i, x := range n.Items {
			items[i] = inline(x)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case lang.MapNode:
		items := make([]string, len(n.Items))
		for i, x := range n.Items {
			items[i] = n.Keys[i].Name + ": " + inline(x)
		}
		return "{ " + strings.Join(items, ", ") + " }"
	}
	if text := n.Text(); n.Value.JSON()[0] == '"' && isName(text) && !slices.Contains([]string{"true", "false", "null"}, text) {
		return text
	}
	return n.Value.JSON()
}

// form tells people what a schema lets through.
func (b *referrer) form(x plugin.Schema) string {
	if ref, ok := x["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		if of, _ := b.schemas.Defs[name].(plugin.Schema); !slices.Contains([]string{"expression", "step", "steps", "duration", "secret"}, name) && of != nil {
			return b.form(of)
		}
		return name
	}
	if words, ok := x["enum"].([]any); ok {
		return strings.Trim(strings.NewReplacer(`"`, "", ",", ", ").Replace(lang.Of(words).JSON()), "[]")
	}
	for _, word := range []string{"anyOf", "oneOf"} {
		if ways, ok := x[word].([]any); ok && x["type"] == nil && x["properties"] == nil {
			var forms []string
			for _, way := range ways {
				if f := b.form(way.(plugin.Schema)); !slices.Contains(forms, f) {
					forms = append(forms, f)
				}
			}
			return strings.Join(forms, " or ")
		}
	}
	items, _ := x["items"].(plugin.Schema)
	values, _ := x["additionalProperties"].(plugin.Schema)
	switch kind, _ := x["type"].(string); {
	case kind == "array" && items != nil:
		return "list of " + b.form(items)
	case values != nil:
		return "names, each with: " + b.form(values)
	case kind == "object" && x["properties"].(plugin.Schema)["name"] != nil && x["properties"].(plugin.Schema)["function"] != nil:
		return "step with further keys"
	case kind == "object":
		return "mapping"
	case kind == "":
		return "value"
	default:
		return map[string]string{"string": "text", "integer": "whole number", "boolean": "true or false"}[kind] + bounds(kind, x)
	}
}

func bounds(kind string, x plugin.Schema) string {
	out := ""
	if kind == "number" {
		out = kind
	}
	if v := x["minimum"]; v != nil {
		out += fmt.Sprintf(" from %v", v)
	}
	if v := x["maximum"]; v != nil {
		out += fmt.Sprintf(" to %v", v)
	}
	return out
}

// Markdown is the page for people.
func (p *Page) Markdown() string {
	var w strings.Builder
	what := p.Kind
	if p.Kind == "keys" {
		fmt.Fprintf(&w, "# %s\n\n%s\n", p.Name, p.Summary)
	} else {
		fmt.Fprintf(&w, "# %s\n\nA %s, version %d. %s\n", p.Name, what, p.Version, p.Summary)
	}
	for _, text := range []struct{ title, body string }{{"", p.Text}, {"## What it yields\n\n", p.Yields}} {
		if text.body != "" {
			fmt.Fprintf(&w, "\n%s%s\n", text.title, strings.TrimSpace(text.body))
		}
	}
	if len(p.Keys) > 0 {
		w.WriteString("\n## Keys\n\n| key | what it takes | default | what it says | example |\n|---|---|---|---|---|\n")
	}
	for _, k := range p.Keys {
		if k.Required {
			k.Default = "must be there"
		} else if k.Default != "" {
			k.Default = "`" + k.Default + "`"
		}
		example := ""
		if k.Example != "" && len(k.Example) <= 100 {
			example = "`" + k.Example + "`"
		} else if k.Example != "" {
			example = "below"
		}
		fmt.Fprintf(&w, "| `%s` | %s | %s | %s | %s |\n", k.Key, cell(k.Form), k.Default, cell(k.Help), cell(example))
	}
	if len(p.Errors) > 0 {
		w.WriteString("\n## Errors\n\n")
		for _, e := range p.Errors {
			kind, when, _ := strings.Cut(e, ": ")
			fmt.Fprintf(&w, "- `%s`: %s\n", kind, when)
		}
	}
	if len(p.Examples) > 0 {
		w.WriteString("\n## Examples\n")
		for _, e := range p.Examples {
			fmt.Fprintf(&w, "\n```yaml\n%s\n```\n", e)
		}
	}
	return w.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// Contents is the page that leads to the others.
func Contents(pages []Page) string {
	var w strings.Builder
	w.WriteString("# Reference of documents\n\nMade by `onward docs all` of what the program decodes documents into. Do not edit: a test holds these pages to the code.\n")
	titles := map[string]string{"keys": "What all of a kind have", "policy": "Policies", "sink": "Sinks", "source": "Sources"}
	kind := ""
	for _, p := range pages {
		if p.Kind != kind {
			kind = p.Kind
			fmt.Fprintf(&w, "\n## %s\n\n", titles[kind])
		}
		fmt.Fprintf(&w, "- [%s](%s): %s\n", p.Name, p.File(), p.Summary)
	}
	return w.String()
}
