package engine

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A run that a step starts, and waits for, is the step's own, under the id that was journaled for it: it never joins another. Of a trigger with signals it has the
// events of its key all the same. What came before it is handed over by the run that has kept it; where another run of the key is at work it fails.

// An inheritance is what a run finds of its key as it begins.
type inheritance struct {
	early []keptSignal
	fuel  int // at most, when there is any
	taken *lang.Error
}

// inherit takes what was kept of a key for a run that is to begin. The run that kept it is over: no event has begun it.
func (s *State) inherit(name keyName, id journal.RunID) (had inheritance) {
	r := s.rounds[name]
	if r == nil {
		return had
	}
	s.saving.before(r)
	x := r.rare().round
	if !x.open {
		had.taken = lang.Failf(lang.ClassPlatform, "key_taken", "run %s of key %q is at work, and the events of the key are for that; let this one begin when that has ended: retry: { on: [key_taken] }", r.id, name.key)
		return had
	}
	had.early, had.fuel = x.early(r.def.Await), r.fuel
	s.endRun(r, dropped(fmt.Sprintf("what came for key %q was kept for the run that begins, and run %s has begun", name.key, id)))
	return had
}

// takeInheritance gives a run what it has found; false when it has ended, since its key is taken. It keeps the key: redriven, it may have it.
func (s *State) takeInheritance(r *run, key string, had *inheritance) bool {
	if had.taken != nil {
		r.own().round = &round{key: key}
		s.endRun(r, lang.Failure(had.taken))
		return false
	}
	if len(had.early) > 0 {
		r.fuel = min(r.fuel, had.fuel)
		for i := range had.early {
			s.traceSignal(r, &SignalFact{Name: had.early[i].name, Data: had.early[i].data})
		}
		s.keepSignals(r, had.early...)
	}
	return true
}

// early are the events of a round of signals that came before the one that begins the run.
func (x *round) early(a *lang.Await) (list []keptSignal) {
	for i := range x.arrived {
		y := &x.arrived[i]
		if y.kind == 0 {
			continue
		}
		k := keptSignal{name: a.Events[y.kind].Name, data: y.data}
		copy(k.key[:], y.id[:])
		list = append(list, k)
	}
	return list
}

// keyAgain lets a run that was redriven have the events of its key again, and those that were kept for it. While another run is at work for the key, that has them.
func (s *State) keyAgain(r *run, key string) {
	name := keyName{r.tenant, r.def.Trigger, key}
	had := s.inherit(name, r.id)
	if had.taken != nil {
		return
	}
	r.own().round = &round{key: key}
	s.rounds[name] = r
	s.takeInheritance(r, key, &had)
}
