package yamldoc_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
)

// read returns the documents as JSON, a line each; or the findings.
func read(text string) (string, []lang.Finding) {
	nodes, findings := yamldoc.Parse("f", []byte(text))
	var out []string
	for _, n := range nodes {
		out = append(out, n.JSON().JSON())
	}
	return strings.Join(out, "\n"), findings
}

// TestReadings holds texts against what YAML 1.2's core schema says that they say.
func TestReadings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		// Documents.
		"a: 1\n---\n---\nb: 2\n":                     "{\"a\":1}\n{\"b\":2}",
		"a: 1\n---\n# only a comment\n---\nb: 2\n":   "{\"a\":1}\n{\"b\":2}",
		"---\n---\n# x\n---\na: 1\n...\n---\nb: 2\n": "{\"a\":1}\n{\"b\":2}",
		"# c\n\n":                "",
		"a: 1\n--- # next\nb: 2": "{\"a\":1}\n{\"b\":2}",
		"a: 1\n---\nnull\n":      "{\"a\":1}\nnull",
		"a: 1\n---\n''\n":        "{\"a\":1}\n\"\"",
		"%YAML 1.2\n---\na: 1\n": `{"a":1}`,
		"# c\n%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 1": "{\"a\":1}\n{\"b\":1}",
		"a: \"x\n\n  %YAML 1.2\"\n":                            `{"a":"x\n%YAML 1.2"}`,
		"\ufeffa: 1\n":                                         `{"a":1}`,
		"\ufeff%YAML 1.2\n---\na: 1\n":                         `{"a":1}`,
		"a: 1\r\nb: |\r\n  x\r\n  y\r\n":                       `{"a":1,"b":"x\ny\n"}`,
		`{"a":[1,2,{"b":null}],"c":"/\u00e9😀"}`:                `{"a":[1,2,{"b":null}],"c":"/é😀"}`,
		// Numbers.
		"a: [0, -0, 007, 0123, +12, -012, 1e3, 1E+3, 1.10, .5, 5., 1.e2, -.5e-3, 0.0]":         `{"a":[0,-0,7,123,12,-12,1e3,1E+3,1.10,0.5,5,1e2,-0.5e-3,0.0]}`,
		"a: [123456789012345678901234567890, 18446744073709551616, 9007199254740993.0, 1E400]": `{"a":[123456789012345678901234567890,18446744073709551616,9007199254740993.0,1E400]}`,
		"a: [0o17, 0x1F, 0xffffffffffffffffff]":                                                `{"a":[15,31,4722366482869645213695]}`,
		"a: [0b1, 1_000, 12:30, 0o8, 0xg, 1.2.3, +, -, ., 1e, e1, +0x1, 0O17]":                 `{"a":["0b1","1_000","12:30","0o8","0xg","1.2.3","+","-",".","1e","e1","+0x1","0O17"]}`,
		// Words.
		"a: [true, True, TRUE, tRUE, false, False, FALSE]":        `{"a":[true,true,true,"tRUE",false,false,false]}`,
		"a: [yes, no, on, off, y, n, Yes, NO]":                    `{"a":["yes","no","on","off","y","n","Yes","NO"]}`,
		"a: [null, Null, NULL, ~, nULL, '', \"\", 'null', \"~\"]": `{"a":[null,null,null,null,"nULL","","","null","~"]}`,
		"a:\nb: ~\nc: ''": `{"a":null,"b":null,"c":""}`,
		"a: 2001-12-14\nb: 2001-12-14t21:59:43.10-05:00\nc: =\nd: '<<'": `{"a":"2001-12-14","b":"2001-12-14t21:59:43.10-05:00","c":"=","d":"<<"}`,
		// Tags.
		"a: !!str 123\nb: !!int '12'\nc: !!float 3\nd: !!null ''\ne: !!bool 'true'\nf: !!str\ng: ! 12\nh: !<tag:yaml.org,2002:str> 1": `{"a":"123","b":12,"c":3,"d":null,"e":true,"f":"","g":"12","h":"1"}`,
		"a: !!map { b: !!seq [1] }": `{"a":{"b":[1]}}`,
		"{!!str 1: a, ! 2: b}":      `{"1":"a","2":"b"}`,
		"a: &x ! 12\nb: *x":         `{"a":"12","b":"12"}`,
		// Keys.
		"{ &k a: 1, b: *k }":                        `{"a":1,"b":"a"}`,
		"&k a: 1\n*k : 2":                           "",
		`{'"q"': 1, "'q'": 2, 'it''s': 3, "\"": 4}`: `{"\"q\"":1,"'q'":2,"it's":3,"\"":4}`,
		"? a\n: 1\n? b\n":                           `{"a":1,"b":null}`,
		"'<<': 1\n!!str <<: 2":                      "",
		"\"a\":1\nb:  2":                            "",
		`{"a":1,"b":[x,y]}`:                         `{"a":1,"b":["x","y"]}`,
		"on: push\nyes: 1":                          `{"on":"push","yes":1}`,
		"é: ü\n'a b': c d":                          `{"é":"ü","a b":"c d"}`,
		// Texts.
		"a: |\n  total: ${ data.x }\n  - ${ y }\nb: >-\n  x ${ a }\n  y\nc: \"q\n  w: ${ x }\"\nd: 'p\n\n  [ ${ z } ]'": `{"a":"total: ${ data.x }\n- ${ y }\n","b":"x ${ a } y","c":"q w: ${ x }","d":"p\n[ ${ z } ]"}`,
		"a: |2\n    x\n   y\nb: |+\n  x\n\nc: |-\n  x\n":                                                                `{"a":"  x\n y\n","b":"x\n\n","c":"x"}`,
		"a: b#c\nb: 'x' # y\nc: x:y\nd: http://h/p?q=1&r=[2]":                                                           `{"a":"b#c","b":"x","c":"x:y","d":"http://h/p?q=1&r=[2]"}`,
		"a: \"\\t\\x41\\u00e9\\U0001F600\\e\\\n  z\"":                                                                   `{"a":"\tAé😀\u001bz"}`,
		"a:\tb\nc: [ 1,\t2 ]":     `{"a":"b","c":[1,2]}`,
		"# ${ x }\na: 1 # ${ y }": `{"a":1}`,
		"a: \"$${ x }\"":          `{"a":"$${ x }"}`,
		// Aliases.
		"a: &x { b: 1 }\nc: *x\nd: [*x, *x]": `{"a":{"b":1},"c":{"b":1},"d":[{"b":1},{"b":1}]}`,
		"a: &x 1\nb: &x 2\nc: *x":            `{"a":1,"b":2,"c":2}`,
	} {
		got, findings := read(text)
		if want == "" {
			continue // Held by TestRefusals, or as empty.
		}
		if len(findings) > 0 || got != want {
			t.Errorf("%q reads\n%s\n%v\nand is to read\n%s", text, got, findings, want)
		}
	}
	if got, findings := read("# c\n\n"); got != "" || len(findings) > 0 {
		t.Errorf("a comment reads %q, %v", got, findings)
	}
}

