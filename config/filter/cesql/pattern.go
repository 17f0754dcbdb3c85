package cesql

import (
	"strings"
	"unicode/utf8"
)

// A pattern is that of LIKE: parts that stand in that order, with any characters between them.
type pattern struct {
	parts []part
}

// A part is what stands between two %.
type part struct {
	text  string // without any _
	runes []rune // with them: any
	any   bool   // it has a _
	least int    // bytes that it takes, at least
}

const anyRune = -1

// newPattern reads a pattern: % is any number of characters, _ one, and a backslash before either makes a character of it.
func newPattern(s string) *pattern {
	p := &pattern{}
	var cur part
	flush := func() {
		if !cur.any {
			cur.text = string(cur.runes)
		}
		p.parts = append(p.parts, cur)
		cur = part{}
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '%':
			flush()
		case r == '_':
			cur.runes, cur.any, cur.least = append(cur.runes, anyRune), true, cur.least+1
		default:
			if r == '\\' && i+1 < len(s) && (s[i+1] == '%' || s[i+1] == '_') {
				i++
				r, size = rune(s[i]), 1
			}
			cur.runes, cur.least = append(cur.runes, r), cur.least+size
		}
		i += size
	}
	flush()
	return p
}

// begins returns how many bytes of s a part takes at its beginning, or -1.
func (p *part) begins(s string) int {
	if !p.any {
		if strings.HasPrefix(s, p.text) {
			return len(p.text)
		}
		return -1
	}
	n := 0
	for _, want := range p.runes {
		r, size := utf8.DecodeRuneInString(s[n:])
		if size == 0 || want != anyRune && want != r {
			return -1
		}
		n += size
	}
	return n
}

// find returns where a part stands first in s, and where it ends there.
func (p *part) find(s string) (at, end int) {
	if !p.any {
		at = strings.Index(s, p.text)
		return at, at + len(p.text)
	}
	for at = 0; len(s)-at >= p.least; {
		if n := p.begins(s[at:]); n >= 0 {
			return at, at + n
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		at += max(size, 1)
	}
	return -1, 0
}

// match takes each part where it stands first: if any way of taking them fits, this one does.
func (p *pattern) match(s string) bool {
	first, last := &p.parts[0], &p.parts[len(p.parts)-1]
	n := first.begins(s)
	if n < 0 {
		return false
	}
	if s = s[n:]; len(p.parts) == 1 {
		return s == ""
	}
	for i := 1; i < len(p.parts)-1; i++ {
		at, end := p.parts[i].find(s)
		if at < 0 {
			return false
		}
		s = s[end:]
	}
	return last.ends(s)
}

// ends reports whether a part stands at the end of s.
func (p *part) ends(s string) bool {
	if !p.any {
		return strings.HasSuffix(s, p.text)
	}
	at := len(s)
	for range p.runes {
		_, size := utf8.DecodeLastRuneInString(s[:at])
		if size == 0 {
			return false
		}
		at -= size
	}
	return p.begins(s[at:]) == len(s)-at
}

// fixed returns what a pattern asks for beyond doubt: that a text is one, begins with one or ends with one. ok is false where it asks for more.
func (p *pattern) fixed() (exact, prefix, suffix string, ok bool) {
	for i := range p.parts {
		if p.parts[i].any {
			return "", "", "", false
		}
	}
	switch n := len(p.parts); {
	case n == 1:
		return p.parts[0].text, "", "", true
	case n == 2:
		return "", p.parts[0].text, p.parts[1].text, true
	}
	return "", p.parts[0].text, p.parts[len(p.parts)-1].text, true // And more between them.
}
