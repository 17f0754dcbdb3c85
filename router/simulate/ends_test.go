package simulate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

// deliveries is what must be true of ends and signals, by the log alone: each destination of each run is told or given up once, with as many tries as
// its retry says, all under one id; an end starts a run once, by however many paths; a signal counts once.
type deliveries struct {
	triggers map[string]string         // by the id of an end
	tries    map[string]map[string]int // by that, and by path: the last attempt
	dead     map[string]map[string]int
	signals  map[string]int // how often each counted
	faults   []string
}

func newDeliveries() *deliveries {
	return &deliveries{
		triggers: make(map[string]string), tries: make(map[string]map[string]int), dead: make(map[string]map[string]int), signals: make(map[string]int),
	}
}

func (d *deliveries) fault(format string, a ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, a...))
}

// see takes what a record did.
func (d *deliveries) see(rec *journal.Record, reason engine.Reason, out *engine.Effects) {
	if rec.Kind == journal.Signal {
		f, err := engine.DecodeSignal(rec.Payload)
		if err != nil {
			d.fault("a signal: %v", err)
		}
		key := fmt.Sprint(rec.Run, f.ID, " ", f.Name)
		switch reason {
		case engine.Applied:
			if d.signals[key]++; d.signals[key] > 1 {
				d.fault("signal %s counts again", key)
			}
		case engine.Duplicate:
			if d.signals[key] == 0 {
				d.fault("signal %s is repeated before it came", key)
			}
		case engine.Finished, engine.Unknown:
		default:
			d.fault("signal %s is %s", key, reason)
		}
	}
	if rec.Kind == journal.Pause || rec.Kind == journal.Resume {
		f, err := engine.DecodePause(rec.Payload)
		if err != nil {
			d.fault("a pause: %v", err)
		}
		if key := fmt.Sprint(rec.Run, rec.Kind, " ", f.ID); reason == engine.Applied {
			if d.signals[key]++; d.signals[key] > 1 {
				d.fault("%s counts again", key)
			}
		}
	}
	for _, e := range out.Ended {
		if e.EventType != engine.TypeSkipped {
			d.triggers[e.EventID] = e.Trigger
		}
	}
	for _, inv := range out.Send {
		if inv.Purpose != engine.Notify {
			continue
		}
		id := inv.ID()
		if d.tries[id] == nil {
			d.tries[id] = make(map[string]int)
		}
		if d.triggers[id] == "" || inv.Attempt != d.tries[id][inv.Path]+1 {
			d.fault("try %d of %s of run %s under %s, after try %d", inv.Attempt, inv.Path, inv.Run, id, d.tries[id][inv.Path])
		}
		d.tries[id][inv.Path] = inv.Attempt
	}
	for _, x := range out.Dead {
		id := x.Invocation.ID()
		if d.dead[id] == nil {
			d.dead[id] = make(map[string]int)
		}
		d.dead[id][x.Invocation.Path]++
	}
}

func (d *deliveries) check(t *testing.T, p *play, r *report) {
	t.Helper()
	ended, tops := 0, 0
	for run, trigger := range d.triggers {
		if strings.HasPrefix(trigger, "sub") {
			continue // A child tells its parent only.
		}
		ended++
		want := map[string]int{"end:told": 1}
		if trigger == "t" {
			tops++
			want = map[string]int{"end:flaky": 3, "end:hopeless": 2, "end:next": 1}
		} else {
			r.chained++
		}
		if fmt.Sprint(d.tries[run]) != fmt.Sprint(want) {
			d.fault("the destinations of run %s were tried %v, want %v", run, d.tries[run], want)
		}
		given := map[string]int{}
		if trigger == "t" {
			given["end:hopeless"] = 1
			r.dead++
		}
		if fmt.Sprint(d.dead[run]) != fmt.Sprint(given) {
			d.fault("of run %s were given up %v, want %v", run, d.dead[run], given)
		}
	}
	if ended != 2*tops || tops < len(p.runs) {
		d.fault("%d ends, %d of them of %d runs: want one more for each", ended, tops, len(p.runs))
	}
	for key, n := range d.signals {
		if n != 1 {
			d.fault("signal %s counts %d times", key, n)
		}
		r.signals++
	}
	for _, f := range d.faults {
		t.Errorf("seed %d: %s\n%s", p.seed, f, p.doc)
	}
}

const chainDocument = `
version: 1
functions: { f: { http: { url: "http://127.0.0.1:1/" }, timeout: 20s, retry: { attempts: 50, backoff: 1s } } }
triggers:
  t: { flow: { function: f }, onSuccess: [{ trigger: u }, { log: x }], onFailure: { trigger: t } }
  u: { flow: { function: f, when: "${ run.id != 'none' }" }, onSuccess: { trigger: t }, onFailure: { trigger: u } }
`

// TestChainsEnd: two triggers start one another, by filters and by destinations, with every kind of fault: what one event leads to is bounded, every run
// has what its chain has left and no more, and the last ones start nothing.
func TestChainsEnd(t *testing.T) {
	t.Parallel()
	reg := registry()
	set, findings := config.Parse("chain.yaml", []byte(chainDocument), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	full := engine.LimitsOf(journal.Level).Fuel
	defs := []*lang.Definition{set.Triggers["t"].Definition, set.Triggers["u"].Definition}
	starts := func(inv *engine.Invocation) []*lang.Definition {
		if inv.ToTrigger != "" {
			return []*lang.Definition{set.Triggers[inv.ToTrigger].Definition}
		}
		return defs
	}
	for seed := range uint64(8) {
		w := simulate.New(simulate.Options{
			Registry: reg, Seed: seed, Starts: starts, Faults: simulate.Faults{Rate: allFaults},
			Function: func(inv *engine.Invocation, _ int) simulate.Answer {
				return simulate.Answer{Outcome: lang.Success(inv.Input), After: time.Duration(inv.N%5) * 10 * time.Millisecond}
			},
		})
		for _, def := range defs {
			w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
		}
		w.Append(engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: defs[0].Digest(), Data: lang.Of(1)}))
		if err := w.Run(2_000_000); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		replay := engine.New(reg, nil)
		var out engine.Effects
		spent, runs, limited := 0, 0, 0
		for i := range w.Logs()[0] {
			rec := &w.Logs()[0][i]
			reason, err := replay.Fold(rec, &out)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if rec.Kind == journal.Start && reason == engine.Applied {
				if f, _ := engine.DecodeStart(rec.Payload); f.Spent < full {
					runs++
				}
			}
			for _, e := range out.Ended {
				spent++
				if e.Outcome.Err != nil && e.Outcome.Err.Type == engine.ChainLimit {
					limited++
				}
			}
		}
		if st := replay.Stats(); st.Runs+st.Waiting+st.Timers > 0 || runs > full || runs < full/16 || limited == 0 {
			t.Errorf("seed %d: %d runs, %d ended, %d of them without fuel; left behind %+v", seed, runs, spent, limited, st)
		}
	}
}
