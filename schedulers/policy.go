// Package schedulers is the contract between the engine and a scheduling policy: what a frame tells its policy, and what the policy asks of it.
//
// A policy is pure. It has no clock, no randomness, no I/O, no goroutine and does not range over maps; the same state and event give the same
// requests, because every owner of a partition, now or after a crash, decides from the records alone.
package schedulers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A Kind says what happened to a frame.
type Kind uint8

// The kinds of events.
const (
	Started   Kind = iota + 1 // the frame has just opened; always the first event, once
	Done                      // child (Slot, Index) has its final outcome; once a child, in the journal's order
	Fired                     // the timer Name, set by After, is due
	Signalled                 // an awaited signal Name has come; Outcome.Value is its data
	Cancelled                 // the frame is being cancelled, and its children have been: only its cleanup slots can still be spawned (Cleaner)
)

var kinds = [...]string{Started: "started", Done: "done", Fired: "fired", Signalled: "signalled", Cancelled: "cancelled"}

// String returns the kind's word.
func (k Kind) String() string { return kinds[k] }

// An Event is one thing that happened to a frame.
type Event struct {
	Kind    Kind
	Slot    int // of the child, for Done
	Index   int // of the child within its slot, for Done
	Name    string
	Outcome lang.Outcome
	Input   lang.Value // of the child, for Done: what its step's own input made of what it was bound
}

// A Policy decides what one frame does next. The settings struct is the policy: P holds what the document said and is read-only; s is the
// frame's own small state, which the engine keeps between events and in snapshots (encoding/json writes it, so its fields are exported).
//
// Requests made of the frame take effect only when Next returns nil, in the order they were made. An error fails the frame with type
// "policy_error", a panic with type "policy_panic"; so does, with type "policy_state", a state that cannot be saved and loaded, or grew too large. The
// router goes on.
//
// A child is (slot, index): slot is the position of its step among lang.Children(settings), index counts the activations of that step. An optional step
// that the document left out has its slot, too; it cannot be spawned.
type Policy[S any] interface {
	Next(f Frame, s *S, ev Event) error
}

// A Binder says what a child sees when it opens: its input and names of its own. A policy without one gives every child the frame's input.
// Bind may be called again for the same child; it changes nothing and must answer the same.
type Binder[S any] interface {
	Bind(f Scope, s *S, slot, index int) (Binding, error)
}

// A Binding is what one child sees beyond what its parent sees.
type Binding struct {
	Input lang.Value // the child's input, unless its step says `input:`
	Vars  lang.Vars  // further names
	// Siblings are the slots whose outputs the child sees as steps.NAME (those of enclosing frames it sees anyway), in order. They are done.
	Siblings []int
}

// A Declarer tells lint which names the children of a slot see, so that an unknown or a shadowed name is found before anything runs.
type Declarer = lang.Declarer

// An OwnDeclarer tells lint which names the policy's own expressions see: what it gives to Eval.
type OwnDeclarer = lang.OwnDeclarer

// A Declaration is what the children of one slot see beyond what their parent sees.
type Declaration = lang.Declaration

// A Labeler gives its children the labels by which paths and people know them, where their steps have no names of their own; empty is no label. A step in
// a map has its key for a label without one.
type Labeler interface {
	Label(slot int) string
}

// A Cleaner has slots that run although the frame is cancelled, by a deadline, by the frame around it or with its run: what undoes or puts away (finally,
// saga). Such a frame is told of the cancel once none of its children is at work. What it spawns of its cleanup slots then runs, Done events come as ever,
// and it ends by Succeed or Fail, or when it waits for nothing more; its outcome no longer counts, and who cancelled it waits for that. A second cancel does
// not end it: give cleanup steps a timeout.
type Cleaner interface {
	Cleanup(slot int) bool
}

// A Yielder says what steps.NAME shows of a step that runs more than once, to those that see it as a sibling. It is asked once the step is done, and
// answers the same from then on. Of a policy without one it is what child 0 yielded.
type Yielder[S any] interface {
	Yield(f Scope, s *S, slot int) lang.Value
}

