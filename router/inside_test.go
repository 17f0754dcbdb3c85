package router

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
)

type partitionOnly struct{ journal.Tenure }

func (partitionOnly) Partition() int { return 3 }

// TestAcceptedRecordsOfARunGoTogether: what gathers between two appends is one record a run, other records keep their order, and a record has a bound.
func TestAcceptedRecordsOfARunGoTogether(t *testing.T) {
	t.Parallel()
	s := &shard{t: partitionOnly{}, facts: facts{wake: make(chan struct{}, 1)}}
	one, two := journal.RunID{1}, journal.RunID{2}
	accept := func(run journal.RunID, n uint32) { s.accepted(&engine.Invocation{Run: run, N: n}) }
	numbers := func(rec journal.Record) []uint32 {
		t.Helper()
		f, err := engine.DecodeNumbers(rec.Payload)
		if err != nil || rec.Partition != 3 || rec.Level != journal.Level {
			t.Errorf("%+v, %v", rec, err)
		}
		return f.Numbers
	}
	accept(one, 7)
	s.timedOut(&engine.Invocation{Run: one, N: 1})
	accept(two, 5)
	accept(one, 9)
	s.timedOut(&engine.Invocation{Run: two, N: 2})
	accept(one, 8)
	records := s.facts.take(nil)
	var kinds []journal.Kind
	for _, r := range records {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, []journal.Kind{journal.Accepted, journal.TimedOut, journal.Accepted, journal.TimedOut}) {
		t.Fatalf("%v", kinds)
	}
	if records[0].Run != one || !slices.Equal(numbers(records[0]), []uint32{7, 9, 8}) || records[2].Run != two || !slices.Equal(numbers(records[2]), []uint32{5}) {
		t.Errorf("%v of %s, %v of %s", numbers(records[0]), records[0].Run, numbers(records[2]), records[2].Run)
	}
	select {
	case <-s.facts.wake:
	default:
		t.Error("the appender was not woken")
	}

	// What comes after they were taken is of the next append; what was taken stays as it is.
	accept(one, 10)
	next := s.facts.take(nil)
	if len(next) != 1 || !slices.Equal(numbers(next[0]), []uint32{10}) || !slices.Equal(numbers(records[0]), []uint32{7, 9, 8}) {
		t.Errorf("%+v", next)
	}
	if more := s.facts.take(records); len(more) != 0 {
		t.Errorf("%d records of nothing", len(more))
	}

	const n = 2*acceptedMost + 1
	for i := range uint32(n) {
		accept(two, i+1)
	}
	var all []uint32
	records = s.facts.take(nil)
	for _, r := range records {
		all = append(all, numbers(r)...)
	}
	if len(records) != 3 || len(all) != n || all[0] != 1 || all[n-1] != n {
		t.Errorf("%d records of %d numbers", len(records), len(all))
	}
}

// TestRefusalLasts: a run that ends while events are taken in lets none of the later starts pass one that was refused.
func TestRefusalLasts(t *testing.T) {
	t.Parallel()
	r := &Router{o: Options{MaxRuns: 1, MaxAdmitting: 10}}
	in := &intake{r: r}
	if err := in.busy(); err != nil {
		t.Fatal(err)
	}
	r.openRuns.Store(1)
	if err := in.busy(); !errors.Is(err, triggers.ErrBusy) {
		t.Fatalf("at the limit: %v", err)
	}
	r.openRuns.Store(0)
	if err := in.busy(); !errors.Is(err, triggers.ErrBusy) {
		t.Errorf("a later start of the same call: %v", err)
	}
	if err := (&intake{r: r}).busy(); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// sinkFunc is a sink that is one function.
type sinkFunc func(*sinks.Delivery)

func (f sinkFunc) Close() error { return nil }

func (f sinkFunc) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		f(d)
	}
}

// inside makes an outbox with a function "f", and a shard that writes to nowhere.
func inside(t *testing.T, f sinkFunc) (*outbox, *shard, context.CancelFunc) {
	t.Helper()
	r := &Router{metrics: newMetrics(nil), maxValue: MaxValueBytes}
	r.functions.Store(&bound{byName: map[string]*boundFunction{"f": {Function: &config.Function{Concurrency: 1}, sink: f}}})
	r.outbox = newOutbox(r)
	ctx, cancel := context.WithCancel(t.Context())
	return r.outbox, &shard{r: r, t: partitionOnly{}, ctx: ctx, facts: facts{wake: make(chan struct{}, 1)}}, cancel
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
		if records := s.facts.take(nil); len(records) != ended.records {
			t.Errorf("%s: %d records; want %d", name, len(records), ended.records)
		}
		if l := o.lanes["f"]; l.flying != 0 || l.queue != 0 || len(sent) != 1 {
			t.Errorf("%s: %d in flight, %d queued, %d sent", name, l.flying, l.queue, len(sent))
		}
		o.wait()
	}
}

// TestFunctionGoesBetweenRoomAndSending: a reload comes when an invocation has its place and is not sent yet.
func TestFunctionGoesBetweenRoomAndSending(t *testing.T) {
	t.Parallel()
	var sent []*sinks.Delivery
	o, s, leave := inside(t, func(d *sinks.Delivery) { sent = append(sent, d) })
	defer leave()
	had := o.r.functions.Load()
	o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: engine.Call, Function: "f", Path: "p"})
	o.r.functions.Store(&bound{})
	o.bind()
	if l := o.lanes["f"]; len(sent) != 0 || l.flying != 0 || l.queue != 1 {
		t.Fatalf("%d sent, %d in flight, %d queued", len(sent), l.flying, l.queue)
	}
	o.r.functions.Store(had)
	o.bind()
	if l := o.lanes["f"]; len(sent) != 1 || l.flying != 1 || l.queue != 0 {
		t.Fatalf("%d sent, %d in flight, %d queued", len(sent), l.flying, l.queue)
	}
	sent[0].Done(sinks.Complete([]byte("1")))
	if records := s.facts.take(nil); len(records) != 1 || records[0].Kind != journal.Completion {
		t.Errorf("%+v", records)
	}
}

// TestStaleClockTakesNobodyElsesPlace: the timer of an accepted invocation fires when another tenure of the same partition has it already.
func TestStaleClockTakesNobodyElsesPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, former, leave := inside(t, func(*sinks.Delivery) {})
		inv := &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: engine.Call, Function: "f", Path: "p", Timeout: time.Minute, Accepted: time.Now()}
		o.add(former, inv)
		item := func() *item {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.items[itemKey{inv.Run, inv.N}]
		}
		stale := item()
		o.leave(former)
		leave()
		_, next, end := inside(t, nil)
		defer end()
		next.r = o.r
		o.add(next, inv)
		o.watchAccepted(stale, 0) // As if it had not been stopped in time.
		time.Sleep(time.Second)
		synctest.Wait()
		if it := item(); it == nil || it.shard != next || len(former.facts.take(nil)) != 0 {
			t.Errorf("the new tenure's item is %+v", it)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if records := next.facts.take(nil); len(records) != 1 || records[0].Kind != journal.TimedOut {
			t.Errorf("%+v", records)
		}
	})
}
