package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
)

// sinkFunc is a sink that is one function.
type sinkFunc func(*sinks.Delivery)

func (f sinkFunc) Close() error { return nil }

func (f sinkFunc) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		f(d)
	}
}

// An owner is a shard that keeps what it is told.
type owner struct {
	ctx   context.Context
	off   time.Duration // how far the fold's time is off this machine's
	mu    sync.Mutex
	facts []journal.Record
	tried []journal.Record // apart: they end nothing
}

func (w *owner) Context() context.Context { return w.ctx }

func (w *owner) Accepted(inv *engine.Invocation, ticket string) {
	f := engine.AcceptedFact{Numbers: []uint32{inv.N}}
	if ticket != "" {
		f.Tickets = []string{ticket}
	}
	w.Write(engine.Record(journal.Accepted, inv.Run, &f))
}

func (w *owner) Now() time.Time { return time.Now().Add(w.off) }

func (w *owner) Write(rec journal.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if rec.Kind == journal.Tried {
		w.tried = append(w.tried, rec)
		return
	}
	w.facts = append(w.facts, rec)
}

// take returns what it was told since it was asked last.
func (w *owner) take() []journal.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	facts := w.facts
	w.facts = nil
	return facts
}

// An intake takes ends in, with what a test says.
type intake struct {
	match   []byte
	start   func(*engine.Invocation) error
	current func(began time.Time) bool
	reply   func(e *event.Event) error
}

func (i *intake) Reply(_ context.Context, _ *engine.Invocation, e *event.Event) error {
	return i.reply(e)
}

func (i *intake) Current(began time.Time) bool { return i.current != nil && i.current(began) }

func (i *intake) Outgoing(inv *engine.Invocation) (envelope.Outgoing, error) {
	e := event.New()
	e.SetID(inv.ID())
	return envelope.Made(&e), nil
}

func (i *intake) Match(inv *engine.Invocation) *engine.MatchedFact {
	if i.match == nil {
		return nil
	}
	return &engine.MatchedFact{N: inv.N, Count: 2, Starts: i.match}
}

func (i *intake) Place(inv *engine.Invocation) (*engine.MatchedFact, error) {
	return &engine.MatchedFact{N: inv.N, Count: 1, Starts: []byte("placed")}, nil
}

func (i *intake) StartFor(_ context.Context, inv *engine.Invocation) error { return i.start(inv) }

// inside makes an outbox with a function "f", and an owner.
func inside(t *testing.T, f sinkFunc) (*Outbox, *owner, context.CancelFunc) {
	t.Helper()
	o := New(Options{Intake: new(intake), MaxValue: 16 << 20, Log: slog.New(slog.DiscardHandler)})
	o.bound.functions.Store(&functions{byName: map[string]*function{"f": {Function: &config.Function{Concurrency: 1}, sink: f}}})
	w, leave := enter(t)
	return o, w, leave
}

func enter(t *testing.T) (*owner, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	return &owner{ctx: ctx}, cancel
}

// TestWhatAShutdownAbortsIsNoOutcome: the deliveries' contexts end before the shard has left, and its appender may still be at work.
func TestWhatAShutdownAbortsIsNoOutcome(t *testing.T) {
	t.Parallel()
	for name, ended := range map[string]struct {
		purpose engine.Purpose
		result  func(ctx context.Context) sinks.Result
		records int
	}{
		"given up": {engine.Call, func(ctx context.Context) sinks.Result { return sinks.Ended(ctx, "no answer") }, 0},
		"broken off": {engine.Call, func(context.Context) sinks.Result {
			return sinks.Again(0, &sinks.Error{Type: "a", Message: "b", Class: "platform"})
		}, 0},
		"an event, given up":  {engine.Notify, func(ctx context.Context) sinks.Result { return sinks.Ended(ctx, "no answer") }, 0},
		"answered after all":  {engine.Call, func(context.Context) sinks.Result { return sinks.Complete([]byte("1")) }, 1},
		"accepted after all":  {engine.Call, func(context.Context) sinks.Result { return sinks.Accept() }, 1},
		"an event, taken yet": {engine.Notify, func(context.Context) sinks.Result { return sinks.Accept() }, 1},
	} {
		var sent []*sinks.Delivery
		o, s, leave := inside(t, func(d *sinks.Delivery) { sent = append(sent, d) })
		o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: ended.purpose, Function: "f", Path: "p"})
		o.pump()
		leave()
		sent[0].Done(ended.result(sent[0].Context))
		if records := s.take(); len(records) != ended.records {
			t.Errorf("%s: %d records; want %d", name, len(records), ended.records)
		}
		if l := o.lanes["f"]; l.flying != 0 || l.queue != 0 || len(sent) != 1 {
			t.Errorf("%s: %d in flight, %d queued, %d sent", name, l.flying, l.queue, len(sent))
		}
		o.Wait()
	}
}

