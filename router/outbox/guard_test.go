package outbox

import (
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// TestASinkThatPanics ends its delivery, once: before it has ended it, or after.
func TestASinkThatPanics(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sink sinkFunc
		want string
	}{
		"before": {func(*sinks.Delivery) { panic("oh") }, "router_panicked"},
		"after":  {func(d *sinks.Delivery) { d.Done(sinks.Complete([]byte("1"))); panic("oh") }, ""},
		"twice":  {func(d *sinks.Delivery) { d.Done(sinks.Complete([]byte("1"))); d.Done(sinks.Accept()) }, ""},
	} {
		o, w, leave := inside(t, c.sink)
		o.add(w, &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: engine.Call, Function: "f", Path: "p"})
		o.pump()
		facts := w.take()
		if len(facts) != 1 || facts[0].Kind != journal.Completion {
			t.Fatalf("%s: %+v", name, facts)
		}
		f, err := engine.DecodeCompletion(facts[0].Payload)
		if err != nil || c.want == "" && f.Outcome.Verdict != lang.Succeeded || c.want != "" && (f.Outcome.Err == nil || f.Outcome.Err.Type != c.want) {
			t.Errorf("%s: %+v, %v", name, f.Outcome, err)
		}
		if l := o.lanes["f"]; l.flying != 0 {
			t.Errorf("%s: %d in flight", name, l.flying)
		}
		leave()
		o.Wait()
	}
}
