package history

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
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

// Endings are the ended runs: the latest in memory, all that the history keeps on disk where there is one. The folds fill them.
type Endings struct {
	log     *slog.Logger
	store   *Store // nil: memory only
	letters *Letters
	lost    prometheus.Counter // endings that the store could not take

	mu      sync.Mutex
	bytes   int
	order   []journal.RunID
	runs    map[journal.RunID]*engine.Ending
	waiters map[journal.RunID][]chan *engine.Ending
	pending []journal.RunID // not on disk yet
	behind  map[journal.RunID]*engine.Ending

	writing sync.Mutex // held by the one who writes to the store
	wake    chan struct{}
	failing bool
}

// Options say what is kept, and where.
type Options struct {
	Dir     string // of the file; empty keeps the latest in memory only
	Limits  Limits
	Dead    LetterLimits
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Keep opens the history in a folder, or makes one. One that cannot be read is begun anew, loudly.
func Keep(o Options) (*Endings, error) {
	h := &Endings{
		log: o.Log, runs: make(map[journal.RunID]*engine.Ending), waiters: make(map[journal.RunID][]chan *engine.Ending),
		behind: make(map[journal.RunID]*engine.Ending), wake: make(chan struct{}, 1),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_history_lost_total", Help: "Ended runs that the history could not take; no run is lost by it."}),
	}
	if o.Dir != "" {
		var err, damaged error
		if h.store, damaged, err = Open(o.Dir, o.Limits); err != nil {
			return nil, err
		}
		if damaged != nil {
			h.log.Error("the history begins anew", "error", damaged)
		}
	}
	var err error
	if h.letters, err = keepLetters(o.Dir, o.Dead, o.Log, o.Metrics); err != nil {
		return nil, errors.Join(err, h.closeStore())
	}
	if o.Metrics != nil {
		o.Metrics.MustRegister(h.lost)
	}
	return h, nil
}

// Letters returns the dead letters, which are kept beside.
func (h *Endings) Letters() *Letters { return h.letters }

// Dead takes over what was given up.
func (h *Endings) Dead(x *engine.Letter) { h.letters.Add(x) }

// Close releases the files.
func (h *Endings) Close() error { return errors.Join(h.letters.Close(), h.closeStore()) }

func (h *Endings) closeStore() error {
	if h.store == nil {
		return nil
	}
	return h.store.Close()
}

// Add takes over an ended run. A restart folds the same ends again: they change nothing.
func (h *Endings) Add(id journal.RunID, f *engine.Ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runs[id] == nil {
		h.order = append(h.order, id)
		h.bytes += size(f)
	}
	h.runs[id] = f
	for _, w := range h.waiters[id] {
		w <- f
	}
	delete(h.waiters, id)
	for len(h.order) > recentRuns || h.bytes > recentBytes && len(h.order) > 1 {
		h.bytes -= size(h.runs[h.order[0]])
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

func size(f *engine.Ending) int { return f.Data.Size() + f.Event.Size() + 256 }

// Find returns an ended run; nil when it is not known.
func (h *Endings) Find(id journal.RunID) *engine.Ending {
	h.mu.Lock()
	f := h.runs[id]
	if f == nil {
		f = h.behind[id]
	}
	h.mu.Unlock()
	if f != nil || h.store == nil {
		return f
	}
	var k engine.Kept
	found, err := h.store.Get(ID(id), &k)
	if err != nil {
		h.log.Error("the history cannot be read", "error", err)
	}
	if !found || err != nil {
		return nil
	}
	return k.Whole()
}

// Get returns an ended run, or a channel that gives it once it has ended, with a function to stop waiting.
func (h *Endings) Get(id journal.RunID) (*engine.Ending, <-chan *engine.Ending, func()) {
	if f := h.Find(id); f != nil {
		return f, nil, func() {}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.runs[id]; f != nil { // It ended in between.
		return f, nil, func() {}
	}
	w := make(chan *engine.Ending, 1)
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

// Each gives the ended runs, the latest first, until yield returns false.
func (h *Endings) Each(yield func(*engine.Ending) bool) error {
	if h.store == nil {
		h.mu.Lock()
		list := make([]*engine.Ending, 0, len(h.order))
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
	err := h.store.Each(func(_ ID, text []byte) bool {
		var k engine.Kept
		if bad = json.Unmarshal(text, &k); bad != nil {
			return false
		}
		return yield(k.Whole())
	})
	if err == nil {
		err = bad
	}
	return err
}

// Write brings endings to disk until ctx ends, and the rest then.
func (h *Endings) Write(ctx context.Context) {
	tick := time.NewTicker(historyPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.wake:
		case <-ctx.Done():
			_ = h.Flush() // What is left is tried again when it is closed, and said then.
			return
		}
		_ = h.Flush() // It is said, and tried again.
	}
}

// Flush brings to disk all that was added before. A snapshot waits for it: the folds of a restart begin there and will not bring these ends again.
// When the disk does not take them they are tried again with the next flush; a router that ends before loses them for people, and no run. The error is
// for dead letters, which nothing is to forget before they are kept.
func (h *Endings) Flush() error {
	h.flush()
	return h.letters.flush()
}

func (h *Endings) flush() {
	if h.store == nil {
		return
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	for {
		h.mu.Lock()
		ids := h.pending[:min(len(h.pending), historyBatch)]
		batch := make([]Entry, 0, len(ids))
		for _, id := range ids {
			f := h.behind[id]
			batch = append(batch, Entry{ID: ID(id), JSON: []byte(lang.Of(f.Keep()).JSON())})
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
func (h *Endings) settle(n int, err error) {
	drop := n
	if err != nil {
		if !h.failing {
			h.log.Error("ended runs cannot be written to the history; they are tried again", "error", err)
		}
		drop = max(len(h.pending)-historyBehind, 0)
		h.lost.Add(float64(drop))
	} else if h.failing {
		h.log.Info("the history is written again")
	}
	h.failing = err != nil
	for _, id := range h.pending[:drop] {
		delete(h.behind, id)
	}
	h.pending = append(h.pending[:0:0], h.pending[drop:]...)
}
