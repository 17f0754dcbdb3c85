package simulate

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A tenure is one owner at work, from its begin to its end: what a shard and its outbox are in a router.
type tenure struct {
	w     *World
	p     *partition
	id    int
	skew  time.Duration // what its clock is ahead of the log's
	state *engine.State
	out   engine.Effects

	at, mark int64 // the next offset to read; where the log ended when the tenure began
	nonce    []byte
	epoch    uint64
	claiming bool
	owned    bool
	stalled  bool // it does not read, and so does not know that another has taken over
	over     bool
	reading  bool
	since    int // records since the last snapshot
	alarm    int // the last timer that was set; earlier ones are void

	saving saving

	pending   []journal.Record
	appending bool
	outbox    outbox
}

// begin gives the partition to a new owner: load, read to the end mark, claim.
func (p *partition) begin() {
	w := p.w
	t := &tenure{w: w, p: p, id: len(w.tenures) + 1, state: engine.New(w.o.Registry, nil)}
	if w.o.Observe != nil {
		t.state = engine.New(w.o.Registry, func(c engine.Change) { w.o.Observe(w.now, c) })
	}
	if w.o.Limits != nil {
		t.state.Bound(w.o.Limits)
	}
	if w.chance(Skew) {
		t.skew = w.rand(20*time.Second) - 10*time.Second
	}
	t.nonce = binary.BigEndian.AppendUint64(nil, uint64(t.id))
	t.outbox.init(t)
	w.tenures, p.owner = append(w.tenures, t), t
	if n := len(p.snapshots); n > 0 {
		s := p.snapshots[n-1]
		if n > 1 && w.chance(OldSave) {
			s = p.snapshots[n-2]
		}
		if err := t.state.Load(bytes.NewReader(s.bytes)); err != nil {
			w.fail("tenure %d: loading the snapshot at %d: %w", t.id, s.offset, err)
			return
		}
		t.at = s.offset + 1
	}
	if t.at < p.trimmed {
		w.fail("tenure %d: it has to read from %d, and the log begins at %d", t.id, t.at, p.trimmed)
	}
	t.mark = int64(len(p.log))
	t.poke()
}

// end is the end of a tenure, in good order or not: its memory is gone. What it sent is under way.
func (t *tenure) end() {
	t.over, t.owned = true, false
	t.pending = nil
}

// clock is the owner's own.
func (t *tenure) clock() time.Time { return t.p.clock().Add(t.skew) }

// poke has the tenure read soon.
func (t *tenure) poke() {
	if t.over || t.stalled || t.reading {
		return
	}
	t.reading = true
	t.w.After(0, t.read)
}

// read folds a few records and acts on them.
func (t *tenure) read() {
	t.reading = false
	if t.over || t.stalled {
		return
	}
	if t.at < t.p.trimmed {
		// Out of range always stops a shard; only a former owner may meet it.
		if t.p.owner == t {
			t.w.fail("tenure %d: it reads at %d, and the log begins at %d", t.id, t.at, t.p.trimmed)
		}
		t.end()
		return
	}
	for range 1 + t.w.rng.IntN(8) {
		if t.at < int64(len(t.p.log)) && !t.over {
			t.fold(t.p.log[t.at])
		}
	}
	switch {
	case t.over:
		return
	case t.at >= t.mark && !t.claiming:
		t.claim()
	}
	if t.at < int64(len(t.p.log)) {
		t.poke()
	}
	if t.owned && len(t.w.o.Faults.Rate) > 0 && t.since > 20+t.w.rng.IntN(60) {
		t.save()
	}
	t.saveOn()
	t.arm(0)
}

func (t *tenure) claim() {
	t.claiming = true
	t.epoch = t.state.Epoch() + 1
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: t.nonce})
	rec.Epoch = t.epoch
	t.write(rec)
}

func (t *tenure) fold(rec journal.Record) {
	reason, err := t.state.Fold(&rec, &t.out)
	if err != nil {
		t.w.fail("tenure %d: record %d (%s): %w", t.id, rec.Offset, rec.Kind, err)
		t.end()
		return
	}
	t.at++
	t.since++
	for _, e := range t.out.Ended {
		t.w.Ended = append(t.w.Ended, End{t.id, e})
	}
	if rec.Kind == journal.Claim {
		t.claimed(&rec, reason)
		return
	}
	if !t.owned {
		return
	}
	if reason == engine.Early {
		t.arm(100 * time.Millisecond)
	}
	t.halt(true)
	for _, inv := range t.out.Stop {
		t.outbox.stop(inv)
	}
	t.halt(false)
	for _, inv := range t.out.Send {
		t.outbox.add(inv)
	}
	t.outbox.pump()
	t.pay()
}

// halt keeps the calls of runs that are paused, or sends what was kept of those that go on.
func (t *tenure) halt(paused bool) {
	for _, h := range t.out.Halts {
		if h.Paused == paused {
			t.outbox.hold(h)
		}
	}
}

