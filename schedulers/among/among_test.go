package among_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// TestLaws: what the named step did is the outcome, and no other is run.
func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "among", schedulertest.Options{
		Documents: []string{
			`{pick: "${ data }", of: {x: {function: f}, b: {function: g}}}`,
			`{pick: "${ has(data.yes) ? 'a' : 'b' }", b: {wait: 1s}, a: {function: f}, c: {function: h}}`,
		},
		Data: []string{`"x"`, `"b"`, `{"yes":1}`, `{}`, `"a"`, `null`, `7`},
		Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
			if len(p.Told) != 1 {
				return p.Outcome, p.Outcome.Err != nil && (strings.HasPrefix(p.Outcome.Err.Type, "unknown_") || p.Outcome.Err.Type == "expression_error")
			}
			o := p.Told[0].Outcome
			if o.Verdict == lang.Skipped {
				o = lang.Success(lang.Null)
			}
			return o, true
		},
	})
	if tally.Wanted < 300 || tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

// TestNoneOfThem: an answer that is none of the names fails with a type by what there is, and names the list.
func TestNoneOfThem(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`{pick: "${ data }", of: {b: {function: f}, a: {function: g}}}`: `unknown_function: function: ${ data } yields "c", and that is none of a, b`,
		`{pick: "${ data }", of: {b: {wait: 1s}, a: {function: g}}}`:    `unknown_step: step: ${ data } yields "c", and that is none of a, b`,
		`{pick: "${ [data] }", of: {b: {function: f}}}`:                 "always yields a list",
		`{pick: b, of: {b: {function: f}}}`:                             "it always names the same",
		`{pick: "${ data }", of: {}}`:                                   "nothing to choose among",
		`{pick: "${ data }"}`:                                           "of is missing",
	} {
		s, err := schedulertest.Load(builtin.New(), "among", document)
		if err == nil {
			b := schedulertest.NewBench(s, lang.Null, lang.Text("c"))
			b.Start()
			o, _ := b.Ended()
			err = o.Err
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", document, err, want)
		}
	}
}
