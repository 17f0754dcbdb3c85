package trigger

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

func TestLaws(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Behaviours: []sinktest.Behaviour{sinktest.Answer, sinktest.Busy, sinktest.Hang},
		New: func(t *testing.T, b sinktest.Behaviour, h sinks.Host) sinktest.End {
			var mu sync.Mutex
			var arrived []sinktest.Arrival
			h.Start = func(ctx context.Context, trigger string, e *event.Event) error {
				if trigger != "next" {
					t.Errorf("trigger %q", trigger)
				}
				mu.Lock()
				arrived = append(arrived, sinktest.Arrival{ID: e.ID(), Raw: e.String(), Attributes: sinktest.Attributes(e), Data: string(e.Data())})
				mu.Unlock()
				switch b {
				case sinktest.Busy:
					return errors.New("too many events in flight")
				case sinktest.Hang:
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			s, err := New("f", &Settings{Name: "next"}, h)
			if err != nil {
				t.Fatal(err)
			}
			return sinktest.End{Sink: s, Close: func() {}, Arrived: func() []sinktest.Arrival {
				mu.Lock()
				defer mu.Unlock()
				return append([]sinktest.Arrival(nil), arrived...)
			}}
		},
	})
}

// TestNeverStarted: an event of which no run will ever start is given up at once; all else is tried again.
func TestNeverStarted(t *testing.T) {
	t.Parallel()
	e := event.New()
	for name, want := range map[string]struct {
		err     error
		verdict sinks.Verdict
	}{
		"never": {&sinks.Error{Type: "bad_event", Message: "no key", Class: "function"}, sinks.Failed},
		"now":   {errors.New("too many runs"), sinks.Retry},
	} {
		s, err := New("f", &Settings{Name: "next"}, sinks.Host{Start: func(context.Context, string, *event.Event) error { return want.err }})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan sinks.Result, 1)
		s.Deliver(t.Context(), []*sinks.Delivery{{Context: t.Context(), Outgoing: envelope.Made(&e), Invoke: true, Done: func(r sinks.Result) { ended <- r }}})
		if r := <-ended; r.Verdict != want.verdict || want.verdict == sinks.Failed && r.Err.Type != "bad_event" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