// A Numberer says by which number people and paths know a child of a step that runs more than once, where that is not its index: it opens children in
// another order than theirs. The number of a child that was spawned does not change, and no other of its slot has it.
type Numberer[S any] interface {
	Number(s *S, slot, index int) int
}

// A Scope is what a policy reads of its frame. All answers stay the same while an event is handled.
type Scope interface {
	// Now is the fold's time: the record's, never a clock's.
	Now() time.Time
	Input() lang.Value
	// Eval evaluates an expression with the names that the frame's step sees, and vars before them, which an OwnDeclarer has declared. Without vars, the
	// answer is remembered.
	Eval(e lang.Expr, vars lang.Vars) (lang.Value, error)
	// EvalBeside is Eval for an expression that stands beside a child's step: it sees the outputs of siblings, which are done and in order, as steps.NAME,
	// as that child does.
	EvalBeside(e lang.Expr, siblings []int, vars lang.Vars) (lang.Value, error)
	// Outcome returns the outcome of a child that is done; the zero Outcome when it is not, or was discarded.
	Outcome(slot, index int) lang.Outcome
	Counts(slot int) Counts
	// Opened tells when a child opened that is open, or whose end is the event; false of any other. Children of a slot open in index order.
	Opened(slot, index int) (time.Time, bool)
	// Element returns item i of a list value, decoding the list once; null outside of it.
	Element(list lang.Value, i int) lang.Value
	// Length returns the number of items of a list value, and whether it is a list.
	Length(list lang.Value) (int, bool)
	// Level is the fold level of the partition, and Version that of the policy which the run began with: a fix that changes what is decided asks for
	// them, so that what runs goes on as it began.
	Level() int
	Version() int
	// Chance returns a number that looks random, is the same for the same run, place in it and name, and another for any other.
	Chance(name string) uint64
}

// A Frame is one policy at work inside a run.
type Frame interface {
	Scope

	// Spawn lets n more children of a slot run: the next indexes, from 0 on. The engine opens them in index order as the slot's window allows.
	Spawn(slot, n int)
	// Window bounds how many children of a slot are open at a time; 0, the default, means the engine's own limit.
	Window(slot, n int)
	// Discard tells the engine to count the outcomes of a slot but not keep their values. Call it before Spawn.
	Discard(slot int)
	// Drop forgets the outcome of a child that is done, when nothing will ask for it: neither the policy nor a name.
	Drop(slot, index int)
	// Cancel cancels a child that is not done, also one that was spawned by the same event. It is then done, as Cancelled, without an event to this
	// frame; Counts has it among the failed.
	Cancel(slot, index int)
	// Twin begins a second try of an open child beside the first, with the same path, input and idempotency key under numbers of its own. The first of the
	// two to succeed decides, the other is cancelled; one that fails leaves it to the other. A child has one twin at a time; asked for another, or for one
	// of a child that is not at work, nothing is done.
	Twin(slot, index int)
	// After sets the timer of that name, d from now, anew if it was set; it comes as Fired. Stop takes it back.
	After(name string, d time.Duration)
	Stop(name string)
	// Await asks for the next signal of that name that no other wait of the run has taken, first come first served; one that came early was kept. Unawait
	// takes one such wait back; a signal that it was to get goes to the next.
	Await(signal string)
	Unawait(signal string)
	// GiveBack, while the policy is told of a signal, has it come again when a step around the frame is tried again, or the frame's own: it is then as one
	// that came early. A step that ends hands its signals on to the steps around it that may be tried again.
	GiveBack()
	// Note says in a few words, or a small value, where the frame is: people see it beside the step. The last one counts.
	Note(progress lang.Value)
	// Collect returns the list of a slot's outcomes in index order: values, null for skipped and cancelled ones, {"error": ...} for failed ones.
	Collect(slot int) lang.Value
	// Settled returns that list in the form that tells all of them apart (lang.Outcome.Settled): for a policy that goes on when children failed.
	Settled(slot int) lang.Value
	// Succeed and Fail end the frame with an outcome; either one cancels what still runs, or with LetRun leaves it. With EndRun the whole run ends with it.
	// The first call counts.
	Succeed(v lang.Value, how ...End)
	Fail(e *lang.Error, how ...End)
}

// An End says how a frame ends.
type End uint8

