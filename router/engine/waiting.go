package engine

import (
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A waitingRun is a start whose definition has not come, with what was said to the run meanwhile.
type waitingRun struct {
	run     journal.RunID
	tenant  string
	fact    StartFact
	signals []SignalFact
	said    map[signalKey]struct{} // of signals; made once there is one
	turns   []turn
	order   uint64 // among all that have waited
	saved   uint32 // the last snapshot that it is in
	// ended is set when the run was cancelled or passed over before it could begin: nothing of it will run. Who is to be told of its end is in the
	// definition, so that waits.
	ended *waitingEnd
}

type waitingEnd struct {
	outcome   lang.Outcome
	cancelled bool
	at        int64
}

// arrive enters a start whose definition has not come.
func (s *State) arrive(w *waitingRun) {
	s.arrivals++
	w.order = s.arrivals
	if s.saving != nil {
		w.saved = s.saving.n
	}
	s.addWaiting(w)
}

func (s *State) addWaiting(w *waitingRun) {
	s.waitingRuns[w.run] = w
	s.waiting[w.fact.Digest] = append(s.waiting[w.fact.Digest], w)
}

// foldWaiting folds a record of a run that has not begun.
func (s *State) foldWaiting(w *waitingRun, rec *journal.Record) Reason {
	s.saving.beforeWaiting(w)
	switch rec.Kind {
	case journal.Signal:
		return s.signalWaiting(w, rec.Payload)
	case journal.Pause, journal.Resume:
		return s.turnWaiting(w, rec)
	case journal.Cancel:
		f, err := DecodeCancel(rec.Payload)
		if err != nil {
			return Malformed
		}
		return s.endWaiting(w, lang.Failure(f.error()), true)
	case journal.More:
		if def := s.definitions[w.fact.Digest]; def != nil {
			s.beginFirst(def, w)
			return Applied
		}
	}
	return Unknown
}

func (s *State) signalWaiting(w *waitingRun, payload []byte) Reason {
	f, err := DecodeSignal(payload)
	switch {
	case err != nil:
		return Malformed
	case w.ended != nil:
		return Finished
	case s.unfitSignal(&f) || len(w.signals) >= s.limits.Signals:
		return Limited
	}
	if w.said == nil {
		w.said = make(map[signalKey]struct{}, len(w.signals)+1)
		for i := range w.signals { // It was loaded.
			w.said[w.signals[i].key()] = struct{}{}
		}
	}
	if _, repeated := w.said[f.key()]; repeated {
		return Duplicate
	}
	w.said[f.key()] = struct{}{}
	w.signals = append(w.signals, f)
	return Applied
}

// endWaiting ends a run that has not begun. Those who ask hear of it now, its destinations once it is known which they are.
func (s *State) endWaiting(w *waitingRun, o lang.Outcome, cancelled bool) Reason {
	s.saving.beforeWaiting(w)
	if w.ended != nil {
		return Finished
	}
	told := w.told()
	w.signals, w.said, w.turns, w.ended = nil, nil, nil, &waitingEnd{o, cancelled, s.now}
	r := w.unborn()
	s.fuel(r, &w.fact)
	s.announce(r, w.fact.Key, told)
	return Applied
}

// unborn is the run that w would be, for the event of its end.
func (w *waitingRun) unborn() *run {
	r := newRun(w.run, w.tenant, &definition{Definition: &lang.Definition{Trigger: w.fact.Trigger}, digest: w.fact.Digest}, &w.fact, w.ended.at)
	r.outcome, r.cancelled, r.ended = &w.ended.outcome, w.ended.cancelled, w.ended.at
	return r
}

// beginWaiting begins the first of the runs that waited for a definition. The others are asked to begin by records of their own.
func (s *State) beginWaiting(def *definition) {
	for n := range s.limits.Begins {
		if len(s.waiting[def.digest]) == 0 {
			return
		}
		if n > 0 && def.Await != nil && s.cache.Left() < lang.EvalCost {
			break // Each counts what its round has, and is to have what one event may cost.
		}
		s.beginFirst(def, s.waiting[def.digest][0])
	}
	s.owingStarts = append(s.owingStarts, s.waiting[def.digest]...)
}

// beginFirst begins a run whose definition has come; one that has ended meanwhile tells its destinations so.
func (s *State) beginFirst(def *definition, w *waitingRun) {
	s.saving.beforeWaiting(w)
	starts := s.waiting[def.digest]
	if starts[0] == w {
		starts[0] = nil
		starts = starts[1:]
	} else {
		starts = slices.DeleteFunc(starts, func(x *waitingRun) bool { return x == w })
	}
	if s.waiting[def.digest] = starts; len(starts) == 0 {
		delete(s.waiting, def.digest)
	}
	delete(s.waitingRuns, w.run)
	if w.ended == nil {
		s.begin(w.run, w.tenant, def, &w.fact, w)
		s.drain() // Each has its own cause.
		return
	}
	r := w.unborn()
	r.def = def
	s.fuel(r, &w.fact)
	s.add(r)
	r.child(&w.fact)
	s.cause = cause{event: r.event}
	s.tell(r)
}

func (w *waitingRun) save(to *writer) {
	clear(to.seen)
	to.uint(tagWaiting)
	to.id(w.run)
	to.uint(w.order)
	to.text(w.tenant)
	to.text(string(w.fact.Append(nil)))
	to.uint(uint64(len(w.signals)))
	for i := range w.signals {
		to.text(string(w.signals[i].Append(nil)))
	}
	to.bool(w.ended != nil)
	if w.ended != nil {
		to.outcome(w.ended.outcome)
		to.bool(w.ended.cancelled)
		to.int(w.ended.at)
	}
	to.flags(flag{waitingTurns, len(w.turns) > 0})
	if len(w.turns) > 0 {
		to.turns(w.turns)
	}
}

func loadWaiting(l *loader) *waitingRun {
	l.texts = l.texts[:0]
	w := &waitingRun{run: l.id(), order: l.uint(), tenant: l.text()}
	var err error
	if w.fact, err = DecodeStart([]byte(l.text())); err != nil {
		l.fail(err)
	}
	for range l.count() {
		if l.err != nil {
			break
		}
		f, err := DecodeSignal([]byte(l.text()))
		if err != nil {
			l.fail(err)
		}
		w.signals = append(w.signals, f)
	}
	if l.bool() {
		w.ended = &waitingEnd{l.outcome(), l.bool(), l.int()}
	}
	if l.flags(waitingTurns)&waitingTurns != 0 {
		w.turns = l.turns()
	}
	return w
}
