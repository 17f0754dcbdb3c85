package router

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
)

// The bounds of what is kept of ended runs in memory: the latest, for those who wait and those who ask again.
const (
	recentRuns  = 10_000
	recentBytes = 64 << 20
)

// Endings of runs are written to the history in batches, this many or this often; when it fails, this many wait for it to work again.
const (
	historyBatch  = 1000
	historyPause  = 200 * time.Millisecond
	historyBehind = 100_000
)

// endings are the ended runs: the latest in memory, all that the history keeps on disk where there is one. The folds fill them.
type endings struct {
	log   *slog.Logger
	store *history.Store // nil: memory only
	lost  func(n int)    // told of endings that the history could not take

	mu      sync.Mutex
	bytes   int
	order   []journal.RunID
	runs    map[journal.RunID]*Finished
	waiters map[journal.RunID][]chan *Finished
	pending []journal.RunID // not on disk yet
	behind  map[journal.RunID]*Finished

	writing sync.Mutex // held by the one who writes to the store
	wake    chan struct{}
	failing bool
}

func newEndings(store *history.Store, log *slog.Logger, lost func(int)) *endings {
	return &endings{
		log: log, store: store, lost: lost, runs: make(map[journal.RunID]*Finished), waiters: make(map[journal.RunID][]chan *Finished),
		behind: make(map[journal.RunID]*Finished), wake: make(chan struct{}, 1),
	}
}

// add takes over an ended run. A restart folds the same ends again: they change nothing.
func (h *endings) add(id journal.RunID, f *Finished) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runs[id] == nil {
		h.order = append(h.order, id)
		h.bytes += f.size()
	}
	h.runs[id] = f
	for _, w := range h.waiters[id] {
		w <- f
	}
	delete(h.waiters, id)
	for len(h.order) > recentRuns || h.bytes > recentBytes && len(h.order) > 1 {
		h.bytes -= h.runs[h.order[0]].size()
		delete(h.runs, h.order[0])
		h.order = h.order[1:]
	}
	if h.store == nil {
		return
	}
	if h.behind[id] == nil {
		h.pending = append(h.pending, id)
	}
	h.behind[id] = f
	if len(h.pending) >= historyBatch {
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
}

func (f *Finished) size() int { return f.Data.Size() + f.Event.Size() + 256 }

// find returns an ended run; nil when it is not known.
func (h *endings) find(id journal.RunID) *Finished {
	h.mu.Lock()
	f := h.runs[id]
	if f == nil {
		f = h.behind[id]
	}
	h.mu.Unlock()
	if f != nil || h.store == nil {
		return f
	}
	var k kept
	found, err := h.store.Get(history.ID(id), &k)
	if err != nil {
		h.log.Error("the history cannot be read", "error", err)
	}
	if !found || err != nil {
		return nil
	}
	return k.finished()
}

// get returns an ended run, or a channel that gives it once it has ended, with a function to stop waiting.
func (h *endings) get(id journal.RunID) (*Finished, <-chan *Finished, func()) {
	if f := h.find(id); f != nil {
		return f, nil, func() {}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.runs[id]; f != nil { // It ended in between.
		return f, nil, func() {}
	}
	w := make(chan *Finished, 1)
	h.waiters[id] = append(h.waiters[id], w)
	return nil, w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		list := h.waiters[id]
		for i := range list {
			if list[i] == w {
				h.waiters[id] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(h.waiters[id]) == 0 {
			delete(h.waiters, id)
		}
	}
}

// each gives the ended runs, the latest first, until yield returns false.
func (h *endings) each(yield func(*Finished) bool) error {
	if h.store == nil {
		h.mu.Lock()
		list := make([]*Finished, 0, len(h.order))
		for i := len(h.order) - 1; i >= 0; i-- {
			list = append(list, h.runs[h.order[i]])
		}
		h.mu.Unlock()
		for _, f := range list {
			if !yield(f) {
				break
			}
		}
		return nil
	}
	h.flush()
	var bad error
	err := h.store.Each(func(_ history.ID, text []byte) bool {
		var k kept
		if bad = json.Unmarshal(text, &k); bad != nil {
			return false
		}
		return yield(k.finished())
	})
	if err == nil {
		err = bad
	}
	return err
}

// kept is the form in which the history keeps an ended run: what people see of it, and the event of its end as clients that wait get it.
type kept struct {
	*Finished
	EventType string     `json:"eventType"`
	Data      lang.Value `json:"data,omitzero"` // where it is not the result
}

func keptOf(f *Finished) kept {
	k := kept{Finished: f, EventType: f.EventType}
	if f.Error != nil {
		k.Data = f.Data
	}
	return k
}

func (k *kept) finished() *Finished {
	f := k.Finished
	f.EventType, f.Data = k.EventType, k.Data
	if f.Error == nil {
		f.Data = f.Result
	}
	return f
}

// write brings endings to disk until ctx ends, and the rest then.
func (h *endings) write(ctx context.Context) {
	if h.store == nil {
		return
	}
	tick := time.NewTicker(historyPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.wake:
		case <-ctx.Done():
			h.flush()
			return
		}
		h.flush()
	}
}

// flush brings to disk all that was added before. A snapshot waits for it: the folds of a restart begin there and will not bring these ends again.
// When the disk does not take them they are tried again with the next flush; a router that ends before loses them for people, and no run.
func (h *endings) flush() {
	if h.store == nil {
		return
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	for {
		h.mu.Lock()
		ids := h.pending[:min(len(h.pending), historyBatch)]
		batch := make([]history.Entry, 0, len(ids))
		for _, id := range ids {
			f := h.behind[id]
			batch = append(batch, history.Entry{ID: history.ID(id), JSON: []byte(lang.Of(keptOf(f)).JSON())})
		}
		h.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		err := h.store.Put(batch)
		h.mu.Lock()
		h.settle(len(batch), err)
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// settle books what became of a batch; the lock is held.
func (h *endings) settle(n int, err error) {
	drop := n
	if err != nil {
		if !h.failing {
			h.log.Error("ended runs cannot be written to the history; they are tried again", "error", err)
		}
		drop = max(len(h.pending)-historyBehind, 0)
		h.lost(drop)
	} else if h.failing {
		h.log.Info("the history is written again")
	}
	h.failing = err != nil
	for _, id := range h.pending[:drop] {
		delete(h.behind, id)
	}
	h.pending = append(h.pending[:0:0], h.pending[drop:]...)
}
