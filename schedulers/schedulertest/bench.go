package schedulertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// A Child is one activation of a step of the frame.
type Child struct{ Slot, Index int }

// The limits of a bench: those of the engine, but for the width, which Bench.Width may lower.
const (
	engineWindow = 10_000
	engineWidth  = 10_000_000
	engineNote   = 1 << 10
)

// A Bench is one frame in memory, with nothing around it: it keeps children, outcomes, windows, timers and waits as the engine does, and the test
// says what happens and when. Children are leaves: they open, and are done when Done says so. It is for one goroutine.
type Bench struct {
	Subject *Subject
	// Scope holds the names that expressions see. The frame's input is the name input.
	Scope lang.Vars
	// Width bounds the children of a slot; 0 is the engine's limit.
	Width int
	// FoldLevel is what the policy is told as its Scope's Level.
	FoldLevel int

	now     time.Time
	state   any
	slots   []slot
	open    []Child
	at      map[Child]int // in open
	bound   map[Child]bound
	since   map[Child]time.Time // that are open
	twins   map[Child]bool      // open ones that have a twin
	told    Child               // whose end is the event
	toldAt  time.Time           // when that opened; zero when the event is another
	timers  []Timer
	awaits  []string
	note    lang.Value
	ended   bool
	outcome lang.Outcome
	// cancelled is set once Cancel was called: only cleanup slots are left.
	cancelled bool
	// collected counts the outcomes that the policy had put into lists.
	collected int
	cache     *lang.Cache
}

// A Timer is one that the policy has set and that has not fired.
type Timer struct {
	Name string
	Due  time.Time
}

type slot struct {
	spawned, opened, window, open int
	succeeded, failed, skipped    int
	discard                       bool
	outcomes                      map[int]lang.Outcome
	early                         map[int]bool // cancelled before they opened
}

// bound is what a child was given when it opened.
type bound struct {
	schedulers.Binding
	err error
}

// Epoch is the time of a new bench.
var Epoch = time.Date(2030, time.January, 31, 12, 0, 0, 0, time.UTC)

// NewBench returns a frame that has not started. Input is its input; data is what expressions see as data.
func NewBench(s *Subject, input, data lang.Value) *Bench {
	return &Bench{
		Subject: s, now: Epoch, state: s.machine.State(), slots: make([]slot, len(s.Children)), at: make(map[Child]int), bound: make(map[Child]bound),
		since: make(map[Child]time.Time), twins: make(map[Child]bool), cache: lang.NewCache(1 << 20),
		Scope: lang.Vars{
			{Name: "event", Value: lang.Of(map[string]string{"id": "e1", "type": "t"})}, {Name: "data", Value: data}, {Name: "input", Value: input},
			{Name: "run", Value: lang.Of(map[string]string{"id": "r1", "tenant": "default", "trigger": "t"})},
		},
	}
}

// Lookup resolves a name of an expression.
func (b *Bench) Lookup(name string) (lang.Term, bool) {
	if name == "steps" {
		return lang.Members{Get: func(string) (lang.Value, bool) { return lang.Null, false }}, true
	}
	return b.Scope.Lookup(name)
}

// Now is the time on the bench. Fire moves it on.
func (b *Bench) Now() time.Time { return b.now }

// Open lists the open children. The order is the bench's own and the same for the same play.
func (b *Bench) Open() []Child { return slices.Clone(b.open) }

// Timers lists the timers that are set, in the order they were.
func (b *Bench) Timers() []Timer { return slices.Clone(b.timers) }

// Awaits lists the signals that the frame waits for, in the order it asked.
func (b *Bench) Awaits() []string { return slices.Clone(b.awaits) }

// Binding returns what an open child was given.
func (b *Bench) Binding(slot, index int) (schedulers.Binding, error) {
	x, ok := b.bound[Child{slot, index}]
	if !ok {
		panic(fmt.Sprintf("schedulertest: child %d of slot %d is not open", index, slot))
	}
	return x.Binding, x.err
}

// Ended returns the frame's outcome, and whether it has one.
func (b *Bench) Ended() (lang.Outcome, bool) { return b.outcome, b.ended }

// Outcome returns the outcome of a child that is done.
func (b *Bench) Outcome(slot, index int) lang.Outcome {
	if slot < 0 || slot >= len(b.slots) {
		return lang.Outcome{}
	}
	return b.slots[slot].outcomes[index]
}

// Counts returns a slot's tally.
func (b *Bench) Counts(slot int) schedulers.Counts {
	if slot < 0 || slot >= len(b.slots) {
		return schedulers.Counts{}
	}
	s := &b.slots[slot]
	return schedulers.Counts{Spawned: s.spawned, Open: s.open, Succeeded: s.succeeded, Failed: s.failed, Skipped: s.skipped}
}

// Begin returns a bench for a policy's document whose frame has opened. A document that does not load fails the test.
func Begin(t testing.TB, r *plugin.Registry, policy, document string, input, data lang.Value) *Bench {
	t.Helper()
	s, err := Load(r, policy, document)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBench(s, input, data)
	b.Start()
	return b
}

