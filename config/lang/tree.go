package lang

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// MaxNesting bounds how deep lists and objects stand inside one another in a value that an expression looks into.
const MaxNesting = 512

// An object is a JSON object as expressions see it: a map whose keys are sorted, always, so that no answer depends on Go's map order.
type object struct {
	keys []string // sorted, no doubles
	vals []ref.Val
	text string // the JSON it was decoded from; empty when an expression made it
}

var (
	_ traits.Mapper = (*object)(nil)
	_ traits.Lister = array{}
)

func (o *object) at(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	i, found := slices.BinarySearch(o.keys, string(name))
	if !found {
		return nil, false
	}
	return o.vals[i], true
}

// ConvertToNative gives a map for the few library functions that ask for one.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	m := make(map[ref.Val]ref.Val, len(o.keys))
	for i, k := range o.keys {
		m[types.String(k)] = o.vals[i]
	}
	return types.NewRefValMap(types.DefaultTypeAdapter, m).ConvertToNative(t)
}

func (o *object) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return o
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("an object cannot be converted to %s", t.TypeName())
}

func (o *object) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != types.Int(len(o.keys)) {
		return types.False
	}
	for i, k := range o.keys {
		v, found := m.Find(types.String(k))
		if !found || types.Equal(o.vals[i], v) != types.True {
			return types.False
		}
	}
	return types.True
}

func (o *object) Type() ref.Type { return types.MapType }
func (o *object) Value() any     { return o }
func (o *object) Size() ref.Val  { return types.Int(len(o.keys)) }

func (o *object) Contains(key ref.Val) ref.Val {
	_, found := o.at(key)
	return types.Bool(found)
}

func (o *object) Find(key ref.Val) (ref.Val, bool) { return o.at(key) }

func (o *object) Get(key ref.Val) ref.Val {
	if v, found := o.at(key); found {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}

func (o *object) Iterator() traits.Iterator { return &keyIterator{keys: o.keys} }

type keyIterator struct {
	keys []string
	next int
}

func (k *keyIterator) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("an iterator has no native form")
}
func (k *keyIterator) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("an iterator has no other type")
}
func (k *keyIterator) Equal(ref.Val) ref.Val { return types.NewErr("iterators do not compare") }
func (k *keyIterator) Type() ref.Type        { return types.IteratorType }
func (k *keyIterator) Value() any            { return nil }
func (k *keyIterator) HasNext() ref.Val      { return types.Bool(k.next < len(k.keys)) }
func (k *keyIterator) Next() ref.Val {
	if k.next >= len(k.keys) {
		return nil
	}
	k.next++
	return types.String(k.keys[k.next-1])
}

// An array is a JSON list that remembers its text.
type array struct {
	traits.Lister
	text string
}

// sorted makes a map of an expression into an object; its keys must be strings, as JSON's are.
func sorted(m traits.Mapper) ref.Val {
	if o, ok := m.(*object); ok {
		return o
	}
	type entry struct {
		key string
		val ref.Val
	}
	var entries []entry
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return types.NewErr("a key is %s and not a string", key.Type().TypeName())
		}
		entries = append(entries, entry{string(name), m.Get(key)})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	o := &object{keys: make([]string, len(entries)), vals: make([]ref.Val, len(entries))}
	for i, e := range entries {
		o.keys[i], o.vals[i] = e.key, e.val
	}
	return o
}

// decodeTree decodes JSON text for expressions. The text is trusted to be one valid value; the error is for depth only, or for text that is not.
func decodeTree(text string) (ref.Val, int, error) {
	d := treeDecoder{s: text}
	v, err := d.value(0)
	if err == nil {
		d.space()
		if d.i < len(d.s) {
			err = d.bad()
		}
	}
	return v, d.cost, err
}

// A treeDecoder decodes in one pass; cost estimates the bytes of what it made.
type treeDecoder struct {
	s    string
	i    int
	cost int
}

func (d *treeDecoder) bad() error { return fmt.Errorf("not JSON at byte %d", d.i) }

func (d *treeDecoder) space() {
	for d.i < len(d.s) && (d.s[d.i] == ' ' || d.s[d.i] == '\n' || d.s[d.i] == '\t' || d.s[d.i] == '\r') {
		d.i++
	}
}