// LetRun leaves the invocations that are under way alone: they are delivered as ever, nothing is cut or cancelled, and their results are counted as late.
// Nothing new is begun for them: no retry, no further step.
const LetRun End = 1

// EndRun ends the run, not the frame alone, with the outcome, once what has ended by the same record before has been told. All else of the run is cancelled;
// it ends when that has cleaned up. A run that is ending already goes on as it was, and only the frame ends.
const EndRun End = 2

// Counts is the tally of a slot's children.
type Counts struct {
	Spawned, Open              int // Open: opened and not done
	Succeeded, Failed, Skipped int
}

// Done is the number of children with a final outcome.
func (c Counts) Done() int { return c.Succeeded + c.Failed + c.Skipped }

// SpanOf is what a duration of a policy's settings is for a frame; 0 is none. Key is what the document calls it.
func SpanOf(f Scope, key string, s lang.Span) (time.Duration, error) {
	return s.Value(key, func(e lang.Expr) (lang.Value, error) { return f.Eval(e, nil) })
}

// Register enters policy P under name. version is of its semantics: raise it when the same records would be decided differently, or when a state or a
// document of the former version no longer decodes, and keep the former one registered until no run is left that began with it. A new field of the
// settings, with a default that does what was done without it, needs no new version.
func Register[P, S any, PP interface {
	*P
	Policy[S]
}](r *plugin.Registry, name string, version int, summary string) {
	r.Add(plugin.Component{
		Door: plugin.Policy, Name: name, Version: version, Summary: summary,
		Settings: reflect.TypeFor[P](),
		Make:     Machine(machine[P, S, PP]{scaleOf(reflect.TypeFor[S]())}),
	})
}

// A Machine runs policies of one type without knowing their types; settings is a *P and state a *S throughout.
type Machine interface {
	State() any
	Next(f Frame, settings, state any, ev Event) error
	Bind(f Scope, settings, state any, slot, index int) (Binding, error)
	// Yield is false when the policy does not say.
	Yield(f Scope, settings, state any, slot int) (lang.Value, bool)
	Number(settings, state any, slot, index int) int
	Encode(state any) ([]byte, error)
	Decode(b []byte) (any, error)
	// Weigh tells about how many bytes Encode would take, or why it could not, or Decode could not read them again. value is asked about each JSON
	// value inside that is not encoded to find out, in an order that only the state decides.
	Weigh(state any, value func(lang.Value) error) (int, error)
}

type machine[P, S any, PP interface {
	*P
	Policy[S]
}] struct{ scale scale }

func (machine[P, S, PP]) State() any { return new(S) }

func (machine[P, S, PP]) Next(f Frame, settings, state any, ev Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &lang.Error{Type: "policy_panic", Message: fmt.Sprint(p), Class: lang.ClassPlatform}
		}
	}()
	return settings.(PP).Next(f, state.(*S), ev)
}

func (machine[P, S, PP]) Bind(f Scope, settings, state any, slot, index int) (b Binding, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &lang.Error{Type: "policy_panic", Message: fmt.Sprint(p), Class: lang.ClassPlatform}
		}
	}()
	if binder, ok := settings.(Binder[S]); ok {
		return binder.Bind(f, state.(*S), slot, index)
	}
	return Binding{Input: f.Input()}, nil
}

func (machine[P, S, PP]) Yield(f Scope, settings, state any, slot int) (v lang.Value, said bool) {
	y, ok := settings.(Yielder[S])
	if !ok {
		return lang.Null, false
	}
	defer func() {
		if recover() != nil {
			v, said = lang.Null, true
		}
	}()
	return y.Yield(f, state.(*S), slot), true
}

func (machine[P, S, PP]) Number(settings, state any, slot, index int) (n int) {
	y, ok := settings.(Numberer[S])
	if !ok {
		return index
	}
	defer func() {
		if recover() != nil {
			n = index
		}
	}()
	return y.Number(state.(*S), slot, index)
}

func (machine[P, S, PP]) Encode(state any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // Values in a state keep their text: what a child is given must not hang on whether a snapshot lay between.
	if err := enc.Encode(state); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (machine[P, S, PP]) Decode(b []byte) (any, error) {
	s := new(S)
	return s, json.Unmarshal(b, s)
}
