package engine_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestWhatUntilHasDecodedDecidesNothing: whether a state has what it decoded for the events before, or begins anew behind every third, the rounds of many keys are over at the same events, and it is the same state.
func TestWhatUntilHasDecodedDecidesNothing(t *testing.T) {
	t.Parallel()
	const keys, each = 70, 24 // More rounds than are remembered at a time, of more events than are decoded at each.
	set, findings := config.Parse("t.yaml", []byte(`version: 1
triggers:
  list: { filters: [{ exact: { type: a } }], correlate: "${ data.k }", await: { count: 1000, join: { until: "${ arrived.exists(x, x.data.n >= 20) }" } }, onSuccess: { log: x } }
  named: { correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }], count: 500 }, b: { filters: [{ exact: { type: b } }] } }, join: { until: "${ arrived.b == null && math.sum(arrived.a.map(x, x.data.n)) >= 171 }" } }, onSuccess: { log: x } }
`), registry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	states := []*engine.State{engine.New(registry(), nil), engine.New(registry(), nil)}
	now, ended := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), 0
	fold := func(rec journal.Record) {
		now = now.Add(time.Millisecond)
		rec.Time, rec.Tenant = now, "default"
		var ends [2]string
		for i := range states {
			var out engine.Effects
			if _, err := states[i].Fold(&rec, &out); err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Ended {
				ends[i] += fmt.Sprint(e.Run, e.Outcome, e.Arrived)
			}
			if i == 0 {
				ended += len(out.Ended)
			}
		}
		if ends[0] != ends[1] {
			t.Fatalf("%q; anew %q", ends[0], ends[1])
		}
	}
	saved := func(s *engine.State) []byte {
		var b bytes.Buffer
		if err := s.Save(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, name := range set.TriggerNames() {
		fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(set.Triggers[name].Definition)})
	}
	for n := range each {
		for k := range keys {
			for i, name := range set.TriggerNames() {
				kind := ""
				if name == "named" {
					kind = "a"
				}
				fold(engine.Record(journal.Start, journal.RunID{byte(i), byte(k), byte(n)}, &engine.StartFact{
					Trigger: name, Digest: set.Triggers[name].Digest, Event: lang.Of(map[string]string{"id": fmt.Sprint(n), "type": "a"}), Data: lang.Of(map[string]int{"k": k, "n": n}), Key: fmt.Sprint(k), Names: []string{kind},
				}))
			}
		}
		if n%3 != 2 {
			continue
		}
		anew := engine.New(registry(), nil)
		if err := anew.Load(bytes.NewReader(saved(states[1]))); err != nil {
			t.Fatal(err)
		}
		if states[1] = anew; !bytes.Equal(saved(states[0]), saved(anew)) {
			t.Fatalf("behind %d events a key it is another state", n+1)
		}
	}
	if ended != 5*keys { // The last events of the list are each enough.
		t.Errorf("%d rounds are over", ended)
	}
}
