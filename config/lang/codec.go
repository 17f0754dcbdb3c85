package lang

import (
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/plugin"
)

// Canonical returns the definition's bytes: those that it was parsed from, else JSON in the form of documents, keys sorted, what is zero left out.
func (d *Definition) Canonical() []byte {
	if d.text != "" {
		return []byte(d.text)
	}
	return []byte(document(reflect.ValueOf(d)).JSON())
}

// Digest names the definition by its bytes.
func (d *Definition) Digest() Digest { return sha256.Sum256(d.Canonical()) }

// ErrNoDefinition says that bytes are no definition of any version.
var ErrNoDefinition = errors.New("not a definition")

// ParseDefinition reads a definition's bytes. Each policy is the registry's of the version that the definition names; it fails when the registry lacks
// that one. What else it does not know was written by a newer binary, unless the error is ErrNoDefinition.
func ParseDefinition(b []byte, r *plugin.Registry) (*Definition, error) {
	n, err := ParseJSONNode(b)
	if err != nil || n.Kind != MapNode {
		return nil, errors.Join(ErrNoDefinition, err)
	}
	def := &Definition{text: string(b)}
	d := &decoder{registry: r, journaled: true}
	if versions := n.Get("policies"); versions != nil {
		d.decode(versions, reflect.ValueOf(&def.Policies).Elem(), nil)
	}
	for _, name := range sortedKeys(def.Policies) {
		if _, ok := r.At(plugin.Policy, name, def.Policies[name]); ok {
			continue
		}
		have := r.Versions(plugin.Policy, name)
		if len(have) == 0 {
			return nil, fmt.Errorf("policy %q is not built in; run a binary that registers it", name)
		}
		return nil, fmt.Errorf("policy %q has version %d in the definition and %v here; run a binary that registers that version too", name, def.Policies[name], have)
	}
	d.policies = def.Policies
	d.decode(n, reflect.ValueOf(def).Elem(), nil)
	var errs []error
	for _, f := range d.findings {
		errs = append(errs, errors.New(f.String()))
	}
	if len(errs) == 0 {
		errs = append(errs, def.bind())
	}
	return def, errors.Join(errs...)
}

func sortedKeys(m map[string]int) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// NodeMarshaler is the other half of NodeUnmarshaler.
type NodeMarshaler interface{ MarshalNode() Value }

// Document returns the form in which settings stand in a document: keys sorted, what is zero left out.
func Document(settings any) Value { return document(reflect.ValueOf(settings)) }

// document returns the document form of a value, Null when it is zero.
func document(v reflect.Value) Value {
	if !v.IsValid() || v.IsZero() {
		return Null
	}
	switch x := v.Interface().(type) {
	case NodeMarshaler:
		return x.MarshalNode()
	case Expr:
		return x.t.doc
	case Value:
		return x
	case Step:
		return Object(stepMembers(&x)...)
	case Steps:
		return documentSteps(x)
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			panic(fmt.Sprintf("lang: %T does not marshal: %v", x, err))
		}
		return Text(string(b))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return document(v.Elem())
	case reflect.Slice:
		items := make([]Value, v.Len())
		for i := range items {
			items[i] = document(v.Index(i))
		}
		return List(items...)
	case reflect.Map:
		members := make([]Member, 0, v.Len())
		for _, k := range v.MapKeys() {
			m := Member{k.String(), document(v.MapIndex(k))}
			if m.Value.IsNull() && !saidNull(v.MapIndex(k)) {
				m.Value = emptyOf(v.Type().Elem())
			}
			members = append(members, m)
		}
		return sortedObject(members)
	case reflect.Struct:
		return sortedObject(structMembers(v))
	}
	return scalarDocument(v)
}

func emptyOf(t reflect.Type) Value {
	if t.Kind() == reflect.Struct || t.Kind() == reflect.Map {
		return Trusted("{}")
	}
	return Of(reflect.Zero(t).Interface())
}

func scalarDocument(v reflect.Value) Value {
	b, err := json.Marshal(v.Interface())
	if err != nil {
		panic(fmt.Sprintf("lang: %s has no document form: %v", v.Type(), err))
	}
	var s string
	if json.Unmarshal(b, &s) == nil {
		return Text(s)
	}
	return Trusted(string(b))
}

func structMembers(v reflect.Value) []Member {
	var members []Member
	if embedsStep(v.Type()) {
		step := v.FieldByName("Step").Interface().(Step)
		members = stepMembers(&step)
	}
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.Index)
		if f.Sole && fv.Len() == 1 {
			fv = fv.Index(0)
		}
		if fv.Kind() == reflect.Pointer && !fv.IsNil() && fv.Elem().IsZero() {
			members = append(members, Member{f.Name, emptyOf(fv.Type().Elem())})
			continue
		}
		if x := document(fv); !x.IsNull() || saidNull(fv) {
			members = append(members, Member{f.Name, x})
		} else if f.Default != "" {
			// A zero that was said is not the default.
			members = append(members, Member{f.Name, Of(fv.Interface())})
		}
	}
	return members
}

// saidNull tells an expression that was written as null from one that was left out.
func saidNull(v reflect.Value) bool {
	e, ok := v.Interface().(Expr)
	return ok && !e.IsZero()
}

func stepMembers(s *Step) []Member {
	var members []Member
	s = s.origin()
	v := reflect.ValueOf(s).Elem()
	for _, f := range stepFields {
		fv := v.FieldByIndex(f.Index)
		if f.Sole && fv.Len() == 1 {
			fv = fv.Index(0)
		}
		if x := document(fv); !x.IsNull() || saidNull(fv) {
			members = append(members, Member{f.Name, x})
		}
	}
	switch {
	case s.Policy != nil:
		x := document(reflect.ValueOf(s.Policy))
		if x.IsNull() {
			x = Trusted("{}")
		}
		members = append(members, Member{s.Use, x})
	case s.Use != "":
		members = append(members, Member{s.Use, Text(s.Target)})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Key, b.Key) })
	return members
}

func documentSteps(s Steps) Value {
	items := make([]Value, len(s.List))
	for i := range s.List {
		items[i] = Object(stepMembers(&s.List[i])...)
	}
	if s.Names == nil {
		return List(items...)
	}
	members := make([]Member, len(items))
	for i := range items {
		members[i] = Member{s.Names[i], items[i]}
	}
	return Object(members...)
}

func sortedObject(members []Member) Value {
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Key, b.Key) })
	return Object(members...)
}
