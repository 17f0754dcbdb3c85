package shard

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// awaits are those who want to hear what the fold made of a record that they append.
type awaits struct {
	any  atomic.Int64
	mu   sync.Mutex
	runs map[journal.RunID][]*await

	seed  maphash.Seed
	done  map[doneKey]struct{} // what was told to have been applied, the latest of it
	order []doneKey
}

type await struct {
	kind    journal.Kind
	payload []byte
	said    chan engine.Said
}

type doneKey struct {
	run journal.RunID
	sum uint64
}

// doneMost bounds what is remembered to tell who sends again that it was applied.
const doneMost = 4096

// Await tells, once, what the fold makes of a record that the caller is about to append: of the next one of that run, kind and payload. Nothing is told
// while the partition is not this process's, which the caller has to expect. stop ends the waiting.
//
// A fact that has an id of its own and was applied is Duplicate when it comes again a while later, also where its run no longer knows it.
func (set *Set) Await(rec *journal.Record) (said <-chan engine.Said, stop func()) {
	a, w := &set.awaits, &await{rec.Kind, rec.Payload, make(chan engine.Said, 1)}
	run := rec.Run
	a.mu.Lock()
	if a.runs == nil {
		a.runs, a.done, a.seed = make(map[journal.RunID][]*await), make(map[doneKey]struct{}), maphash.MakeSeed()
	}
	a.runs[run] = append(a.runs[run], w)
	a.mu.Unlock()
	a.any.Add(1)
	return w.said, sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.drop(run, slices.Index(a.runs[run], w))
	})
}

// drop forgets one who waits; the lock is held.
func (a *awaits) drop(run journal.RunID, i int) {
	if i < 0 {
		return
	}
	a.any.Add(-1)
	if a.runs[run] = slices.Delete(a.runs[run], i, i+1); len(a.runs[run]) == 0 {
		delete(a.runs, run)
	}
}

// tell lets the one hear who has waited longest for this record.
func (a *awaits) tell(rec *journal.Record, reason engine.Reason, met engine.Met) {
	if a.any.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.runs[rec.Run], func(w *await) bool { return w.kind == rec.Kind && bytes.Equal(w.payload, rec.Payload) })
	if i < 0 {
		return
	}
	w := a.runs[rec.Run][i]
	a.drop(rec.Run, i)
	w.said <- engine.Said{Reason: a.known(rec, reason), Met: met}
}

// known books what was applied, and knows it when it comes again.
func (a *awaits) known(rec *journal.Record, reason engine.Reason) engine.Reason {
	if rec.Kind != journal.Signal && rec.Kind != journal.Completion {
		return reason
	}
	key := doneKey{rec.Run, maphash.Bytes(a.seed, engine.Timeless(rec))}
	_, before := a.done[key]
	switch {
	case reason == engine.Applied && !before:
		a.done[key] = struct{}{}
		if a.order = append(a.order, key); len(a.order) > doneMost {
			delete(a.done, a.order[0])
			a.order = a.order[1:]
		}
	case before && (reason == engine.Finished || reason == engine.Superseded):
		return engine.Duplicate
	}
	return reason
}
