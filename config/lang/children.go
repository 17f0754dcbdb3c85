package lang

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Children returns the steps inside a policy's settings (a pointer to its struct); their positions are the slots. They come in the order of the fields,
// of lists as they stand, of Steps with names as the document has them, and of a map by its sorted keys. A step that may be left out, and is, has its slot
// all the same, which is nil, so that no other slot hangs on it; but nils at the end are left out. Children does not go into the children's own.
//
// The same settings always give the same pointers.
func Children(policy any) []*Step {
	found := children(policy)
	out := make([]*Step, len(found))
	for slot, c := range found {
		out[slot] = c.step
	}
	return out
}

// ChildKeys returns, for each slot, the key of the map that the step stands in, which is its label; empty for what stands in none.
func ChildKeys(policy any) []string {
	found := children(policy)
	out := make([]string, len(found))
	for slot, c := range found {
		out[slot] = c.key
	}
	return out
}

// ChildRoles returns, for each slot, the key of the settings under which the step stands: branches, do, undo.
func ChildRoles(policy any) []string {
	found := children(policy)
	out := make([]string, len(found))
	for slot, c := range found {
		out[slot] = c.role
	}
	return out
}

// ChildPlaces returns, for each slot, where in the list of steps it stands that it is in, as people count in a document: 1 is the second one, 1.undo its undo.
// Empty is in none.
func ChildPlaces(policy any) []string {
	found := children(policy)
	out := make([]string, len(found))
	for slot, c := range found {
		out[slot] = c.place
	}
	return out
}

type child struct {
	step  *Step // nil is left out
	key   string
	role  string
	place string
}

func children(policy any) []child {
	if policy == nil {
		return nil
	}
	var c collector
	c.collect(reflect.ValueOf(policy), "", "")
	for len(c.found) > 0 && c.found[len(c.found)-1].step == nil {
		c.found = c.found[:len(c.found)-1]
	}
	return c.found
}

type collector struct {
	found  []child
	absent []reflect.Type // around what is collected, of what is not there: a type may hold itself
	item   string         // the list item that is collected, and the role that a step has which is that item
	role   string
}

func (c *collector) collect(v reflect.Value, key, role string) {
	switch v.Kind() {
	case reflect.Pointer:
		switch t := v.Type().Elem(); {
		case !v.IsNil():
			c.collect(v.Elem(), key, role)
		case t.Kind() == reflect.Struct && !slices.Contains(c.absent, t):
			c.absent = append(c.absent, t)
			c.collect(reflect.Zero(t), key, role)
			c.absent = c.absent[:len(c.absent)-1]
		}
	case reflect.Slice:
		if holdsSteps(v.Type().Elem()) {
			outer := *c
			for i := range v.Len() {
				c.item, c.role = strconv.Itoa(i), role
				c.collect(v.Index(i), key, role)
			}
			c.item, c.role = outer.item, outer.role
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && holdsSteps(v.Type().Elem()) {
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, k := range keys {
				c.collect(v.MapIndex(k), k.String(), role)
			}
		}
	case reflect.Struct:
		if v.Type() == typeStep {
			place := c.item
			if place != "" && role != c.role {
				place += "." + role
			}
			c.found = append(c.found, child{present(v), key, role, place})
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				name, _, _ := strings.Cut(f.Tag.Get("doc"), ",")
				c.collect(v.Field(i), key, cmp.Or(name, role))
			}
		}
	}
}

func holdsSteps(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Pointer, reflect.Slice, reflect.Map:
		return true
	}
	return false
}

// present is the step that v is; nil when it is none.
func present(v reflect.Value) *Step {
	switch {
	case v.CanAddr():
		if s := v.Addr().Interface().(*Step); s.Use != "" {
			return s
		}
	case v.CanInterface():
		if s := v.Interface().(Step); s.Use != "" {
			return s.origin()
		}
	}
	return nil
}

// origin is the step that s is a copy of: s itself, unless it stands in a map.
func (s *Step) origin() *Step {
	if s.own != nil {
		return s.own
	}
	return s
}

// settle gives the steps in v, which is about to be copied into a map, the place where they stay: what is in a map has no address.
func settle(v reflect.Value) {
	var c collector
	c.collect(v, "", "")
	for _, x := range c.found {
		if x.step != nil {
			x.step.own = x.step
		}
	}
}
