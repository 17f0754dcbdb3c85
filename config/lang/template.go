package lang

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"cel.dev/cel-go/common/types"
)

// An Expr is a template over JSON: a document whose strings may hold ${ } with a CEL expression. A string that is wholly one ${ } stands for the
// expression's value, of whatever type; with text around it, or several of them, the string is put together (strings as they are, all else as
// JSON). $${ stands for ${ itself. The zero Expr is absent. Exprs compare with ==: one that was parsed once equals itself.
type Expr struct{ t *template }

type template struct {
	doc      Value // as written
	pos      Pos
	root     part
	names    []string
	steps    []string
	chosen   []chosen
	all      bool
	constant bool
}

// A part is a piece of a template: one of a constant, an expression, an interpolated string, a list and an object.
type part struct {
	constant Value
	expr     *compiled
	pieces   []part // of a string: constants hold the text as a JSON string
	items    []part
	keys     []string
	kind     partKind
}

type partKind uint8

const (
	partConstant partKind = iota + 1
	partExpr
	partString
	partList
	partObject
)

// ParseExpr reads a template from its JSON form. Errors name the expression and the place in it.
func ParseExpr(doc Value) (Expr, error) {
	root, err := parsePart(doc)
	if err != nil {
		return Expr{}, err
	}
	t := &template{doc: doc, root: root, constant: root.kind == partConstant}
	names, steps := map[string]bool{}, map[string]bool{}
	root.walk(func(c *compiled) {
		for _, n := range c.names {
			names[n] = true
		}
		for _, s := range c.steps {
			steps[s] = true
		}
		t.all = t.all || c.all
		t.chosen = append(t.chosen, c.chosen...)
	})
	for n := range names {
		t.names = append(t.names, n)
	}
	for s := range steps {
		t.steps = append(t.steps, s)
	}
	slices.Sort(t.names)
	slices.Sort(t.steps)
	return Expr{t}, nil
}

// MustExpr is ParseExpr for documents known to be right: tests and examples.
func MustExpr(doc string) Expr {
	e, err := ParseExpr(Text(doc))
	if err != nil {
		panic(err)
	}
	return e
}

func (p *part) walk(f func(*compiled)) {
	if p.expr != nil {
		f(p.expr)
	}
	for i := range p.pieces {
		p.pieces[i].walk(f)
	}
	for i := range p.items {
		p.items[i].walk(f)
	}
}

func parsePart(doc Value) (part, error) {
	if !strings.Contains(doc.JSON(), "${") {
		return part{kind: partConstant, constant: doc}, nil
	}
	switch doc.JSON()[0] {
	case '"':
		var s string
		if err := doc.Decode(&s); err != nil {
			return part{}, err
		}
		return parseString(s)
	case '[':
		var items []Value
		if err := doc.Decode(&items); err != nil {
			return part{}, err
		}
		p := part{kind: partList}
		for _, item := range items {
			x, err := parsePart(item)
			if err != nil {
				return part{}, err
			}
			p.items = append(p.items, x)
		}
		return p, nil
	}
	var members map[string]Value
	if err := doc.Decode(&members); err != nil {
		return part{}, err
	}
	p := part{kind: partObject}
	for key := range members {
		p.keys = append(p.keys, key)
	}
	sort.Strings(p.keys)
	for _, key := range p.keys {
		x, err := parsePart(members[key])
		if err != nil {
			return part{}, fmt.Errorf("%s: %w", key, err)
		}
		p.items = append(p.items, x)
	}
	return p, nil
}

// parseString takes a string apart into text and expressions.
func parseString(s string) (part, error) {
	p := part{kind: partString}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			p.pieces = append(p.pieces, part{kind: partConstant, constant: Text(text.String())})
			text.Reset()
		}
	}
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "$${"):
			text.WriteString("${")
			i += 3
		case strings.HasPrefix(s[i:], "${"):
			end, err := closing(s, i+2)
			if err != nil {
				return part{}, err
			}
			source := strings.TrimSpace(s[i+2 : end])
			if source == "" {
				return part{}, errors.New("${ } is empty")
			}
			c, err := compile(source)
			if err != nil {
				return part{}, fmt.Errorf("${ %s }: %w", source, err)
			}
			flush()
			p.pieces = append(p.pieces, part{kind: partExpr, expr: c})
			i = end + 1
		default:
			text.WriteByte(s[i])
			i++
		}
	}
	flush()
	if len(p.pieces) == 1 {
		return p.pieces[0], nil
	}
	return p, nil
}

