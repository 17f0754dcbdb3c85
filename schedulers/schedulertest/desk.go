package schedulertest

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// An Op is a kind of request.
type Op uint8

// The kinds of requests, as schedulers.Frame has them; End is Succeed and Fail.
const (
	Spawn Op = iota + 1
	Window
	Discard
	Drop
	Cancel
	Twin
	After
	Stop
	Await
	Unawait
	GiveBack
	Note
	End
)

var ops = [...]string{Spawn: "spawn", Window: "window", Discard: "discard", Drop: "drop", Cancel: "cancel", Twin: "twin", After: "after", Stop: "stop", Await: "await", Unawait: "unawait", GiveBack: "give back", Note: "note", End: "end"}

// String returns the request's word.
func (o Op) String() string { return ops[o] }

// A Request is one thing that a policy asked of its frame.
type Request struct {
	Op         Op
	Slot, A, B int // Spawn: from A up to B; Window: A; Cancel, Drop, Twin: index A
	Name       string
	Wait       time.Duration
	Outcome    lang.Outcome
	LetRun     bool       // of End
	EndRun     bool       // of End
	Value      lang.Value // of Note
}

// String returns the request in one line; equal requests have equal lines.
func (q Request) String() string {
	switch q.Op {
	case Spawn:
		return fmt.Sprintf("spawn %d %d-%d", q.Slot, q.A, q.B)
	case Window, Cancel, Drop, Twin:
		return fmt.Sprintf("%s %d %d", q.Op, q.Slot, q.A)
	case GiveBack:
		return "give back"
	case Discard:
		return fmt.Sprintf("discard %d", q.Slot)
	case After:
		return fmt.Sprintf("after %q %s", q.Name, q.Wait)
	case Await, Unawait, Stop:
		return fmt.Sprintf("%s %q", q.Op, q.Name)
	case Note:
		return "note " + q.Value.JSON()
	}
	if q.EndRun {
		return "end the run " + show(q.Outcome)
	}
	if q.LetRun {
		return "end and let run " + show(q.Outcome)
	}
	return "end " + show(q.Outcome)
}

// show returns an outcome in one line; equal outcomes have equal lines.
func show(o lang.Outcome) string {
	switch {
	case o.Verdict == lang.Failed && o.Err == nil:
		return "failed without an error"
	case o.Verdict == lang.Failed:
		return fmt.Sprintf("failed %q %q %s %s", o.Err.Type, o.Err.Message, o.Err.Class, o.Err.Data)
	}
	return o.Verdict.String() + " " + o.Value.JSON()
}

func showAll(requests []Request) string {
	lines := make([]string, len(requests))
	for i, q := range requests {
		lines[i] = q.String()
	}
	return strings.Join(lines, "; ")
}

// A misuse is a request that no frame can grant.
type misuse struct{ what string }

func (m misuse) Error() string { return m.what }

// An undeclared is an expression that sees other names than lint was told.
type undeclared struct{ what string }

func (u undeclared) Error() string { return u.what }

// tooWide is no misuse: a document may ask for it, and the frame fails.
var errTooWide = errors.New("more children than the limit")

// A desk is the schedulers.Frame that a policy sees while it handles one event: it reads the bench and notes requests.
type desk struct {
	*Bench
	asked    any // the state that is told
	requests []Request
	spawned  map[int]int     // by requests, by slot
	misuse   error           // the first
	kind     schedulers.Kind // of the event
}

var _ schedulers.Frame = (*desk)(nil)

func (d *desk) Input() lang.Value {
	term, _ := d.Scope.Lookup("input")
	v, _ := term.(lang.Value)
	return v
}

// view is the bench's scope with names before it.
type view struct {
	b    *Bench
	vars lang.Vars
}

func (v view) Lookup(name string) (lang.Term, bool) {
	if term, ok := v.vars.Lookup(name); ok && name != "input" {
		return term, true
	}
	return v.b.Lookup(name)
}

// Eval remembers nothing: the answer must not hang on what was evaluated before.
func (d *desk) Eval(e lang.Expr, vars lang.Vars) (lang.Value, error) {
	d.judge(e, vars)
	v, err := e.Eval(view{d.Bench, vars}, d.cache)
	if err != nil {
		return lang.Null, &lang.Error{Type: "expression_error", Message: e.Source() + ": " + err.Error(), Class: lang.ClassFunction}
	}
	return v, nil
}

