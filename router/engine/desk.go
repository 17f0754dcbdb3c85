package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// A desk is the schedulers.Frame that a policy sees while it handles one event: it reads the frame and notes requests.
type desk struct {
	s        *State
	f        *frame
	told     *task // whose end the policy is being told
	requests []request
	spawns   map[int]int // by slot: how many it has once the requests are granted
	signal   *keptSignal // that the policy is told of
	misuse   error       // the first request that no frame can grant
}

var _ schedulers.Frame = (*desk)(nil)

func (d *desk) Now() time.Time { return d.s.Now() }

func (d *desk) Input() lang.Value { return d.f.owner.input }

func (d *desk) Eval(e lang.Expr, vars lang.Vars) (lang.Value, error) {
	return d.eval(e, d.s.scope(d.f.owner, vars...), len(vars) == 0)
}

func (d *desk) EvalBeside(e lang.Expr, siblings []int, vars lang.Vars) (lang.Value, error) {
	if err := siblingsFit(d.f, siblings); err != nil {
		return lang.Null, err
	}
	beside := &task{run: d.f.owner.run, frame: d.f, names: &names{vars, siblings}}
	return d.eval(e, view{s: d.s, t: beside, input: d.f.owner.input}, len(vars) == 0)
}

// eval remembers the answers of expressions that see no names but those that stay as they are.
func (d *desk) eval(e lang.Expr, sc lang.Scope, remember bool) (lang.Value, error) {
	if remember {
		for i := range d.f.memo {
			if m := &d.f.memo[i]; m.expr == e && d.s.paid(m) {
				return m.value, nil
			}
		}
	}
	before := d.s.cache.Left()
	v, err := e.Eval(sc, d.s.cache)
	if err != nil {
		return lang.Null, expressionError(d.f.owner.step.Use, err)
	}
	if e := d.s.unfit("what an expression yields", v); e != nil {
		return lang.Null, e
	}
	if _, constant := e.Const(); remember && !constant {
		d.f.memo = append(d.f.memo, memo{e, v, before - d.s.cache.Left(), d.s.folds})
	}
	return v, nil
}

// paid books what a remembered answer cost, once a record: an owner that does not remember it evaluates it, and must decide the same.
func (s *State) paid(m *memo) bool {
	if m.fold != s.folds {
		if m.cost > s.cache.Left() {
			return false
		}
		s.cache.Spend(m.cost)
		m.fold = s.folds
	}
	return true
}

func (d *desk) Outcome(slot, index int) lang.Outcome { return d.f.outcome(slot, index) }

func (d *desk) Counts(slot int) schedulers.Counts {
	if slot < 0 || slot >= len(d.f.slots) {
		return schedulers.Counts{}
	}
	sl := &d.f.slots[slot]
	return schedulers.Counts{Spawned: sl.spawned, Open: len(sl.tasks), Succeeded: sl.succeeded, Failed: sl.failed, Skipped: sl.skipped}
}

func (d *desk) Opened(slot, index int) (time.Time, bool) {
	if slot < 0 || slot >= len(d.f.slots) {
		return time.Time{}, false
	}
	t := d.f.slots[slot].tasks[int32(index)]
	if told := d.told; told != nil && int(told.slot) == slot && int(told.index) == index {
		t = told
	} else if t == nil || t.ended {
		return time.Time{}, false
	}
	return time.Unix(0, t.opened).UTC(), true
}

