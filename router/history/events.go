package history

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// eventKey stands for an event's id where a run's would.
func eventKey(id string) (key journal.RunID) {
	sum := sha256.Sum256([]byte(id))
	copy(key[:], sum[:])
	return key
}

// Note keeps what became of an event.
func (h *Endings) Note(e *engine.PastEvent) {
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fill() != takesAll {
		s.lost(1) // Of one that starts nothing the journal has nothing.
		return
	}
	h.scratch = e.Append(h.scratch[:0])
	s.add(streamEvents, eventKey(e.ID), h.scratch, e.Came.UnixNano())
}

// Began notes the event of a start that is folded again, unless it was noted when it came. What a run or a step has started is no event that came.
func (h *Endings) Began(partition int, rec *journal.Record) {
	h.store.mu.RLock()
	fresh := h.store.fresh(partition, rec.Offset, rec.Time.UnixNano())
	h.store.mu.RUnlock()
	if !fresh {
		return
	}
	if e := h.told(rec); e != nil {
		h.Note(e)
	}
}

// told is what a start tells of its event; nil where that is known, or no event came.
func (h *Endings) told(rec *journal.Record) *engine.PastEvent {
	f, err := engine.DecodeStart(rec.Payload)
	if err != nil || f.Parent != "" || f.Spent > 0 {
		return nil
	}
	var attrs struct{ ID, Source, Type string }
	if f.Event.Decode(&attrs) != nil || attrs.ID == "" {
		return nil
	}
	run := engine.PastRun{Run: rec.Run.String(), Trigger: f.Trigger}
	known, err := h.Event(attrs.ID)
	if err != nil || slices.ContainsFunc(known, func(e *engine.PastEvent) bool { return slices.Contains(e.Runs, run) }) {
		return nil
	}
	return &engine.PastEvent{ID: attrs.ID, Source: attrs.Source, Type: attrs.Type, Came: rec.Time.UTC(), Taken: "matched", Runs: []engine.PastRun{run}, Again: true}
}

// Event returns what became of the events of an id, of any source, the first first.
func (h *Endings) Event(id string) (all []*engine.PastEvent, err error) {
	var bad error
	err = h.store.walk(streamEvents, eventKey(id), place{page: -1}, func(_ place, text []byte) bool {
		e := new(engine.PastEvent)
		if bad = json.Unmarshal(text, e); bad == nil && e.ID == id {
			all = append(all, e)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return engine.MergeEvents(all), err
}

// Events gives up to limit events behind a cursor that were taken for something, if that is not empty, the latest first.
func (h *Endings) Events(after string, limit int, taken string) (all []*engine.PastEvent, next string, err error) {
	from, err := engine.ParseEventPlace(after)
	if err != nil {
		return nil, "", err
	}
	all = []*engine.PastEvent{}
	for _, p := range slices.Backward(h.store.all(streamEvents)) {
		s := h.store
		s.mu.RLock()
		first, last := p.from, p.to
		s.mu.RUnlock()
		if from != nil && first > from.Came || len(all) == limit && last < all[limit-1].Came.UnixNano() {
			continue // They are noted about in the order in which they came, not quite.
		}
		raw, err := s.read(p)
		if err != nil {
			return nil, "", err
		}
		var bad error
		if err := each(raw, func(_ int, _ journal.RunID, text []byte) bool {
			e := new(engine.PastEvent)
			if bad = json.Unmarshal(text, e); bad == nil && (taken == "" || e.Taken == taken) && (from == nil || from.Compare(e.Place()) < 0) {
				all = append(all, e)
			}
			return bad == nil
		}); err != nil || bad != nil {
			return nil, "", cmp.Or(err, bad)
		}
		slices.SortStableFunc(all, func(a, b *engine.PastEvent) int { return a.Place().Compare(b.Place()) })
		all = all[:min(len(all), limit)]
	}
	if len(all) == limit {
		next = all[limit-1].Place().String()
	}
	return all, next, nil
}
