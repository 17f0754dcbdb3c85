package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

const roundsDocument = `version: 1
functions: { f: { exec: cat } }
triggers:
  pair: { correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }] }, b: { filters: [{ exact: { type: b } }] } }, deadline: 1h }, flow: { function: f } }
  buffer: { correlate: "${ data.k }", await: { count: 3, late: buffer, deadline: 1h, onDeadline: take }, flow: { function: f } }
  once: { correlate: "${ data.k }", await: { count: 2, late: unmatched, deadline: 1h }, flow: { function: f } }
  told: { correlate: "${ data.k }", await: { count: "${ data.total }", deadline: 1h }, flow: { function: f } }
  any: { correlate: "${ data.k }", await: { events: { a: { filters: [{ exact: { type: a } }] }, b: { filters: [{ exact: { type: b } }] } }, join: any, late: buffer }, flow: { function: f } }
  batch: { batch: { every: 1h, count: 4, bytes: 40B, key: "${ data.k }" }, onSuccess: { function: f } }
`

// A tale is a partition that is told of events of some keys, with its owner's records: some of them twice, snapshots between.
type tale struct {
	t      *testing.T
	rng    *rand.Rand
	set    *config.Set
	state  *engine.State
	out    engine.Effects
	log    []journal.Record
	now    time.Time
	calls  map[string]*engine.Invocation
	ended  map[journal.RunID]engine.Ended
	joined map[journal.RunID]journal.RunID // which run's round has an event
	missed map[string]int
}

func newTale(t *testing.T, seed uint64) *tale {
	set, findings := config.Parse("t.yaml", []byte(roundsDocument), registry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	x := &tale{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), set: set, state: engine.New(registry(), nil), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		calls: make(map[string]*engine.Invocation), ended: make(map[journal.RunID]engine.Ended), joined: make(map[journal.RunID]journal.RunID), missed: make(map[string]int),
	}
	for _, name := range set.TriggerNames() {
		if name != "told" { // Its starts wait for it.
			x.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(set.Triggers[name].Definition)})
		}
	}
	return x
}

func (x *tale) fold(rec journal.Record) engine.Reason {
	x.now = x.now.Add(time.Second)
	rec.Time, rec.Offset, rec.Tenant = x.now, int64(len(x.log)), "default"
	x.log = append(x.log, rec)
	reason, err := x.state.Fold(&rec, &x.out)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, inv := range x.out.Send {
		x.calls[fmt.Sprint(inv.Run, inv.N)] = inv
	}
	for _, inv := range x.out.Stop {
		delete(x.calls, fmt.Sprint(inv.Run, inv.N))
	}
	for _, e := range x.out.Ended {
		if _, twice := x.ended[e.Run]; twice {
			x.t.Fatalf("run %s has ended twice", e.Run)
		}
		x.ended[e.Run] = e
	}
	for _, m := range x.out.Missed {
		x.missed[engine.EventID(m.Event)]++
	}
	return reason
}

func (x *tale) saved() []byte {
	var b bytes.Buffer
	if err := x.state.Save(&b); err != nil {
		x.t.Fatal(err)
	}
	return b.Bytes()
}

// reload takes the state through a snapshot: a new owner has the same.
func (x *tale) reload() {
	before := x.saved()
	next := engine.New(registry(), nil)
	if err := next.Load(bytes.NewReader(before)); err != nil {
		x.t.Fatal(err)
	}
	if x.state = next; !bytes.Equal(before, x.saved()) {
		x.t.Fatal("what was loaded is saved as something else")
	}
	if a := next.Stats(); a.Bytes < 0 {
		x.t.Fatalf("%+v", a)
	}
}

// event brings the event of a number.
func (x *tale) event(n int) {
	names := x.set.TriggerNames()
	name := names[x.rng.IntN(len(names))]
	kind, data := "", map[string]any{"k": x.rng.IntN(3), "n": n}
	if name == "pair" || name == "any" {
		kind = string(rune('a' + x.rng.IntN(2)))
	}
	if name == "told" && x.rng.IntN(3) == 0 {
		data["total"] = 1 + x.rng.IntN(4)
	}
	def := x.set.Triggers[name].Definition
	id := journal.RunID{0, 0, 0, 0, byte(n >> 8), byte(n), 1}
	x.fold(engine.Record(journal.Start, id, &engine.StartFact{
		Trigger: name, Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(n), "source": "/t", "type": "e" + kind}), Data: lang.Of(data), Key: fmt.Sprint(data["k"]), Names: []string{kind},
	}))
}

