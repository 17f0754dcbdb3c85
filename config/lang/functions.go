package lang

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Calls that an expression is rewritten to; an @ cannot be written in one.
const (
	callObject = "@object" // of a text of flags and keys with values, for a map literal
	callName   = "@name"   // what a name that the expression does not bind itself stands for
	callPlain  = "@plain"  // a number without its text, where CEL asks for its type
)

// operations are all functions and operators of the language: CEL's, and ours where CEL's depend on the host, cost more than they need or are not what
// JSON needs.
var operations = sync.OnceValue(func() map[string]operation {
	all := make(map[string]operation)
	for name, decl := range environment().Functions() {
		bindings, err := decl.Bindings()
		if err != nil {
			panic(fmt.Sprintf("lang: function %s: %v", name, err))
		}
		i := slices.IndexFunc(bindings, func(o *functions.Overload) bool { return o.Operator == name })
		switch {
		case i < 0:
			all[name] = library(name, &functions.Overload{Operator: name}) // A method of its first argument.
		case !bindings[i].NonStrict:
			all[name] = library(name, bindings[i])
		}
	}
	for _, name := range passing {
		op := all[name]
		op.asIs = true
		all[name] = op
	}
	for name, op := range own() {
		all[name] = op
	}
	for _, name := range []string{"math.@max", "math.@min"} {
		all[name] = numbers(all[name])
	}
	for name, part := range clocks {
		all[name] = clock(all[name], part)
	}
	return all
})

// own are the operations that are ours.
func own() map[string]operation {
	two := func(f func(e *evaluation, a, b ref.Val) ref.Val) operation { return operation{two: f} }
	number := func(op func(a, b ref.Val) ref.Val) operation {
		return two(func(_ *evaluation, a, b ref.Val) ref.Val { return arith(a, b, op) })
	}
	m := map[string]operation{
		operators.Add:       two(plus),
		operators.Subtract:  number(func(a, b ref.Val) ref.Val { return a.(traits.Subtractor).Subtract(b) }),
		operators.Multiply:  number(func(a, b ref.Val) ref.Val { return a.(traits.Multiplier).Multiply(b) }),
		operators.Divide:    number(func(a, b ref.Val) ref.Val { return a.(traits.Divider).Divide(b) }),
		operators.Modulo:    number(func(a, b ref.Val) ref.Val { return a.(traits.Modder).Modulo(b) }),
		operators.Equals:    two(func(e *evaluation, a, b ref.Val) ref.Val { return types.Bool(same(e, a, b)) }),
		operators.NotEquals: two(func(e *evaluation, a, b ref.Val) ref.Val { return types.Bool(!same(e, a, b)) }),
		operators.In:        two(within),
		callObject:          {many: makeObject, asIs: true},
		callPlain:           {one: func(_ *evaluation, a ref.Val) ref.Val { return a }},
		"matches":           two(match),
		"distinct":          {one: distinct},
		"sort":              {one: func(e *evaluation, a ref.Val) ref.Val { return sortBy(e, a, a) }},
		"flatten":           {one: func(e *evaluation, a ref.Val) ref.Val { return flatten(e, a, types.Int(1)) }, two: flatten},
		"join":              {one: func(e *evaluation, a ref.Val) ref.Val { return join(e, a, types.String("")) }, two: join},
		"replace":           {many: replace}, "split": {two: func(e *evaluation, a, b ref.Val) ref.Val { return split(e, []ref.Val{a, b}) }, many: split},
		"lists.range":           {one: countTo},
		"@sortByAssociatedKeys": two(sortBy),
		"math.sum":              {one: sum},
		"json.encode":           {one: encodeJSON, asIs: true},
		"json.parse":            {one: parseJSON},
		"base64.encodeUrl":      {one: encodeURL},
		"base64.decodeUrl":      {one: decodeURL},
		"strings.quote":         {one: quote},
		"format":                two(format),
	}
	for _, name := range []string{"sets.contains", "hasAll"} {
		m[name] = two(func(e *evaluation, a, b ref.Val) ref.Val { return subset(e, b, a) })
	}
	m["hasOnly"] = two(subset)
	for _, name := range []string{"sets.intersects", "hasAny"} {
		m[name] = two(intersects)
	}
	for _, name := range []string{"sets.equivalent", "hasExactly"} {
		m[name] = two(func(e *evaluation, a, b ref.Val) ref.Val {
			if ab := subset(e, a, b); ab != types.True {
				return ab
			}
			return subset(e, b, a)
		})
	}
	return m
}

