package engine

import (
	"crypto/sha256"
	"encoding/binary"
)

// A signalKey tells a repeated signal: by its source, its id and its name, since one who asks may use one id for signals of two names. It is a digest,
// so that what a run remembers of a signal is small, however long its id.
type signalKey [16]byte

func (f *SignalFact) key() (k signalKey) {
	h := sha256.New()
	for _, text := range []string{f.Source, f.ID, f.Name} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	copy(k[:], h.Sum(nil))
	return k
}

type wait struct {
	name  string
	frame *frame
}

func (s *State) foldSignal(r *run, payload []byte) Reason {
	f, err := DecodeSignal(payload)
	if err != nil {
		return Malformed
	}
	if r.outcome != nil {
		return Finished
	}
	key := f.key()
	if _, repeated := r.rare().seen[key]; repeated {
		return Duplicate
	}
	if s.unfitSignal(&f) {
		return Limited
	}
	waited := r.rare().waits.n > 0 && r.own().waits.first(f.Name) != nil
	if !waited && (r.rare().kept.n >= s.limits.Signals || r.bytes+size(f.Data) > s.limits.RunBytes) {
		return Limited
	}
	s.cause = cause{id: f.ID}
	s.traceSignal(r, &f)
	s.keepSignals(r, keptSignal{f.Name, f.Data, key})
	return Applied
}

// unfitSignal reports a signal that is too large to be kept.
func (s *State) unfitSignal(f *SignalFact) bool {
	return s.unfit("the signal", f.Data) != nil || len(f.Source)+len(f.ID)+len(f.Name) > s.limits.ValueBytes
}

// keepSignals gives signals to the first that wait for them, or keeps them behind all that came early.
func (s *State) keepSignals(r *run, signals ...keptSignal) {
	for _, k := range s.offer(r, signals) {
		r.own().kept.put(k)
	}
}

// returnSignals is keepSignals for those that somebody had: they are kept before all others.
func (s *State) returnSignals(r *run, signals ...keptSignal) {
	for _, k := range signals {
		r.own().untake(k.key)
	}
	r.own().kept.putBack(s.offer(r, signals))
}

// offer gives signals to the first that wait for them, and returns those that are to be kept.
func (s *State) offer(r *run, signals []keptSignal) (early []keptSignal) {
	x := r.own()
	for _, k := range signals {
		x.see(k.key)
		if f := x.waits.take(k.name); f != nil {
			s.giveSignal(f, k)
			continue
		}
		early = append(early, k)
		s.hold(r, k.weight())
		s.note(r, Change{Kind: SignalKept, Text: k.name})
	}
	return early
}

// giveSignal gives a signal to a frame that waits for it.
func (s *State) giveSignal(f *frame, k keptSignal) {
	f.awaits--
	f.given++
	r := f.owner.run
	x := r.own()
	s.remember(x, k.key)
	s.note(r, Change{Kind: SignalTaken, Text: k.name, Path: f.owner.path()})
	s.queue = append(s.queue, work{frame: f, event: frameEvent{kind: evSignalled, name: k.name, data: k.data, key: k.key}})
}

// returnSignal takes a signal back that was given to a frame which ended before it was told: it goes to the next that waits, or is kept as the first.
func (s *State) returnSignal(r *run, ev frameEvent) {
	if r.outcome != nil {
		return
	}
	s.returnSignals(r, keptSignal{ev.name, ev.data, ev.key})
}

func (s *State) await(f *frame, name string) {
	r := f.owner.run
	if f.awaits++; f.awaits > 1 {
		s.budget-- // A step may wait for many, and a record lets many steps begin.
	}
	if k, early := r.own().kept.take(name); early {
		s.hold(r, -k.weight())
		s.giveSignal(f, k)
		return
	}
	r.own().waits.add(name, f)
	s.note(r, Change{Kind: SignalAwaited, Path: f.owner.path(), Text: name})
}

// unawait takes a wait of a frame back. A signal that it has been given and not been told of goes to the next.
func (s *State) unawait(f *frame, name string) {
	if f.awaits > 0 && f.owner.run.own().waits.takeBack(f, name) {
		f.awaits--
		return
	}
	for i := range s.queue {
		if w := &s.queue[i]; f.given > 0 && w.frame == f && w.event.kind == evSignalled && w.event.name == name {
			f.given--
			w.frame = &frame{owner: f.owner, phase: over}
			return
		}
	}
}