// Start tells the policy that the frame has opened.
func (b *Bench) Start() { b.tell(schedulers.Event{Kind: schedulers.Started}) }

// Note is what the policy last said of where the frame is.
func (b *Bench) Note() lang.Value { return b.note }

// Twinned reports whether an open child has a twin.
func (b *Bench) Twinned(slot, index int) bool { return b.twins[Child{slot, index}] }

// Cancel cancels the frame. Its children are gone, but for those in cleanup slots; a policy that cleans up is told and goes on, and any other frame has
// ended. The outcome is cancelled whatever the policy says.
func (b *Bench) Cancel() {
	if b.Subject.cleans() {
		b.tell(schedulers.Event{Kind: schedulers.Cancelled})
	} else {
		b.cancelled = true
		b.end(lang.Outcome{})
	}
}

// stop leaves what cleans up.
func (b *Bench) stop() {
	b.cancelled, b.timers, b.awaits = true, nil, nil
	for _, c := range slices.Clone(b.open) {
		if !b.Subject.cleansUp(c.Slot) {
			b.close(c)
		}
	}
	for i := range b.slots {
		if s := &b.slots[i]; !b.Subject.cleansUp(i) {
			s.failed += s.spawned - s.succeeded - s.failed - s.skipped
			s.opened, s.early = s.spawned, nil
		}
	}
}

func (b *Bench) gone() lang.Outcome {
	return lang.Outcome{Verdict: lang.Cancelled, Err: &lang.Error{Type: "cancelled", Message: "the frame was cancelled", Class: lang.ClassCancelled}}
}

// Done ends an open child; of one that has a twin, the first failure only ends one of the two. It panics when the child is not open.
func (b *Bench) Done(slot, index int, o lang.Outcome) {
	if !b.outlived(Child{slot, index}, o) {
		b.tell(schedulers.Event{Kind: schedulers.Done, Slot: slot, Index: index, Outcome: o, Input: b.bound[Child{slot, index}].Input})
	}
}

// outlived takes the failure of one of two twins, and reports whether it is one.
func (b *Bench) outlived(c Child, o lang.Outcome) bool {
	if !b.twins[c] || o.Verdict != lang.Failed {
		return false
	}
	delete(b.twins, c)
	return true
}

// Fire makes a timer due, and moves the time on to when it is. It panics when no timer of that name is set.
func (b *Bench) Fire(name string) { b.tell(schedulers.Event{Kind: schedulers.Fired, Name: name}) }

// Signal gives a signal. It panics when the frame does not wait for one of that name.
func (b *Bench) Signal(name string, data lang.Value) {
	b.tell(schedulers.Event{Kind: schedulers.Signalled, Name: name, Outcome: lang.Success(data)})
}

func (b *Bench) tell(ev schedulers.Event) {
	b.happen(ev)
	requests, err := b.ask(b.state, ev)
	b.perform(ev, requests, err)
}

// happen books what an event says before the policy hears of it.
func (b *Bench) happen(ev schedulers.Event) {
	if b.ended {
		panic("schedulertest: the frame has ended")
	}
	b.toldAt = time.Time{}
	switch ev.Kind {
	case schedulers.Cancelled:
		b.stop()
	case schedulers.Done:
		c := Child{ev.Slot, ev.Index}
		b.told, b.toldAt = c, b.since[c]
		if _, open := b.at[c]; !open {
			panic(fmt.Sprintf("schedulertest: child %d of slot %d is not open", c.Index, c.Slot))
		}
		b.close(c)
		b.slots[c.Slot].keep(c.Index, ev.Outcome)
	case schedulers.Fired:
		i := slices.IndexFunc(b.timers, func(t Timer) bool { return t.Name == ev.Name })
		if i < 0 {
			panic(fmt.Sprintf("schedulertest: no timer %q is set", ev.Name))
		}
		if due := b.timers[i].Due; due.After(b.now) {
			b.now = due
		}
		b.timers = slices.Delete(b.timers, i, i+1)
	case schedulers.Signalled:
		i := slices.Index(b.awaits, ev.Name)
		if i < 0 {
			panic(fmt.Sprintf("schedulertest: the frame does not wait for a signal %q", ev.Name))
		}
		b.awaits = slices.Delete(b.awaits, i, i+1)
	}
}

// ask tells a state of an event and returns what the policy asks for. It changes the state and nothing of the bench.
func (b *Bench) ask(state any, ev schedulers.Event) ([]Request, error) {
	d := &desk{Bench: b, asked: state, kind: ev.Kind}
	err := b.Subject.machine.Next(d, b.Subject.Settings, state, ev)
	return d.requests, d.fault(err)
}

func (b *Bench) bind(state any, c Child) bound {
	d := &desk{Bench: b, asked: state}
	binding, err := b.Subject.machine.Bind(d, b.Subject.Settings, state, c.Slot, c.Index)
	return bound{binding, d.fault(err)}
}

