package admission

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
)

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
