package outbox

import (
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A kept run is paused: its calls that were not sent lie aside, in no lane. What is at work goes on; without an answer it is kept as well.
type kept struct {
	owner Owner
	aside map[uint32]*item
	subs  map[uint32]*engine.Invocation // runs that it was to start
}

// hold keeps a run's calls back from now on, or sends those that were.
func (o *Outbox) hold(s Owner, h engine.Halt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !h.Paused {
		o.free(h.Run)
		return
	}
	if o.kept[h.Run] == nil {
		o.kept[h.Run] = &kept{s, make(map[uint32]*item), make(map[uint32]*engine.Invocation)}
	}
	for _, n := range h.Calls {
		if it := o.items[itemKey{h.Run, n}]; it != nil && it.state == queued && it.owner == s {
			again := *it // The one that stands in the lane goes when its turn comes.
			o.forget(it)
			o.items[itemKey{h.Run, n}] = &again
			o.setAside(&again)
		}
	}
}

// keeps reports whether an item is kept back, and lays it aside. It does not age meanwhile: nobody is asked. The lock is held.
func (o *Outbox) keeps(it *item) bool {
	k := o.kept[it.inv.Run]
	if k == nil || k.owner != it.owner || it.inv.Purpose != engine.Call {
		return false
	}
	o.setAside(it)
	return true
}

// keepsSub reports whether the start of a run is kept back, since the run is paused that wants it.
func (o *Outbox) keepsSub(s Owner, inv *engine.Invocation) bool {
	if inv.Purpose != engine.Call {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.kept[inv.Run]
	if k == nil || k.owner != s {
		return false
	}
	k.subs[inv.N] = inv
	return true
}

func (o *Outbox) setAside(it *item) {
	for _, t := range []*time.Timer{it.timer, it.age} {
		if t != nil {
			t.Stop()
		}
	}
	it.lane.held++
	it.state, it.timer, it.age, it.since, it.gone = held, nil, nil, time.Now(), false
	o.kept[it.inv.Run].aside[it.inv.N] = it
}

// free sends what of a run lies aside. The lock is held.
func (o *Outbox) free(run journal.RunID) {
	k := o.kept[run]
	if k == nil {
		return
	}
	delete(o.kept, run)
	for _, n := range slices.Sorted(maps.Keys(k.subs)) {
		go o.start(k.owner, k.subs[n], time.Time{})
	}
	for _, n := range slices.Sorted(maps.Keys(k.aside)) {
		it, now := k.aside[n], time.Now()
		if !it.first.IsZero() {
			it.first = it.first.Add(now.Sub(it.since))
		}
		it.since = now
		it.lane.held--
		if o.enqueue(it); it.state == queued && it.tries > 0 {
			o.watchAge(it)
		}
	}
}
