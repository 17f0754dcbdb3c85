package engine

import "github.com/onward-router/onward/config/lang"

// A twin is a second try of a step beside the first: a step of its own with the same path, input and idempotency key. It is no child of the frame: the
// first one stands there, and hears how its twin ended.

// twin begins a second try of a child that is at work.
func (s *State) twin(f *frame, at, index int) {
	t := f.slots[at].tasks[int32(index)]
	if t == nil || t.ended || t.handler != nil || t.retryTimer != 0 || t.few() != (rest{}) || s.budget <= 0 {
		return
	}
	s.budget--
	x := s.beside(t)
	x.opened, x.bound, x.input, x.names = s.now, t.bound, t.input, t.names
	s.occupy(t.run, 1)
	s.hold(t.run, x.weight())
	s.out.Twins.Started++
	s.note(t.run, Change{Kind: Twinned, Path: t.path()})
	s.attempt(x)
}

func (s *State) beside(t *task) *task {
	x := &task{run: t.run, step: t.step, frame: t.frame, slot: t.slot, index: t.index, rest: &rest{of: t}}
	t.own().twin = x
	return x
}

// loseTwin takes a twin that has ended, or was stopped, away from its step.
func (s *State) loseTwin(t *task) {
	s.occupy(t.run, -1)
	s.hold(t.run, -t.rest.twin.weight())
	t.rest.twin = nil
}

// twinEnded hears how the twin of t has ended. Its success is that of the step; its failure leaves the step to the first try, or is one more.
func (s *State) twinEnded(t *task, o lang.Outcome) {
	won := t.run.rare().lent[t.rest.twin]
	delete(t.run.rare().lent, t.rest.twin)
	s.loseTwin(t)
	if o.Verdict == lang.Failed {
		s.out.Twins.Lost++
	} else {
		s.out.Twins.Won++
		s.dropTimer(t.run, t.retryTimer)
		s.dropTimer(t.run, t.tryTimer)
		t.retryTimer, t.tryTimer = 0, 0
		gone := s.stopWork(t, false)
		s.lendWon(t, won)
		s.follow(t, ends, o, gone)
		return
	}
	held := t.rest.held
	if t.rest.held = false; t.rest.sequel == goesOn {
		t.rest = nil // Else its try was too long, and still cleans up.
	}
	if held {
		s.catch(t, t.lastErr, 0)
	}
}
