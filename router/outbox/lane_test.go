package outbox

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// A bench is an outbox with one function, whose far end a test plays.
type bench struct {
	*Outbox
	*owner
	log     logtest.Log
	playing sync.Mutex
	sends   []*sinks.Delivery
	times   []time.Duration // since the beginning
	begun   time.Time
	n       uint32
}

// newBench makes one; behave is called for each delivery, with its number from 1, and may end it.
func newBench(t *testing.T, fn config.Function, behave func(b *bench, n int, d *sinks.Delivery)) (*bench, func()) {
	t.Helper()
	b := &bench{begun: time.Now()}
	b.Outbox = New(Options{Intake: new(intake), MaxValue: 16 << 20, Log: b.log.Logger()})
	if fn.Concurrency == 0 {
		fn.Concurrency = 64
	}
	fn.Name, fn.Sink = "f", plugin.Component{Name: "far"}
	sink := sinkFunc(func(d *sinks.Delivery) {
		b.playing.Lock()
		b.sends = append(b.sends, d)
		b.times = append(b.times, time.Since(b.begun))
		n := len(b.sends)
		b.playing.Unlock()
		if behave != nil {
			behave(b, n, d)
		}
	})
	b.bound.functions.Store(&functions{byName: map[string]*function{"f": {Function: &fn, sink: sink}}})
	var leave context.CancelFunc
	b.owner, leave = enter(t)
	return b, func() {
		b.leave(b.owner)
		leave()
	}
}

// put adds an invocation of a run.
func (b *bench) put(change func(*engine.Invocation)) *engine.Invocation {
	b.n++
	inv := &engine.Invocation{N: b.n, Purpose: engine.Call, Function: "f", Path: "p", Tenant: "default", Trigger: "t", Created: b.owner.Now()}
	binary.BigEndian.PutUint32(inv.Run[:], b.n)
	if change != nil {
		change(inv)
	}
	b.add(b.owner, inv)
	return inv
}

// sent returns a delivery, count how many there are.
func (b *bench) sent(i int) *sinks.Delivery {
	b.playing.Lock()
	defer b.playing.Unlock()
	return b.sends[i]
}

func (b *bench) count() int {
	b.playing.Lock()
	defer b.playing.Unlock()
	return len(b.sends)
}

// between counts the sends of a stretch of time.
func (b *bench) between(from, to time.Duration) (n int) {
	b.playing.Lock()
	defer b.playing.Unlock()
	for _, at := range b.times {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

func (b *bench) kinds() (out []journal.Kind) {
	for _, f := range b.take() {
		out = append(out, f.Kind)
	}
	return out
}

func (b *bench) state() control.FunctionStatus { return b.Functions()[0] }

var away = &sinks.Error{Type: "http_503", Message: "status 503: nobody is here", Class: "platform"}

func ok(d *sinks.Delivery) { d.Done(sinks.Complete([]byte("1"))) }

// TestCallsAreCounted: of a function people are told how many calls have ended since the router began, how many of them have failed, and when the last did.
func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{}, func(b *bench, n int, d *sinks.Delivery) {
			switch n % 4 {
			case 0:
				d.Done(sinks.CompleteError(&sinks.Error{Type: "http_500", Message: "status 500", Class: "function"}))
			case 1:
				d.Done(sinks.Fail(away))
			case 2:
				context.AfterFunc(d.Context, func() { d.Done(sinks.Ended(d.Context, "no answer")) })
			default:
				ok(d)
			}
		})
		defer leave()
		for n := 1; n <= 43; n++ {
			b.put(func(inv *engine.Invocation) {
				if inv.Timeout = time.Minute; n == 41 || n == 43 { // Events of destinations count, too: one is given up, one is taken.
					inv.Purpose, inv.Timeout = engine.Notify, 0
				}
			})
		}
		b.pump()
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := b.state(); st.Ended != 43 || st.Failed != 32 || !st.FailedAt.Equal(b.begun.Add(time.Minute)) {
			t.Errorf("%d have ended, %d have failed, the last at %s; want 43, 32, and a minute after %s", st.Ended, st.Failed, st.FailedAt, b.begun)
		}
	})
}

