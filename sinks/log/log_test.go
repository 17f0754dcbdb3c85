package log

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

func TestLaws(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T, _ sinktest.Behaviour, h sinks.Host) sinktest.End {
		var mu sync.Mutex
		var arrived []sinktest.Arrival
		h.Log = func(_ context.Context, msg string, args ...any) {
			a := sinktest.Arrival{Raw: fmt.Sprintln(msg, args), Attributes: make(map[string]string)}
			for i := 0; i < len(args); i += 2 {
				a.Attributes[args[i].(string)] = args[i+1].(string)
			}
			a.ID, a.Data = a.Attributes["id"], a.Attributes["data"]
			delete(a.Attributes, "data")
			mu.Lock()
			defer mu.Unlock()
			arrived = append(arrived, a)
		}
		s, err := New("f", &Settings{Message: "event"}, h)
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.End{Sink: s, Close: func() {}, Arrived: func() []sinktest.Arrival {
			mu.Lock()
			defer mu.Unlock()
			return append([]sinktest.Arrival(nil), arrived...)
		}}
	}})
}

func TestAnswersWithItsInput(t *testing.T) {
	t.Parallel()
	s, err := New("f", &Settings{Message: "seen"}, sinks.Host{Log: func(_ context.Context, msg string, _ ...any) {
		if msg != "seen" {
			t.Errorf("message %q", msg)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{`{"a":1}`, ""} {
		e := sinktest.Awkward("1")
		e.DataEncoded = []byte(data)
		var got sinks.Result
		s.Deliver(t.Context(), []*sinks.Delivery{{Context: t.Context(), Outgoing: envelope.Made(e), Invoke: true, Done: func(r sinks.Result) { got = r }}})
		if want := map[string]string{"": "null"}[data] + data; string(got.Completion.Data) != want {
			t.Errorf("%q; want %q", got.Completion.Data, want)
		}
	}
}
