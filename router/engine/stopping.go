package engine

import (
	"github.com/onward-router/onward/config/lang"
)

// A frame that ends, or is stopped, stops its children. Most are gone at once. One whose policy cleans up (schedulers.Cleaner) runs on for that, and who
// stopped it waits: the frame around it, the step that its deadline ended, the run that was cancelled.
//
//	working ── Succeed, Fail ──▶ ending ── no child cleans up any more ──▶ over: its try has ended
//	   │                            ▲
//	   └── stopped ──▶ stopping     └───────────────────────────────┐
//	                      │ no child cleans up any more             │
//	                      ├── its policy does not either ──▶ over   │
//	                      ▼                                         │
//	                   cleaning, told Cancelled ── Succeed, Fail, waits for nothing
type phase uint8

const (
	working phase = iota
	ending
	stopping
	due // told Cancelled next, by the same record
	cleaning
	over
)

// closed reports whether nothing is told to a frame's policy any more. What runs in a cleanup slot goes on while the frame is stopped, and is told of.
func (f *frame) closed() bool {
	return f.phase == ending || f.phase == over || f.phase != working && f.info.cleans == nil
}

// cleansUp reports whether a slot's children run on when the frame is stopped.
func (f *frame) cleansUp(slot int) bool { return f.info.cleans != nil && f.info.cleans[slot] }

// A sequel is what becomes of a step once all of it that was stopped is gone.
type sequel uint8

const (
	goesOn sequel = iota // nothing waits for that
	isGone               // it was cancelled: who cancelled it goes on
	fails                // with its error, unless a handler takes over
	tries                // its try has ended with that outcome
	ends                 // with that outcome
)

// A rest is what few steps have: a twin, and what is to become of a step of which something still cleans up.
type rest struct {
	twin    *task
	of      *task // of which it is the twin
	held    bool  // it has failed, with lastErr, and its twin is at work
	sequel  sequel
	outcome lang.Outcome // of the sequel
	spared  int32        // its tries of which the function saw nothing; counted where a destination tells
}

func (t *task) few() rest {
	if t.rest == nil {
		return rest{}
	}
	return *t.rest
}

func (t *task) own() *rest {
	if t.rest == nil {
		t.rest = new(rest)
	}
	return t.rest
}

// endFrame ends a frame with the outcome of its try. With leave, what is under way is left alone.
func (s *State) endFrame(f *frame, o lang.Outcome, leave bool) {
	if f.closed() {
		return
	}
	f.phase = ending
	s.stopChildren(f, leave, false)
	if f.limbo == 0 {
		s.frameOver(f, o)
	} else {
		f.result = &o
	}
}

// failFrame ends a frame that cannot go on, whatever its policy says. One that cleans up may do so first, as when it is cancelled.
func (s *State) failFrame(f *frame, e *lang.Error) {
	if f.info.cleans == nil || f.phase != working {
		s.endFrame(f, lang.Failure(e), false)
		return
	}
	s.cut = cut{f.owner, lang.Failure(e)}
	s.follow(f.owner, tries, lang.Failure(e), s.stopTry(f.owner, false))
}

// frameOver ends a frame of which nothing is left: with it ends its try, or what its step was stopped for comes.
func (s *State) frameOver(f *frame, o lang.Outcome) {
	if f.owner.few().sequel == goesOn {
		s.quit(f, o)
		s.attemptEnded(f.owner, o)
		return
	}
	s.quit(f, s.cutShort(f))
	f.owner.body = nil
	s.stopped(f.owner)
}

func (s *State) quit(f *frame, o lang.Outcome) {
	f.phase = over
	s.traceTry(f, o)
	s.hold(f.owner.run, -f.bytes-f.weight-len(f.note))
}

