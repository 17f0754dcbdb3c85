package outbox

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

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// A door is a sink that tells when it is closed, and keeps its deliveries.
type door struct {
	mu     sync.Mutex
	sent   []*sinks.Delivery
	closed int
}

func (d *door) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, deliveries...)
}

func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

func (d *door) isClosed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// TestReplacedSinksAreClosed reloads many times with a delivery under way in the first sink: all others that were replaced are closed, that one when its
// delivery has ended, and each once; a reload that fails leaves nothing behind.
func TestReplacedSinksAreClosed(t *testing.T) {
	t.Parallel()
	var doors []*door
	fail := false
	set := &config.Set{Functions: map[string]*config.Function{}}
	for i := range 2 {
		name := fmt.Sprint("f", i)
		set.Functions[name] = &config.Function{Name: name, Concurrency: 1, Sink: plugin.Component{Make: sinks.Factory(func(name string, _ any, _ sinks.Host) (sinks.Sink, error) {
			if fail && name == "f1" {
				return nil, errors.New("no such thing")
			}
			doors = append(doors, new(door))
			return doors[len(doors)-1], nil
		})}}
	}
	o, s, leave := inside(t, nil)
	defer leave()
	o.bound.functions.Store(&functions{})
	if err := o.Load(set); err != nil {
		t.Fatal(err)
	}
	o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: 1, Purpose: engine.Call, Function: "f0", Path: "p"})
	o.pump()
	for range 40 {
		if err := o.Load(set); err != nil {
			t.Fatal(err)
		}
	}
	fail = true
	if err := o.Load(set); err == nil {
		t.Error("a function that cannot be made was loaded")
	}
	o.bound.closing.Wait()
	if n := len(doors); n != 83 || len(doors[0].sent) != 1 {
		t.Fatalf("%d sinks, %d deliveries", n, len(doors[0].sent))
	}
	for i, d := range doors {
		want := 1
		if i == 0 || i == 80 || i == 81 { // Those in use: by a delivery, and by the documents in force.
			want = 0
		}
		if d.isClosed() != want {
			t.Errorf("sink %d was closed %d times", i, d.isClosed())
		}
	}
	doors[0].sent[0].Done(sinks.Complete([]byte("1")))
	o.bound.closing.Wait()
	if n := doors[0].isClosed(); n != 1 {
		t.Errorf("after its delivery the first one was closed %d times", n)
	}
	o.Wait()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for i, d := range doors {
		if n := d.isClosed(); n != 1 {
			t.Errorf("in the end sink %d was closed %d times", i, n)
		}
	}
}

// TestMissingFunctions: what waits for a function that the documents do not have is sent when it comes back, and given up, with the cure, once it has been
// gone for the time of a reload of all routers; reloads without it give no new time, and what comes later finds that out at once.
func TestMissingFunctions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		o, s, leave := inside(t, func(d *sinks.Delivery) {
			sent++
			d.Done(sinks.Complete([]byte("1")))
		})
		defer leave()
		with, without := o.bound.functions.Load(), &functions{byName: map[string]*function{}}
		load := func(f *functions) {
			o.bound.functions.Store(f)
			o.rebind()
		}
		add := func(n uint32, purpose engine.Purpose, expires time.Time) {
			o.add(s, &engine.Invocation{Run: journal.RunID{1}, N: n, Purpose: purpose, Function: "f", Path: "p", Expires: expires})
			o.pump()
			synctest.Wait()
		}
		load(without)
		add(1, engine.Call, time.Time{})
		time.Sleep(missingAge - time.Second)
		load(with)
		if got := kinds(s.take()); sent != 1 || !slices.Equal(got, []journal.Kind{journal.Completion}) {
			t.Errorf("it is back: %d sent, %v", sent, got)
		}
		load(without)
		add(2, engine.Call, time.Time{})
		add(3, engine.Notify, time.Time{})
		add(4, engine.Call, time.Now().Add(time.Minute))
		if why, _, end := o.Explain(journal.RunID{1}, 2); !strings.Contains(why, "not in the documents") || !end.Equal(time.Now().Add(missingAge)) {
			t.Errorf("%s, until %s", why, end)
		}
		time.Sleep(missingAge / 2)
		if got := kinds(s.take()); !slices.Equal(got, []journal.Kind{journal.GaveUp}) {
			t.Errorf("after the deadline of a step: %v", got)
		}
		load(without)
		time.Sleep(missingAge/2 - time.Second)
		if got := s.take(); len(got) > 0 {
			t.Errorf("too early: %v", got)
		}
		time.Sleep(2 * time.Second)
		add(5, engine.Call, time.Time{})
		got := s.take()
		if !slices.Equal(kinds(got), []journal.Kind{journal.GaveUp, journal.GaveUp, journal.GaveUp}) || sent != 1 {
			t.Fatalf("%d sent, %v", sent, kinds(got))
		}
		for _, rec := range got {
			f, err := engine.DecodeGaveUp(rec.Payload)
			if err != nil || f.Err.Type != "undelivered" || !strings.Contains(f.Err.Message, `have not had function "f" for 10m0s; load those that define it`) {
				t.Errorf("%v, %v", f.Err, err)
			}
		}
	})
}
