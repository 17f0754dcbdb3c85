package lang

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/onward-router/onward/config/plugin"
)

// Schemas makes JSON Schema (draft 2020-12) of the types that Decode knows, of the tags that Decode reads: a schema accepts all that Decode accepts. What
// has a name comes once, in Defs, and is referred to from there on.
type Schemas struct {
	Defs     plugin.Schema
	registry *plugin.Registry
	names    map[reflect.Type]string
}

// NewSchemas returns schemas that know a registry's policies. Steps, expressions, durations and secrets are among the definitions.
func NewSchemas(r *plugin.Registry) *Schemas {
	s := &Schemas{Defs: plugin.Schema{}, registry: r, names: map[reflect.Type]string{typeExpr: "expression", typeStep: "step", typeSteps: "steps"}}
	for _, t := range []reflect.Type{typeStep, typeSteps, typeExpr, reflect.TypeFor[plugin.Duration](), reflect.TypeFor[plugin.Secret]()} {
		s.Of(t)
	}
	return s
}

// Of returns the schema of what decodes into a type: a reference, when the type has a name. The caller may add to it.
func (s *Schemas) Of(t reflect.Type) plugin.Schema {
	if t.Kind() == reflect.Pointer {
		return s.Of(t.Elem())
	}
	name := s.name(t)
	if name == "" {
		return s.Form(t)
	}
	if _, had := s.Defs[name]; !had {
		s.Defs[name] = nil // It may refer to itself.
		s.Defs[name] = s.Form(t)
	}
	return reference(name)
}

func reference(name string) plugin.Schema { return plugin.Schema{"$ref": "#/$defs/" + name} }

// Component returns the schema of a component's part of a document: a reference.
func (s *Schemas) Component(c plugin.Component) plugin.Schema {
	name := c.Door.String() + "." + c.Name
	if _, had := s.Defs[name]; !had {
		s.Defs[name] = nil
		form := s.Form(c.Settings)
		form["description"] = c.Summary
		s.Defs[name] = form
	}
	return reference(name)
}

// name is the word under which a type is defined; empty for what has none.
func (s *Schemas) name(t reflect.Type) string {
	if name, ok := s.names[t]; ok {
		return name
	}
	p := reflect.PointerTo(t)
	if t.Name() == "" || t == typeValue || t.Kind() != reflect.Struct && !p.Implements(typeNode) && !p.Implements(typeText) {
		return ""
	}
	lower := func(s string) string { return string(unicode.ToLower(rune(s[0]))) + s[1:] }
	word, folder := lower(t.Name()), path.Base(t.PkgPath())
	if folder != "lang" && folder != "plugin" && folder != word {
		word = folder + "." + word
	}
	name := word
	for i := 2; slices.ContainsFunc(sortedNames(s.names), func(had string) bool { return had == name }); i++ {
		name = fmt.Sprint(word, i)
	}
	s.names[t] = name
	return name
}