func (d *treeDecoder) value(depth int) (ref.Val, error) {
	if depth > MaxNesting {
		return nil, fmt.Errorf("nested deeper than %d", MaxNesting)
	}
	d.space()
	if d.i >= len(d.s) {
		return nil, d.bad()
	}
	switch c := d.s[d.i]; {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.list(depth)
	case c == '"':
		s, err := d.string()
		d.cost += 24
		return types.String(s), err
	case c == 't':
		return types.True, d.word("true")
	case c == 'f':
		return types.False, d.word("false")
	case c == 'n':
		return types.NullValue, d.word("null")
	case c == '-' || c >= '0' && c <= '9':
		d.cost += 24
		return d.number()
	}
	return nil, d.bad()
}

func (d *treeDecoder) word(w string) error {
	if !strings.HasPrefix(d.s[d.i:], w) {
		return d.bad()
	}
	d.i += len(w)
	return nil
}

func (d *treeDecoder) number() (ref.Val, error) {
	start, whole := d.i, true
	for d.i < len(d.s) {
		c := d.s[d.i]
		if c == '.' || c == 'e' || c == 'E' {
			whole = false
		} else if c != '-' && c != '+' && (c < '0' || c > '9') {
			break
		}
		d.i++
	}
	text := d.s[start:d.i]
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return types.Int(n), nil
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return types.Uint(n), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("number %s: out of range", text)
	}
	return types.Double(f), nil
}

func (d *treeDecoder) string() (string, error) {
	start := d.i + 1
	for i := start; i < len(d.s); i++ {
		switch c := d.s[i]; {
		case c == '"':
			d.i = i + 1
			return d.s[start:i], nil
		case c == '\\' || c >= utf8.RuneSelf:
			return d.slowString(start - 1)
		}
	}
	return "", d.bad()
}

// slowString leaves escapes and repairs of UTF-8 to encoding/json.
func (d *treeDecoder) slowString(start int) (string, error) {
	i := start + 1
	for i < len(d.s) && d.s[i] != '"' {
		if d.s[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(d.s) {
		return "", d.bad()
	}
	d.i = i + 1
	var s string
	if err := json.Unmarshal([]byte(d.s[start:d.i]), &s); err != nil {
		return "", err
	}
	return s, nil
}

func (d *treeDecoder) list(depth int) (ref.Val, error) {
	start := d.i
	d.i++
	var vals []ref.Val
	for first := true; ; first = false {
		d.space()
		if d.i < len(d.s) && d.s[d.i] == ']' && first {
			d.i++
			break
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		vals = append(vals, v)
		d.space()
		if d.i >= len(d.s) || d.s[d.i] != ',' && d.s[d.i] != ']' {
			return nil, d.bad()
		}
		d.i++
		if d.s[d.i-1] == ']' {
			break
		}
	}
	d.cost += 64 + 16*len(vals)
	return array{types.NewRefValList(types.DefaultTypeAdapter, vals), d.s[start:d.i]}, nil
}

func (d *treeDecoder) object(depth int) (ref.Val, error) {
	o := &object{}
	start := d.i
	d.i++
	inOrder := true
	for first := true; ; first = false {
		d.space()
		if d.i < len(d.s) && d.s[d.i] == '}' && first {
			d.i++
			break
		}
		if d.i >= len(d.s) || d.s[d.i] != '"' {
			return nil, d.bad()
		}
		key, err := d.string()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.i >= len(d.s) || d.s[d.i] != ':' {
			return nil, d.bad()
		}
		d.i++
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		inOrder = inOrder && (len(o.keys) == 0 || o.keys[len(o.keys)-1] < key)
		o.keys, o.vals = append(o.keys, key), append(o.vals, v)
		d.space()
		if d.i >= len(d.s) || d.s[d.i] != ',' && d.s[d.i] != '}' {
			return nil, d.bad()
		}
		d.i++
		if d.s[d.i-1] == '}' {
			break
		}
	}
	if !inOrder {
		o.sort()
	}
	o.text = d.s[start:d.i]
	d.cost += 96 + 40*len(o.keys)
	return o, nil
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
