package outbox

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

func beats(every time.Duration) func(*engine.Invocation) {
	return func(inv *engine.Invocation) { inv.Heartbeat = every }
}

func silentFact(t *testing.T, facts []journal.Record) bool {
	t.Helper()
	if len(facts) == 0 || facts[len(facts)-1].Kind != journal.TimedOut {
		return false
	}
	f, err := engine.DecodeTimedOut(facts[len(facts)-1].Payload)
	return err == nil && f.Silent
}

// TestHeartbeatExtendsTheTry: of a call that is at work, and of one that was accepted; nothing is journaled of the beats, and neither age nor a fleeting silence
// ends the call. Once it is silent for too long, it is timed out, and what is at work is aborted.
func TestHeartbeatExtendsTheTry(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string]bool{"at work": false, "accepted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, leave := newBench(t, config.Function{MaxAge: time.Hour}, func(_ *bench, _ int, d *sinks.Delivery) {
					if accepted {
						d.Done(sinks.Accept())
						return
					}
					go func() {
						<-d.Context.Done()
						d.Done(sinks.Ended(d.Context, "no answer"))
					}()
				})
				defer leave()
				inv := b.put(beats(30 * time.Second))
				b.pump()
				for i := range 1000 { // 29,000 s: beyond its age.
					time.Sleep(29 * time.Second)
					if !b.Beat(&engine.Beat{Run: inv.Run, N: inv.N, Data: lang.Of(i)}) {
						t.Fatalf("beat %d is not taken", i)
					}
				}
				synctest.Wait()
				facts := b.take()
				if accepted && len(facts) == 1 && facts[0].Kind == journal.Accepted {
					facts = nil
				}
				last, progress := b.Progress(inv.Run, inv.N)
				if len(facts) != 0 || progress.JSON() != "999" || !last.Equal(time.Now()) {
					t.Errorf("%d facts; %s at %s", len(facts), progress, last)
				}
				time.Sleep(29 * time.Second)
				synctest.Wait()
				if len(b.take()) != 0 {
					t.Error("it is timed out early")
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if facts := b.take(); len(facts) != 1 || !silentFact(t, facts) || b.state().InFlight != 0 || !accepted && b.sent(0).Context.Err() == nil {
					t.Errorf("%+v", facts)
				}
				if b.Beat(&engine.Beat{Run: inv.Run, N: inv.N}) || len(b.items) != 0 {
					t.Error("a call that is over takes a beat")
				}
			})
		})
	}
}

// TestHeartbeatBoundsLessThanTheTimeout: the timeout ends a try whose heart beats, a deadline too; one without a heartbeat is shown, and has no clock.
func TestHeartbeatBoundsLessThanTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{MaxAge: time.Hour}, func(_ *bench, _ int, d *sinks.Delivery) { d.Done(sinks.Accept()) })
		defer leave()
		bounded := b.put(func(inv *engine.Invocation) { inv.Heartbeat, inv.Timeout = 30*time.Second, time.Minute })
		plain := b.put(nil)
		b.pump()
		synctest.Wait()
		b.take()
		for range 5 {
			time.Sleep(11 * time.Second)
			b.Beat(&engine.Beat{Run: bounded.Run, N: bounded.N})
		}
		if !b.Beat(&engine.Beat{Run: plain.Run, N: plain.N, Data: lang.Text(strings.Repeat("x", progressMost))}) {
			t.Error("a beat without a clock is not taken")
		}
		if last, progress := b.Progress(plain.Run, plain.N); last.IsZero() || !progress.IsNull() {
			t.Errorf("%s: %d bytes are kept", last, progress.Size())
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if facts := b.take(); len(facts) != 1 || facts[0].Kind != journal.TimedOut || silentFact(t, facts) {
			t.Errorf("%+v", facts)
		}
	})
}

// TestHeartbeatWithAClockThatStands, and with one that jumps: nothing is timed out while no time passes, however many beats come, and one timer is all that is
// set; a jump beyond the bound times out once.
func TestHeartbeatWithAClockThatStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{MaxAge: time.Hour}, func(_ *bench, _ int, d *sinks.Delivery) { d.Done(sinks.Accept()) })
		defer leave()
		inv := b.put(beats(time.Nanosecond))
		patient := b.put(beats(time.Hour))
		b.pump()
		timer := b.items[itemKey{patient.Run, patient.N}].pulse.timer
		for range 100_000 {
			if !b.Beat(&engine.Beat{Run: inv.Run, N: inv.N}) || !b.Beat(&engine.Beat{Run: patient.Run, N: patient.N}) {
				t.Fatal("a beat is not taken while no time passes")
			}
		}
		if facts := b.take(); len(facts) != 2 || b.items[itemKey{patient.Run, patient.N}].pulse.timer != timer {
			t.Errorf("%d facts", len(facts))
		}
		b.stop([]*engine.Invocation{inv}, inv.Run, engine.Answer{})
		// A timer that goes off early - its clock is not the one that is asked - finds that nothing has passed, and waits on.
		b.silent(b.items[itemKey{patient.Run, patient.N}])
		b.silent(b.items[itemKey{patient.Run, patient.N}])
		if facts := b.take(); len(facts) != 0 {
			t.Errorf("%+v", facts)
		}
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		if facts := b.take(); len(facts) != 1 || !silentFact(t, facts) {
			t.Errorf("%+v", facts)
		}
	})
}

// TestHeartbeatOfWhatIsNotAtWork: what waits to be sent, or to be sent again, is not silent; a successor waits as if a beat had just come.
func TestHeartbeatOfWhatIsNotAtWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 1, MaxAge: 10 * time.Hour}, func(b *bench, n int, d *sinks.Delivery) {
			if time.Since(b.begun) < time.Hour {
				d.Done(sinks.Again(0, away))
			}
		})
		defer leave()
		first := b.put(beats(10 * time.Second))
		for range 3 {
			b.put(beats(10 * time.Second))
		}
		b.pump()
		queued := b.put(beats(10 * time.Second)) // The function is down.
		b.pump()
		if b.Beat(&engine.Beat{Run: queued.Run, N: queued.N}) {
			t.Error("what was never sent takes a beat")
		}
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if !b.Beat(&engine.Beat{Run: first.Run, N: first.N}) {
			t.Error("what is to be sent again takes no beat")
		}
		for _, f := range b.take() {
			if f.Kind == journal.TimedOut {
				t.Errorf("what is not at work is timed out")
			}
		}
		taken := *first
		taken.N, taken.Before = 99, &engine.Before{Accepted: time.Now().Add(-24 * time.Hour)}
		b.add(b.owner, &taken)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if len(b.take()) != 0 {
			t.Error("a successor did not wait")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !silentFact(t, b.take()) {
			t.Error("a successor waits for ever")
		}
		b.leave(b.owner)
		for i := range b.count() {
			b.sent(i).Done(sinks.Complete([]byte("1")))
		}
	})
}
