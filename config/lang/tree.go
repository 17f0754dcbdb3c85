package lang

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// An object is a JSON object as expressions see it: a map whose keys are sorted, always, so that no answer depends on Go's map order.
type object struct {
	keys []string  // sorted, no doubles
	vals []ref.Val // *unread for what nobody has asked for
	text string    // the JSON it was decoded from; empty when an expression made it
}

// An array is a JSON list that remembers its text.
type array struct {
	vals []ref.Val // *unread for what nobody has asked for
	text string
}

// A numeral is a number whose text is not the one that we would write. Passed on, it keeps its text; what computes takes the number.
type numeral struct {
	ref.Val
	text string
	bad  *types.Err // of a number that no double holds
}

// An unread is a part of a text that is decoded when somebody asks for it.
type unread struct {
	ref.Val
	text  string
	depth int
	book  *cached // of what it belongs to; nil when nobody counts
}

var (
	_ traits.Mapper = (*object)(nil)
	_ traits.Lister = (*array)(nil)
	_ traits.Zeroer = (*numeral)(nil)
)

// unwrap is a value without what only matters when it is passed on.
func unwrap(v ref.Val) ref.Val {
	n, ok := v.(*numeral)
	switch {
	case !ok:
		return v
	case n.bad != nil:
		return n.bad
	}
	return n.Val
}

// IsZeroValue reports whether it is 0.
func (n *numeral) IsZeroValue() bool {
	z, ok := n.Val.(traits.Zeroer)
	return ok && z.IsZeroValue()
}

// read decodes what nobody had asked for before.
func read(vals []ref.Val, i int) ref.Val {
	u, ok := vals[i].(*unread)
	if !ok {
		return vals[i]
	}
	d := treeDecoder{s: u.text, book: u.book}
	v, err := d.value(u.depth)
	if err != nil {
		v = types.NewErrFromString(err.Error())
	}
	if u.book != nil {
		u.book.grown += d.cost
	}
	vals[i] = v
	return v
}

func (o *object) val(i int) ref.Val { return read(o.vals, i) }

func (o *object) at(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	i, found := slices.BinarySearch(o.keys, string(name))
	if !found {
		return nil, false
	}
	return o.val(i), true
}

// ConvertToNative is for the library functions that ask for a Go map; none of the language's does.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("an object has no native form %v", t)
}

// ConvertToType gives the object or its type.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return o
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("an object cannot be converted to %s", t.TypeName())
}

// Equal compares keys and values.
func (o *object) Equal(other ref.Val) ref.Val { return types.Bool(same(nil, o, other)) }

// Type is CEL's map.
func (o *object) Type() ref.Type { return types.MapType }

// Value is the object itself.
func (o *object) Value() any { return o }

// Size is the number of keys.
func (o *object) Size() ref.Val { return types.Int(len(o.keys)) }

// IsZeroValue reports whether it is empty.
func (o *object) IsZeroValue() bool { return len(o.keys) == 0 }

// Contains says whether there is such a key.
func (o *object) Contains(key ref.Val) ref.Val {
	_, found := o.at(key)
	return types.Bool(found)
}

// Find returns the value of a key, and whether there is one.
func (o *object) Find(key ref.Val) (ref.Val, bool) { return o.at(key) }

// Get is Find with an error for a key that is not there.
func (o *object) Get(key ref.Val) ref.Val {
	if v, found := o.at(key); found {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}

// Iterator goes through the keys.
func (o *object) Iterator() traits.Iterator {
	return &iterator{n: len(o.keys), at: func(i int) ref.Val { return types.String(o.keys[i]) }}
}

// An iterator goes through n values.
type iterator struct {
	n, next int
	at      func(i int) ref.Val
}

func (k *iterator) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("an iterator has no native form")
}
func (k *iterator) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("an iterator has no other type")
}
func (k *iterator) Equal(ref.Val) ref.Val { return types.NewErr("iterators do not compare") }
func (k *iterator) Type() ref.Type        { return types.IteratorType }
func (k *iterator) Value() any            { return nil }
func (k *iterator) HasNext() ref.Val      { return types.Bool(k.next < k.n) }
func (k *iterator) Next() ref.Val {
	if k.next >= k.n {
		return nil
	}
	k.next++
	return k.at(k.next - 1)
}

// Add joins two lists.
func (a *array) Add(other ref.Val) ref.Val {
	l, ok := other.(traits.Lister)
	if !ok {
		return noOperation(a, other)
	}
	return listOf(appendItems(appendItems(nil, a), l))
}

// Contains says whether an item equals v.
func (a *array) Contains(v ref.Val) ref.Val {
	for i := range a.vals {
		if same(nil, v, read(a.vals, i)) {
			return types.True
		}
	}
	return types.False
}

