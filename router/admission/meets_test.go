package admission

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
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

// startsOf are the starts among what was journaled, by key.
func startsOf(t *testing.T, d *desk) map[string]engine.StartFact {
	t.Helper()
	starts := make(map[string]engine.StartFact)
	for _, rec := range d.records {
		if rec.Kind != journal.Start {
			continue
		}
		f, err := engine.DecodeStart(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := starts[f.Key]; twice {
			t.Errorf("key %q has two starts", f.Key)
		}
		starts[f.Key] = f
	}
	return starts
}

// TestKeysOfOneEvent: each is a start of its own, all of them or none; of an event that is refused those for which runs wait, and sent again it is completed.
func TestKeysOfOneEvent(t *testing.T) {
	t.Parallel()
	fifty := make([]string, 50)
	for i := range fifty {
		fifty[i] = fmt.Sprintf("%q", fmt.Sprint("k", i))
	}
	for name, c := range map[string]struct {
		keys  string
		load  Load
		note  string
		keyed int // starts
		fault error
	}{
		"two":                    {keys: `["a","b","a"]`, keyed: 2},
		"fifty":                  {keys: "[" + strings.Join(fifty, ",") + "]", keyed: 50},
		"none":                   {keys: `[]`, note: "yields an empty list"},
		"one of them is none":    {keys: `["a",{}]`, note: "item 1 of its keys"},
		"no room, and one waits": {keys: `["a","waits","b"]`, load: Load{Runs: 10}, keyed: 1, fault: triggers.ErrBusy},
		"no room, and all wait":  {keys: `["waits"]`, load: Load{Runs: 10}, keyed: 1},
		"no room":                {keys: `["a","b"]`, load: Load{Runs: 10}, fault: triggers.ErrBusy},
		"one record too large":   {keys: `["a","` + strings.Repeat("x", 1000) + `"]`, fault: triggers.ErrTooLarge},
	} {
		g, d := open(t, meetsDocument)
		d.load, d.gathers = c.load, []string{"waits"}
		var dead []*engine.Letter
		g.Options.Dead = func(l ...*engine.Letter) { dead = append(dead, l...) }
		if name == "one record too large" {
			g.MaxRecord = 2000
		}
		e := eventFor(t, "1", "packed", `{"k":`+c.keys+`}`)
		receipts, err := g.Admit(t.Context(), []event.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		r, starts := receipts[0], startsOf(t, d)
		if !errors.Is(r.Err, c.fault) || !strings.Contains(r.Note, c.note) || len(starts) != c.keyed || c.fault == nil && len(r.Runs) != c.keyed || c.fault != nil && len(r.Runs) != 0 {
			t.Errorf("%s: %v, %q, %d runs, %d starts; want %+v", name, r.Err, r.Note, len(r.Runs), len(starts), c)
		}
		for key, f := range starts {
			if f.Spent != 0 || f.Names[0] != "packed" {
				t.Errorf("%s: %s: %+v", name, key, f)
			}
		}
		if c.note != "" && (len(dead) != 1 || dead[0].Fault().Type != "no_key") {
			t.Errorf("%s: dead letters: %v", name, dead)
		}
	}
	g, _ := open(t, meetsDocument)
	large := eventFor(t, "1", "packed", `{"k":["`+strings.Join(strings.Split(strings.Repeat("x", 40), ""), `","`)+`"],"pad":"`+strings.Repeat("y", 1<<19)+`"}`)
	for i, keys := range []int{1, 40} { // Forty that are one, and forty of a large event.
		if keys > 1 {
			list := make([]int, keys)
			for k := range list {
				list[k] = k
			}
			large = eventFor(t, "2", "packed", fmt.Sprintf(`{"k":%s,"pad":%q}`, strings.ReplaceAll(fmt.Sprint(list), " ", ","), strings.Repeat("y", 1<<19)))
		}
		receipts, err := g.Admit(t.Context(), []event.Event{large})
		if err != nil || i == 0 && len(receipts[0].Runs) != 1 || i == 1 && (len(receipts[0].Runs) != 0 || !strings.Contains(receipts[0].Note, "it has 40 keys")) {
			t.Errorf("%d keys: %v %+v", keys, err, receipts)
		}
	}
	if tried := g.Test(&large); tried[1].Taken || !strings.Contains(tried[1].Why, "it has 40 keys") {
		t.Errorf("%+v", tried)
	}
	small := eventFor(t, "3", "packed", `{"k":["a","b"]}`)
	if tried := g.Test(&small); !tried[1].Taken || strings.Join(tried[1].Keys, " ") != "a b" || tried[1].As != "packed" || tried[1].Run != "" {
		t.Errorf("%+v", tried)
	}
	if _, err := g.Start(t.Context(), "pair", &small); !errors.Is(err, triggers.ErrInvalid) || !strings.Contains(err.Error(), "yields 2 keys") {
		t.Errorf("a start by name of two keys: %v", err)
	}
}
