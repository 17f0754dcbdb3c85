package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// A redrive lets a run that has ended go on, under its own id. The fold has forgotten it, so a redrive brings what is needed: the run's start, and a memo of
// what had succeeded, by path. The flow is opened anew, and where a step would begin that the memo has an outcome of, for the same input, it takes that in
// place of a call. All else is done anew, under numbers that were never given. A memo may be long: it comes in parts, and the last one opens the flow.

// RedriveFact is a part of a redrive.
type RedriveFact struct {
	Number uint32   // of the run's redrives, from 1: it follows the last one
	ID     [16]byte // the same for all parts of one
	Part   uint32   // from 1
	Parts  uint32

	// Of the first part.
	Start   StartFact
	Started int64  // when the run first began, Unix nanoseconds
	Next    uint32 // the last number that the run had given when it ended
	Calls   uint32 // that it had made by then; a record of before it was told says none
	Told    []byte // Ended.Told; a record of before it was brought along says none

	// Memo is in order of the paths, over all parts, each of them once.
	Memo []Recall
}

// A Recall is what a run remembers of a step that had succeeded.
type Recall struct {
	Path    string
	Input   InputSum // of what it was given; zero is whatever it is given
	Final   bool     // Outcome is the step's, not that of a call: its output is not made again
	Mark    bool     // it says only that the step had succeeded; Outcome is nothing
	Outcome lang.Value
}

// An InputSum tells inputs apart.
type InputSum [16]byte

// SumOf is the sum of an input.
func SumOf(v lang.Value) (sum InputSum) {
	h := sha256.Sum256([]byte(v.JSON()))
	copy(sum[:], h[:])
	return sum
}

// redriveGap is how many numbers a redrive passes over: those that the deliveries of the former end may have taken after it was told.
const redriveGap = 1 << 16

const (
	recallFinal = 1 << iota
	recallMark
	recallSum
)

// Append appends the fact's payload to b.
func (f *RedriveFact) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(f.Number))
	b = append(b, f.ID[:]...)
	b = binary.AppendUvarint(b, uint64(f.Part))
	b = binary.AppendUvarint(b, uint64(f.Parts))
	if f.Part == 1 {
		b = appendText(b, string(f.Start.Append(nil)))
		b = binary.AppendVarint(b, f.Started)
		b = binary.AppendUvarint(b, uint64(f.Next))
	}
	b = binary.AppendUvarint(b, uint64(len(f.Memo)))
	for i := range f.Memo {
		b = f.Memo[i].append(b)
	}
	if f.Part == 1 && (f.Calls > 0 || len(f.Told) > 0) {
		b = binary.AppendUvarint(b, uint64(f.Calls))
	}
	if f.Part == 1 {
		b = append(b, f.Told...)
	}
	return b
}

func (x *Recall) append(b []byte) []byte {
	var flags byte
	if x.Final {
		flags |= recallFinal
	}
	if x.Mark {
		flags |= recallMark
	}
	if x.Input != (InputSum{}) {
		flags |= recallSum
	}
	b = append(appendText(b, x.Path), flags)
	if flags&recallSum != 0 {
		b = append(b, x.Input[:]...)
	}
	return appendValue(b, x.Outcome)
}

func (r *reader) fixed() (b [16]byte) {
	if len(r.b) < len(b) {
		r.fail()
		return b
	}
	copy(b[:], r.b)
	r.b = r.b[len(b):]
	return b
}

func (r *reader) recall() (x Recall) {
	x.Path = r.text()
	flags := r.byte()
	x.Final, x.Mark = flags&recallFinal != 0, flags&recallMark != 0
	if flags&recallSum != 0 {
		x.Input = r.fixed()
	}
	x.Outcome = r.value()
	if flags > recallFinal|recallMark|recallSum || x.Mark && !x.Outcome.IsNull() {
		r.fail()
	}
	return x
}

// DecodeRedrive reads RedriveFact.Append's form.
func DecodeRedrive(p []byte) (f RedriveFact, err error) {
	r := reader{b: p}
	f = RedriveFact{Number: r.number(), ID: r.fixed(), Part: r.number(), Parts: r.number()}
	if f.Number == 0 || f.Part == 0 || f.Part > f.Parts {
		r.fail()
	}
	if f.Part == 1 {
		var bad error
		if f.Start, bad = DecodeStart(r.bytes()); bad != nil {
			r.fail()
		}
		f.Started, f.Next = r.int(), r.number()
	}
	f.Memo = make([]Recall, 0, r.count())
	for range cap(f.Memo) {
		x := r.recall()
		if n := len(f.Memo); r.bad || n > 0 && f.Memo[n-1].Path >= x.Path {
			r.fail()
			break
		}
		f.Memo = append(f.Memo, x)
	}
	if f.Part == 1 && !r.bad && len(r.b) > 0 {
		f.Calls, f.Told = r.number(), r.b
		if r.b = nil; f.Calls > math.MaxInt32 || f.Calls == 0 && len(f.Told) == 0 {
			r.fail()
		}
		if len(f.Told) > 0 {
			if keys, kept, err := readTold(f.Told); err != nil || len(keys)+len(kept) == 0 {
				r.fail()
			}
		}
	}
	return f, r.end("redrive")
}