// Chance hashes with SHA-256: what is asked by names and paths that differ in a digit is not to answer alike.
func (d *desk) Chance(name string) uint64 {
	h := sha256.New()
	h.Write(d.f.owner.run.id[:])
	h.Write(appendText(d.f.owner.appendPath(nil), name))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

func (d *desk) Element(list lang.Value, i int) lang.Value { return d.s.cache.Element(list, i) }

func (d *desk) Length(list lang.Value) (int, bool) { return d.s.cache.Length(list) }

func (d *desk) Level() int { return int(d.s.level) }

func (d *desk) Version() int { return d.f.info.version }

func (d *desk) Collect(slot int) lang.Value { return d.list(slot, lang.Outcome.Collected) }

func (d *desk) Settled(slot int) lang.Value { return d.list(slot, lang.Outcome.Settled) }

func (d *desk) list(slot int, form func(lang.Outcome) lang.Value) lang.Value {
	if slot < 0 || slot >= len(d.f.slots) {
		return lang.List()
	}
	sl := &d.f.slots[slot]
	size := 2
	for i := range sl.outcomes {
		size += sl.outcomes[i].Value.Size() + 1
	}
	b := make([]byte, 0, size)
	b = append(b, '[')
	for i := range sl.spawned {
		if i > 0 {
			b = append(b, ',')
		}
		var o lang.Outcome
		if i < len(sl.outcomes) {
			o = sl.outcomes[i]
		}
		b = append(b, form(o).JSON()...)
	}
	return lang.Trusted(string(append(b, ']')))
}

func (d *desk) ask(q request) { d.requests = append(d.requests, q) }

func (d *desk) wrong(format string, a ...any) {
	if d.misuse == nil {
		d.misuse = fmt.Errorf(format, a...)
	}
}

func (d *desk) hasSlot(what string, slot int) bool {
	if slot < 0 || slot >= len(d.f.slots) {
		d.wrong("%s: slot %d of a policy with %d steps", what, slot, len(d.f.slots))
		return false
	}
	return true
}

func (d *desk) Spawn(slot, n int) {
	if !d.hasSlot("spawn", slot) {
		return
	}
	spawned := d.spawned(slot)
	switch {
	case d.f.info.children[slot] == nil:
		d.wrong("spawn: slot %d is of a step that is not there", slot)
	case n < 0:
		d.wrong("spawn: %d children of slot %d", n, slot)
	case n > d.s.limits.Width-spawned:
		d.wrong("spawn: %d children; the limit is %d", n+spawned, d.s.limits.Width)
	case (d.f.phase == stopping || d.f.phase == due) && !d.f.cleansUp(slot):
		// It has not been told yet that it is cancelled: what cleaned up already has ended, and something would have followed.
	case d.f.phase != working && !d.f.cleansUp(slot):
		d.wrong("spawn: slot %d of a frame that is cancelled; only cleanup slots are left to it", slot)
	case n > 0:
		if d.spawns == nil {
			d.spawns = make(map[int]int)
		}
		d.spawns[slot] = spawned + n
		d.ask(request{op: opSpawn, slot: slot, a: n})
	}
}

// spawned counts a slot's children, those asked for while this event is handled included.
func (d *desk) spawned(slot int) int {
	if n, asked := d.spawns[slot]; asked {
		return n
	}
	return d.f.slots[slot].spawned
}

func (d *desk) Window(slot, n int) {
	if !d.hasSlot("window", slot) {
		return
	}
	if n < 0 {
		d.wrong("window: %d children of slot %d; 0 is the engine's own limit", n, slot)
		return
	}
	d.ask(request{op: opWindow, slot: slot, a: min(n, d.s.limits.Window)})
}

func (d *desk) Discard(slot int) {
	if !d.hasSlot("discard", slot) {
		return
	}
	if n := d.spawned(slot); n > 0 {
		d.wrong("discard: slot %d has %d children already; call it before Spawn", slot, n)
		return
	}
	d.ask(request{op: opDiscard, slot: slot})
}

func (d *desk) Drop(slot, index int) {
	if d.hasSlot("drop", slot) {
		d.ask(request{op: opDrop, slot: slot, a: max(index, 0)})
	}
}

func (d *desk) Cancel(slot, index int) {
	if !d.hasSlot("cancel", slot) {
		return
	}
	if n := d.spawned(slot); index < 0 || index >= n {
		d.wrong("cancel: child %d of slot %d, which has %d", index, slot, n)
		return
	}
	d.ask(request{op: opCancel, slot: slot, a: index})
}

func (d *desk) Twin(slot, index int) {
	if !d.hasSlot("twin", slot) {
		return
	}
	if n := d.spawned(slot); index < 0 || index >= n {
		d.wrong("twin: child %d of slot %d, which has %d", index, slot, n)
		return
	}
	d.ask(request{op: opTwin, slot: slot, a: index})
}

func (d *desk) Stop(name string) { d.ask(request{op: opStop, name: name}) }

func (d *desk) Unawait(signal string) { d.ask(request{op: opUnawait, name: signal}) }

func (d *desk) Note(progress lang.Value) {
	if n := progress.Size(); n > d.s.limits.NameBytes {
		d.wrong("note: %d bytes; the limit is %d", n, d.s.limits.NameBytes)
		return
	}
	d.ask(request{op: opNote, name: progress.JSON()})
}

func (d *desk) After(name string, wait time.Duration) {
	if d.shortName("timer", name) {
		d.ask(request{op: opAfter, name: name, d: max(wait, 0)})
	}
}

func (d *desk) Await(signal string) {
	if d.shortName("signal", signal) {
		d.ask(request{op: opAwait, name: signal})
	}
}

func (d *desk) GiveBack() {
	if d.signal == nil {
		d.wrong("give back: the policy was not told of a signal")
		return
	}
	d.ask(request{op: opGiveBack, signal: d.signal})
}

func (d *desk) shortName(what, name string) bool {
	if n := len(name); n > d.s.limits.NameBytes {
		d.wrong("%s: a name of %d bytes; the limit is %d", what, n, d.s.limits.NameBytes)
		return false
	}
	return true
}

func (d *desk) Succeed(v lang.Value, how ...schedulers.End) {
	d.end(lang.Success(v), how)
}

func (d *desk) Fail(e *lang.Error, how ...schedulers.End) {
	if e == nil {
		d.wrong("fail: without an error")
		return
	}
	d.end(lang.Failure(e.Bounded()), how)
}

func (d *desk) end(o lang.Outcome, how []schedulers.End) {
	d.ask(request{op: opEnd, outcome: o, leave: slices.Contains(how, schedulers.LetRun), whole: slices.Contains(how, schedulers.EndRun)})
}
