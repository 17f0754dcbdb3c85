package outbox

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/prometheus/client_golang/prometheus"
)

var perSecond = config.Rate{N: 10, Per: time.Second}

// TestRateHoldsSendings: as many as the burst at once, then as the rate says, in turn of tenants; after a pause a burst again, never more.
func TestRateHoldsSendings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Rate: perSecond, Burst: 20}, func(_ *bench, _ int, d *sinks.Delivery) { ok(d) })
		defer leave()
		for range 500 {
			b.put(func(inv *engine.Invocation) { inv.Tenant = "a" })
		}
		b.pump()
		late := b.put(func(inv *engine.Invocation) { inv.Tenant = "b" })
		b.pump()
		why, _, _ := b.Explain(late.Run, late.N)
		if why != "function f at its rate of 10/s: 481 wait for it, which takes about 48s" {
			t.Errorf("%q", why)
		}
		time.Sleep(time.Second / 2)
		synctest.Wait()
		if n := b.count(); n < 24 || n > 25 || b.between(0, time.Millisecond) != 20 {
			t.Errorf("%d sends in half a second, %d at once", b.count(), b.between(0, time.Millisecond))
		}
		if second := b.sent(21).ID(); second != late.ID() && b.sent(20).ID() != late.ID() {
			t.Errorf("tenant b is sent after all that tenant a has queued")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for at := time.Second / 2; at < 47*time.Second; at += time.Second {
			if n := b.between(at, at+time.Second); n < 9 || n > 11 {
				t.Errorf("%d sends in the second after %s", n, at)
			}
		}
		if st := b.state(); b.count() != 501 || st.Queued != 0 || st.Rate != "10/s" || st.Burst != 20 {
			t.Errorf("%d sends, %+v", b.count(), st)
		}
		if waited := seconds(t, b.metrics.rateWait); waited < 48 || waited > 48.2 {
			t.Errorf("the rate was waited for for %g s", waited)
		}
		time.Sleep(time.Hour)
		from := time.Since(b.begun)
		for range 100 {
			b.put(nil)
		}
		b.pump()
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if n := b.between(from, from+2*time.Second); n != 30 {
			t.Errorf("%d sends in the second after an hour without any", n)
		}
	})
}

// TestRateCountsWhatIsSentAgain, and what is sent to find out whether a function is back; a try that waits for the rate has not begun.
func TestRateCountsWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Rate: config.Rate{N: 2, Per: time.Minute}, Burst: 1, MaxAge: 10 * time.Hour}, func(b *bench, _ int, d *sinks.Delivery) {
			if time.Since(b.begun) < time.Hour {
				d.Done(sinks.Again(0, away))
				return
			}
			ok(d)
		})
		defer leave()
		for range 30 {
			b.put(func(inv *engine.Invocation) { inv.Timeout = time.Second })
		}
		b.pump()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if b.count() < 118 || b.count() > 152 {
			t.Errorf("%d sends in two hours", b.count())
		}
		for i := 1; i < b.count(); i++ {
			if apart := b.times[i] - b.times[i-1]; apart < 30*time.Second-time.Millisecond {
				t.Fatalf("two sends are %s apart", apart)
			}
		}
		for _, f := range b.take() {
			if f.Kind != journal.Completion {
				t.Errorf("%s", f.Kind)
			}
		}
		if st := b.state(); st.State != "up" || st.Queued != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestRateHoldsNobodyElse: a function that waits for its rate keeps no other function waiting, and what is stopped uses nothing up.
func TestRateHoldsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, leave := newBench(t, config.Function{Rate: config.Rate{N: 1, Per: time.Hour}, Burst: 1}, func(_ *bench, _ int, d *sinks.Delivery) { ok(d) })
		defer leave()
		with := *b.bound.functions.Load()
		fn := *with.byName["f"].Function
		fn.Name, fn.Rate, fn.Burst = "g", config.Rate{}, 0
		b.bound.functions.Store(&functions{byName: map[string]*function{"f": with.byName["f"], "g": {Function: &fn, sink: with.byName["f"].sink}}})
		var waiting []*engine.Invocation
		for range 10 {
			waiting = append(waiting, b.put(nil))
		}
		for range 1000 {
			b.put(func(inv *engine.Invocation) { inv.Function = "g" })
		}
		b.pump()
		synctest.Wait()
		if b.count() != 1001 {
			t.Errorf("%d sends", b.count())
		}
		for _, inv := range waiting[1:9] {
			b.end(inv)
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if b.count() != 1002 || b.sent(1001).ID() != waiting[9].ID() {
			t.Errorf("%d sends after an hour", b.count())
		}
	})
}

