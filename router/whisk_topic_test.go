package router_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestUserEventsOfATopic: OpenWhisk's topic of user events completes calls, as the recipe has it read. Records of others, metrics, copies and what is no user event at all
// lie between them, and hold nothing up.
func TestUserEventsOfATopic(t *testing.T) {
	t.Parallel()
	w, c := newWhisk(t), kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
	topic := c.Topic(t, 3)
	r := start(t, t.TempDir(), fmt.Sprintf(`
version: 1
functions:
  act: { openwhisk: { host: %q, action: act, userEvents: true, poll: 1h }, timeout: 5m, retry: { attempts: 1 } }
sources:
  whisk:
    accepts: [completions]
    kafka:
      brokers: [%q]
      topics: [%s]
      group: onward
      as:
        when: "${ body.eventType == 'Activation' && 'activationId' in body.body }"
        type: org.apache.openwhisk.activation
        source: "/openwhisk/${ body.namespace }"
        id: "${ body.body.activationId }"
        time: "${ string(timestamp(int(body.timestamp) / 1000)) }"
        ticket: "${ body.body.activationId }"
triggers:
  all: { flow: { map: { items: 20, do: { function: act, input: "${ {'n': index} }" } } } }
`, w.URL, c.Brokers()[0], topic))
	run, err := r.Start(t.Context(), "all", startEvent("1"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // Of now on nothing is asked for but by events.
		asked := 0
		w.each(func(a *act) { asked += min(a.looks, 1) })
		if asked < 20 {
			return fmt.Errorf("%d of 20 have been asked for", asked)
		}
		return nil
	})
	var records []*kgo.Record
	say := func(key, value string) {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)})
	}
	w.each(func(a *act) {
		a.ready = true
		say("", metricEvent)
		say("", "no user event")
		say("", userEvent(fmt.Sprintf("%032x", 1<<40+a.n), 0))
		say("guest", userEvent(a.id, 0))
		say("", userEvent(a.id, 0))
	})
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f, err := r.Wait(ctx, run)
	if err != nil || f.State != "succeeded" {
		t.Fatal(f, err)
	}
	w.each(func(a *act) {
		if a.starts != 1 {
			t.Errorf("%d: %d starts", a.n, a.starts)
		}
	})
}
