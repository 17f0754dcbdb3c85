package dag_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// TestJoinOfLeaves: the leaves decide, one after the other; what is before them counts by what it does to them.
func TestJoinOfLeaves(t *testing.T) {
	t.Parallel()
	const steps = `steps: [{name: a, function: f}, {name: b, function: f, needs: a}, {name: c, function: f, needs: a}, {name: d, function: f}]`
	one, boom := lang.Success(lang.Of(1)), lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
	type told struct {
		slot int
		o    lang.Outcome
	}
	for _, test := range []struct {
		join string
		told []told
		want string // the value, or the start of the error
	}{
		{`any`, []told{{3, boom}, {0, one}, {2, one}}, `1`},
		{`any`, []told{{3, boom}, {0, boom}}, `join_unreachable`},
		{`all`, []told{{0, one}, {1, one}, {2, one}, {3, one}}, `{"b":1,"c":1,"d":1}`},
		{`all`, []told{{0, boom}}, `boom`}, // b could not run, with the error of a
		{`settled`, []told{{0, boom}, {3, one}}, `{"b":{"outcome":"failed"`},
		{`{ atLeast: 2 }`, []told{{3, one}, {0, one}, {1, one}}, `{"b":{"outcome":"succeeded","value":1},"c":{"outcome":"cancelled"},"d":{"outcome":"succeeded","value":1}}`},
		{`{ atLeast: 2, losers: run }`, []told{{3, one}, {0, one}, {1, one}}, `{"b":{"outcome":"succeeded","value":1},"c":{"outcome":"running"},"d":{"outcome":"succeeded","value":1}}`},
		{`{ percent: 60 }`, []told{{0, boom}}, `join_unreachable`},
		{`{ until: "${ succeeded == 1 && total == 3 }" }`, []told{{3, one}}, `{"b":{"outcome":"cancelled"},"c":{"outcome":"cancelled"},"d":{"outcome":"succeeded","value":1}}`},
	} {
		b := schedulertest.Begin(t, builtin.New(), "dag", `{join: `+test.join+`, `+steps+`}`, lang.Null, lang.Null)
		for _, x := range test.told {
			b.Done(x.slot, 0, x.o)
		}
		o, ended := b.Ended()
		got := o.Value.JSON()
		if o.Err != nil {
			got = o.Err.Error()
		}
		if !ended || !strings.HasPrefix(got, test.want) {
			t.Errorf("join: %s: ended %t, %s, want %s", test.join, ended, got, test.want)
		}
	}
}

// TestJoinOfLeavesIsLate: the deadline of a join ends the dag, or takes what there is.
func TestJoinOfLeavesIsLate(t *testing.T) {
	t.Parallel()
	for join, want := range map[string]string{
		`{ for: all, deadline: 1m }`:                       "join_deadline",
		`{ for: settled, deadline: 1m, onDeadline: take }`: `{"a":{"outcome":"succeeded","value":1},"b":{"outcome":"cancelled"}}`,
	} {
		b := schedulertest.Begin(t, builtin.New(), "dag", `{join: `+join+`, steps: [{name: a, function: f}, {name: b, function: f}]}`, lang.Null, lang.Null)
		b.Done(0, 0, lang.Success(lang.Of(1)))
		b.Fire("join")
		o, ended := b.Ended()
		if got := o.Value.JSON(); !ended || o.Err == nil && got != want || o.Err != nil && o.Err.Type != want {
			t.Errorf("join: %s: ended %t, %s %v, want %s", join, ended, got, o.Err, want)
		}
	}
}

// TestJoinOfLeavesStandsAlone: what else says how the dag ends is refused.
func TestJoinOfLeavesStandsAlone(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{join: any, end: leaves, steps: [{name: a, function: f}]}`:                                                      "end and join",
		`{join: { atLeast: 2 }, steps: [{name: a, function: f}, {name: b, function: f, needs: a}]}`:                      "2",
		`{join: any, steps: [{name: a, function: f}, {name: down, function: f, needs: a, teardown: a, rule: all_done}]}`: "teardown",
	} {
		if _, err := schedulertest.Load(builtin.New(), "dag", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}

// TestLawsOfJoins: a dag with a join keeps the laws. A failure before the leaves may be made good by them.
func TestLawsOfJoins(t *testing.T) {
	t.Parallel()
	const steps = `steps: [{name: a, function: f}, {name: b, function: f, needs: a}, {name: c, function: f, needs: a, rule: all_done}, {name: d, function: f}]`
	o := schedulertest.Options{Plays: 120, Partial: func(*schedulertest.Play) bool { return true }}
	for _, join := range []string{`all`, `settled`, `any`, `{ atLeast: 2 }`, `{ percent: 60, losers: run }`, `{ until: "${ failed > 0 }" }`, `{ for: settled, deadline: 1m, onDeadline: take }`} {
		o.Documents = append(o.Documents, `{join: `+join+`, `+steps+`}`)
	}
	o.Commutes = func(p *schedulertest.Play) bool { return false }
	if tally := schedulertest.Run(t, builtin.New(), "dag", o); tally.Succeeded < 20 || tally.Failed < 20 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}