func noOperation(a, b ref.Val) ref.Val {
	return types.NewErr("no such operation on %s and %s", a.Type().TypeName(), b.Type().TypeName())
}

// arith brings two numbers to one type before op: with a double, both are doubles; an int and a uint are ints where that fits.
func arith(a, b ref.Val, op func(a, b ref.Val) ref.Val) (out ref.Val) {
	defer func() {
		if recover() != nil { // An operand without the operator: the type assertion of op.
			out = noOperation(a, b)
		}
	}()
	if a.Type() != b.Type() {
		if x, y, ok := common(a, b); ok {
			a, b = x, y
		}
	}
	return op(a, b)
}

func common(a, b ref.Val) (ref.Val, ref.Val, bool) {
	if !isNumber(a) || !isNumber(b) {
		return a, b, false
	}
	if a.Type() == types.DoubleType || b.Type() == types.DoubleType {
		return a.ConvertToType(types.DoubleType), b.ConvertToType(types.DoubleType), true
	}
	for _, v := range []ref.Val{a, b} {
		if u, ok := v.(types.Uint); ok && u > math.MaxInt64 {
			return a.ConvertToType(types.DoubleType), b.ConvertToType(types.DoubleType), true
		}
	}
	return a.ConvertToType(types.IntType), b.ConvertToType(types.IntType), true
}

func isNumber(v ref.Val) bool {
	switch v.(type) {
	case types.Int, types.Uint, types.Double:
		return true
	}
	return false
}

func plus(e *evaluation, a, b ref.Val) ref.Val {
	switch x := a.(type) {
	case types.String:
		y, ok := b.(types.String)
		if !ok {
			return noOperation(a, b)
		}
		e.makes(len(x) + len(y))
		return x + y
	case types.Bytes:
		if y, ok := b.(types.Bytes); ok {
			e.makes(len(x) + len(y))
		}
	case traits.Lister:
		y, ok := b.(traits.Lister)
		if !ok {
			return noOperation(a, b)
		}
		// CEL would link the two, and look an item up through every link.
		n := length(x) + length(y)
		e.charge(n)
		return listOf(appendItems(appendItems(make([]ref.Val, 0, n), x), y))
	}
	return arith(a, b, func(a, b ref.Val) ref.Val { return a.(traits.Adder).Add(b) })
}

func length(l traits.Lister) int {
	n, _ := l.Size().(types.Int)
	return int(n)
}

func listOf(items []ref.Val) ref.Val { return types.NewRefValList(types.DefaultTypeAdapter, items) }

func appendItems(to []ref.Val, l traits.Lister) []ref.Val {
	for i := range length(l) {
		to = append(to, l.Get(types.Int(i)))
	}
	return to
}

// items takes a list apart, its numbers without their text.
func items(e *evaluation, v ref.Val) ([]ref.Val, ref.Val) {
	l, ok := v.(traits.Lister)
	if !ok {
		return nil, types.NewErr("a list is due, and this is %s", v.Type().TypeName())
	}
	e.charge(length(l))
	out := appendItems(make([]ref.Val, 0, length(l)), l)
	for i, item := range out {
		if out[i] = unwrap(item); types.IsError(out[i]) {
			return nil, out[i]
		}
	}
	return out, nil
}

func within(e *evaluation, a, b ref.Val) ref.Val {
	switch in := b.(type) {
	case traits.Lister:
		for i := range length(in) {
			if same(e, a, in.Get(types.Int(i))) {
				return types.True
			}
		}
		return types.False
	case traits.Container:
		return in.Contains(a)
	}
	return noOperation(a, b)
}

// makeObject makes what a map literal says: flags with ? for each entry that is left out when its value is an empty optional, then keys and values.
func makeObject(e *evaluation, args []ref.Val) ref.Val {
	flags := string(args[0].(types.String))
	e.charge(len(args))
	o := &object{keys: make([]string, 0, len(flags)), vals: make([]ref.Val, 0, len(flags))}
	inOrder := true
	for i := range flags {
		key, value := args[1+2*i], args[2+2*i]
		name, ok := key.(types.String)
		if !ok {
			return types.NewErr("a key is %s and not a string", key.Type().TypeName())
		}
		if flags[i] == '?' {
			optional, ok := value.(*types.Optional)
			if !ok {
				return types.NewErr("the value of ?%s is %s and not an optional", name, value.Type().TypeName())
			}
			if !optional.HasValue() {
				continue
			}
			value = optional.GetValue()
		}
		inOrder = inOrder && (len(o.keys) == 0 || o.keys[len(o.keys)-1] < string(name))
		o.keys, o.vals = append(o.keys, string(name)), append(o.vals, value)
	}
	if n := len(o.keys); !inOrder {
		if o.sort(); len(o.keys) < n {
			return types.NewErr("a key stands twice in %q", o.keys)
		}
	}
	return o
}

