package kafka_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config/kafka"
)

// BenchmarkDecode is one record to its events.
func BenchmarkDecode(b *testing.B) {
	data := `{"orderId":"o-1234567","customer":{"name":"größe","tags":["a","b","c"]},"lines":[` + strings.Repeat(`{"sku":"x-1","n":12,"price":19.99},`, 6) + `{}]}`
	one := `{"specversion":"1.0","id":"1234-5678","source":"/shop/orders","type":"com.example.order.placed","subject":"o-1234567","time":"2026-11-26T22:57:05.123Z","datacontenttype":"application/json","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":` + data + `}`
	header := func(pairs ...string) (out []kafka.Header) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, kafka.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return out
	}
	for _, c := range []struct {
		name   string
		record kafka.Record
		events int
	}{
		{"binary", kafka.Record{Value: []byte(data), Headers: header("ce_specversion", "1.0", "ce_id", "1234-5678", "ce_source", "/shop/orders", "ce_type", "com.example.order.placed", "ce_subject", "o-1234567",
			"ce_time", "2026-11-26T22:57:05.123Z", "ce_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "content-type", "application/json")}, 1},
		{"structured", kafka.Record{Value: []byte(one), Headers: header("content-type", "application/cloudevents+json")}, 1},
		{"batch of 100", kafka.Record{Value: []byte("[" + strings.Repeat(one+",", 99) + one + "]"), Headers: header("content-type", "application/cloudevents-batch+json")}, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := source(b, `{"brokers":["127.0.0.1:1"],"topics":["t"],"group":"g"}`)
			b.ReportAllocs()
			b.SetBytes(int64(len(c.record.Value)))
			for b.Loop() {
				events, err := s.Decode("t", 0, &c.record)
				if err != nil || len(events) != c.events {
					b.Fatal(len(events), err)
				}
			}
		})
	}
}
