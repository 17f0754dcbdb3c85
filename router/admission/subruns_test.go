package admission

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// TestSubruns: a call starts one run, however often it is carried out; its cancel goes to that run, and the answer to the call.
func TestSubruns(t *testing.T) {
	t.Parallel()
	for _, trigger := range []string{"one", "free"} {
		g, d := open(t, keyedDocument+"  free: { filters: [{ exact: { type: x } }], flow: { function: f } }\n")
		call := &engine.Invocation{Run: journal.RunID{7}, N: 3, Path: "sub", Purpose: engine.Call, Trigger: "x", ToTrigger: trigger, Type: engine.TypeSub, Input: lang.Of(map[string]string{"orderId": "o"}), Fuel: 128}
		cancel := &engine.Invocation{Run: call.Run, N: 9, Path: "sub", Purpose: engine.Cancel, Trigger: "x", ToTrigger: trigger, Type: engine.TypeSub, Input: call.Input, Cause: call.ID()}
		for _, inv := range []*engine.Invocation{call, call, cancel} {
			if err := g.StartFor(t.Context(), inv); err != nil {
				t.Fatal(err)
			}
		}
		child, ok := g.Child(call)
		if len(d.records) != 4 || !ok {
			t.Fatalf("%s: %d records", trigger, len(d.records))
		}
		for i, kind := range []journal.Kind{journal.Define, journal.Start, journal.Start, journal.Cancel} {
			if rec := d.records[i]; rec.Kind != kind || i > 0 && (rec.Run != child || rec.Partition != g.Layout.Partition(child.Route())) {
				t.Errorf("%s: record %d: %s of %s", trigger, i, rec.Kind, rec.Run)
			}
		}
		f, err := engine.DecodeStart(d.records[1].Payload)
		if err != nil || f.Parent != call.ID() || f.Spent != fullFuel-128 || engine.ParentOf(f.Event) != call.Run.String() {
			t.Errorf("%s: %+v, %v", trigger, f, err)
		}
		if c, err := engine.DecodeCancel(d.records[3].Payload); err != nil || !c.Ahead {
			t.Errorf("%s: %+v, %v", trigger, c, err)
		}
		d.records = nil
		answer := (&engine.CompletionFact{N: 3, Outcome: lang.Success(lang.Of(5))}).Append(nil)
		if err := g.StartFor(t.Context(), &engine.Invocation{Run: child, N: 4, Purpose: engine.Return, Cause: call.ID(), Starts: answer}); err != nil || len(d.records) != 1 {
			t.Fatalf("%s: %d records, %v", trigger, len(d.records), err)
		}
		if rec := d.records[0]; rec.Kind != journal.Completion || rec.Run != call.Run || string(rec.Payload) != string(answer) {
			t.Errorf("%s: %+v", trigger, rec)
		}
		loose := *call
		loose.Type, d.records = engine.TypeLoose, nil
		if err := g.StartFor(t.Context(), &loose); err != nil || len(d.records) != 1 {
			t.Fatalf("%s: %d records, %v", trigger, len(d.records), err)
		}
		if f, err := engine.DecodeStart(d.records[0].Payload); err != nil || f.Parent != "" {
			t.Errorf("%s: %+v, %v", trigger, f, err)
		}
	}
	g, _ := open(t, keyedDocument)
	call := &engine.Invocation{Run: journal.RunID{7}, N: 3, Path: "sub", Purpose: engine.Call, Trigger: "x", ToTrigger: "one", Type: engine.TypeSub, Input: lang.Of(1)}
	if final, ok := g.StartFor(t.Context(), call).(*lang.Error); !ok || final.Type != "bad_event" {
		t.Errorf("without a key: %v", final)
	}
	call.ToTrigger = "gone"
	if err := g.StartFor(t.Context(), call); !errors.Is(err, triggers.ErrNoTrigger) {
		t.Errorf("a trigger that is gone: %v", err)
	}
}

// TestPlacedSubrun: once it is journaled which run a call starts, that one is started and cancelled, whatever the documents say by then.
func TestPlacedSubrun(t *testing.T) {
	t.Parallel()
	g, d := open(t, keyedDocument)
	call := &engine.Invocation{Run: journal.RunID{7}, N: 3, Path: "sub", Purpose: engine.Call, Trigger: "x", ToTrigger: "one", Type: engine.TypeSub, Input: lang.Of(map[string]string{"orderId": "o"}), Fuel: 128}
	placed, err := g.Place(call)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := g.Child(call)
	call.Starts, call.Input = placed.Starts, lang.Of(map[string]string{"orderId": "another"}) // As if another document made another key of it.
	gone := &engine.Invocation{Run: call.Run, N: 9, Path: "sub", Purpose: engine.Cancel, Trigger: "x", ToTrigger: "gone", Type: engine.TypeSub, Input: call.Input, Cause: call.ID(), Starts: placed.Starts}
	for _, inv := range []*engine.Invocation{call, gone} {
		if err := g.StartFor(t.Context(), inv); err != nil {
			t.Fatal(err)
		}
	}
	start, cancel := d.records[len(d.records)-2], d.records[len(d.records)-1]
	f, err := engine.DecodeStart(start.Payload)
	if err != nil || start.Run != want || f.Key != "o" || cancel.Kind != journal.Cancel || cancel.Run != want || cancel.Tenant != start.Tenant {
		t.Errorf("start of %s (%+v, %v), cancel of %s; want %s", start.Run, f, err, cancel.Run, want)
	}
	call.Starts = []byte("{}")
	if final, ok := g.StartFor(t.Context(), call).(*lang.Error); !ok || final.Type != "bad_matches" {
		t.Errorf("no place: %v", final)
	}
}

// TestCurrent: documents say that a trigger is gone for good only when they are newer than the run, by as long as a reload of all routers takes, and have been
// in force for as long.
func TestCurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, loaded := new(Gate), time.Now()
		g.Load(new(config.Set))
		for _, x := range []struct {
			after, before time.Duration // how long after loading it is, and how long before it the run began
			want          bool
		}{
			{0, time.Hour, false}, {settling - 1, time.Hour, false}, {settling, time.Hour, true},
			{settling, settling, true}, {settling, settling - 1, false}, {time.Hour, -time.Second, false},
		} {
			time.Sleep(time.Until(loaded.Add(x.after)))
			if got := g.Current(loaded.Add(-x.before)); got != x.want {
				t.Errorf("%s after loading, for a run %s older: %t", x.after, x.before, got)
			}
		}
	})
}
