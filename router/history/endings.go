package history

import (
	"context"
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

// historyPause is how long what is new waits in memory before it is written.
const historyPause = 200 * time.Millisecond

// Endings are the ended runs, with what became of their steps: the latest runs in memory, all that the history keeps on disk where there is one. The folds
// fill them.
type Endings struct {
	log     *slog.Logger
	store   *Store
	letters *Letters
	lost    prometheus.Counter // what the store could not take
	lag     prometheus.Gauge
	anew    prometheus.Counter // files that were set aside
	holes   prometheus.Gauge   // parts that are missing
	ill     prometheus.Gauge   // 1 while it cannot be written

	mu      sync.Mutex
	bytes   int
	order   []journal.RunID
	runs    map[journal.RunID]*engine.Ending
	waiters map[journal.RunID][]chan *engine.Ending

	failing bool   // to write
	scratch []byte // of Take, under the store's lock
}

// Options say what is kept, and where.
type Options struct {
	Dir     string // of the file; empty keeps the latest in memory only
	Limits  Limits
	Dead    LetterLimits
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Keep opens the history in a folder, or makes one. One that cannot be read is begun anew, loudly; one that a newer version has written is an error, and
// stays as it is: who went back to an older version by mistake loses neither the history nor dead letters.
func Keep(o Options) (*Endings, error) {
	h := &Endings{
		log: o.Log, runs: make(map[journal.RunID]*engine.Ending), waiters: make(map[journal.RunID][]chan *engine.Ending),
		lost:  prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_history_lost_total", Help: "Ended runs, steps and events that the history could not take; no run is lost by it."}),
		anew:  prometheus.NewCounter(prometheus.CounterOpts{Name: "onward_history_anew_total", Help: "Files of the history that could not be read, were set aside and begun anew."}),
		ill:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_history_failing", Help: "1 while the history cannot be written: what is new waits in memory, up to a bound."}),
		holes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_history_missing_parts", Help: "Parts of partitions that the history lacks, and that are filled again from the journal, as far as that reaches."}),
		lag:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "onward_history_waiting_bytes", Help: "What the history has in memory and not on disk yet."}),
	}
	var err error
	h.store = openStore(o.Dir, o.Limits, func(e error) {
		h.anew.Inc()
		h.log.Error("the history begins anew, and is filled again from the journal, as far as that reaches", "error", e)
	}, func(n int) { h.lost.Add(float64(n)) })
	if h.store.newer != nil {
		return nil, h.store.newer
	}
	if o.Dir != "" {
		if err := h.takeFormer(o.Dir); err != nil {
			h.log.Error("the ended runs of a former version are not taken over", "error", err)
		}
	}
	if h.letters, err = keepLetters(o.Dir, o.Dead, o.Log, o.Metrics); err != nil {
		return nil, errors.Join(err, h.store.close())
	}
	if o.Metrics != nil {
		o.Metrics.MustRegister(h.lost, h.lag, h.anew, h.ill, h.holes)
	}
	return h, nil
}

// Letters returns the dead letters, which are kept beside.
func (h *Endings) Letters() *Letters { return h.letters }

// Dead takes over what was given up.
func (h *Endings) Dead(x *engine.Letter) { h.letters.Add(x) }

// Close releases the files.
func (h *Endings) Close() error { return errors.Join(h.letters.Close(), h.store.close()) }

// Take takes over what a record of a partition did. A restart folds the same records again: they change nothing.
func (h *Endings) Take(partition int, rec *journal.Record, traces []engine.Trace, ended []engine.Ended, endings []*engine.Ending) {
	s, now := h.store, rec.Time.UnixNano()
	s.mu.Lock()
	had := s.had(partition)
	if s.begin(partition, rec.Offset, now) {
		full := s.fill()
		if full == takesAll {
			h.enterSteps(nil, traces, now)
		}
		if full != takesNothing {
			h.enterEnds(nil, ended, endings, now)
		}
		if full != takesAll {
			h.letGo(full, partition, had, rec, len(traces), len(ended))
		}
	}
	s.mu.Unlock()
	for i := range ended {
		h.add(ended[i].Run, endings[i])
	}
}

// letGo notes what is not taken of a record. The journal has it, so that it may be brought later. The store's lock is held.
func (h *Endings) letGo(full fullness, partition int, had int64, rec *journal.Record, traces, ended int) {
	if full == takesEnds {
		if ended = 0; traces == 0 {
			return
		}
	}
	now := rec.Time.UnixNano()
	h.store.lack(hole{partition: partition, after: had, upto: rec.Offset, base: h.store.base, steps: full == takesEnds, gap: gap{traces + ended, now, now}})
}

