package outbox

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// TestATryIsAContext: however it ends, who waits for it hears of it once, and whoever comes later at once; contexts made of it end with it.
func TestATryIsAContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, c := range map[string]struct {
		due  time.Duration // 0: it has all the time
		end  func(x *try, leave context.CancelFunc)
		want error
		told bool // by itself; else only who looks finds out, as the outbox tells of an owner's end
	}{
		"its time":        {time.Minute, func(*try, context.CancelFunc) { time.Sleep(time.Minute) }, context.DeadlineExceeded, true},
		"by end":          {time.Minute, func(x *try, _ context.CancelFunc) { x.end(context.Canceled) }, context.Canceled, true},
		"without a time":  {0, func(x *try, _ context.CancelFunc) { x.end(context.Canceled) }, context.Canceled, true},
		"with its owner":  {time.Minute, func(_ *try, leave context.CancelFunc) { leave() }, context.Canceled, false},
		"twice, of which": {time.Minute, func(x *try, leave context.CancelFunc) { x.end(context.Canceled); leave(); time.Sleep(time.Hour) }, context.Canceled, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				owner, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
				defer leave()
				x, unwatched := &try{owner: owner}, &try{owner: owner}
				if c.due > 0 {
					x.due = time.Now().Add(c.due)
					unwatched.due = x.due
				}
				if due, has := x.Deadline(); has != (c.due > 0) || !due.Equal(x.due) || x.Value(key{}) != "v" || x.Err() != nil {
					t.Errorf("due %v %v, %v, %v", due, has, x.Value(key{}), x.Err())
				}
				child, cancel := context.WithCancel(x)
				defer cancel()
				early, cancelled := context.WithCancel(x)
				cancelled()
				var told, never, late atomic.Int32
				context.AfterFunc(x, func() { told.Add(1) })
				if stop := context.AfterFunc(x, func() { never.Add(1) }); !stop() || stop() {
					t.Error("what was taken off once is on, or was off before")
				}
				c.end(x, leave)
				c.end(unwatched, leave)
				synctest.Wait()
				if ended := child.Err() != nil; ended != c.told {
					t.Errorf("a context made of it: %v", child.Err())
				}
				if x.Err() != c.want || unwatched.Err() != c.want {
					t.Errorf("%v, unwatched %v", x.Err(), unwatched.Err())
				}
				<-x.Done()
				<-unwatched.Done()
				<-child.Done()
				if context.Cause(child) != c.want || early.Err() != context.Canceled {
					t.Errorf("contexts made of it: %v, %v", context.Cause(child), early.Err())
				}
				stop := context.AfterFunc(x, func() { late.Add(1) })
				synctest.Wait()
				if told.Load() != 1 || never.Load() != 0 || late.Load() != 1 || stop() {
					t.Errorf("told %d times, taken off %d, late %d", told.Load(), never.Load(), late.Load())
				}
			})
		})
	}
}

// TestTriesEndWithTheTenure: an owner's tries end with it, whoever waits for them, and no other's; so does one that is sent after.
func TestTriesEndWithTheTenure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, share := range []bool{false, true} { // By its context, or by Leave.
			var sent []*sinks.Delivery
			b, mine, leave := inside(t, func(d *sinks.Delivery) { sent = append(sent, d) })
			b.bound.functions.Load().byName["f"].Concurrency = 9
			other, leaveToo := enter(t)
			for i, s := range []*owner{mine, other, mine} {
				b.add(s, &engine.Invocation{Run: journal.RunID{1}, N: uint32(i + 1), Purpose: engine.Call, Function: "f", Path: "p"})
			}
			b.pump()
			var ended atomic.Int32
			for _, d := range sent {
				context.AfterFunc(d.Context, func() { ended.Add(1) })
			}
			if share {
				b.For(mine).Leave()
			} else {
				leave()
			}
			synctest.Wait()
			if ended.Load() != 2 || sent[1].Context.Err() != nil {
				t.Errorf("%d have ended of two; the other's: %v", ended.Load(), sent[1].Context.Err())
			}
			leave()
			b.add(mine, &engine.Invocation{Run: journal.RunID{1}, N: 9, Purpose: engine.Call, Function: "f", Path: "p"})
			b.pump()
			if err := sent[3].Context.Err(); err != context.Canceled {
				t.Errorf("sent after: %v", err)
			}
			leaveToo()
			for _, d := range sent {
				d.Done(sinks.Ended(d.Context, "no answer"))
			}
			synctest.Wait()
			if b.mu.Lock(); len(b.owners) != 0 {
				t.Errorf("%d owners are looked after", len(b.owners))
			}
			b.mu.Unlock()
		}
	})
}
