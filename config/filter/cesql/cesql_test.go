package cesql

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

var attributes = map[string]Value{
	"id": Text("1"), "type": Text("com.example.größe"), "source": Text("/s"), "count": Int(7), "flag": Bool(true), "empty": Text(""),
}

func read(name string) (Value, bool) { v, ok := attributes[name]; return v, ok }

// TestValues are what the specification's kit does not ask, or what others read differently.
func TestValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"type LIKE 'com.%.gr__e'":          "true", // Characters, not bytes.
		"type LIKE '%gr___e'":              "false",
		"'a%b' LIKE 'a\\%b'":               "true",
		"'' LIKE '%'":                      "true",
		"'' LIKE ''":                       "true",
		"'a' LIKE ''":                      "false",
		"'abcabc' LIKE 'abc'":              "false",
		"'aXbXc' LIKE '%X%X%'":             "true",
		"'aX' LIKE '%X%X%'":                "false",
		"'x' LIKE '%%'":                    "true",
		"'ab' LIKE '_%_'":                  "true",
		"'a' LIKE '_%_'":                   "false",
		"LENGTH(type)":                     "17",
		"LEFT('größe', 3)":                 "grö",
		"RIGHT('größe', 2)":                "ße",
		"SUBSTRING('größe', -3, 2)":        "öß",
		"SUBSTRING('abc', 2, 100)":         "bc",
		"4 -1":                             "3",
		"4 - -1":                           "5",
		"2+3*-2":                           "-4",
		"-count + +1":                      "-6",
		"7 - 2 - 1":                        "4",
		"-7 / 2":                           "-3",
		"-7 % 2":                           "-1",
		"TRUE XOR TRUE OR FALSE AND FALSE": "false", // AND before OR before XOR.
		"TRUE OR FALSE AND FALSE":          "true",
		"count = '7'":                      "true",
		"count IN ('007', 5)":              "true", // By the left side's type.
		"(count) NOT IN (1, 2)":            "true",
		"flag AND EXISTS count":            "true",
		"NOT EXISTS nothing":               "true",
		"EXISTS empty AND empty = ''":      "true",
		"concat(count, '-', flag)":         "7-true",
		"Upper(Lower('Ä'))":                "Ä",
		"'it''s'":                          "!at character 5: a string cannot stand here; write AND, OR or an operator between two values; strings stand in quotes",
		"2147483647 + 1":                   "!at character 12: the result has no place in 32 bits",
		"-2147483648 / -1":                 "!at character 13: the result has no place in 32 bits",
		"- (-2147483648)":                  "!at character 1: the result has no place in 32 bits",
		"2147483648":                       `!at character 1: "2147483648" is no integer of 32 bits; compare it as a text, in quotes`,
		"BOOL('falſe')":                    `!at character 1: "falſe" is neither true nor false`,
		"LEFT('a')":                        "!at character 1: LEFT does not take 1 arguments",
		"type = com.example":               "!at character 11: '.' has no meaning here; sql sees the attributes of an event, which have no parts; what is in the data is asked for by when: \"${ data.amount > 13 }\"",
		"type == 'x'":                      `!at character 7: a value is due here, and not "="; one = compares`,
		"type = 'x":                        "!at character 8: a string that is not closed; end it with '; ' within it is written \\'",
		"(id = '1'":                        "!at character 10: the end, and a ( is open; close it with )",
		"id = '1')":                        `!at character 9: ")" cannot stand here; there is one ) too many`,
		"subject IS NULL":                  `!at character 9: "IS" cannot stand here; write EXISTS name or NOT EXISTS name`,
		"my_ext = 1":                       `!at character 1: "my_ext" is no attribute's name; names are letters and digits`,
		"id && type":                       "!at character 4: '&' has no meaning here; write AND",
		"id LIKE type":                     `!at character 9: a pattern is due behind LIKE, and not "type"; write a text in quotes, with % for any characters and _ for one`,
		"id IN 'x'":                        "!at character 7: a list is due behind IN, and not a string; write IN ('a', 'b')",
		"id IN ()":                         "!at character 8: a list without values; write at least one value",
		"":                                 "!at character 1: a value is due here, and not the end; write an attribute, a string in quotes, a number, TRUE or FALSE",
		"ß = 1":                            "!at character 1: 'ß' has no meaning here",
		"'größe' = 'x' + ":                 "!at character 17: a value is due here, and not the end; write an attribute, a string in quotes, a number, TRUE or FALSE",
	} {
		x, err := Compile(text)
		var v Value
		if err == nil {
			v, err = x.Eval(read)
		}
		got := v.String()
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
}

