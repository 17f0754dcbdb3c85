package bench

import (
	"context"
	"testing"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
)

// What a cluster gives at best is of records that were really copied, each measure of its own.
func TestBareKafka(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	o := &Options{}
	b, err := o.bareKafka(context.Background(), KafkaShape{Cluster: kafka.Cluster{Brokers: c.Brokers()}, Replication: 1, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.client.Close()
	for i := range 2 {
		each, err := b.copied(context.Background())
		if err != nil || each <= 0 {
			t.Fatalf("copied: %v, %v", each, err)
		}
		total := int64(0)
		for p := range 2 {
			_, end, err := b.client.Range(context.Background(), b.out, p)
			if err != nil {
				t.Fatal(err)
			}
			total += end
		}
		if want := int64(limitCopied * (i + 1)); total != want {
			t.Errorf("after measure %d the topic out has %d records, want %d", i+1, total, want)
		}
	}
}
