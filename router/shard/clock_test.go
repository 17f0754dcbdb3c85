package shard_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/router/shard"
)

// A broker has a clock of its own: wrong by skew, or standing.
type broker struct {
	skew   atomic.Int64
	stands atomic.Int64 // since when it stands; 0 is not
	fired  atomic.Int64 // timers that were journaled
	j      *memory.Journal
}

func newBroker() *broker {
	b := new(broker)
	b.j = memory.New(memory.Options{Partitions: 1, Now: func() time.Time {
		if at := b.stands.Load(); at != 0 {
			return time.Unix(0, at)
		}
		return time.Now().Add(time.Duration(b.skew.Load()))
	}})
	b.j.Inject(func(op memory.Op) error {
		if op.Act == memory.Append && op.Record.Kind == journal.Fired {
			b.fired.Add(1)
		}
		return nil
	})
	return b
}

// ends waits for the end of so many runs, and returns how long that took.
func (r *rig) endsIn(t *testing.T, n int, most time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	for time.Since(begin) < most {
		r.desk.mu.Lock()
		got := len(r.ended)
		r.desk.mu.Unlock()
		if got >= n {
			return time.Since(begin)
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	t.Fatalf("no end in %s", most)
	return 0
}

// TestClockWasAhead has a clock that was wrong and is right again, in both directions, with and without a restart, and while a timer is waited for: a wait
// of a second takes about one, and costs a handful of records. How long it had been waited for when the clock went back, nobody has written down: so much
// may come once more.
func TestClockWasAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after time.Duration // what the journal's clock is wrong by, first and then
		restart       bool
		waiting       bool // the timer runs when the clock is set
	}{
		"ahead by an hour, and right":                    {before: time.Hour},
		"ahead by an hour, right, and a restart":         {before: time.Hour, restart: true},
		"ahead by a day, and right amid a wait":          {before: 24 * time.Hour, waiting: true},
		"ahead, right amid a wait, and a restart":        {before: time.Hour, waiting: true, restart: true},
		"ahead by a second":                              {before: time.Second},
		"behind by an hour, and right":                   {before: -time.Hour},
		"behind, further behind":                         {before: -time.Hour, after: -2 * time.Hour},
		"right, then behind by an hour, and a restart":   {after: -time.Hour, restart: true},
		"right, then ahead by an hour":                   {after: time.Hour},
		"ahead, then behind, amid a wait":                {before: time.Hour, after: -time.Hour, waiting: true},
		"ahead by years, as without a battery it may be": {before: 20 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBroker()
				b.skew.Store(int64(c.before))
				r := run(t, b.j, "")
				startOf(t, b.j, 1, "brief")
				if d := r.endsIn(t, 1, time.Minute); d > 1100*time.Millisecond {
					t.Errorf("before: a wait of 1s took %s", d)
				}
				if !c.waiting {
					b.skew.Store(int64(c.after))
				}
				n := byte(2)
				startOf(t, b.j, n, "brief")
				begin := time.Now()
				b.skew.Store(int64(c.after))
				if c.restart {
					if err := r.stop(); err != nil {
						t.Fatal(err)
					}
					r = run(t, b.j, "")
					r.ended = append(r.ended, nil) // The first run's.
				}
				r.endsIn(t, 2, time.Minute)
				least, most := 900*time.Millisecond, 1300*time.Millisecond
				if c.after > c.before {
					least = 0
				}
				if c.waiting {
					most += time.Second
				}
				if d := time.Since(begin); d < least || d > most {
					t.Errorf("after: a wait of 1s took %s", d)
				}
				if n := b.fired.Load(); n > 8 {
					t.Errorf("two timers journaled %d records", n)
				}
				if err := r.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestClockStands: while the journal's clock stands a timer cannot end, and what is journaled of it stays little; it ends soon after the clock goes again.
func TestClockStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		r := run(t, b.j, "")
		startOf(t, b.j, 1, "brief")
		b.stands.Store(time.Now().UnixNano())
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if n := b.fired.Load(); n < 2 || n > 500 {
			t.Errorf("one timer journaled %d records in six hours", n)
		}
		b.stands.Store(0)
		if d := r.endsIn(t, 1, time.Hour); d > 2*time.Minute {
			t.Errorf("it ended %s after the clock went again", d)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestMachineSleeps: a machine that was asleep has a wall's clock that is ahead of the one that nobody sets. A timer that ran out meanwhile fires soon.
func TestMachineSleeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asleep atomic.Int64
		b := newBroker()
		r := run(t, b.j, "", func(o *shard.Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(asleep.Load())) }
		})
		start(t, b.j, 1)
		answer(t, r, r.calls()[0]) // Now it waits for an hour.
		asleep.Store(int64(2 * time.Hour))
		b.skew.Store(int64(2 * time.Hour)) // The journal's clock went on, as the wall's did.
		begin := time.Now()
		for len(r.calls()) == 0 {
			if time.Since(begin) > 10*time.Minute {
				t.Fatal("the timer does not fire")
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("it fired %s after the machine woke", d)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestClockIsSaid: that this machine's clock is behind the journal's is said once, and so is that it is no longer.
func TestClockIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		var said bytes.Buffer
		b.skew.Store(int64(time.Hour))
		r := run(t, b.j, "", func(o *shard.Options) { o.Log = slog.New(slog.NewTextHandler(&said, nil)) })
		for n := range byte(5) {
			startOf(t, b.j, n+1, "brief")
		}
		r.endsIn(t, 5, time.Minute)
		time.Sleep(17 * time.Hour)
		b.skew.Store(0)
		time.Sleep(time.Hour)
		for n := range byte(5) {
			startOf(t, b.j, n+10, "brief")
			time.Sleep(10 * time.Minute)
		}
		r.endsIn(t, 10, time.Hour)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(said.String(), "clock is behind the journal's; timers"); n != 1 || !strings.Contains(said.String(), "behind=1h0m0s") {
			t.Errorf("said %d times: %s", n, &said)
		}
	})
}