// TestRefusals holds what is no document, with the place and a word of what is said.
func TestRefusals(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	for text, want := range map[string]string{
		"a: 1\na: 2":                      `f:2:1: key "a" stands on line 1 already; keep one`,
		"a: 1\n'a': 2":                    `f:2:1: key "a" stands on line 1 already`,
		"\"a\": 1\nb: { c: 1, \"c\": 2 }": `f:2:12: key "c" stands`,
		"a: 1\n\"\\u0061\": 2":            `f:2:1: key "a" stands`,
		"&k a: 1\n*k : 2":                 `f:2:1: key "a" stands`,
		"a: &x {b: 1}\nc:\n  <<: *x":      "f:3:3: merge keys",
		"1: a":                            `f:1:1: the key 1 is no text; quote it: "1"`,
		"{null: a}":                       "the key null is no text",
		"true: a":                         "the key true is no text",
		": a":                             "not YAML",
		`{"a": "b", "c": "d\/e"}`:         "f:1:19: not YAML: found unknown escape character; write / without a backslash",
		`a: "\ud83d\ude00"`:               "f:1:5: not YAML",
		`a: "C:\dir"`:                     "f:1:7: not YAML: found unknown escape character; write / without a backslash, and a backslash as \\\\ or in single quotes",
		"{a:}":                            "f:1:2: the text a: ends in a colon",
		"[a:]":                            "ends in a colon; write a space behind the colon, or quote the text",
		"? [a]\n: 1":                      "a list or a mapping as a key; write a text",
		"a: !foo x":                       "f:1:4: the tag !foo means nothing here; leave it out",
		"a: !!binary aGk=":                "the tag !!binary means nothing here",
		"a: !!set {b}":                    "the tag !!set means nothing here",
		"a: !!int x":                      `"x" is not what its tag !!int says`,
		"a: !!bool 1":                     `"1" is not what its tag !!bool says`,
		"a: .inf":                         "f:1:4: .inf is not a number that JSON has; quote it",
		"a: [-.INF, .NaN]":                "not a number that JSON has",
		"a: ${ data.x }":                  `f:1:4: an expression outside of quotes: YAML cuts such a text at ": " and " #"; quote it: "${ ... }"`,
		"a: x ${ y }":                     "f:1:4: an expression outside of quotes",
		"a: { b: ${ x } }":                "f:1:9: an expression outside of quotes: YAML reads its brace",
		"a:\n  - b\n  - { c: 1,\n    d: ${ x }\n    }": "f:4:8: an expression outside of quotes",
		"a:\n\tb: 1":                   "f:2:2: a tab at the begin of a line; indent with spaces",
		"a: @x":                        "cannot start any token; quote a text that begins with",
		"a: b: c":                      `mapping values are not allowed in this context; quote a text with ": " in it`,
		"a: [1, 2\nb: 3":               "look whether a bracket",
		"a: \"x":                       "f:1:",
		"a: *x":                        `unknown anchor 'x' referenced; write the anchor before it is used`,
		"a: &x [*x]":                   `the anchor "x" stands inside of itself`,
		"a: &x { b: { c: *x } }":       `the anchor "x" stands inside of itself`,
		"a: " + deep:                   "nested deeper than 512",
		strings.Repeat("[", 20_000):    "not YAML: exceeded max depth",
		strings.Repeat("{a: ", 20_000): "not YAML: exceeded max depth",
		"a: \xff":                      "f:1:4: not UTF-8: the byte 0xff; save the file as UTF-8",
		"\xff\xfea\x00:\x00":           "not UTF-8",
		"a: x\x00y":                    "f:1:5: the character U+0000",
		"a: x\x1by":                    "the character U+001B, which does not show",
		"a: \"x\u2028y\"":              `f:1:6: the character U+2028, which does not show; leave it out, or write it in double quotes: "\u2028"`,
		"a: x\u0085y":                  "the character U+0085",
		"a: 1\n\ufeffb: 2":             "f:2:1: a byte order mark inside of the text",
		"a: 1\rb: 2":                   "a carriage return alone",
		"a: 1\n...\nb: 2":              "write --- between two documents",
		"%YAML 3.0\n---\na: 1":         "write %YAML 1.2",
		"a: 1\n b: 2":                  "f:",
		bomb(30):                       "more than 1000000 values",
	} {
		got, findings := read(text)
		var all []string
		for _, f := range findings {
			all = append(all, f.String())
		}
		if len(findings) == 0 || !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%.80q reads %.200s, and finds %q; want %q", text, got, all, want)
		}
		if len(findings) > 10 {
			t.Errorf("%.80q has %d findings", text, len(findings))
		}
	}
}