func sortedNames(m map[reflect.Type]string) []string {
	names := make([]string, 0, len(m))
	for _, name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Form is Of without a reference to the type itself.
func (s *Schemas) Form(t reflect.Type) plugin.Schema {
	p := reflect.PointerTo(t)
	schemer, told := reflect.New(t).Interface().(plugin.Schemer)
	switch {
	case p.Implements(typeNode):
		if told {
			return schemer.Schema()
		}
		return plugin.Schema{}
	case t == typeExpr:
		return plugin.Schema{"description": "a value whose texts may hold CEL expressions: \"${ data.name }\"; a text that is one expression stands for its value, of whatever type"}
	case t == typeValue:
		return plugin.Schema{}
	case t == typeStep:
		return s.step(nil)
	case t == typeSteps:
		return plugin.Schema{
			"description": "a list of steps, or names with steps",
			"anyOf": []any{
				plugin.Schema{"type": "array", "items": reference("step")}, plugin.Schema{"type": "object", "additionalProperties": reference("step")},
			},
		}
	case p.Implements(typeText):
		if told {
			return schemer.Schema()
		}
		return plugin.Schema{"type": []any{"string", "number", "boolean"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.structure(t, schemer)
	case reflect.Slice:
		return plugin.Schema{"type": "array", "items": s.Of(t.Elem())}
	case reflect.Map:
		return plugin.Schema{"type": "object", "additionalProperties": s.Of(t.Elem())}
	case reflect.String:
		return plugin.Schema{"type": "string"}
	case reflect.Bool:
		return plugin.Schema{"type": "boolean"}
	case reflect.Float64:
		return plugin.Schema{"type": "number"}
	}
	return plugin.Schema{"type": "integer"}
}

// step is the form of a step, and of a struct that adds keys to it.
func (s *Schemas) step(extra []field) plugin.Schema {
	properties := plugin.Schema{}
	for _, f := range slices.Concat(stepFields, extra) {
		properties[f.Name] = s.field(f)
	}
	var uses []string
	use := func(word string, x plugin.Schema) {
		if _, common := properties[word]; !common {
			properties[word] = x
			uses = append(uses, word)
		}
	}
	use(UseFunction, plugin.Schema{"type": "string", "description": "name of the function to invoke"})
	use(UseFlow, plugin.Schema{"type": "string", "description": "name of the flow to run"})
	for _, c := range s.registry.List(plugin.Policy) {
		use(c.Name, s.Component(c))
	}
	x := ExactlyOne(uses...)
	if c, ok := properties[useAmong].(plugin.Schema); ok && slices.Contains(uses, useAmong) {
		properties[useAmong] = plugin.Schema{"anyOf": []any{c, plugin.Schema{"type": "array", "minItems": 1, "uniqueItems": true, "items": plugin.Schema{"type": "string"}}}}
		x["oneOf"] = orAmong(x["oneOf"].([]any))
	}
	x["type"], x["additionalProperties"], x["properties"] = "object", false, properties
	return x
}

// orAmong adds, to the ways of a step to say what it does, an expression for its function or its flow with a list of names.
func orAmong(ways []any) []any {
	list := plugin.Schema{"properties": plugin.Schema{useAmong: plugin.Schema{"type": "array"}}, "required": []any{useAmong}}
	for i := range ways {
		ways[i] = plugin.Schema{"allOf": []any{ways[i], plugin.Schema{"not": list}}}
	}
	for _, use := range []string{UseFunction, UseFlow} {
		pick := plugin.Schema{"properties": plugin.Schema{use: plugin.Schema{"pattern": `\$\{`}}, "required": []any{use}}
		ways = append(ways, plugin.Schema{"allOf": []any{list, pick}})
	}
	return ways
}

// ExactlyOne says that an object has one of the keys and no other of them.
func ExactlyOne(keys ...string) plugin.Schema {
	if len(keys) == 0 {
		return plugin.Schema{"not": plugin.Schema{}}
	}
	ways := make([]any, len(keys))
	for i, key := range keys {
		ways[i] = plugin.Schema{"required": []any{key}}
	}
	return plugin.Schema{"oneOf": ways}
}

func (s *Schemas) structure(t reflect.Type, schemer plugin.Schemer) plugin.Schema {
	fields := fieldsOf(t)
	x := plugin.Schema{"type": "object", "additionalProperties": false, "properties": plugin.Schema{}}
	if embedsStep(t) {
		x = s.step(fields)
	}
	properties := x["properties"].(plugin.Schema)
	var required []any
	for _, f := range fields {
		properties[f.Name] = s.field(f)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	if len(required) > 0 {
		x["required"] = required
	}
	if schemer != nil {
		add(t, x, schemer.Schema())
	}
	forms := []any{x}
	for _, f := range fields {
		if f.Rest && !embedsStep(t) {
			forms = append(forms, s.short(x, f))
		}
		if f.Value {
			forms = append([]any{without(properties[f.Name].(plugin.Schema), "object")}, forms...)
		}
	}
	if len(forms) == 1 {
		return x
	}
	return plugin.Schema{"anyOf": forms}
}

// short is the form of a struct, which is x, with the names of a field among its own keys.
func (s *Schemas) short(x plugin.Schema, rest field) plugin.Schema {
	properties, own := plugin.Schema{}, []any{}
	for key, v := range x["properties"].(plugin.Schema) {
		properties[key] = v
	}
	properties[rest.Name] = false
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		own = append(own, key)
	}
	out := plugin.Schema{}
	for key, v := range x {
		out[key] = v
	}
	required, _ := x["required"].([]any)
	out["required"] = slices.DeleteFunc(slices.Clone(required), func(key any) bool { return key == rest.Name })
	element := typeStep
	if rest.Type != typeSteps {
		element = rest.Type.Elem()
	}
	out["properties"], out["additionalProperties"] = properties, s.Of(element)
	out["not"] = plugin.Schema{"propertyNames": plugin.Schema{"enum": own}}
	return out
}

// add puts what a Schemer says beside what its tags say.
func add(t reflect.Type, x, more plugin.Schema) {
	for key, v := range more {
		had, double := x[key]
		into, object := had.(plugin.Schema)
		from, _ := v.(plugin.Schema)
		switch {
		case !double || key == "description":
			x[key] = v
		case key == "required":
			x[key] = append(had.([]any), v.([]any)...)
		case key == "properties":
			for name, p := range from {
				of, ok := into[name].(plugin.Schema)
				if !ok {
					panic(fmt.Sprintf("lang: the schema of %s speaks of %q, which it does not have", t, name))
				}
				add(t, of, p.(plugin.Schema))
			}
		case object && from != nil:
			add(t, into, from)
		default:
			all, _ := x["allOf"].([]any)
			x["allOf"] = append(all, plugin.Schema{key: v})
		}
	}
}

// field is the schema of a key: of its type, with its help and its default.
func (s *Schemas) field(f field) plugin.Schema {
	x := s.Of(f.Type)
	if f.Sole {
		x["minItems"] = 1
	}
	if f.Above0 {
		x["not"] = plugin.Zero()
	}
	if f.List {
		x = plugin.Schema{"anyOf": []any{x, without(s.Of(f.Type.Elem()), "array")}}
	}
	if f.Help != "" {
		x["description"] = f.Help
	}
	if f.Default != "" {
		x["default"] = f.Default
		if v, err := ParseValue([]byte(f.Default)); err == nil && f.Type.Kind() != reflect.String {
			x["default"] = v
		}
	}
	return x
}

// without is a schema less one kind of values.
func without(x plugin.Schema, kind string) plugin.Schema {
	out := plugin.Schema{}
	for key, v := range x {
		if key != "default" {
			out[key] = v
		}
	}
	kinds := []any{"array", "boolean", "null", "number", "object", "string"}
	switch t := out["type"].(type) {
	case string:
		kinds = []any{t}
	case []any:
		kinds = slices.Clone(t)
	}
	kinds = slices.DeleteFunc(kinds, func(k any) bool { return k == kind })
	switch len(kinds) {
	case 0:
		return plugin.Schema{"not": plugin.Schema{}}
	case 1:
		out["type"] = kinds[0]
	default:
		out["type"] = kinds
	}
	return out
}

// Reachable returns the definitions that a schema refers to, itself or through others.
func (s *Schemas) Reachable(x any) plugin.Schema {
	found := plugin.Schema{}
	s.reach(x, found)
	return found
}

func (s *Schemas) reach(x any, found plugin.Schema) {
	switch x := x.(type) {
	case plugin.Schema:
		for key, v := range x {
			text, _ := v.(string)
			name, ok := strings.CutPrefix(text, "#/$defs/")
			if key != "$ref" || !ok {
				s.reach(v, found)
			} else if _, had := found[name]; !had {
				found[name] = s.Defs[name]
				s.reach(s.Defs[name], found)
			}
		}
	case []any:
		for _, v := range x {
			s.reach(v, found)
		}
	}
}
