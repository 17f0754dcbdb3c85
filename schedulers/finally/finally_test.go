package finally_test

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
		`{do: {function: a}, always: {function: b}}`,
		`{do: {name: x, function: a}, always: {function: b, input: "${ {'was': outcome, 'x': steps.x} }"}}`,
		`{do: {finally: {do: {function: a}, always: {wait: 1s}}}, always: {function: b, when: "${ outcome.outcome == 'failed' }"}}`,
	},
	Generate: func(r *rand.Rand) string {
		return fmt.Sprintf(`{"do": {"name": "s%d", "function": "a"}, "always": {"function": "b"}}`, r.IntN(9))
	},
	// The outcome is do's, unless what is always done fails after a success; of two failures the first counts, and says that there was another.
	Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
		do, always := p.Of(0, 0), p.Of(1, 0)
		switch {
		case len(p.Told) != 2 || p.Told[0].Slot != 0:
			return lang.Failure(lang.Failf(lang.ClassPlatform, "order", "%d steps", len(p.Told))), true
		case do.Verdict == lang.Failed && always.Verdict == lang.Failed:
			e := *do.Err
			e.Message += "; and what is always to be done after it failed: " + always.Err.Error()
			return lang.Failure(&e), true
		case do.Verdict == lang.Failed:
			return do, true
		case always.Verdict == lang.Failed:
			return always, true
		}
		return lang.Success(do.Value), true
	},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "finally", laws)
	if tally.Wanted != tally.Plays || tally.Succeeded < 50 || tally.Failed < 50 || tally.Cancelled < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "finally", laws) }

// TestCancelled: the second step is run with outcome cancelled, and once only when it is at work already.
func TestCancelled(t *testing.T) {
	t.Parallel()
	begin := func() *schedulertest.Bench {
		return schedulertest.Begin(t, builtin.New(), "finally", `{do: {function: a}, always: {function: b}}`, lang.Text("in"), lang.Null)
	}
	b := begin()
	b.Cancel()
	got, err := b.Binding(1, 0)
	if err != nil || got.Input != lang.Text("in") || got.Vars[0].Value.JSON() != `{"outcome":"cancelled"}` {
		t.Error(got, err)
	}
	b.Done(1, 0, lang.Success(lang.Null))
	if o, ended := b.Ended(); !ended || o.Verdict != lang.Cancelled {
		t.Error(o, ended)
	}
	b = begin()
	b.Done(0, 0, lang.Success(lang.Text("out")))
	b.Cancel()
	got, err = b.Binding(1, 0)
	if err != nil || got.Vars[0].Value.JSON() != `{"outcome":"succeeded","value":"out"}` {
		t.Error(got, err)
	}
	b.Done(1, 0, lang.Skip())
	if _, ended := b.Ended(); !ended {
		t.Error("it has not ended")
	}
}

// TestDocuments: what lint says of a finally that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{do: {function: a}}`:                                           "always is missing",
		`{always: {function: a}}`:                                       "do is missing",
		`{do: {function: a}, allways: {function: a}}`:                   `did you mean "always"?`,
		`{do: {function: a}, always: {function: a}, catch: {wait: 1s}}`: "catch",
	} {
		if _, err := schedulertest.Load(builtin.New(), "finally", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
