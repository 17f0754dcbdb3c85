package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// BenchmarkUntil is what an event costs in the middle of a round whose until looks at all that have come.
func BenchmarkUntil(b *testing.B) {
	set, findings := config.Parse("t.yaml", []byte(`version: 1
functions: { f: { exec: cat } }
triggers:
  list: { filters: [{ exact: { type: a } }], correlate: "${ data.k }", await: { count: 10000, join: { until: "${ arrived.exists(x, x.data.last) }" } }, flow: { function: f } }
  named: { correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }], count: 9999 }, b: { filters: [{ exact: { type: b } }] } }, join: { until: "${ arrived.a.exists(x, x.data.last) }" } }, flow: { function: f } }
`), registry(), nil)
	for _, f := range findings {
		b.Fatal(f)
	}
	for _, name := range set.TriggerNames() {
		for _, events := range []int{1000, 4000} {
			b.Run(fmt.Sprint(name, "/", events), func(b *testing.B) {
				def := set.Triggers[name].Definition
				for b.Loop() {
					state, out := engine.New(registry(), nil), engine.Effects{}
					now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
					fold := func(rec journal.Record) {
						rec.Time, rec.Tenant = now, "default"
						if _, err := state.Fold(&rec, &out); err != nil {
							b.Fatal(err)
						}
					}
					fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
					for n := range events {
						kind := ""
						if name == "named" {
							kind = "a"
						}
						fold(engine.Record(journal.Start, journal.RunID{1, byte(n >> 8), byte(n)}, &engine.StartFact{
							Trigger: name, Digest: def.Digest(), Event: lang.Of(map[string]string{"specversion": "1.0", "id": fmt.Sprint(n), "source": "/orders", "type": "com.example.item"}),
							Data: lang.Of(map[string]any{"k": 1, "last": false, "n": n}), Key: "1", Names: []string{kind},
						}))
					}
					if len(out.Ended) > 0 {
						b.Fatal(out.Ended[0].Outcome)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(events), "µs/event")
			})
		}
	}
}
