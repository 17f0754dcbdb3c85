package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/onward-router/onward/config/lang"
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

// A keptSignal came before anything waited for it.
type keptSignal struct {
	name string
	data lang.Value
	key  signalKey
}

// A takenSignal is one that somebody has got: it is remembered for as long as repeats of it are refused.
type takenSignal struct {
	key signalKey
	at  int64
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
	if !waited && (len(r.rare().kept) >= s.limits.Signals || r.bytes+size(f.Data) > s.limits.RunBytes) {
		return Limited
	}
	s.cause = cause{id: f.ID}
	s.keepSignals(r, len(r.rare().kept), keptSignal{f.Name, f.Data, key})
	return Applied
}

// unfitSignal reports a signal that is too large to be kept.
func (s *State) unfitSignal(f *SignalFact) bool {
	return s.unfit("the signal", f.Data) != nil || len(f.Source)+len(f.ID)+len(f.Name) > s.limits.ValueBytes
}

// keepSignals gives signals to the first that wait for them, or keeps them at a place among those that came early.
func (s *State) keepSignals(r *run, at int, signals ...keptSignal) {
	x := r.own()
	var early []keptSignal
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
	x.kept = slices.Insert(x.kept, at, early...)
}

func (x *seldom) see(k signalKey) {
	if x.seen == nil {
		x.seen = make(map[signalKey]struct{})
	}
	x.seen[k] = struct{}{}
}

// remember keeps the key of what was taken for as long as repeats of it are refused.
func (s *State) remember(x *seldom, k signalKey) {
	x.taken = append(x.taken, takenSignal{k, s.now})
	for len(x.taken) > s.limits.Signals || x.taken[0].at < s.now-int64(s.limits.TombstoneAge) {
		delete(x.seen, x.taken[0].key)
		x.taken = x.taken[1:]
	}
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
	r.own().taken = slices.DeleteFunc(r.own().taken, func(t takenSignal) bool { return t.key == ev.key })
	s.keepSignals(r, 0, keptSignal{ev.name, ev.data, ev.key})
}

func (s *State) await(f *frame, name string) {
	r := f.owner.run
	f.awaits++
	for i, k := range r.rare().kept {
		if k.name == name {
			r.own().kept = slices.Delete(r.own().kept, i, i+1)
			s.hold(r, -k.weight())
			s.giveSignal(f, k)
			return
		}
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
		if w := &s.queue[i]; w.frame == f && w.event.kind == evSignalled && w.event.name == name {
			f.given--
			w.frame = &frame{owner: f.owner, phase: over}
			return
		}
	}
}
