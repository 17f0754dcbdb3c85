package lang_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
)

// encoded is JSON as states are encoded.
func encoded(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TestOutcomesAsJSON: every outcome reads back as itself, and is written again in the same bytes.
func TestOutcomesAsJSON(t *testing.T) {
	t.Parallel()
	full := &lang.Error{Type: "a<b>", Message: "it \u2028 \"broke\" & so on", Class: lang.ClassThrottle, Data: lang.Trusted(`{"z":1.50,"a":["<&>",1e3]}`), Path: "p/q[3]", Attempt: 2, Invocation: "r~p.3"}
	for _, o := range []lang.Outcome{
		{}, lang.Skip(), lang.Success(lang.Null), lang.Success(lang.Trusted(`{"b":[1e3,18446744073709551616],"a":"<&>"}`)), lang.Failure(full), {Verdict: lang.Failed},
		lang.Failure(lang.Failf(lang.ClassFunction, "x", "y")), {Verdict: lang.Continue, Value: lang.Of(3)}, {Verdict: lang.Cancelled, Err: full},
		{Verdict: lang.Failed, Value: lang.Of(1), Err: full},
	} {
		if err := o.Lasting(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		text := encoded(t, o)
		var got lang.Outcome
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(got, o) || encoded(t, got) != text {
			t.Errorf("%s reads back as %s", text, encoded(t, got))
		}
	}
	if text := encoded(t, lang.Success(lang.Of(1))); text != `{"verdict":"succeeded","value":1}` {
		t.Error(text)
	}
	var o lang.Outcome
	for text, want := range map[string]string{
		`{"verdict":"suceeded"}`: `unknown verdict "suceeded"`, `{"verdict":""}`: "unknown verdict", `{"verdict":"failed","error":{"class":"odd"}}`: "unknown error class",
		`{"verdict":"succeeded","value":"\ud800"}`: "surrogate",
	} {
		if err := json.Unmarshal([]byte(text), &o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for want, o := range map[string]lang.Outcome{
		"verdict 77":   {Verdict: 77},
		"class(0)":     lang.Failure(&lang.Error{Type: "x"}),
		"no UTF-8":     lang.Failure(&lang.Error{Type: "x", Class: lang.ClassFunction, Message: "\xff"}),
		"is no UTF-8:": lang.Failure(&lang.Error{Type: "x", Class: lang.ClassFunction, Path: "\xff"}),
	} {
		if err := o.Lasting(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}