// stopChildren stops all that still runs in a frame, but for what cleans up where that is to go on.
func (s *State) stopChildren(f *frame, leave, tidy bool) {
	for _, t := range f.timers.all() {
		s.dropTimer(f.owner.run, t.id)
	}
	if f.timers.len() > 0 {
		f.timers = timerNames{}
	}
	if f.awaits > 0 {
		f.owner.run.own().waits.drop(f)
		f.awaits = 0
	}
	for i := range f.slots {
		sl := &f.slots[i]
		if tidy && f.cleansUp(i) {
			continue
		}
		for _, t := range sl.sorted() {
			switch limbo := t.few().sequel == isGone; {
			case limbo && !s.force:
			case t.ended && !limbo || s.cancel(t, leave):
				s.vacate(sl, t)
			default:
				f.limbo++
			}
		}
		if len(sl.tasks) == 0 {
			sl.tasks = nil
		}
		s.forgive(f, sl)
	}
}

// stopFrame stops a frame whose outcome no longer counts, and reports whether it is gone.
func (s *State) stopFrame(f *frame, leave bool) bool {
	switch {
	case s.force:
		s.stopChildren(f, false, false)
		s.quit(f, s.cutShort(f))
		return true
	case f.phase != working:
		return false
	}
	f.phase = stopping
	if f.info.cleans != nil {
		s.retract(f)
	}
	s.stopChildren(f, leave, true)
	return f.limbo == 0 && s.cleanUp(f)
}

// retract takes back what a frame that is stopped was about to be told: its timers and waits are gone.
func (s *State) retract(f *frame) {
	if f.given == 0 && s.fired != f {
		return // Nothing: the queue may be long.
	}
	for i := range s.queue {
		if w := &s.queue[i]; w.frame == f {
			if w.event.kind == evSignalled {
				f.given--
				s.queue[i] = work{frame: &frame{owner: f.owner, phase: over}, event: w.event} // It goes to the next.
			} else if w.event.kind == evFired {
				s.queue[i] = work{}
			}
		}
	}
}

// cleanUp lets the policy of a frame that was stopped clean up, and reports whether it does not.
func (s *State) cleanUp(f *frame) bool {
	if f.info.cleans == nil {
		s.quit(f, s.cutShort(f))
		return true
	}
	// What has not opened never will.
	for i := range f.slots {
		if sl := &f.slots[i]; !f.cleansUp(i) {
			undone := sl.spawned - sl.succeeded - sl.failed - sl.skipped
			sl.failed += undone
			f.left -= undone
			sl.opened, sl.early = sl.spawned, nil
		}
	}
	f.phase = due
	s.queue = append(s.queue, work{frame: f, event: frameEvent{kind: evCancelled}})
	s.note(f.owner.run, Change{Kind: CleaningUp, Path: f.owner.path()})
	return false
}

// cancel stops a step and all below it, and reports whether it is gone. Nobody is told of its end, but who cancelled it once it is gone.
func (s *State) cancel(t *task, leave bool) bool {
	if !t.ended {
		s.traceStopped(t, leave)
	}
	t.ended = true
	for _, id := range []uint32{t.deadlineTimer, t.retryTimer, t.tryTimer} {
		s.dropTimer(t.run, id)
	}
	t.deadlineTimer, t.retryTimer, t.tryTimer = 0, 0, 0
	gone := s.stopWork(t, leave)
	s.handOn(t)
	if gone {
		return true
	}
	x := t.own()
	x.sequel, x.outcome, x.held = isGone, lang.Outcome{}, false
	return false
}

// stopTry stops what is at work for t itself - its invocation, its frame, its handler - and reports whether it is gone.
func (s *State) stopTry(t *task, leave bool) bool {
	if t.inv != 0 {
		if leave {
			t.run.live.get(t.inv).task = nil
		} else {
			s.traceDropped(t.run.live.get(t.inv))
			s.dropLive(t.run, t.inv)
		}
		t.inv = 0
	}
	if t.body != nil && s.stopFrame(t.body, leave) {
		t.body = nil
	}
	if t.handler != nil && s.cancel(t.handler, leave) {
		s.hold(t.run, -t.handler.failure())
		t.handler = nil
	}
	return t.body == nil && t.handler == nil
}

// stopWork stops what is at work for t, and its twin, and reports whether it is gone.
func (s *State) stopWork(t *task, leave bool) bool {
	gone := s.stopTry(t, leave)
	if twin := t.few().twin; twin != nil {
		if twin.few().sequel != isGone {
			s.out.Twins.Lost++ // Once, however long it cleans up.
		}
		if s.cancel(twin, leave) {
			s.loseTwin(t)
		}
	}
	return gone && t.few().twin == nil
}

