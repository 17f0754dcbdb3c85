package dag_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

// tally is how the needs of a step ended so far: succeeded, skipped, failed, upstream failed; n is the number of needs.
type tally struct{ s, k, f, u, n int }

func (t tally) all() bool { return t.s+t.k+t.f+t.u == t.n }

// A row is one of the documentation's table of trigger rules: when a step runs, is skipped, and cannot run because of a failure upstream.
type row struct{ runs, skipped, upstream func(t tally) bool }

func never(tally) bool { return false }

// table is written from the meaning of the rules; what does not ask for all() is decided before all needs have ended.
var table = map[string]row{
	"all_success": {func(t tally) bool { return t.s == t.n }, func(t tally) bool { return t.all() && t.k > 0 }, func(t tally) bool { return t.f > 0 || t.u > 0 }},
	"all_failed":  {func(t tally) bool { return t.f+t.u == t.n }, func(t tally) bool { return t.s > 0 || t.k > 0 }, never},
	"all_done":    {tally.all, never, never},
	"always":      {func(tally) bool { return true }, never, never},
	"all_done_min_one_success": {
		func(t tally) bool { return t.all() && t.k == 0 && t.s > 0 }, func(t tally) bool { return t.k > 0 }, func(t tally) bool { return t.all() && t.k == 0 && t.s == 0 },
	},
	"all_skipped":  {func(t tally) bool { return t.k == t.n }, func(t tally) bool { return t.s > 0 || t.f > 0 || t.u > 0 }, never},
	"one_success":  {func(t tally) bool { return t.s > 0 }, func(t tally) bool { return t.k == t.n }, func(t tally) bool { return t.all() && t.s == 0 && t.k != t.n }},
	"one_failed":   {func(t tally) bool { return t.f > 0 || t.u > 0 }, func(t tally) bool { return t.all() && t.f == 0 && t.u == 0 }, never},
	"one_done":     {func(t tally) bool { return t.s > 0 || t.f > 0 }, func(t tally) bool { return t.all() && t.s == 0 && t.f == 0 }, never},
	"none_failed":  {func(t tally) bool { return t.s+t.k == t.n }, never, func(t tally) bool { return t.f > 0 || t.u > 0 }},
	"none_skipped": {func(t tally) bool { return t.all() && t.k == 0 }, func(t tally) bool { return t.k > 0 }, never},
	"none_failed_min_one_success": {
		func(t tally) bool { return t.s+t.k == t.n && t.s > 0 }, func(t tally) bool { return t.k == t.n }, func(t tally) bool { return t.f > 0 || t.u > 0 },
	},
}

