package lang

// member is what an expression yields that is just a name and members below it, where that is a number, true, false or a plain text: then nothing has to be decoded.
// false leaves it, and what is to be said of it, to the evaluation.
func (c *compiled) member(scope Scope) (Value, bool) {
	if len(c.path) < 2 {
		return Null, false
	}
	term, _ := scope.Lookup(c.path[0])
	v, ok := term.(Value)
	if !ok {
		return Null, false
	}
	text := v.JSON()
	for _, name := range c.path[1:] {
		if text, ok = memberOf(text, name); !ok {
			return Null, false
		}
	}
	if !isPlain(text) {
		return Null, false
	}
	return Trusted(text), true
}

// isPlain reports a value whose text is how we would write it.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return text != "" && text[0] != '{' && text[0] != '['
}

// memberOf finds the one member of a compact object that has a name. An object whose keys have escapes, or in which the name comes twice, is for others to read.
func memberOf(text, name string) (found string, ok bool) {
	if text == "" || text[0] != '{' {
		return "", false
	}
	for i := 1; i < len(text) && text[i] == '"'; i++ {
		begin := i + 1
		end := textEnd(text, begin)
		if end+1 >= len(text) || !isPlain(text[begin-1:end]) {
			return "", false
		}
		i = valueEnd(text, end+2)
		if text[begin:end] != name {
			continue
		}
		if ok {
			return "", false
		}
		found, ok = text[end+2:i], true
	}
	return found, ok
}

// textEnd is where the closing quote of a text is that begins at i.
func textEnd(text string, i int) int {
	for ; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// valueEnd is where what is behind the value is that begins at i: a comma, or a bracket.
func valueEnd(text string, i int) int {
	for depth := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			i = textEnd(text, i+1)
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}' || c == ']'):
			return i
		case c == '}' || c == ']':
			depth--
		}
	}
	return len(text)
}
