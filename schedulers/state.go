package schedulers

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
)

// A scale weighs the states of one type: about how many bytes each takes in a snapshot, so that it can be bounded, and whether it can be saved and loaded
// at all. Of a plain type - numbers that are whole, texts, values, outcomes, and structs, lists and maps of those - every state can, and weighing does not
// encode.
type scale struct {
	plain bool
	fixed int // bytes, of a type whose states all weigh the same
	weigh func(v reflect.Value, value func(lang.Value) error) (int, error)
}

var (
	typeValue      = reflect.TypeFor[lang.Value]()
	typeOutcome    = reflect.TypeFor[lang.Outcome]()
	typeMarshaler  = reflect.TypeFor[json.Marshaler]()
	typeText       = reflect.TypeFor[encoding.TextMarshaler]()
	typeUnmarshal  = reflect.TypeFor[json.Unmarshaler]()
	typeUnmarshalT = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// scaleOf makes the scale of a type; inside are the types around it, so that one that holds itself is seen.
func scaleOf(t reflect.Type, inside ...reflect.Type) scale {
	for _, outer := range inside {
		if outer == t {
			return scale{}
		}
	}
	if t == typeValue {
		return scale{plain: true, weigh: func(v reflect.Value, value func(lang.Value) error) (int, error) {
			x := v.Interface().(lang.Value)
			return x.Size(), value(x)
		}}
	}
	if t == typeOutcome {
		return scale{plain: true, weigh: weighOutcome}
	}
	for _, own := range []reflect.Type{typeMarshaler, typeText, typeUnmarshal, typeUnmarshalT} {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return scale{}
		}
	}
	inside = append(inside, t)
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return scale{plain: true, fixed: 8}
	case reflect.String:
		return scale{plain: true, weigh: func(v reflect.Value, _ func(lang.Value) error) (int, error) { return v.Len() + 2, nil }}
	case reflect.Struct:
		return scaleOfStruct(t, inside)
	case reflect.Slice, reflect.Array:
		return scaleOfList(scaleOf(t.Elem(), inside...))
	case reflect.Map:
		if k := t.Key().Kind(); k != reflect.String && (k < reflect.Int || k > reflect.Uint64) {
			return scale{}
		}
		return scaleOfMap(scaleOf(t.Key(), inside...), scaleOf(t.Elem(), inside...))
	}
	return scale{}
}

// weighOutcome weighs an outcome in a state.
func weighOutcome(v reflect.Value, value func(lang.Value) error) (int, error) {
	o := v.Interface().(lang.Outcome)
	n := 24 + o.Value.Size()
	if err := o.Lasting(); err != nil {
		return n, fmt.Errorf("its state cannot be saved: %w", err)
	}
	if err := value(o.Value); err != nil || o.Err == nil {
		return n, err
	}
	e := o.Err
	n += 80 + len(e.Type) + len(e.Message) + e.Data.Size() + len(e.Path) + len(e.Invocation)
	return n, value(e.Data)
}

func (s scale) of(v reflect.Value, value func(lang.Value) error) (int, error) {
	if s.weigh == nil {
		return s.fixed, nil
	}
	return s.weigh(v, value)
}

func scaleOfStruct(t reflect.Type, inside []reflect.Type) scale {
	out := scale{plain: true}
	type member struct {
		at    int
		scale scale
	}
	var members []member
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		s := scaleOf(f.Type, inside...)
		if !s.plain || f.Anonymous {
			return scale{}
		}
		out.fixed += s.fixed + len(f.Name) + 4
		if s.weigh != nil {
			members = append(members, member{i, s})
		}
	}
	if len(members) == 0 {
		return out
	}
	fixed := out.fixed
	out.weigh = func(v reflect.Value, value func(lang.Value) error) (int, error) {
		sum := fixed
		for _, m := range members {
			n, err := m.scale.weigh(v.Field(m.at), value)
			if sum += n; err != nil {
				return sum, err
			}
		}
		return sum, nil
	}
	return out
}

func scaleOfList(elem scale) scale {
	if !elem.plain {
		return scale{}
	}
	return scale{plain: true, weigh: func(v reflect.Value, value func(lang.Value) error) (int, error) {
		if elem.weigh == nil {
			return 2 + v.Len()*(elem.fixed+1), nil
		}
		sum := 2
		for i := range v.Len() {
			n, err := elem.weigh(v.Index(i), value)
			if sum += n + 1; err != nil {
				return sum, err
			}
		}
		return sum, nil
	}}
}

func scaleOfMap(key, elem scale) scale {
	if !key.plain || !elem.plain {
		return scale{}
	}
	return scale{plain: true, weigh: func(v reflect.Value, value func(lang.Value) error) (int, error) {
		sum := 2
		for _, at := range keysOf(v, elem.weigh != nil) {
			k, _ := key.of(at, value)
			n, err := elem.of(v.MapIndex(at), value)
			if sum += k + n + 2; err != nil {
				return sum, err
			}
		}
		return sum, nil
	}}
}

// keysOf are the keys of a map; in order where the values inside are asked about, so that who is asked may know them again.
func keysOf(v reflect.Value, inOrder bool) []reflect.Value {
	keys := v.MapKeys()
	switch kind := v.Type().Key().Kind(); {
	case !inOrder:
	case kind == reflect.String:
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	case kind <= reflect.Int64:
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.Int(), b.Int()) })
	default:
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.Uint(), b.Uint()) })
	}
	return keys
}

func (m machine[P, S, PP]) Weigh(state any, value func(lang.Value) error) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its state cannot be saved: %v", p)
		}
	}()
	if m.scale.plain {
		if m.scale.weigh == nil {
			return m.scale.fixed, nil
		}
		return m.scale.weigh(reflect.ValueOf(state).Elem(), value)
	}
	b, err := m.Encode(state)
	if err != nil {
		return 0, fmt.Errorf("its state cannot be saved: %w", err)
	}
	if _, err := m.Decode(b); err != nil {
		return 0, fmt.Errorf("its state cannot be loaded again: %w", err)
	}
	return len(b), nil
}
