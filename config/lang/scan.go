package lang

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// What comes from outside as JSON is read here, in one pass and by one rule: RFC 8259, in UTF-8, without half surrogates, nested no deeper than
// MaxNesting. Whatever passes can be saved, loaded and looked into.

// ErrUnfit is of what is JSON by its form, and is not taken.
var ErrUnfit = errors.New("JSON that cannot be kept")

// EachMember calls f for each member of the JSON object that text is, in order, once its value was checked: with the key, unescaped, and the value's text.
// The key is valid during the call only; the value is a part of text. A key that comes twice is given twice. The first error ends it, f's own as it is.
func EachMember(text []byte, f func(key, value []byte) error) error {
	s := scanner{b: text}
	s.skip()
	if s.peek() != '{' {
		return s.wrong("a JSON object")
	}
	if err := s.object(0, f); err != nil {
		return err
	}
	return s.end()
}

// EachElement calls f with the text of each element of the JSON list that text is, in order. It finds where they end and does not look into them: one
// that is no JSON harms none of the others. The first error ends it, f's own as it is.
func EachElement(text []byte, f func(value []byte) error) error {
	s := scanner{b: text}
	s.skip()
	if s.peek() != '[' {
		return s.wrong("a JSON list")
	}
	s.i++
	if s.skip(); s.peek() == ']' {
		s.i++
		return s.end()
	}
	for at, depth := s.i, 0; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.quoted()
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && (c == ',' || c == ']'):
			if err := f(bytes.Trim(s.b[at:s.i:s.i], " \t\r\n")); err != nil {
				return err
			}
			if c == ']' {
				s.i++
				return s.end()
			}
			at = s.i + 1
		}
	}
	return s.wrong("a closing bracket")
}

// quoted goes from a text's opening quote to its closing one, or to the end.
func (s *scanner) quoted() {
	for s.i++; s.i < len(s.b) && s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
}

// CheckJSON reports what ParseValue would.
func CheckJSON(text []byte) error {
	s := scanner{b: text}
	return s.document()
}

// TextOf returns the text of a JSON string, which was checked before; false when it is another kind of value.
func TextOf(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return string(unescape(value[1 : len(value)-1])), true
}

// A scanner checks JSON from i on.
type scanner struct {
	b      []byte
	i      int
	blanks bool // there are some outside of texts
}

func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// skip passes over blanks.
func (s *scanner) skip() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.blanks = true
			s.i++
		default:
			return
		}
	}
}

// wrong is the error for what stands at i.
func (s *scanner) wrong(want string) error {
	if s.i >= len(s.b) {
		return fmt.Errorf("it ends where %s belongs", want)
	}
	r, _ := utf8.DecodeRune(s.b[s.i:])
	return fmt.Errorf("%q at byte %d, where %s belongs", r, s.i, want)
}

// document checks that there is one value and nothing else.
func (s *scanner) document() error {
	s.skip()
	if err := s.value(0); err != nil {
		return err
	}
	return s.end()
}

func (s *scanner) end() error {
	s.skip()
	if s.i < len(s.b) {
		return s.wrong("the end")
	}
	return nil
}

// value checks the value that begins at i; depth is how many lists and objects it stands in.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		return s.text()
	case c == '{':
		return s.object(depth+1, nil)
	case c == '[':
		return s.list(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if len(s.b)-s.i >= len(word) && string(s.b[s.i:s.i+len(word)]) == word {
			s.i += len(word)
			return nil
		}
	}
	return s.wrong("a JSON value")
}

func tooDeep(depth int) error {
	if depth > MaxNesting {
		return fmt.Errorf("%w: nested deeper than %d", ErrUnfit, MaxNesting)
	}
	return nil
}

func (s *scanner) object(depth int, f func(key, value []byte) error) error {
	if err := tooDeep(depth); err != nil {
		return err
	}
	s.i++
	s.skip()
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.wrong("a key in quotes")
		}
		at := s.i
		if err := s.text(); err != nil {
			return err
		}
		key := s.b[at+1 : s.i-1]
		s.skip()
		if s.peek() != ':' {
			return s.wrong("a colon")
		}
		s.i++
		s.skip()
		at = s.i
		if err := s.value(depth); err != nil {
			return err
		}
		if f != nil {
			if err := f(unescape(key), s.b[at:s.i:s.i]); err != nil {
				return err
			}
		}
		s.skip()
		switch s.peek() {
		case ',':
			s.i++
			s.skip()
		case '}':
			s.i++
			return nil
		default:
			return s.wrong("a comma or a closing brace")
		}
	}
}

func (s *scanner) list(depth int) error {
	if err := tooDeep(depth); err != nil {
		return err
	}
	s.i++
	s.skip()
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		s.skip()
		switch s.peek() {
		case ',':
			s.i++
			s.skip()
		case ']':
			s.i++
			return nil
		default:
			return s.wrong("a comma or a closing bracket")
		}
	}
}

// plain are the bytes of a text that stand for themselves and need no second look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func (s *scanner) text() error {
	s.i++
	for {
		for s.i < len(s.b) && plain[s.b[s.i]] {
			s.i++
		}
		switch c := s.peek(); {
		case c == '"':
			s.i++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case s.i >= len(s.b):
			return s.wrong("a closing quote")
		case c < 0x20:
			return s.wrong("a text without control characters")
		default:
			r, n := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && n <= 1 {
				return fmt.Errorf("byte %d is not UTF-8", s.i)
			}
			s.i += n
		}
	}
}

func (s *scanner) escape() error {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
	default:
		return s.wrong("an escape that JSON knows")
	}
	at := s.i - 1
	r, ok := hex(s.b, s.i+1)
	if !ok {
		return s.wrong("four hexadecimal digits")
	}
	s.i += 5
	if !utf16.IsSurrogate(r) {
		return nil
	}
	if low, ok := hex(s.b, s.i+2); ok && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' && utf16.DecodeRune(r, low) != utf8.RuneError {
		s.i += 6
		return nil
	}
	return fmt.Errorf("%w: half a surrogate pair at byte %d, which is no character", ErrUnfit, at)
}

// hex reads four digits at i.
func hex(b []byte, i int) (rune, bool) {
	if i < 0 || i+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (s *scanner) digits() error {
	at := s.i
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.i++
	}
	if s.i == at {
		return s.wrong("a digit")
	}
	return nil
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.peek() == '.' {
		s.i++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		return s.digits()
	}
	return nil
}

// compact leaves out the blanks outside of texts; text was checked before.
func compact(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			at := i
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			i++
			out = append(out, text[at:i]...)
		default:
			out = append(out, c)
			i++
		}
	}
	return out
}

var escaped = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\', '/': '/'}

// unescape reads the inside of a text, which was checked before.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		i++
		if b[i] != 'u' {
			out = append(out, escaped[b[i]])
			continue
		}
		r, _ := hex(b, i+1)
		i += 4
		if utf16.IsSurrogate(r) {
			low, _ := hex(b, i+3)
			r = utf16.DecodeRune(r, low)
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
