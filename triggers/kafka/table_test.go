package kafka_test

import (
	"testing"

	"github.com/onward-router/onward/config/envelope/envelopetest"
	"github.com/onward-router/onward/config/kafka"
)

// TestTable runs every case of the reader's table through a record: the same events, or a record that is set aside for the same reason.
func TestTable(t *testing.T) {
	t.Parallel()
	s := source(t, `{"brokers":["127.0.0.1:1"],"topics":["t"],"group":"g"}`)
	n := 0
	for _, c := range envelopetest.Cases() {
		if !c.At(envelopetest.Kafka) {
			continue
		}
		n++
		r := kafka.Record{Value: []byte(c.Body)}
		for _, f := range c.Fields() {
			r.Headers = append(r.Headers, kafka.Header(f))
		}
		events, err := s.Decode("t", 0, &r)
		if wrong := c.Judge(events, err); wrong != "" {
			t.Errorf("%s: %.600s", c.Name, wrong)
		}
	}
	if n < 300 {
		t.Errorf("%d cases", n)
	}
}