// TestFunctionThatIsDownGetsAHandful: ten thousand wait, it refuses at once, and is told so once a while; when it is back all are done.
func TestFunctionThatIsDownGetsAHandful(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, dead = 10_000, 5 * time.Minute
		b, leave := newBench(t, config.Function{MaxAge: 6 * time.Hour}, func(b *bench, _ int, d *sinks.Delivery) {
			if time.Since(b.begun) < dead {
				d.Done(sinks.Again(0, away))
				return
			}
			ok(d)
		})
		defer leave()
		for range n {
			b.put(nil)
		}
		b.pump()
		time.Sleep(dead)
		synctest.Wait()
		if first := b.between(0, time.Second); first > 64+5 {
			t.Errorf("%d sends in the first second", first)
		}
		for at := time.Second; at < dead; at += time.Second {
			if sends := b.between(at, at+time.Second); sends > 3 {
				t.Errorf("%d sends in the second after %s", sends, at)
			}
		}
		if st := b.state(); st.State != "down" || st.Error != away.Message || st.Queued+64 < n {
			t.Errorf("%+v", st)
		}
		if log := b.log.String(); strings.Count(log, "a function is down") != 1 || strings.Count(log, "\n") != 1 {
			t.Errorf("%s", log)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if facts := b.take(); len(facts) != n || b.state().State != "up" || strings.Count(b.log.String(), "a function is back") != 1 {
			t.Errorf("%d outcomes, %+v\n%s", len(facts), b.state(), b.log.String())
		}
	})
}

// TestRetryAfterHoldsTheWholeLane: one asks for a pause, and nothing is sent before it is over; then one, and only if that is taken the rest. What is
// asked for is bounded.
func TestRetryAfterHoldsTheWholeLane(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ asked, want time.Duration }{
		"a minute": {time.Minute, time.Minute}, "a fortnight": {14 * 24 * time.Hour, askedMost}, "for ever": {1<<63 - 1, askedMost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, leave := newBench(t, config.Function{Concurrency: 8}, func(b *bench, n int, d *sinks.Delivery) {
					if n <= 9 {
						d.Done(sinks.Again(c.asked, &sinks.Error{Type: "http_429", Message: "status 429", Class: "throttle"}))
						return
					}
					ok(d)
				})
				defer leave()
				for range 1000 {
					b.put(nil)
				}
				b.pump()
				time.Sleep(c.want - time.Second)
				synctest.Wait()
				if sends := b.count(); sends > 8 || b.state().State != "throttled" {
					t.Errorf("%d sends before the pause was over; %+v", sends, b.state())
				}
				before := b.count()
				time.Sleep(time.Minute / 2)
				synctest.Wait()
				if sends := b.count() - before; sends != 9-before && sends != 1 {
					t.Errorf("%d sends once it was over", sends)
				}
				time.Sleep(2 * c.want * 9)
				synctest.Wait()
				if facts := b.take(); len(facts) != 1000 || strings.Count(b.log.String(), "asks for less") != 1 {
					t.Errorf("%d outcomes\n%s", len(facts), b.log.String())
				}
			})
		})
	}
}

// TestPeopleEndAPause that a function has asked for: it says until when it is, and by which command it ends; then one goes, and only if that is taken the rest.
func TestPeopleEndAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 8}, func(b *bench, n int, d *sinks.Delivery) {
			if n <= 2 {
				d.Done(sinks.Again(time.Hour, &sinks.Error{Type: "http_429", Message: "status 429", Class: "throttle"}))
				return
			}
			ok(d)
		})
		defer leave()
		b.put(nil)
		b.pump()
		time.Sleep(time.Minute)
		inv := b.put(nil)
		until := b.begun.Add(time.Hour).UTC().Format(time.RFC3339)
		if why, _, _ := b.Explain(inv.Run, inv.N); !strings.HasSuffix(why, "the next one goes in 59m0s, at "+until+"; onward functions resume f sends it at once") {
			t.Errorf("%q", why)
		}
		ask := func(at time.Time) int {
			b.Govern([]control.Control{{Kind: control.Function, Name: "f", Asked: at}})
			synctest.Wait()
			return b.count()
		}
		if n := ask(b.begun.Add(-time.Hour)); n != 1 {
			t.Errorf("%d sends: that was wanted before", n)
		}
		first := time.Now()
		if n := ask(first); n != 2 || b.state().State != "throttled" { // It is refused again.
			t.Errorf("%d sends, %+v", n, b.state())
		}
		if n := ask(first); n != 2 {
			t.Errorf("%d sends: once is enough", n)
		}
		time.Sleep(time.Minute)
		if n := ask(time.Now()); n != 4 || len(b.take()) != 2 || b.state().State != "up" {
			t.Errorf("%d sends, %+v", n, b.state())
		}
	})
}