// then stops what is at work for t, and lets what follows come once it is gone.
func (s *State) then(t *task, next sequel, o lang.Outcome) {
	s.cut = cut{t, o}
	s.follow(t, next, o, s.stopWork(t, false))
}

// follow lets what follows come at once, when what was at work for t is gone, or else once it is.
func (s *State) follow(t *task, next sequel, o lang.Outcome, gone bool) {
	s.cut = cut{}
	x := t.own()
	x.sequel, x.outcome, x.held = next, o, false
	if gone {
		s.stopped(t)
	}
}

// stopped goes on with a step of which a part that was stopped is gone.
func (s *State) stopped(t *task) {
	x := t.few()
	if x.sequel == goesOn || t.body != nil || t.handler != nil || x.twin != nil && x.sequel != tries {
		return
	}
	t.comesOn()
	switch x.sequel {
	case fails:
		s.failed(t, x.outcome.Err)
	case tries:
		s.attemptEnded(t, x.outcome)
	case ends:
		s.finish(t, x.outcome)
	case isGone:
		s.gone(t)
	}
}

// comesOn takes away what was to become of a step; what it has beside that stays.
func (t *task) comesOn() {
	if t.rest.sequel, t.rest.outcome = goesOn, (lang.Outcome{}); *t.rest == (rest{}) {
		t.rest = nil
	}
}

// gone tells who cancelled a step that cleaned up that it is gone.
func (s *State) gone(t *task) {
	s.handOn(t)
	switch {
	case t.few().of != nil:
		of := t.rest.of
		s.loseTwin(of)
		s.stopped(of)
	case t.handles != nil:
		s.hold(t.run, -t.failure())
		t.handles.handler = nil
		s.stopped(t.handles)
	case t.frame != nil:
		s.childGone(t.frame, t)
	default:
		r := t.run
		r.root = nil
		s.endRun(r, *r.rare().result)
	}
}

// childGone goes on with a frame that waits for a child which cleaned up.
func (s *State) childGone(f *frame, t *task) {
	s.vacate(&f.slots[t.slot], t)
	f.limbo--
	switch {
	case f.phase == working || f.phase == cleaning:
		s.fill(f, int(t.slot))
	case f.limbo > 0:
	case f.phase == stopping:
		if s.cleanUp(f) {
			f.owner.body = nil
			s.stopped(f.owner)
		}
	case f.phase == ending:
		s.frameOver(f, *f.result)
	}
}

// cancelRun cancels all of a run. It ends with the outcome once that is gone.
func (s *State) cancelRun(r *run, o lang.Outcome) {
	for _, n := range r.live.numbers() {
		if l := r.live.get(n); l.left() {
			s.traceDropped(l)
			s.dropLive(r, n)
		}
	}
	s.stopRun(r, o)
}

// endEarly ends a run with the outcome that one of its steps gave it; what was left alone is delivered yet. One that is ending goes on with that.
func (s *State) endEarly(r *run, o lang.Outcome) {
	if r.outcome != nil || r.rare().result != nil {
		return
	}
	if e := s.unfit("the outcome", o.Value); e != nil {
		o = lang.Failure(e)
	}
	if o.Err != nil {
		o.Err = o.Err.At(r.root.place(), 0, "")
	}
	s.stopRun(r, o)
}

// stopRun cancels what a run is at. It ends with the outcome once that is gone.
func (s *State) stopRun(r *run, o lang.Outcome) {
	if r.root != nil && !s.cancel(r.root, false) {
		r.own().result = &o
		s.resume(r) // What cleans up calls.
		return
	}
	r.root = nil
	s.endRun(r, o)
}

// left reports whether an invocation was left alone by what had made it: it is delivered, and its result is late.
func (l *live) left() bool { return l.task == nil && l.inv.Purpose == Call }

// forget takes an invocation that was left alone out of its run.
func (s *State) forget(r *run, l *live) {
	s.part(r, l)
	s.leaveIfDone(r)
}
