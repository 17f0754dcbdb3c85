package schedule

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// late is how long after it is due a tick counts as made in time. What is later is missed, and goes by missed:.
	late = time.Minute
	// glance is how often the clock is looked at while a tick is waited for: timers stand still while a machine sleeps, and clocks are set.
	glance = 5 * time.Second
	// setBack is how far the clock may be behind the last tick until that one counts as made by a clock that was wrong.
	setBack = time.Hour
	// counted bounds how many ticks are counted that are too old to be made up for.
	counted = 100_000
)

// A Source is one schedule.
type Source struct {
	name  string
	s     *Settings
	table timetable
	now   func() time.Time                           // the clock on the wall
	wait  func(ctx context.Context, d time.Duration) // until d is over or ctx ends
	keep  triggers.Memory                            // nil: nothing is

	mu     sync.Mutex
	report triggers.Report

	ticks *prometheus.CounterVec
	lag   prometheus.Histogram
}

// New makes the source.
func New(name string, s *Settings) (triggers.Source, error) {
	label := prometheus.Labels{"source": name}
	return &Source{
		name: name, s: s, table: s.table(), now: time.Now, wait: sleep,
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_source_ticks_total", Help: "Ticks of a schedule, by what became of them: fired, missed (and not made up for) or refused.", ConstLabels: label}, []string{"fate"}),
		lag:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "onward_source_tick_lag_seconds", Help: "Time from when a tick of a schedule was due until it was taken.", ConstLabels: label, Buckets: []float64{0.01, 0.1, 1, 10, 60, 600, 3600, 86400}}),
	}, nil
}

var (
	_ triggers.Remembering = (*Source)(nil)
	_ triggers.Overlapping = (*Source)(nil)
	_ triggers.Measured    = (*Source)(nil)
	_ triggers.Reporting   = (*Source)(nil)
	_ triggers.Ticking     = (*Source)(nil)
	_ plugin.Prober        = (*Source)(nil)
)

// Remember keeps the last tick where all routers find it.
func (s *Source) Remember(_, shared triggers.Memory) { s.keep = shared }

// Overlap is what becomes of runs that overlap.
func (s *Source) Overlap() string {
	switch s.s.Overlap {
	case overlapSkip:
		return triggers.OverlapSkip
	case overlapCancel:
		return triggers.OverlapCancel
	}
	return triggers.OverlapAllow
}

// Collectors are the source's metrics.
func (s *Source) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.ticks, s.lag}
}

// Report says when the next tick is.
func (s *Source) Report() triggers.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// A position is what is kept: up to which instant ticks were dealt with, of a schedule that said this.
type position struct {
	Last time.Time `json:"last"`
	When string    `json:"when"`
}

// when tells timetables apart: what was missed of another one is not missed of this.
func (s *Source) when() string {
	b, err := json.Marshal([]any{s.s.Cron, s.s.Every, s.s.At, s.s.Zone, s.s.From, s.s.Until})
	if err != nil {
		panic(err) // Texts and times of four digits marshal.
	}
	return string(b)
}

// Run makes events until ctx ends.
func (s *Source) Run(ctx context.Context, admit triggers.Admit) error {
	last, ok := s.begin(ctx)
	for ok {
		tick := s.table.next(last)
		s.show(tick)
		if tick.IsZero() {
			slog.Info("source: the schedule has no more ticks", "source", s.name)
			<-ctx.Done()
			return nil
		}
		if ok = s.until(ctx, last, s.dueAt(tick)); !ok {
			break
		}
		if behind := last.Sub(s.now()); behind > setBack {
			slog.Warn("source: the clock is far behind the schedule's last tick, which a clock made that was wrong; it goes on from now", "source", s.name, "behind", behind.Round(time.Second))
			last = s.now()
			continue
		}
		last, ok = s.make(ctx, admit, last, tick)
	}
	return nil
}

// begin finds the last tick of the lives before; without any, nothing is missed. False: ctx has ended.
func (s *Source) begin(ctx context.Context) (last time.Time, ok bool) {
	p, ok := s.recall(ctx)
	switch now := s.now(); {
	case !ok:
		return last, false
	case p.When != s.when():
		last = now
		if at := time.Time(s.s.At); !at.IsZero() && at.Before(now) {
			slog.Warn("source: the time of the schedule is over, and it was not known before; it does not tick", "source", s.name, "at", at)
		}
	case p.Last.Sub(now) > setBack:
		slog.Warn("source: the schedule's last tick is in the future: a clock was wrong, or is; it goes on from now", "source", s.name, "last", p.Last)
		last = now
	default:
		return p.Last, true
	}
	s.remember(ctx, last)
	return last, true
}

