package loop_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/loop"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{
		`{do: {function: f}, times: 3}`,
		`{do: {function: f}, times: "${ data }", collect: true}`,
		`{do: {function: f}, until: "${ output == null || round == 7 }", max: 20, pause: "${ round * 5 }", state: {n: 0, m: "${ input }"}, next: {n: "${ n + 1 }", m: "${ [n, previous] }"}}`,
		`{do: {function: f}, while: "${ n < 4 }", max: 9, onMax: take, state: {n: 0}, next: {n: "${ n + 2 }"}}`,
		`{do: {function: f, when: "${ previous == null }"}, until: "${ false }", max: 200}`,
		`{do: {function: f, input: "${ [previous, round, n] }"}, until: "${ output }", max: 3, state: {n: x}}`,
		`{do: {function: f}, times: 160}`,
		`{do: {function: f}, times: 140, collect: true}`,
	},
	Generate: func(r *rand.Rand) string {
		doc := fmt.Sprintf(`{"do": {"function": "f"}, "collect": %t`, r.IntN(2) == 0)
		switch r.IntN(3) {
		case 0:
			doc += fmt.Sprintf(`, "times": %d`, r.IntN(5))
		case 1:
			doc += fmt.Sprintf(`, "until": "${ round >= %d }", "max": %d`, r.IntN(5), 1+r.IntN(5))
		case 2:
			doc += fmt.Sprintf(`, "while": "${ round < %d }", "max": %d, "onMax": "%s"`, r.IntN(5), 1+r.IntN(5), []string{"take", "fail"}[r.IntN(2)])
		}
		if r.IntN(2) == 0 {
			doc += `, "pause": "1s"`
		}
		return doc + "}"
	},
	// Rounds come one after the other, up to the first that fails; what is yielded is the last round's that was not skipped, or all of them.
	Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
		v := p.Input
		all := []lang.Value{}
		for i, x := range p.Told {
			if x.Index != i {
				return lang.Failure(lang.Failf(lang.ClassPlatform, "order", "round %d came as number %d", x.Index, i)), true
			}
			if x.Verdict == lang.Failed {
				return x.Outcome, true
			}
			if x.Verdict == lang.Succeeded {
				v = x.Value
			}
			all = append(all, x.Value)
		}
		if p.Settings.(*loop.Loop).Collect {
			v = lang.List(all...)
		}
		return lang.Success(v), p.Outcome.Verdict == lang.Succeeded
	},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "loop", laws)
	if tally.Wanted < 150 || tally.Succeeded < 100 || tally.Failed < 100 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "loop", laws) }