// TestFunctionGoesBetweenRoomAndSending: a reload comes when an invocation has its place and is not sent yet.
func TestFunctionGoesBetweenRoomAndSending(t *testing.T) {
	t.Parallel()
	var sent []*sinks.Delivery
	o, s, leave := inside(t, func(d *sinks.Delivery) { sent = append(sent, d) })
	defer leave()
	had := o.bound.functions.Load()
	o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: engine.Call, Function: "f", Path: "p"})
	o.bound.functions.Store(new(functions))
	o.rebind()
	if l := o.lanes["f"]; len(sent) != 0 || l.flying != 0 || l.queue != 1 {
		t.Fatalf("%d sent, %d in flight, %d queued", len(sent), l.flying, l.queue)
	}
	o.bound.functions.Store(had)
	o.rebind()
	if l := o.lanes["f"]; len(sent) != 1 || l.flying != 1 || l.queue != 0 {
		t.Fatalf("%d sent, %d in flight, %d queued", len(sent), l.flying, l.queue)
	}
	sent[0].Done(sinks.Complete([]byte("1")))
	if records := s.take(); len(records) != 1 || records[0].Kind != journal.Completion {
		t.Errorf("%+v", records)
	}
}

// TestStaleClockTakesNobodyElsesPlace: the timer of an accepted invocation fires when another tenure of the same partition has it already.
func TestStaleClockTakesNobodyElsesPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, former, leave := inside(t, func(*sinks.Delivery) {})
		inv := &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: engine.Call, Function: "f", Path: "p", Timeout: time.Minute, Before: &engine.Before{Accepted: time.Now()}}
		o.add(former, inv)
		item := func() *item {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.items[itemKey{inv.Run, inv.N}]
		}
		stale := item()
		o.leave(former)
		leave()
		next, end := enter(t)
		defer end()
		o.add(next, inv)
		stale.since = time.Now().Add(-time.Minute)
		o.watchAccepted(stale) // As if it had not been stopped in time.
		time.Sleep(time.Second)
		synctest.Wait()
		if it := item(); it == nil || it.owner != next || len(former.take()) != 0 {
			t.Errorf("the new tenure's item is %+v", it)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if records := next.take(); len(records) != 1 || records[0].Kind != journal.TimedOut {
			t.Errorf("%+v", records)
		}
	})
}