// closing finds the brace that ends an expression which begins at i: not one inside a string or another pair of braces.
func closing(s string, i int) (int, error) {
	depth := 0
	for start := i; i < len(s); i++ {
		switch c := s[i]; c {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i, nil
			}
			depth--
		case '\'', '"':
			raw := i > start && (s[i-1] == 'r' || s[i-1] == 'R')
			quote := s[i : i+1]
			if strings.HasPrefix(s[i:], strings.Repeat(quote, 3)) {
				quote = strings.Repeat(quote, 3)
			}
			i += len(quote)
			for i < len(s) && !strings.HasPrefix(s[i:], quote) {
				if s[i] == '\\' && !raw {
					i++
				}
				i++
			}
			if i >= len(s) {
				return 0, fmt.Errorf("a string in ${%s is not closed", s[start:])
			}
			i += len(quote) - 1
		}
	}
	return 0, fmt.Errorf("${ in %q has no closing }", s)
}

// IsZero reports whether the document said nothing.
func (e Expr) IsZero() bool { return e.t == nil }

// Names returns the names that must be in scope, sorted; steps is one of them when any step is named.
func (e Expr) Names() []string {
	if e.t == nil {
		return nil
	}
	return e.t.names
}

// Steps returns the X of every steps.X, sorted, and whether steps is used in another way too.
func (e Expr) Steps() (named []string, whole bool) {
	if e.t == nil {
		return nil, false
	}
	return e.t.steps, e.t.all
}

// Members returns the X of every NAME.X, where the expression fails if there is none: has(NAME.X) and NAME.?X ask for none.
func (e Expr) Members(name string) (members []string) {
	if e.t != nil {
		for _, x := range e.t.chosen {
			if x.name == name {
				members = append(members, x.member)
			}
		}
	}
	return members
}

// Const returns the value of a template without expressions.
func (e Expr) Const() (Value, bool) {
	if e.t == nil || !e.t.constant {
		return Null, false
	}
	return e.t.root.constant, true
}

// Shape returns the names of the members of a template that is an object, and those of them that are constant; none of another.
func (e Expr) Shape() (constant Value, names []string) {
	if e.t == nil {
		return Object(), nil
	}
	switch p := &e.t.root; p.kind {
	case partConstant:
		var m map[string]Value
		if p.constant.Decode(&m) != nil {
			return Object(), nil
		}
		return p.constant, slices.Sorted(maps.Keys(m))
	case partObject:
		var list []Member
		for i, name := range p.keys {
			if p.items[i].kind == partConstant {
				list = append(list, Member{name, p.items[i].constant})
			}
		}
		return Object(list...), p.keys
	}
	return Object(), nil
}

// Texts returns the texts of a template that are no expressions.
func (e Expr) Texts() []string {
	if e.t == nil {
		return nil
	}
	return e.t.root.texts(nil)
}

func (p *part) texts(out []string) []string {
	if p.kind == partConstant && strings.Contains(p.constant.JSON(), `"`) {
		return append(out, p.constant.JSON())
	}
	for i := range p.pieces {
		out = p.pieces[i].texts(out)
	}
	for i := range p.items {
		out = p.items[i].texts(out)
	}
	return out
}

// Source returns the template as it was written.
func (e Expr) Source() string {
	if e.t == nil {
		return ""
	}
	var s string
	if e.t.doc.Decode(&s) == nil {
		return s
	}
	return e.t.doc.JSON()
}

// Eval returns the template's value in a scope. The same scope gives the same bytes. cache may be nil. A fault of the expression or its data is an
// error that quotes the expression.
func (e Expr) Eval(scope Scope, cache *Cache) (Value, error) {
	if e.t == nil {
		return Null, nil
	}
	return e.t.root.eval(scope, cache)
}

