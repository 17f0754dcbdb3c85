package engine

import (
	"slices"

	"github.com/onward-router/onward/router/journal"
)

// tombstones remember the ended runs, oldest first, so that a repeated start is refused. The window is bounded by time and by number.
type tombstones struct {
	ring    []tombstone // a queue: head is the oldest
	head    int
	index   map[journal.RunID]struct{}
	evicted bool

	redriven map[journal.RunID]uint32 // how many times, of those that were
	again    map[journal.RunID]int    // how many times more than once it is in the ring
}

type tombstone struct {
	id journal.RunID
	at int64
}

func (t *tombstones) has(id journal.RunID) bool {
	_, ok := t.index[id]
	return ok
}

// add remembers id, and forgets what is outside of the window.
func (t *tombstones) add(id journal.RunID, now int64, l Limits) {
	if t.index == nil {
		t.index = make(map[journal.RunID]struct{})
	}
	if t.has(id) && t.redriven[id] == 0 {
		return
	}
	t.enter(id)
	t.ring = append(t.ring, tombstone{id, now})
	for len(t.ring)-t.head > l.Tombstones || t.ring[t.head].at < now-int64(l.TombstoneAge) {
		t.leave(t.ring[t.head].id)
		t.head++
		t.evicted = true
	}
	if t.head > 1024 && t.head*2 > len(t.ring) {
		t.ring = slices.Clone(t.ring[t.head:]) // A snapshot may be reading the old one.
		t.head = 0
	}
}

// since returns the time since when all ended runs are remembered, and whether any has been forgotten.
func (t *tombstones) since() (int64, bool) {
	if !t.evicted || t.head >= len(t.ring) {
		return 0, false
	}
	return t.ring[t.head].at, true
}

// enter books that id is in the ring, or once more: a run that was redriven ends again.
func (t *tombstones) enter(id journal.RunID) {
	if !t.has(id) {
		t.index[id] = struct{}{}
		return
	}
	if t.again == nil {
		t.again = make(map[journal.RunID]int)
	}
	t.again[id]++
}

// leave books that one of the places of id in the ring is gone.
func (t *tombstones) leave(id journal.RunID) {
	switch n := t.again[id]; {
	case n > 1:
		t.again[id]--
	case n == 1:
		delete(t.again, id)
	default:
		delete(t.index, id)
		delete(t.redriven, id)
	}
}

// count keeps how many times a run was redriven, for as long as its end is remembered.
func (t *tombstones) count(id journal.RunID, redrives uint32) {
	if redrives == 0 {
		return
	}
	if t.redriven == nil {
		t.redriven = make(map[journal.RunID]uint32)
	}
	t.redriven[id] = redrives
}

func (t *tombstones) saveRedriven(w *writer) {
	if len(t.redriven) == 0 {
		return
	}
	var all []tombstone
	for _, x := range t.ring[t.head:] {
		if t.redriven[x.id] > 0 {
			all = append(all, x)
		}
	}
	w.uint(tagRedriven)
	w.uint(uint64(len(all)))
	for _, x := range all {
		w.id(x.id)
		w.uint(uint64(t.redriven[x.id]))
	}
}

func (t *tombstones) loadRedriven(l *loader) {
	for range l.count() {
		if l.err != nil {
			return
		}
		t.count(l.id(), l.number())
	}
}