// step does one thing of many.
func (x *tale) step(n int) {
	switch x.rng.IntN(12) {
	case 0, 1, 2:
		if keys := slices.Sorted(maps.Keys(x.calls)); len(keys) > 0 {
			key := keys[x.rng.IntN(len(keys))]
			inv := x.calls[key]
			delete(x.calls, key)
			if inv.Purpose == engine.Call {
				x.fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(n))}))
			} else {
				x.fold(engine.Record(journal.Accepted, inv.Run, &engine.AcceptedFact{Numbers: []uint32{inv.N}}))
			}
		}
	case 3:
		old := x.log[x.rng.IntN(len(x.log))]
		before := x.saved()
		if old.Kind == journal.Start { // Whatever it has become: it has been told.
			if reason := x.fold(old); reason == engine.Applied || reason == engine.Joined || reason == engine.Held {
				x.t.Fatalf("a copy of %s is %s", old.Run, reason)
			}
			after := x.saved()
			if len(before) != len(after) && reasonOfWaiting(x.out) == 0 {
				x.t.Fatalf("a copy of %s has changed the state: %d bytes, then %d", old.Run, len(before), len(after))
			}
		}
	case 4:
		x.reload()
	case 5:
		if x.rng.IntN(4) == 0 {
			x.now = x.now.Add(time.Hour)
			for _, d := range x.state.Due(x.now, 100) {
				x.fold(engine.Record(journal.Fired, d.Run, &engine.FiredFact{Timer: d.Timer}))
			}
		}
	case 6:
		if n > 100 {
			x.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(x.set.Triggers["told"].Definition)})
		}
	default:
		x.event(n)
	}
}

func reasonOfWaiting(out engine.Effects) int { return len(out.Need) }

// TestEventsOfRoundsAreCountedOnce: whatever comes, in whatever order, twice, with restarts and deadlines between: each event is in one round, or missed, or
// still kept or gathered; a round that was enough has as many events as its join says; and the same records fold to the same state.
func TestEventsOfRoundsAreCountedOnce(t *testing.T) {
	t.Parallel()
	fired, most := 0, 0
	for seed := range uint64(15) {
		x := newTale(t, seed)
		for n := 1; n <= 400; n++ {
			x.step(n)
		}
		x.reload()
		seen := make(map[string]string)
		for run, e := range x.ended {
			if e.Arrived.IsNull() {
				continue
			}
			fired++
			events := eventsIn(t, e.Arrived)
			most = max(most, len(events))
			if want := map[string]int{"pair": 2, "once": 2, "any": 1}[e.Trigger]; want != 0 && len(events) != want || len(events) > 4 && e.Trigger != "told" || len(events) == 0 {
				t.Errorf("seed %d: a round of %s has %d events: %s", seed, e.Trigger, len(events), e.Arrived)
			}
			for _, id := range events {
				if other := seen[id]; other != "" || x.missed[id] > 0 {
					t.Errorf("seed %d: event %s is in run %s, and in %s; missed %d times", seed, id, run, other, x.missed[id])
				}
				seen[id] = run.String()
			}
		}
		again := engine.New(registry(), nil)
		var out engine.Effects
		for i := range x.log {
			if _, err := again.Fold(&x.log[i], &out); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := again.Save(&b); err != nil || !bytes.Equal(b.Bytes(), x.saved()) {
			t.Errorf("seed %d: the same records fold to another state, %v", seed, err)
		}
	}
	if fired < 200 || most < 3 {
		t.Errorf("%d rounds were enough, with %d events at most: the tales are too small", fired, most)
	}
}

// eventsIn are the ids of the events that a run began with.
func eventsIn(t *testing.T, arrived lang.Value) (ids []string) {
	t.Helper()
	type one struct{ ID string }
	var list []one
	if arrived.Decode(&list) != nil {
		named := make(map[string]json.RawMessage)
		if err := arrived.Decode(&named); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			var x *one
			if json.Unmarshal(named[name], &x) == nil && x != nil {
				list = append(list, *x)
			}
		}
	}
	for _, x := range list {
		ids = append(ids, x.ID)
	}
	return ids
}

