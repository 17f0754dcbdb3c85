package engine

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// A run that is paused goes on deciding: outcomes, signals and timers are folded, deadlines count. What it calls gets its number and its id as ever; only
// handing it out is held, which is the owner's to do: so pauses change no result, but by the time that passes.

// PauseFact pauses a run, or, in a Resume record, lets it go on. ID tells repeats: a pause that comes again after a resume is none.
type PauseFact struct{ ID, By, Reason string }

// Append appends the fact's payload to b.
func (f *PauseFact) Append(b []byte) []byte {
	return appendText(appendText(appendText(b, f.ID), f.By), f.Reason)
}

// DecodePause reads PauseFact.Append's form.
func DecodePause(p []byte) (f PauseFact, err error) {
	r := reader{b: p}
	f = PauseFact{ID: r.text(), By: r.text(), Reason: r.text()}
	return f, r.end("pause")
}

// key tells repeats. No signal has the name of a kind before its own.
func (f *PauseFact) key(kind journal.Kind) (k signalKey) {
	sum := sha256.Sum256([]byte(kind.String() + "\x00" + f.ID))
	copy(k[:], sum[:])
	return k
}

// A halt is a run's being paused.
type halt struct {
	since      int64
	by, reason string
}

// A Halt is an owner's to carry out: from now on it hands out no calls of a run, or those it has kept back and all that come. Calls are the numbers of
// those that are open.
type Halt struct {
	Run    journal.RunID
	Paused bool
	Calls  []uint32
}

// A Pause is what people see of a run's being paused.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// turnsWaiting bounds the turns of a run that has not begun.
const turnsWaiting = 64

// A turn is a pause or a resume, and when it came.
type turn struct {
	kind journal.Kind
	fact PauseFact
	at   int64
}

// turnOf reads a record; the reason says why it is none.
func (s *State) turnOf(rec *journal.Record) (turn, Reason) {
	f, err := DecodePause(rec.Payload)
	switch {
	case err != nil:
		return turn{}, Malformed
	case len(f.By) > s.limits.NameBytes || len(f.Reason) > s.limits.NameBytes:
		return turn{}, Limited
	}
	return turn{rec.Kind, f, s.now}, Applied
}

func (s *State) foldTurn(r *run, rec *journal.Record) Reason {
	t, reason := s.turnOf(rec)
	switch {
	case reason != Applied:
		return reason
	case r.outcome != nil:
		return Finished
	}
	return s.take(r, t)
}

func (s *State) take(r *run, t turn) Reason {
	key, pauses := t.fact.key(t.kind), t.kind == journal.Pause
	if _, repeated := r.rare().seen[key]; repeated {
		return Duplicate
	}
	x := r.own()
	x.see(key)
	s.remember(x, key)
	switch {
	case (x.halt != nil) == pauses:
		return Duplicate
	case pauses:
		x.halt = &halt{t.at, t.fact.By, t.fact.Reason}
		s.paused++
		s.note(r, Change{Kind: RunPaused, Text: t.fact.By})
		s.out.Halts = append(s.out.Halts, Halt{r.id, true, r.live.numbers()})
	default:
		s.note(r, Change{Kind: RunResumed, Text: t.fact.By})
		s.resume(r)
	}
	return Applied
}

// turnWaiting takes a pause or a resume of a run that has not begun.
func (s *State) turnWaiting(w *waitingRun, rec *journal.Record) Reason {
	t, reason := s.turnOf(rec)
	switch {
	case reason != Applied:
		return reason
	case w.ended != nil:
		return Finished
	case slices.ContainsFunc(w.turns, func(x turn) bool { return x.kind == t.kind && x.fact.ID == t.fact.ID }):
		return Duplicate
	case len(w.turns) >= turnsWaiting:
		return Limited
	}
	w.turns = append(w.turns, t)
	if n := len(w.turns); n == 1 && t.kind == journal.Resume || n > 1 && w.turns[n-2].kind == t.kind {
		return Duplicate
	}
	return Applied
}

// resume lets a run go on, if it is paused; one that ends, or cleans up, goes on with that.
func (s *State) resume(r *run) {
	if r.rare().halt != nil {
		r.own().halt = nil
		s.paused--
		s.out.Halts = append(s.out.Halts, Halt{Run: r.id})
	}
}

// Paused gives every run that is paused: a new owner asks before it takes over what is outstanding.
func (s *State) Paused(yield func(Halt)) {
	for _, r := range s.sorted() {
		if r.rare().halt != nil {
			yield(Halt{Run: r.id, Paused: true})
		}
	}
}

// pause is what people see; nil for a run that is not paused.
func (h *halt) pause() *Pause {
	if h == nil {
		return nil
	}
	return &Pause{time.Unix(0, h.since).UTC(), h.by, h.reason}
}

// halt is what the run will begin with.
func (w *waitingRun) halt() *halt {
	var h *halt
	for _, t := range w.turns {
		switch {
		case t.kind == journal.Resume:
			h = nil
		case h == nil:
			h = &halt{t.at, t.fact.By, t.fact.Reason}
		}
	}
	return h
}

func (w *writer) halt(h *halt) {
	w.int(h.since)
	w.text(h.by)
	w.text(h.reason)
}

func (l *loader) halt() *halt { return &halt{l.int(), l.text(), l.text()} }

func (w *writer) turns(turns []turn) {
	w.uint(uint64(len(turns)))
	for _, t := range turns {
		w.uint(uint64(t.kind))
		w.text(string(t.fact.Append(nil)))
		w.int(t.at)
	}
}

func (l *loader) turns() (turns []turn) {
	for range l.count() {
		kind := journal.Kind(l.uint())
		f, err := DecodePause([]byte(l.text()))
		if err != nil || kind != journal.Pause && kind != journal.Resume {
			l.fail(errSnapshot)
		}
		if turns = append(turns, turn{kind, f, l.int()}); l.err != nil {
			return nil
		}
	}
	return turns
}
