package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// snapshotFormat is the version of a snapshot's form: a head, then parts in any order, each after its tag, then the end. Numbers are varints, texts follow
// their length. Save has the parts sorted; a snapshot that is taken little by little has them in the order in which they were written.
//
// Format 3 has a word of flags at the end of a run's head, of each invocation, step and frame: what few have follows where its flag is set, in the order of
// the flags. What has another flag was written by a newer binary. Format 2, without them, is still read.
const (
	snapshotFormat = 3
	oldestFormat   = 2
)

// The tags of the parts.
const (
	tagEnd     = iota
	tagWaiting // a start that waits for its definition
	tagEnded   // some tombstones
	tagRun
	tagRedriven // how many times some of the ended runs were redriven
)

// internFrom is the size of texts that a run's part of a snapshot has once: the second time a text is its number. What a run passes on from step to
// step is one text in memory, and it is to be one again when it is loaded.
const internFrom = 32

// A writer appends a snapshot and hands it on in pieces.
type writer struct {
	w    io.Writer
	b    []byte
	err  error
	seen map[string]int // the texts of the run that is being written
}

func (w *writer) flush(at int) {
	if w.w == nil || w.err != nil || len(w.b) < at {
		return
	}
	_, w.err = w.w.Write(w.b)
	w.b = w.b[:0]
}

func (w *writer) uint(v uint64)       { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)         { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) text(s string)       { w.b = appendText(w.b, s) }
func (w *writer) fault(e *lang.Error) { w.b = appendError(w.b, e) }

// A flag says whether a field follows that few have.
type flag struct {
	bit uint64
	set bool
}

func (w *writer) flags(flags ...flag) {
	var word uint64
	for _, f := range flags {
		if f.set {
			word |= f.bit
		}
	}
	w.uint(word)
}

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
		return
	}
	w.int(t.UnixNano())
}

func (w *writer) id(id journal.RunID)  { w.b = append(w.b, id[:]...) }
func (w *writer) digest(d lang.Digest) { w.b = append(w.b, d[:]...) }

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
		return
	}
	w.b = append(w.b, 0)
}

// value writes a text after twice its length, or twice its number and one.
func (w *writer) value(v lang.Value) {
	if v.IsNull() {
		w.b = append(w.b, 0)
		return
	}
	text := v.JSON()
	if len(text) >= internFrom {
		if n, again := w.seen[text]; again {
			w.uint(uint64(n)<<1 | 1)
			return
		}
		w.seen[text] = len(w.seen)
	}
	w.uint(uint64(len(text)) << 1)
	w.b = append(w.b, text...)
}

func (w *writer) outcome(o lang.Outcome) {
	w.b = append(w.b, byte(o.Verdict))
	switch {
	case o.Err != nil:
		w.fault(o.Err)
	case o.Verdict == lang.Succeeded || o.Verdict == lang.Continue:
		w.value(o.Value)
	}
}

// counts writes what each rule of a retry has counted.
func (w *writer) counts(c *counts) {
	if c == nil {
		return
	}
	for _, n := range *c {
		w.uint(uint64(n))
	}
}

// Save writes the state. The same records give the same bytes.
func (s *State) Save(to io.Writer) error {
	w := &writer{w: to, b: make([]byte, 0, 128<<10), seen: make(map[string]int)}
	s.saveHead(w)
	for _, d := range s.waitingDigests() {
		for _, start := range s.waiting[d] {
			start.save(w)
			w.flush(64 << 10)
		}
	}
	for ended := s.tombstones.ring[s.tombstones.head:]; len(ended) > 0; w.flush(64 << 10) {
		ended = saveTombstones(w, ended)
	}
	for _, r := range s.sorted() {
		if err := saveRun(w, r); err != nil {
			return err
		}
		w.flush(64 << 10)
	}
	w.uint(tagEnd)
	w.flush(0)
	return w.err
}

// saveHead writes what is not of one run, and how many parts there will be.
func (s *State) saveHead(w *writer) {
	w.uint(snapshotFormat)
	w.uint(uint64(s.level))
	w.uint(s.epoch)
	w.int(s.now)
	w.int(s.seen)
	w.uint(s.arrivals)
	digests := s.definitionDigests()
	w.uint(uint64(len(digests)))
	for _, d := range digests {
		w.text(string(s.definitions[d].Canonical()))
		w.int(s.definitions[d].idle)
	}
	w.bool(s.tombstones.evicted)
	w.uint(uint64(len(s.waitingRuns)))
	w.uint(uint64(len(s.tombstones.ring) - s.tombstones.head))
	w.uint(uint64(len(s.order)))
	s.tombstones.saveRedriven(w)
}

