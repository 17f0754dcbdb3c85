package engine

import (
	"fmt"
	"time"

	"github.com/onward-router/onward/config/lang"
)

func (s *State) loadRun(l *loader) *run {
	l.texts = l.texts[:0]
	r := &run{id: l.id(), tenant: l.text()}
	digest := l.digest()
	if r.def = s.definitions[digest]; r.def == nil {
		l.fail(fmt.Errorf("run %s names definition %x, which is not there", r.id, digest[:6]))
		return r
	}
	r.event, r.data, r.fuel, r.started = l.value(), l.value(), l.whole(), l.int()
	r.traced = traced(r.event)
	r.next, r.calls, r.attempts, r.cancelled = l.number(), int32(l.uint()), int32(l.uint()), l.bool()
	if l.bool() {
		o := l.outcome()
		r.outcome, r.ended = &o, l.int()
	}
	s.loadSeldom(l, r)
	if s.loadLives(l, r); l.err != nil {
		return r
	}
	if n := l.count(); n > 0 {
		for range n {
			if l.err != nil {
				return r
			}
			t := &timer{id: l.number(), due: l.int(), kind: timerKind(l.uint()), name: l.text()}
			r.timers.put(t.id, t)
		}
	}
	for range l.count() {
		if l.err != nil {
			return r
		}
		r.own().superseded = append(r.own().superseded, l.number())
	}
	awaits := loadSignals(l, r)
	r.part = l.number()
	debts := loadDebts(l)
	l.frames = make(map[uint32]*frame)
	if x := r.rare().round; x != nil && (r.outcome != nil || x.open && x.timer != 0 && r.timers.get(x.timer) == nil) {
		l.fail(errSnapshot)
	}
	if l.bool() {
		if r.def.Flow == nil || r.outcome != nil || r.queued() || r.gathers() {
			l.fail(errSnapshot)
			return r
		}
		r.root = &task{run: r, step: r.def.Flow}
		s.loadTask(l, r.root)
	}
	for _, w := range awaits {
		f := l.frames[w.frame]
		if f == nil {
			l.fail(errSnapshot)
			return r
		}
		r.own().waits.add(w.name, f)
	}
	s.enterDebts(l, debts)
	for _, k := range r.rare().kept.all() {
		s.hold(r, k.weight())
	}
	return r
}

// loadSeldom reads what few runs have.
func (s *State) loadSeldom(l *loader, r *run) {
	flags := l.flags(runStopping | runPaused | runKeyed | runDropped | runChild | runRedriven | runRecalls | runWindows | runAged | runRound | runArrived | runSubs | runSpared)
	r.aged = flags&runAged != 0
	if flags&runStopping != 0 {
		o := l.outcome()
		r.own().result = &o
	}
	if flags&runPaused != 0 {
		r.own().halt = l.halt()
		s.paused++
	}
	if flags&runKeyed != 0 {
		r.own().place = l.place()
	}
	if flags&runDropped != 0 && r.outcome != nil {
		r.outcome.Value = l.value()
	}
	if flags&runChild != 0 {
		r.own().parent = l.text()
	}
	if flags&runRedriven != 0 {
		r.own().redrives = l.number()
	}
	if flags&runRecalls != 0 {
		r.own().recollection = s.loadRecollection(l, r)
	}
	if flags&runWindows != 0 {
		r.own().windows = l.windows(s.limits.Window)
	}
	if flags&runRound != 0 {
		r.own().round = s.loadRound(l, r)
	}
	if flags&runArrived != 0 {
		r.own().arrived = l.value()
		s.hold(r, size(r.rare().arrived))
	}
	if flags&runSubs != 0 {
		r.own().subs = l.whole()
	}
	if flags&runSpared != 0 {
		r.own().spared = int32(l.whole())
	}
	if p := r.rare().place; p != nil && r.outcome != nil {
		l.fail(errSnapshot)
	}
}

// loadLives reads what is under way, and the destinations that pause.
func (s *State) loadLives(l *loader, r *run) {
	if n := l.count(); n > 0 {
		for range n {
			if l.err != nil {
				return
			}
			entry := loadLive(l, r)
			r.live.put(entry.inv.N, entry)
			s.live++
			s.hold(r, len(entry.ticketed()))
		}
	}
	for range l.count() {
		if l.err != nil {
			return
		}
		x := r.own()
		if x.pauses == nil {
			x.pauses = make(map[uint32]pause)
		}
		n := l.number()
		x.pauses[n] = pause{loadLive(l, r).inv, l.error()}
	}
}

