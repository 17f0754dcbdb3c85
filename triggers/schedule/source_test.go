package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A memory is what routers share.
type memory struct {
	mu    sync.Mutex
	b     []byte
	fails int // so many calls fail first
}

func (m *memory) call() error {
	if m.fails > 0 {
		m.fails--
		return errors.New("it cannot be reached")
	}
	return nil
}

func (m *memory) Recall(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.b), m.call()
}

func (m *memory) Keep(_ context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.call()
	if err == nil {
		m.b = slices.Clone(b)
	}
	return err
}

// A life is a source at work, in a bubble of fake time.
type life struct {
	t      *testing.T
	s      *Source
	stop   func()
	mu     sync.Mutex
	ids    []string
	events []event.Event
	answer func(n int) (triggers.Receipt, error) // to the nth admission; nil: matched
	calls  int
	set    time.Duration // of the clock on the wall
}

func (l *life) admit(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := triggers.Receipt{Kind: triggers.Matched}, error(nil)
	if l.answer != nil {
		r, err = l.answer(l.calls)
	}
	l.calls++
	if err == nil && r.Err == nil {
		l.events = append(l.events, events[0].Clone())
		l.ids = append(l.ids, strings.TrimPrefix(events[0].ID(), "night/"))
	}
	return []triggers.Receipt{r}, err
}

func (l *life) answers(answer func(n int) (triggers.Receipt, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

// took are the ticks that the router has taken, by the end of their ids.
func (l *life) took() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := strings.Join(l.ids, " ")
	l.ids = nil
	return out
}

func (l *life) clock(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set += by
}

func settings(change func(*Settings)) *Settings {
	s := &Settings{Zone: "UTC", Missed: missedOnce, Within: plugin.Duration(24 * time.Hour), Most: 100, Overlap: overlapAllow, Type: "dev.onward.schedule.tick"}
	change(s)
	return s
}

func live(t *testing.T, s *Settings, m *memory) *life {
	t.Helper()
	if problems := s.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	made, err := New("night", s)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, s: made.(*Source)}
	l.s.now = func() time.Time {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Now().Add(l.set)
	}
	l.s.Remember(nil, m)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.s.Run(ctx, l.admit) }()
	l.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return l
}

func hourly(s *Settings) { s.Every = plugin.Duration(time.Hour) }

// TestTick: what an event says, and what people see.
func TestTick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // Time begins with the year 2000.
		l := live(t, settings(func(s *Settings) { s.Cron, s.Zone = "30 8 * * *", "Asia/Kolkata" }), new(memory))
		defer l.stop()
		if r := l.s.Report(); !r.Next.Equal(at(t, "2000-01-01T03:00:00Z")) || !r.Last.IsZero() {
			t.Errorf("%+v", r)
		}
		time.Sleep(3*time.Hour + time.Second)
		if got := l.took(); got != "2000-01-01T03:00:00Z" {
			t.Fatalf("took %q", got)
		}
		e := &l.events[0]
		if e.ID() != "night/2000-01-01T03:00:00Z" || e.Source() != "/schedule/night" || e.Type() != "dev.onward.schedule.tick" || e.Subject() != "night" || !e.Time().Equal(at(t, "2000-01-01T03:00:00Z")) || e.Validate() != nil {
			t.Errorf("%v", e)
		}
		if got, want := string(e.Data()), `{"local":"2000-01-01T08:30:00+05:30","missed":0,"schedule":"night","time":"2000-01-01T03:00:00Z","zone":"Asia/Kolkata"}`; got != want {
			t.Errorf("data %s", got)
		}
		if r := l.s.Report(); !r.Last.Equal(at(t, "2000-01-01T03:00:00Z")) || !r.Next.Equal(at(t, "2000-01-02T03:00:00Z")) {
			t.Errorf("%+v", r)
		}
		if n := testutil.ToFloat64(l.s.ticks.WithLabelValues("fired")); n != 1 {
			t.Error(n)
		}
	})
}