func bomb(n int) string {
	text := "a0: &a0 [1, 1]\n"
	for i := range n {
		text += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	return text
}

// FuzzJSON holds that JSON, which is YAML, reads as JSON does.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.50,-0,1E400,"x\u00e9\ud83d\ude00\/"],"":null,"b c":{"${ x }":"${ y }"}}`, `[[],{},"",true]`, `"\t\u0000"`, `{"a":"<<","<<":1}`, "[\n1 ,\t2\n]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := lang.ParseJSONNode([]byte(s))
		if err != nil || !json.Valid([]byte(s)) || strings.ContainsAny(s, "\u2028\u2029\u007f\ufeff\ufffd") || strings.ContainsAny(s, "\r\t") {
			return
		}
		nodes, findings := yamldoc.Parse("f", []byte(s))
		if len(findings) > 0 || len(nodes) != 1 {
			for _, x := range findings {
				// A key that stands twice; a long key, which YAML does not know without ?; a character that does not show; half of a surrogate pair.
				for _, may := range []string{"stands on line", "not YAML", "does not show", "nested deeper"} {
					if strings.Contains(x.What, may) {
						return
					}
				}
			}
			t.Fatalf("%q: %v, %d documents", s, findings, len(nodes))
		}
		if got := nodes[0].JSON(); got != want.JSON() {
			t.Fatalf("%q reads %s and is %s", s, got, want.JSON())
		}
	})
}