// loadDebts reads which slots owe: the numbers of their frames, and theirs.
func loadDebts(l *loader) (debts [][2]uint32) {
	for range l.count() {
		if l.err != nil {
			return nil
		}
		debts = append(debts, [2]uint32{l.number(), l.number()})
	}
	return debts
}

func (s *State) enterDebts(l *loader, debts [][2]uint32) {
	for _, d := range debts {
		f := l.frames[d[0]]
		if f == nil || int(d[1]) >= len(f.slots) || f.slots[d[1]].owes != 0 {
			l.fail(errSnapshot)
			return
		}
		s.owe(f, int(d[1]))
	}
}

// loadSignals reads the signals and returns the numbers of the frames that wait, with the names.
func loadSignals(l *loader, r *run) []awaited {
	key := func() (k signalKey) {
		copy(k[:], l.bytes(len(k)))
		return k
	}
	for range l.count() {
		if l.err != nil {
			return nil
		}
		t := takenSignal{key(), l.int()}
		if t.at < 0 {
			l.fail(errSnapshot)
		}
		r.own().took(t)
	}
	for range l.count() {
		if l.err != nil {
			return nil
		}
		k := keptSignal{l.text(), l.value(), key()}
		r.own().see(k.key)
		r.own().kept.put(k)
	}
	var awaits []awaited
	for range l.count() {
		if l.err != nil {
			return nil
		}
		awaits = append(awaits, awaited{l.text(), l.number()})
	}
	return awaits
}

// awaited is a wait as it is written: the frame is its number.
type awaited struct {
	name  string
	frame uint32
}

func loadLive(l *loader, r *run) *live {
	inv := &Invocation{N: l.number(), Run: r.id, Tenant: r.tenant, Trigger: r.def.Trigger, Redrive: r.rare().redrives, Traced: r.traced, Began: r.started}
	entry := &live{inv: inv, accepted: l.int()}
	inv.Purpose, inv.Path, inv.Function, inv.ToTrigger, inv.Contract = Purpose(l.uint()), l.text(), l.text(), l.text(), l.text()
	inv.Attempt, inv.Input, inv.Timeout = l.whole(), l.value(), time.Duration(l.int())
	inv.Expires, inv.Created, inv.Cause, inv.Type = l.time(), l.time(), l.text(), l.text()
	if starts := l.text(); starts != "" {
		inv.Starts = []byte(starts)
	}
	inv.Fuel, inv.Continued = l.whole(), l.whole()
	flags := l.flags(hasCounts | callBeats | callDressed | callTicket)
	inv.counts = l.counts(flags, r.retryOf(inv.Path))
	if flags&callBeats != 0 {
		inv.Heartbeat = time.Duration(l.int())
	}
	if flags&callDressed != 0 {
		inv.Attributes = l.value()
	}
	if flags&callTicket != 0 {
		ticket := l.text()
		if entry.ticket = &ticket; l.err == nil && !IsTicket(ticket) {
			l.fail(errSnapshot)
		}
	}
	return entry
}

func (s *State) loadTask(l *loader, t *task) {
	if l.err != nil {
		return
	}
	t.bound = l.value()
	t.input = t.bound
	if !l.bool() {
		t.input = l.value()
	}
	var n names
	for range l.count() {
		if l.err != nil {
			return
		}
		n.vars = append(n.vars, lang.Var{Name: l.text(), Value: l.value()})
	}
	for range l.count() {
		slot := l.count()
		if l.err != nil || t.frame == nil || slot >= len(t.frame.slots) || t.frame.info.children[slot] == nil {
			l.fail(errSnapshot)
			return
		}
		n.siblings = append(n.siblings, slot)
	}
	if len(n.vars) > 0 || len(n.siblings) > 0 {
		t.names = &n
	}
	s.hold(t.run, t.weight()+t.failure())
	t.opened, t.tries, t.continues, t.inv = l.int(), int32(l.uint()), int32(l.uint()), l.number()
	if entry := t.run.live.get(t.inv); entry != nil {
		entry.task = t
		if entry.inv.Input == t.input {
			entry.inv.Input = t.input // One text instead of two.
		}
	}
	t.lastErr = l.error()
	t.deadlineTimer, t.retryTimer, t.tryTimer = l.number(), l.number(), l.number()
	for _, id := range []uint32{t.deadlineTimer, t.retryTimer, t.tryTimer} {
		if id != 0 && t.run.timers.get(id) != nil {
			t.run.timers.get(id).task = t
		}
	}
	s.loadRest(l, t)
	if l.bool() {
		if t.info().machine == nil {
			l.fail(errSnapshot)
			return
		}
		s.loadFrame(l, t)
	}
	if i := l.count(); i > 0 && l.err == nil {
		if i > len(t.step.Catch) {
			l.fail(errSnapshot)
			return
		}
		t.handler = &task{run: t.run, step: &t.step.Catch[i-1].Do, frame: t.frame, slot: t.slot, index: t.index, handles: t}
		s.loadTask(l, t.handler)
	}
}

