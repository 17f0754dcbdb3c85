package sinks

import (
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
)

// TestEach: a delivery that panics ends as one that cannot succeed, once, and those beside it are made.
func TestEach(t *testing.T) {
	t.Parallel()
	results := make(chan string, 10)
	var list []*Delivery
	for _, id := range []string{"a", "bad", "c"} {
		e := event.New()
		e.SetID(id)
		list = append(list, &Delivery{Outgoing: envelope.Made(&e), Done: func(r Result) {
			text := id + " " + string(r.Completion.Data)
			if r.Err != nil {
				text = id + " " + r.Err.Error()
			}
			results <- text
		}})
	}
	Each(list, func(d *Delivery) Result {
		if d.ID() == "bad" {
			panic("oh")
		}
		return Complete([]byte("1"))
	})
	got := map[string]bool{}
	for range list {
		text := <-results
		got[text[:strings.IndexAny(text+":", ":")]] = true
	}
	if !got["a 1"] || !got["c 1"] || !got["bad router_panicked"] || len(results) > 0 {
		t.Errorf("%v", got)
	}
}
