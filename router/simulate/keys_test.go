package simulate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

const keyed = `version: 1
functions: { f: { exec: cat }, g: { exec: cat } }
triggers:
  queue: { concurrency: { key: "${ data }", limit: 2 }, flow: { sequence: [{ function: f }, { function: g, when: "${ data % 3 != 0 }" }] } }
  drop: { concurrency: { key: "${ data }", when: drop }, flow: { function: f } }
  cancelRunning: { concurrency: { key: "${ data }", when: cancelRunning }, flow: { sequence: [{ function: f }, { function: g }] } }
  replace: { concurrency: { key: "${ data }", when: replace }, flow: { function: f } }
  skip: { flow: { function: f } }
  cancel: { flow: { sequence: [{ function: f }, { function: g }] } }
  at-once: { concurrency: { key: "${ data }" }, flow: { function: f, when: "${ data % 4 == 0 }" } }
`

// overlaps are what the schedules say that start runs of these triggers.
var overlaps = map[string]engine.Overlap{"skip": engine.OverlapSkip, "cancel": engine.OverlapCancel}

// A count follows how many runs of each key are at work, by what one fold of the log decides.
type count struct {
	keys  map[journal.RunID]string
	limit map[string]int
	work  map[string]int
	begun map[journal.RunID]bool
	line  map[string][]journal.RunID // those that have not begun, by their starts
	wrong string
}

func (c *count) observe(x engine.Change) {
	key := c.keys[x.Run]
	out := func() { c.line[key] = slices.DeleteFunc(c.line[key], func(r journal.RunID) bool { return r == x.Run }) }
	switch x.Kind {
	case engine.RunStarted:
		c.line[key] = append(c.line[key], x.Run)
	case engine.RunBegun:
		if c.line[key][0] != x.Run {
			c.wrong = fmt.Sprintf("run %d of %s begins before run %d, which came first", x.Run[1], key, c.line[key][0][1])
		}
		out()
		c.begun[x.Run] = true
		if c.work[key]++; c.work[key] > c.limit[strings.Split(key, " ")[0]] {
			c.wrong = fmt.Sprintf("%d runs of %s are at work", c.work[key], key)
		}
	case engine.RunEnded:
		if out(); c.begun[x.Run] {
			c.work[key]--
		}
	}
}

// TestKeysUnderFaults holds, with crashes anywhere, that no key has more at work than its limit, that all runs end as their trigger says, and that those who
// queue begin in the order of their starts.
func TestKeysUnderFaults(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte(keyed), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	seeds := uint64(60)
	total, ends, parts := map[simulate.Fault]int{}, map[string]int{}, 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 11))
		limits := func(level uint8) engine.Limits {
			l := engine.LimitsOf(level)
			if l.Begins = 1 + int(seed%3); seed%5 == 0 {
				l.Queue = 1
			}
			return l
		}
		w := simulate.New(simulate.Options{Registry: reg, Seed: seed, Limits: limits, Faults: simulate.Faults{Rate: allFaults}, Function: func(inv *engine.Invocation, _ int) simulate.Answer {
			return simulate.Answer{Outcome: lang.Success(inv.Input), After: time.Duration(1+inv.N%5) * time.Second, Later: inv.N%4 == 0}
		}})
		c := &count{keys: map[journal.RunID]string{}, work: map[string]int{}, begun: map[journal.RunID]bool{}, line: map[string][]journal.RunID{}, limit: map[string]int{}}
		for i := range 56 {
			name := set.TriggerNames()[rng.IntN(len(set.Triggers))]
			def, key := set.Triggers[name].Definition, fmt.Sprint(rng.IntN(2))
			run := journal.RunID{1, byte(i + 1)}
			c.keys[run], c.limit[name] = name+" "+key, 1
			if def.Concurrency != nil {
				c.limit[name] = def.Concurrency.Limit
			}
			start := engine.Record(journal.Start, run, &engine.StartFact{Trigger: name, Digest: def.Digest(), Data: lang.Of(i), Key: key, Overlap: overlaps[name]})
			start.Tenant = "default"
			define := journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)}
			at := time.Duration(rng.Int64N(int64(20 * time.Second)))
			for range 1 + rng.IntN(2) {
				w.After(at, func() { w.Append(define, start) })
			}
			if rng.IntN(6) == 0 {
				w.After(at+time.Duration(rng.Int64N(int64(10*time.Second))), func() { w.Append(engine.Record(journal.Cancel, run, &engine.CancelFact{})) })
			}
		}
		if err := w.Run(200_000); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		judge(t, seed, w, c, limits, ends)
		for _, rec := range w.Logs()[0] {
			if rec.Kind == journal.More {
				parts++
			}
		}
		for f, n := range w.Faults() {
			total[f] += n
		}
	}
	t.Logf("%v, %d parts; %v", ends, parts, total)
	for _, how := range []string{"queue succeeded", "queue cancelled", "queue queue_limit", "drop dropped", "cancelRunning cancelled", "cancelRunning succeeded", "replace dropped", "at-once skipped", "skip dropped", "skip succeeded", "cancel cancelled", "cancel succeeded"} {
		if ends[how] < int(seeds)/20 {
			t.Errorf("%s: %d runs prove nothing", how, ends[how])
		}
	}
	if parts < int(seeds)/10 || total[simulate.Crash] < int(seeds)/10 {
		t.Errorf("%d parts and %d crashes prove nothing", parts, total[simulate.Crash])
	}
}

// judge folds the log of a play once more, alone.
func judge(t *testing.T, seed uint64, w *simulate.World, c *count, limits func(uint8) engine.Limits, ends map[string]int) {
	t.Helper()
	state := engine.New(registry(), c.observe)
	state.Bound(limits)
	var out engine.Effects
	ended := map[journal.RunID]bool{}
	for _, rec := range w.Logs()[0] {
		if _, err := state.Fold(&rec, &out); err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Ended {
			how := e.Outcome.Verdict.String()
			switch {
			case e.Cancelled:
				how = "cancelled"
			case e.Outcome.Err != nil:
				how = e.Outcome.Err.Type
			case !e.Outcome.Value.IsNull() && e.Outcome.Verdict == lang.Skipped:
				how = "dropped"
			}
			ended[e.Run] = true
			ends[e.Trigger+" "+how]++
		}
	}
	if c.wrong != "" {
		t.Errorf("seed %d: %s", seed, c.wrong)
	}
	if st := state.Stats(); len(ended) != len(c.keys) || st.Runs != 0 || st.Waiting != 0 {
		t.Errorf("seed %d: %d of %d runs have ended; %+v", seed, len(ended), len(c.keys), st)
	}
}