// TestUntilIsBoundedWork: each event has the until of its round look at all that came before it. How much it looks at in all is bounded; one that asks for
// numbers only is not.
func TestUntilIsBoundedWork(t *testing.T) {
	t.Parallel()
	set, findings := config.Parse("t.yaml", []byte(`version: 1
functions: { f: { exec: cat } }
triggers:
  looks: { filters: [{ exact: { type: a } }], correlate: "${ data.k }", await: { count: 10000, join: { until: "${ arrived.exists(x, x.data.last) }" } }, flow: { function: f } }
  counts: { filters: [{ exact: { type: a } }], correlate: "${ data.k }", await: { count: 10000, join: { until: "${ total > 60 }" } }, flow: { function: f } }
`), registry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	p := newPayer(t, func(level uint8) engine.Limits {
		l := engine.LimitsOf(level)
		l.UntilBytes = 50_000
		return l
	})
	for i, name := range []string{"looks", "counts"} {
		def := set.Triggers[name].Definition
		p.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
		came := 0
		for ; came < 100 && len(p.ended)+len(p.open) == 0; came++ {
			f := &engine.StartFact{Trigger: name, Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(came)}), Data: lang.Of(map[string]any{"k": 1, "last": false, "pad": "0123456789"}), Key: "1", Names: []string{""}}
			p.fold(engine.Record(journal.Start, journal.RunID{byte(i), byte(came)}, f))
		}
		switch {
		case i == 0 && (came > 50 || len(p.ended) != 1 || p.ended[0].Outcome.Err == nil || p.ended[0].Outcome.Err.Type != "cost_limit"):
			t.Errorf("%d events; ended: %+v", came, p.ended)
		case i == 1 && (came != 61 || len(p.ended) != 0):
			t.Errorf("%d events; ended: %+v", came, p.ended)
		}
		p.ended = nil
	}
}

// TestKeptEventsAreBounded: what comes for the next round is kept up to a number and a size; what is beyond is said, once.
func TestKeptEventsAreBounded(t *testing.T) {
	t.Parallel()
	x := newTale(t, 1)
	def := x.set.Triggers["pair"].Definition
	limits := engine.LimitsOf(journal.Level)
	full := 0
	for n := range limits.Kept + 3 {
		id := journal.RunID{1, byte(n >> 8), byte(n)}
		f := &engine.StartFact{Trigger: "pair", Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(n), "source": "/t", "type": "a"}), Data: lang.Of(n), Key: "k", Names: []string{"a"}}
		switch reason := x.fold(engine.Record(journal.Start, id, f)); {
		case n == 0 && reason == engine.Applied, n > 0 && n <= limits.Kept && reason == engine.Held:
		case n > limits.Kept && reason == engine.Limited:
			m := x.out.Missed[0]
			if letter := m.Letter(x.now); !m.Full || letter.Fault().Type != "round_full" || letter.Kind() != engine.LetterEvent || letter.Event != fmt.Sprint(n) {
				t.Errorf("%+v", letter)
			}
			full++
		default:
			t.Fatalf("event %d: %s", n, reason)
		}
	}
	if full != 2 {
		t.Errorf("%d found no room", full)
	}
	large := lang.Text(string(bytes.Repeat([]byte("x"), 1<<20)))
	y, held := newTale(t, 1), 0
	for n := range 8 {
		f := &engine.StartFact{Trigger: "pair", Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(n)}), Data: large, Key: "k", Names: []string{"a"}}
		if y.fold(engine.Record(journal.Start, journal.RunID{2, byte(n)}, f)) == engine.Held {
			held++
		}
	}
	if held != 3 {
		t.Errorf("%d of a mebibyte each are kept", held)
	}
	y.reload()
	// What the round itself may not have ends it, and loses nothing of what was kept.
	for n := range engine.LimitsOf(journal.Level).Round + 1 {
		f := &engine.StartFact{Trigger: "told", Digest: x.set.Triggers["told"].Digest, Event: lang.Of(map[string]string{"id": fmt.Sprint(n)}), Data: lang.Of(map[string]int{"k": 1}), Key: "1", Names: []string{""}}
		if n == 0 {
			x.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(x.set.Triggers["told"].Definition)})
		}
		x.fold(engine.Record(journal.Start, journal.RunID{3, byte(n >> 8), byte(n)}, f))
	}
	if e := x.ended[journal.RunID{3}]; e.Outcome.Err == nil || e.Outcome.Err.Type != "too_many" || !e.Arrived.IsNull() {
		t.Errorf("%+v", e.Outcome)
	}
	x.reload()
}