// perform does what the policy asked for, in order, and finds a frame that waits for nothing.
func (b *Bench) perform(ev schedulers.Event, requests []Request, err error) {
	if err != nil {
		b.end(lang.Failure(failure(err)))
		return
	}
	for _, q := range requests {
		if b.ended {
			return
		}
		b.grant(q)
	}
	if ev.Kind == schedulers.Done && !b.ended {
		b.fill(ev.Slot)
	}
	if b.Stuck() {
		b.end(lang.Failure(lang.Failf(lang.ClassPlatform, stuck, "policy %q neither ended nor waits for anything", b.Subject.policy)))
	}
}

const stuck = "policy_stuck"

// Stuck reports whether the frame has not ended and waits for nothing.
func (b *Bench) Stuck() bool {
	if b.ended || len(b.open) > 0 || len(b.timers) > 0 || len(b.awaits) > 0 {
		return false
	}
	return !slices.ContainsFunc(b.slots, func(s slot) bool { return s.opened < s.spawned })
}

// failure is the error of a frame whose policy returned err.
func failure(err error) *lang.Error {
	var e *lang.Error
	if errors.As(err, &e) {
		return e
	}
	return &lang.Error{Type: "policy_error", Message: err.Error(), Class: lang.ClassPlatform}
}

func (b *Bench) end(o lang.Outcome) {
	if b.cancelled {
		o = b.gone()
	}
	b.ended, b.outcome = true, o
	b.open, b.timers, b.awaits = nil, nil, nil
	clear(b.at)
	clear(b.bound)
	clear(b.since)
	clear(b.twins)
	for i := range b.slots {
		b.slots[i].open = 0
	}
}

func (b *Bench) grant(q Request) {
	switch q.Op {
	case Spawn:
		b.slots[q.Slot].spawned = q.B
		b.fill(q.Slot)
	case Window:
		b.slots[q.Slot].window = q.A
		b.fill(q.Slot)
	case Discard:
		b.slots[q.Slot].discard = true
	case Drop:
		delete(b.slots[q.Slot].outcomes, q.A)
	case Cancel:
		b.cancel(Child{q.Slot, q.A})
	case After:
		b.timers = slices.DeleteFunc(b.timers, func(t Timer) bool { return t.Name == q.Name })
		b.timers = append(b.timers, Timer{q.Name, b.now.Add(q.Wait)})
	case Stop:
		b.timers = slices.DeleteFunc(b.timers, func(t Timer) bool { return t.Name == q.Name })
	case Await:
		b.awaits = append(b.awaits, q.Name)
	case Unawait:
		for i, name := range slices.Backward(b.awaits) {
			if name == q.Name {
				b.awaits = slices.Delete(b.awaits, i, i+1)
				break
			}
		}
	case Twin:
		if _, open := b.at[Child{q.Slot, q.A}]; open {
			b.twins[Child{q.Slot, q.A}] = true
		}
	case Note:
		b.note = q.Value
	case End:
		b.end(q.Outcome)
	}
}

// fill opens spawned children in index order, as the window allows.
func (b *Bench) fill(at int) {
	s := &b.slots[at]
	window := s.window
	if window <= 0 || window > engineWindow {
		window = engineWindow
	}
	for s.opened < s.spawned && s.open < window {
		c := Child{at, s.opened}
		s.opened++
		if s.early[c.Index] {
			continue
		}
		s.open++
		b.at[c] = len(b.open)
		b.open = append(b.open, c)
		b.since[c] = b.now
		b.bound[c] = b.bind(b.state, c)
	}
}

func (b *Bench) cancel(c Child) {
	s := &b.slots[c.Slot]
	cancelled := lang.Outcome{Verdict: lang.Cancelled, Err: &lang.Error{Type: "cancelled", Message: "cancelled by its policy", Class: lang.ClassCancelled}}
	if _, open := b.at[c]; open {
		b.close(c)
		s.keep(c.Index, cancelled)
		b.fill(c.Slot)
	} else if c.Index >= s.opened && !s.early[c.Index] {
		if s.early == nil {
			s.early = make(map[int]bool)
		}
		s.early[c.Index] = true
		s.keep(c.Index, cancelled)
	}
}

func (b *Bench) close(c Child) {
	i, last := b.at[c], len(b.open)-1
	b.open[i] = b.open[last]
	b.at[b.open[i]] = i
	b.open = b.open[:last]
	delete(b.at, c)
	delete(b.bound, c)
	delete(b.since, c)
	delete(b.twins, c)
	b.slots[c.Slot].open--
}

func (s *slot) keep(index int, o lang.Outcome) {
	switch o.Verdict {
	case lang.Succeeded:
		s.succeeded++
	case lang.Skipped:
		s.skipped++
	default:
		s.failed++
	}
	if s.discard {
		return
	}
	if s.outcomes == nil {
		s.outcomes = make(map[int]lang.Outcome)
	}
	s.outcomes[index] = o
}