// clock reads a part of a time, in UTC or a zone; what is no time is the library's.
func clock(lib operation, part func(time.Time) int) operation {
	return operation{
		one: func(e *evaluation, a ref.Val) ref.Val {
			if t, ok := a.(types.Timestamp); ok {
				return types.Int(part(t.Time.UTC()))
			}
			return lib.one(e, a)
		},
		two: func(_ *evaluation, a, b ref.Val) ref.Val {
			t, ok := a.(types.Timestamp)
			zone, ok2 := b.(types.String)
			if !ok || !ok2 {
				return noOperation(a, b)
			}
			l, err := Location(string(zone))
			if err != nil {
				return types.NewErrFromString(err.Error())
			}
			return types.Int(part(t.Time.In(l)))
		},
	}
}

// numbers gives a library function that takes a list of numbers numbers without their text.
func numbers(lib operation) operation {
	many := lib.many
	lib.one = func(e *evaluation, a ref.Val) ref.Val {
		if _, ok := a.(traits.Lister); ok {
			of, err := items(e, a)
			if err != nil {
				return err
			}
			a = listOf(of)
		}
		return many(e, []ref.Val{a})
	}
	return lib
}

func join(e *evaluation, a, b ref.Val) ref.Val {
	parts, err := items(e, a)
	if err != nil {
		return err
	}
	between, ok := b.(types.String)
	if !ok {
		return noOperation(a, b)
	}
	size := 0
	for _, p := range parts {
		text, ok := p.(types.String)
		if !ok {
			return types.NewErr("join: an item is %s and not a string", p.Type().TypeName())
		}
		size += len(text) + len(between)
	}
	e.makes(size)
	var out strings.Builder
	for i, p := range parts {
		if i > 0 {
			out.WriteString(string(between))
		}
		out.WriteString(string(p.(types.String)))
	}
	return types.String(out.String())
}

// texts takes the texts of a call apart, and a number after them; without one it is -1.
func texts(name string, args []ref.Val, n int) (out []string, limit int, err ref.Val) {
	if len(args) < n || len(args) > n+1 {
		return nil, 0, types.NewErr("%s does not take %d arguments", name, len(args))
	}
	for _, a := range args[:n] {
		s, ok := a.(types.String)
		if !ok {
			return nil, 0, types.NewErr("no such overload: %s on %s", name, a.Type().TypeName())
		}
		out = append(out, string(s))
	}
	limit = -1
	if len(args) > n {
		i, ok := args[n].(types.Int)
		if !ok {
			return nil, 0, types.NewErr("no such overload: %s with %s", name, args[n].Type().TypeName())
		}
		limit = int(min(max(i, -1), math.MaxInt32))
	}
	return out, limit, nil
}

func replace(e *evaluation, args []ref.Val) ref.Val {
	s, limit, err := texts("replace", args, 3)
	if err != nil {
		return err
	}
	e.charge(len(s[0]) / 10)
	n := strings.Count(s[0], s[1])
	if limit >= 0 {
		n = min(n, limit)
	}
	e.makes(len(s[0]) + n*len(s[2]))
	return types.String(strings.Replace(s[0], s[1], s[2], limit))
}

func split(e *evaluation, args []ref.Val) ref.Val {
	s, limit, err := texts("split", args, 2)
	if err != nil {
		return err
	}
	e.charge(len(s[0])/10 + 2*strings.Count(s[0], s[1]))
	parts := strings.SplitN(s[0], s[1], limit)
	out := make([]ref.Val, len(parts))
	for i, p := range parts {
		out[i] = types.String(p)
	}
	return listOf(out)
}

// maxRange is the longest list that lists.range makes.
const maxRange = 1_000_000

