package admission

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/envelope/envelopetest"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
)

// TestTable admits every event of the reader's table, as it is and as the completion of an invocation: what is journaled is what was sent.
func TestTable(t *testing.T) {
	t.Parallel()
	g, d := open(t, `{ version: 1, functions: { f: { log: f } }, triggers: { all: { filters: [{ not: { exact: { type: nothing } } }], flow: { function: f } } } }`)
	n := 0
	for _, c := range envelopetest.Cases() {
		head, err := envelope.FromHTTP(c.Header())
		if err != nil || !c.At(envelopetest.HTTP) || c.Mode == envelopetest.Batched {
			continue
		}
		events, _, err := head.Read([]byte(c.Body), envelope.Limits{Event: 1 << 20})
		if err != nil {
			continue
		}
		n++
		e := events[0]
		want, err := envelope.Value(&e)
		if err != nil {
			t.Fatal(err)
		}
		d.records = nil
		receipts, err := g.Admit(t.Context(), []event.Event{e})
		if err != nil || receipts[0].Err != nil {
			t.Errorf("%s: %+v, %v", c.Name, receipts, err)
			continue
		}
		started, err := engine.DecodeStart(d.records[len(d.records)-1].Payload)
		if err != nil || started.Data != want || started.Event != envelope.Attributes(&e) {
			t.Errorf("%s: %s %s, %v", c.Name, started.Event, started.Data, err)
		}
		e.SetType(envelope.Succeeded)
		e.SetExtension("causationid", sentAs(t, g, call))
		d.records = nil
		if receipts, err = g.Admit(t.Context(), []event.Event{e}); err != nil || receipts[0].Kind != triggers.Completion {
			t.Errorf("%s, a completion: %+v, %v", c.Name, receipts, err)
			continue
		}
		completed, err := engine.DecodeCompletion(d.records[0].Payload)
		if err != nil || completed.Outcome.Value != want {
			t.Errorf("%s, a completion: %s, %v", c.Name, completed.Outcome.Value, err)
		}
	}
	if n < 200 {
		t.Errorf("%d events", n)
	}
}
