package kafka

import (
	"errors"
	"testing"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/kafka"
)

// TestSpoiledOfABatch: what is set aside of a batch whose completion cannot be read, and is of no invocation, is its text as it came.
func TestSpoiledOfABatch(t *testing.T) {
	t.Parallel()
	const text = `{"specversion":"1.0","id":"1","source":"/f","type":"dev.onward.function.succeeded","causationid":"x","data":NaN}`
	r := kafka.Record{Headers: []kafka.Header{{Key: "content-type", Value: []byte(envelope.Batched)}}, Value: []byte("[" + text + "]")}
	events, bad, err := (&Source{s: &Settings{MaxEvent: 1 << 20}}).decode("t", 0, &r)
	if err != nil || len(bad) > 0 || len(events) != 1 || envelope.Spoiled(&events[0]) == nil {
		t.Fatalf("%v, %v, %v", events, bad, err)
	}
	if got := of(&events[0], &r); string(got.Value) != text || string(got.Headers[0].Value) != envelope.Structured {
		t.Errorf("%s %q", got.Headers[0].Value, got.Value)
	}
}

// TestWhatPanicsInAReadingEndsIt, and neither the other partitions nor the process; its fetch is over, too.
func TestWhatPanicsInAReadingEndsIt(t *testing.T) {
	t.Parallel()
	p := &reading{stream: &stream{cancel: func() {}, done: make(chan struct{})}}
	close(p.stream.done)
	var panicked *guard.Panicked
	if err := p.guarded(t.Context()); !errors.As(err, &panicked) || panicked.Where != "source" {
		t.Errorf("%v", err)
	}
	s := &stream{out: make(chan *kafka.Fetched), failed: make(chan error, 1), done: make(chan struct{})}
	p.start(t.Context(), 0, s)
	<-s.done
	if err := <-s.failed; !errors.As(err, &panicked) {
		t.Errorf("the fetch: %v", err)
	}
}