func (d *desk) Opened(slot, index int) (time.Time, bool) {
	if d.told == (Child{slot, index}) && !d.toldAt.IsZero() {
		return d.toldAt, true
	}
	_, open := d.at[Child{slot, index}]
	return d.since[Child{slot, index}], open
}

// Chance hashes the name alone: a bench is always the same place of the same run.
func (d *desk) Chance(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])
}

// fault is what became of a policy that returned err. An expression with other names than declared is the cause of what it errs by.
func (d *desk) fault(err error) error {
	if err == nil || errors.As(d.misuse, new(undeclared)) {
		return cmp.Or(d.misuse, err)
	}
	return err
}

// judge holds the names that an expression of the settings is given against those that lint was told.
func (d *desk) judge(e lang.Expr, vars lang.Vars) {
	field, known := d.Subject.fields[e]
	if !known || d.misuse != nil {
		return
	}
	var given []string
	for _, v := range vars {
		given = append(given, v.Name)
	}
	if a, b := sorted(given), sorted(lang.OwnNames(d.Subject.Settings, field)); !slices.Equal(a, b) {
		d.misuse = undeclared{fmt.Sprintf("the expression of %s is given the names %v, and declared for it are %v (DeclareOwn)", field, a, b)}
	}
}

func (d *desk) EvalBeside(e lang.Expr, siblings []int, vars lang.Vars) (lang.Value, error) {
	d.judge(e, vars)
	if x, ok := d.Subject.Settings.(lang.BesideDeclarer); d.misuse == nil && (!ok || slices.ContainsFunc(siblings, func(slot int) bool { return !slices.Contains(x.DeclareBeside(e), slot) })) {
		d.misuse = undeclared{fmt.Sprintf("the expression %s is given the siblings %v, and not all are declared for it (DeclareBeside)", e.Source(), siblings)}
	}
	steps := lang.Members{Get: func(name string) (lang.Value, bool) {
		for _, slot := range siblings {
			if slot >= 0 && slot < len(d.Subject.Children) && d.Subject.Children[slot].Name == name {
				return d.yielded(slot), true
			}
		}
		return lang.Null, false
	}}
	v, err := e.Eval(beside{view{d.Bench, vars}, steps}, d.cache)
	if err != nil {
		return lang.Null, &lang.Error{Type: "expression_error", Message: e.Source() + ": " + err.Error(), Class: lang.ClassFunction}
	}
	return v, nil
}

// beside is a view with the outputs of siblings.
type beside struct {
	view
	steps lang.Members
}

func (b beside) Lookup(name string) (lang.Term, bool) {
	if name == "steps" {
		return b.steps, true
	}
	return b.view.Lookup(name)
}

// yielded is what steps.NAME shows of a slot.
func (d *desk) yielded(slot int) lang.Value {
	m := d.Subject.machine
	if d.Subject.Declare(slot).Many {
		if v, said := m.Yield(d, d.Subject.Settings, d.asked, slot); said {
			return v
		}
	}
	return d.Bench.Outcome(slot, 0).Collected()
}

func (d *desk) Element(list lang.Value, i int) lang.Value { return d.cache.Element(list, i) }

func (d *desk) Length(list lang.Value) (int, bool) { return d.cache.Length(list) }

func (d *desk) Level() int { return d.FoldLevel }

func (d *desk) Version() int { return d.Subject.version }

func (d *desk) Collect(slot int) lang.Value { return d.list(slot, lang.Outcome.Collected) }

func (d *desk) Settled(slot int) lang.Value { return d.list(slot, lang.Outcome.Settled) }

func (d *desk) list(slot int, form func(lang.Outcome) lang.Value) lang.Value {
	if slot < 0 || slot >= len(d.slots) {
		return lang.List()
	}
	values := make([]lang.Value, d.slots[slot].spawned)
	d.collected += len(values)
	for i := range values {
		values[i] = form(d.Bench.Outcome(slot, i))
	}
	return lang.List(values...)
}

func (d *desk) ask(q Request) { d.requests = append(d.requests, q) }

func (d *desk) wrong(format string, a ...any) {
	if d.misuse == nil {
		d.misuse = misuse{fmt.Sprintf(format, a...)}
	}
}

func (d *desk) hasSlot(op Op, slot int) bool {
	if slot < 0 || slot >= len(d.slots) {
		d.wrong("%s: slot %d of a policy with %d steps", op, slot, len(d.slots))
		return false
	}
	return true
}

