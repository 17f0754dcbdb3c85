package saga_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/saga"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{
		`[{function: a, undo: {function: x}}]`,
		`[{name: one, function: a, undo: {function: x, input: "${ [input, output, error.type, steps.one] }"}}, {function: b}, {name: three, function: c, input: "${ [previous, steps.one] }", undo: {function: y}}, {function: d}]`,
		`steps: [{saga: [{function: a, undo: {function: x}}]}, {function: b, undo: {sequence: [{function: y}, {function: z}]}}, {function: c}]`,
	},
	Generate: func(r *rand.Rand) string {
		steps := []string{`{"function": "a", "undo": {"function": "x"}}`}
		for i := range r.IntN(20) {
			step := fmt.Sprintf(`{"function": "f", "name": "s%d"`, i)
			if r.IntN(3) > 0 {
				step += `, "undo": {"function": "u"}`
			}
			steps = append(steps, step+"}")
		}
		return "[" + strings.Join(steps, ",") + "]"
	},
	Want: want,
}

// want goes through what was done: steps up to the first that failed, then the undos of exactly those that succeeded, in reverse.
func want(p *schedulertest.Play) (lang.Outcome, bool) {
	order := func(format string, a ...any) (lang.Outcome, bool) {
		return lang.Failure(lang.Failf(lang.ClassPlatform, "order", format, a...)), true
	}
	v, at, failed := p.Input, 0, false
	var undo, broken []int
	stages := p.Settings.(*saga.Saga).Steps
	for ; at < len(stages) && !failed; at++ {
		o := p.Of(2*at, 0)
		if at >= len(p.Told) || p.Told[at].Slot != 2*at {
			return order("step %d was not next", at)
		}
		if failed = o.Verdict == lang.Failed; o.Verdict == lang.Succeeded {
			v = o.Value
			if stages[at].Undo != nil {
				undo = append([]int{at}, undo...)
			}
		}
	}
	if !failed {
		if len(p.Told) != at {
			return order("undone after a success")
		}
		return lang.Success(v), true
	}
	if len(p.Told) != at+len(undo) {
		return order("%d undos, want %d", len(p.Told)-at, len(undo))
	}
	for i, stage := range undo {
		if p.Told[at+i].Slot != 2*stage+1 {
			return order("undo %d is of slot %d", i, p.Told[at+i].Slot)
		}
		if p.Told[at+i].Verdict == lang.Failed {
			broken = append(broken, stage)
		}
	}
	if len(broken) == 0 {
		return p.Told[at-1].Outcome, true
	}
	// The words are the policy's; type and data are told apart here.
	e := *p.Outcome.Err
	e.Type, e.Class = "compensation_failed", lang.ClassFunction
	var list []string
	for _, stage := range broken {
		list = append(list, fmt.Sprintf(`{"error":%s,"step":`, p.Of(2*stage+1, 0).Err.Value()))
	}
	data := p.Outcome.Err.Data.JSON()
	for _, part := range append(list, fmt.Sprintf(`{"error":%s,"failed":[`, p.Told[at-1].Err.Value())) {
		if strings.Count(data, part) == 0 {
			return order("%s is not in the data", part)
		}
	}
	return lang.Failure(&e), true
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "saga", laws)
	if tally.Wanted != tally.Plays || tally.Succeeded < 50 || tally.Failed < 100 || tally.Cancelled < 100 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "saga", laws) }

func bench(t *testing.T) *schedulertest.Bench {
	t.Helper()
	b := schedulertest.Begin(t, builtin.New(), "saga", `[{name: a, function: f, undo: {function: u}}, {function: f}, {name: c, function: f, undo: {function: u}}, {function: f, undo: {function: u}}]`, lang.Text("in"), lang.Null)
	b.Done(0, 0, lang.Success(lang.Text("A")))
	b.Done(2, 0, lang.Success(lang.Text("B")))
	b.Done(4, 0, lang.Success(lang.Text("C")))
	return b
}

// TestUndo: what an undo is given; one that fails keeps no other from running, and is named.
func TestUndo(t *testing.T) {
	t.Parallel()
	b := bench(t)
	b.Done(6, 0, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke")))
	undo := func(slot int, input, output, note string) {
		t.Helper()
		got, err := b.Binding(slot, 0)
		if err != nil || len(b.Open()) != 1 || got.Input.JSON() != input || got.Vars[0].Value.JSON() != output || !strings.Contains(got.Vars[1].Value.JSON(), `"boom"`) || b.Note().JSON() != note {
			t.Errorf("slot %d: %v %v, note %s", slot, got, err, b.Note())
		}
	}
	undo(5, `"B"`, `"C"`, `"compensating 1 of 2"`)
	b.Done(5, 0, lang.Failure(lang.Failf(lang.ClassFunction, "jam", "it sticks")))
	undo(1, `"in"`, `"A"`, `"compensating 2 of 2"`)
	b.Done(1, 0, lang.Success(lang.Null))
	o, _ := b.Ended()
	if o.Err == nil || o.Err.Type != "compensation_failed" || o.Err.Message != `1 of 2 steps could not be undone: "c" (jam: it sticks); it was undone because of boom: it broke` {
		t.Error(o)
	}
}

// TestCancelled: the step at work is not undone, and a cancel while it is undone changes nothing.
func TestCancelled(t *testing.T) {
	t.Parallel()
	b := bench(t)
	b.Cancel()
	for _, slot := range []int{5, 1} {
		got, err := b.Binding(slot, 0)
		if err != nil || len(b.Open()) != 1 || !strings.Contains(got.Vars[1].Value.JSON(), `"cancelled"`) {
			t.Errorf("slot %d: %v %v", slot, got, err)
		}
		b.Done(slot, 0, lang.Success(lang.Null))
	}
	if o, ended := b.Ended(); !ended || o.Verdict != lang.Cancelled {
		t.Error(o)
	}
	b = bench(t)
	b.Done(6, 0, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke")))
	b.Cancel()
	b.Done(5, 0, lang.Success(lang.Null))
	b.Done(1, 0, lang.Success(lang.Null))
	if _, ended := b.Ended(); !ended {
		t.Error("it has not ended")
	}
}

// TestDocuments: what lint says of a saga that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`[]`:                                    "without steps",
		`[{function: a}]`:                       "nothing is undone",
		`[{function: a, undo: {}}]`:             "does nothing",
		`[{function: a, undoo: {function: b}}]`: `did you mean "undo"?`,
		`[{function: a, undo: {function: b, undo: {function: c}}}]`: "undo",
	} {
		if _, err := schedulertest.Load(builtin.New(), "saga", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
