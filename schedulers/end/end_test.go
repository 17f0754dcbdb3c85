package end_test

import (
	"testing"

	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{`{}`, `7`, `null`, `"${ data }"`, `"${ data.n + 1 }"`, `{value: {a: "${ data }", b: [1, "${ input }"]}}`, `[1, 2]`},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	if tally := schedulertest.Run(t, builtin.New(), "end", laws); tally.Succeeded < 50 || tally.Failed < 10 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "end", laws) }
