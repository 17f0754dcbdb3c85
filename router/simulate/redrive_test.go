package simulate_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

const redriven = `version: 1
functions: { f: { exec: cat, retry: { attempts: 1 } } }
triggers:
  wide: { flow: { sequence: [{ name: first, function: f }, { name: m, map: { items: 9, do: { name: x, function: f } } }, { name: last, function: f }] } }
  graph: { flow: { dag: [{ name: a, function: f }, { name: b, function: f, needs: a }, { name: c, function: f, needs: a }, { name: d, function: f, needs: [b, c] }] } }
  book: { flow: { sequence: [{ name: ask, function: f }, { name: trip, saga: [{ name: fly, function: f, undo: { function: f } }, { name: pay, function: f }] }] } }
  rounds: { flow: { loop: { until: "${ output.endsWith('[3]') }", max: 9, do: { name: x, function: f } } } }
`

// A chronicle is what one fold of a log says of its runs.
type chronicle struct {
	state  *engine.State
	inputs map[sendKey]*engine.Invocation
	past   map[journal.RunID][]engine.Past
	ends   map[journal.RunID]engine.Ended
	starts map[journal.RunID]engine.StartFact
	// kept has what was taken over, calls what was called, by the redrive.
	kept, calls map[string]bool
	folded      int
}

func newChronicle(limits func(level uint8) engine.Limits) *chronicle {
	s := &chronicle{
		inputs: map[sendKey]*engine.Invocation{}, past: map[journal.RunID][]engine.Past{}, ends: map[journal.RunID]engine.Ended{},
		starts: map[journal.RunID]engine.StartFact{}, kept: map[string]bool{}, calls: map[string]bool{},
	}
	s.state = engine.New(registry(), func(c engine.Change) {
		x := engine.Past{Path: c.Path, Call: c.Kind == engine.Answered, Began: c.Time.UnixNano(), Input: c.Input, Outcome: c.Outcome}
		switch c.Kind {
		case engine.Answered:
			x.Input = s.inputs[sendKey{c.Run, c.N}].Input
		case engine.Recalled:
			s.kept[fmt.Sprint(c.Run, s.state.Redriven(c.Run), c.Path)] = true
			return
		case engine.StepEnded:
		default:
			return
		}
		s.past[c.Run] = append(s.past[c.Run], x)
	})
	s.state.Bound(limits)
	return s
}

func (s *chronicle) read(t testing.TB, log []journal.Record) {
	var out engine.Effects
	for ; s.folded < len(log); s.folded++ {
		rec := &log[s.folded]
		if _, err := s.state.Fold(rec, &out); err != nil {
			t.Fatal(err)
		}
		if f, err := engine.DecodeStart(rec.Payload); rec.Kind == journal.Start && err == nil {
			s.starts[rec.Run] = f
		}
		for _, inv := range out.Send {
			s.inputs[sendKey{inv.Run, inv.N}] = inv
			if inv.Purpose == engine.Call {
				s.calls[fmt.Sprint(inv.Run, inv.Redrive, inv.Path)] = true
			}
		}
		for _, e := range out.Ended {
			s.ends[e.Run] = e
		}
	}
}