func (s *State) loadFrame(l *loader, owner *task) {
	info := owner.info()
	f := &frame{owner: owner, info: info, n: l.number(), slots: make([]slot, len(info.children))}
	owner.body = f
	l.frames[f.n] = f
	state, err := info.machine.Decode([]byte(l.text()))
	if err != nil {
		l.fail(err)
		return
	}
	f.state, f.awaits = state, l.whole()
	if err := s.weigh(f, lang.Null); err != nil {
		l.fail(err)
		return
	}
	for range l.count() {
		if l.err != nil {
			return
		}
		name, id := l.text(), l.number()
		f.timers.put(name, id)
		if t := owner.run.timers.get(id); t != nil {
			t.task = owner
		}
	}
	loadEnding(l, f)
	s.hold(owner.run, len(f.note))
	for i := range f.slots {
		s.loadSlot(l, f, i)
	}
}

func (s *State) loadSlot(l *loader, f *frame, at int) {
	sl := &f.slots[at]
	for _, n := range []*int{&sl.spawned, &sl.opened, &sl.window, &sl.succeeded, &sl.failed, &sl.skipped} {
		*n = l.whole()
	}
	f.left += sl.spawned - sl.succeeded - sl.failed - sl.skipped
	sl.discard = l.bool()
	for range l.count() {
		if l.err != nil {
			return
		}
		o := l.outcome()
		sl.outcomes = append(sl.outcomes, o)
		sl.bytes += weight(o)
	}
	f.bytes += sl.bytes
	s.hold(f.owner.run, sl.bytes)
	for range l.count() {
		if l.err != nil {
			return
		}
		i := l.uint()
		if i >= uint64(sl.spawned) || sl.spawned > s.limits.Width {
			l.fail(errSnapshot)
			return
		}
		if sl.early == nil {
			sl.early = new(early)
		}
		sl.early.set(int(i))
	}
	n := l.count()
	if n > 0 {
		if f.info.children[at] == nil {
			l.fail(errSnapshot)
			return
		}
		sl.tasks = make(map[int32]*task, min(n, 1<<20))
	}
	for range n {
		if l.err != nil {
			return
		}
		t := &task{run: f.owner.run, step: f.info.children[at], frame: f, slot: int32(at), index: int32(l.uint())}
		sl.tasks[t.index] = t
		s.occupy(f.owner.run, 1)
		if s.loadTask(l, t); t.few().sequel == isGone {
			f.limbo++
		}
	}
}

func (s *State) loadRest(l *loader, t *task) {
	flags := l.flags(hasCounts | taskSequel | taskTwin | taskHeld | taskLent | taskSpared)
	t.counts = l.counts(flags, t.step.Retry)
	if flags&taskLent != 0 {
		s.loadLent(l, t)
	}
	if flags&taskSpared != 0 {
		t.own().spared = int32(l.whole())
	}
	if flags&^(hasCounts|taskLent|taskSpared) == 0 || l.err != nil {
		return
	}
	x := t.own()
	x.held = flags&taskHeld != 0
	if flags&taskSequel != 0 {
		if x.sequel = sequel(l.uint()); x.sequel > ends {
			l.fail(errSnapshot)
		}
		x.outcome, t.ended = l.outcome(), x.sequel == isGone
	}
	if flags&taskTwin == 0 {
		return
	}
	if t.frame == nil || x.of != nil {
		l.fail(errSnapshot)
		return
	}
	s.occupy(t.run, 1)
	s.loadTask(l, s.beside(t))
}

func loadEnding(l *loader, f *frame) {
	flags := l.flags(framePhase | frameResult | frameNote | frameBegan)
	if flags&framePhase != 0 {
		f.phase = phase(l.uint())
		if f.phase == due || f.phase >= over {
			l.fail(errSnapshot)
		}
	}
	if flags&frameResult != 0 {
		o := l.outcome()
		f.result = &o
	}
	if (f.phase == ending) != (f.result != nil) {
		l.fail(errSnapshot)
	}
	if flags&frameNote != 0 {
		f.note = l.text()
	}
	if f.began = f.owner.opened; flags&frameBegan != 0 {
		f.began = l.int()
	}
}