// pay writes down that runs may do more of what they owe.
func (t *tenure) pay() {
	for _, o := range t.state.Owing(64) {
		rec := engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part})
		rec.Tenant = o.Tenant
		t.write(rec)
	}
}

func (t *tenure) claimed(rec *journal.Record, reason engine.Reason) {
	own := bytes.Equal(t.out.Claimed, t.nonce)
	switch {
	case own && reason == engine.Applied:
		t.owned = true
		t.state.Paused(t.outbox.hold)
		t.state.Outstanding(t.outbox.add)
		t.outbox.pump()
		t.pay()
	case t.claiming && rec.Epoch == t.epoch && !own && reason == engine.Applied:
		// Another claim of the same epoch came first.
		if t.p.owner != t {
			t.end()
			return
		}
		t.claim()
	case t.owned && reason == engine.Applied:
		t.end()
	}
}

// arm sets the timer to the next one that is due on the owner's clock.
func (t *tenure) arm(atLeast time.Duration) {
	at, ok := t.state.NextDue()
	if !ok || !t.owned {
		return
	}
	t.alarm++
	alarm := t.alarm
	t.w.After(max(at.Sub(t.clock()), atLeast), func() {
		if t.over || alarm != t.alarm {
			return
		}
		for _, d := range t.state.Due(t.clock(), 1000) {
			rec := engine.Record(journal.Fired, d.Run, &engine.FiredFact{Timer: d.Timer})
			rec.Tenant = d.Tenant
			t.write(rec)
		}
		t.arm(0)
	})
}

// write appends a record soon; what gathers while one append is under way goes with the next.
func (t *tenure) write(rec journal.Record) {
	if row, _ := journal.Of(rec.Kind); row.Fenced {
		rec.Epoch = t.epoch
	}
	t.pending = append(t.pending, rec)
	if !t.appending {
		t.appending = true
		t.w.After(t.w.transit(), t.append)
	}
}

func (t *tenure) append() {
	records := t.pending
	t.pending, t.appending = nil, false
	if t.over || len(records) == 0 {
		return
	}
	t.p.append(records...)
	if t.w.chance(LostAck) {
		// A writer that does not know appends again, or gives the tenure up.
		if t.w.rng.IntN(2) == 0 {
			t.p.append(records...)
		} else if t.p.owner == t {
			t.end()
			t.p.leave(time.Second)
		}
	}
}

// A saving is a snapshot that is being taken: of which offset, and what the state was then.
type saving struct {
	snapshot *engine.Snapshot
	offset   int64
	written  bytes.Buffer
	was      bytes.Buffer
}

// save begins a snapshot. The fold goes on while it is written.
func (t *tenure) save() {
	if !t.owned || t.p.owner != t || t.at == 0 {
		return
	}
	t.since = 0
	if n := len(t.p.snapshots); n > 0 && t.p.snapshots[n-1].offset == t.at-1 {
		return
	}
	t.saving = saving{offset: t.at - 1}
	if err := t.state.Save(&t.saving.was); err != nil {
		t.w.fail("tenure %d: saving: %w", t.id, err)
	}
	t.saving.snapshot = t.state.Begin()
}

// saveOn writes the snapshot on. Once it is whole it counts, for the owner that the coordinator knows; the log is trimmed one snapshot behind.
func (t *tenure) saveOn() {
	v := &t.saving
	if v.snapshot == nil {
		return
	}
	more, err := v.snapshot.Next(1 + t.w.rng.IntN(300))
	v.written.Write(v.snapshot.Take(nil))
	if err != nil {
		t.w.fail("tenure %d: saving: %w", t.id, err)
	}
	if more || err != nil {
		return
	}
	v.snapshot = nil
	if v.offset%3 == 0 {
		t.compare(v)
	}
	p := t.p
	if !t.owned || p.owner != t {
		return
	}
	p.snapshots = append(p.snapshots, snapshot{v.offset, bytes.Clone(v.written.Bytes())})
	if n := len(p.snapshots); n > 1 {
		p.snapshots = p.snapshots[n-2:]
		p.trimmed = p.snapshots[0].offset + 1
	}
}

// compare holds a snapshot that was taken while the fold went on against the state as it was when it was begun.
func (t *tenure) compare(v *saving) {
	again, loaded := engine.New(t.w.o.Registry, nil), bytes.Buffer{}
	if t.w.o.Limits != nil {
		again.Bound(t.w.o.Limits)
	}
	err := engine.Verify(t.w.o.Registry, bytes.NewReader(v.written.Bytes()))
	if err == nil {
		err = again.Load(bytes.NewReader(v.written.Bytes()))
	}
	if err == nil {
		err = again.Save(&loaded)
	}
	if err != nil || !bytes.Equal(loaded.Bytes(), v.was.Bytes()) {
		t.w.fail("tenure %d: the snapshot at %d is not what the state was: %w", t.id, v.offset, err)
	}
}
