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
	Cancelled                 // the frame is being cancelled and what it asks for no longer counts; a last chance to note it in the state
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

// A Declaration is what the children of one slot see beyond what their parent sees.
type Declaration = lang.Declaration

// A Labeler gives its children the labels by which paths and people know them, where their steps have no names of their own; empty is no label. A step in
// a map has its key for a label without one.
type Labeler interface {
	Label(slot int) string
}

// A Scope is what a policy reads of its frame. All answers stay the same while an event is handled.
type Scope interface {
	// Now is the fold's time: the record's, never a clock's.
	Now() time.Time
	Input() lang.Value
	// Eval evaluates an expression with the names that the frame's step sees, and vars before them. Without vars, the answer is remembered.
	Eval(e lang.Expr, vars lang.Vars) (lang.Value, error)
	// Outcome returns the outcome of a child that is done; the zero Outcome when it is not, or was discarded.
	Outcome(slot, index int) lang.Outcome
	Counts(slot int) Counts
	// Element returns item i of a list value, decoding the list once; null outside of it.
	Element(list lang.Value, i int) lang.Value
	// Length returns the number of items of a list value, and whether it is a list.
	Length(list lang.Value) (int, bool)
	// Level is the fold level of the partition, and Version that of the policy which the run began with: a fix that changes what is decided asks for
	// them, so that what runs goes on as it began.
	Level() int
	Version() int
}

// A Frame is one policy at work inside a run.
type Frame interface {
	Scope

	// Spawn lets children lo up to but not including hi of a slot run; the engine opens them in index order as the slot's window allows. A child
	// is spawned at most once; ranges of a slot are spawned in ascending order without gaps, from 0.
	Spawn(slot, lo, hi int)
	// Window bounds how many children of a slot are open at a time; 0, the default, means the engine's own limit.
	Window(slot, n int)
	// Discard tells the engine to count the outcomes of a slot but not keep their values. Call it before Spawn.
	Discard(slot int)
	// Drop forgets the outcome of a child that is done, when nothing will ask for it: neither the policy nor a name.
	Drop(slot, index int)
	// Cancel cancels a child that is not done, also one that was spawned by the same event. It is then done, as Cancelled, without an event to this
	// frame; Counts has it among the failed.
	Cancel(slot, index int)
	// After sets the timer of that name, d from now, anew if it was set; it comes as Fired.
	After(name string, d time.Duration)
	// Await asks for the next signal of that name that no other wait of the run has taken, first come first served; one that came early was kept.
	Await(signal string)
	// Collect returns the list of a slot's outcomes in index order: values, null for skipped and cancelled ones, {"error": ...} for failed ones.
	Collect(slot int) lang.Value
	// Settled returns that list in the form that tells all of them apart (lang.Outcome.Settled): for a policy that goes on when children failed.
	Settled(slot int) lang.Value
	// Succeed and Fail end the frame with an outcome; either one cancels what still runs. The first call counts.
	Succeed(v lang.Value)
	Fail(e *lang.Error)
}

// Counts is the tally of a slot's children.
type Counts struct {
	Spawned, Open              int // Open: opened and not done
	Succeeded, Failed, Skipped int
}

// Done is the number of children with a final outcome.
func (c Counts) Done() int { return c.Succeeded + c.Failed + c.Skipped }

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
	Encode(state any) ([]byte, error)
	Decode(b []byte) (any, error)
	// Weigh tells about how many bytes Encode would take, or why it could not, or Decode could not read them again. value is asked about each JSON
	// value inside that is not encoded to find out.
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
