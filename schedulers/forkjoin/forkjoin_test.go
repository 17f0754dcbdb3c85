package forkjoin_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/forkjoin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{
		`[{function: a}, {function: b}, {wait: 1s}]`,
		`branches: {b: {function: f}, a: {function: g}}`,
		`{branches: {b: {function: f}, a: {forkjoin: [{function: g}]}}, join: settled}`,
		`{branches: [{function: a}, {function: b}], join: settled}`,
		`[]`,
		`branches: {}`,
		`{branches: [{function: a}, {function: b}, {function: c}], join: any}`,
		`{branches: {b: {function: f}, a: {function: g}, c: {function: h}}, join: {atLeast: 2, losers: run}}`,
		`{branches: [{function: a}, {function: b}, {function: c}, {function: d}], join: {percent: 51, deadline: 1m, onDeadline: take}}`,
		`{branches: [{function: a}, {function: b}], join: {until: "${ succeeded + failed + skipped == total || output == 0 }"}}`,
		`{branches: [], join: {percent: 1}}`,
		`{branches: [{function: a}, {function: b}, {wait: 1s}], speculate: 1m}`,
		`{branches: {a: {function: a}, b: {function: b}}, join: settled, speculate: {after: 100ms, max: 3}}`,
		`{branches: [], join: {until: "${ total > 0 }"}}`,
	},
	Generate: func(r *rand.Rand) string {
		named := r.IntN(2) == 0
		var branches []string
		for i := range r.IntN(51) {
			branch := `{"function": "f"}`
			if named {
				branch = fmt.Sprintf(`"b<%d>": %s`, 50-i, branch)
			}
			branches = append(branches, branch)
		}
		all := "[" + strings.Join(branches, ",") + "]"
		if named {
			all = "{" + strings.Join(branches, ",") + "}"
		}
		return `{"branches": ` + all + `, "join": ` + []string{
			`"all"`, `"settled"`, `{"for": "all", "deadline": "1h"}`, `{"percent": 40}`, `{"for": "settled", "deadline": "1m", "onDeadline": "take"}`, `{"until": "${ succeeded > failed + 3 }"}`,
		}[r.IntN(6)] + `}`
	},
	Commutes: func(p *schedulertest.Play) bool {
		j := p.Settings.(*forkjoin.ForkJoin).Join
		return !j.Early() && (j.Settled() || !p.Has(lang.Failed))
	},
	Want: want,
}

// want is what a forkjoin yields that waits for all, from the children alone.
func want(p *schedulertest.Play) (lang.Outcome, bool) {
	f := p.Settings.(*forkjoin.ForkJoin)
	if f.Join.Early() || f.Join.Deadline > 0 {
		return lang.Outcome{}, false // The law of joins says what it must be.
	}
	for _, c := range p.Told {
		if c.Verdict == lang.Failed && !f.Join.Settled() {
			return lang.Failure(c.Err), true
		}
	}
	var items, members []string
	for slot := range f.Branches.List {
		o := p.Of(slot, 0)
		item := o.Value.JSON()
		if f.Join.Settled() {
			item = map[lang.Verdict]string{
				lang.Succeeded: `{"outcome":"succeeded","value":` + item + `}`, lang.Skipped: `{"outcome":"skipped"}`,
				lang.Failed: `{"outcome":"failed","error":` + lang.Of(o.Err).JSON() + `}`,
			}[o.Verdict]
		}
		items = append(items, item)
		if f.Branches.Names != nil {
			members = append(members, lang.Text(f.Branches.Names[slot]).JSON()+":"+item)
		}
	}
	if f.Branches.Names != nil {
		return lang.Success(lang.Trusted("{" + strings.Join(members, ",") + "}")), true
	}
	return lang.Success(lang.Trusted("[" + strings.Join(items, ",") + "]")), true
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "forkjoin", laws)
	if tally.Wanted < 150 || tally.Reordered < 150 || tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "forkjoin", laws) }

func open(t testing.TB, document string) *schedulertest.Bench {
	t.Helper()
	b := schedulertest.Begin(t, builtin.New(), "forkjoin", document, lang.Text("in"), lang.Null)
	return b
}

