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
	if t.has(id) {
		return
	}
	t.index[id] = struct{}{}
	t.ring = append(t.ring, tombstone{id, now})
	for len(t.index) > l.Tombstones || t.ring[t.head].at < now-int64(l.TombstoneAge) {
		delete(t.index, t.ring[t.head].id)
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
