package admission

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A sieve is a journal that keeps nothing.
type sieve struct{}

func (sieve) Append(context.Context, []journal.Record) error { return nil }

// BenchmarkCompletions is what a completion costs that comes as an event, in crowds, the journal aside.
func BenchmarkCompletions(b *testing.B) {
	g, _ := open(b, document)
	g.Journal = sieve{}
	events := make([]event.Event, 500)
	for i := range events {
		inv := &engine.Invocation{Run: journal.RunID{byte(i), 1}, N: uint32(i + 1), Path: fmt.Sprintf("orders[%d]", i), Purpose: engine.Call, Trigger: "orders"}
		e := event.New()
		e.SetID(fmt.Sprint("c-", i))
		e.SetSource("/functions/wait")
		e.SetType(envelope.Succeeded)
		e.SetTime(time.Now())
		e.SetExtension(extCausation, g.Seal(inv.ID()))
		_ = e.SetData(event.ApplicationJSON, map[string]any{"result": i, "worker": fmt.Sprintf("worker-%06d", i)}) // It marshals.
		events[i] = e
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		receipts, err := g.Admit(b.Context(), events)
		if err != nil || receipts[0].Err != nil {
			b.Fatal(err, receipts[0].Err)
		}
		n += len(events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}

// BenchmarkTranslate is what an event costs on its way into a record, the journal aside.
func BenchmarkTranslate(b *testing.B) {
	g, _ := open(b, document)
	e := event.New()
	e.SetID("1234-5678")
	e.SetSource("/shop/orders")
	e.SetType("com.example.order.placed")
	e.SetSubject("o-1234567")
	e.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	_ = e.SetData("application/json", map[string]any{"orderId": "o-1", "tags": []string{"a", "b", "größe"}, "n": 12.5})
	b.ReportAllocs()
	for b.Loop() {
		if err := check(&e); err != nil {
			b.Fatal(err)
		}
		g.completionOf(&e)
		filter.Of(&e)("type")
		if _, err := dataOf(&e); err != nil {
			b.Fatal(err)
		}
		envelope.Attributes(&e)
	}
}
