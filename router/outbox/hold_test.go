package outbox

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
)

var one = journal.RunID{1}

func ofOne(inv *engine.Invocation) { inv.Run = one }

// TestPausedRunIsKept: what stands in the queue, what comes, and what has no answer lies aside, ages not, and is sent in order once the run goes on; other runs
// go on meanwhile, what is at work ends, what is stopped is forgotten.
func TestPausedRunIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 2, MaxAge: time.Hour}, func(_ *bench, n int, d *sinks.Delivery) {
			if n > 4 {
				ok(d)
			}
		})
		defer leave()
		var mine []*engine.Invocation
		var calls []uint32
		for range 5 {
			mine = append(mine, b.put(ofOne))
			calls = append(calls, mine[len(mine)-1].N)
		}
		unsent := func(want int, when string) {
			t.Helper()
			if n := b.Unsent("default", "t", one); n != want {
				t.Errorf("%s: %d calls are not sent; want %d", when, n, want)
			}
		}
		b.pump() // The first two are at work.
		unsent(3, "while two are at work")
		b.hold(b.owner, engine.Halt{Run: one, Paused: true, Calls: calls})
		mine = append(mine, b.put(ofOne))
		end := b.put(func(inv *engine.Invocation) { inv.Run, inv.Purpose = one, engine.Notify })
		other := b.put(nil)
		b.end(mine[3])
		b.end(mine[3])
		b.sent(0).Done(sinks.Again(0, away)) // The end of the run and the other run take the places.
		ok(b.sent(1))
		synctest.Wait()
		unsent(3, "of the paused run, of which one is over and another was sent before") // 2, 4 and 5.
		if b.count() != 4 || b.sent(2).ID() != other.ID() || b.sent(3).ID() != end.ID() {
			t.Fatalf("%d sends", b.count())
		}
		ok(b.sent(2))
		ok(b.sent(3))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		for _, i := range []int{0, 2, 4, 5} {
			if why, _, end := b.Explain(one, mine[i].N); why != "the run is paused, and it is not sent" || !end.IsZero() {
				t.Errorf("%d: %q, %s", i, why, end)
			}
		}
		if st := b.state(); b.count() != 4 || st.Queued != 0 || st.InFlight != 0 {
			t.Fatalf("%d sends, %+v", b.count(), st)
		}
		b.hold(b.owner, engine.Halt{Run: one})
		b.pump()
		synctest.Wait()
		for i, want := range []int{0, 2, 4, 5} {
			if got := b.sent(4 + i).ID(); got != mine[want].ID() {
				t.Errorf("%d: %s is sent; want %s", i, got, mine[want].ID())
			}
		}
		unsent(0, "at its end")
		if b.count() != 8 || len(b.Outbox.kept) != 0 || len(b.items) != 0 || b.lanes["f"].queue != 0 {
			t.Errorf("%d sends; %d runs are kept, %d items", b.count(), len(b.Outbox.kept), len(b.items))
		}
		for _, f := range b.take() {
			if f.Kind == journal.GaveUp {
				t.Error("something was given up for its age")
			}
		}
	})
}

// TestPauseIsOfATenure: one that is over leaves nothing, and a dead letter of a paused run is sent again all the same.
func TestPauseIsOfATenure(t *testing.T) {
	t.Parallel()
	b, leave := newBench(t, config.Function{}, func(_ *bench, _ int, d *sinks.Delivery) { ok(d) })
	b.hold(b.owner, engine.Halt{Run: one, Paused: true})
	inv := b.put(ofOne)
	letter := engine.LetterOf(&engine.Dead{Invocation: &engine.Invocation{Run: one, N: 77, Purpose: engine.Call, Function: "f", Path: "p"}})
	if err := b.Redrive(t.Context(), letter); err != nil || b.count() != 1 {
		t.Errorf("%v; %d sends", err, b.count())
	}
	leave()
	if len(b.Outbox.kept) != 0 || len(b.items) != 0 {
		t.Errorf("%d runs are kept, %d items", len(b.Outbox.kept), len(b.items))
	}
	next, end := enter(t)
	defer end()
	b.add(next, inv)
	b.pump()
	if b.count() != 2 {
		t.Errorf("%d sends", b.count())
	}
}

