// Package enginetest holds what a fold tells to what must be true of it, whoever feeds it.
package enginetest

import (
	"fmt"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

type stepOf struct {
	run journal.RunID
	key engine.StepKey
}

// Steps are the steps that a fold has told of: by the end of a run each that a call or another step is part of was told of, once.
type Steps struct {
	Told, Calls int // so much was seen

	told   map[stepOf]int
	parts  map[journal.RunID]map[engine.StepKey]string // what is part of a step that was not told of yet
	faults []string
}

// NewSteps returns a checker for one State.
func NewSteps() *Steps {
	return &Steps{told: make(map[stepOf]int), parts: make(map[journal.RunID]map[engine.StepKey]string)}
}

// See takes what a record did.
func (s *Steps) See(out *engine.Effects) {
	for i := range out.Traces {
		s.see(&out.Traces[i])
	}
	for _, e := range out.Ended {
		for key, part := range s.parts[e.Run] {
			s.faults = append(s.faults, fmt.Sprintf("run %s ended, and of step %+v, which %s is part of, nothing was told", e.Run, key, part))
		}
		delete(s.parts, e.Run)
	}
}

func (s *Steps) see(t *engine.Trace) {
	step, in := t.Step()
	what := fmt.Sprintf("step %+v", step)
	if t.Inv != nil {
		if what = fmt.Sprintf("%s %s of %s", t.Inv.Purpose, t.Inv.ID(), t.Path); in {
			s.Calls++
			s.expect(t.Run, step, what)
		}
	}
	if !in || t.Inv != nil && !t.Ends {
		return
	}
	if t.Again {
		s.faults = append(s.faults, fmt.Sprintf("run %s: %s has ended, and is tried again", t.Run, what))
	}
	s.Told++
	at := stepOf{t.Run, step}
	if s.told[at]++; s.told[at] > 1 {
		s.faults = append(s.faults, fmt.Sprintf("run %s: %s was told of %d times", t.Run, what, s.told[at]))
	}
	delete(s.parts[t.Run], step)
	if above, is := t.Above(); is {
		s.expect(t.Run, above, what)
	}
}

func (s *Steps) expect(run journal.RunID, step engine.StepKey, part string) {
	if s.told[stepOf{run, step}] > 0 {
		return
	}
	if s.parts[run] == nil {
		s.parts[run] = make(map[engine.StepKey]string)
	}
	s.parts[run][step] = part
}

// Faults says what was not as it must be.
func (s *Steps) Faults() []string { return s.faults }