// recall reads the position, and does not give up before ctx ends: who does not know it would make up for what was made.
func (s *Source) recall(ctx context.Context) (p position, ok bool) {
	if s.keep == nil {
		return p, ctx.Err() == nil
	}
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, 30*time.Second) {
		b, err := s.keep.Recall(ctx)
		if err == nil {
			if len(b) > 0 && json.Unmarshal(b, &p) != nil {
				slog.Error("source: what was kept of a schedule cannot be read; it goes on from now, and what it missed is not known", "source", s.name)
				p = position{}
			}
			return p, true
		}
		if ctx.Err() == nil {
			slog.Warn("source: the last tick of a schedule cannot be read", "source", s.name, "error", err)
		}
		s.wait(ctx, pause)
	}
	return p, false
}

// remember keeps the position. When that fails, a router that starts again makes up for ticks that were made, under the same ids.
func (s *Source) remember(ctx context.Context, last time.Time) {
	if s.keep == nil {
		return
	}
	b, err := json.Marshal(position{last.UTC(), s.when()})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
		defer cancel()
		err = s.keep.Keep(ctx, b)
	}
	if err != nil {
		slog.Warn("source: the last tick of a schedule cannot be kept", "source", s.name, "error", err)
	}
}

// dueAt is when a tick is made: its time, and its jitter, which is a hash of its id.
func (s *Source) dueAt(tick time.Time) time.Time {
	if s.s.Jitter <= 0 {
		return tick
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.id(tick))) // A hash takes all.
	x := h.Sum64()
	for range 2 { // Ids differ in few of their bits, and FNV spreads the last of them badly.
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
	}
	return tick.Add(time.Duration((x ^ x>>33) % uint64(s.s.Jitter)))
}

func (s *Source) id(tick time.Time) string {
	return s.name + "/" + tick.UTC().Format(time.RFC3339Nano)
}

// show tells people when the next tick is.
func (s *Source) show(tick time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Next, s.report.Then, s.report.Note = tick, nil, ""
	if tick.IsZero() {
		s.report.Note = "it has no more ticks"
		return
	}
	s.report.Then = s.after(tick, told-1)
}

// told is how many ticks people are told of.
const told = 3

// after lists the ticks after an instant, of which there may be fewer than n.
func (s *Source) after(at time.Time, n int) (ticks []time.Time) {
	for len(ticks) < n {
		if at = s.table.next(at); at.IsZero() {
			break
		}
		ticks = append(ticks, at)
	}
	return ticks
}

// Ticks are the next n.
func (s *Source) Ticks(n int) []time.Time { return s.after(s.now(), n) }

// Probe says when it will tick, by the clock of its zone: what a person looks for in a cron that is new.
func (s *Source) Probe(context.Context) (string, error) {
	zone, err := lang.Location(s.s.Zone)
	if err != nil {
		return "", err
	}
	ticks := s.Ticks(told)
	if len(ticks) == 0 {
		return "no more ticks", nil
	}
	said := make([]string, len(ticks))
	for i, at := range ticks {
		said[i] = at.In(zone).Format("Mon 2006-01-02 15:04:05 -0700")
	}
	return "ticks " + strings.Join(said, ", "), nil
}

