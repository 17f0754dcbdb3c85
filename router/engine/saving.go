package engine

import "errors"

var errAbandoned = errors.New("engine: the snapshot was given up for another")

// A Snapshot is the state as it was when it was begun, on its way out. The fold goes on meanwhile: a run is written before the first record changes it,
// the others by and by, a little at a time between records, so that no pause depends on how many runs there are.
type Snapshot struct {
	s *State
	n uint32
	w writer

	waiting []*waitingRun // those that are still to be written
	ended   []tombstone
	next    int // runs that are still to be written lie below
	err     error
}

// Begin begins a snapshot of the present state. Of a State there is one at a time: the one before, if it was not finished, is worth nothing.
func (s *State) Begin() *Snapshot {
	s.snapshots++
	v := &Snapshot{s: s, n: s.snapshots, w: writer{seen: make(map[string]int)}, next: len(s.order), ended: s.tombstones.ring[s.tombstones.head:]}
	for _, d := range s.waitingDigests() {
		v.waiting = append(v.waiting, s.waiting[d]...)
	}
	s.saveHead(&v.w)
	s.saving = v
	return v
}

// Next writes on, about so many bytes, and reports whether there is more to come. The error is final.
func (v *Snapshot) Next(about int) (more bool, err error) {
	if v.s.saving != v {
		return false, errAbandoned
	}
	if v.w.b == nil {
		v.w.b = make([]byte, 0, about+about/4)
	}
	for begin := len(v.w.b); v.err == nil && len(v.w.b)-begin < about; {
		switch {
		case len(v.waiting) > 0:
			v.beforeWaiting(v.waiting[0])
			v.waiting = v.waiting[1:]
		case len(v.ended) > 0:
			v.ended = saveTombstones(&v.w, v.ended)
		default:
			// From the end: whatever leaves meanwhile is replaced by one that is written already, or that lies lower.
			if v.next = min(v.next, len(v.s.order)); v.next == 0 {
				v.w.uint(tagEnd)
				v.s.saving = nil
				return false, nil
			}
			v.next--
			v.before(v.s.order[v.next])
		}
	}
	return true, v.err
}

// Take returns what was written since it was last asked. The bytes are the caller's, who gives room for the next ones, or nil.
func (v *Snapshot) Take(room []byte) []byte {
	b := v.w.b
	v.w.b = room[:0]
	return b
}

// Abandon gives the snapshot up.
func (v *Snapshot) Abandon() {
	if v.s.saving == v {
		v.s.saving = nil
	}
}

// before is told of a run that a record may change.
func (v *Snapshot) before(r *run) {
	if v == nil || r == nil || r.saved == v.n {
		return
	}
	r.saved = v.n
	if err := saveRun(&v.w, r); err != nil && v.err == nil {
		v.err = err
	}
}

func (v *Snapshot) beforeWaiting(w *waitingRun) {
	if v == nil || w.saved == v.n {
		return
	}
	w.saved = v.n
	w.save(&v.w)
}
