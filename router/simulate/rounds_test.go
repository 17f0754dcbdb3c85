package simulate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

const roundsPlay = `version: 1
functions: { f: { exec: cat } }
triggers:
  pair: { correlate: "${ data }", await: { events: { a: { filters: [{ exact: { type: a } }] }, b: { filters: [{ exact: { type: b } }] } }, deadline: 1h }, flow: { function: f, input: "${ [arrived.a.id, arrived.b.id] }" } }
  three: { correlate: "${ data }", await: { count: 3, late: buffer }, flow: { function: f, input: "${ arrived.map(x, x.id) }" } }
  batch: { batch: { every: 3s, count: 100 }, flow: { function: f, input: "${ arrived.map(x, x.id) }" } }
`

// A rounds is a play of events that meet: copies of them, early and late ones, and a batch that time ends.
type rounds struct {
	w    *simulate.World
	runs map[journal.RunID]string // what each is to begin with
}

func newRounds(t *testing.T, seed uint64, faults simulate.Faults, durable func(*simulate.World, int)) *rounds {
	t.Helper()
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte(roundsPlay), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	x, n := &rounds{runs: make(map[journal.RunID]string)}, 0
	o := simulate.Options{
		Registry: reg, Seed: seed, Faults: faults,
		Function: func(inv *engine.Invocation, _ int) simulate.Answer {
			return simulate.Answer{After: 100 * time.Millisecond, Outcome: lang.Success(inv.Input)}
		},
		Durable: func(*journal.Record) {
			n++
			durable(x.w, n)
		},
	}
	x.w = simulate.New(o)
	for _, name := range set.TriggerNames() {
		x.w.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(set.Triggers[name].Definition)})
	}
	send := func(at time.Duration, trigger, key, name string, id byte) {
		def := set.Triggers[trigger].Definition
		rec := engine.Record(journal.Start, journal.RunID{0, 0, 0, 0, trigger[0], id}, &engine.StartFact{
			Trigger: trigger, Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(id), "source": "/t", "type": name}), Data: lang.Text(key), Key: key, Names: []string{name},
		})
		rec.Tenant = "default"
		for _, again := range []time.Duration{0, 1100 * time.Millisecond} { // Each comes twice.
			x.w.After(at+again, func() { x.w.Append(rec) })
		}
	}
	for i, e := range []struct {
		trigger, key, name string
		id                 byte
	}{
		{"pair", "k", "a", 1}, {"pair", "k", "a", 2}, {"pair", "l", "b", 3}, {"pair", "k", "b", 4}, {"pair", "k", "b", 5}, {"pair", "l", "a", 6},
		{"three", "k", "", 1}, {"three", "k", "", 2}, {"three", "k", "", 3}, {"three", "k", "", 4}, {"three", "k", "", 5}, {"three", "k", "", 6},
		{"batch", "all", "", 1}, {"batch", "all", "", 2},
	} {
		send(time.Duration(i)*10*time.Millisecond, e.trigger, e.key, e.name, e.id)
	}
	for id, want := range map[journal.RunID]string{
		{4: 'p', 5: 1}: `["1","4"]`, {4: 'p', 5: 2}: `["2","5"]`, {4: 'p', 5: 3}: `["6","3"]`, {4: 't', 5: 1}: `["1","2","3"]`, {4: 't', 5: 4}: `["4","5","6"]`, {4: 'b', 5: 1}: `["1","2"]`,
	} {
		x.runs[id] = want
	}
	return x
}

// check finds runs that began with something else, twice as something else, or not at all.
func (x *rounds) check(t *testing.T, what string) {
	t.Helper()
	ended := make(map[journal.RunID]string)
	for _, e := range x.w.Ended {
		if got := e.Outcome.Value.JSON(); e.Outcome.Err != nil || got != x.runs[e.Run] || ended[e.Run] != "" && ended[e.Run] != got {
			t.Errorf("%s: run %s of %s has ended with %s %v; want %s", what, e.Run, e.Trigger, got, e.Outcome.Err, x.runs[e.Run])
		}
		ended[e.Run] = e.Outcome.Value.JSON()
	}
	if len(ended) != len(x.runs) {
		t.Errorf("%s: %d runs have ended; want %d", what, len(ended), len(x.runs))
	}
}

// TestRoundsStruckAtEveryRecord: an owner dies, leaves or is taken over at each record of a play of events that meet. Each round fires once, with the same members.
func TestRoundsStruckAtEveryRecord(t *testing.T) {
	t.Parallel()
	faults := []simulate.Fault{simulate.Crash, simulate.Restart, simulate.TakeOver}
	struck, records := 0, 1
	for at := 0; at <= records; at++ {
		for later := range 3 {
			fault, n := faults[(at+later)%3], 0
			x := newRounds(t, uint64(at), simulate.Faults{}, func(w *simulate.World, record int) {
				if n = record; record != at || w == nil {
					return
				}
				switch later {
				case 0:
					w.After(0, func() { w.Strike(0, fault) })
				case 1:
					w.Strike(0, fault)
				default:
					w.After(1, func() { w.Strike(0, fault) })
				}
			})
			if err := x.w.Run(50_000); err != nil {
				t.Fatalf("%s at record %d: %v", fault, at, err)
			}
			if x.check(t, fmt.Sprintf("%s at record %d, %d", fault, at, later)); t.Failed() {
				return
			}
			if struck += x.w.Faults()[fault]; at == 0 {
				records = n
			}
		}
	}
	if records < 30 || struck < records*2 {
		t.Errorf("%d records, and struck %d times", records, struck)
	}
}
