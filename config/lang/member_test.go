package lang

import (
	"fmt"
	"strings"
	"testing"
)

// TestPathsAreReadWithoutDecoding: what a path yields is what its evaluation yields, and says, whatever the value is made of.
func TestPathsAreReadWithoutDecoding(t *testing.T) {
	t.Parallel()
	members := []string{
		`"a":1`, `"a":-0.50e+2`, `"a":1e999`, `"a":12345678901234567890`, `"a":true`, `"a":null`, `"a":""`, `"a":"x"`, `"a":"},\"a\":"`, `"a":"é"`, `"a":"\u00e9"`, "\"a\":\"\u2028\x7f\"",
		`"a":{"b":"deep","c":[{"b":1}]}`, `"a":{"b":{"c":2}}`, `"a":[1,{"a":2}]`, `"\u0061":3`, `"b":{"a":4}`, `"b":[{"a":5},"]"]`, `"":6`, `"ab":7`, `"b\"":8`, `"é":9`, `"a":{}`,
	}
	values := []string{"null", "1", `"a"`, "[]", `[{"a":1}]`, "{}"}
	for i, x := range members {
		values = append(values, "{"+x+"}")
		for _, y := range members[i:] {
			values = append(values, "{"+x+","+y+"}", "{"+y+","+x+"}")
		}
	}
	paths := []string{"data.a", "data.b", "data.a.b", "data.a.b.c", "data.b.a", "data.size", "other.a"}
	quick := 0
	for _, path := range paths {
		e := MustExpr("${ " + path + " }")
		for _, text := range values {
			v, err := ParseValue([]byte(text))
			if err != nil {
				t.Fatal(text, err)
			}
			scope := Vars{{"data", v}}
			got, gotErr := e.Eval(scope, nil)
			want, wantErr := e.Eval(scope, NewCache(1<<20))
			if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("%s of %s is %s, %v; want %s, %v", path, text, got.JSON(), gotErr, want.JSON(), wantErr)
			}
			if c, err := compile(path); err != nil {
				t.Fatal(err)
			} else if _, ok := c.member(scope); ok {
				quick++
			}
		}
	}
	if quick < 100 {
		t.Errorf("%d were read so", quick)
	}
	for _, broken := range []string{`{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":{`, `{"a":1`, `{"a":1,`, `{"a":"\`} { // Nobody makes such a value; it is no reason to die.
		_, _ = memberOf(broken, "a")
	}
}

// TestStringsAreWrittenAsEver: escapes that are made by hand are those of encoding/json.
func TestStringsAreWrittenAsEver(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a", `"`, `\`, `a"b\c""`, "a\"\n", "\"é", "\\\x7f", strings.Repeat(`"`, 100)} {
		if got, want := string(AppendString([]byte("x"), s)), "x"+Of(s).JSON(); got != want {
			t.Errorf("%q is %s; want %s", s, got, want)
		}
	}
}