// until waits until the clock shows due, or is far behind last. False: ctx has ended.
func (s *Source) until(ctx context.Context, last, due time.Time) bool {
	for ctx.Err() == nil {
		now := s.now()
		left := due.Sub(now)
		if left <= 0 || last.Sub(now) > setBack {
			return true
		}
		s.wait(ctx, min(left, glance))
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// make makes the tick that is due, or what of it and those behind it was missed is to be made up for. It returns the last one that was dealt with.
func (s *Source) make(ctx context.Context, admit triggers.Admit, last, tick time.Time) (time.Time, bool) {
	if s.now().Sub(s.dueAt(tick)) <= late {
		return tick, s.fire(ctx, admit, tick, 0)
	}
	// Another router may have been up.
	p, ok := s.recall(ctx)
	if !ok {
		return last, false
	}
	if p.When == s.when() && p.Last.After(last) && p.Last.Sub(s.now()) <= setBack {
		return p.Last, true
	}
	made, end, passed := s.missed(last)
	slog.Warn("source: a schedule has missed ticks", "source", s.name, "first", tick, "last", end, "passed over", passed, "made up for", len(made))
	s.ticks.WithLabelValues("missed").Add(float64(passed))
	for _, x := range made {
		if !s.fire(ctx, admit, x, passed) {
			return last, false
		}
		passed = 0
	}
	s.remember(ctx, end)
	return end, true
}

// missed goes through the ticks after last whose time is over: those to be made up for in order, the last one of them all, and how many are passed over.
func (s *Source) missed(last time.Time) (made []time.Time, end time.Time, passed int) {
	now, most := s.now(), 0
	switch s.s.Missed {
	case missedOnce:
		most = 1
	case missedAll:
		most = s.s.Most
	}
	oldest := now.Add(-s.s.Within.D())
	end = last
	for {
		tick := s.table.next(end)
		if tick.IsZero() || now.Sub(s.dueAt(tick)) <= late {
			return made, end, passed
		}
		switch end = tick; {
		case tick.Before(oldest):
			if passed++; passed == counted { // What is older still is not.
				end = oldest.Add(-1)
			}
		case most == 0:
			passed++
		default:
			if len(made) == most {
				made = made[1:]
				passed++
			}
			made = append(made, tick)
		}
	}
}

// handing bounds one admission.
const handing = 30 * time.Second

// fire makes the event of a tick, and does not give up before it is taken, refused for good, or ctx ends: then it returns false.
func (s *Source) fire(ctx context.Context, admit triggers.Admit, tick time.Time, passed int) bool {
	e, err := s.event(tick, passed)
	if err != nil {
		slog.Error("source: a tick has no data, and is lost", "source", s.name, "tick", tick, "error", err)
		s.ticks.WithLabelValues("refused").Inc()
		s.remember(ctx, tick)
		return true
	}
	var said time.Time
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := s.hand(ctx, admit, e)
		switch {
		case err == nil:
			s.taken(tick)
			s.remember(ctx, tick)
			return true
		case triggers.IsFinal(err):
			slog.Error("source: a tick is refused, and is lost", "source", s.name, "tick", tick, "error", err)
			s.ticks.WithLabelValues("refused").Inc()
			s.remember(ctx, tick)
			return true
		case ctx.Err() != nil:
			return false
		}
		if time.Since(said) > time.Minute {
			slog.Warn("source: a tick is not taken now; it is tried again", "source", s.name, "tick", tick, "error", err)
			said = time.Now()
		}
		s.wait(ctx, pause)
		if ctx.Err() != nil {
			return false
		}
	}
}

// taken books a tick that is durable.
func (s *Source) taken(tick time.Time) {
	s.ticks.WithLabelValues("fired").Inc()
	s.lag.Observe(max(s.now().Sub(s.dueAt(tick)), 0).Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Last = tick
}

// hand gives an event to the router. What is handed over is waited for, also when ctx ends.
func (s *Source) hand(ctx context.Context, admit triggers.Admit, e *event.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
	defer cancel()
	receipts, err := admit(ctx, []event.Event{*e})
	switch {
	case err != nil:
		return err
	case receipts[0].Err != nil:
		return receipts[0].Err
	case receipts[0].Kind == triggers.Unmatched:
		slog.Warn("source: a tick started nothing: no trigger takes it", "source", s.name, "type", e.Type(), "note", receipts[0].Note)
	}
	return nil
}

// event is that of a tick: the same for every router, but for how many were passed over before it.
func (s *Source) event(tick time.Time, passed int) (*event.Event, error) {
	e := event.New()
	e.SetID(s.id(tick))
	e.Context.(*event.EventContextV1).Source = envelope.Source("/schedule/" + s.name)
	e.SetType(s.s.Type)
	e.SetSubject(s.name)
	e.SetTime(tick)
	data, err := s.data(tick, passed)
	if err != nil {
		return nil, err
	}
	return &e, envelope.Fill(&e, event.ApplicationJSON, []byte(data.JSON()), envelope.Limits{Event: 1 << 20})
}

func (s *Source) data(tick time.Time, passed int) (lang.Value, error) {
	zone, err := lang.Location(s.s.Zone)
	if err != nil {
		return lang.Null, err
	}
	vars := lang.Vars{
		{Name: "schedule", Value: lang.Text(s.name)}, {Name: "time", Value: lang.Text(tick.UTC().Format(time.RFC3339Nano))}, {Name: "local", Value: lang.Text(tick.In(zone).Format(time.RFC3339Nano))},
		{Name: "zone", Value: lang.Text(s.s.Zone)}, {Name: "missed", Value: lang.Of(passed)},
	}
	if !s.s.Data.IsZero() {
		return s.s.Data.Eval(vars, nil)
	}
	members := make(map[string]lang.Value, len(vars))
	for _, v := range vars {
		members[v.Name] = v.Value
	}
	return lang.Of(members), nil
}

// Register enters the source.
func Register(r *plugin.Registry) {
	triggers.Register(r, "schedule", 1, "Makes events at times: by cron, at an interval, or once.", New)
}
