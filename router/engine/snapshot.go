package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
)

// snapshotFormat is the version of Save's form: numbers as varints, texts after their length, all in a fixed order, maps sorted by key. Two states
// that folded the same records save the same bytes.
const snapshotFormat = 2

// A writer appends a snapshot and hands it on in pieces.
type writer struct {
	w   io.Writer
	b   []byte
	err error
}

func (w *writer) flush(at int) {
	if w.err != nil || len(w.b) < at {
		return
	}
	_, w.err = w.w.Write(w.b)
	w.b = w.b[:0]
}

func (w *writer) uint(v uint64)       { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)         { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) text(s string)       { w.b = appendText(w.b, s) }
func (w *writer) value(v lang.Value)  { w.b = appendValue(w.b, v) }
func (w *writer) fault(e *lang.Error) { w.b = appendError(w.b, e) }

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
		return
	}
	w.int(t.UnixNano())
}

func (w *writer) id(id journal.RunID)  { w.b = append(w.b, id[:]...) }
func (w *writer) digest(d lang.Digest) { w.b = append(w.b, d[:]...) }

func (w *writer) outcome(o lang.Outcome) {
	if o.Verdict == 0 {
		w.b = append(w.b, 0)
		return
	}
	w.b = appendOutcome(w.b, o)
}

// Save writes the state. The same records give the same bytes.
func (s *State) Save(to io.Writer) error {
	w := &writer{w: to, b: make([]byte, 0, 128<<10)}
	w.uint(snapshotFormat)
	w.uint(uint64(s.level))
	w.uint(s.epoch)
	w.int(s.now)
	w.int(s.seen)
	s.saveDefinitions(w)
	w.uint(uint64(len(s.waiting)))
	for _, d := range s.waitingDigests() {
		w.digest(d)
		w.uint(uint64(len(s.waiting[d])))
		for _, start := range s.waiting[d] {
			start.save(w)
		}
	}
	w.bool(s.tombstones.evicted)
	w.uint(uint64(len(s.tombstones.ring) - s.tombstones.head))
	for _, t := range s.tombstones.ring[s.tombstones.head:] {
		w.id(t.id)
		w.int(t.at)
		w.flush(64 << 10)
	}
	w.uint(uint64(len(s.runs)))
	for _, id := range s.runIDs() {
		if err := saveRun(w, s.runs[id]); err != nil {
			return err
		}
	}
	w.flush(0)
	return w.err
}

func (s *State) saveDefinitions(w *writer) {
	digests := slices.SortedFunc(maps.Keys(s.definitions), func(a, b lang.Digest) int { return slices.Compare(a[:], b[:]) })
	w.uint(uint64(len(digests)))
	for _, d := range digests {
		w.text(string(s.definitions[d].Canonical()))
		w.int(s.definitions[d].idle)
	}
}

func saveRun(w *writer, r *run) error {
	w.id(r.id)
	w.text(r.tenant)
	w.digest(r.def.digest)
	w.value(r.event)
	w.value(r.data)
	w.uint(uint64(r.fuel))
	w.int(r.started)
	w.uint(uint64(r.next))
	w.uint(uint64(r.calls))
	w.uint(uint64(r.attempts))
	w.bool(r.cancelled)
	w.bool(r.outcome != nil)
	if r.outcome != nil {
		w.outcome(*r.outcome)
		w.int(r.ended)
	}
	w.uint(uint64(len(r.live)))
	for _, n := range sortedNumbers(r.live) {
		saveLive(w, r.live[n])
	}
	w.uint(uint64(len(r.pauses)))
	for _, n := range sortedNumbers(r.pauses) {
		w.uint(uint64(n))
		saveLive(w, &live{inv: r.pauses[n].inv})
		w.fault(r.pauses[n].err)
	}
	w.uint(uint64(len(r.timers)))
	for _, n := range sortedNumbers(r.timers) {
		t := r.timers[n]
		w.uint(uint64(n))
		w.int(t.due)
		w.uint(uint64(t.kind))
		w.text(t.name)
	}
	w.uint(uint64(len(r.superseded)))
	for _, n := range r.superseded {
		w.uint(uint64(n))
	}
	saveSignals(w, r)
	w.uint(uint64(r.part))
	w.uint(uint64(r.debts))
	for _, d := range r.owed {
		if d.stands() {
			w.uint(uint64(d.frame.n))
			w.uint(uint64(d.slot))
		}
	}
	w.bool(r.root != nil)
	if r.root != nil {
		return saveTask(w, r.root)
	}
	return w.err
}