// ConvertToNative is for the library functions that ask for a Go slice; none of the language's does.
func (a *array) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a list has no native form %v", t)
}

// ConvertToType gives the list or its type.
func (a *array) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.ListType:
		return a
	case types.TypeType:
		return types.ListType
	}
	return types.NewErr("a list cannot be converted to %s", t.TypeName())
}

// Equal compares the items.
func (a *array) Equal(other ref.Val) ref.Val { return types.Bool(same(nil, a, other)) }

// Get returns an item.
func (a *array) Get(index ref.Val) ref.Val {
	i, ok := wholeIndex(index)
	if !ok {
		return types.NewErr("an index is a whole number, and this is %v", index.Value())
	}
	if i < 0 || i >= int64(len(a.vals)) {
		return types.NewErr("index out of bounds: %d", i)
	}
	return read(a.vals, int(i))
}

func wholeIndex(v ref.Val) (int64, bool) {
	switch v := v.(type) {
	case types.Int:
		return int64(v), true
	case types.Uint:
		return int64(min(v, math.MaxInt64)), true
	case types.Double:
		i := int64(v)
		return i, types.Double(i) == v
	}
	return 0, false
}

// Iterator goes through the items.
func (a *array) Iterator() traits.Iterator {
	return &iterator{n: len(a.vals), at: func(i int) ref.Val { return read(a.vals, i) }}
}

// Size is the number of items.
func (a *array) Size() ref.Val { return types.Int(len(a.vals)) }

// Type is CEL's list.
func (a *array) Type() ref.Type { return types.ListType }

// Value is the list itself.
func (a *array) Value() any { return a }

// IsZeroValue reports whether it is empty.
func (a *array) IsZeroValue() bool { return len(a.vals) == 0 }

// members is a lazy object: steps.
type members struct {
	object
	e     *evaluation
	m     Members
	names []string // once they were asked for
}

func (m *members) list() []string {
	if m.names == nil && m.m.Keys != nil {
		m.names = m.m.Keys()
	}
	return m.names
}

// Find decodes the value of a key.
func (m *members) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, found := m.m.Get(string(name))
	if !found {
		return nil, false
	}
	return m.e.decode(string(name), v), true
}

// whole decodes all members; only expressions that use the object as a whole need it.
func (m *members) whole() *object {
	if m.keys == nil {
		for _, k := range m.list() {
			v, _ := m.Find(types.String(k))
			m.keys, m.vals = append(m.keys, k), append(m.vals, v)
		}
	}
	return &m.object
}

// Get is Find with an error for a key that is not there.
func (m *members) Get(key ref.Val) ref.Val {
	if v, found := m.Find(key); found {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}

// Contains says whether there is such a key.
func (m *members) Contains(key ref.Val) ref.Val {
	_, found := m.Find(key)
	return types.Bool(found)
}

// Size is the number of keys.
func (m *members) Size() ref.Val { return types.Int(len(m.list())) }

// Iterator goes through the keys.
func (m *members) Iterator() traits.Iterator {
	return &iterator{n: len(m.list()), at: func(i int) ref.Val { return types.String(m.names[i]) }}
}

// Equal compares keys and values.
func (m *members) Equal(other ref.Val) ref.Val { return m.whole().Equal(other) }

// Value is the whole object.
func (m *members) Value() any { return m.whole() }

// sorted makes a map that a function of CEL's made into an object; its keys must be strings, as JSON's are.
func sorted(m traits.Mapper) ref.Val {
	switch o := m.(type) {
	case *object:
		return o
	case *members:
		return o.whole()
	}
	o := &object{}
	bad := "" // the least of the types that are no keys, whatever the map's order
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			if t := key.Type().TypeName(); bad == "" || t < bad {
				bad = t
			}
			continue
		}
		o.keys, o.vals = append(o.keys, string(name)), append(o.vals, m.Get(key))
	}
	if bad != "" {
		return types.NewErr("a key is %s and not a string", bad)
	}
	o.sort()
	return o
}

// sort orders the keys; of doubles the last counts.
func (o *object) sort() {
	order := make([]int, len(o.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(o.keys[a], o.keys[b]) })
	keys, vals := make([]string, 0, len(order)), make([]ref.Val, 0, len(order))
	for _, i := range order {
		if n := len(keys); n > 0 && keys[n-1] == o.keys[i] {
			vals[n-1] = o.vals[i]
			continue
		}
		keys, vals = append(keys, o.keys[i]), append(vals, o.vals[i])
	}
	o.keys, o.vals = keys, vals
}
