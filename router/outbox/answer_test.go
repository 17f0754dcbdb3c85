package outbox

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// TestRoomOfABusyFunction: what was given up and is still worked on keeps its room, and its outcome does not wait for that.
func TestRoomOfABusyFunction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		b, leave := newBench(t, config.Function{Concurrency: 1}, func(_ *bench, n int, d *sinks.Delivery) {
			if n > 1 {
				ok(d)
				return
			}
			go func() {
				<-d.Context.Done()
				r := sinks.Ended(d.Context, "no answer")
				r.Busy = busy
				d.Done(r)
			}()
		})
		defer leave()
		b.put(func(inv *engine.Invocation) { inv.Timeout = time.Second })
		b.put(nil)
		b.pump()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.kinds(); len(got) != 1 || got[0] != journal.TimedOut || b.count() != 1 {
			t.Fatalf("%v after %d sends", got, b.count())
		}
		close(busy)
		synctest.Wait()
		if got := b.kinds(); len(got) != 1 || got[0] != journal.Completion || b.count() != 2 {
			t.Errorf("%v after %d sends", got, b.count())
		}
	})
}

// pulled is a sink whose far end asks.
type pulled struct {
	sinkFunc
	asked int
}

func (p *pulled) Waiting() int { return p.asked }

// TestWhatIsNotAskedForWaits: a function whose runtimes poll gets as much as they ask for, whatever its concurrency, and never more than that.
func TestWhatIsNotAskedForWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 3}, nil)
		defer leave()
		fn := b.bound.get("f")
		far := &pulled{sinkFunc: fn.sink.(sinkFunc)}
		given := far.sinkFunc
		far.sinkFunc = func(d *sinks.Delivery) {
			far.asked--
			given(d)
		}
		fn.sink, fn.puller = far, far
		for range 6 {
			b.put(func(inv *engine.Invocation) { inv.Timeout = time.Second })
		}
		b.pump()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.kinds(); b.count() != 0 || len(got) != 0 {
			t.Fatalf("%d sends, %v, and nobody asks", b.count(), got)
		}
		first := b.anyItem()
		if why, _, _ := b.Explain(first.Run, first.N); why != "no runtime asks function f for more (0 have a call); start one with AWS_LAMBDA_RUNTIME_API" || b.Functions()[0].Error != why {
			t.Error(why)
		}
		ask := func(n int) {
			far.asked += n
			b.wake("f")
			synctest.Wait()
		}
		if ask(2); b.count() != 2 {
			t.Errorf("%d sends of 2 that are asked for", b.count())
		}
		if ask(4); b.count() != 3 {
			t.Errorf("%d sends beside a concurrency of 3", b.count())
		}
		ok(b.sent(0))
		synctest.Wait()
		if far.asked != 2 || b.count() != 4 {
			t.Errorf("%d sends, %d are asked for yet", b.count(), far.asked)
		}
		for i := 1; i < b.count(); i++ {
			ok(b.sent(i))
			synctest.Wait()
		}
		if ask(9); b.count() != 6 {
			t.Errorf("%d sends of 6", b.count())
		}
		b.Outbox.mu.Lock()
		defer b.Outbox.mu.Unlock()
		if l := b.lanes["f"]; l.handing != 0 {
			t.Errorf("%d are being handed over", l.handing)
		}
	})
}

// anyItem is an invocation that waits.
func (b *bench) anyItem() *engine.Invocation {
	b.Outbox.mu.Lock()
	defer b.Outbox.mu.Unlock()
	for _, it := range b.items {
		return it.inv
	}
	return nil
}

// TestReplyComesBeforeItsOutcome: the event that a function answers is in before the outcome is written, however long that takes, and with an owner that leaves
// there is no outcome.
func TestReplyComesBeforeItsOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 2}, func(_ *bench, _ int, d *sinks.Delivery) {
			r, e := sinks.Complete([]byte("1")), event.New()
			r.Completion.Reply = &e
			go d.Done(r)
		})
		var taken atomic.Int32
		var full atomic.Bool
		full.Store(true)
		b.Intake.(*intake).reply = func(*event.Event) error {
			if full.Load() {
				return errors.New("the disk is full")
			}
			taken.Add(1)
			return nil
		}
		b.put(nil)
		b.pump()
		time.Sleep(10 * replyPause)
		synctest.Wait()
		if got := b.kinds(); len(got) != 0 {
			t.Errorf("%v before the reply is in", got)
		}
		full.Store(false)
		time.Sleep(2 * replyPause)
		synctest.Wait()
		if got := b.kinds(); len(got) != 1 || got[0] != journal.Completion || taken.Load() != 1 {
			t.Errorf("%v, %d replies", got, taken.Load())
		}
		full.Store(true)
		b.put(nil)
		b.pump()
		time.Sleep(replyPause / 2)
		leave()
		time.Sleep(2 * replyPause)
		synctest.Wait()
		if got := b.kinds(); len(got) != 0 {
			t.Errorf("an owner that has left is told %v", got)
		}
	})
}
