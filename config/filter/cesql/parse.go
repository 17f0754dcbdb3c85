package cesql

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The bounds of an expression.
const (
	MaxText  = 4096 // bytes
	MaxDepth = 64   // of what stands inside one another
)

// An Expr is an expression that was read once, to be evaluated often, by any number of goroutines.
type Expr struct {
	text   string
	root   *node
	doubts []*Error
	names  []string
}

type op uint8

const (
	opLiteral op = iota + 1
	opAttribute
	opExists
	opNot
	opMinus
	opAnd
	opOr
	opXor
	opEqual
	opUnequal
	opLess
	opAtMost
	opMore
	opAtLeast
	opPlus
	opSubtract
	opTimes
	opDivide
	opModulo
	opLike
	opIn
	opCall
)

// A node is an operator, with its operands, or one of these. not is of NOT LIKE and NOT IN.
type node struct {
	op      op
	at      int // byte of the expression
	kids    []*node
	literal Value
	name    string // of an attribute or a function, in small letters
	pattern *pattern
	call    *function
	not     bool
	closed  bool // it stands in parentheses
}

// kind is the type of what a node yields; 0 is an attribute's, which may be any.
func (n *node) kind() Kind {
	switch n.op {
	case opLiteral:
		return n.literal.kind
	case opAttribute:
		return 0
	case opMinus, opPlus, opSubtract, opTimes, opDivide, opModulo:
		return Integer
	case opCall:
		if n.call == nil {
			return Boolean
		}
		return n.call.yields
	}
	return Boolean
}

// Compile reads an expression. The error is an *Error of the kind ParseError.
func Compile(text string) (*Expr, error) {
	p := &parser{scan: scanner{text: text}, expr: &Expr{text: text}}
	if len(text) > MaxText {
		return nil, &Error{Kind: ParseError, At: 1, What: fmt.Sprintf("an expression of %d bytes, and the most is %d", len(text), MaxText), Cure: "write several filters, under all: or any:"}
	}
	if !utf8.ValidString(text) {
		return nil, &Error{Kind: ParseError, At: 1, What: "the expression is not UTF-8", Cure: "save the document as UTF-8"}
	}
	p.step()
	root := p.logic(lowest)
	if p.tok.kind != tokEnd {
		p.failf(p.tok.at, p.behind(), "%s cannot stand here", p.describe())
	}
	if p.err != nil {
		return nil, p.err
	}
	p.expr.root = root
	p.expr.examine(root)
	slices.Sort(p.expr.names)
	p.expr.names = slices.Compact(p.expr.names)
	slices.SortStableFunc(p.expr.doubts, func(a, b *Error) int { return a.At - b.At })
	return p.expr, nil
}

// A parser reads an expression by the precedence of its operators. The first error stays.
type parser struct {
	scan  scanner
	tok   token
	depth int
	expr  *Expr
	err   *Error
}

// character is a place of the expression as people count.
func character(text string, at int) int { return utf8.RuneCountInString(text[:at]) + 1 }

func (p *parser) failf(at int, cure, format string, a ...any) {
	if p.err == nil {
		p.err = &Error{Kind: ParseError, At: character(p.expr.text, at), What: fmt.Sprintf(format, a...), Cure: cure}
	}
	p.tok = token{kind: tokEnd, at: at} // Nothing more is read.
	p.scan.i = len(p.scan.text)
}

func (p *parser) step() {
	t, what, cure := p.scan.next()
	if p.tok = t; what != "" {
		p.failf(t.at, cure, "%s", what)
	}
}

func (p *parser) is(kind tokenKind, text string) bool {
	return p.tok.kind == kind && p.tok.text == text
}

func (p *parser) take(kind tokenKind, text string) bool {
	if !p.is(kind, text) {
		return false
	}
	p.step()
	return true
}

func (p *parser) describe() string {
	switch p.tok.kind {
	case tokEnd:
		return "the end"
	case tokString:
		return "a string"
	}
	return fmt.Sprintf("%q", p.scan.text[p.tok.at:p.tok.end])
}

// behind is what to do about something that stands behind a whole expression.
func (p *parser) behind() string {
	switch {
	case p.is(tokMark, ")"):
		return "there is one ) too many"
	case p.is(tokMark, "="):
		return "one = compares; for several, write AND between them"
	case p.is(tokWord, "is"):
		return "write EXISTS name or NOT EXISTS name"
	}
	return "write AND, OR or an operator between two values; strings stand in quotes"
}

// The levels of binary operators, the loosest first. AND binds tighter than OR, and OR than XOR: the order of the specification's table.
var levels = []map[string]op{
	{"xor": opXor}, {"or": opOr}, {"and": opAnd},
	{"=": opEqual, "!=": opUnequal, "<>": opUnequal, "<": opLess, "<=": opAtMost, ">": opMore, ">=": opAtLeast},
	{"+": opPlus, "-": opSubtract},
	{"*": opTimes, "/": opDivide, "%": opModulo},
}

const lowest = 0

// logic reads operators of a level and all tighter ones, from left to right.
func (p *parser) logic(level int) *node {
	if level == len(levels) {
		return p.compared()
	}
	left := p.logic(level + 1)
	for p.err == nil {
		op, found := levels[level][p.tok.text]
		if !found || p.tok.kind != tokWord && p.tok.kind != tokMark {
			break
		}
		at := p.tok.at
		p.step()
		left = &node{op: op, at: at, kids: []*node{left, p.logic(level + 1)}}
	}
	return left
}

