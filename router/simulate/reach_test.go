package simulate_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// settings are the policies with the types of their settings: what there is to generate is read from them, so that a new key that no garden has is found.
type settings map[string]reflect.Type

func settingsOf(reg *plugin.Registry) settings {
	of := settings{}
	for _, c := range reg.List(plugin.Policy) {
		of[c.Name] = c.Settings
	}
	return of
}

var (
	stepType = reflect.TypeFor[lang.Step]()
	joinType = reflect.TypeFor[schedulers.Join]()
)

// A key is one of a struct's document.
type docKey struct {
	name        string
	of          reflect.Type
	value, rest bool
}

func docKeys(t reflect.Type) (keys []docKey) {
	for i := range t.NumField() {
		f := t.Field(i)
		words := strings.Split(f.Tag.Get("doc"), ",")
		if words[0] != "" && words[0] != "-" && f.IsExported() {
			keys = append(keys, docKey{words[0], f.Type, slices.Contains(words, "value"), slices.Contains(words, "rest")})
		}
	}
	return keys
}

// inner is the struct that a type holds one or more of.
func inner(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

func embedsStep(t reflect.Type) bool {
	f, ok := t.FieldByName("Step")
	return t != stepType && ok && f.Anonymous && f.Type == stepType
}

// all lists every key of every policy, and those that all steps have.
func (s settings) all() []string {
	var out []string
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		if t = inner(t); t == stepType || t.Kind() != reflect.Struct {
			return
		}
		for _, key := range docKeys(t) {
			out = append(out, path+"."+key.name)
			walk(path+"."+key.name, key.of)
		}
	}
	for name, t := range s {
		out = append(out, name)
		walk(name, t)
	}
	for _, key := range docKeys(stepType) {
		out = append(out, "step."+key.name)
		walk("step."+key.name, key.of)
	}
	return append(out, "step.function", "step.flow")
}

// in gives the keys of a step's document, without those of steps in it for which own is true.
func (s settings) in(doc map[string]any, own func(map[string]any) bool, see func(key string)) {
	var step func(v any)
	var walk func(path string, t reflect.Type, v any)
	step = func(v any) {
		doc, _ := v.(map[string]any)
		if doc == nil || own(doc) {
			return
		}
		for key, v := range doc {
			switch {
			case s[key] != nil:
				see(key)
				walk(key, s[key], v)
			case key == "function" || key == "flow":
				see("step." + key)
			}
		}
		for _, key := range docKeys(stepType) {
			if v, said := doc[key.name]; said {
				see("step." + key.name)
				walk("step."+key.name, key.of, v)
			}
		}
	}
	walk = func(path string, t reflect.Type, v any) {
		if t = inner(t); t == reflect.TypeFor[lang.Steps]() {
			t = stepType
		}
		if t.Kind() != reflect.Struct {
			return
		}
		if list, many := v.([]any); many && (t == stepType || len(docKeys(t)) > 0 && !slices.ContainsFunc(docKeys(t), func(k docKey) bool { return k.value })) {
			for _, x := range list {
				walk(path, t, x)
			}
			return
		}
		object, isObject := v.(map[string]any)
		switch {
		case t == stepType && isObject && !isStep(s, object):
			for _, x := range object { // Steps by their names.
				step(x)
			}
			return
		case t == stepType:
			step(v)
			return
		case t == joinType && !isObject:
			see(path + ".for")
			return
		case embedsStep(t):
			step(v) // Of which the keys beside are the policy's that it stands in.
		}
		for _, key := range docKeys(t) {
			x, said := object[key.name]
			if !isObject && key.value {
				x, said = v, true
			}
			if said {
				see(path + "." + key.name)
				walk(path+"."+key.name, key.of, x)
			}
		}
	}
	step(doc)
}

func isStep(s settings, doc map[string]any) bool {
	for key := range doc {
		if s[key] != nil || key == "function" || key == "flow" {
			return true
		}
	}
	return false
}

func newGarden(reg *plugin.Registry, rng *rand.Rand, s *story) *garden {
	return &garden{rng: rng, story: s, settings: settingsOf(reg), own: make(map[uintptr]bool)}
}

func address(doc map[string]any) uintptr { return reflect.ValueOf(doc).Pointer() }

// with is a step's document with more keys: it stands for the step.
func (g *garden) with(n node, keys map[string]any) map[string]any {
	doc := maps.Clone(n.doc)
	maps.Copy(doc, keys)
	g.own[address(doc)] = g.own[address(n.doc)]
	g.keep = append(g.keep, doc)
	return doc
}

// seen has a step count what of its settings is come to, whenever it is.
func (g *garden) seen(n node) node {
	eval, doc := n.eval, n.doc
	g.own[address(doc)] = true
	g.keep = append(g.keep, doc)
	n.eval = func(in any, s *story) (any, bool) {
		g.settings.in(doc, func(inner map[string]any) bool { return address(inner) != address(doc) && g.own[address(inner)] }, func(key string) { s.reached[key]++ })
		return eval(in, s)
	}
	return n
}

// missing lists the keys that were come to too rarely, those of triggers beside those of policies.
func (s settings) missing(triggers []string, reached map[string]int, least int) (out []string) {
	for _, key := range append(s.all(), triggers...) {
		if reached[key] < least {
			out = append(out, fmt.Sprintf("%s (%d)", key, reached[key]))
		}
	}
	slices.Sort(out)
	return out
}