// TestCancelHasRoomOfItsOwn: a function whose places are all taken by calls that hang hears of a dropped one at once, as far as its rate goes; one that was never
// sent it does not hear of.
func TestCancelHasRoomOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 1, Rate: config.Rate{N: 1, Per: time.Minute}, Burst: 2, Cancel: true}, func(_ *bench, n int, d *sinks.Delivery) {
			if n > 1 {
				d.Done(sinks.Accept())
			}
		})
		defer leave()
		hangs := b.put(nil)
		queued := b.put(nil)
		former := b.put(func(inv *engine.Invocation) { inv.Created = inv.Created.Add(-time.Second) }) // A former owner may have sent it.
		cancel := func(call *engine.Invocation) {
			b.put(func(inv *engine.Invocation) { inv.Purpose, inv.Cause = engine.Cancel, call.ID() })
			b.pump()
		}
		b.pump()
		cancel(&engine.Invocation{Run: journal.RunID{9}, Path: "p", N: 1}) // Another run's, long accepted.
		if b.count() != 2 {
			t.Fatalf("%d sends", b.count())
		}
		cancel(queued)
		if got := b.kinds(); b.count() != 2 || len(got) != 2 || got[1] != journal.Accepted {
			t.Errorf("%d sends; %v", b.count(), got)
		}
		cancel(hangs)
		if b.count() != 2 {
			t.Errorf("%d sends beyond the rate", b.count())
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if b.count() != 3 || b.sent(2).ID() != hangs.ID()+"~cancel" {
			t.Errorf("%d sends", b.count())
		}
		cancel(former)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if b.count() != 4 || b.sent(3).ID() != former.ID()+"~cancel" {
			t.Errorf("%d sends; what a former owner may have sent is not told of", b.count())
		}
	})
}

// TestPausedRunStartsNothing: a run that a paused one is to start waits until that goes on; one that is dropped meanwhile is not started at all.
func TestPausedRunStartsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 2}, nil)
		defer leave()
		b.Intake.(*intake).start = func(*engine.Invocation) error { return nil }
		b.hold(b.owner, engine.Halt{Run: one, Paused: true})
		child := &engine.Invocation{Run: one, N: 7, Purpose: engine.Call, Type: engine.TypeSub, ToTrigger: "t", Starts: []byte("placed")}
		dropped := &engine.Invocation{Run: one, N: 8, Purpose: engine.Call, Type: engine.TypeSub, ToTrigger: "t"}
		end := &engine.Invocation{Run: one, N: 9, Purpose: engine.Notify, ToTrigger: "t"}
		for _, inv := range []*engine.Invocation{child, dropped, end} {
			b.add(b.owner, inv)
		}
		b.stop([]*engine.Invocation{dropped}, one, engine.Answer{})
		synctest.Wait()
		accepted := func() (ns []uint32) {
			for _, f := range b.take() {
				if x, err := engine.DecodeNumbers(f.Payload); err == nil && f.Kind == journal.Accepted {
					ns = append(ns, x.Numbers...)
				}
			}
			return ns
		}
		if got := accepted(); len(got) != 1 || got[0] != 9 {
			t.Errorf("while it is paused, %v are done", got)
		}
		b.hold(b.owner, engine.Halt{Run: one})
		synctest.Wait()
		if got := accepted(); len(got) != 1 || got[0] != 7 {
			t.Errorf("once it goes on, %v are done", got)
		}
	})
}

// TestSubrunOfNoTrigger: the step whose trigger the documents do not have fails once that has been missing for too long, and says what to do.
func TestSubrunOfNoTrigger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 2}, nil)
		defer leave()
		b.Intake.(*intake).start = func(*engine.Invocation) error { return fmt.Errorf("%w %q", triggers.ErrNoTrigger, "t") }
		b.add(b.owner, &engine.Invocation{Run: one, N: 7, Purpose: engine.Call, Type: engine.TypeSub, ToTrigger: "t", Starts: []byte("placed")})
		time.Sleep(missingAge - time.Second)
		synctest.Wait()
		if early := b.take(); len(early) > 0 {
			t.Errorf("given up too early: %v", early)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		all := b.take()
		if len(all) != 1 {
			t.Fatalf("%d records", len(all))
		}
		f, err := engine.DecodeGaveUp(all[0].Payload)
		if err != nil || f.N != 7 || f.Err.Type != "unknown_trigger" || !strings.Contains(f.Err.Message, "then: start this run again") {
			t.Errorf("%+v, %v", f, err)
		}
	})
}

// TestSubrunOfATriggerTakenAway: where the documents are known to be newer than the run, it need not wait for others.
func TestSubrunOfATriggerTakenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 2}, nil)
		defer leave()
		b.Intake.(*intake).start = func(*engine.Invocation) error { return fmt.Errorf("%w %q", triggers.ErrNoTrigger, "t") }
		b.Intake.(*intake).current = func(began time.Time) bool { return began.Unix() == 5 }
		for n, began := range []int64{4, 5} {
			b.add(b.owner, &engine.Invocation{Run: one, N: uint32(n), Purpose: engine.Call, Type: engine.TypeSub, ToTrigger: "t", Starts: []byte("placed"), Began: began * 1e9})
		}
		b.add(b.owner, &engine.Invocation{Run: one, N: 9, Purpose: engine.Notify, ToTrigger: "t", Began: 5e9})
		synctest.Wait()
		all := b.take()
		if len(all) != 1 {
			t.Fatalf("%d records", len(all))
		}
		f, err := engine.DecodeGaveUp(all[0].Payload)
		if err != nil || f.N != 1 || f.Err.Type != "unknown_trigger" || !strings.Contains(f.Err.Message, "loaded after this run began") {
			t.Errorf("%+v, %v", f, err)
		}
	})
}
