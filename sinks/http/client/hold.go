package client

import (
	"context"
	"sync"
	"time"

	"github.com/onward-router/onward/sinks"
)

// A Hold has the calls that nobody may wait for any more, and whose runtime works on.
type Hold struct {
	Life context.Context // until Close

	die  context.CancelFunc
	held sync.WaitGroup
}

// NewHold makes one without calls.
func NewHold() *Hold {
	h := &Hold{}
	h.Life, h.die = context.WithCancel(context.Background())
	return h
}

// Go runs f, for which Close waits.
func (h *Hold) Go(f func()) { h.held.Go(f) }

// Close breaks all calls off, and waits for them.
func (h *Hold) Close() {
	h.die()
	h.held.Wait()
}

// busyMost is how long the room of a call is held that nobody waits for any more: no runtime works for longer (AWS's 15 minutes).
const busyMost = 15 * time.Minute

// Whole asks a runtime that works on when a call is broken off: the call is not, and its room is free once there is an answer, or none can come. ended is the
// result when d's context has ended before. A panic of call is the end of the delivery.
func (h *Hold) Whole(d *sinks.Delivery, call func(ctx context.Context) sinks.Result, ended func() sinks.Result) sinks.Result {
	ctx, cancel := context.WithTimeout(h.Life, busyMost)
	done, busy := make(chan sinks.Result, 1), make(chan struct{})
	h.held.Go(func() {
		defer close(busy)
		defer cancel()
		done <- sinks.Guarded(func() sinks.Result { return call(ctx) })
	})
	select {
	case r := <-done:
		return r
	case <-d.Context.Done():
		r := ended()
		r.Busy = busy
		return r
	}
}