// TestBounds refuses what is too long or too deep, and makes no text beyond the limit.
func TestBounds(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"length": "id = '" + strings.Repeat("x", MaxText) + "'", "brackets": strings.Repeat("(", 2000), "closed": strings.Repeat("(", 100) + "id" + strings.Repeat(")", 100),
		"NOT": strings.Repeat("NOT ", 1000) + "flag", "minus": strings.Repeat("- ", 1000) + "1", "calls": strings.Repeat("ABS(", 500), "lists": strings.Repeat("1 IN (", 600),
		"no UTF-8": "id = '\xff'",
	} {
		if _, err := Compile(text); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
	if _, err := Compile(strings.Repeat("(", MaxDepth) + "id = '1'" + strings.Repeat(")", MaxDepth)); err != nil {
		t.Error(err)
	}
	wide, err := Compile("id = '1'" + strings.Repeat(" OR id = '1'", 300))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := wide.Eval(read); !v.IsTrue() || err != nil {
		t.Error(v, err)
	}
	big, err := Compile("CONCAT(" + strings.Repeat("huge, ", 100) + "huge) = 'x'")
	if err != nil {
		t.Fatal(err)
	}
	_, err = big.Eval(func(string) (Value, bool) { return Text(strings.Repeat("x", 1024)), true })
	if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != GenericError {
		t.Errorf("%v", err)
	}
}

// likeOracle is LIKE by a regular expression.
func likeOracle(s, pattern string) bool {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	rs := []rune(pattern)
	for i := 0; i < len(rs); i++ {
		switch r := rs[i]; {
		case r == '%':
			b.WriteString(".*")
		case r == '_':
			b.WriteString(".")
		case r == '\\' && i+1 < len(rs) && (rs[i+1] == '%' || rs[i+1] == '_'):
			i++
			b.WriteString(regexp.QuoteMeta(string(rs[i])))
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(b.String() + `\z`).MatchString(s)
}

func FuzzLike(f *testing.F) {
	for _, pattern := range []string{"a%b_c", "%", "", "_%_", `a\%b`, "%ab%ba%", "ö%_ß", `\`, `%\_`, "a%a"} {
		f.Add("abcöß%_", pattern)
		f.Add("a", pattern)
		f.Add("abba", pattern)
	}
	f.Fuzz(func(t *testing.T, s, pattern string) {
		s, pattern = strings.ToValidUTF8(s, "?"), strings.ToValidUTF8(pattern, "?")
		if len(s)+len(pattern) > 200 {
			return
		}
		p := newPattern(pattern)
		if got, want := p.match(s), likeOracle(s, pattern); got != want {
			t.Errorf("%q LIKE %q: %v", s, pattern, got)
		}
		exact, prefix, suffix, ok := p.fixed()
		if ok && p.match(s) && (len(p.parts) == 1 && s != exact || !strings.HasPrefix(s, prefix) || !strings.HasSuffix(s, suffix)) {
			t.Errorf("%q LIKE %q is %q, %q, %q", s, pattern, exact, prefix, suffix)
		}
	})
}

// FuzzCompile reads anything: what is read says the same twice, and what it needs holds where it matches.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"type LIKE 'com.%' AND count > 3", "NOT (id IN ('1', count, TRUE)) XOR flag", "SUBSTRING(CONCAT_WS('-', id, type), -3, 2) = 'ße'", "- 3 + count * 2 % 5 <= +7",
		"EXISTS subject OR NOT EXISTS id", `'a\'b' = "a'b"`, "id = '1' AND '/s' = source AND type IN ('com.example.größe', 'x')", "((((", "INT('x') = 1 / 0",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := Compile(text)
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != ParseError || e.At < 1 || e.At > len([]rune(text))+1 {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		v, err := x.Eval(read)
		again, err2 := x.Eval(read)
		if v != again || (err == nil) != (err2 == nil) {
			t.Errorf("%q yields %v and %v", text, v, again)
		}
		for _, d := range x.Doubts() {
			if d.At < 1 || d.What == "" {
				t.Errorf("%q: %+v", text, d)
			}
		}
		if err != nil || !v.IsTrue() {
			return
		}
		for _, need := range x.Needs() {
			got, has := read(need.Name)
			ok := has && strings.HasPrefix(got.String(), need.Prefix) && strings.HasSuffix(got.String(), need.Suffix)
			for i, text := range need.Exact {
				if i == 0 {
					ok = false
				}
				ok = ok || has && text == got.String()
			}
			if !ok {
				t.Errorf("%q matches without %+v", text, need)
			}
		}
	})
}

func BenchmarkEval(b *testing.B) {
	x, err := Compile("type LIKE 'com.example.%' AND id = '1' AND count > 3")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := x.Match(read); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