// TestJoins: the forms of the outcome, in the order of the branches and not of their ends.
func TestJoins(t *testing.T) {
	t.Parallel()
	boom := lang.Failure(lang.Failf(lang.ClassThrottle, "boom", "it broke"))
	const shown, skipped = `{"outcome":"failed","error":{"type":"boom","message":"it broke","class":"throttle"}}`, `{"outcome":"skipped"}`
	// Values that look like a failure and like a skip, and a function that calls itself cancelled: each is what it is.
	like, null := lang.Success(lang.Trusted(`{"error":{"type":"boom"}}`)), lang.Success(lang.Null)
	gone := lang.Failure(lang.Failf(lang.ClassCancelled, "cancelled", "it gave up"))
	for _, test := range []struct {
		document string
		ends     []lang.Outcome // of slots 2, 0, 1
		want     string
	}{
		{`[{function: a}, {function: b}, {function: c}]`, []lang.Outcome{lang.Success(lang.Of(3)), lang.Success(lang.Of(1)), lang.Skip()}, `[1,null,3]`},
		{`branches: {z: {function: a}, y: {function: b}, x: {function: c}}`, []lang.Outcome{lang.Skip(), lang.Success(lang.Of(1)), lang.Success(lang.Of(2))}, `{"z":1,"y":2,"x":null}`},
		{`{branches: [{function: a}, {function: b}, {function: c}], join: settled}`, []lang.Outcome{boom, lang.Skip(), boom}, `[` + skipped + `,` + shown + `,` + shown + `]`},
		{`{branches: {z: {function: a}, y: {function: b}, x: {function: c}}, join: settled}`, []lang.Outcome{boom, lang.Success(lang.Of(1)), lang.Skip()}, `{"z":{"outcome":"succeeded","value":1},"y":` + skipped + `,"x":` + shown + `}`},
		{`{branches: [{function: a}, {function: b}, {function: c}], join: settled}`, []lang.Outcome{gone, like, null}, `[{"outcome":"succeeded","value":{"error":{"type":"boom"}}},{"outcome":"succeeded","value":null},{"outcome":"failed","error":{"type":"cancelled","message":"it gave up","class":"cancelled"}}]`},
	} {
		b := open(t, test.document)
		for i, slot := range []int{2, 0, 1} {
			if _, ended := b.Ended(); ended {
				t.Errorf("%s: ended after %d branches", test.document, i)
			}
			b.Done(slot, 0, test.ends[i])
		}
		if o, ended := b.Ended(); !ended || o != lang.Success(lang.Trusted(test.want)) {
			t.Errorf("%s: %v, want %s", test.document, o, test.want)
		}
	}
	early(t)
	b := open(t, `[{function: a}, {function: b}, {function: c}]`)
	b.Done(1, 0, lang.Skip())
	b.Done(2, 0, boom)
	if o, ended := b.Ended(); !ended || o != boom {
		t.Error(o)
	}
}

// early: what a join yields that is enough before all branches are done.
func early(t *testing.T) {
	t.Helper()
	const fork = `branches: {a: {function: f}, b: {function: f}, c: {function: f}, d: {function: f}}`
	boom := lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
	one := lang.Success(lang.Of(1))
	for _, test := range []struct{ join, want string }{
		{`any`, `1`},
		{`{atLeast: 1}`, `{"a":{"outcome":"failed","error":{"type":"boom","message":"it broke","class":"function"}},"b":{"outcome":"skipped"},"c":{"outcome":"succeeded","value":1},"d":{"outcome":"cancelled"}}`},
		{`{percent: 25, losers: run}`, `{"a":{"outcome":"failed","error":{"type":"boom","message":"it broke","class":"function"}},"b":{"outcome":"skipped"},"c":{"outcome":"succeeded","value":1},"d":{"outcome":"running"}}`},
		{`{until: "${ output == 1 && failed == 1 && skipped == 1 && total == 4 }"}`, `{"a":{"outcome":"failed","error":{"type":"boom","message":"it broke","class":"function"}},"b":{"outcome":"skipped"},"c":{"outcome":"succeeded","value":1},"d":{"outcome":"cancelled"}}`},
		{`{atLeast: 3}`, `join_unreachable`},
		{`{percent: 51}`, `join_unreachable`},
		{`{until: "${ 1 }"}`, `expression_error`},
	} {
		b := open(t, `{`+fork+`, join: `+test.join+`}`)
		for slot, o := range []lang.Outcome{boom, lang.Skip(), one} {
			if _, ended := b.Ended(); !ended {
				b.Done(slot, 0, o)
			}
		}
		o, ended := b.Ended()
		got := o.Value.JSON()
		if o.Err != nil {
			got = o.Err.Type
		}
		if !ended || got != test.want {
			t.Errorf("%s: ended %t, %s; want %s", test.join, ended, got, test.want)
		}
	}
}

// BenchmarkDone is the cost of one completion: it must not grow with the number of branches.
func BenchmarkDone(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			doc := `[` + strings.Repeat(`{"function":"f"},`, n-1) + `{"function":"f"}]`
			s, err := schedulertest.Load(builtin.New(), "forkjoin", doc)
			if err != nil {
				b.Fatal(err)
			}
			fresh := func() *schedulertest.Bench {
				bench := schedulertest.NewBench(s, lang.Null, lang.Null)
				bench.Start()
				return bench
			}
			bench, next := fresh(), 0
			b.ReportAllocs()
			for b.Loop() {
				if next == n-1 { // The last one collects the results: that is the cost of the forkjoin, not of one completion.
					b.StopTimer()
					bench, next = fresh(), 0
					b.StartTimer()
				}
				bench.Done(next, 0, lang.Success(lang.Null))
				next++
			}
		})
	}
}
