package pass_test

import (
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{`{}`, `7`, `null`, `"${ data }"`, `"${ data.n + 1 }"`, `{value: {a: "${ data }", b: [1, "${ input }"]}}`, `[1, 2]`},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	if tally := schedulertest.Run(t, builtin.New(), "pass", laws); tally.Succeeded < 50 || tally.Failed < 10 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "pass", laws) }

// TestYields: what each form yields, which is what end yields.
func TestYields(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{}`: `"in"`, `{value: null}`: `null`, `null`: `null`, `7`: `7`, `"a ${ data }"`: `"a 3"`, `"${ data }"`: `3`, `{value: {a: "${ data + 1 }"}}`: `{"a":4}`, `[ "${ input }" ]`: `["in"]`,
	} {
		for _, policy := range []string{"pass", "end"} {
			b := schedulertest.Begin(t, builtin.New(), policy, doc, lang.Text("in"), lang.Of(3))
			if o, ended := b.Ended(); !ended || o.Verdict != lang.Succeeded || o.Value.JSON() != want {
				t.Errorf("%s %s: %v, want %s", policy, doc, o, want)
			}
		}
	}
}
