package admission

import (
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

const keyedDocument = `version: 1
functions: { f: { exec: cat } }
triggers:
  one: { filters: [{ exact: { type: order } }], concurrency: { key: "${ data.orderId }" }, flow: { function: f } }
  two: { filters: [{ exact: { type: both } }], concurrency: { key: "${ data.a }" }, flow: { function: f } }
  three: { filters: [{ exact: { type: both } }], concurrency: { key: "${ string(data.b) + event.source }" }, flow: { function: f } }
`

// TestKeysMeet: the runs of one trigger and key lie in one partition, each under an id of its own that is the same again; what has no key starts nothing and
// says why.
func TestKeysMeet(t *testing.T) {
	t.Parallel()
	g, d := open(t, keyedDocument)
	admit := func(id, kind, data string) (triggers.Receipt, []engine.StartFact, []journal.RunID) {
		t.Helper()
		receipts, err := g.Admit(t.Context(), []event.Event{eventFor(t, id, kind, data)})
		if err != nil {
			t.Fatal(err)
		}
		var starts []engine.StartFact
		var runs []journal.RunID
		for _, rec := range d.records {
			if rec.Kind == journal.Start {
				f, err := engine.DecodeStart(rec.Payload)
				if err != nil || g.Layout.Partition(rec.Run.Route()) != rec.Partition {
					t.Fatal(err, rec.Partition)
				}
				starts, runs = append(starts, f), append(runs, rec.Run)
			}
		}
		d.records = nil
		return receipts[0], starts, runs
	}
	ids := map[journal.RunID]bool{}
	var route uint32
	for _, id := range []string{"1", "2", "3", "1"} {
		_, starts, runs := admit(id, "order", `{"orderId":"o-1"}`)
		if len(starts) != 1 || starts[0].Key != "o-1" {
			t.Fatalf("%+v", starts)
		}
		if e := eventFor(t, id, "order", `{"orderId":"o-1"}`); g.RunIDOf("one", &e) != runs[0] {
			t.Errorf("Start would make another run of %s", id)
		}
		if route == 0 {
			route = runs[0].Route()
		}
		if ids[runs[0]] = true; runs[0].Route() != route {
			t.Errorf("event %s lies elsewhere", id)
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d ids for three events", len(ids))
	}
	if _, starts, runs := admit("1", "order", `{"orderId":7}`); len(starts) != 1 || starts[0].Key != "7" || runs[0].Route() == route {
		t.Errorf("%+v", starts)
	}
	for data, why := range map[string]string{
		`{}`: "no such key", `{"orderId":null}`: "yields null", `{"orderId":""}`: `yields ""`, `{"orderId":[1]}`: "yields [1]", `{"orderId":"` + strings.Repeat("x", 1025) + `"}`: "1025 bytes",
	} {
		r, starts, _ := admit("9", "order", data)
		if r.Kind != triggers.Unmatched || !strings.Contains(r.Note, "trigger one starts nothing") || !strings.Contains(r.Note, why) || len(starts) != 0 || r.Err != nil {
			t.Errorf("%.40s: %+v, %d starts", data, r, len(starts))
		}
	}
	// Of several triggers, those that have a key are started, with all of the fuel.
	r, starts, _ := admit("1", "both", `{"b":1}`)
	if r.Kind != triggers.Matched || len(r.Runs) != 1 || len(starts) != 1 || starts[0].Key != "1/test" || starts[0].Spent != 0 || !strings.Contains(r.Note, "trigger two starts nothing") {
		t.Errorf("%+v, %+v", r, starts)
	}
}

// TestKeylessEnds: the end of a run that has no key for what it is to start is given up where a destination names the trigger, and passes by the filters.
func TestKeylessEnds(t *testing.T) {
	t.Parallel()
	g, d := open(t, keyedDocument)
	end := &engine.Invocation{Run: journal.RunID{1}, N: 2, Path: "end:one", Purpose: engine.Notify, ToTrigger: "one", Trigger: "x", Type: "dev.onward.run.succeeded", Input: lang.Of(3)}
	final, ok := g.StartFor(t.Context(), end).(*lang.Error)
	if !ok || final.Type != "bad_event" || len(d.records) != 0 {
		t.Errorf("%v, %d records", final, len(d.records))
	}
	e := eventFor(t, "1", "order", "{}")
	if _, err := g.Start(t.Context(), "one", &e); err == nil || !strings.Contains(err.Error(), "no key for concurrency") {
		t.Errorf("%v", err)
	}
	starts := startsPayload{{Trigger: "one"}, {Trigger: "two"}}
	route := &engine.Invocation{Run: journal.RunID{1}, N: 2, Path: "end", Purpose: engine.Route, Trigger: "x", Type: "dev.onward.run.succeeded", Input: lang.Of(map[string]int{"a": 1}), Starts: starts.encode(), Fuel: 9}
	if err := g.StartFor(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	if got := d.kinds(); len(got) != 2 || got[1] != journal.Start {
		t.Errorf("%v", got)
	}
}