// TestOneThatIsRefusedHoldsNobodyElse: a function that cannot take one invocation is not down.
func TestOneThatIsRefusedHoldsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var poison *engine.Invocation
		b, leave := newBench(t, config.Function{Concurrency: 4, MaxAge: time.Hour}, func(_ *bench, _ int, d *sinks.Delivery) {
			if d.ID() == poison.ID() {
				d.Done(sinks.Again(0, away))
				return
			}
			ok(d)
		})
		defer leave()
		poison = b.put(nil)
		for range 1000 {
			b.put(nil)
			b.pump()
			time.Sleep(40 * time.Millisecond)
		}
		synctest.Wait()
		if facts := b.take(); len(facts) != 1000 || b.log.String() != "" {
			t.Errorf("%d outcomes\n%s", len(facts), b.log.String())
		}
	})
}

// TestProbeThatSaysNothing: one that is stopped makes room for the next at once, one that hangs for long does not keep the others from trying, and its
// late answer counts.
func TestProbeThatSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 3}, func(_ *bench, n int, d *sinks.Delivery) {
			if n <= 5 { // Three, and the two that had their place by then.
				d.Done(sinks.Again(0, away))
			}
		})
		defer leave()
		var all []*engine.Invocation
		for range 20 {
			all = append(all, b.put(nil))
		}
		b.pump()
		time.Sleep(time.Second)
		synctest.Wait()
		if b.count() != 6 {
			t.Fatalf("%d sends", b.count())
		}
		stopped := slices.IndexFunc(all, func(inv *engine.Invocation) bool { return inv.ID() == b.sent(5).ID() })
		b.end(all[stopped])
		b.sent(5).Done(sinks.Ended(b.sent(5).Context, "stopped"))
		synctest.Wait()
		if b.count() != 7 {
			t.Fatalf("%d sends after the probe was stopped", b.count())
		}
		time.Sleep(probePatience - time.Second)
		if b.count() != 7 {
			t.Errorf("%d sends while the probe is young", b.count())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.count() != 8 || b.state().State != "down" {
			t.Errorf("%d sends, %+v", b.count(), b.state())
		}
		ok(b.sent(6))
		synctest.Wait()
		if b.count() != 10 || b.state().State != "up" {
			t.Errorf("%d sends, %+v", b.count(), b.state())
		}
		for i := 7; i < b.count(); i++ {
			ok(b.sent(i))
		}
		synctest.Wait()
	})
}

// TestFunctionThatHangsIsHeld: when as many tries as it may have at a time got no answer, one at a time is enough.
func TestFunctionThatHangsIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(_ *bench, _ int, d *sinks.Delivery) {
			go func() {
				<-d.Context.Done()
				d.Done(sinks.Ended(d.Context, "no answer"))
			}()
		}
		b, leave := newBench(t, config.Function{Concurrency: 10}, hang)
		defer leave()
		for range 1000 {
			b.put(func(inv *engine.Invocation) { inv.Timeout = 20 * time.Second })
		}
		b.pump()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if lost := len(b.take()); lost > 10+9+30 || b.state().State != "down" {
			t.Errorf("%d tries were used up, %+v", lost, b.state())
		}
	})
}

// TestNothingIsToldTwiceInHalfAMinute: a function goes up and down all the time. Who is told that it is down hears when it is back.
func TestNothingIsToldTwiceInHalfAMinute(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLane("f", &function{Function: &config.Function{Concurrency: 1}})
	last := make(map[condition]time.Time)
	for i := range 20_000 {
		now = now.Add(137 * time.Millisecond)
		it := &item{probe: true}
		if i%7 < 2 {
			l.refused(it, sinks.Again(0, &sinks.Error{Type: "http_429", Class: "throttle"}), now)
		} else if i%7 < 4 {
			l.refused(it, sinks.Again(0, away), now)
		} else {
			l.answered(it, now)
		}
		if yes, _ := l.tell(now); !yes {
			continue
		}
		if at, told := last[l.is]; told && now.Sub(at) < tellPause {
			t.Fatalf("%s was told %s before", l.is, now.Sub(at))
		}
		last[l.is] = now
	}
	l.refused(&item{probe: true}, sinks.Again(time.Second, away), now)
	l.tell(now.Add(tellPause))
	l.answered(&item{probe: true}, now.Add(tellPause))
	yes, later := l.tell(now.Add(tellPause))
	if !yes {
		yes, _ = l.tell(now.Add(tellPause + later))
	}
	if len(last) != 3 || !yes || l.told != up {
		t.Errorf("told %v; the last is %s", last, l.told)
	}
}