// compared reads LIKE and IN behind a value.
func (p *parser) compared() *node {
	left := p.unary()
	for p.err == nil {
		at, not := p.tok.at, p.take(tokWord, "not")
		switch {
		case p.take(tokWord, "like"):
			if p.tok.kind != tokString {
				p.failf(p.tok.at, "write a text in quotes, with % for any characters and _ for one", "a pattern is due behind LIKE, and not %s", p.describe())
				return left
			}
			left = &node{op: opLike, at: at, not: not, kids: []*node{left}, pattern: newPattern(p.tok.text)}
			p.step()
		case p.take(tokWord, "in"):
			if !p.is(tokMark, "(") {
				p.failf(p.tok.at, "write IN ('a', 'b')", "a list is due behind IN, and not %s", p.describe())
				return left
			}
			if p.step(); p.is(tokMark, ")") {
				p.failf(p.tok.at, "write at least one value", "a list without values")
				return left
			}
			left = &node{op: opIn, at: at, not: not, kids: append([]*node{left}, p.list()...)}
		case not:
			p.failf(p.tok.at, "write NOT LIKE, NOT IN, or AND NOT", "LIKE or IN is due behind NOT, and not %s", p.describe())
		default:
			return left
		}
	}
	return left
}

// list reads values up to the closing bracket.
func (p *parser) list() (out []*node) {
	if p.take(tokMark, ")") {
		return nil
	}
	for p.err == nil {
		out = append(out, p.inside(lowest))
		if p.take(tokMark, ")") {
			return out
		}
		if !p.take(tokMark, ",") {
			p.failf(p.tok.at, "close it with )", "a comma or ) is due here, and not %s", p.describe())
		}
	}
	return out
}

// inside reads what stands within something.
func (p *parser) inside(level int) *node {
	if p.depth++; p.depth > MaxDepth {
		p.failf(p.tok.at, "write several filters, under all: or any:", "more than %d stand inside one another", MaxDepth)
	}
	defer func() { p.depth-- }()
	if p.err != nil {
		return &node{op: opLiteral, literal: Bool(false)}
	}
	if level == lowest {
		return p.logic(lowest)
	}
	return p.unary()
}

func (p *parser) unary() *node {
	at := p.tok.at
	switch {
	case p.take(tokWord, "not"):
		return &node{op: opNot, at: at, kids: []*node{p.inside(1)}}
	case p.is(tokMark, "-") || p.is(tokMark, "+"):
		sign := p.tok
		p.step()
		if p.tok.kind == tokNumber && p.tok.at == sign.end {
			return p.number(sign.text, at)
		}
		if sign.text == "+" {
			p.failf(at, "leave it out", "+ stands before a number, or between two")
		}
		return &node{op: opMinus, at: at, kids: []*node{p.inside(1)}}
	case p.take(tokWord, "exists"):
		name := p.tok.text
		if p.tok.kind != tokWord || reserved(name) {
			p.failf(p.tok.at, "write EXISTS subject", "an attribute's name is due behind EXISTS, and not %s", p.describe())
		}
		p.step()
		return p.attribute(opExists, name, at)
	}
	return p.atom()
}

func (p *parser) number(sign string, at int) *node {
	n, err := strconv.ParseInt(sign+p.tok.text, 10, 32)
	if err != nil {
		p.failf(at, "compare it as a text, in quotes", "%s is no integer of 32 bits", quoted(sign+p.tok.text))
	}
	p.step()
	return &node{op: opLiteral, at: at, literal: Int(int32(n))}
}

func (p *parser) atom() *node {
	t := p.tok
	switch {
	case t.kind == tokNumber:
		return p.number("", t.at)
	case t.kind == tokString:
		p.step()
		return &node{op: opLiteral, at: t.at, literal: Text(t.text)}
	case p.take(tokMark, "("):
		n := p.inside(lowest)
		if !p.take(tokMark, ")") {
			p.failf(p.tok.at, "close it with )", "%s, and a ( is open", p.describe())
		}
		n.closed = true
		return n
	case t.kind != tokWord:
		cure := "write an attribute, a string in quotes, a number, TRUE or FALSE"
		if p.is(tokMark, "=") {
			cure = "one = compares"
		}
		p.failf(t.at, cure, "a value is due here, and not %s", p.describe())
		return &node{op: opLiteral, literal: Bool(false)}
	}
	p.step()
	switch {
	case p.take(tokMark, "("):
		n := &node{op: opCall, at: t.at, name: t.text, kids: p.list()}
		n.call = functionOf(n.name, len(n.kids))
		return n
	case t.text == "true" || t.text == "false":
		return &node{op: opLiteral, at: t.at, literal: Bool(t.text == "true")}
	case reserved(t.text):
		p.failf(t.at, "write a value before it; an attribute cannot have that name here", "%q is a word of the language", p.scan.text[t.at:t.end])
	}
	return p.attribute(opAttribute, t.text, t.at)
}

func (p *parser) attribute(o op, name string, at int) *node {
	if i := slices.IndexFunc([]byte(name), func(c byte) bool { return c == '_' }); i >= 0 {
		p.failf(at, "names are letters and digits", "%q is no attribute's name", name)
	}
	p.expr.names = append(p.expr.names, name)
	return &node{op: o, at: at, name: name}
}

func reserved(word string) bool {
	return slices.Contains([]string{"and", "or", "xor", "not", "like", "in", "exists", "true", "false"}, word)
}
