package schedulers_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// TestJoin: where a join stands, for every small tally.
func TestJoin(t *testing.T) {
	t.Parallel()
	boom := lang.Failure(&lang.Error{Type: "boom", Message: "it broke", Class: lang.ClassFunction, Path: "f[3]"})
	for code := range 4 * 4 * 4 * 4 {
		c := schedulers.Counts{Succeeded: code & 3, Failed: code >> 2 & 3, Skipped: code >> 4 & 3}
		c.Spawned = c.Done() + code>>6&3
		over, o := c.Done() == c.Spawned, lang.Skip()
		if c.Failed > 0 {
			o = boom
		}
		open := map[bool]schedulers.Progress{true: schedulers.Enough, false: schedulers.Open}[over]
		counted := func(need int) schedulers.Progress {
			switch {
			case c.Succeeded >= need:
				return schedulers.Enough
			case c.Succeeded+c.Spawned-c.Done() < need:
				return schedulers.Unreachable
			}
			return schedulers.Open
		}
		all := open
		if c.Failed > 0 {
			all = schedulers.Unreachable
		}
		for _, test := range []struct {
			join schedulers.Join
			want schedulers.Progress
		}{
			{schedulers.Join{Word: schedulers.JoinAll}, all},
			{schedulers.Join{Word: schedulers.JoinSettled}, open},
			{schedulers.Join{Word: schedulers.JoinAny}, counted(1)},
			{schedulers.Join{Word: schedulers.JoinAtLeast, AtLeast: 2}, counted(2)},
			{schedulers.Join{Word: schedulers.JoinPercent, Percent: 40}, counted((c.Spawned*40 + 99) / 100)},
		} {
			got, err := test.join.Judge(nil, c, o)
			if got != test.want || (got == schedulers.Unreachable) != (err != nil) {
				t.Errorf("%s of %+v: %d, %v; want %d", test.join.MarshalNode(), c, got, err, test.want)
			}
			if err == nil || test.join.Word == schedulers.JoinAll {
				continue
			}
			said := fmt.Sprintf("of %d, %d succeeded, %d failed, %d skipped, and %d could still", c.Spawned, c.Succeeded, c.Failed, c.Skipped, c.Spawned-c.Done())
			if err.Type != "join_unreachable" || !strings.Contains(err.Message, said) || (c.Failed > 0) != strings.Contains(err.Message, "the last error: boom: it broke (f[3])") {
				t.Errorf("%s of %+v: %v", test.join.MarshalNode(), c, err)
			}
		}
	}
}

// TestPercent: rounded up, exactly, whatever the binary form of the number.
func TestPercent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		percent float64
		n, want int
	}{
		{65, 50, 33}, {50, 3, 2}, {100, 7, 7}, {1, 1, 1}, {33.3, 1000, 333}, {0.1, 1_000_000, 1000}, {0.1, 1_000_001, 1001}, {99.9, 10, 10}, {65, 0, 0}, {70, 10, 7}, {1e-6, 10_000_000, 1}, {100, 10_000_000, 10_000_000},
	} {
		p := schedulers.Percent(test.percent)
		if got := p.Of(test.n); got != test.want {
			t.Errorf("%v %% of %d: %d, want %d", test.percent, test.n, got, test.want)
		}
		for some := range min(test.n, 100) {
			if got, want := p.Below(some, test.n), float64(some)*100 > test.percent*float64(test.n)*(1+1e-12); got != want {
				t.Errorf("%d of %d are more than %v %%: %t", some, test.n, test.percent, got)
			}
		}
	}
	if n := schedulers.Percent(100).Of(math.MaxInt32); n != math.MaxInt32 {
		t.Error(n)
	}
}

// TestJoinDeadline: what has come is taken, or the error says what has not.
func TestJoinDeadline(t *testing.T) {
	t.Parallel()
	j := schedulers.Join{Word: schedulers.JoinPercent, Percent: 65, Deadline: plugin.Duration(time.Minute)}
	c := schedulers.Counts{Spawned: 50, Succeeded: 30, Failed: 2}
	got, err := j.Late(c)
	if got != schedulers.Unreachable || err.Type != "join_deadline" || err.Class != lang.ClassTimeout || !strings.Contains(err.Message, "join percent 65, which is 33, was not reached within 1m0s: of 50, 30 succeeded") {
		t.Error(got, err)
	}
	j.OnDeadline = "take"
	if got, err := j.Late(c); got != schedulers.Enough || err != nil {
		t.Error(got, err)
	}
}