// TestTurnsGoTenantTriggerRun: a run of tenant b waits for one of tenant a, however many those are; and so it is with triggers and runs.
func TestTurnsGoTenantTriggerRun(t *testing.T) {
	t.Parallel()
	b, leave := newBench(t, config.Function{Concurrency: 1}, nil)
	defer leave()
	add := func(tenant, trigger string, run byte, n int) {
		for range n {
			b.put(func(inv *engine.Invocation) {
				inv.Tenant, inv.Trigger, inv.Run = tenant, trigger, journal.RunID{run, byte(b.n >> 8), byte(b.n)}
			})
		}
	}
	one := func(tenant, trigger string, run byte, n int) {
		for range n {
			b.put(func(inv *engine.Invocation) { inv.Tenant, inv.Trigger, inv.Run = tenant, trigger, journal.RunID{run} })
		}
	}
	add("a", "many", 1, 1600) // Runs of one step each.
	one("a", "wide", 2, 100)
	one("b", "x", 3, 3)
	one("b", "y", 4, 3)
	b.pump()
	var order []byte
	for range 25 {
		it := b.sent(b.count() - 1)
		run, _, _, valid := engine.ParseInvocationID(it.ID())
		if !valid {
			t.Fatal(it.ID())
		}
		order = append(order, run[0])
		ok(it)
	}
	if want := []byte{1, 3, 2, 4, 1, 3, 2, 4, 1, 3, 2, 4, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2}; !slices.Equal(order[1:], want) {
		t.Errorf("%v; want %v", order, want)
	}
}

// TestWhatIsStoppedInTheQueueIsForgotten, also while the function is held.
func TestWhatIsStoppedInTheQueueIsForgotten(t *testing.T) {
	t.Parallel()
	b, leave := newBench(t, config.Function{Concurrency: 1}, nil)
	defer leave()
	var all []*engine.Invocation
	for range 10_000 {
		all = append(all, b.put(nil))
	}
	for _, inv := range all[1:9000] {
		b.end(inv)
	}
	l := b.lanes["f"]
	if l.queue != 1000 || l.dead > 1000 {
		t.Errorf("%d wait, %d that are not wanted are kept", l.queue, l.dead)
	}
	b.pump()
	for i := 0; i < b.count(); i++ {
		ok(b.sent(i))
	}
	if b.count() != 1001 || l.queue != 0 || l.dead != 0 || !l.waiting.empty() {
		t.Errorf("%d sends; %d wait, %d dead", b.count(), l.queue, l.dead)
	}
}

// TestAgeCountsFromTheFirstSending: what waits in our queue is not late, what is at work is not cut, and what has no answer is given up.
func TestAgeCountsFromTheFirstSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var after time.Duration
		b, leave := newBench(t, config.Function{Concurrency: 1, MaxAge: time.Hour}, func(_ *bench, _ int, d *sinks.Delivery) {
			go func() {
				select {
				case <-time.After(after):
					ok(d)
				case <-d.Context.Done():
					d.Done(sinks.Ended(d.Context, "no answer"))
				}
			}()
		})
		defer leave()
		after = 3 * time.Hour // Each takes longer than it may go without an answer, and has the time for it.
		for range 4 {
			b.put(func(inv *engine.Invocation) { inv.Timeout = 4 * time.Hour })
		}
		b.pump()
		time.Sleep(13 * time.Hour)
		synctest.Wait()
		if got := b.kinds(); !slices.Equal(got, slices.Repeat([]journal.Kind{journal.Completion}, 4)) {
			t.Errorf("%v", got)
		}
		b.put(nil) // Without a timeout, it is its age that bounds it.
		b.pump()
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if got := b.take(); len(got) != 1 || got[0].Kind != journal.GaveUp {
			t.Errorf("%v", got)
		}
	})
}

