package outbox

import (
	"sync"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/sinks"
)

// TestPauseOfMany: a function or a trigger with thousands of queued calls is paused and goes on while others are dropped: nothing goes out
// in between, each that is wanted is sent once, and they go in their order.
func TestPauseOfMany(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{control.Function, control.Trigger} {
		var mu sync.Mutex
		var hanging *sinks.Delivery
		sent := make(map[string]int)
		b, leave := newBench(t, config.Function{Concurrency: 1}, func(_ *bench, n int, d *sinks.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if sent[d.ID()]++; n == 1 {
				hanging = d
				return
			}
			ok(d)
		})
		const n = 3000
		trigger := func(inv *engine.Invocation) { inv.Run, inv.Trigger = one, "t" }
		var all []*engine.Invocation
		for range n {
			all = append(all, b.put(trigger))
		}
		b.pump()
		paused := []control.Control{{Kind: kind, Name: map[string]string{control.Function: "f", control.Trigger: "t"}[kind], Paused: true}}
		var beside sync.WaitGroup
		beside.Go(func() {
			for i := range 200 {
				b.stop([]*engine.Invocation{all[n-1-i]}, all[0].Run, engine.Answer{})
			}
		})
		b.Govern(paused)
		beside.Wait()
		ok(hanging)
		if b.count() != 1 {
			t.Errorf("%s: %d were sent", kind, b.count())
		}
		if n, unsent := n-201, b.Unsent("default", "t", one); unsent != n {
			t.Errorf("%s: %d calls are not sent; want %d", kind, unsent, n)
		}
		b.Outbox.mu.Lock()
		if held := b.lanes["f"].held; held != n-201 || b.lanes["f"].queue != 0 {
			t.Errorf("%s: %d lie aside, %d are queued", kind, held, b.lanes["f"].queue)
		}
		freed := b.stopped[paused[0].Key()]
		b.Outbox.mu.Unlock()
		beside.Go(func() {
			for i := 200; i < 400; i++ {
				b.stop([]*engine.Invocation{all[n-1-i]}, all[0].Run, engine.Answer{})
			}
		})
		b.Govern(nil)
		beside.Wait()
		b.pump()
		if unsent := b.Unsent("default", "t", one); unsent != 0 {
			t.Errorf("%s: %d calls are not sent at the end", kind, unsent)
		}
		for i, inv := range all[:n-400] {
			if sent[inv.ID()] != 1 || b.sent(i).ID() != inv.ID() {
				t.Fatalf("%s: call %d was sent %d times, and %s in its place", kind, i, sent[inv.ID()], b.sent(i).ID())
			}
		}
		b.Outbox.mu.Lock()
		if len(b.items) != 0 || len(freed.unsent) != 0 || b.lanes["f"].held != 0 || len(b.stopped) != 0 {
			t.Errorf("%s: %d items are left, %d aside", kind, len(b.items), b.lanes["f"].held)
		}
		b.Outbox.mu.Unlock()
		leave()
	}
}
