package admission

import (
	"net/http"
	"testing"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// FuzzCompletion lets in what anybody may send as a completion. Only one whose cause carries the journal's tag completes anything, that very invocation,
// and what is journaled of it decodes to an outcome that the fold can keep; without the tag nothing is journaled but what a filter lets through.
func FuzzCompletion(f *testing.F) {
	for _, s := range []struct{ kind, content, cause, body string }{
		{"succeeded", "application/json", "", `{"a":1}`}, {"failed", "application/json", "", `{"type":"t","message":"m","class":"timeout","data":[1]}`},
		{"continue", "application/json", "", `{"at":7}`}, {"failed", "application/json", "", `"no object"`}, {"failed", "application/json", "", `{"type":7,"message":{}}`},
		{"succeeded", "image/png", "", "\x89PNG\xff"}, {"succeeded", "text/plain; charset=utf-16", "", "\xff\xfea"}, {"succeeded", "", "", ""},
		{"succeeded", "application/json", "00000000000000000000000000~a.1", "1"}, {"succeeded", "application/json", "x", "1"}, {"other", "application/json", "", "1"},
	} {
		f.Add(s.kind, s.content, s.cause, uint32(7), []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, kind, content, cause string, n uint32, body []byte) {
		g, d := open(t, document)
		inv := &engine.Invocation{Run: journal.RunID{1}, N: n, Path: "orders", Purpose: engine.Call, Trigger: "orders"}
		sealed := cause == ""
		if sealed {
			cause = g.Seal(inv.ID())
		}
		header := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/f"}, "Ce-Type": {"dev.onward.function." + kind}, "Ce-Causationid": {cause}}
		if content != "" {
			header.Set("Content-Type", content)
		}
		head, err := envelope.FromHTTP(header)
		if err != nil {
			return
		}
		events, _, err := head.Read(body, envelope.Limits{Event: MaxEventBytes, Batch: MaxEventBytes})
		if err != nil || len(events) != 1 {
			return
		}
		receipts, err := g.Admit(t.Context(), []event.Event{events[0]})
		if err != nil || len(receipts) != 1 {
			t.Fatalf("%v, %v", receipts, err)
		}
		if completes := kind == "succeeded" || kind == "failed" || kind == "continue"; sealed && completes && n > 0 && len(d.records) != 1 {
			t.Errorf("%d records of a %s completion", len(d.records), kind)
		}
		for _, rec := range d.records {
			if rec.Kind != journal.Completion || !sealed {
				t.Fatalf("a %s record is journaled, tag: %v", rec.Kind, sealed)
			}
			fact, err := engine.DecodeCompletion(rec.Payload)
			if err != nil || rec.Run != inv.Run || fact.N != n {
				t.Fatalf("invocation %d of %s, and was %d: %v", fact.N, rec.Run, n, err)
			}
			if _, err := lang.ParseValue([]byte(fact.Outcome.Value.JSON())); err != nil {
				t.Errorf("the outcome %.100q: %v", fact.Outcome.Value.JSON(), err)
			}
			if e := fact.Outcome.Err; e != nil && (e.Type == "" || !utf8.ValidString(e.Type+e.Message) || len(e.Type)+len(e.Message) > 64<<10) {
				t.Errorf("the error %.100q, %.100q", e.Type, e.Message)
			}
		}
	})
}
