package lang

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// same is CEL's equality: numbers by what they stand for, lists and objects by what is in them. e, which may be nil, counts what is looked at.
func same(e *evaluation, a, b ref.Val) bool {
	a, b = unwrap(a), unwrap(b)
	e.look(1)
	switch x := a.(type) {
	case types.String:
		y, ok := b.(types.String)
		e.look(min(len(x), len(y)) / 10)
		return ok && x == y
	case *members:
		return same(e, x.whole(), b)
	case *object:
		if y, ok := b.(*members); ok {
			b = y.whole()
		}
		y, ok := b.(*object)
		return ok && sameObjects(e, x, y)
	case traits.Lister:
		y, ok := b.(traits.Lister)
		if !ok || length(x) != length(y) {
			return false
		}
		for i := range length(x) {
			if !same(e, x.Get(types.Int(i)), y.Get(types.Int(i))) {
				return false
			}
		}
		return true
	case *types.Optional:
		y, ok := b.(*types.Optional)
		if !ok || x.HasValue() != y.HasValue() {
			return false
		}
		return !x.HasValue() || same(e, x.GetValue(), y.GetValue())
	}
	return types.Equal(a, b) == types.True
}

func sameObjects(e *evaluation, a, b *object) bool {
	if len(a.keys) != len(b.keys) {
		return false
	}
	for i, key := range a.keys {
		e.look(1)
		if b.keys[i] != key {
			return false
		}
	}
	for i := range a.keys {
		if !same(e, a.val(i), b.val(i)) {
			return false
		}
	}
	return true
}

// look is charge for what may be asked for outside of an evaluation.
func (e *evaluation) look(n int) {
	if e != nil {
		e.charge(n)
	}
}

// weigh returns about how many bytes a value has as text. What shares its parts many times over is counted as often.
func weigh(e *evaluation, v ref.Val) int {
	e.charge(1)
	n := 8
	switch v := v.(type) {
	case types.String:
		n += len(v)
	case types.Bytes:
		n += 2 * len(v)
	case *object:
		for i, key := range v.keys {
			n += len(key) + 4 + weigh(e, v.val(i))
		}
	case *members:
		return weigh(e, v.whole())
	case traits.Lister:
		for i := range length(v) {
			n += weigh(e, v.Get(types.Int(i)))
		}
	}
	if n > MaxValueBytes {
		e.makes(n)
	}
	return n
}

// A sieve tells values apart: two have one mark when same says that they are equal.
type sieve struct {
	e     *evaluation
	buf   []byte
	nans  uint64
	marks map[string]bool
}

// mark returns the mark of a value, valid until the next.
func (s *sieve) mark(v ref.Val) []byte {
	s.buf = s.append(s.buf[:0], v)
	return s.buf
}

func (s *sieve) append(b []byte, v ref.Val) []byte {
	v = unwrap(v)
	s.e.charge(1)
	if len(b) > MaxValueBytes {
		s.e.makes(len(b))
	}
	switch v := v.(type) {
	case types.Int:
		return strconv.AppendInt(append(b, 'n'), int64(v), 10)
	case types.Uint:
		return strconv.AppendUint(append(b, 'n'), uint64(v), 10)
	case types.Double:
		return s.double(b, float64(v))
	case types.String:
		s.e.charge(len(v) / 10)
		return append(binary.AppendUvarint(append(b, 's'), uint64(len(v))), v...)
	case types.Bytes:
		return append(binary.AppendUvarint(append(b, 'b'), uint64(len(v))), v...)
	case types.Timestamp:
		b = binary.AppendVarint(append(b, 't'), v.Unix())
		return binary.AppendVarint(b, int64(v.Nanosecond()))
	case types.Duration:
		return binary.AppendVarint(append(b, 'd'), int64(v.Duration))
	case *types.Optional:
		if !v.HasValue() {
			return append(b, '-')
		}
		return s.append(append(b, '+'), v.GetValue())
	case *members:
		return s.append(b, v.whole())
	case *object:
		b = binary.AppendUvarint(append(b, '{'), uint64(len(v.keys)))
		for i, key := range v.keys {
			b = s.append(s.append(b, types.String(key)), v.val(i))
		}
		return b
	case traits.Lister:
		b = binary.AppendUvarint(append(b, '['), uint64(length(v)))
		for i := range length(v) {
			b = s.append(b, v.Get(types.Int(i)))
		}
		return b
	case types.Bool:
		return strconv.AppendBool(b, bool(v))
	case ref.Type:
		return append(append(b, 'y'), v.TypeName()...)
	}
	return append(append(b, 'z'), v.Type().TypeName()...) // null
}