// TestRedriveUnderFaults redrives runs that fail, in parts, with crashes anywhere and senders that die between the parts: each run succeeds at last, what it
// had is taken over or called, never both, and all owners decide the same.
func TestRedriveUnderFaults(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte(redriven), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	total, redrives, kept, dead := map[simulate.Fault]int{}, 0, 0, 0
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 49))
		w := simulate.New(simulate.Options{Registry: reg, Seed: seed, Faults: simulate.Faults{Rate: allFaults}, Function: func(inv *engine.Invocation, _ int) simulate.Answer {
			a := simulate.Answer{Outcome: lang.Success(lang.Text(inv.Path)), After: time.Duration(1+inv.N%5) * time.Second, Later: inv.N%4 == 0}
			// The more often a run was redriven, the less fails of it.
			if h := rand.New(rand.NewPCG(seed, uint64(inv.N))); inv.Redrive < 3 && h.Float64() < 0.3/float64(inv.Redrive+1) {
				a.Outcome = lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
			}
			return a
		}})
		for i := range 8 {
			def := set.Triggers[set.TriggerNames()[i%len(set.Triggers)]].Definition
			start := engine.Record(journal.Start, journal.RunID{1, byte(i)}, &engine.StartFact{Trigger: def.Trigger, Digest: def.Digest(), Event: lang.Of(map[string]int{"id": i}), Data: lang.Of(i)})
			start.Tenant = "default"
			w.After(time.Duration(rng.Int64N(int64(time.Second))), func() {
				w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)}, start)
			})
		}
		ids := byte(0)
		var look func()
		look = func() {
			s := newChronicle(engine.LimitsOf)
			s.read(t, w.Logs()[0])
			for i := range 8 {
				run := journal.RunID{1, byte(i)}
				st, open := s.state.Status(run, 1)
				end, ended := s.ends[run]
				if open && st.State != "redriving" || !ended || end.Outcome.Verdict != lang.Failed {
					continue
				}
				def := set.Triggers[end.Trigger].Definition
				shape, err := engine.ShapeOf(reg, def)
				if err != nil {
					t.Fatal(err)
				}
				plan, err := engine.Remember(shape, s.past[run], "")
				if err != nil {
					t.Fatal(err)
				}
				ids++
				parts := engine.RedriveFact{Number: end.Redrives + 1, ID: [16]byte{ids}, Start: s.starts[run], Started: end.Started.UnixNano(), Next: end.Numbers, Told: end.Told, Memo: plan.Memo}.Split(1 + rng.IntN(200))
				var at time.Duration
				for k, part := range parts {
					if k > 0 && rng.IntN(8) == 0 {
						dead++
						break // Who sends them dies.
					}
					rec := engine.Record(journal.Redrive, run, part)
					rec.Tenant = "default"
					w.After(at, func() { w.Append(rec) })
					at += time.Duration(rng.Int64N(int64(2 * time.Second)))
				}
			}
			if w.Now() < 30*time.Minute {
				w.After(40*time.Second, look)
			}
		}
		w.After(40*time.Second, look)
		if err := w.Run(400_000); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s := newChronicle(engine.LimitsOf)
		s.read(t, w.Logs()[0])
		for i := range 8 {
			run := journal.RunID{1, byte(i)}
			if end := s.ends[run]; end.Outcome.Verdict != lang.Succeeded {
				t.Errorf("seed %d: run %d, redriven %d times, ended with %v %v", seed, i, end.Redrives, end.Outcome.Verdict, end.Outcome.Err)
			}
			redrives += int(s.ends[run].Redrives)
		}
		for at := range s.kept {
			if s.calls[at] {
				t.Errorf("seed %d: %s is taken over, and called", seed, at)
			}
		}
		kept += len(s.kept)
		var live bytes.Buffer
		w.States(func(_, tenure int, state *engine.State) {
			live.Reset()
			var replayed bytes.Buffer
			if err := state.Save(&live); err != nil {
				t.Fatal(err)
			}
			if err := s.state.Save(&replayed); err != nil || !bytes.Equal(live.Bytes(), replayed.Bytes()) {
				t.Errorf("seed %d: tenure %d has another state than a replay, %v", seed, tenure, err)
			}
		})
		for _, e := range w.Ended {
			if want := s.ids(e.Run); !slices.Contains(want, e.EventID) {
				t.Errorf("seed %d: an owner tells of an end as %s; there are %q", seed, e.EventID, want)
			}
		}
		for f, n := range w.Faults() {
			total[f] += n
		}
	}
	t.Logf("%d redrives, %d outcomes taken over, %d senders died, faults %v", redrives, kept, dead, total)
	if redrives < 150 || kept < 400 || dead < 15 {
		t.Errorf("%d redrives, %d outcomes taken over, %d senders that died are too few", redrives, kept, dead)
	}
	for _, f := range simulate.AllFaults() {
		if total[f] == 0 {
			t.Errorf("no %s", f)
		}
	}
}

// ids are the ids of the ends of a run.
func (s *chronicle) ids(run journal.RunID) (ids []string) {
	for n := range s.ends[run].Redrives + 1 {
		ids = append(ids, engine.EndID(run, n))
	}
	return ids
}