// EvalBool returns the value of a condition, which must be true or false.
func (e Expr) EvalBool(scope Scope, cache *Cache) (bool, error) {
	v, err := e.Eval(scope, cache)
	if err != nil {
		return false, err
	}
	switch v.JSON() {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s yields %s and not true or false", e.Source(), shorten(v.JSON()))
}

func shorten(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}

func (p *part) eval(scope Scope, cache *Cache) (Value, error) {
	switch p.kind {
	case partConstant:
		return p.constant, nil
	case partExpr:
		return p.expr.value(scope, cache)
	case partString:
		return p.interpolate(scope, cache)
	}
	var b []byte
	open, end := byte('['), byte(']')
	if p.kind == partObject {
		open, end = '{', '}'
	}
	b = append(b, open)
	for i := range p.items {
		if i > 0 {
			b = append(b, ',')
		}
		if p.kind == partObject {
			b = append(AppendString(b, p.keys[i]), ':')
		}
		v, err := p.items[i].eval(scope, cache)
		if err != nil {
			return Null, err
		}
		if b = append(b, v.JSON()...); len(b) > MaxValueBytes {
			return Null, tooLarge(len(b))
		}
	}
	return Trusted(string(append(b, end))), nil
}

func (p *part) interpolate(scope Scope, cache *Cache) (Value, error) {
	text, err := p.text(scope, cache, func(_ string, _ Value, s string) (string, error) { return s, nil })
	return Text(text), err
}

// text puts a string together. in makes of what an expression yields, and its text, what stands in the string behind what is before it.
func (p *part) text(scope Scope, cache *Cache, in func(before string, v Value, s string) (string, error)) (string, error) {
	var text strings.Builder
	for i := range p.pieces {
		v, err := p.pieces[i].eval(scope, cache)
		if err != nil {
			return "", err
		}
		s := v.JSON()
		if t, is := textOf(v); is {
			s = t
		}
		if p.pieces[i].kind != partConstant {
			if s, err = in(text.String(), v, s); err != nil {
				return "", err
			}
		}
		if text.WriteString(s); text.Len() > MaxValueBytes {
			return "", tooLarge(text.Len())
		}
	}
	return text.String(), nil
}

// textOf is the string that a value is.
func textOf(v Value) (s string, is bool) {
	if v.IsNull() || json.Unmarshal([]byte(v.JSON()), &s) != nil {
		return "", false
	}
	return s, true
}

// EvalText returns the text that a template is, of one string, where each expression's part is what in makes of it: it is told what stands before. So a value
// is escaped as its place asks for. Null is refused: whoever reads the text would take it for a name.
func (e Expr) EvalText(scope Scope, cache *Cache, in func(before, s string) (string, error)) (string, error) {
	if e.t == nil {
		return "", nil
	}
	whole := part{kind: partString, pieces: []part{e.t.root}}
	if e.t.root.kind == partString {
		whole = e.t.root
	}
	return whole.text(scope, cache, func(before string, v Value, s string) (string, error) {
		if v.IsNull() {
			return "", errors.New(`null is no text; write data.?id.orValue("none") where something may be missing`)
		}
		return in(before, s)
	})
}

// value evaluates one expression. A bare name keeps its text: a value of megabytes is passed on, not taken apart.
func (c *compiled) value(scope Scope, cache *Cache) (Value, error) {
	if c.bare != "" {
		if term, ok := scope.Lookup(c.bare); ok {
			if g, ok := term.(*Gathered); ok {
				return g.whole(), nil
			}
			if v, ok := term.(Value); ok {
				return v, nil
			}
		}
	}
	if cache == nil { // Nothing counts what it costs.
		if v, ok := c.member(scope); ok {
			return v, nil
		}
	}
	e := newEvaluation(scope, cache)
	defer e.end()
	out, err := c.eval(e)
	if err != nil {
		return Null, err
	}
	if o, ok := out.(*types.Optional); ok && !o.HasValue() {
		return Null, nil
	}
	v, err := encodeTree(out)
	if err != nil {
		if broken, ok := err.(*CostError); ok {
			return Null, &CostError{fmt.Sprintf("${ %s }: %s", shorten(c.source), broken.msg)}
		}
		return Null, fmt.Errorf("${ %s }: %w", c.source, err)
	}
	if v.text != "" {
		e.spent += uint64(len(v.text) / 10)
		v.text = e.original(v.text)
	}
	return v, nil
}

// MarshalJSON writes the template as it was written.
func (e Expr) MarshalJSON() ([]byte, error) {
	if e.t == nil {
		return []byte("null"), nil
	}
	return []byte(e.t.doc.JSON()), nil
}

// UnmarshalJSON reads a template.
func (e *Expr) UnmarshalJSON(b []byte) error {
	v, err := ParseValue(b)
	if err != nil {
		return err
	}
	*e, err = ParseExpr(v)
	return err
}

// Pos returns where the template stands; zero when it was not read from a document.
func (e Expr) Pos() Pos {
	if e.t == nil {
		return Pos{}
	}
	return e.t.pos
}
