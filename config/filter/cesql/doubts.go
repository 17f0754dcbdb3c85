package cesql

import (
	"fmt"
	"slices"
	"strings"
)

// Doubts tells what is right by the grammar and cannot be meant: functions that there are not, what can only err, what other implementations read otherwise,
// a value that is never true or false, and attributes that no event has. In order of their places.
func (e *Expr) Doubts() []*Error { return e.doubts }

func (e *Expr) doubt(kind ErrorKind, n *node, cure, format string, a ...any) {
	e.doubts = append(e.doubts, &Error{Kind: kind, At: character(e.text, n.at), What: fmt.Sprintf(format, a...), Cure: cure})
}

func upper(s string) string { return strings.ToUpper(s) }

// examine finds the doubts of the whole.
func (e *Expr) examine(root *node) {
	e.walk(root)
	switch kind := root.kind(); {
	case root.op == opAttribute:
		e.doubt(CastError, root, fmt.Sprintf("write %s = TRUE", root.name), "an attribute alone lets through only what is sent as a JSON boolean")
	case kind != Boolean:
		e.doubt(CastError, root, "compare it", "the whole is a %s, and never true or false", kind)
	case len(e.names) == 0 && len(e.doubts) == 0:
		e.doubt(GenericError, root, "compare an attribute, such as type = 'com.example.thing'", "it names no attribute, and is the same for every event")
	}
}

func (e *Expr) walk(n *node) {
	for _, kid := range n.kids {
		e.walk(kid)
	}
	switch n.op {
	case opAttribute, opExists:
		if n.name == "data" || n.name == "database64" {
			e.doubt(MissingAttribute, n, `ask for it by the trigger's when: "${ data.amount > 13 }"`, "%s is no attribute: sql does not see an event's data", n.name)
		}
	case opAnd, opOr, opXor:
		for _, kid := range n.kids {
			if !kid.closed && kid.op != n.op && slices.Contains([]op{opAnd, opOr, opXor}, kid.op) {
				e.doubt(GenericError, n, "write parentheses around one of them", "%s beside %s is read in more than one way", words[n.op], words[kid.op])
			}
		}
	case opCall:
		if n.call == nil {
			e.doubt(MissingFunction, n, "there are "+known(), "%s", n.missing())
		}
	case opNot:
		if kind := n.kids[0].kind(); kind == Integer {
			e.doubt(CastError, n, "compare it, or write NOT BOOL(...)", "NOT takes a boolean, and never an integer")
		}
	}
	e.negated(n)
	e.constant(n)
}

var words = map[op]string{opAnd: "AND", opOr: "OR", opXor: "XOR"}

// negated finds a NOT that negates less than it seems to.
func (e *Expr) negated(n *node) {
	switch n.op {
	case opEqual, opUnequal, opLess, opAtMost, opMore, opAtLeast, opLike, opIn, opPlus, opSubtract, opTimes, opDivide, opModulo:
		left := n.kids[0]
		for !left.closed && len(left.kids) > 0 && left.op != opNot && left.op != opCall && left.op != opMinus {
			left = left.kids[0]
		}
		if left.op == opNot && !left.closed {
			e.doubt(GenericError, left, "write NOT (...) around all that is meant, or NOT LIKE and NOT IN", "NOT binds tighter than what stands behind it, and negates the first value only")
		}
	}
}

// constant finds operators without attributes that can only err.
func (e *Expr) constant(n *node) {
	if len(n.kids) == 0 || n.op == opCall && n.call == nil || n.op == opNot && n.kids[0].kind() == Integer {
		return
	}
	for _, kid := range n.kids {
		if kid.op != opLiteral {
			return
		}
	}
	if _, err := n.eval(func(string) (Value, bool) { return Value{}, false }); err != nil {
		e.doubt(err.kind, n, "", "it always fails: %s", err.what)
	}
}

func known() string {
	var names []string
	for i := range functions {
		if name := upper(functions[i].name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// A Need is what the attributes of an event must be for an expression to match: one of several texts, or such a beginning and such an end.
type Need struct {
	Name           string
	Exact          []string // one of these; nil is any
	Prefix, Suffix string
}

// Needs returns what an event must have for the expression to match; it may need more. What is said here of a text holds for numbers and booleans by their
// text.
func (e *Expr) Needs() []Need { return e.root.needs() }

func (n *node) needs() []Need {
	switch n.op {
	case opAnd:
		return append(n.kids[0].needs(), n.kids[1].needs()...)
	case opEqual:
		left, right := n.kids[0], n.kids[1]
		if right.op == opLiteral && right.literal.kind == String && left.op == opAttribute {
			return []Need{{Name: left.name, Exact: []string{right.literal.text}}}
		}
		if left.op == opLiteral && left.literal.kind == String && right.op == opAttribute && isText(right.name) {
			return []Need{{Name: right.name, Exact: []string{left.literal.text}}}
		}
	case opLike:
		if n.not || n.kids[0].op != opAttribute {
			return nil
		}
		exact, prefix, suffix, ok := n.pattern.fixed()
		switch {
		case ok && len(n.pattern.parts) == 1:
			return []Need{{Name: n.kids[0].name, Exact: []string{exact}}}
		case ok && prefix+suffix != "":
			return []Need{{Name: n.kids[0].name, Prefix: prefix, Suffix: suffix}}
		}
	case opIn:
		if n.not || n.kids[0].op != opAttribute || !isText(n.kids[0].name) {
			return nil
		}
		need := Need{Name: n.kids[0].name}
		for _, kid := range n.kids[1:] {
			if kid.op != opLiteral {
				return nil
			}
			need.Exact = append(need.Exact, kid.literal.String())
		}
		return []Need{need}
	}
	return nil
}

// isText reports attributes that are strings however an event is sent.
func isText(name string) bool {
	return slices.Contains([]string{"id", "source", "type", "subject", "specversion", "datacontenttype", "dataschema", "time"}, name)
}
