package engine

import "github.com/onward-router/onward/config/lang"

// A signal that ended a wait is gone, and the step around the wait may be tried again: its next try would wait for what came already. What a policy asks to
// be given back (schedulers.Frame.GiveBack) is lent: the innermost step around the wait that may be tried again has it, and gives it back when it is.

// lend has a signal come again when a step around t, or t itself, is tried again. A run remembers so many, and so much.
func (s *State) lend(t *task, k keptSignal) {
	r, x := t.run, t.triable()
	if x == nil || r.rare().lending >= s.limits.Signals || r.bytes+k.weight() > s.limits.RunBytes {
		return
	}
	own := r.own()
	if own.lent == nil {
		own.lent = make(map[*task][]keptSignal)
	}
	own.lent[x] = append(own.lent[x], k)
	own.lending++
	s.hold(r, k.weight())
}

// twins reports whether t has a second try beside it, is one, or may get one.
func (t *task) twins() bool {
	return t.few().of != nil || t.few().twin != nil || t.frame != nil && t.handles == nil && t.frame.info.twins != nil && t.frame.info.twins[t.slot]
}

// triable is the innermost step, from t outwards, that may be tried again as a whole, or has a second try beside it.
func (t *task) triable() *task {
	for x := t; x != nil; x = x.parent() {
		if x.twins() || x.step.Use != lang.UseFunction && len(x.step.Retry) > 0 {
			return x
		}
	}
	return nil
}

// handOn gives what was lent to a step that has ended to the next one around it that may be tried again. What a twin took that has lost is the other's.
func (s *State) handOn(t *task) {
	lent := t.run.rare().lent[t]
	if len(lent) == 0 {
		return
	}
	if t.few().of != nil {
		s.giveBack(t)
		return
	}
	own := t.run.own()
	delete(own.lent, t)
	if p := t.parent(); p != nil {
		if x := p.triable(); x != nil {
			own.lent[x] = append(own.lent[x], lent...)
			return
		}
	}
	s.forgetLent(t.run, lent)
}

// lendWon has t, all other tries of which are stopped, keep what the one took that has won; what the others took comes again.
func (s *State) lendWon(t *task, won []keptSignal) {
	s.giveBack(t)
	if len(won) > 0 {
		t.run.own().lent[t] = won
	}
}

func (s *State) forgetLent(r *run, lent []keptSignal) {
	r.own().lending -= len(lent)
	for _, k := range lent {
		s.hold(r, -k.weight())
	}
}

// giveBack lets what was lent to a step that is tried again come again, before all else that came early.
func (s *State) giveBack(t *task) {
	lent := t.run.rare().lent[t]
	if len(lent) == 0 {
		return
	}
	own := t.run.own()
	delete(own.lent, t)
	s.forgetLent(t.run, lent)
	s.returnSignals(t.run, lent...)
}

func saveLent(w *writer, lent []keptSignal) {
	w.uint(uint64(len(lent)))
	for _, k := range lent {
		w.text(k.name)
		w.value(k.data)
		w.b = append(w.b, k.key[:]...)
	}
}

func (s *State) loadLent(l *loader, t *task) {
	own := t.run.own()
	if own.lent == nil {
		own.lent = make(map[*task][]keptSignal)
	}
	for range l.count() {
		if l.err != nil {
			return
		}
		k := keptSignal{name: l.text(), data: l.value()}
		copy(k.key[:], l.bytes(len(k.key)))
		own.lent[t] = append(own.lent[t], k)
		own.lending++
		s.hold(t.run, k.weight())
	}
	if len(own.lent[t]) == 0 {
		l.fail(errSnapshot)
	}
}
