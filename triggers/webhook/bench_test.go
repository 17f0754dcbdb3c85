package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
)

// BenchmarkRead is one request from its headers and body to the events that are handed over, without a connection.
func BenchmarkRead(b *testing.B) {
	data := `{"orderId":"o-1234567","customer":{"name":"größe","tags":["a","b","c"]},"lines":[` + strings.Repeat(`{"sku":"x-1","n":12,"price":19.99},`, 6) + `{}]}`
	one := `{"specversion":"1.0","id":"1234-5678","source":"/shop/orders","type":"com.example.order.placed","subject":"o-1234567","time":"2026-11-26T22:57:05.123Z","datacontenttype":"application/json","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":` + data + `}`
	binary := map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "1234-5678", "Ce-Source": "/shop/orders", "Ce-Type": "com.example.order.placed", "Ce-Subject": "o-1234567", "Ce-Time": "2026-11-26T22:57:05.123Z",
		"Ce-Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Content-Type": "application/json", "User-Agent": "bench", "Accept-Encoding": "gzip",
	}
	for _, c := range []struct {
		name   string
		header map[string]string
		body   string
		events int
	}{
		{"binary", binary, data, 1},
		{"structured", map[string]string{"Content-Type": "application/cloudevents+json"}, one, 1},
		{"batch of 100", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[" + strings.Repeat(one+",", 99) + one + "]", 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			source, err := New("inbox", settings())
			if err != nil {
				b.Fatal(err)
			}
			got := 0
			_, h := source.(*Webhook).Handler(func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
				got += len(events)
				return nil, triggers.ErrBusy // What is told to the sender is not measured.
			})
			header := make(http.Header)
			for k, v := range c.header {
				header.Set(k, v)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				r := httptest.NewRequest("POST", "/events", strings.NewReader(c.body))
				r.Header = header
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			if got != c.events*b.N {
				b.Fatalf("%d events in %d requests", got, b.N)
			}
		})
	}
}