// TestJoinForms: what a document may write, how it stands in a definition, and what is wrong with the rest.
func TestJoinForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"all"`: ``, `"settled"`: ``, `"any"`: ``, `{"atLeast":2}`: ``, `{"percent":65}`: ``, `{"percent":0.5}`: ``, `{"until":"${ succeeded > 2 }"}`: ``,
		`{"deadline":"10m0s","for":"all"}`:                                     ``,
		`{"deadline":"10m0s","for":"settled","onDeadline":"take"}`:             ``,
		`{"atLeast":33,"deadline":"10m0s","losers":"run","onDeadline":"take"}`: ``,
		`{"for":"any","losers":"cancel"}`:                                      ``,
		`"setled"`:                                                             `unknown join setled; did you mean "settled"?`,
		`"atLeast"`:                                                            `write join: { atLeast: ... }`,
		`{"all":1}`:                                                            `unknown key "all"`,
		`{"for":"some"}`:                                                       `unknown join some`,
		`3`:                                                                    `unknown join 3`,
		`[]`:                                                                   `unknown join`,
		`{"atLeast":0}`:                                                        `a join of at least 0 is none`,
		`{"atLeast":-1}`:                                                       `a join of at least -1 is none`,
		`{"atLeast":20000000}`:                                                 `a step has at most 10000000 children`,
		`{"atLeast":1.5}`:                                                      `a whole number is due`,
		`{"percent":0}`:                                                        `a join of 0 percent`,
		`{"percent":101}`:                                                      `write more than 0, and 100 at most`,
		`{"percent":65,"atLeast":3}`:                                           `a join waits for one thing, and this one says atLeast and percent`,
		`{"for":"any","until":"${ true }"}`:                                    `says for and until`,
		`{"atLeast":3,"onDeadline":"take"}`:                                    `a join without a deadline says what to do when it comes`,
		`{"atLeast":3,"deadline":"1m","onDeadline":"wait"}`: `unknown onDeadline "wait"`,
		`{"atLeast":3,"deadline":"0s"}`:                     `deadline is 0`,
		`{"atLeast":3,"losers":"kill"}`:                     `unknown losers "kill"`,
	} {
		n, err := lang.ParseJSONNode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var j schedulers.Join
		var said []string
		for _, f := range lang.Decode(n, &j, new(plugin.Registry)) {
			said = append(said, f.What+"; "+f.Cure)
		}
		if all := strings.Join(said, "\n"); (want == "") != (all == "") || !strings.Contains(all, want) {
			t.Errorf("%s: %v, want %q", text, said, want)
		}
		if want == "" && j.MarshalNode().JSON() != text {
			t.Errorf("%s is written as %s", text, j.MarshalNode())
		}
	}
	var j schedulers.Join
	n, _ := lang.ParseJSONNode([]byte(`{"deadline":"1s"}`))
	if findings := lang.Decode(n, &j, new(plugin.Registry)); len(findings) > 0 || j.Word != schedulers.JoinAll {
		t.Errorf("a mapping without a word is of %q, %v", j.Word, findings)
	}
}

// TestJoinFits: a list that cannot be is refused before anything has run.
func TestJoinFits(t *testing.T) {
	t.Parallel()
	early := schedulers.Join{Word: schedulers.JoinAtLeast, AtLeast: 1}
	if e := early.Fits(1_000_000); e == nil || e.Type != "too_large" || !strings.Contains(e.Message, "results: count") {
		t.Error(e)
	}
	for _, j := range []schedulers.Join{{Word: schedulers.JoinAll}, {Word: schedulers.JoinSettled}, {Word: schedulers.JoinAny}} {
		if e := j.Fits(1_000_000); e != nil {
			t.Error(j.Word, e)
		}
	}
	if e := early.Fits(700_000); e != nil {
		t.Error(e)
	}
}