// TestRateIsReloaded: who raises it, or takes it away, does not wait for what the former one would have let through.
func TestRateIsReloaded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rate  config.Rate
		burst int
		sends int // in the second after the reload
	}{"raised": {config.Rate{N: 100, Per: time.Second}, 50, 100}, "gone": {config.Rate{}, 0, 999}, "less": {config.Rate{N: 1, Per: time.Hour}, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, leave := newBench(t, config.Function{Rate: config.Rate{N: 2, Per: time.Hour}, Burst: 1}, func(_ *bench, _ int, d *sinks.Delivery) { ok(d) })
				defer leave()
				for range 1000 {
					b.put(nil)
				}
				b.pump()
				time.Sleep(time.Second)
				had := b.bound.get("f")
				fn := *had.Function
				fn.Rate, fn.Burst = c.rate, c.burst
				b.bound.functions.Store(&functions{byName: map[string]*function{"f": {Function: &fn, sink: had.sink}}})
				b.rebind()
				time.Sleep(time.Second)
				synctest.Wait()
				if sends := b.count() - 1; sends < c.sends-1 || sends > c.sends+1 {
					t.Errorf("%d sends in the second after the reload", sends)
				}
				if why, _, _ := b.Explain(journal.RunID{0, 0, 3, 232}, 1000); c.burst > 0 && !strings.Contains(why, "its rate of "+c.rate.String()) {
					t.Errorf("%q", why)
				}
				b.leave(b.owner)
			})
		})
	}
}

// TestBucketCountsWhole: no token is lost or made by fractions, whatever the rate and however often it is looked at.
func TestBucketCountsWhole(t *testing.T) {
	t.Parallel()
	for _, rate := range []config.Rate{{N: 1, Per: time.Hour}, {N: 3, Per: time.Second}, {N: 7, Per: time.Minute}, {N: 999_983, Per: time.Second}, {N: 10, Per: time.Second}} {
		now := time.Unix(1_000_000, 0)
		var b config.Bucket
		b.Set(rate, 1, now)
		b.Take()
		begin, taken := now, 0
		for taken < 1000 {
			wait := b.Wait(now)
			if wait == 0 {
				b.Take()
				taken++
				continue
			}
			now = now.Add(max(wait/3, 1)) // It is looked at before its time, too.
		}
		if want := time.Duration(1000 * float64(rate.Per) / float64(rate.N)); now.Sub(begin) < want-want/1000 || now.Sub(begin) > want+want/1000+time.Duration(2000) {
			t.Errorf("%s: 1000 tokens took %s; want %s", rate, now.Sub(begin), want)
		}
	}
}

// seconds sums what a counter has.
func seconds(t *testing.T, c prometheus.Collector) (sum float64) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			sum += m.Counter.GetValue()
		}
	}
	return sum
}

// TestTheFarEndsRate: what a function's far end allows counts where it is less than what the documents say, until the function is made anew.
func TestTheFarEndsRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate config.Rate
		most int // in the first ten seconds
	}{{config.Rate{}, 22}, {config.Rate{N: 100, Per: time.Second}, 22}, {config.Rate{N: 1, Per: time.Second}, 11}} {
		synctest.Test(t, func(t *testing.T) {
			burst := 0
			if !c.rate.IsZero() {
				burst = c.rate.OneSecond()
			}
			b, leave := newBench(t, config.Function{Rate: c.rate, Burst: burst}, func(_ *bench, _ int, d *sinks.Delivery) { ok(d) })
			defer leave()
			b.Outbox.pace(b.Outbox.bound.get("f"), 120)
			for range 100 {
				b.put(nil)
			}
			b.pump()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := b.count(); n < c.most-1 || n > c.most {
				t.Errorf("%s: %d sends in ten seconds", c.rate, n)
			}
			if st := b.state(); c.rate.IsZero() && st.Rate != "120/m" {
				t.Errorf("%+v", st)
			}
			time.Sleep(time.Hour)
		})
	}
}