func countTo(e *evaluation, a ref.Val) ref.Val {
	n, ok := a.(types.Int)
	if !ok || n < 0 || n > maxRange {
		return types.NewErr("lists.range: %v is not a whole number from 0 to %d", a.Value(), maxRange)
	}
	e.charge(int(n))
	out := make([]ref.Val, n)
	for i := range out {
		out[i] = types.Int(i)
	}
	return listOf(out)
}

// sum adds up the numbers of a list, in their order; of none it is 0.
func sum(e *evaluation, a ref.Val) ref.Val {
	of, err := items(e, a)
	if err != nil {
		return err
	}
	var out ref.Val = types.Int(0)
	for _, x := range of {
		if !isNumber(x) {
			return types.NewErr("math.sum: numbers are due, and this is a %s", x.Type().TypeName())
		}
		if out = arith(out, x, func(a, b ref.Val) ref.Val { return a.(traits.Adder).Add(b) }); types.IsError(out) {
			return out
		}
	}
	return out
}

func flatten(e *evaluation, a, b ref.Val) ref.Val {
	l, ok := a.(traits.Lister)
	depth, ok2 := b.(types.Int)
	if !ok || !ok2 || depth < 0 {
		return types.NewErr("flatten: a list and a depth from 0 are due, and these are %s and %v", a.Type().TypeName(), b.Value())
	}
	return listOf(flattenInto(e, nil, l, int(min(depth, MaxNesting))))
}

func flattenInto(e *evaluation, to []ref.Val, l traits.Lister, depth int) []ref.Val {
	e.charge(length(l))
	for i := range length(l) {
		item := l.Get(types.Int(i))
		if inner, ok := item.(traits.Lister); ok && depth > 0 {
			to = flattenInto(e, to, inner, depth-1)
		} else {
			to = append(to, item)
		}
	}
	return to
}

// binding is CEL's own implementation of a function.
func binding(name string) *functions.Overload {
	bindings, err := environment().Functions()[name].Bindings()
	if err != nil {
		panic(fmt.Sprintf("lang: function %s: %v", name, err))
	}
	return bindings[slices.IndexFunc(bindings, func(o *functions.Overload) bool { return o.Operator == name })]
}

func quote(e *evaluation, a ref.Val) ref.Val {
	s, ok := a.(types.String)
	if !ok {
		return types.NewErr("no such overload: strings.quote on %s", a.Type().TypeName())
	}
	e.makes(2 * len(s))
	return binding("strings.quote").Unary(s)
}

func format(e *evaluation, a, b ref.Val) ref.Val {
	pattern, ok := a.(types.String)
	if !ok {
		return noOperation(a, b)
	}
	args, err := items(e, b)
	if err != nil {
		return err
	}
	e.makes(len(pattern) + weigh(e, b))
	return binding("format").Function(pattern, listOf(args))
}

func encodeJSON(e *evaluation, a ref.Val) ref.Val {
	v, err := encodeTree(a)
	if broken, ok := err.(*CostError); ok {
		e.fail(broken)
	}
	if err != nil {
		return types.WrapErr(err)
	}
	e.makes(v.Size())
	return types.String(v.JSON())
}

// encodeURL is base64 in the alphabet of URLs (RFC 4648), with padding.
func encodeURL(e *evaluation, a ref.Val) ref.Val {
	b, ok := a.(types.Bytes)
	if !ok {
		return types.NewErr("no such overload: base64.encodeUrl on %s", a.Type().TypeName())
	}
	e.makes(base64.URLEncoding.EncodedLen(len(b)))
	return types.String(base64.URLEncoding.EncodeToString(b))
}

// decodeURL takes it with padding and without.
func decodeURL(e *evaluation, a ref.Val) ref.Val {
	text, ok := a.(types.String)
	if !ok {
		return types.NewErr("no such overload: base64.decodeUrl on %s", a.Type().TypeName())
	}
	e.makes(len(text))
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(string(text), "="))
	if err != nil {
		return types.NewErr("base64.decodeUrl: %v", err)
	}
	return types.Bytes(b)
}

// parseJSON gives an optional: none for what is not JSON.
func parseJSON(e *evaluation, a ref.Val) ref.Val {
	text, ok := a.(types.String)
	if !ok {
		return types.NewErr("no such overload: json.parse on %s", a.Type().TypeName())
	}
	e.charge(len(text))
	v, err := ParseValue([]byte(text))
	if err != nil {
		return types.OptionalNone
	}
	tree, _, err := decodeTree(v.JSON())
	if err != nil {
		return types.OptionalNone
	}
	return types.OptionalOf(tree)
}