func ruleNames() []string {
	var names []string
	for name := range table {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fate is what a row says of a tally: "" while it says nothing.
func (r row) fate(t tally) string {
	switch {
	case r.upstream(t):
		return "upstream"
	case r.skipped(t):
		return "skipped"
	case r.runs(t):
		return "runs"
	}
	return ""
}

// TestRules holds every rule against the table, for up to five needs, however they end and in whatever order, after each end; and in the end the order has
// not mattered.
func TestRules(t *testing.T) {
	t.Parallel()
	checked, ends := 0, make(map[string]string)
	for _, rule := range ruleNames() {
		for n := 1; n <= 5; n++ {
			s := rulesGraph(t, rule, n)
			for code := range 1 << (2 * n) {
				checked += playRule(t, s, rule, n, code, ends)
			}
		}
	}
	if want := 12 * (4 + 2*16 + 3*64 + 4*256 + 5*1024); checked != want {
		t.Errorf("%d verdicts were checked, want %d", checked, want)
	}
}

// rulesGraph has n needs, each behind a source by which it can be made upstream failed, the step, and two probes that tell its fate.
func rulesGraph(t *testing.T, rule string, n int) *schedulertest.Subject {
	t.Helper()
	var steps, needs []string
	for i := range n {
		steps = append(steps, fmt.Sprintf(`{"function": "f", "name": "src%d"}, {"function": "f", "name": "n%d", "needs": "src%d"}`, i, i, i))
		needs = append(needs, fmt.Sprintf(`"n%d"`, i))
	}
	steps = append(steps,
		`{"function": "f", "name": "step", "rule": "`+rule+`", "needs": [`+strings.Join(needs, ",")+`]}`,
		`{"function": "f", "name": "ifSkipped", "rule": "all_skipped", "needs": "step"}`,
		`{"function": "f", "name": "ifUpstream", "rule": "all_failed", "needs": "step"}`)
	s, err := schedulertest.Load(builtin.New(), "dag", `[`+strings.Join(steps, ",")+`]`)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// playRule ends the needs one after the other; two bits of code say how each ends.
func playRule(t *testing.T, s *schedulertest.Subject, rule string, n, code int, last map[string]string) (checked int) {
	broken := lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
	b := schedulertest.NewBench(s, lang.Null, lang.Null)
	b.Start()
	how := func(i int) int { return code >> (2 * i) & 3 }
	for i := range n {
		if how(i) != 3 {
			b.Done(2*i, 0, lang.Success(lang.Null))
		}
	}
	so, want, ends := tally{n: n}, "", ""
	for i := range n {
		switch how(i) {
		case 0:
			so.s++
			b.Done(2*i+1, 0, lang.Success(lang.Null))
		case 1:
			so.k++
			b.Done(2*i+1, 0, lang.Skip())
		case 2:
			so.f++
			b.Done(2*i+1, 0, broken)
		case 3:
			so.u++
			b.Done(2*i, 0, broken)
		}
		ends += string("SKFU"[how(i)])
		if want == "" {
			want = table[rule].fate(so)
		}
		got := ""
		for _, c := range b.Open() {
			if c.Slot >= 2*n {
				got += []string{"runs", "skipped", "upstream"}[c.Slot-2*n]
			}
		}
		if got != want {
			t.Errorf("%s of %d needs, ended so far %s: %q, want %q", rule, n, ends, got, want)
		}
		checked++
	}
	sorted := []byte(ends)
	slices.Sort(sorted)
	key := rule + " " + string(sorted)
	if before, played := last[key]; want == "" || played && before != want {
		t.Errorf("%s of %d needs that ended %s: %q in the end, and in another order %q", rule, n, ends, want, before)
	}
	last[key] = want
	return checked
}

// TestLeavesCommute: with end: leaves the order in which steps end decides nothing, neither whether the dag fails nor with what.
func TestLeavesCommute(t *testing.T) {
	t.Parallel()
	boom := func(i int) lang.Outcome {
		return lang.Failure(lang.Failf(lang.ClassFunction, "boom", "step %d broke", i))
	}
	for document, ends := range map[string][]lang.Outcome{
		// A leaf behind a skip and a failure: the failure counts, whichever comes first.
		`{end: leaves, steps: [{name: a, function: f}, {name: b, function: f}, {name: leaf, function: f, needs: [a, b]}]}`: {lang.Skip(), boom(1)},
		// Two leaves fail: the first of the document.
		`{end: leaves, steps: [{name: a, function: f}, {name: b, function: f}, {name: c, function: f}]}`: {lang.Success(lang.Null), boom(1), boom(2)},
		// A leaf that could not run tells of what kept it from it, not of what failed first elsewhere.
		`{end: leaves, steps: [{name: a, function: f}, {name: b, function: f}, {name: mend, function: f, needs: a, rule: all_failed, when: "${ false }"}, {name: leaf, function: f, needs: b}]}`: {boom(0), boom(1)},
	} {
		var want lang.Outcome
		orders := [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}}
		for i, order := range orders {
			b := open(t, document)
			for _, slot := range order {
				if slot < len(ends) {
					b.Done(slot, 0, ends[slot])
				}
			}
			for _, c := range b.Open() {
				b.Done(c.Slot, c.Index, lang.Skip())
			}
			o, ended := b.Ended()
			if i == 0 {
				want = o
			}
			if !ended || o.Verdict != lang.Failed || o.Err.Message != "step 1 broke" || o.Err.Message != want.Err.Message {
				t.Errorf("%s in order %v: %v %v", document, order, o, o.Err)
			}
		}
	}
}

func open(t testing.TB, document string) *schedulertest.Bench {
	t.Helper()
	b := schedulertest.Begin(t, builtin.New(), "dag", document, lang.Text("in"), lang.Null)
	return b
}

// TestEnd: what fails a dag, and what it yields.
func TestEnd(t *testing.T) {
	t.Parallel()
	one := lang.Success(lang.Of(1))
	const steps = `{steps: [{name: a, function: f}, {name: b, function: f, needs: a}, {name: undo, function: f, needs: a, rule: one_failed}], end: `
	for _, test := range []struct {
		document string
		ends     []lang.Outcome
		slots    []int
		want     lang.Outcome
	}{
		{steps + `steps}`, []lang.Outcome{one, one}, []int{0, 1}, lang.Success(lang.Trusted(`{"b":1,"undo":null}`))},
		{steps + `steps}`, []lang.Outcome{boom, one}, []int{0, 2}, boom},  // undo still runs
		{steps + `leaves}`, []lang.Outcome{boom, one}, []int{0, 2}, boom}, // b could not run
		{`{steps: [{name: a, function: f}, {name: undo, function: f, needs: a, rule: all_done}], end: leaves}`, []lang.Outcome{boom, one}, []int{0, 1}, lang.Success(lang.Trusted(`{"undo":1}`))},
		{`{steps: [{name: a, function: f}, {name: undo, function: f, needs: a, rule: all_done}], end: steps}`, []lang.Outcome{boom, one}, []int{0, 1}, boom},
		{`{steps: [{name: a, function: f}, {name: b, function: f, needs: a}], end: leaves}`, []lang.Outcome{one, boom}, []int{0, 1}, boom},
		// Airflow's graph: a leaf that runs behind a failure decides.
		{`{steps: [{name: a, function: f}, {name: b, function: f, needs: a}, {name: c, function: f, needs: a}, {name: d, function: f, needs: [b, c], rule: all_done}, {name: e, function: f, needs: [b, c, d], rule: one_failed}], end: leaves}`,
			[]lang.Outcome{one, boom, one, one, one}, []int{0, 1, 2, 3, 4}, lang.Success(lang.Trusted(`{"e":1}`))},
		{`[{name: a, function: f}, {name: b, function: f, needs: a}]`, []lang.Outcome{lang.Skip()}, []int{0}, lang.Success(lang.Trusted(`{"b":null}`))},
	} {
		b := open(t, test.document)
		for i, slot := range test.slots {
			if o, ended := b.Ended(); ended {
				t.Fatalf("%s: ended after %d steps: %v", test.document, i, o)
			}
			b.Done(slot, 0, test.ends[i])
		}
		if o, ended := b.Ended(); !ended || o != test.want {
			t.Errorf("%s, ends %v: %v, want %v", test.document, test.ends, o, test.want)
		}
	}
}

// TestInput: a step is given its needs' outputs as they were when it opened, and stays with that.
func TestInput(t *testing.T) {
	t.Parallel()
	b := open(t, `[{name: a, function: f}, {name: b, function: f}, {name: c, function: f}, {name: all, function: f, needs: [c, a], rule: all_done}, {name: one, function: f, needs: [c, a, b], rule: one_success}]`)
	bound := func(slot int) string {
		x, err := b.Binding(slot, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := x.Input.JSON() + fmt.Sprint(x.Siblings)
		if outcomes, ok := x.Vars.Lookup("outcomes"); ok {
			text += outcomes.(lang.Value).JSON()
		}
		return text
	}
	if got := bound(1); got != `"in"[]` {
		t.Errorf("a step without needs: %s", got)
	}
	b.Done(0, 0, lang.Success(lang.Of(1)))
	early := `{"c":null,"a":1,"b":null}[0]{"a":{"outcome":"succeeded","value":1}}`
	if got := bound(4); got != early {
		t.Errorf("a step that runs early: %s, want %s", got, early)
	}
	b.Done(2, 0, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke")))
	const broken = `{"type":"boom","message":"it broke","class":"function"}`
	if got, want := bound(3), `{"c":{"error":`+broken+`},"a":1}[0 2]{"c":{"outcome":"failed","error":`+broken+`},"a":{"outcome":"succeeded","value":1}}`; got != want {
		t.Errorf("a step that waits for all: %s, want %s", got, want)
	}
	if got := bound(4); got != early {
		t.Errorf("a step that runs early, later on: %s, want %s", got, early)
	}
}

// TestFailedNeeds: who runs behind a failure sees it, also through a step that could not run because of it; a value that looks like one is told apart.
func TestFailedNeeds(t *testing.T) {
	t.Parallel()
	b := open(t, `[{name: a, function: f}, {name: b, function: f, needs: a}, {name: c, function: f}, {name: d, function: f}, {name: all, function: f, needs: [b, c, d], rule: all_done}]`)
	b.Done(0, 0, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke")))
	b.Done(2, 0, lang.Success(lang.Trusted(`{"error":{"type":"none"}}`)))
	b.Done(3, 0, lang.Skip())
	x, err := b.Binding(4, 0)
	if err != nil {
		t.Fatal(err)
	}
	const boom = `{"type":"boom","message":"it broke","class":"function"}`
	if want := `{"b":{"error":` + boom + `},"c":{"error":{"type":"none"}},"d":null}`; x.Input.JSON() != want {
		t.Errorf("input %s, want %s", x.Input, want)
	}
	outcomes, _ := x.Vars.Lookup("outcomes")
	if want := `{"b":{"outcome":"failed","error":` + boom + `},"c":{"outcome":"succeeded","value":{"error":{"type":"none"}}},"d":{"outcome":"skipped"}}`; outcomes.(lang.Value).JSON() != want {
		t.Errorf("outcomes %s, want %s", outcomes, want)
	}
}

// TestDocuments: what lint says of a dag that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`[]`:              "without steps",
		`[{function: f}]`: "has no name",
		`[{name: a, function: f}, {name: a, function: f}]`:                                                                                               `two steps are named "a"`,
		`[{name: a, function: f, needs: b}]`:                                                                                                             `unknown step "b"`,
		`[{name: a, function: f}, {name: b, function: f, needs: [a, a]}]`:                                                                                `step "a" is named twice`,
		`[{name: a, function: f, needs: a}]`:                                                                                                             "a needs a",
		`[{name: a, function: f, rule: one_sucess}]`:                                                                                                     `did you mean "one_success"?`,
		`{steps: [{name: a, function: f}], end: leaf}`:                                                                                                   `unknown end "leaf"`,
		`[{name: a, function: f, needs: 3}]`:                                                                                                             "the number 3 where a text is due",
		`[{name: a, function: f}, {name: b, function: f, needs: { a: suceeded }}]`:                                                                       `did you mean "succeeded"?`,
		`[{name: a, function: f}, {name: b, function: f, needs: { a: [] }}]`:                                                                             "no offset",
		`[{name: a, function: f}, {name: b, function: f, needs: { a: [-1, -1] }}]`:                                                                       "the offset -1 is named twice",
		`[{name: a, function: f}, {name: b, function: f, needs: { a: 100001 }}]`:                                                                         "100000 elements are the most",
		`[{name: a, function: f}, {name: b, function: f, needs: { a: 1.5 }}]`:                                                                            "whole number",
		`[{name: a, function: f}, {name: b, function: f, needs: { c: done }}]`:                                                                           `unknown step "c"`,
		`[{name: a, function: f}, {name: b, function: f, rule: one_done, needs: { a: done }}]`:                                                           "each say how they must have ended",
		`[{name: a, function: f, over: 3}, {name: b, function: f, needs: { a: same }}]`:                                                                  "by a step that has none",
		`[{name: a, function: f}, {name: b, function: f, over: 3, needs: { a: same }}]`:                                                                  `step "a" has no elements`,
		`[{name: a, function: f, over: 3, needs: { a: same }}]`:                                                                                          "needs itself",
		`[{name: a, function: f, over: 3, needs: { a: 1 }}]`:                                                                                             "comes later",
		`[{name: a, function: f, over: 3, rule: one_done, needs: { a: -1 }}]`:                                                                            "use a rule that waits for all",
		`[{name: a, function: f, over: 3, needs: { b: -1 }}, {name: b, function: f, over: 3, needs: { a: -1 }}]`:                                         "in a circle",
		`[{name: a, function: f}, {name: b, function: f, over: 3, needs: a, rule: always}]`:                                                              "would not see what to run over",
		`[{name: a, function: f, over: text}]`:                                                                                                           "a list or a whole number",
		`[{name: a, function: f, over: "${ 1 > 2 }"}]`:                                                                                                   "always yields bool",
		`[{name: a, function: f, over: 3, window: -1}]`:                                                                                                  "a window of -1",
		`[{name: a, function: f, over: 3, window: 10001}]`:                                                                                               "a window of 10001",
		`[{name: a, function: f, over: 3, window: many}]`:                                                                                                "a window of",
		`[{name: a, function: f, window: 1}]`:                                                                                                            "window: of a step without over",
		`[{name: a, function: f, as: x}]`:                                                                                                                "as: of a step without over",
		`{steps: [{name: a, function: f}], concurrency: 0}`:                                                                                              "a concurrency of 0",
		`[{name: a, function: f, branch: b}]`:                                                                                                            "no step stands behind",
		`[{name: a, function: f, branch: [c]}, {name: b, function: f, needs: a}]`:                                                                        `a branch to "c"`,
		`[{name: a, function: f, branch: 3}, {name: b, function: f, needs: a}]`:                                                                          "a branch to 3",
		`[{name: a, function: f, over: 2, branch: b}, {name: b, function: f, needs: a}]`:                                                                 "many outputs",
		`[{name: a, function: f, branch: b}, {name: b, function: f, needs: a, rule: always}]`:                                                            "does not wait for the choice",
		`[{name: s, function: f}, {name: a, function: f, branch: null}, {name: t, function: f, teardown: s, needs: a}]`:                                  "behind a branch",
		`[{name: a, function: f}, {name: t, function: f, teardown: a}]`:                                                                                  "waits for no work",
		`[{name: a, function: f}, {name: t, function: f, teardown: a, needs: a}]`:                                                                        "waits for no work",
		`[{name: a, function: f}, {name: t, function: f, teardown: x, needs: a}]`:                                                                        `unknown step "x"`,
		`[{name: a, function: f}, {name: b, function: f}, {name: t, function: f, teardown: [a, a], needs: b}]`:                                           "named twice",
		`[{name: a, function: f}, {name: b, function: f}, {name: t, function: f, teardown: a, needs: b, rule: all_done}]`:                                "one of its own",
		`[{name: a, function: f}, {name: b, function: f}, {name: t, function: f, teardown: a, needs: { b: done }}]`:                                      "however they end",
		`[{name: a, function: f}, {name: b, function: f}, {name: t, function: f, teardown: a, needs: b}, {name: u, function: f, teardown: t, needs: b}]`: "a teardown itself",
		`[{name: a, function: f, decides: true}]`:                                                                                                        "of a step that is no teardown",
		`[{name: a, function: f}, {name: b, function: f, needs: a, rule: all_done_setup_success}]`:                                                       "of a step that is no teardown",
		`[{name: a, function: f, needs: c}, {name: b, function: f, needs: a}, {name: c, function: f, needs: b}]`:                                         "in a circle",
	} {
		if _, err := schedulertest.Load(builtin.New(), "dag", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}

// BenchmarkDone is the cost of one completion: it must not grow with the size of the graph. Each step has one need and one successor.
func BenchmarkDone(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			steps := make([]string, n)
			for i := range steps {
				steps[i] = fmt.Sprintf(`{"function":"f","name":"s%d"`, i)
				if i >= 100 {
					steps[i] += fmt.Sprintf(`,"needs":"s%d"`, i-100)
				}
				steps[i] += "}"
			}
			s, err := schedulertest.Load(builtin.New(), "dag", `[`+strings.Join(steps, ",\n")+`]`)
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
				if next == n-1 { // The last one collects the outputs: that is the cost of the dag, not of one completion.
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

// BenchmarkElement is the cost of one completion of an element in a dag of 10,000 other steps: it must not grow with the number of elements.
func BenchmarkElement(b *testing.B) {
	var others strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&others, `{"function":"f","name":"o%d","needs":"begin"},`+"\n", i)
	}
	for name, step := range map[string]string{
		"alone":     `{"name":"x","function":"f","over":%d}`,
		"pairwise":  `{"name":"x","function":"f","over":%[1]d},{"name":"y","function":"f","over":%[1]d,"needs":{"x":"same"}}`,
		"wavefront": `{"name":"x","function":"f","over":%d,"needs":{"x":[-1,-2]}}`,
		"limited":   `{"name":"x","function":"f","over":%d,"window":100}`,
	} {
		for _, n := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				s, err := schedulertest.Load(builtin.New(), "dag", `[{"name":"begin","function":"f"},`+others.String()+fmt.Sprintf(step, n)+`]`)
				if err != nil {
					b.Fatal(err)
				}
				var bench *schedulertest.Bench
				next := n
				b.ReportAllocs()
				for b.Loop() {
					if next == n {
						b.StopTimer()
						bench, next = schedulertest.NewBench(s, lang.Null, lang.Null), 0
						bench.Start()
						b.StartTimer()
					}
					bench.Done(10_001, next, lang.Success(lang.Null))
					next++
				}
			})
		}
	}
}
