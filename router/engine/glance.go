package engine

import (
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A StepState is where one activation of a step is, or how it ended.
type StepState uint8

// The states. They go out as numbers: they stay what they are.
const (
	StepNone      StepState = iota // it has not begun, or nothing is known of it
	StepQueued                     // its call waits to be sent
	StepRunning                    // it is at work, or something in it is
	StepWaiting                    // for a signal, a timer, or its next try
	StepSucceeded                  //
	StepFailed                     // for good
	StepSkipped                    //
	StepCancelled                  //
	StepOver                       // it has ended, and the history does not know how
	stepStateEnd
)

var stepStates = [...]string{
	StepNone: "pending", StepQueued: "queued", StepRunning: "running", StepWaiting: "waiting", StepSucceeded: "succeeded", StepFailed: "failed",
	StepSkipped: "skipped", StepCancelled: "cancelled", StepOver: "over",
}

// String returns the state's word.
func (s StepState) String() string {
	if s >= stepStateEnd {
		return strconv.Itoa(int(s))
	}
	return stepStates[s]
}

// StepStates are the words of all states, by their numbers.
func StepStates() []string { return stepStates[:] }

// StateOf is how a step stands that ended so; false: it goes on.
func StateOf(v lang.Verdict) (StepState, bool) {
	switch v {
	case lang.Succeeded:
		return StepSucceeded, true
	case lang.Failed:
		return StepFailed, true
	case lang.Skipped:
		return StepSkipped, true
	case lang.Cancelled:
		return StepCancelled, true
	}
	return StepNone, false
}

// A Glance looks at the open steps of a run. It is made in parts, so that none takes long however many there are; what ends meanwhile may be missed.
type Glance struct {
	// Group is a path without its last index: only those steps are looked for. Empty is all.
	Group string
	// Step is told of each open step: its path without the last index, that index, -1 for none, the number of its invocation, 0 for none, and since when it is
	// open, in nanoseconds.
	Step func(group string, index int, is StepState, n uint32, since int64)
	// Slot is told of each step of an open frame: how many activations there are to be, and how many of them, the first, have opened; opened is -1 where
	// they do not open in order.
	Slot func(group string, many bool, spawned, opened int)

	todo  []glanced
	begun bool
}

type glanced struct {
	t     *task
	group string
	index int
}

// Glance looks at some more steps of a run, and reports whether there are more; open is false of a run that is not here.
func (s *State) Glance(id journal.RunID, g *Glance, most int) (open, more bool) {
	r := s.runs[id]
	if r == nil {
		return s.waitingRuns[id] != nil, false
	}
	if !g.begun {
		if g.begun = true; r.root != nil {
			g.todo = append(g.todo, glanced{r.root, r.root.place(), -1})
		}
	}
	for len(g.todo) > 0 && most > 0 {
		x := g.todo[len(g.todo)-1]
		g.todo = g.todo[:len(g.todo)-1]
		most -= 1 + g.look(x)
	}
	return true, len(g.todo) > 0
}

// look tells of a step, and returns how many it has found to look at.
func (g *Glance) look(x glanced) (found int) {
	t := x.t
	if t.ended || t.gone() || t.run.outcome != nil {
		return 0
	}
	if g.Group == "" || g.Group == x.group {
		g.Step(x.group, x.index, t.state(), t.inv, t.opened)
	}
	if t.handler == nil && t.body == nil {
		return 0
	}
	path := t.path()
	if t.handler != nil {
		return g.add(glanced{t.handler, below(path, t.handler.info().label), -1})
	}
	f := t.body
	for i := range f.slots {
		sl := &f.slots[i]
		if sl.spawned == 0 {
			continue
		}
		group := below(path, f.info.childLabel(t.run.def, i))
		if g.Group == "" || g.Group == group {
			opened := sl.opened
			if f.info.numbered {
				opened = -1
			}
			g.Slot(group, f.info.many[i] || sl.spawned > 1, sl.spawned, opened)
		} else if !strings.HasPrefix(g.Group, group) {
			continue
		}
		for _, c := range sl.tasks { // Who looks puts them in order.
			index := -1
			if f.info.many[i] || c.index > 0 {
				index = c.number()
			}
			found += g.add(glanced{c, group, index})
		}
	}
	return found
}

// add enters a step to be looked at, unless nothing of what is asked for is in it.
func (g *Glance) add(x glanced) int {
	if g.Group != "" && g.Group != x.group {
		path := x.group
		if x.index >= 0 {
			path = string(appendIndex([]byte(path), x.index))
		}
		if !strings.HasPrefix(g.Group, path+"/") {
			return 1
		}
	}
	g.todo = append(g.todo, x)
	return 1
}

func below(path, label string) string {
	if path == "" {
		return label
	}
	return path + "/" + label
}

// state is where an open step is, as far as the fold knows: whether a call has been sent is known to the outbox.
func (t *task) state() StepState {
	f := t.body
	switch {
	case t.handler != nil:
		return StepRunning
	case t.retryTimer != 0:
		return StepWaiting
	case t.inv != 0:
		if l := t.run.live.get(t.inv); l != nil && l.accepted <= 0 && t.info().starts == "" {
			return StepQueued
		}
	case f != nil && f.left == 0 && (f.awaits > 0 || f.timers.len() > 0):
		return StepWaiting
	}
	return StepRunning
}
