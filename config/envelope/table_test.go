package envelope_test

import (
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/envelope/envelopetest"
)

var limits = envelope.Limits{Event: 1 << 20, Batch: 16 << 20}

// read makes the events of a case as a door does that has nobody who could send a batch again without its bad ones, or has.
func read(c *envelopetest.Case, door envelopetest.Door) (events []event.Event, err error) {
	var head *envelope.Head
	if door == envelopetest.Kafka {
		head, err = envelope.FromRecord(c.Fields())
	} else {
		head, err = envelope.FromHTTP(c.Header())
	}
	if err != nil {
		return nil, err
	}
	if head == nil {
		return nil, &envelope.Refusal{Reason: envelope.NoEvent, What: "ce-specversion is missing; content type is no media type; specversion is missing"}
	}
	events, bad, err := head.Read([]byte(c.Body), limits)
	if err == nil && len(bad) > 0 && door == envelopetest.HTTP {
		return nil, &envelope.Refusal{Reason: envelope.Invalid, What: "event 1: " + bad[0].Err.Error()}
	}
	return events, err
}

// TestTable: the cases, and how many there are. The doors' own tests run it through each.
func TestTable(t *testing.T) {
	t.Parallel()
	names, held := make(map[string]int), 0
	for _, c := range envelopetest.Cases() {
		names[c.Name]++
		for door, word := range map[envelopetest.Door]string{envelopetest.HTTP: "HTTP", envelopetest.Kafka: "Kafka"} {
			if !c.At(door) {
				continue
			}
			held++
			if wrong := c.Judge(read(&c, door)); wrong != "" {
				t.Errorf("%s, %s: %.600s", word, c.Name, wrong)
			}
		}
	}
	if len(names) < 300 || held < 500 {
		t.Errorf("%d cases, %d times", len(names), held)
	}
	for name, n := range names {
		if n > 2 {
			t.Errorf("%d cases are named %q", n, name)
		}
	}
}

// TestAnswers: the same bytes as a function's answer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	n := 0
	for _, c := range envelopetest.Cases() {
		if !c.At(envelopetest.Answer) {
			continue
		}
		n++
		want, reason := c.Answered()
		a, err := envelope.FromAnswer(c.Header(), []byte(c.Body), 16<<20)
		switch {
		case reason != "" && (err == nil || !strings.Contains(err.Error(), reason) && !strings.Contains(err.Error(), "it is not JSON")):
			t.Errorf("%s: %.200s, %v; want a refusal with %q", c.Name, a.Value, err, reason)
		case reason == "" && (err != nil || a.Value.JSON() != want):
			t.Errorf("%s: %.300s, %v; want %.300s", c.Name, a.Value, err, want)
		}
	}
	if n < 250 {
		t.Errorf("%d cases", n)
	}
}
