package outbox

import (
	"errors"
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
		taken, refuse := 0, errors.New("the disk is full")
		b.Intake.(*intake).reply = func(*event.Event) error {
			if refuse == nil {
				taken++
			}
			return refuse
		}
		b.put(nil)
		b.pump()
		time.Sleep(10 * replyPause)
		synctest.Wait()
		if got := b.kinds(); len(got) != 0 {
			t.Errorf("%v before the reply is in", got)
		}
		refuse = nil
		time.Sleep(2 * replyPause)
		synctest.Wait()
		if got := b.kinds(); len(got) != 1 || got[0] != journal.Completion || taken != 1 {
			t.Errorf("%v, %d replies", got, taken)
		}
		refuse = errors.New("the disk is full")
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
