package admission

import (
	"fmt"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// fuels returns what the starts that a desk has got leave their runs.
func fuels(t *testing.T, d *desk) (left []int) {
	t.Helper()
	for _, rec := range d.records {
		if rec.Kind != journal.Start {
			continue
		}
		f, err := engine.DecodeStart(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, fullFuel-f.Spent)
	}
	d.records = nil
	return left
}

const chains = `version: 1
functions: { f: { log: f } }
triggers:
  a: { flow: { function: f }, filters: [{ not: { exact: { type: never } } }] }
  b: { flow: { function: f }, filters: [{ prefix: { source: / } }] }
  c: { flow: { function: f }, filters: [{ exact: { type: only } }] }
`

// TestFuelAtTheDoor: an event from outside brings a budget, which what it starts shares; our own events bring what they say, and no more than that;
// an event that names an invocation as its cause brings less than that invocation's run had.
func TestFuelAtTheDoor(t *testing.T) {
	t.Parallel()
	g, d := open(t, chains)
	call := &engine.Invocation{Run: journal.RunID{1}, N: 7, Path: "x", Purpose: engine.Call}
	deep := *call
	deep.N = 7 | 3<<30
	for name, c := range map[string]struct {
		extensions []string
		want       []int
	}{
		"from outside":             {nil, []int{512, 512}},
		"our own":                  {[]string{extFuel, "9"}, []int{5, 4}},
		"the last one":             {[]string{extFuel, "1"}, []int{1, 0}},
		"nothing left":             {[]string{extFuel, "0"}, []int{0, 0}},
		"more than there is":       {[]string{extFuel, "1000000"}, []int{512, 512}},
		"less than nothing":        {[]string{extFuel, "-3"}, []int{0, 0}},
		"nonsense":                 {[]string{extFuel, "plenty"}, []int{512, 512}},
		"caused by a call":         {[]string{extCausation, g.Seal(call.ID())}, []int{64, 64}},
		"with a cause of no tag":   {[]string{extCausation, call.ID()}, []int{64, 64}},
		"deep in a chain of calls": {[]string{extCausation, g.Seal(deep.ID())}, []int{0, 0}},
		"a call that is told":      {[]string{extCausation, g.Seal(call.ID()), extFuel, "2"}, []int{1, 1}},
		"a cause of another kind":  {[]string{extCausation, "order-17"}, []int{512, 512}},
	} {
		e := eventFor(t, "1", "any", "1", c.extensions...)
		if _, err := g.Admit(t.Context(), []event.Event{e}); err != nil {
			t.Fatal(err)
		}
		if got := fuels(t, d); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	// What the filters let through of a run's end shares what the fold has given it, to the last.
	end := &engine.Invocation{Run: journal.RunID{1}, N: 2, Path: "end", Purpose: engine.Route, Trigger: "a", Type: "only", Input: lang.Of(3)}
	matched := g.Match(end)
	if matched == nil || matched.Count != 3 {
		t.Fatalf("%+v", matched)
	}
	end.Starts, end.Fuel = matched.Starts, 5
	if err := g.StartFor(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	if got := fuels(t, d); fmt.Sprint(got) != "[1 2 2]" && fmt.Sprint(got) != "[2 2 1]" {
		t.Errorf("%v", got)
	}
	// So does the trigger of a destination.
	if err := g.StartFor(t.Context(), &engine.Invocation{Run: journal.RunID{1}, N: 3, Purpose: engine.Notify, Trigger: "a", ToTrigger: "c", Fuel: 11}); err != nil {
		t.Fatal(err)
	}
	if got := fuels(t, d); fmt.Sprint(got) != "[11]" {
		t.Errorf("%v", got)
	}
}