// TestMissed: what becomes of ticks of a time when no router was up.
func TestMissed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Settings)
		away   time.Duration
		want   string
		missed float64
		data   string
	}{
		"skip":                 {func(s *Settings) { s.Missed = missedSkip }, 5*time.Hour + 15*time.Minute, "", 5, ""},
		"once":                 {func(*Settings) {}, 5*time.Hour + 15*time.Minute, "07:00", 4, `"missed":4`},
		"all":                  {func(s *Settings) { s.Missed = missedAll }, 5*time.Hour + 15*time.Minute, "03:00 04:00 05:00 06:00 07:00", 0, `"missed":0`},
		"all, two at most":     {func(s *Settings) { s.Missed, s.Most = missedAll, 2 }, 5*time.Hour + 15*time.Minute, "06:00 07:00", 3, `"missed":3`},
		"all within two hours": {func(s *Settings) { s.Missed, s.Within = missedAll, plugin.Duration(2*time.Hour) }, 5*time.Hour + 15*time.Minute, "06:00 07:00", 3, `"missed":3`},
		"none is old enough":   {func(s *Settings) { s.Within = plugin.Duration(time.Minute) }, 5*time.Hour + 15*time.Minute, "", 5, ""},
		"a minute is in time":  {func(s *Settings) { s.Missed = missedSkip }, 30*time.Minute + 50*time.Second, "03:00", 0, `"missed":0`},
		"nothing was missed":   {func(*Settings) {}, 20 * time.Minute, "", 0, ""},
		"years":                {func(s *Settings) { s.Missed, s.Most = missedAll, 1 }, 20 * 365 * 24 * time.Hour, "02:00", counted + 23, fmt.Sprintf(`"missed":%d`, counted+23)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := new(memory)
				before := live(t, settings(func(s *Settings) { hourly(s) }), m)
				time.Sleep(2*time.Hour + 30*time.Minute)
				if got := before.took(); got != "2000-01-01T01:00:00Z 2000-01-01T02:00:00Z" {
					t.Fatalf("before: %q", got)
				}
				before.stop()
				time.Sleep(c.away)
				l := live(t, settings(func(s *Settings) { hourly(s); c.change(s) }), m)
				defer l.stop()
				var got []string
				for id := range strings.FieldsSeq(l.took()) {
					got = append(got, at(t, id).Format("15:04"))
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("made up for %q; want %q", got, c.want)
				}
				if n := testutil.ToFloat64(l.s.ticks.WithLabelValues("missed")); n != c.missed {
					t.Errorf("%v missed; want %v", n, c.missed)
				}
				if len(l.events) > 0 && !strings.Contains(string(l.events[0].Data()), c.data) {
					t.Errorf("data %s; want %s", l.events[0].Data(), c.data)
				}
				again := live(t, settings(func(s *Settings) { hourly(s); c.change(s) }), m)
				defer again.stop()
				if got := again.took(); got != "" {
					t.Errorf("made up for again: %q", got)
				}
			})
		})
	}
}

// TestFirst: a schedule that is new, that says another time than before, or of which what was kept is damaged, has missed nothing.
func TestFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := new(memory)
		before := live(t, settings(hourly), m)
		before.stop()
		kept := slices.Clone(m.b)
		time.Sleep(10*time.Hour + 10*time.Minute)
		for name, x := range map[string]struct {
			kept   []byte
			change func(*Settings)
		}{
			"new":     {nil, hourly},
			"another": {kept, func(s *Settings) { s.Every = plugin.Duration(30 * time.Minute) }},
			"damaged": {[]byte(`{"last":`), hourly},
		} {
			m := &memory{b: x.kept}
			l := live(t, settings(x.change), m)
			if got := l.took(); got != "" {
				t.Errorf("%s: %q", name, got)
			}
			l.stop()
			if len(m.b) == 0 || string(m.b) == string(kept) {
				t.Errorf("%s: kept %s", name, m.b)
			}
		}
	})
}

// TestOnce: one tick, and none when its time was over before anybody knew of it; a router that was down meanwhile makes up for it.
func TestOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		once := func(s *Settings) { s.At = Instant(at(t, "2000-01-01T01:00:00Z")) }
		m := new(memory)
		l := live(t, settings(once), m)
		l.stop()
		time.Sleep(90 * time.Minute)
		l = live(t, settings(once), m)
		if got := l.took(); got != "2000-01-01T01:00:00Z" {
			t.Errorf("made up for %q", got)
		}
		if r := l.s.Report(); r.Note == "" || !r.Next.IsZero() {
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Hour)
		l.stop()
		for _, m := range []*memory{m, new(memory)} {
			l = live(t, settings(once), m)
			time.Sleep(time.Hour)
			if got := l.took(); got != "" {
				t.Errorf("again: %q", got)
			}
			l.stop()
		}
	})
}

