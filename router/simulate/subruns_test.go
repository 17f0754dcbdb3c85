package simulate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

const nested = `version: 1
functions: { f: { exec: cat }, g: { exec: cat } }
triggers:
  leaf: { flow: { sequence: [{ function: f }, { function: g }] } }
  middle: { flow: { forkjoin: [{ subrun: leaf }, { function: g }] } }
  top: { flow: { subrun: middle } }
  wide: { flow: { map: { items: "${ data }", do: { subrun: leaf } } } }
  hasty: { flow: { map: { items: "${ data }", join: settled, do: { subrun: middle, deadline: 8s } } } }
  loose: { flow: { sequence: [{ subrun: { trigger: leaf, wait: false } }, { function: f }] } }
`

// TestSubrunsUnderFaults holds, with crashes anywhere and everything that passes between runs late, twice and out of order, that parents get what their children
// yield, that all runs end, and that nothing of a child is at work once nobody waits for it: it was cancelled, or never began.
func TestSubrunsUnderFaults(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte(nested), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	want := map[string]string{"top": "[3,3]", "wide": "[0,1,2]", "loose": ""}
	seeds := uint64(60)
	ends, total := map[string]int{}, map[simulate.Fault]int{}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 12))
		w := simulate.New(simulate.Options{
			Registry: reg, Seed: seed, Faults: simulate.Faults{Rate: allFaults},
			Starts: func(inv *engine.Invocation) []*lang.Definition {
				if inv.Purpose != engine.Call {
					return nil
				}
				return []*lang.Definition{set.Triggers[inv.ToTrigger].Definition}
			},
			Function: func(inv *engine.Invocation, _ int) simulate.Answer {
				return simulate.Answer{Outcome: lang.Success(inv.Input), After: time.Duration(1+inv.N%5) * time.Second, Later: inv.N%4 == 0}
			},
		})
		for _, name := range set.TriggerNames() {
			w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(set.Triggers[name].Definition)})
		}
		cancelled, tops := map[journal.RunID]bool{}, map[journal.RunID]bool{}
		for i, name := range []string{"top", "wide", "hasty", "loose", "top", "wide"} {
			data := lang.Of([]int{0, 1, 2})
			if name == "top" {
				data = lang.Of(3)
			}
			run := journal.RunID{1, byte(i + 1)}
			tops[run] = true
			start := engine.Record(journal.Start, run, &engine.StartFact{Trigger: name, Digest: set.Triggers[name].Digest, Data: data})
			at := time.Duration(rng.Int64N(int64(20 * time.Second)))
			for range 1 + rng.IntN(2) {
				w.After(at, func() { w.Append(start) })
			}
			if i >= 4 {
				cancelled[run] = true
				w.After(at+time.Duration(rng.Int64N(int64(6*time.Second))), func() { w.Append(engine.Record(journal.Cancel, run, &engine.CancelFact{})) })
			}
		}
		if err := w.Run(200_000); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		state := engine.New(reg, nil)
		var out engine.Effects
		for _, rec := range w.Log() {
			if _, err := state.Fold(&rec, &out); err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Ended {
				how := e.Outcome.Verdict.String()
				if e.Cancelled {
					how = "cancelled"
				}
				ends[e.Trigger+" "+how]++
				result := want[e.Trigger]
				if timeout := e.Outcome.Err != nil && e.Outcome.Err.Type == "timeout"; result != "" && tops[e.Run] && !cancelled[e.Run] && !timeout && (e.Outcome.Verdict != lang.Succeeded || e.Outcome.Value.JSON() != result) {
					t.Errorf("seed %d: %s yields %v", seed, e.Trigger, e.Outcome)
				}
				delete(tops, e.Run)
			}
		}
		if st := state.Stats(); len(tops) != 0 || st.Runs != 0 || st.Waiting != 0 || st.Invocations != 0 {
			t.Errorf("seed %d: not ended: %v; %+v", seed, tops, st)
		}
		for f, n := range w.Faults() {
			total[f] += n
		}
	}
	said := fmt.Sprintf("%v; %v", ends, total)
	t.Log(said)
	for _, how := range []string{"top succeeded", "top cancelled", "wide succeeded", "wide cancelled", "hasty succeeded", "loose succeeded", "leaf succeeded", "leaf cancelled", "middle cancelled"} {
		if ends[how] < int(seeds)/10 {
			t.Errorf("%s: %d runs prove nothing", how, ends[how])
		}
	}
	if total[simulate.Crash] < int(seeds)/10 || total[simulate.TakeOver] < int(seeds)/10 {
		t.Errorf("too few faults prove anything: %s", said)
	}
}
