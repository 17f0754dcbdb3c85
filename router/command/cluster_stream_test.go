package command

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A stream is the outside that is reached by topics: who writes events, a function, and who reads the results.
type stream struct {
	t      *testing.T
	world  *world
	client *kgo.Client
}

func newStream(t *testing.T, c *kafkatest.Cluster, w *world) *stream {
	for _, topic := range []string{"in", "work", "done", "out"} {
		c.CreateTopic(t, topic, 6)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ConsumeTopics("work", "out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{t: t, world: w, client: client}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read()
	}()
	t.Cleanup(func() {
		client.Close()
		<-done
	})
	return s
}

func headers(pairs ...string) (out []kgo.RecordHeader) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return out
}

// send writes an event to the topic in, and returns once the brokers have it.
func (s *stream) send(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.client.ProduceSync(ctx, &kgo.Record{
		Topic: "in", Key: []byte(id), Value: []byte("1"),
		Headers: headers("ce_specversion", "1.0", "ce_id", id, "ce_source", "/cluster", "ce_type", "stream", "content-type", "application/json"),
	}).FirstErr()
}

// read is the function behind the topic work, and the reader of the topic out.
func (s *stream) read() {
	for {
		fetched := s.client.PollFetches(context.Background())
		if fetched.IsClientClosed() {
			return
		}
		fetched.EachRecord(func(r *kgo.Record) {
			attributes := make(map[string]string)
			for _, h := range r.Headers {
				attributes[h.Key] = string(h.Value)
			}
			id := attributes["ce_id"]
			s.world.mu.Lock()
			run := s.world.heard(attributes["ce_correlationid"], id)
			if r.Topic == "out" {
				run.join(id, r.Value)
			}
			s.world.mu.Unlock()
			if r.Topic == "out" {
				return
			}
			completion := &kgo.Record{Topic: "done", Key: []byte(id), Value: r.Value, Headers: headers(
				"ce_specversion", "1.0", "ce_id", fmt.Sprintf("%s@%d", id, r.Offset), "ce_source", "/worker", "ce_type", "dev.onward.function.succeeded",
				"ce_causationid", id, "content-type", "application/json",
			)}
			s.client.Produce(context.Background(), completion, func(_ *kgo.Record, err error) {
				if err != nil && err != kgo.ErrClientClosed {
					s.t.Errorf("a completion is not written: %v", err)
				}
			})
		})
	}
}