// TestClocks: a clock that is put forward or back, and a machine that has slept, whose timers stood still.
func TestClocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := live(t, settings(hourly), new(memory))
		defer l.stop()
		time.Sleep(90 * time.Minute)
		l.clock(3 * time.Hour) // It is 04:30.
		time.Sleep(2 * glance)
		if got := l.took(); got != "2000-01-01T01:00:00Z 2000-01-01T04:00:00Z" {
			t.Errorf("forward: %q", got)
		}
		l.clock(-45 * time.Minute) // 03:45: it waits for 05:00.
		time.Sleep(time.Hour)
		if got := l.took(); got != "" {
			t.Errorf("back a little: %q", got)
		}
		time.Sleep(20 * time.Minute)
		if got := l.took(); got != "2000-01-01T05:00:00Z" {
			t.Errorf("back a little, and on: %q", got)
		}
		l.clock(24 * time.Hour * 365)
		time.Sleep(2 * glance)
		if got := l.took(); got != "2000-12-31T05:00:00Z" {
			t.Errorf("a year ahead: %q", got)
		}
		l.clock(-24 * time.Hour * 365)
		time.Sleep(time.Hour)
		if got := l.took(); got != "2000-01-01T06:00:00Z" {
			t.Errorf("and back: %q", got)
		}
	})
}

// TestAClockThatWasWrong: what was kept is of the future.
func TestAClockThatWasWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := new(memory)
		l := live(t, settings(hourly), m)
		l.clock(1000 * time.Hour)
		time.Sleep(2 * glance)
		l.stop()
		l = live(t, settings(hourly), m)
		defer l.stop()
		time.Sleep(61 * time.Minute)
		if got := l.took(); got != "2000-01-01T01:00:00Z" {
			t.Errorf("took %q", got)
		}
	})
}

// TestRefused: a tick that is not taken is tried again, under its id; one that never will be is counted, and the schedule goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := new(memory)
		l := live(t, settings(hourly), m)
		l.answers(func(n int) (triggers.Receipt, error) {
			switch {
			case n < 2:
				return triggers.Receipt{}, triggers.ErrDraining
			case n < 4:
				return triggers.Receipt{Err: fmt.Errorf("%w: full", triggers.ErrBusy)}, nil
			case n == 5:
				return triggers.Receipt{Err: triggers.ErrTooLarge}, nil
			case n == 6:
				return triggers.Receipt{Kind: triggers.Unmatched, Note: "nothing takes it"}, nil
			}
			return triggers.Receipt{Kind: triggers.Matched}, nil
		})
		time.Sleep(3*time.Hour + 30*time.Minute)
		if got := l.took(); got != "2000-01-01T01:00:00Z 2000-01-01T03:00:00Z" {
			t.Errorf("took %q", got)
		}
		if n := testutil.ToFloat64(l.s.ticks.WithLabelValues("refused")); n != 1 {
			t.Errorf("%v refused", n)
		}
		l.answers(func(int) (triggers.Receipt, error) { return triggers.Receipt{}, triggers.ErrDraining })
		time.Sleep(time.Hour)
		l.stop() // While a tick waits.
		l = live(t, settings(hourly), m)
		if got := l.took(); got != "2000-01-01T04:00:00Z" {
			t.Errorf("after the end: %q", got)
		}
		l.stop()
	})
}

// TestTwoRouters have every tick under one id, and one that has slept makes up for nothing that the other has made.
func TestTwoRouters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := new(memory)
		a, b := live(t, settings(hourly), m), live(t, settings(hourly), m)
		time.Sleep(61 * time.Minute)
		if x, y := a.took(), b.took(); x != y || x != "2000-01-01T01:00:00Z" {
			t.Errorf("%q and %q", x, y)
		}
		b.clock(-50 * time.Minute) // As if it slept: its timers and its clock stand still.
		time.Sleep(3 * time.Hour)
		x := a.took()
		_ = b.took()
		b.clock(50*time.Minute + 10*time.Minute)
		time.Sleep(2 * glance)
		if y := b.took(); strings.Contains(y, "04:00") || !strings.HasSuffix(x, "04:00:00Z") {
			t.Errorf("%q, and then %q", x, y)
		}
		a.stop()
		b.stop()
	})
}

// TestMemoryThatFails: who does not know what was made waits until it does.
func TestMemoryThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{fails: 3}
		l := live(t, settings(func(s *Settings) { s.Every = plugin.Duration(time.Minute) }), m)
		time.Sleep(2 * time.Minute)
		if got := l.took(); got != "2000-01-01T00:01:00Z 2000-01-01T00:02:00Z" {
			t.Errorf("took %q", got)
		}
		m.mu.Lock()
		m.fails = 1 << 30
		m.mu.Unlock()
		time.Sleep(time.Minute)
		if got := l.took(); got != "2000-01-01T00:03:00Z" {
			t.Errorf("took %q", got)
		}
		l.stop()
		l = live(t, settings(hourly), m)
		l.stop() // It never began.
	})
}

