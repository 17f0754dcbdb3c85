package lang

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseValue(t *testing.T) {
	t.Parallel()
	deep := func(open, inner, shut string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	for in, want := range map[string]string{
		`null`: `null`, ` [ 1 , -0.5e+3 , "a b" ] `: `[1,-0.5e+3,"a b"]`, `{"a" : {"b\"\\" :[ ] } }`: `{"a":{"b\"\\":[]}}`, "\"\\ud83d\\ude42\"": "\"\\ud83d\\ude42\"", `"größe"`: `"größe"`,
		deep("[", "", "]", MaxNesting): deep("[", "", "]", MaxNesting), deep(`{"a":`, "1", "}", MaxNesting): deep(`{"a":`, "1", "}", MaxNesting), `[0,-0,10,1E5]`: `[0,-0,10,1E5]`,
		deep("[", "", "]", MaxNesting+1): "!nested deeper than 512", deep(`[{"a":`, "1", "}]", MaxNesting/2+1): "!nested deeper than 512", deep("[", "", "", 100_000): "!nested deeper than 512",
		`"\ud800"`: "!half a surrogate pair at byte 1", `"\udc00\ud800"`: "!half a surrogate", `"\ud800\u0041"`: "!half a surrogate", `"\ud800x"`: "!half a surrogate", `{"\udfff":1}`: "!half a surrogate",
		"\"a\xff\"": "!byte 2 is not UTF-8", "\"\xed\xa0\x80\"": "!byte 1 is not UTF-8", "{\"\xc0\xaf\":1}": "!byte 2 is not UTF-8", "\"\xe2\x82\"": "!not UTF-8",
		``: "!it ends where a JSON value belongs", `1 2`: "!'2' at byte 2, where the end belongs", `{"a":1,}`: "!a key in quotes", `[1,]`: "!a JSON value", `{"a" 1}`: "!a colon", `{a:1}`: "!a key in quotes",
		`[1`: "!it ends where a comma", `{"a":1`: "!it ends where a comma", `"a`: "!a closing quote", "\"a\nb\"": "!control", `"\x"`: "!escape", `"\u00g0"`: "!hexadecimal", `"\u00`: "!hexadecimal", `01`: "!the end",
		`-`: "!a digit", `1.`: "!a digit", `.5`: "!a JSON value", `+1`: "!a JSON value", `1e`: "!a digit", `NaN`: "!a JSON value", `Infinity`: "!a JSON value", `nul`: "!a JSON value", `truely`: "!the end",
		"\ufeff1": "!a JSON value", "1\x00": "!the end",
	} {
		v, err := ParseValue([]byte(in))
		got := v.JSON()
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want && !(want[0] == '!' && strings.Contains(got, want[1:]) && err != nil) {
			t.Errorf("%.80q: %.120s; want %.120s", in, got, want)
		}
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	var got []string
	note := func(key, value []byte) error {
		text, is := TextOf(value)
		got = append(got, fmt.Sprintf("%s=%s %q %t", key, value, text, is))
		if string(key) == "stop" {
			return fmt.Errorf("stopped")
		}
		return nil
	}
	if err := EachMember([]byte(` { "a" : "x\u00fc\n" , "\u0062" : [ 1 ] ,"a":null} `), note); err != nil || strings.Join(got, "; ") != `a="x\u00fc\n" "xü\n" true; b=[ 1 ] "" false; a=null "" false` {
		t.Errorf("%s, %v", got, err)
	}
	for in, want := range map[string]string{`[]`: "where a JSON object belongs", `{"stop":1,"b":}`: "stopped", `{"b":}`: "a JSON value", `{} {}`: "the end", ``: "where a JSON object belongs"} {
		if err := EachMember([]byte(in), note); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", in, err, want)
		}
	}
	for in, want := range map[string]string{
		` [ {"a" : 1}, "]\"," , [ ] ]`: `{"a" : 1};"]\",";[ ]`, `[]`: ``, ` [ ] `: ``, `[1]`: `1`, `[{"a" 1},[1},2]`: `{"a" 1};[1};2`, `[,1,]`: `;1;`,
		`{}`: `!a JSON list`, `[1`: `!a closing bracket`, `["a]`: `!a closing bracket`, `[] []`: `!the end`, `null`: `!a JSON list`, `[[]`: `!a closing bracket`, `["\`: `!a closing bracket`,
	} {
		var items []string
		err := EachElement([]byte(in), func(value []byte) error { items = append(items, string(value)); return nil })
		got := strings.Join(items, ";")
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want && !(strings.HasPrefix(want, "!") && err != nil && strings.Contains(got, want[1:])) {
			t.Errorf("%s: %s; want %s", in, got, want)
		}
	}
	// A value inside may be as deep as one that stands alone.
	for n, ok := range map[int]bool{MaxNesting: true, MaxNesting + 1: false} {
		err := EachMember([]byte(`{"data":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}`), func([]byte, []byte) error { return nil })
		if (err == nil) != ok {
			t.Errorf("%d deep: %v", n, err)
		}
	}
}

// FuzzParseValue holds the scanner to encoding/json, which takes more: what is not UTF-8, half surrogates, and 10,000 levels.
func FuzzParseValue(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"x\u00fc\ud83d\ude42",true,null]}`, `[[[[]]]]`, `"\ud800"`, "\"\xff\"", ` { "a" : 1 } `, `-0`, `1E400`, `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := ParseValue(in)
		if err != nil {
			if json.Valid(in) && utf8.Valid(in) && !strings.Contains(err.Error(), "surrogate") && !strings.Contains(err.Error(), "deeper") {
				t.Fatalf("%q: %v, and encoding/json takes it", in, err)
			}
			return
		}
		if !json.Valid(in) || !utf8.Valid(in) {
			t.Fatalf("%q is taken", in)
		}
		var b bytes.Buffer
		if err := json.Compact(&b, in); err != nil || b.String() != v.JSON() {
			t.Fatalf("%q: %s; want %s", in, v, &b)
		}
		if in[0] == '"' && in[len(in)-1] == '"' {
			var want string
			if err := json.Unmarshal(in, &want); err != nil {
				t.Fatal(err)
			}
			if got, ok := TextOf(in); !ok || got != want {
				t.Fatalf("%q: %q; want %q", in, got, want)
			}
		}
	})
}

func BenchmarkParseValue(b *testing.B) {
	text := []byte(`{"orderId":"o-1234567","customer":{"name":"größe","tags":["a","b","c"]},"lines":[` + strings.Repeat(`{"sku":"x-1","n":12,"price":19.99},`, 30) + `{}]}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseValue(text); err != nil {
			b.Fatal(err)
		}
	}
}
