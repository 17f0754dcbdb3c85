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
	try uint32 // of the step, where it is told of try by try; key is zero
}

// Steps are the steps that a fold has told of: by the end of a run each that a call or another step is part of was
// told of, once, and so was each try of a policy that something is part of.
type Steps struct {
	Told, Calls, Tries int // so much was seen

	told   map[stepOf]int
	parts  map[journal.RunID]map[stepOf]string // what is part of a step, or of a try, that was not told of yet
	faults []string
}

// NewSteps returns a checker for one State.
func NewSteps() *Steps {
	return &Steps{told: make(map[stepOf]int), parts: make(map[journal.RunID]map[stepOf]string)}
}

// See takes what a record did.
func (s *Steps) See(out *engine.Effects) {
	for i := range out.Traces {
		s.see(&out.Traces[i])
	}
	for _, e := range out.Ended {
		for key, part := range s.parts[e.Run] {
			s.faults = append(s.faults, fmt.Sprintf("run %s ended, and of step %+v, try %d, which %s is part of, nothing was told", e.Run, key.key, key.try, part))
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
			s.expect(stepOf{run: t.Run, key: step}, what)
		}
	}
	if t.Try != 0 {
		s.Tries++
		what = fmt.Sprintf("try %d of %s", t.Try, what)
		if !in || t.Inv != nil || t.Ends || t.Again || t.Queued > t.Ended {
			s.faults = append(s.faults, fmt.Sprintf("run %s: %s is no try of a policy's: %+v", t.Run, what, t))
		}
		s.once(stepOf{run: t.Run, try: t.Try}, what)
		s.expect(stepOf{run: t.Run, key: step}, what)
		return
	}
	if !in || t.Inv != nil && !t.Ends {
		return
	}
	if t.Again {
		s.faults = append(s.faults, fmt.Sprintf("run %s: %s has ended, and is tried again", t.Run, what))
	}
	s.Told++
	s.once(stepOf{run: t.Run, key: step}, what)
	if above, is := t.Above(); is {
		s.expect(stepOf{run: t.Run, key: above}, what)
	}
	if try := t.In(); try != 0 {
		s.expect(stepOf{run: t.Run, try: try}, what)
	}
}

// once notes that a step or a try was told of.
func (s *Steps) once(at stepOf, what string) {
	if s.told[at]++; s.told[at] > 1 {
		s.faults = append(s.faults, fmt.Sprintf("run %s: %s was told of %d times", at.run, what, s.told[at]))
	}
	delete(s.parts[at.run], at)
}

func (s *Steps) expect(at stepOf, part string) {
	if s.told[at] > 0 {
		return
	}
	if s.parts[at.run] == nil {
		s.parts[at.run] = make(map[stepOf]string)
	}
	s.parts[at.run][at] = part
}

// Faults says what was not as it must be.
func (s *Steps) Faults() []string { return s.faults }
