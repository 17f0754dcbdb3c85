package cesql

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A token is a piece of an expression. Words are in small letters.
type token struct {
	kind tokenKind
	text string // a word, a string's value, an operator, the digits of a number
	at   int    // byte
	end  int
}

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokNumber
	tokString
	tokMark // an operator or a bracket
)

// A scanner takes an expression apart.
type scanner struct {
	text string
	i    int
}

var marks = []string{"!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-", "*", "/", "%"}

// next returns the next token; what is wrong is a message with a cure.
func (s *scanner) next() (t token, what, cure string) {
	for s.i < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.i]) >= 0 {
		s.i++
	}
	t.at = s.i
	if s.i == len(s.text) {
		t.end = s.i
		return t, "", ""
	}
	switch c := s.text[s.i]; {
	case c == '\'' || c == '"':
		t.kind = tokString
		t.text, what, cure = s.quoted(c)
	case isWord(c):
		for s.i < len(s.text) && isWord(s.text[s.i]) {
			s.i++
		}
		t.text, t.kind = lower(s.text[t.at:s.i]), tokWord
		if strings.Trim(t.text, "0123456789") == "" {
			t.kind = tokNumber
		}
	default:
		for _, m := range marks {
			if strings.HasPrefix(s.text[s.i:], m) {
				t.kind, t.text = tokMark, m
				s.i += len(m)
				t.end = s.i
				return t, "", ""
			}
		}
		what, cure = s.stranger()
	}
	t.end = s.i
	return t, what, cure
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// quoted reads a string. A backslash before the quote makes a character of it; before anything else it stands for itself, as patterns need it.
func (s *scanner) quoted(quote byte) (text, what, cure string) {
	var b strings.Builder
	for i := s.i + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == quote:
			s.i = i + 1
			return b.String(), "", ""
		case c == '\\' && i+1 < len(s.text):
			if i++; s.text[i] != quote {
				b.WriteByte('\\')
			}
			b.WriteByte(s.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "a string that is not closed", fmt.Sprintf("end it with %c; %c within it is written \\%c", quote, quote, quote)
}

// stranger says what a character is that no expression has.
func (s *scanner) stranger() (what, cure string) {
	r, _ := utf8.DecodeRuneInString(s.text[s.i:])
	what = fmt.Sprintf("%q has no meaning here", r)
	switch {
	case r == '&':
		cure = "write AND"
	case r == '|':
		cure = "write OR"
	case r == '!':
		cure = "write NOT, or != to compare"
	case r == '.' || r == '[':
		cure = "sql sees the attributes of an event, which have no parts; what is in the data is asked for by when: "
		cure += `"${ data.amount > 13 }"`
	case r == '$' || r == '{':
		cure = "sql is no ${ } expression; write it as it is"
	}
	return what, cure
}