func saveSignals(w *writer, r *run) {
	w.uint(uint64(len(r.taken)))
	for _, t := range r.taken {
		w.b = append(w.b, t.key[:]...)
		w.int(t.at)
	}
	w.uint(uint64(len(r.kept)))
	for _, k := range r.kept {
		w.text(k.name)
		w.value(k.data)
		w.b = append(w.b, k.key[:]...)
	}
	w.uint(uint64(len(r.waits)))
	for _, x := range r.waits {
		w.text(x.name)
		w.uint(uint64(x.frame.n))
	}
}

func saveLive(w *writer, l *live) {
	inv := l.inv
	w.uint(uint64(inv.N))
	w.int(l.accepted)
	w.uint(uint64(inv.Purpose))
	w.text(inv.Path)
	w.text(inv.Function)
	w.text(inv.ToTrigger)
	w.text(inv.Contract)
	w.uint(uint64(inv.Attempt))
	w.value(inv.Input)
	w.int(int64(inv.Timeout))
	w.time(inv.Expires)
	w.time(inv.Created)
	w.text(inv.Cause)
	w.text(inv.Type)
	w.text(string(inv.Starts))
	w.uint(uint64(inv.Fuel))
	w.uint(uint64(inv.Continued))
	w.flush(64 << 10)
}

func saveTask(w *writer, t *task) error {
	w.value(t.bound)
	shared := t.input == t.bound
	w.bool(shared)
	if !shared {
		w.value(t.input)
	}
	w.uint(uint64(len(t.vars)))
	for _, v := range t.vars {
		w.text(v.Name)
		w.value(v.Value)
	}
	w.uint(uint64(len(t.siblings)))
	for _, slot := range t.siblings {
		w.uint(uint64(slot))
	}
	w.int(t.opened)
	w.uint(uint64(t.tries))
	w.uint(uint64(t.continues))
	w.uint(uint64(t.inv))
	w.fault(t.lastErr)
	w.uint(uint64(t.deadlineTimer))
	w.uint(uint64(t.retryTimer))
	w.uint(uint64(t.tryTimer))
	w.flush(64 << 10)
	w.bool(t.body != nil)
	if t.body != nil {
		if err := saveFrame(w, t.body); err != nil {
			return err
		}
	}
	w.uint(uint64(t.catching() + 1))
	if t.handler != nil {
		return saveTask(w, t.handler)
	}
	return w.err
}

// catching is the index of the catch whose handler is at work; -1 is none.
func (t *task) catching() int {
	for i := range t.step.Catch {
		if t.handler != nil && t.handler.step == &t.step.Catch[i].Do {
			return i
		}
	}
	return -1
}

func saveFrame(w *writer, f *frame) error {
	w.uint(uint64(f.n))
	state, err := f.info.machine.Encode(f.state)
	if err != nil {
		return fmt.Errorf("state of policy %q: %w", f.owner.step.Use, err)
	}
	w.text(string(state))
	w.uint(uint64(f.awaits))
	w.uint(uint64(len(f.timers)))
	for _, t := range f.timers {
		w.text(t.name)
		w.uint(uint64(t.id))
	}
	for i := range f.slots {
		if err := saveSlot(w, &f.slots[i]); err != nil {
			return err
		}
	}
	return w.err
}