// FuzzYAML holds our reading against another parser's, where that one is right: what both take, they read alike.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"a: 1\nb: [x, 'y', \"z\"]\n", "- a: b\n  c: d\n- e\n", "a:\n- b\n- c: {d: e}\n", "a: |\n  x\n   y\n\nb: >\n  p\n  q\n", "'it''s': x # c\n", "{a: b, c: [d, {e: f}]}", "a: b\n\n\n  c\nd: e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		nodes, findings := yamldoc.Parse("f", []byte(s))
		if len(findings) > 0 || len(nodes) != 1 || theirFaults.MatchString(s) {
			return
		}
		var theirs any
		if !decodes(s, &theirs) {
			return
		}
		var ours any
		if err := nodes[0].JSON().Decode(&ours); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if b, err := json.Marshal(theirs); err == nil {
			var again any
			_ = json.Unmarshal(b, &again)
			if !reflect.DeepEqual(ours, again) {
				t.Fatalf("%q reads\n%s\nand the other parser says\n%s", s, nodes[0].JSON(), b)
			}
		}
	})
}

// theirFaults are forms that the other parser reads differently from YAML 1.2, or from the core schema: what follows a colon without a space, a quote
// within a plain text, numbers and words, properties, block texts, comments, tabs.
var theirFaults = regexp.MustCompile(`:[^ \n]|[^ \n\[{,:]['"]|[&*!%?\t\\0-9~<=.+#|>@]|-[^ ]|[^ \n]-|\n[ ]*\n|(?i)null|true|false|yes|no|on|off|inf|nan`)

func decodes(s string, to *any) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return yaml.Unmarshal([]byte(s), to) == nil
}

// TestLongLine: reading a document of one long line takes time in proportion to its length, and finds what is tagged in it.
func TestLongLine(t *testing.T) {
	t.Parallel()
	item := `{a: 1, b: &x y, c: !!str 2}, `
	text := "[" + strings.Repeat(item, 200_000) + "{a: !!str 1}]"
	nodes, findings := yamldoc.Parse("long.yaml", []byte(text))
	if len(findings) == 0 && (len(nodes) != 1 || len(nodes[0].Items) == 0) {
		t.Fatalf("%d nodes of %d bytes", len(nodes), len(text))
	}
	short, none := yamldoc.Parse("short.yaml", []byte("[{a: 1, b: &x y, c: !!str 2}]"))
	if len(none) > 0 || short[0].Items[0].JSON().JSON() != `{"a":1,"b":"y","c":"2"}` {
		t.Errorf("%v, %v", short, none)
	}
}
