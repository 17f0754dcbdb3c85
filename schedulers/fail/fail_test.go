package fail_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{`{}`, `"it is sold out"`, `{type: sold_out, message: "${ data }", data: {left: "${ data }"}}`, `{type: "${ data }"}`, `"${ data.x }"`},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	if tally := schedulertest.Run(t, builtin.New(), "fail", laws); tally.Succeeded > 0 || tally.Failed < 100 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "fail", laws) }

// TestFails: type, message and data of each form.
func TestFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ document, kind, message, data string }{
		{`{}`, `failed`, `failed`, `null`},
		{`"sold out"`, `failed`, `sold out`, `null`},
		{`{type: sold_out}`, `sold_out`, `sold_out`, `null`},
		{`{type: "${ data.kind }", message: "only ${ data.left } left", data: "${ data }"}`, `sold`, `only 0 left`, `{"kind":"sold","left":0}`},
		{`{message: "${ data }"}`, `failed`, `{"kind":"sold","left":0}`, `null`},
		{`{type: "${ data.left }"}`, `0`, `0`, `null`},
		{`{type: "${ null }"}`, `bad_fail`, `type: ${ null } yields "null", which is no type of an error`, `null`},
		{`{type: "${ data.none }"}`, `expression_error`, ``, `null`},
	} {
		data, err := lang.ParseValue([]byte(`{"kind":"sold","left":0}`))
		if err != nil {
			t.Fatal(err)
		}
		b := schedulertest.Begin(t, builtin.New(), "fail", test.document, lang.Null, data)
		o, ended := b.Ended()
		if !ended || o.Err == nil || o.Err.Type != test.kind || test.message != "" && o.Err.Message != test.message || o.Err.Data.JSON() != test.data || o.Err.Class != lang.ClassFunction {
			t.Errorf("%s: %v", test.document, o)
		}
	}
}

// TestDocuments: what lint says of a fail that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{type: ""}`:  "is no type of an error",
		`{type: 7}`:   "is no type of an error",
		`{type: [a]}`: "is no type of an error",
		`{kind: a}`:   "unknown key",
		`{type: ` + strings.Repeat("x", 257) + `}`: "is no type of an error",
	} {
		if _, err := schedulertest.Load(builtin.New(), "fail", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