// TestEndsComeInAgain: the end of a run is put past the filters, what they let through is journaled first, and what fails is tried again until it is
// final.
func TestEndsComeInAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, s, leave := inside(t, nil)
		defer leave()
		in := o.Intake.(*intake)
		route := &engine.Invocation{Run: journal.RunID{1}, N: 2, Purpose: engine.Route}
		o.add(s, route)
		if got := kinds(s.take()); !slices.Equal(got, []journal.Kind{journal.Accepted}) {
			t.Errorf("nothing matched: %v", got)
		}
		in.match = []byte("two triggers")
		o.add(s, route)
		if facts := s.take(); len(facts) != 1 || facts[0].Kind != journal.Matched {
			t.Errorf("%+v", facts)
		}
		matched := *route
		matched.Starts = in.match
		var tries atomic.Int64
		in.start = func(*engine.Invocation) error {
			if tries.Add(1) < 40_000 { // The disk is full for half a day.
				return errors.New("the disk is full")
			}
			return nil
		}
		o.add(s, &matched)
		time.Sleep(12 * time.Hour)
		if got := kinds(s.take()); tries.Load() != 40_000 || !slices.Equal(got, []journal.Kind{journal.Accepted}) {
			t.Errorf("%d tries, %v", tries.Load(), got)
		}
		for name, c := range map[string]struct {
			err error
			at  time.Duration
		}{"final": {lang.Failf(lang.ClassPlatform, "bad_matches", "none"), 0}, "gone for too long": {fmt.Errorf("%w %q", triggers.ErrNoTrigger, "t"), missingAge}} {
			in.start = func(*engine.Invocation) error { return c.err }
			o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: 3, Purpose: engine.Notify, ToTrigger: "t"})
			if time.Sleep(c.at - time.Second); len(s.take()) != 0 {
				t.Errorf("%s: given up before %s", name, c.at)
			}
			time.Sleep(3 * time.Second)
			if got := kinds(s.take()); !slices.Equal(got, []journal.Kind{journal.GaveUp}) {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// TestAcceptedByAnotherClock: a machine whose clock is not the journal's times out what was accepted before it came when the try's time is over.
func TestAcceptedByAnotherClock(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
		o, s, leave := inside(t, func(*sinks.Delivery) {})
		s.off = off
		accepted := func(n uint32, ago time.Duration) {
			o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: n, Purpose: engine.Call, Function: "f", Path: "p", Timeout: time.Minute, Before: &engine.Before{Accepted: s.Now().Add(-ago)}})
		}
		accepted(1, 2*time.Minute)
		accepted(2, time.Second)
		for deadline := time.Now().Add(10 * time.Second); len(s.kept()) == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if records := s.kept(); len(records) != 1 || records[0].Kind != journal.TimedOut {
			t.Errorf("%s off: %v", off, records)
		}
		if it := o.items[itemKey{journal.RunID{1}, 2}]; it == nil || time.Until(it.since.Add(time.Minute)) > time.Minute {
			t.Errorf("%s off: what was accepted a second ago: %+v", off, it)
		}
		leave()
		o.Wait()
	}
}

// kept returns what it was told so far.
func (w *owner) kept() []journal.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.facts)
}

func kinds(facts []journal.Record) (out []journal.Kind) {
	for _, f := range facts {
		out = append(out, f.Kind)
	}
	return out
}

func (i *intake) Child(*engine.Invocation) (journal.RunID, bool) { return journal.RunID{}, false }

// TestStoppedFunction: what goes to a function that concurrency: 0 has stopped is given up at once, in its turn; nothing is sent. So is what waited when a
// reload stopped it.
func TestStoppedFunction(t *testing.T) {
	t.Parallel()
	o, w, leave := inside(t, func(d *sinks.Delivery) { t.Error("it was invoked") })
	defer leave()
	o.bound.functions.Load().byName["f"].Concurrency = 0
	for n := range uint32(3) {
		o.add(w, &engine.Invocation{Run: journal.RunID{1}, N: n, Purpose: engine.Call, Function: "f", Created: w.Now()})
	}
	o.pump()
	var errs []string
	for _, r := range w.take() {
		f, err := engine.DecodeGaveUp(r.Payload)
		if r.Kind != journal.GaveUp || err != nil {
			t.Fatalf("%v %v", r.Kind, err)
		}
		errs = append(errs, f.Err.Type)
	}
	if want := []string{engine.ZeroConcurrency, engine.ZeroConcurrency, engine.ZeroConcurrency}; !slices.Equal(errs, want) {
		t.Errorf("%v", errs)
	}
}

// TestStoppedWhileAtWork: a reload stops a function that is at work on a call, for however long. What waits behind that is given up at once.
func TestStoppedWhileAtWork(t *testing.T) {
	t.Parallel()
	var at *sinks.Delivery
	o, w, leave := inside(t, func(d *sinks.Delivery) { at = d })
	defer leave()
	for n := range uint32(3) {
		o.add(w, &engine.Invocation{Run: journal.RunID{1}, N: n, Purpose: engine.Call, Function: "f", Created: w.Now()})
	}
	o.pump()
	was := o.bound.functions.Load().byName["f"]
	o.bound.functions.Store(&functions{byName: map[string]*function{"f": {Function: &config.Function{}, sink: was.sink}}})
	o.rebind()
	o.pump()
	if facts := w.take(); at == nil || len(facts) != 2 || facts[0].Kind != journal.GaveUp || facts[1].Kind != journal.GaveUp {
		t.Fatalf("%v, and at work: %t", kinds(facts), at != nil)
	}
	at.Done(sinks.Complete([]byte("1")))
	if facts := w.take(); len(facts) != 1 || facts[0].Kind != journal.Completion {
		t.Errorf("%v", kinds(facts))
	}
}
