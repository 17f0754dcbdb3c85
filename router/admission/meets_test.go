package admission

import (
	"errors"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
)

const meetsDocument = `version: 1
functions: { f: { exec: cat } }
triggers:
  pair: { correlate: "${ data.k }", await: { events: { paid: { filters: [{ exact: { type: paid } }] }, packed: { filters: [{ exact: { type: packed } }] } } }, flow: { function: f } }
  other: { filters: [{ exact: { type: packed } }, { exact: { subject: both } }], flow: { function: f } }
`

// TestWhatIsAwaitedIsTaken: events for which runs wait are taken when this router, or the one that folds them, takes no starts; of those behind others, only they
// are. Nothing else is, and what is refused is refused whole.
func TestWhatIsAwaitedIsTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		load    Load
		others  string
		behind  bool
		subject string
		taken   [3]bool // of the keys that gathers, that does not, and the other trigger's event
	}{
		"room":                      {taken: [3]bool{true, true, true}},
		"too many here":             {load: Load{Runs: 10}, taken: [3]bool{true, false, false}},
		"too many there":            {others: "10 runs are open", taken: [3]bool{true, false, false}},
		"behind others":             {behind: true, taken: [3]bool{true, false, false}},
		"and another trigger, room": {subject: "both", taken: [3]bool{true, true, true}},
		"and another trigger":       {subject: "both", load: Load{Runs: 10}},
	} {
		g, d := open(t, meetsDocument)
		d.load, d.others, d.gathers = c.load, c.others, []string{"waits"}
		list := []event.Event{eventFor(t, "1", "packed", `{"k":"waits"}`), eventFor(t, "2", "packed", `{"k":"new"}`), eventFor(t, "3", "packed", `{"k":"waits"}`)}
		for i := range list[:2] {
			if c.subject != "" {
				list[i].SetSubject(c.subject)
			}
		}
		list[2].SetSubject("both")
		ctx := t.Context()
		if c.behind {
			ctx = triggers.OnlyAwaited(ctx)
		}
		receipts, err := g.Admit(ctx, list)
		if err != nil {
			t.Fatal(err)
		}
		records := 0
		for i, r := range receipts {
			if r.Err == nil != c.taken[i] || r.Err != nil && !errors.Is(r.Err, triggers.ErrBusy) {
				t.Errorf("%s: event %d: %v", name, i+1, r.Err)
			}
			if c.taken[i] {
				records += len(r.Runs)
			} else if len(r.Runs) > 0 {
				t.Errorf("%s: event %d is refused, and has %d runs", name, i+1, len(r.Runs))
			}
		}
		starts := 0
		for _, rec := range d.records {
			if rec.Kind.String() == "start" {
				starts++
			}
		}
		if starts != records {
			t.Errorf("%s: %d starts are journaled, and the receipts have %d", name, starts, records)
		}
	}
}