// enterSteps enters steps, behind all that was told before or into what is filled. The store's lock is held.
func (h *Endings) enterSteps(f *filling, traces []engine.Trace, now int64) {
	s := h.store
	for i := range traces {
		t := &traces[i]
		if t.Quiet {
			continue
		}
		p := s.pageOf(f, streamSteps)
		begin := p.begin(t.Run, now)
		text := len(p.raw)
		p.raw = appendStep(p.raw, t, s.limits.Value)
		if t.Outcome.Verdict == lang.Failed && !t.Again {
			h.scratch = append(h.scratch[:0], p.raw[text:]...)
			s.end(p, begin)
			s.put(s.pageOf(f, streamFailed), t.Run, h.scratch, now)
			continue
		}
		s.end(p, begin)
	}
}

// enterEnds enters the ends of runs. The store's lock is held.
func (h *Endings) enterEnds(f *filling, ended []engine.Ended, endings []*engine.Ending, now int64) {
	s := h.store
	for i := range ended {
		if in := endings[i].Input; in != nil && (endings[i].Error != nil || in.Size() > s.limits.Value) {
			endings[i].Input = nil // That of a run that failed is in what its end says.
		}
		h.scratch = appendEnding(h.scratch[:0], endings[i])
		s.put(s.pageOf(f, streamEnds), ended[i].Run, h.scratch, now)
	}
}

// add keeps an ended run in memory, and tells those who wait for it.
func (h *Endings) add(id journal.RunID, f *engine.Ending) {
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
}

func size(f *engine.Ending) int {
	n := f.Data.Size() + f.Event.Size() + 256
	if f.Input != nil {
		n += f.Input.Size()
	}
	return n
}

// Find returns an ended run; nil when it is not known.
func (h *Endings) Find(id journal.RunID) *engine.Ending {
	h.mu.Lock()
	f := h.runs[id]
	h.mu.Unlock()
	if f != nil {
		return f
	}
	f, err := h.store.ending(id)
	if err != nil {
		h.log.Error("the history cannot be read", "error", err)
	}
	return f
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
	w, stop := h.wait(id)
	return nil, w, stop
}

// Next gives the next end of a run: one that is open again has one already.
func (h *Endings) Next(id journal.RunID) (<-chan *engine.Ending, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wait(id)
}

// wait enters one who waits; the lock is held.
func (h *Endings) wait(id journal.RunID) (<-chan *engine.Ending, func()) {
	w := make(chan *engine.Ending, 1)
	h.waiters[id] = append(h.waiters[id], w)
	return w, func() {
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

// Write brings what is new to disk until ctx ends, and the rest then.
func (h *Endings) Write(ctx context.Context) {
	var warming sync.WaitGroup
	defer warming.Wait()
	warming.Go(func() { h.store.warm(ctx) })
	tick := time.NewTicker(historyPause)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = h.Sync() // What is left is tried again when it is closed, and said then.
			return
		}
		h.flush()
		_ = h.letters.flush() // It is said, and tried again.
		if now := time.Now(); now.Sub(swept) >= min(sweepEvery, h.letters.drawer.limits.Age/2) {
			swept = now
			_ = h.letters.sweep() // What cannot be read now is looked for again.
		}
	}
}

// Flush is Sync, of a partition all of whose records up to an offset have been told: a restart that begins behind it lacks nothing.
func (h *Endings) Flush(partition int, offset int64) error {
	h.store.mu.Lock()
	h.store.cover(partition, offset)
	h.store.mu.Unlock()
	return h.Sync()
}

// Sync brings to disk all that was added before, so that it is there after a power cut. A snapshot waits for it: the folds of a restart begin there and
// will not bring this again. When the disk does not take it, it is tried again with the next flush; a router that ends before loses it for people, and no
// run. The error is for dead letters, which nothing is to forget before they are kept.
func (h *Endings) Sync() error {
	h.flush()
	if d := h.store.file(); d != nil {
		if err := d.sync(); err != nil {
			h.log.Error("the history may be lost by a power cut", "error", err)
		}
	}
	return h.letters.flush()
}

// flush writes what is new, and says when that fails, and when it works again.
func (h *Endings) flush() {
	err := h.store.flush()
	h.store.mu.RLock()
	h.lag.Set(float64(h.store.waiting))
	h.holes.Set(float64(len(h.store.holes)))
	h.store.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && !h.failing:
		h.log.Error("the history cannot be written; what is new waits in memory and is tried again", "error", err)
	case err == nil && h.failing:
		h.log.Info("the history is written again")
	}
	if h.failing = err != nil; h.failing {
		h.ill.Set(1)
	} else {
		h.ill.Set(0)
	}
}
