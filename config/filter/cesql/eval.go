package cesql

import (
	"fmt"
	"math"
	"slices"
)

// Attributes reads an event's context attributes by name.
type Attributes func(name string) (Value, bool)

// Source returns the expression as it was written.
func (e *Expr) Source() string { return e.text }

// Names returns the attributes that the expression names, sorted. The caller leaves them as they are.
func (e *Expr) Names() []string { return e.names }

// Eval returns the expression's value over an event's attributes. The error is an *Error.
func (e *Expr) Eval(a Attributes) (Value, error) {
	v, err := e.root.eval(a)
	if err != nil {
		return v, &Error{Kind: err.kind, At: character(e.text, err.at), What: err.what}
	}
	return v, nil
}

// Match reports whether the value is true; the error is that of the evaluation, and then it does not match.
func (e *Expr) Match(a Attributes) (bool, error) {
	v, err := e.root.eval(a)
	if err != nil {
		return false, &Error{Kind: err.kind, At: character(e.text, err.at), What: err.what}
	}
	return v.IsTrue(), nil
}

// A fault is an error before anybody reads it. A missing attribute is what most events have: it costs no message.
type fault struct {
	kind ErrorKind
	at   int
	what string
}

func (n *node) wrong(kind ErrorKind, what string) *fault { return &fault{kind, n.at, what} }

func (n *node) eval(a Attributes) (Value, *fault) {
	switch n.op {
	case opLiteral:
		return n.literal, nil
	case opAttribute:
		v, ok := a(n.name)
		if !ok {
			return Bool(false), n.wrong(MissingAttribute, "it has no "+n.name)
		}
		return v, nil
	case opExists:
		_, ok := a(n.name)
		return Bool(ok), nil
	case opNot:
		v, err := n.kids[0].eval(a)
		if err != nil {
			return Bool(false), err
		}
		if v.kind == Integer { // Nobody casts it unasked: BOOL does.
			return Bool(true), n.wrong(CastError, fmt.Sprintf("NOT takes a boolean, and not the integer %d", v.n))
		}
		b, wrong := cast(v, Boolean)
		if wrong != "" {
			return Bool(true), n.wrong(CastError, wrong)
		}
		return Bool(!b.IsTrue()), nil
	case opMinus:
		v, err := n.operand(0, Integer, a)
		if err == nil && v.n == math.MinInt32 {
			return Int(math.MaxInt32), n.wrong(MathError, "the result has no place in 32 bits")
		}
		return Int(-v.n), err
	case opAnd, opOr, opXor:
		return n.evalLogic(a)
	case opEqual, opUnequal:
		return n.evalEqual(a)
	case opLess, opAtMost, opMore, opAtLeast:
		return n.evalOrder(a)
	case opLike:
		v, err := n.operand(0, String, a)
		if err != nil {
			return Bool(false), err
		}
		return Bool(n.pattern.match(v.text) != n.not), nil
	case opIn:
		return n.evalIn(a)
	case opCall:
		return n.evalCall(a)
	}
	return n.evalMath(a)
}

// operand evaluates an operand and casts it; with an error it is the kind's zero.
func (n *node) operand(i int, to Kind, a Attributes) (Value, *fault) {
	v, err := n.kids[i].eval(a)
	if err != nil {
		return zero(to), err
	}
	c, wrong := cast(v, to)
	if wrong != "" {
		return zero(to), n.kids[i].wrong(CastError, wrong)
	}
	return c, nil
}

// evalLogic leaves the right side alone where the left one decides.
func (n *node) evalLogic(a Attributes) (Value, *fault) {
	left, err := n.operand(0, Boolean, a)
	switch {
	case err != nil:
		return Bool(false), err
	case n.op == opAnd && !left.IsTrue() || n.op == opOr && left.IsTrue():
		return left, nil
	}
	right, err := n.operand(1, Boolean, a)
	switch {
	case err != nil:
		return Bool(false), err
	case n.op == opXor:
		return Bool(left != right), nil
	}
	return right, nil
}

// evalEqual casts the left side to what the right one is.
func (n *node) evalEqual(a Attributes) (Value, *fault) {
	left, err := n.kids[0].eval(a)
	if err != nil {
		return Bool(false), err
	}
	right, err := n.kids[1].eval(a)
	if err != nil {
		return Bool(false), err
	}
	same, wrong := equal(left, right)
	if wrong != "" {
		return Bool(false), n.kids[0].wrong(CastError, wrong)
	}
	return Bool(same == (n.op == opEqual)), nil
}

func equal(v, like Value) (bool, string) {
	v, wrong := cast(v, like.kind)
	return wrong == "" && v == like, wrong
}

func (n *node) evalOrder(a Attributes) (Value, *fault) {
	left, err := n.operand(0, Integer, a)
	if err != nil {
		return Bool(false), err
	}
	right, err := n.operand(1, Integer, a)
	if err != nil {
		return Bool(false), err
	}
	switch n.op {
	case opLess:
		return Bool(left.n < right.n), nil
	case opAtMost:
		return Bool(left.n <= right.n), nil
	case opMore:
		return Bool(left.n > right.n), nil
	}
	return Bool(left.n >= right.n), nil
}

// evalIn casts what is in the list to what the left side is.
func (n *node) evalIn(a Attributes) (Value, *fault) {
	left, err := n.kids[0].eval(a)
	if err != nil {
		return Bool(false), err
	}
	for _, kid := range n.kids[1:] {
		v, err := kid.eval(a)
		if err != nil {
			return Bool(false), err
		}
		same, wrong := equal(v, left)
		if wrong != "" {
			return Bool(false), kid.wrong(CastError, wrong)
		}
		if same {
			return Bool(!n.not), nil
		}
	}
	return Bool(n.not), nil
}

func (n *node) evalCall(a Attributes) (Value, *fault) {
	if n.call == nil {
		return Bool(false), n.wrong(MissingFunction, n.missing())
	}
	args := make([]Value, len(n.kids))
	for i := range args {
		var err *fault
		if args[i], err = n.operand(i, n.call.kindOf(i), a); err != nil {
			return zero(n.call.yields), err
		}
	}
	v, kind, wrong := n.call.do(args)
	if wrong != "" {
		return v, n.wrong(kind, wrong)
	}
	return v, nil
}

func (n *node) missing() string {
	if slices.ContainsFunc(functions, func(f function) bool { return f.name == n.name }) {
		return fmt.Sprintf("%s does not take %d arguments", upper(n.name), len(n.kids))
	}
	return fmt.Sprintf("there is no function %s", upper(n.name))
}

func (n *node) evalMath(a Attributes) (Value, *fault) {
	left, err := n.operand(0, Integer, a)
	if err != nil {
		return Int(0), err
	}
	right, err := n.operand(1, Integer, a)
	if err != nil {
		return Int(0), err
	}
	x, y := int64(left.n), int64(right.n)
	var result int64
	switch n.op {
	case opPlus:
		result = x + y
	case opSubtract:
		result = x - y
	case opTimes:
		result = x * y
	default:
		if y == 0 {
			return Int(0), n.wrong(MathError, "a division by 0")
		}
		if result = x / y; n.op == opModulo {
			result = x % y
		}
	}
	v, ok := fits(result)
	if !ok {
		return Int(0), n.wrong(MathError, "the result has no place in 32 bits")
	}
	return v, nil
}
