package trigger

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
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