func saveSlot(w *writer, sl *slot) error {
	for _, n := range []int{sl.spawned, sl.opened, sl.window, sl.succeeded, sl.failed, sl.skipped} {
		w.uint(uint64(n))
	}
	w.bool(sl.discard)
	w.uint(uint64(len(sl.outcomes)))
	for _, o := range sl.outcomes {
		w.outcome(o)
		w.flush(64 << 10)
	}
	w.uint(uint64(len(sl.early)))
	for _, i := range sl.early {
		w.uint(uint64(i))
	}
	w.uint(uint64(len(sl.tasks)))
	for _, t := range sl.sorted() {
		w.uint(uint64(t.index))
		if err := saveTask(w, t); err != nil {
			return err
		}
	}
	return w.err
}

var errSnapshot = errors.New("engine: snapshot does not decode")

// A loader reads what Save wrote.
type loader struct {
	r      *bufio.Reader
	err    error
	frames map[uint32]*frame // of the run being read
}

func (l *loader) fail(err error) {
	if l.err == nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		l.err = err
	}
}

func (l *loader) uint() uint64 {
	if l.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(l.r)
	if err != nil {
		l.fail(err)
	}
	return v
}

func (l *loader) int() int64 {
	if l.err != nil {
		return 0
	}
	v, err := binary.ReadVarint(l.r)
	if err != nil {
		l.fail(err)
	}
	return v
}

// count reads a number of things; a snapshot is checked by its journal, so that this only bounds what a bug could do.
func (l *loader) count() int {
	v := l.uint()
	if v > 1<<31 {
		l.fail(errSnapshot)
		return 0
	}
	return int(v)
}

// whole reads a number that is no length: whatever was folded is read again.
func (l *loader) whole() int { return int(l.uint()) }

func (l *loader) bytes(n int) []byte {
	if l.err != nil {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.r, b); err != nil {
		l.fail(err)
	}
	return b
}

func (l *loader) text() string   { return string(l.bytes(l.count())) }
func (l *loader) bool() bool     { return l.uint() == 1 }
func (l *loader) number() uint32 { return uint32(l.uint()) }

// time reads a time; 0 is none.
func (l *loader) time() time.Time {
	if n := l.int(); n != 0 {
		return time.Unix(0, n).UTC()
	}
	return time.Time{}
}

func (l *loader) value() lang.Value {
	if text := l.text(); text != "" {
		return lang.Trusted(text)
	}
	return lang.Null
}

func (l *loader) id() (id journal.RunID) {
	copy(id[:], l.bytes(len(id)))
	return id
}

func (l *loader) digest() (d lang.Digest) {
	copy(d[:], l.bytes(len(d)))
	return d
}

func (l *loader) error() *lang.Error {
	class := lang.Class(l.uint())
	if class == 0 {
		return nil
	}
	return &lang.Error{
		Class: class, Type: l.text(), Message: l.text(), Data: l.value(), Path: l.text(), Attempt: int(l.number()), Invocation: l.text(),
	}
}

func (l *loader) outcome() lang.Outcome {
	o := lang.Outcome{Verdict: lang.Verdict(l.uint())}
	switch o.Verdict {
	case lang.Succeeded, lang.Continue:
		o.Value = l.value()
	case lang.Failed, lang.Cancelled:
		o.Err = l.error()
	}
	return o
}

// Load fills an empty State with what Save wrote.
func (s *State) Load(from io.Reader) error {
	if err := s.load(from, func() {}); err != nil {
		return err
	}
	s.timers.rebuild(s)
	return nil
}

// Verify reads what Save wrote as Load does, run by run, and keeps none of them: what it takes can be loaded.
func Verify(registry *plugin.Registry, from io.Reader) error {
	s := New(registry, nil)
	return s.load(from, func() { clear(s.runs) })
}