// double marks a whole double as the whole number that it equals.
func (s *sieve) double(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		s.nans++
		return binary.AppendUvarint(append(b, '?'), s.nans)
	case f == math.Trunc(f) && f >= math.MinInt64 && f < math.MaxInt64:
		return strconv.AppendInt(append(b, 'n'), int64(f), 10)
	case f == math.Trunc(f) && f > 0 && f < math.MaxUint64:
		return strconv.AppendUint(append(b, 'n'), uint64(f), 10)
	}
	return strconv.AppendFloat(append(b, 'f'), f, 'b', -1, 64)
}

// enter notes all items of a list.
func (s *sieve) enter(l traits.Lister) {
	s.marks = make(map[string]bool, length(l))
	for i := range length(l) {
		s.marks[string(s.mark(l.Get(types.Int(i))))] = true
	}
}

func distinct(e *evaluation, a ref.Val) ref.Val {
	l, ok := a.(traits.Lister)
	if !ok {
		return types.NewErr("no such overload: distinct on %s", a.Type().TypeName())
	}
	s := sieve{e: e, marks: make(map[string]bool)}
	var out []ref.Val
	for i := range length(l) {
		item := l.Get(types.Int(i))
		if mark := s.mark(item); !s.marks[string(mark)] {
			s.marks[string(mark)] = true
			out = append(out, item)
		}
	}
	return listOf(out)
}

func twoLists(a, b ref.Val) (x, y traits.Lister, err ref.Val) {
	x, ok := a.(traits.Lister)
	y, ok2 := b.(traits.Lister)
	if !ok || !ok2 {
		return nil, nil, noOperation(a, b)
	}
	return x, y, nil
}

// subset says whether each item of a is among those of b.
func subset(e *evaluation, a, b ref.Val) ref.Val {
	x, y, err := twoLists(a, b)
	if err != nil {
		return err
	}
	s := sieve{e: e}
	s.enter(y)
	for i := range length(x) {
		if !s.marks[string(s.mark(x.Get(types.Int(i))))] {
			return types.False
		}
	}
	return types.True
}

func intersects(e *evaluation, a, b ref.Val) ref.Val {
	x, y, err := twoLists(a, b)
	if err != nil {
		return err
	}
	s := sieve{e: e}
	s.enter(y)
	for i := range length(x) {
		if s.marks[string(s.mark(x.Get(types.Int(i))))] {
			return types.True
		}
	}
	return types.False
}

// sortBy orders the items of a list by those of another, which are all of one type. Items of equal keys stay in their order: CEL's own sort leaves
// that to Go's.
func sortBy(e *evaluation, a, b ref.Val) ref.Val {
	l, ok := a.(traits.Lister)
	keys, err := items(e, b)
	switch {
	case err != nil:
		return err
	case !ok || length(l) != len(keys):
		return noOperation(a, b)
	}
	order, size := make([]int, len(keys)), 0
	for i, key := range keys {
		if _, ok := key.(traits.Comparer); !ok || key.Type() != keys[0].Type() {
			return types.NewErr("a list is sorted by keys of one type that have an order, and there are %s and %s", keys[0].Type().TypeName(), key.Type().TypeName())
		}
		if text, ok := key.(types.String); ok {
			size += len(text)
		}
		order[i] = i
	}
	e.charge((len(keys) + size/10) * (1 + log2(len(keys))))
	slices.SortStableFunc(order, func(i, j int) int {
		n, _ := keys[i].(traits.Comparer).Compare(keys[j]).(types.Int)
		return int(n)
	})
	out := make([]ref.Val, len(order))
	for i, at := range order {
		out[i] = l.Get(types.Int(at))
	}
	return listOf(out)
}

func log2(n int) int {
	bits := 0
	for ; n > 1; n >>= 1 {
		bits++
	}
	return bits
}