// A recollection is the memo of a run that was redriven. It is let go of once nothing of it is left.
type recollection struct {
	id    [16]byte
	key   string // by which its trigger counts runs that are at work, until the flow opens
	have  uint32 // parts
	parts uint32
	memo  []recalled // in order of the paths
	left  int        // that may still be taken
}

type recalled struct {
	Recall
	taken bool
}

func (x *Recall) weight() int { return len(x.Path) + len(x.Input) + size(x.Outcome) }

// gathers reports whether parts are still to come.
func (m *recollection) gathers() bool { return m != nil && m.have < m.parts }

func (m *recollection) find(path string) *recalled {
	i, found := slices.BinarySearchFunc(m.memo, path, func(x recalled, path string) int { return strings.Compare(x.Path, path) })
	if !found {
		return nil
	}
	return &m.memo[i]
}

// foldRedrive takes a part of a redrive.
func (s *State) foldRedrive(rec *journal.Record) Reason {
	f, err := DecodeRedrive(rec.Payload)
	if err != nil {
		return Malformed
	}
	r := s.runs[rec.Run]
	s.saving.before(r)
	switch {
	case s.waitingRuns[rec.Run] != nil:
		return Duplicate
	case r == nil && f.Part == 1:
		return s.reopen(rec, &f)
	case r == nil && s.tombstones.has(rec.Run):
		return Finished
	case r == nil:
		return Unknown
	case r.outcome != nil && f.Number == r.rare().redrives+1:
		return Limited // Its end is still being told: it may be asked for again.
	}
	m := r.rare().recollection
	switch {
	case !m.gathers() || f.Number != r.rare().redrives:
		return Duplicate
	case f.Part == 1 && f.ID != m.id:
		// Who sent the former parts has died, or another was quicker to ask: what is asked last counts.
		if s.definitions[f.Start.Digest] == nil || !s.numbered(&f) {
			return Unknown
		}
		if _, before := r.rare().seen[f.ID]; before {
			return Duplicate
		}
		for i := range m.memo {
			s.hold(r, -m.memo[i].weight())
		}
		s.regather(r, &f)
	case f.ID != m.id || f.Part != m.have+1:
		return Duplicate
	}
	return s.gather(r, &f)
}

// reopen makes a run of what the first part says.
func (s *State) reopen(rec *journal.Record, f *RedriveFact) Reason {
	if s.tombstones.has(rec.Run) && f.Number != s.tombstones.redriven[rec.Run]+1 {
		return Duplicate
	}
	def := s.definitions[f.Start.Digest]
	switch {
	case def == nil:
		return Unknown // Its sender puts it ahead; one that is not known he has been told of.
	case !s.numbered(f):
		return Malformed
	case def.Await != nil && !def.Await.Signals && f.Start.Arrived.IsNull():
		return Malformed // Nothing says what had arrived.
	case s.unfit("the event", f.Start.Event) != nil || s.unfit("the event", f.Start.Data) != nil:
		return Limited
	}
	tenant := rec.Tenant
	if tenant == def.Tenant {
		tenant = def.Tenant
	}
	r := newRun(rec.Run, tenant, def, &f.Start, f.Started)
	s.add(r)
	s.fuel(r, &f.Start)
	r.calls = int32(f.Calls)
	r.own().redrives = f.Number
	if !f.Start.Arrived.IsNull() {
		r.own().arrived = f.Start.Arrived
		s.hold(r, size(f.Start.Arrived))
	}
	r.next = max(r.next, f.Next) + redriveGap
	s.note(r, Change{Kind: RunRedriven, N: f.Number, Text: def.Trigger})
	s.tellAgain(r, f.Told)
	s.regather(r, f)
	return s.gather(r, f)
}

// numbered reports whether a run has the numbers that a redrive says: they say how far down its chain it is.
func (s *State) numbered(f *RedriveFact) bool {
	first := firstNumber(max(s.limits.Fuel-max(f.Start.Spent, 0), 0), s.limits.Fuel)
	return f.Next == 0 || f.Next>>depthAt == first>>depthAt && (f.Next+redriveGap)>>depthAt == first>>depthAt
}

// regather begins to gather a memo.
func (s *State) regather(r *run, f *RedriveFact) {
	x := r.own()
	x.see(f.ID)
	s.remember(x, f.ID)
	x.recollection = &recollection{id: f.ID, key: f.Start.Key, parts: f.Parts}
	if def := s.definitions[f.Start.Digest]; def != r.def {
		s.repin(r, def)
	}
}

// repin gives a run that has not opened another definition.
func (s *State) repin(r *run, def *definition) {
	if def.runs == 0 {
		s.idle--
	}
	def.runs++
	was := r.def
	r.def = def
	if was.runs--; was.runs == 0 {
		was.idle = s.now
		s.rest(was)
	}
}

