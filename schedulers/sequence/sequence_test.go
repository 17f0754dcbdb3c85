package sequence_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
	"github.com/onward-router/onward/schedulers/sequence"
)

var laws = schedulertest.Options{
	Documents: []string{
		`[{function: a}]`,
		`[{function: a, name: x}, {wait: 1s}, {function: b, input: "${ steps.x }"}, {function: c, input: "${ previous }"}]`,
		`steps: [{function: a}, {sequence: [{function: b}, {function: c}]}]`,
	},
	Generate: func(r *rand.Rand) string {
		var steps []string
		for i := range 1 + r.IntN(50) {
			step := fmt.Sprintf(`{"function": "f", "name": "s%d"`, i)
			if i > 0 && r.IntN(4) == 0 {
				step += fmt.Sprintf(`, "input": "${ [previous, steps.s%d] }"`, r.IntN(i))
			}
			steps = append(steps, step+"}")
		}
		return "[" + strings.Join(steps, ",") + "]"
	},
	Want: func(p *schedulertest.Play) (lang.Outcome, bool) {
		v := p.Input
		for slot := range p.Settings.(*sequence.Sequence).Steps {
			switch o := p.Of(slot, 0); o.Verdict {
			case lang.Failed:
				return o, true
			case lang.Succeeded:
				v = o.Value
			}
		}
		return lang.Success(v), len(p.Told) == len(p.Settings.(*sequence.Sequence).Steps)
	},
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "sequence", laws)
	if tally.Wanted != tally.Plays || tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "sequence", laws) }

// TestPasses: one step at a time, each given what the last one that was not skipped yielded; nothing opens after a failure.
func TestPasses(t *testing.T) {
	t.Parallel()
	b := schedulertest.Begin(t, builtin.New(), "sequence", `[{function: a}, {function: b}, {function: c}, {function: d}]`, lang.Text("<in>"), lang.Null)
	broken := lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
	for slot, step := range []struct {
		input string
		o     lang.Outcome
	}{{`"<in>"`, lang.Skip()}, {`"<in>"`, lang.Success(lang.Text("one"))}, {`"one"`, lang.Skip()}, {`"one"`, broken}} {
		if open := b.Open(); len(open) != 1 || open[0] != (schedulertest.Child{Slot: slot}) {
			t.Fatalf("open are %v, want step %d", open, slot)
		}
		got, err := b.Binding(slot, 0)
		if err != nil || got.Input.JSON() != step.input || len(got.Siblings) != slot {
			t.Errorf("step %d is bound %v, %v; want input %s", slot, got, err, step.input)
		}
		b.Done(slot, 0, step.o)
	}
	if o, ended := b.Ended(); !ended || o != broken {
		t.Error(o)
	}
}

// TestEmpty: lint refuses a sequence without steps.
func TestEmpty(t *testing.T) {
	t.Parallel()
	if _, err := schedulertest.Load(builtin.New(), "sequence", `[]`); err == nil || !strings.Contains(err.Error(), "without steps") {
		t.Error(err)
	}
}
