package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestCleanupWhenFull: a run, or a policy's state, that is over its bounds ends; what cleans up has its turn all the same, with exactly what was done.
func TestCleanupWhenFull(t *testing.T) {
	t.Parallel()
	large := lang.Text(strings.Repeat("x", 1000))
	for name, x := range map[string]struct {
		flow   string
		bound  func(*engine.Limits)
		want   string // the paths that are called, in order
		failed string
	}{
		"a saga's run": {
			flow:  `{ saga: [ { name: a, function: f, undo: { name: ua, function: f } }, { name: b, function: f, undo: { name: ub, function: f } }, { name: c, function: f } ] }`,
			bound: func(l *engine.Limits) { l.RunBytes = 2500 }, want: "a b ub ua", failed: "too_large",
		},
		"a saga's state": {
			flow:  `{ saga: [ { name: a, function: f, undo: { name: ua, function: f } }, { name: b, function: f, undo: { name: ub, function: f } }, { name: c, function: f } ] }`,
			bound: func(l *engine.Limits) { l.StateBytes = 1500 }, want: "a b ub ua", failed: "policy_state",
		},
		"what is always done": {
			flow:  `{ finally: { do: { map: { items: 3, window: 1, do: { name: a, function: f } } }, always: { name: z, function: f } } }`,
			bound: func(l *engine.Limits) { l.RunBytes = 1500 }, want: "a[0] a[1] z", failed: "too_large",
		},
		"a teardown": {
			flow:  `{ dag: [ { name: a, function: f }, { name: b, function: f, needs: a }, { name: z, function: f, teardown: a, needs: b } ] }`,
			bound: func(l *engine.Limits) { l.FrameBytes = 1500 }, want: "a b z", failed: "too_large",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			def := defined(t, registry(), x.flow)
			state, at := engine.New(registry(), nil), time.Unix(1_900_000_000, 0)
			state.Bound(func(level uint8) engine.Limits {
				l := engine.LimitsOf(level)
				x.bound(&l)
				return l
			})
			var out engine.Effects
			var open []*engine.Invocation
			var called []string
			fold := func(rec journal.Record) {
				t.Helper()
				at = at.Add(time.Second)
				rec.Time = at
				if reason, err := state.Fold(&rec, &out); err != nil || reason != engine.Applied {
					t.Fatal(reason, err)
				}
				for _, inv := range out.Send {
					stopped := false
					for _, s := range out.Stop {
						stopped = stopped || s.N == inv.N
					}
					if inv.Purpose == engine.Call && !stopped {
						open = append(open, inv)
						called = append(called, inv.Path[strings.LastIndexByte(inv.Path, '/')+1:])
					}
				}
			}
			fold(defineRecord(def))
			fold(startRecord(1, def, lang.Of(1)))
			for len(open) > 0 {
				inv := open[0]
				open = open[1:]
				fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(large)}))
				saved := savedBytes(t, state)
				again := engine.New(registry(), nil)
				if err := again.Load(strings.NewReader(string(saved))); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(called, " "); got != x.want {
				t.Errorf("called were %s, want %s", got, x.want)
			}
			if len(out.Ended) != 1 || out.Ended[0].Outcome.Err == nil || out.Ended[0].Outcome.Err.Type != x.failed {
				t.Errorf("it ended with %+v", out.Ended)
			}
		})
	}
}