// load reads a snapshot, and tells of each run.
func (s *State) load(from io.Reader, read func()) error {
	l := &loader{r: bufio.NewReaderSize(from, 128<<10)}
	switch format := l.uint(); {
	case l.err != nil:
	case format > snapshotFormat:
		return fmt.Errorf("engine: snapshot format %d: %w; run the binary that wrote it, or a newer one", format, journal.ErrNewer)
	case format < snapshotFormat:
		return fmt.Errorf("engine: snapshot format %d: %w", format, journal.ErrOlder)
	}
	s.level = uint8(l.uint())
	if err := journal.CheckLevel(s.level); l.err == nil && err != nil {
		return fmt.Errorf("engine: snapshot: %w", err)
	}
	s.limits = s.limitsOf(s.level)
	s.epoch, s.now, s.seen = l.uint(), l.int(), l.int()
	for range l.count() {
		def, err := s.compile([]byte(l.text()))
		if err != nil {
			return errors.Join(err, l.err)
		}
		def.idle = l.int()
		s.definitions[def.digest] = def
		s.idle++
	}
	s.loadWaiting(l)
	s.loadTombstones(l)
	for range l.count() {
		if l.err != nil {
			break
		}
		s.loadRun(l)
		read()
	}
	if l.err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, l.err)
	}
	return nil
}

func (s *State) loadWaiting(l *loader) {
	for range l.count() {
		d := l.digest()
		for range l.count() {
			w := loadWaiting(l)
			if l.err != nil || w.fact.Digest != d {
				l.fail(errSnapshot)
				return
			}
			s.addWaiting(w)
		}
	}
}

func (s *State) loadTombstones(l *loader) {
	t := &s.tombstones
	t.evicted = l.bool()
	n := l.count()
	if n > 0 {
		t.index = make(map[journal.RunID]struct{}, min(n, 1<<20))
	}
	for range n {
		if l.err != nil {
			return
		}
		x := tombstone{id: l.id(), at: l.int()}
		t.ring = append(t.ring, x)
		t.index[x.id] = struct{}{}
	}
}

// loadLives reads what is under way, and the destinations that pause.
func (s *State) loadLives(l *loader, r *run) {
	if n := l.count(); n > 0 {
		r.live = make(map[uint32]*live, min(n, 1<<20))
		for range n {
			if l.err != nil {
				return
			}
			entry := loadLive(l, r)
			r.live[entry.inv.N] = entry
			s.live++
		}
	}
	for range l.count() {
		if l.err != nil {
			return
		}
		if r.pauses == nil {
			r.pauses = make(map[uint32]pause)
		}
		n := l.number()
		r.pauses[n] = pause{loadLive(l, r).inv, l.error()}
	}
}

func (s *State) loadRun(l *loader) {
	r := &run{id: l.id(), tenant: l.text()}
	digest := l.digest()
	if r.def = s.definitions[digest]; r.def == nil {
		l.fail(fmt.Errorf("run %s names definition %x, which is not there", r.id, digest[:6]))
		return
	}
	r.event, r.data, r.fuel, r.started = l.value(), l.value(), l.whole(), l.int()
	r.traced = traceparent(r.event)
	r.next, r.calls, r.attempts, r.cancelled = l.number(), l.whole(), l.whole(), l.bool()
	if l.bool() {
		o := l.outcome()
		r.outcome, r.ended = &o, l.int()
	}
	if s.loadLives(l, r); l.err != nil {
		return
	}
	if n := l.count(); n > 0 {
		r.timers = make(map[uint32]*timer, min(n, 1<<20))
		for range n {
			t := &timer{id: l.number(), due: l.int(), kind: timerKind(l.uint()), name: l.text()}
			r.timers[t.id] = t
		}
	}
	for range l.count() {
		r.superseded = append(r.superseded, l.number())
	}
	awaits := loadSignals(l, r)
	r.part = l.number()
	var debts [][2]uint32
	for range l.count() {
		if l.err != nil {
			return
		}
		debts = append(debts, [2]uint32{l.number(), l.number()})
	}
	l.frames = make(map[uint32]*frame)
	if l.bool() {
		r.root = &task{run: r, step: r.def.Flow}
		s.loadTask(l, r.root)
	}
	for i, n := range awaits {
		if r.waits[i].frame = l.frames[n]; r.waits[i].frame == nil {
			l.fail(errSnapshot)
		}
	}
	for _, d := range debts {
		f := l.frames[d[0]]
		if f == nil || int(d[1]) >= len(f.slots) || f.slots[d[1]].owes != 0 {
			l.fail(errSnapshot)
			return
		}
		s.owe(f, int(d[1]))
	}
	s.add(r)
	for _, k := range r.kept {
		s.hold(r, k.weight())
	}
}