// spawnedIn is how many children a slot has, counting the requests so far.
func (d *desk) spawnedIn(slot int) int {
	if n, ok := d.spawned[slot]; ok {
		return n
	}
	return d.slots[slot].spawned
}

func (d *desk) Spawn(slot, n int) {
	if !d.hasSlot(Spawn, slot) {
		return
	}
	width := d.Width
	if width <= 0 {
		width = engineWidth
	}
	switch spawned := d.spawnedIn(slot); {
	case d.Subject.Children[slot] == nil:
		d.wrong("spawn: slot %d is of a step that is not there", slot)
	case n < 0:
		d.wrong("spawn: %d children of slot %d", n, slot)
	case n > width-spawned:
		if d.misuse == nil {
			d.misuse = errTooWide
		}
	case d.cancelled && !d.Subject.cleansUp(slot):
		d.wrong("spawn: slot %d of a frame that is cancelled; only cleanup slots are left to it", slot)
	case n > 0:
		if d.spawned == nil {
			d.spawned = make(map[int]int)
		}
		d.spawned[slot] = spawned + n
		d.ask(Request{Op: Spawn, Slot: slot, A: spawned, B: spawned + n})
	}
}

func (d *desk) Window(slot, n int) {
	if n < 0 {
		d.wrong("window: %d children of slot %d; 0 is the engine's own limit", n, slot)
	} else if d.hasSlot(Window, slot) {
		d.ask(Request{Op: Window, Slot: slot, A: n})
	}
}

func (d *desk) Discard(slot int) {
	if !d.hasSlot(Discard, slot) {
		return
	}
	if n := d.spawnedIn(slot); n > 0 {
		d.wrong("discard: slot %d, which has %d children already", slot, n)
		return
	}
	d.ask(Request{Op: Discard, Slot: slot})
}

func (d *desk) Drop(slot, index int) {
	if d.hasSlot(Drop, slot) {
		d.ask(Request{Op: Drop, Slot: slot, A: max(index, 0)})
	}
}

func (d *desk) Cancel(slot, index int) {
	if !d.hasSlot(Cancel, slot) {
		return
	}
	if n := d.spawnedIn(slot); index < 0 || index >= n {
		d.wrong("cancel: child %d of slot %d, which has %d", index, slot, n)
		return
	}
	d.ask(Request{Op: Cancel, Slot: slot, A: index})
}

func (d *desk) After(name string, wait time.Duration) {
	d.ask(Request{Op: After, Name: name, Wait: max(wait, 0)})
}

func (d *desk) Stop(name string) { d.ask(Request{Op: Stop, Name: name}) }

func (d *desk) Await(signal string) { d.ask(Request{Op: Await, Name: signal}) }

func (d *desk) Unawait(signal string) { d.ask(Request{Op: Unawait, Name: signal}) }

// GiveBack changes nothing on a bench, around which nothing is tried again.
func (d *desk) GiveBack() {
	if d.kind != schedulers.Signalled {
		d.wrong("give back: the policy was not told of a signal")
		return
	}
	d.ask(Request{Op: GiveBack})
}

func (d *desk) Twin(slot, index int) {
	if !d.hasSlot(Twin, slot) {
		return
	}
	if n := d.spawnedIn(slot); index < 0 || index >= n {
		d.wrong("twin: child %d of slot %d, which has %d", index, slot, n)
		return
	}
	d.ask(Request{Op: Twin, Slot: slot, A: index})
}

func (d *desk) Note(progress lang.Value) {
	if n := progress.Size(); n > engineNote {
		d.wrong("note: %d bytes; the limit is %d", n, engineNote)
		return
	}
	d.ask(Request{Op: Note, Value: progress})
}

func (d *desk) Succeed(v lang.Value, how ...schedulers.End) {
	d.end(lang.Success(v), how)
}

func (d *desk) Fail(e *lang.Error, how ...schedulers.End) {
	if e == nil {
		d.wrong("fail: without an error")
		return
	}
	d.end(lang.Failure(e), how)
}

func (d *desk) end(o lang.Outcome, how []schedulers.End) {
	d.ask(Request{Op: End, Outcome: o, LetRun: slices.Contains(how, schedulers.LetRun), EndRun: slices.Contains(how, schedulers.EndRun)})
}