// play lets the rounds yield the given JSON texts, one after the other, and says what they were given and how it ended.
func play(t *testing.T, document, input string, yields ...string) string {
	t.Helper()
	s, err := schedulertest.Load(builtin.New(), "loop", document)
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	value := func(text string) lang.Value {
		v, err := lang.ParseValue([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	b := schedulertest.NewBench(s, value(input), lang.Null)
	var said []string
	b.Start()
	for i := 0; ; {
		o, ended := b.Ended()
		switch {
		case ended && o.Err != nil:
			return strings.Join(append(said, o.Err.Type), " ")
		case ended:
			return strings.Join(append(said, "= "+o.Value.JSON()), " ")
		case len(b.Timers()) > 0:
			said = append(said, b.Timers()[0].Due.Sub(b.Now()).Round(time.Millisecond).String())
			b.Fire(b.Timers()[0].Name)
			continue
		case i == len(yields):
			return strings.Join(append(said, "..."), " ")
		}
		got, err := b.Binding(0, i)
		if err != nil {
			t.Fatal(err)
		}
		given := got.Input.JSON()
		for _, v := range got.Vars[2:] {
			given += "," + v.Name + "=" + v.Value.JSON()
		}
		said = append(said, given)
		if yields[i] == "skip" {
			b.Done(0, i, lang.Skip())
		} else {
			b.Done(0, i, lang.Success(value(yields[i])))
		}
		i++
	}
}

// TestRounds: what rounds are given, when they end, what comes of it.
func TestRounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		document, input string
		yields          []string
		want            string
	}{
		{`{do: {function: f}, times: 2}`, `0`, []string{`1`, `2`}, `0 1 = 2`},
		{`{do: {function: f}, times: 0}`, `7`, nil, `= 7`},
		{`{do: {function: f}, times: 0, collect: true}`, `7`, nil, `= []`},
		{`{do: {function: f}, times: "${ input }"}`, `2.0`, []string{`1`, `2`}, `2.0 1 = 2`},
		{`{do: {function: f}, times: "${ input }"}`, `-1`, nil, `bad_loop`},
		{`{do: {function: f}, times: "${ input }"}`, `null`, nil, `bad_loop`},
		{`{do: {function: f}, times: "${ input }"}`, `10000001`, nil, `bad_loop`},
		{`{do: {function: f}, until: "${ output }", max: "${ input }"}`, `0`, nil, `bad_loop`},
		{`{do: {function: f}, times: 3, collect: true}`, `0`, []string{`1`, `skip`, `3`}, `0 1 1 = [1,null,3]`},
		{`{do: {function: f}, until: "${ output > 2 }", max: 5}`, `0`, []string{`1`, `2`, `3`}, `0 1 2 = 3`},
		{`{do: {function: f}, until: "${ output > 2 }", max: 2}`, `0`, []string{`1`, `2`}, `0 1 loop_limit`},
		{`{do: {function: f}, until: "${ output > 2 }", max: 2, onMax: take}`, `0`, []string{`1`, `2`}, `0 1 = 2`},
		{`{do: {function: f}, until: "${ output > 2 }", max: 2, pause: 1s}`, `0`, []string{`1`, `2`}, `0 1s 1 loop_limit`}, // no pause before what does not come
		{`{do: {function: f}, until: "${ output }", max: 2}`, `0`, []string{`1`}, `0 bad_loop`},
		{`{do: {function: f}, while: "${ previous < 2 }", max: 5}`, `0`, []string{`1`, `2`}, `0 1 = 2`},
		{`{do: {function: f}, while: "${ previous < 2 }", max: 5}`, `2`, nil, `= 2`},
		{`{do: {function: f}, while: "${ round < 2 }", max: 2}`, `0`, []string{`1`, `2`}, `0 1 = 2`}, // met as the bound is
		{`{do: {function: f}, while: "${ round < 3 }", max: 2}`, `0`, []string{`1`, `2`}, `0 1 loop_limit`},
		{`{do: {function: f}, until: "${ loss < 0.1 }", max: 9, state: {loss: 1, old: 2}, next: {loss: "${ output }", old: "${ loss }"}}`, `0`, []string{`0.5`, `0.05`}, `0,loss=1,old=2 0.5,loss=0.5,old=1 = 0.05`},
		{`{do: {function: f}, until: "${ output == previous }", max: 9}`, `0`, []string{`1`, `1`}, `0 1 = 1`},
		{`{do: {function: f}, times: 3, pause: "${ round + 1 }"}`, `0`, []string{`1`, `2`, `3`}, `0 1s 1 2s 2 = 3`},
		{`{do: {function: f}, times: 2, pause: "${ output }"}`, `0`, []string{`"soon"`}, `0 bad_loop`},
		{`{do: {function: f}, times: 2, pause: "${ output }"}`, `0`, []string{`"500ms"`, `0`}, `0 500ms "500ms" = 0`},
		{`{do: {function: f}, times: 2, state: {n: 0}, next: {n: "${ output.none }"}}`, `0`, []string{`{}`}, `0,n=0 expression_error`},
		{`{do: {function: f}, times: 2, state: {n: "${ input + 1 }"}}`, `1`, []string{`2`, `3`}, `1,n=2 2,n=2 = 3`},
	} {
		if got := play(t, test.document, test.input, test.yields...); got != test.want {
			t.Errorf("%s of %s:\ngot  %s\nwant %s", test.document, test.input, got, test.want)
		}
	}
}

// TestDocuments: what lint says of a loop that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{times: 3}`:                                                    "do is missing",
		`{do: {function: f}}`:                                           "nothing ends",
		`{do: {function: f}, max: 3}`:                                   "nothing ends",
		`{do: {function: f}, until: "${ output }"}`:                     "without a bound",
		`{do: {function: f}, while: "${ round < 3 }"}`:                  "without a bound",
		`{do: {function: f}, times: 3, until: "${ output }"}`:           "a number of rounds and a condition",
		`{do: {function: f}, times: 3, max: 4}`:                         "times: says how many",
		`{do: {function: f}, times: -1}`:                                "not a whole number from 0",
		`{do: {function: f}, times: 10000001}`:                          "not a whole number from 0",
		`{do: {function: f}, times: many}`:                              "not a whole number from 0",
		`{do: {function: f}, until: "${ output }", max: 0}`:             "not a whole number from 1",
		`{do: {function: f}, until: true, max: 3}`:                      "a condition that is always true",
		`{do: {function: f}, until: "${ output }", max: null}`:          "not a whole number from 1",
		`{do: {function: f}, until: "${ output }", max: 3, onMax: tke}`: `did you mean "take"?`,
		`{do: {function: f}, times: 3, pause: soon}`:                    "is not how long to wait",
		`{do: {function: f}, times: 3, next: {n: 1}}`:                   `"n" is no name of state`,
	} {
		if _, err := schedulertest.Load(builtin.New(), "loop", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