// loadSignals reads the signals and returns the numbers of the frames that wait, in the order of r.waits.
func loadSignals(l *loader, r *run) []uint32 {
	see := func() (k signalKey) {
		copy(k[:], l.bytes(len(k)))
		if r.seen == nil {
			r.seen = make(map[signalKey]struct{})
		}
		r.seen[k] = struct{}{}
		return k
	}
	for range l.count() {
		if l.err != nil {
			return nil
		}
		r.taken = append(r.taken, takenSignal{see(), l.int()})
	}
	for range l.count() {
		if l.err != nil {
			return nil
		}
		r.kept = append(r.kept, keptSignal{l.text(), l.value(), see()})
	}
	var awaits []uint32
	for range l.count() {
		r.waits = append(r.waits, wait{name: l.text()})
		awaits = append(awaits, l.number())
	}
	return awaits
}

func loadLive(l *loader, r *run) *live {
	inv := &Invocation{N: l.number(), Run: r.id, Tenant: r.tenant, Trigger: r.def.Trigger, Digest: r.def.digest, Traced: r.traced}
	entry := &live{inv: inv, accepted: l.int()}
	inv.Purpose, inv.Path, inv.Function, inv.ToTrigger, inv.Contract = Purpose(l.uint()), l.text(), l.text(), l.text(), l.text()
	inv.Attempt, inv.Input, inv.Timeout = l.whole(), l.value(), time.Duration(l.int())
	inv.Expires, inv.Created, inv.Cause, inv.Type = l.time(), l.time(), l.text(), l.text()
	if starts := l.text(); starts != "" {
		inv.Starts = []byte(starts)
	}
	inv.Fuel, inv.Continued = l.whole(), l.whole()
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
	for range l.count() {
		t.vars = append(t.vars, lang.Var{Name: l.text(), Value: l.value()})
	}
	for range l.count() {
		t.siblings = append(t.siblings, l.count())
	}
	s.hold(t.run, t.weight())
	t.opened, t.tries, t.continues, t.inv = l.int(), int32(l.uint()), int32(l.uint()), l.number()
	if entry := t.run.live[t.inv]; entry != nil {
		entry.task = t
		if entry.inv.Input == t.input {
			entry.inv.Input = t.input // One text instead of two.
		}
	}
	t.lastErr = l.error()
	t.deadlineTimer, t.retryTimer, t.tryTimer = l.number(), l.number(), l.number()
	for _, id := range []uint32{t.deadlineTimer, t.retryTimer, t.tryTimer} {
		if id != 0 && t.run.timers[id] != nil {
			t.run.timers[id].task = t
		}
	}
	if l.bool() {
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
		t := namedTimer{l.text(), l.number()}
		f.timers = append(f.timers, t)
		if owner.run.timers[t.id] != nil {
			owner.run.timers[t.id].of = f
		}
	}
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
		sl.early = append(sl.early, int32(l.uint()))
	}
	n := l.count()
	if n > 0 {
		sl.tasks = make(map[int32]*task, min(n, 1<<20))
	}
	for range n {
		if l.err != nil {
			return
		}
		t := &task{run: f.owner.run, step: f.info.children[at], frame: f, slot: int32(at), index: int32(l.uint())}
		sl.tasks[t.index] = t
		s.occupy(f.owner.run, 1)
		s.loadTask(l, t)
	}
}

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
		return
	}
	w.b = append(w.b, 0)
}