func reasonOf(t *testing.T, facts []journal.Record) *lang.Error {
	t.Helper()
	if len(facts) != 1 || facts[0].Kind != journal.GaveUp {
		t.Fatalf("%+v", facts)
	}
	f, err := engine.DecodeGaveUp(facts[0].Payload)
	if err != nil {
		t.Fatal(err)
	}
	return f.Err
}

// TestNeverSentAgain: a zero that a document says is a zero.
func TestNeverSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{MaxAge: time.Hour, Resends: new(0)}, func(_ *bench, _ int, d *sinks.Delivery) { d.Done(sinks.Again(0, away)) })
		defer leave()
		b.put(nil)
		b.pump()
		synctest.Wait()
		if e := reasonOf(t, b.take()); !strings.Contains(e.Error(), "not to be sent again (resends: 0); one try: ") {
			t.Error(e)
		}
	})
}

// TestGivenUpWithTheReason: by age, by the number of sends, for want of a completion; and an operator may change his mind meanwhile.
func TestGivenUpWithTheReason(t *testing.T) {
	t.Parallel()
	refuse := func(_ *bench, _ int, d *sinks.Delivery) { d.Done(sinks.Again(0, away)) }
	for name, c := range map[string]struct {
		fn     config.Function
		behave func(*bench, int, *sinks.Delivery)
		at     time.Duration
		words  []string
		sends  int
	}{
		"age":     {config.Function{MaxAge: time.Hour}, refuse, time.Hour, []string{"undelivered", "within 1h0m0s of its first sending (maxAge)", "status 503"}, 0},
		"resends": {config.Function{MaxAge: time.Hour, Resends: new(4)}, refuse, 10 * time.Second, []string{"undelivered", "not to be sent again more often (resends: 4); 5 tries, the last: "}, 5},
		"accepted": {config.Function{MaxAge: time.Hour}, func(_ *bench, _ int, d *sinks.Delivery) { d.Done(sinks.Accept()) }, time.Hour,
			[]string{"unanswered", "no completion came within 1h0m0s (maxAge)"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, leave := newBench(t, c.fn, c.behave)
				defer leave()
				b.put(nil)
				b.pump()
				time.Sleep(c.at - 9*time.Second)
				if early := b.kinds(); slices.Contains(early, journal.GaveUp) {
					t.Errorf("given up early: %v", early)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				e := reasonOf(t, b.take())
				for _, w := range c.words {
					if !strings.Contains(e.Error(), w) {
						t.Errorf("%q lacks %q", e, w)
					}
				}
				if e.Type == "undelivered" && e.Data.JSON() != `{"last":"http_503"}` {
					t.Errorf("data %s", e.Data.JSON())
				}
				if c.sends > 0 && b.count() != c.sends {
					t.Errorf("%d sends", b.count())
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		fn := config.Function{MaxAge: time.Hour}
		b, leave := newBench(t, fn, refuse)
		defer leave()
		b.put(nil)
		b.pump()
		time.Sleep(30 * time.Minute)
		patient, had := fn, b.bound.get("f")
		patient.Concurrency, patient.MaxAge, patient.Sink = 1, 3*time.Hour, had.Sink
		b.bound.functions.Store(&functions{byName: map[string]*function{"f": {Function: &patient, sink: had.sink}}})
		b.rebind()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if facts := b.take(); len(facts) != 0 {
			t.Errorf("%+v", facts)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		reasonOf(t, b.take())
	})
}

// TestRefusedEventIsTheFoldsToDecide: a definite failure of a destination is a record with its reason, at once.
func TestRefusedEventIsTheFoldsToDecide(t *testing.T) {
	t.Parallel()
	b, leave := newBench(t, config.Function{}, func(_ *bench, _ int, d *sinks.Delivery) {
		d.Done(sinks.CompleteError(&sinks.Error{Type: "http_500", Message: "it broke", Class: "function"}))
	})
	defer leave()
	b.put(func(inv *engine.Invocation) { inv.Purpose = engine.Notify })
	b.pump()
	if e := reasonOf(t, b.take()); e.Type != "http_500" || b.state().State != "up" {
		t.Errorf("%v, %+v", e, b.state())
	}
}

// TestExplainSaysWhatIsNext, in words that can be said to anybody.
func TestExplainSaysWhatIsNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 1, MaxAge: 6 * time.Hour}, func(_ *bench, n int, d *sinks.Delivery) {
			if n == 1 {
				d.Done(sinks.Again(0, away))
			} else if n < 5 {
				d.Done(sinks.Again(10*time.Second, away))
			}
		})
		defer leave()
		first := b.put(nil)
		b.pump()
		if why, _, end := b.Explain(first.Run, first.N); why != "function f gave no answer to one try (status 503: nobody is here); sent again in 1s" || !end.Equal(b.begun.Add(6*time.Hour)) {
			t.Errorf("%q, %s", why, end)
		}
		second := b.put(nil)
		b.pump()
		time.Sleep(time.Second)
		want := "function f is down since " + b.begun.UTC().Format(time.RFC3339) + " (status 503: nobody is here); one at a time finds out when it is back, the next one goes in 9s"
		if why, _, _ := b.Explain(first.Run, first.N); why != want {
			t.Errorf("%q; want %q", why, want)
		}
		if why, _, end := b.Explain(second.Run, second.N); why != want || !end.Equal(b.begun.Add(6*time.Hour)) {
			t.Errorf("%q, %s", why, end)
		}
		never := b.put(nil)
		if why, _, end := b.Explain(never.Run, never.N); why != want || !end.IsZero() {
			t.Errorf("what was never sent: %q, %s", why, end)
		}
	})
}