// TestJitter is the same each time, and spread.
func TestJitter(t *testing.T) {
	t.Parallel()
	s := settings(func(s *Settings) { hourly(s); s.Jitter = plugin.Duration(10 * time.Minute) })
	a, err := New("a", s)
	if err != nil {
		t.Fatal(err)
	}
	same, err := New("a", s)
	if err != nil {
		t.Fatal(err)
	}
	var tenths [10]int
	for n := range 1000 {
		tick := time.Unix(int64(n)*3600, 0)
		late := a.(*Source).dueAt(tick).Sub(tick)
		if late < 0 || late >= 10*time.Minute || same.(*Source).dueAt(tick).Sub(tick) != late {
			t.Fatalf("%s", late)
		}
		tenths[late/time.Minute]++
	}
	for i, n := range tenths {
		if n < 60 || n > 140 {
			t.Errorf("%d of 1000 are %d minutes late", n, i)
		}
	}
}

// TestData: expressions over the tick; what they cannot make is counted, and the schedule goes on.
func TestData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := live(t, settings(func(s *Settings) {
			hourly(s)
			s.Data = lang.MustExpr("${ time.startsWith('2000-01-01T01') ? {'of': schedule, 'at': local, 'n': missed} : time.nothing }")
		}), new(memory))
		defer l.stop()
		time.Sleep(2*time.Hour + time.Minute)
		if got := l.took(); got != "2000-01-01T01:00:00Z" || string(l.events[0].Data()) != `{"at":"2000-01-01T01:00:00Z","n":0,"of":"night"}` {
			t.Errorf("%q %s", got, l.events)
		}
		if n := testutil.ToFloat64(l.s.ticks.WithLabelValues("refused")); n != 1 {
			t.Errorf("%v refused", n)
		}
	})
}

// TestIntervals: before and after what they are counted from.
func TestIntervals(t *testing.T) {
	t.Parallel()
	x := interval{15 * time.Minute, at(t, "2026-01-01T00:05:00Z")}
	for after, want := range map[string]string{
		"2026-01-01T00:04:59Z": "2026-01-01T00:05:00Z", "2026-01-01T00:05:00Z": "2026-01-01T00:20:00Z", "2025-12-31T23:50:00Z": "2026-01-01T00:05:00Z", "2025-12-31T23:49:59Z": "2025-12-31T23:50:00Z",
		"2026-03-29T01:00:00Z": "2026-03-29T01:05:00Z",
	} {
		if got := x.next(at(t, after)); !got.Equal(at(t, want)) {
			t.Errorf("after %s: %s; want %s", after, got, want)
		}
	}
	s := settings(func(s *Settings) {
		s.Every, s.From, s.Until = plugin.Duration(time.Hour), Instant(at(t, "2026-01-01T00:10:00Z")), Instant(at(t, "2026-01-01T02:00:00Z"))
	})
	var got []string
	for tick := s.table().next(time.Time{}); !tick.IsZero(); tick = s.table().next(tick) {
		got = append(got, tick.Format("15:04"))
	}
	if strings.Join(got, " ") != "00:10 01:10" {
		t.Errorf("%q", got)
	}
}

// TestTold: the next three ticks are told, on the wall's clock, over its change; there may be fewer.
func TestTold(t *testing.T) {
	t.Parallel()
	spring := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
	for want, change := range map[string]func(*Settings){
		"ticks Sat 2026-03-28 02:30:00 +0100, Sun 2026-03-29 03:00:00 +0200, Mon 2026-03-30 02:30:00 +0200": func(s *Settings) { s.Cron, s.Zone = "30 2 * * *", "Europe/Berlin" },
		"ticks Sat 2026-03-28 00:15:00 +0000, Sat 2026-03-28 00:30:00 +0000": func(s *Settings) {
			s.Every, s.Until = plugin.Duration(15*time.Minute), Instant(spring.Add(40*time.Minute))
		},
		"no more ticks": func(s *Settings) { s.At = Instant(spring.Add(-time.Hour)) },
	} {
		made, err := New("night", settings(change))
		if err != nil {
			t.Fatal(err)
		}
		s := made.(*Source)
		s.now = func() time.Time { return spring }
		found, err := s.Probe(t.Context())
		if err != nil || found != want {
			t.Errorf("%q, %v; want %q", found, err, want)
		}
		first := s.table.next(spring)
		s.show(first)
		if r := s.Report(); !r.Next.Equal(first) || len(r.Then) != strings.Count(found, ",") {
			t.Errorf("%+v", r)
		}
	}
}
