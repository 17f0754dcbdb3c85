package file

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/router/journal"
)

// A machine has a clock on the wall that people set, and one that nobody does.
type machine struct {
	mu   sync.Mutex // the journal's writer looks at the clock, too
	wall time.Time
	up   time.Duration
}

func (m *machine) change(wall, up time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.up = m.wall.Add(wall), m.up+up
}

func (m *machine) pass(d time.Duration) { m.change(d, d) }
func (m *machine) set(d time.Duration)  { m.change(d, 0) }

func (m *machine) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

func (m *machine) elapsed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

// TestClockIsSet sets the machine's clock forth and back, also while the router is down: the log's time never goes back, never stands, and is right again
// in the end; a difference is said once, and so is its end.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	m := &machine{wall: time.Unix(1_000_000, 0)}
	w := newWorld(newDisk())
	var log logtest.Log
	o := small(w, Options{Now: m.now, Elapsed: m.elapsed, Log: log.Logger()})
	j := open(t, o)
	var last time.Time
	put := func() time.Time {
		t.Helper()
		if err := j.Append(context.Background(), []journal.Record{record(0, "a")}); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(0, j.clock.last)
		if at.Before(last) {
			t.Fatalf("the log's time went back from %s to %s", last, at)
		}
		last = at
		return at
	}
	reopen := func(down time.Duration) {
		t.Helper()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		m.change(down, -m.elapsed()) // The process's own clock begins anew.
		j = open(t, o)
	}
	// second lets so many seconds pass, and says how much the log's time went on.
	seconds := func(n int) time.Duration {
		from := last
		for range n {
			m.pass(time.Second)
			put()
		}
		return last.Sub(from)
	}
	put()
	if d := seconds(10); d != 10*time.Second {
		t.Errorf("10 s are %s", d)
	}
	m.set(time.Hour) // As after a resume, or before NTP: taken as it is.
	if ahead := put().Sub(m.wall); ahead != 0 {
		t.Errorf("the log is behind by %s", -ahead)
	}
	m.set(-time.Hour)
	if d := seconds(16); d < 15*time.Second || d > 16*time.Second {
		t.Errorf("after the clock was set back, 16 s are %s", d)
	}
	if n := strings.Count(log.String(), "clock is behind the journal's"); n != 1 || !strings.Contains(log.String(), "behind=59m") && !strings.Contains(log.String(), "behind=1h0m") {
		t.Errorf("said %d times: %s", n, &log)
	}
	reopen(time.Minute)
	if d := seconds(16); d < 15*time.Second || d > 16*time.Second {
		t.Errorf("after a restart, 16 s are %s", d)
	}
	if n := strings.Count(log.String(), "clock is behind the journal's"); n != 2 {
		t.Errorf("said %d times after a restart", n)
	}
	behind := last.Sub(m.wall)
	seconds(1600)
	if closer := behind - last.Sub(m.wall); closer < 99*time.Second || closer > 101*time.Second {
		t.Errorf("in 1,600 s the log came closer by %s", closer)
	}
	m.set(-48 * time.Hour) // Further back: nothing else changes.
	if d := seconds(160); d < 149*time.Second || d > 160*time.Second {
		t.Errorf("two days back, 160 s are %s", d)
	}
	m.set(50 * time.Hour) // And right again.
	if ahead := put().Sub(m.wall); ahead != 0 {
		t.Errorf("the log is behind by %s", -ahead)
	}
	if !strings.Contains(log.String(), "no longer behind") {
		t.Errorf("said: %s", &log)
	}
	if d := seconds(10); d != 10*time.Second {
		t.Errorf("10 s are %s", d)
	}
}

// TestClockRecovers runs a log that is ahead until it is right, however often it is asked meanwhile.
func TestClockRecovers(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Microsecond, 7 * time.Millisecond, time.Second, time.Minute} {
		m := &machine{wall: time.Unix(1_000_000, 0)}
		c := clock{now: m.now, elapsed: m.elapsed, log: new(logtest.Log).Logger()}
		ahead := 1000 * step
		c.start(m.wall.Add(ahead).UnixNano())
		n := 0
		for ; c.read() > m.wall.UnixNano(); n++ {
			m.pass(step)
			if n > 20_000 {
				t.Fatalf("in steps of %s it is never right", step)
			}
		}
		if n < 15_000 || n > 17_000 {
			t.Errorf("in steps of %s: right after %d", step, n)
		}
	}
	if s := fmt.Sprint(slower); s != "16" {
		t.Errorf("the message says a sixteenth, and it is 1/%s", s)
	}
}