// TestAgeIsNotOfATenure: the first try without an answer is written down, once; who has the invocation later counts its age from there, and tries himself
// before he gives up.
func TestAgeIsNotOfATenure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ago, queued time.Duration // it was tried first, and waits for room
		lasts       time.Duration
	}{
		"young": {2 * time.Hour, 0, 4 * time.Hour}, "old": {7 * time.Hour, 0, successorTries}, "old, behind others": {5 * time.Hour, 3 * time.Hour, 3*time.Hour + successorTries},
		"the clock is behind": {-time.Hour, 0, 6 * time.Hour}, "never": {0, 0, 6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, leave := newBench(t, config.Function{Concurrency: 1, MaxAge: 6 * time.Hour}, func(b *bench, n int, d *sinks.Delivery) {
					if c.queued > 0 && n == 1 {
						time.AfterFunc(c.queued, func() { ok(d) })
						return
					}
					d.Done(sinks.Again(0, away))
				})
				defer leave()
				if c.queued > 0 {
					b.put(nil)
				}
				inv := b.put(func(inv *engine.Invocation) {
					if c.ago != 0 {
						inv.Before = &engine.Before{Tried: b.Now().Add(-c.ago)}
					}
				})
				b.pump()
				time.Sleep(c.lasts - time.Second)
				synctest.Wait()
				if early := b.kinds(); slices.Contains(early, journal.GaveUp) {
					t.Errorf("given up early: %v", early)
				}
				if _, _, end := b.Explain(inv.Run, inv.N); end.Sub(b.begun).Round(time.Second) != c.lasts {
					t.Errorf("it ends after %s", end.Sub(b.begun))
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if e := reasonOf(t, b.take()); !strings.Contains(e.Error(), "maxAge") {
					t.Errorf("%v", e)
				}
				if want := map[bool]int{true: 1}[c.ago == 0]; len(b.tried) != want || b.count() < 2 {
					t.Errorf("%d records of tries, %d sends", len(b.tried), b.count())
				}
			})
		})
	}
}

// end stops one invocation.
func (b *bench) end(inv *engine.Invocation) {
	b.stop([]*engine.Invocation{inv}, inv.Run, engine.Answer{})
}

// TestWhatIsStoppedTogetherMakesNoRoomForItself: what is aborted gives its room to what is still wanted, never to what is stopped with it.
func TestWhatIsStoppedTogetherMakesNoRoomForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Concurrency: 2}, func(_ *bench, _ int, d *sinks.Delivery) {
			context.AfterFunc(d.Context, func() { d.Done(sinks.Ended(d.Context, "no answer")) })
		})
		defer leave()
		var all []*engine.Invocation
		for range 50 {
			all = append(all, b.put(nil))
		}
		wanted := b.put(nil)
		b.pump()
		synctest.Wait()
		if b.count() != 2 {
			t.Fatalf("%d sends", b.count())
		}
		b.stop(all, all[0].Run, engine.Answer{})
		b.pump()
		synctest.Wait()
		if b.count() != 3 || b.sent(2).ID() != wanted.ID() {
			t.Errorf("%d sends after all but one were stopped", b.count())
		}
	})
}