// saveTombstones writes the first of some tombstones, and returns the rest. They are in order of their time, and stay so: they are written from the
// first on.
func saveTombstones(w *writer, all []tombstone) []tombstone {
	part := all[:min(len(all), 1024)]
	w.uint(tagEnded)
	w.uint(uint64(len(part)))
	for _, t := range part {
		w.id(t.id)
		w.int(t.at)
	}
	return all[len(part):]
}

func saveRun(w *writer, r *run) error {
	clear(w.seen)
	w.uint(tagRun)
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
	saveSeldom(w, r)
	w.uint(uint64(r.live.len()))
	for _, n := range r.live.numbers() {
		saveLive(w, r.live.get(n))
	}
	w.uint(uint64(len(r.rare().pauses)))
	for _, n := range sortedNumbers(r.rare().pauses) {
		w.uint(uint64(n))
		saveLive(w, &live{inv: r.rare().pauses[n].inv})
		w.fault(r.rare().pauses[n].err)
	}
	w.uint(uint64(r.timers.len()))
	for _, n := range r.timers.numbers() {
		t := r.timers.get(n)
		w.uint(uint64(n))
		w.int(t.due)
		w.uint(uint64(t.kind))
		w.text(t.name)
	}
	w.uint(uint64(len(r.rare().latest())))
	for _, n := range r.rare().latest() {
		w.uint(uint64(n))
	}
	saveSignals(w, r)
	w.uint(uint64(r.part))
	w.uint(uint64(r.debts))
	for _, d := range r.rare().owed {
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

// saveSeldom writes what few runs have.
func saveSeldom(w *writer, r *run) {
	result, h, p := r.rare().result, r.rare().halt, r.rare().place
	dropped := r.outcome != nil && r.outcome.Verdict == lang.Skipped && !r.outcome.Value.IsNull()
	w.flags(flag{runStopping, result != nil}, flag{runPaused, h != nil}, flag{runKeyed, p != nil}, flag{runDropped, dropped}, flag{runChild, r.rare().parent != ""},
		flag{runRedriven, r.rare().redrives > 0}, flag{runRecalls, r.rare().recollection != nil}, flag{runWindows, len(r.rare().windows) > 0}, flag{runAged, r.aged},
		flag{runRound, r.rare().round != nil}, flag{runArrived, !r.rare().arrived.IsNull()}, flag{runSubs, r.rare().subs > 0}, flag{runSpared, r.rare().spared > 0})
	if result != nil {
		w.outcome(*result)
	}
	if h != nil {
		w.halt(h)
	}
	if p != nil {
		w.place(p)
	}
	if dropped {
		w.value(r.outcome.Value)
	}
	if r.rare().parent != "" {
		w.text(r.rare().parent)
	}
	if r.rare().redrives > 0 {
		w.uint(uint64(r.rare().redrives))
	}
	if m := r.rare().recollection; m != nil {
		w.recollection(m)
	}
	if len(r.rare().windows) > 0 {
		w.windows(r.rare().windows)
	}
	if x := r.rare().round; x != nil {
		w.round(x)
	}
	if !r.rare().arrived.IsNull() {
		w.value(r.rare().arrived)
	}
	if r.rare().subs > 0 {
		w.uint(uint64(r.rare().subs))
	}
	if r.rare().spared > 0 {
		w.uint(uint64(r.rare().spared))
	}
}

func saveSignals(w *writer, r *run) {
	taken, kept := &r.rare().taken, r.rare().kept.all()
	w.uint(uint64(taken.len()))
	taken.each(func(t takenSignal) {
		w.b = append(w.b, t.key[:]...)
		w.int(t.at)
	})
	w.uint(uint64(len(kept)))
	for _, k := range kept {
		w.text(k.name)
		w.value(k.data)
		w.b = append(w.b, k.key[:]...)
	}
	waits := r.rare().waits.all()
	w.uint(uint64(len(waits)))
	for _, x := range waits {
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
	var flags uint64
	if inv.counts != nil {
		flags |= hasCounts
	}
	if inv.Heartbeat > 0 {
		flags |= callBeats
	}
	if !inv.Attributes.IsNull() {
		flags |= callDressed
	}
	if l.ticket != nil {
		flags |= callTicket
	}
	w.uint(flags)
	w.counts(inv.counts)
	if inv.Heartbeat > 0 {
		w.int(int64(inv.Heartbeat))
	}
	if !inv.Attributes.IsNull() {
		w.value(inv.Attributes)
	}
	if l.ticket != nil {
		w.text(*l.ticket)
	}
	w.flush(64 << 10)
}

func saveTask(w *writer, t *task) error {
	w.value(t.bound)
	shared := t.input == t.bound
	w.bool(shared)
	if !shared {
		w.value(t.input)
	}
	w.uint(uint64(len(t.vars())))
	for _, v := range t.vars() {
		w.text(v.Name)
		w.value(v.Value)
	}
	w.uint(uint64(len(t.siblings())))
	for _, slot := range t.siblings() {
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
	if err := saveRest(w, t); err != nil {
		return err
	}
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

// The flags of what few have.
const (
	_           = 1 << iota // hasCounts
	callBeats               // its heartbeat
	callDressed             // the attributes of its event
	callTicket              // what its far end knows it by
)

const (
	runStopping = 1 << iota // its outcome, once what was cancelled has cleaned up
	runPaused               // since when, by whom and why
	runKeyed                // its place among those of its key
	runDropped              // why its key left no place for it
	runChild                // the invocation of another run that waits for its end
	runRedriven             // how many times
	runRecalls              // what it has not yet taken of what it had done before
	runWindows              // windows that somebody has given to steps
	runAged                 // what failed last had no time left for another try
	runRound                // the round that it gathers, or takes the events of
	runArrived              // what its round had
	runSubs                 // what its subruns have taken of its fuel
	runSpared               // tries of which the function that it ended with saw nothing
)

const (
	waitingTurns = 1 << iota // pauses and resumes of a start that waits
)

const (
	hasCounts  = 1 << iota // of the rules of its retry; of an invocation too
	taskSequel             // what is to become of it, and the outcome
	taskTwin               // its twin
	taskHeld               // it has failed and its twin is at work
	taskLent               // signals that it gives back when it is tried again
	taskSpared             // tries of which its function saw nothing
)

const (
	framePhase  = 1 << iota // other than working
	frameResult             // its outcome, once what was stopped has cleaned up
	frameNote               // where it says it is
	frameBegan              // when it began, of a later try that people are told of
)

func saveRest(w *writer, t *task) error {
	x := t.few()
	var flags uint64
	if t.counts != nil {
		flags |= hasCounts
	}
	if x.sequel != goesOn {
		flags |= taskSequel
	}
	if x.twin != nil {
		flags |= taskTwin
	}
	if x.held {
		flags |= taskHeld
	}
	lent := t.run.rare().lent[t]
	if len(lent) > 0 {
		flags |= taskLent
	}
	if x.spared > 0 {
		flags |= taskSpared
	}
	w.uint(flags)
	w.counts(t.counts)
	if len(lent) > 0 {
		saveLent(w, lent)
	}
	if x.spared > 0 {
		w.uint(uint64(x.spared))
	}
	if x.sequel != goesOn {
		w.uint(uint64(x.sequel))
		w.outcome(x.outcome)
	}
	if x.twin != nil {
		return saveTask(w, x.twin)
	}
	return nil
}

func saveEnding(w *writer, f *frame) {
	var flags uint64
	if f.phase != working {
		flags |= framePhase
	}
	if f.result != nil {
		flags |= frameResult
	}
	if f.note != "" {
		flags |= frameNote
	}
	again := f.began != f.owner.opened && f.owner.triedApart()
	if again {
		flags |= frameBegan
	}
	w.uint(flags)
	if f.phase != working {
		w.uint(uint64(f.phase))
	}
	if f.result != nil {
		w.outcome(*f.result)
	}
	if f.note != "" {
		w.text(f.note)
	}
	if again {
		w.int(f.began)
	}
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
	timers := f.timers.all()
	w.uint(uint64(len(timers)))
	for _, t := range timers {
		w.text(t.name)
		w.uint(uint64(t.id))
	}
	saveEnding(w, f)
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
	early := sl.early.from(sl.opened)
	w.uint(uint64(len(early)))
	for _, i := range early {
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