// gather takes the memo of a part; the last one opens the flow.
func (s *State) gather(r *run, f *RedriveFact) Reason {
	m := r.rare().recollection
	if n := len(m.memo); n > 0 && len(f.Memo) > 0 && f.Memo[0].Path <= m.memo[n-1].Path {
		return Malformed
	}
	m.have = f.Part
	for i := range f.Memo {
		m.memo = append(m.memo, recalled{Recall: f.Memo[i]})
		m.left++
		s.hold(r, f.Memo[i].weight())
	}
	s.cause = cause{event: r.event}
	if e := s.overweight(r); e != nil {
		s.endRun(r, lang.Failure(e))
		return Applied
	}
	if m.gathers() {
		return Applied
	}
	switch key := m.key; {
	case r.fuel == 0:
		s.endRun(r, lang.Failure(lang.Failf(lang.ClassPlatform, ChainLimit, "nothing is left of the %d runs that one event from outside may lead to", s.limits.Fuel)))
	case r.def.Flow == nil && r.def.Await == nil:
		s.endRun(r, lang.Success(r.data))
	case key != "" && r.def.Concurrency != nil:
		s.admit(r, key, r.def.Concurrency)
	default:
		if key != "" && r.def.Await != nil && r.def.Await.Signals {
			s.keyAgain(r, key)
		}
		s.openFlow(r)
	}
	return Applied
}

// recall gives a step the outcome that the memo has of it, and reports whether it has one. Each is taken once: a step that is tried again is done again.
func (s *State) recall(t *task) bool {
	m := t.run.rare().recollection
	if m == nil || m.left == 0 {
		return false
	}
	x := m.find(t.path())
	if x == nil || x.taken || x.Mark || x.Input != (InputSum{}) && x.Input != SumOf(t.input) || !m.stands(t) {
		return false
	}
	o := lang.Success(x.Outcome)
	s.hold(t.run, -x.weight())
	x.taken, x.Outcome = true, lang.Null
	m.left--
	s.note(t.run, Change{Kind: Recalled, Path: x.Path, Outcome: o})
	if x.Final {
		s.finish(t, o)
	} else {
		s.attemptEnded(t, o)
	}
	return true
}

// stands reports whether what a step did has not been undone, nor is to be done because of another failure: below a policy that cleans up it counts only
// if that had succeeded as a whole, and what handles a failure handles a new one.
func (m *recollection) stands(t *task) bool {
	for x := t; x != nil; x = x.parent() {
		if x.handles != nil || x.few().of != nil {
			return false
		}
		if x.frame != nil && x.frame.info.cleans != nil {
			path := x.frame.owner.path()
			if path == "" || m.find(path) == nil {
				return false
			}
		}
	}
	return true
}

// Redriven is how many times a run that has ended was redriven, as far as that is remembered.
func (s *State) Redriven(id journal.RunID) uint32 {
	if r := s.runs[id]; r != nil {
		return r.rare().redrives
	}
	return s.tombstones.redriven[id]
}

func (w *writer) recollection(m *recollection) {
	w.b = append(w.b, m.id[:]...)
	w.text(m.key)
	w.uint(uint64(m.have))
	w.uint(uint64(m.parts))
	var left uint64
	for i := range m.memo {
		if !m.memo[i].taken {
			left++
		}
	}
	w.uint(left)
	for i := range m.memo {
		if x := &m.memo[i]; !x.taken {
			w.text(string(x.append(nil)))
			w.flush(64 << 10)
		}
	}
}

func (s *State) loadRecollection(l *loader, r *run) *recollection {
	m := new(recollection)
	copy(m.id[:], l.bytes(len(m.id)))
	m.key, m.have, m.parts = l.text(), l.number(), l.number()
	for range l.count() {
		from := reader{b: []byte(l.text())}
		x := from.recall()
		if n := len(m.memo); from.end("memo") != nil || l.err != nil || n > 0 && m.memo[n-1].Path >= x.Path {
			l.fail(errSnapshot)
			return m
		}
		m.memo = append(m.memo, recalled{Recall: x})
		m.left++
		s.hold(r, x.weight())
	}
	if m.have == 0 || m.have > m.parts {
		l.fail(errSnapshot)
	}
	return m
}

// Split cuts a whole redrive into parts whose memo has about so many bytes at most; there is always one.
func (f RedriveFact) Split(most int) (parts []*RedriveFact) {
	memo := f.Memo
	for n := 0; n == 0 || len(memo) > 0; n++ {
		part, bytes, i := f, 0, 0
		for i < len(memo) && (i == 0 || bytes+memo[i].weight() <= most) {
			bytes += memo[i].weight()
			i++
		}
		part.Part, part.Memo, memo = uint32(n+1), memo[:i], memo[i:]
		parts = append(parts, &part)
	}
	for _, part := range parts {
		part.Parts = uint32(len(parts))
	}
	return parts
}
