package engine

import (
	"encoding/binary"
)

// What a run that failed, or was cancelled, had been told - signals, pauses, cancels, windows, redrives - goes with its end to whoever keeps ends, and comes
// back with a redrive: so a repeat of it changes nothing in the run's next life either, and a signal that nobody had taken yet is not lost.

// The bounds of what is brought along, the latest first: beyond them a repeat counts again, and a signal has to be sent again.
const (
	toldKeys  = 4096
	toldBytes = 128 << 10 // of signals that nobody has taken
)

// told is what r was told, in the form of RedriveFact.Told; empty is nothing.
func (r *run) told() (b []byte) {
	x := r.rare()
	var keys []signalKey
	x.taken.each(func(t takenSignal) { keys = append(keys, t.key) })
	keys = keys[max(0, len(keys)-toldKeys):]
	kept, size := x.kept.all(), 0
	for i, k := range kept {
		if size += k.weight() + len(k.key); size > toldBytes {
			kept = kept[:i]
			break
		}
	}
	return appendTold(keys, kept)
}

// told is the same of a run that has not begun.
func (w *waitingRun) told() []byte {
	var keys []signalKey
	for _, t := range w.turns {
		keys = append(keys, t.fact.key(t.kind))
	}
	var kept []keptSignal
	size := 0
	for i := range w.signals {
		f := &w.signals[i]
		k := keptSignal{f.Name, f.Data, f.key()}
		if size += k.weight() + len(k.key); size > toldBytes {
			break
		}
		kept = append(kept, k)
	}
	return appendTold(keys, kept)
}

func appendTold(keys []signalKey, kept []keptSignal) (b []byte) {
	if len(keys)+len(kept) == 0 {
		return nil
	}
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = append(b, k[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(kept)))
	for _, k := range kept {
		b = appendValue(append(appendText(b, k.name), k.key[:]...), k.data)
	}
	return b
}

// readTold reads what told gives.
func readTold(b []byte) (keys []signalKey, kept []keptSignal, err error) {
	r := reader{b: b}
	for range r.count() {
		if keys = append(keys, r.fixed()); r.bad {
			break
		}
	}
	for range r.count() {
		if kept = append(kept, keptSignal{name: r.text(), key: r.fixed(), data: r.value()}); r.bad {
			break
		}
	}
	return keys, kept, r.end("told")
}

// tellAgain tells a run that is redriven what it was told before.
func (s *State) tellAgain(r *run, told []byte) {
	keys, kept, _ := readTold(told) // It was read when its record was.
	x := r.own()
	for _, k := range keys {
		if _, known := x.seen[k]; !known {
			s.remember(x, k)
		}
	}
	for _, k := range kept {
		if _, known := x.seen[k.key]; !known && len(k.name) <= s.limits.NameBytes && size(k.data) <= s.limits.ValueBytes {
			s.keepSignals(r, k)
		}
	}
}
