package choice_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{
		`[{if: "${ data == 3 }", function: a}, {if: "${ has(data.yes) }", function: b}]`,
		`{cases: [{if: "${ data.n > 1 }", function: a}], else: {wait: 1s}}`,
		`[{if: "${ data }", function: a}, {if: true, function: b}]`,
	},
	Generate: func(r *rand.Rand) string {
		var cases []string
		for range 1 + r.IntN(50) {
			condition := []string{"${ false }", "${ data == 3 }", "${ data.?yes.orValue(false) }", "${ input == null }", "${ 1 < 0 }", "${ type(input) == string }", "${ data == null }", "${ !(data == '<') }", "${ 'yes' }"}[r.IntN(9)]
			cases = append(cases, `{"if": "`+condition+`", "function": "f"}`)
		}
		doc := `{"cases": [` + strings.Join(cases, ",") + `]`
		if r.IntN(2) == 0 {
			doc += `, "else": {"function": "g"}`
		}
		return doc + "}"
	},
	// What the chosen step did is the outcome, and no more than one is chosen.
	Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
		if len(p.Told) != 1 {
			return lang.Failure(lang.Failf(lang.ClassPlatform, "chosen", "%d steps", len(p.Told))), !p.Failed && p.Outcome.Verdict == lang.Succeeded
		}
		o := p.Told[0].Outcome
		if o.Verdict == lang.Skipped {
			o = lang.Success(lang.Null)
		}
		return o, true
	},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "choice", laws)
	if tally.Wanted < 50 || tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "choice", laws) }

// TestChooses: the first case that is true, else the else, else no_choice_matched; a condition that is neither true nor false is an error.
func TestChooses(t *testing.T) {
	t.Parallel()
	const cases = `{if: "${ data.a }", function: a}, {if: "${ data.b }", function: b}, {if: "${ data.a || data.b }", function: never}`
	for _, test := range []struct {
		document, data string
		slot           int
		fault          string
	}{
		{`[` + cases + `]`, `{"a":true,"b":true}`, 0, ``},
		{`[` + cases + `]`, `{"a":false,"b":true}`, 1, ``},
		{`[` + cases + `]`, `{"a":false,"b":false}`, 0, `no_choice_matched`},
		{`{cases: [` + cases + `], else: {function: e}}`, `{"a":false,"b":false}`, 3, ``},
		{`[` + cases + `]`, `{"a":true}`, 0, ``}, // what stands behind the chosen case is not evaluated
		{`[` + cases + `]`, `{"a":false}`, 0, `expression_error`},
		{`[` + cases + `]`, `{"a":1}`, 0, `expression_error`},
		{`[` + cases + `]`, `{"a":"true"}`, 0, `expression_error`},
		{`[` + cases + `]`, `{"a":null}`, 0, `expression_error`},
	} {
		data, err := lang.ParseValue([]byte(test.data))
		if err != nil {
			t.Fatal(err)
		}
		b := schedulertest.Begin(t, builtin.New(), "choice", test.document, lang.Null, data)
		o, ended := b.Ended()
		if test.fault != "" {
			if !ended || o.Err == nil || o.Err.Type != test.fault {
				t.Errorf("%s: %v, want %s", test.data, o, test.fault)
			}
			continue
		}
		if open := b.Open(); ended || len(open) != 1 || open[0].Slot != test.slot {
			t.Errorf("%s: open %v, ended %v; want slot %d", test.data, open, o, test.slot)
		}
	}
}

// TestDocuments: what lint says of a choice that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`[]`:                         "without cases",
		`[{function: a}]`:            "if is missing",
		`[{if: false, function: a}]`: "never true",
		`[{if: "yes", function: a}]`: "never true",
		`[{if: true, function: a}, {if: "${ data }", function: b}]`: "always true",
		`{cases: [{if: true, function: a}], else: {function: b}}`:   "always true",
	} {
		if _, err := schedulertest.Load(builtin.New(), "choice", doc); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
