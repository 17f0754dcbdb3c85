package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// window brings an event to a batch.
func (x *tale) window(def *lang.Definition, n int, key string) (journal.RunID, engine.Reason) {
	id := journal.RunID{9, byte(n >> 16), byte(n >> 8), byte(n)}
	return id, x.fold(engine.Record(journal.Start, id, &engine.StartFact{
		Trigger: "t", Digest: def.Digest(), Event: lang.Of(map[string]string{"id": fmt.Sprint(n), "source": "/t", "type": "e"}), Data: lang.Of(n), Key: key, Names: []string{""},
	}))
}

// due fires what is due, and returns how many timers that were.
func (x *tale) due() (n int) {
	for {
		due := x.state.Due(x.now, 1000)
		for _, d := range due {
			rec := engine.Record(journal.Fired, d.Run, &engine.FiredFact{Timer: d.Timer})
			rec.Epoch = x.state.Epoch()
			x.fold(rec)
		}
		if n += len(due); len(due) == 0 {
			return n
		}
	}
}

// began is what the run of an event began with: the ids of its events.
func (x *tale) began(id journal.RunID) string {
	e, ended := x.ended[id]
	if !ended {
		return "open"
	}
	return fmt.Sprint(eventsIn(x.t, e.Arrived))
}

const (
	everyMinute = "batch: { every: 1m, count: 4 }, flow: { pass: {} }"
	everyHour   = "batch: { every: 1h, count: 2 }, flow: { pass: {} }"
)

// TestWindowsAtTheirEdges: what comes when a window is due and its end is not journaled yet is in it, what comes behind is in the next, and a new owner decides
// the same. A document that changes the window changes the next one; one without a window leaves what has gathered to its time.
func TestWindowsAtTheirEdges(t *testing.T) {
	t.Parallel()
	x := newTale(t, 1)
	def, other, none := x.trigger(everyMinute), x.trigger(everyHour), x.trigger("flow: { pass: {} }")
	first, _ := x.window(def, 1, "k")
	x.now = x.now.Add(time.Minute - time.Second) // The next record is of the very moment.
	if _, reason := x.window(def, 2, "k"); reason != engine.Joined {
		t.Errorf("at the edge: %s", reason)
	}
	x.reload()
	if n := x.due(); n != 1 {
		t.Errorf("%d windows are due", n)
	}
	second, reason := x.window(def, 3, "k")
	if reason != engine.Applied || x.began(first) != "[1 2]" || x.began(second) != "open" {
		t.Errorf("behind the edge: %s; %s, %s", reason, x.began(first), x.began(second))
	}
	if _, reason := x.window(def, 2, "k"); reason != engine.Finished {
		t.Errorf("a copy of what the former window had is %s", reason)
	}
	if _, reason := x.window(other, 4, "k"); reason != engine.Joined || x.began(second) != "open" { // By its own document two would be enough.
		t.Errorf("after a reload: %s; %s", reason, x.began(second))
	}
	single := journal.RunID{10}
	x.fold(engine.Record(journal.Start, single, &engine.StartFact{Trigger: "t", Digest: none.Digest(), Event: lang.Of(map[string]string{"id": "5"}), Data: lang.Of(5)}))
	if e := x.ended[single]; e.Outcome.Verdict != lang.Succeeded {
		t.Errorf("without a window: %v", e.Outcome)
	}
	x.now = x.now.Add(2 * time.Minute)
	x.due()
	third, _ := x.window(other, 6, "k")
	x.window(other, 7, "k")
	if x.began(second) != "[3 4]" || x.began(third) != "[6 7]" {
		t.Errorf("%s, %s", x.began(second), x.began(third))
	}
	if st := x.state.Stats(); st.Timers != 0 || x.due() != 0 {
		t.Errorf("a key without events has %+v", st)
	}
	x.reload()
}

// TestWindowsWhileTheClockIsAhead: the journal's clock is hours ahead for one record, and right again: what has gathered goes on once, and windows that open
// meanwhile last a minute, and not hours.
func TestWindowsWhileTheClockIsAhead(t *testing.T) {
	t.Parallel()
	x := newTale(t, 1)
	def := x.trigger(everyMinute)
	before, _ := x.window(def, 1, "before")
	right := x.now
	x.now = x.now.Add(5 * time.Hour)
	ahead, _ := x.window(def, 2, "ahead")
	x.due()
	x.now = right
	x.reload()
	behind, _ := x.window(def, 3, "behind")
	for range 80 { // A second each.
		x.fold(engine.Record(journal.Accepted, journal.RunID{77}, &engine.AcceptedFact{Numbers: []uint32{1}}))
		for _, d := range x.state.Due(x.state.Now(), 10) {
			x.fold(engine.Record(journal.Fired, d.Run, &engine.FiredFact{Timer: d.Timer}))
		}
	}
	if x.began(before) != "[1]" || x.began(ahead) != "[2]" || x.began(behind) != "[3]" {
		t.Errorf("%s, %s, %s", x.began(before), x.began(ahead), x.began(behind))
	}
}

// TestManyWindowsAtOnce: windows of many keys are due at one moment. Each goes on by a record of its own, whoever owns them by then, and leaves nothing.
func TestManyWindowsAtOnce(t *testing.T) {
	t.Parallel()
	const keys = 10_000
	x := newTale(t, 1)
	def := x.trigger(everyMinute)
	base := x.state.Stats().Bytes
	for n := range keys {
		x.now = x.now.Add(-time.Second) // All at one time.
		x.window(def, n, fmt.Sprint("key-", n))
	}
	x.log = nil
	if st := x.state.Stats(); st.Runs != keys || (st.Bytes-base)/keys > 200 {
		t.Errorf("%+v", st)
	}
	x.reload()
	x.now = x.now.Add(time.Hour)
	if n := x.due(); n != keys {
		t.Errorf("%d windows are due", n)
	}
	for n := range keys {
		if got := x.began(journal.RunID{9, byte(n >> 16), byte(n >> 8), byte(n)}); got != fmt.Sprintf("[%d]", n) {
			t.Fatalf("the window of event %d has %s", n, got)
		}
	}
	if st := x.state.Stats(); st.Timers != 0 {
		t.Errorf("%+v", st)
	}
}
