package admission

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const byContent = `version: 1
functions: { f: { log: f } }
triggers:
  large: { filters: [{ exact: { type: order } }], when: "${ data.amount > 13 && event.source == '/test' }", flow: { function: f } }
  paid:  { filters: [{ sql: "type = 'order' AND level > 3" }], flow: { function: f } }
  ends:  { filters: [{ exact: { type: dev.onward.run.succeeded } }], when: "${ data.total > 5 }", flow: { function: f } }
  cheap: { filters: [{ exact: { type: hard } }], when: "${ data.text.matches('[a-z]{200}x') }", flow: { function: f } }
`

// TestContent: what a trigger's when says of an event is what becomes of it, at the door, in a test, at the end of a run; what is dropped says why, and counts.
func TestContent(t *testing.T) {
	t.Parallel()
	g, d := open(t, byContent)
	reg := prometheus.NewRegistry()
	g.metrics = newMetrics(reg)
	for name, c := range map[string]struct {
		kind, data, level string
		starts            string
		note              string
		why               string // of large, when tested
	}{
		"taken":    {"order", `{"amount":14}`, "1", "large", "", ""},
		"both":     {"order", `{"amount":14}`, "4", "large paid", "", ""},
		"dropped":  {"order", `{"amount":13}`, "1", "", "it is not so that ${ data.amount > 13 && event.source == '/test' }", "it is not so that"},
		"no field": {"order", `{"sum":14}`, "1", "", `large: when: ${ data.amount > 13 && event.source == '/test' }: no such key "amount"; data has ["sum"]`, `no such key "amount"`},
		"no data":  {"order", ``, "1", "", "large: when: ", "when: "},
		"bad sql":  {"order", `{"amount":1}`, "x", "", `paid: sql fails at character 20: "x" is no integer of 32 bits`, "it is not so that"},
		"costly":   {"hard", `{"text":"` + strings.Repeat("a", 600_000) + `"}`, "1", "", "costs more than", ""},
		"other":    {"thing", `{"amount":14}`, "1", "", `large: type "thing" is not "order"`, "type"},
	} {
		e := eventFor(t, name, c.kind, cmp.Or(c.data, "0"), "level", c.level)
		if c.data == "" {
			e.DataEncoded = nil
		}
		d.records = nil
		receipts, err := g.Admit(t.Context(), []event.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		var started []string
		for _, run := range receipts[0].Runs {
			started = append(started, run.Trigger)
		}
		r := receipts[0]
		if got := strings.Join(started, " "); got != c.starts || r.Err != nil || (r.Kind == triggers.Unmatched) != (c.starts == "") || !strings.Contains(r.Note, c.note) {
			t.Errorf("%s: %q, %v, %v, %s", name, got, r.Kind, r.Err, r.Note)
		}
		for _, tried := range g.Test(&e) {
			taken := strings.Contains(" "+c.starts+" ", " "+tried.Trigger+" ")
			if tried.Taken != taken || tried.Trigger == "large" && !strings.Contains(tried.Why, c.why) {
				t.Errorf("%s, tested: %+v", name, tried)
			}
		}
	}
	want := map[string]float64{"large when": 2, "large when_error": 2, "paid sql_error": 1, "cheap when_error": 1}
	for labels, n := range want {
		trigger, why, _ := strings.Cut(labels, " ")
		if got := testutil.ToFloat64(g.metrics.drops.WithLabelValues(trigger, why)); got != n {
			t.Errorf("%s: %v", labels, got)
		}
	}
	inv := &engine.Invocation{Run: journal.RunID{1}, N: 3, Purpose: engine.Route, Trigger: "large", Type: "dev.onward.run.succeeded"}
	for total, n := range map[int]int{5: 0, 6: 1} {
		inv.Input = lang.Trusted(fmt.Sprintf(`{"total":%d}`, total))
		if m := g.Match(inv); (m != nil) != (n > 0) {
			t.Errorf("an end with a total of %d: %+v", total, m)
		}
	}
	// A completion that no when takes completes all the same, and an outcome of another's that none takes is refused as ever.
	e := eventFor(t, "c", "dev.onward.function.succeeded", `{"amount":1}`)
	e.SetExtension("causationid", sentAs(t, g, call))
	if receipts, err := g.Admit(t.Context(), []event.Event{e}); err != nil || receipts[0].Kind != triggers.Completion || receipts[0].Note != "" {
		t.Errorf("%+v, %v", receipts, err)
	}
}

// TestWhyIsBounded: why nothing took an event is said of those that looked at it first, and costs the same among many.
func TestWhyIsBounded(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	doc.WriteString("version: 1\nfunctions: { f: { log: f } }\ntriggers:\n")
	for i := range 200 {
		fmt.Fprintf(&doc, "  t%03d: { filters: [{ exact: { type: t%d } }, { exact: { country: CH } }], flow: { function: f } }\n", i, i)
	}
	g, _ := open(t, doc.String())
	receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, "1", "t177", `{}`)})
	want := `no trigger takes it; t177: it has no country; t000: type "t177" is not "t0"; t001: type "t177" is not "t1"; and 197 more`
	if err != nil || receipts[0].Note != want {
		t.Errorf("%s, %v", receipts[0].Note, err)
	}
}
