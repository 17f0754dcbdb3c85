package lang

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Parts of at least unreadFrom bytes that stand not deeper than unreadDepth are decoded when they are asked for: an expression that names one field of a
// large event pays for the event's outline. Deeper ones are decoded with what they are in, since each level reads its text once more.
const (
	unreadFrom  = 512
	unreadSmall = 32       // in a text of
	largeText   = 64 << 10 // or more
	unreadDepth = 4
)

// decodeTree decodes JSON text for expressions. The text is trusted to be one valid value; the error is for depth only, or for text that is not.
func decodeTree(text string) (ref.Val, int, error) { return decodeFor(text, nil) }

func decodeFor(text string, book *cached) (ref.Val, int, error) {
	d := treeDecoder{s: text, book: book}
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
	book *cached
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
		return d.number(), nil
	}
	return nil, d.bad()
}

// part is value for what stands in a list or an object: it may leave it for later.
func (d *treeDecoder) part(depth int) (ref.Val, error) {
	d.space()
	from := unreadFrom
	if len(d.s) >= largeText {
		from = unreadSmall
	}
	if depth <= unreadDepth && len(d.s)-d.i >= from && (d.s[d.i] == '{' || d.s[d.i] == '[') {
		if end := closingBracket(d.s, d.i); end-d.i >= from {
			u := &unread{text: d.s[d.i:end], depth: depth, book: d.book}
			d.i = end
			d.cost += 64
			return u, nil
		}
	}
	return d.value(depth)
}

// closingBracket returns the place behind the bracket that closes the one at i, or the end of the text.
func closingBracket(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func (d *treeDecoder) word(w string) error {
	if !strings.HasPrefix(d.s[d.i:], w) {
		return d.bad()
	}
	d.i += len(w)
	return nil
}

// number decodes a number: an int, a uint or a double, whichever holds it first, with its text where we would write it differently.
func (d *treeDecoder) number() ref.Val {
	start, whole, digits := d.i, true, 0
	for ; d.i < len(d.s); d.i++ {
		c := d.s[d.i]
		if c >= '0' && c <= '9' {
			digits++
		} else if c == '.' || c == 'e' || c == 'E' || c == '+' {
			whole = false
		} else if c != '-' {
			break
		}
	}
	d.cost += 24
	text := d.s[start:d.i]
	if whole && text != "-0" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return types.Int(n)
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return types.Uint(n)
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		d.cost += 32
		return &numeral{types.Double(f), text, types.NewErr("number %s: out of range", text).(*types.Err)}
	}
	if canonical(text, digits, f) {
		return types.Double(f)
	}
	d.cost += 32
	return &numeral{types.Double(f), text, nil}
}

// canonical reports whether we would write f as text.
func canonical(text string, digits int, f float64) bool {
	if digits <= 15 && text[len(text)-1] != '0' && !strings.ContainsAny(text, "eE") && (f >= 1e-4 || f <= -1e-4) {
		return true // So few digits are the shortest that read back the same.
	}
	var buf [32]byte
	b, err := appendDouble(buf[:0], f)
	return err == nil && string(b) == text
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
		v, err := d.part(depth + 1)
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
	d.cost += 64 + 16*cap(vals)
	return &array{vals, d.s[start:d.i]}, nil
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
		v, err := d.part(depth + 1)
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
	d.cost += 96 + 40*cap(o.keys)
	return o, nil
}
