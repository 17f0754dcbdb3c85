package history

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/onward-router/onward/config/lang"
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
	text := []byte(lang.Of(e).JSON())
	key, now := eventKey(e.ID), e.Came.UnixNano()
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.scratch = append(h.scratch[:0], text...)
	h.put(streamEvents, key, now)
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
	return all, err
}

// Events gives up to limit events behind a cursor that were taken for something, if that is not empty, the latest first.
func (h *Endings) Events(after string, limit int, taken string) (all []*engine.PastEvent, next string, err error) {
	from, err := parsePlace(after)
	if err != nil {
		return nil, "", err
	}
	all = []*engine.PastEvent{}
	for _, p := range slices.Backward(h.store.all(streamEvents)) {
		if from.page >= 0 && p.n > from.page {
			continue
		}
		raw, err := h.store.read(p)
		if err != nil {
			return nil, "", err
		}
		var texts [][]byte
		if err := each(raw, func(_ int, _ journal.RunID, text []byte) bool { texts = append(texts, text); return true }); err != nil {
			return nil, "", err
		}
		for i, text := range slices.Backward(texts) {
			if p.n == from.page && i >= from.entry {
				continue
			}
			e := new(engine.PastEvent)
			if err := json.Unmarshal(text, e); err != nil {
				return nil, "", err
			}
			if taken != "" && e.Taken != taken {
				continue
			}
			if all = append(all, e); len(all) == limit {
				return all, place{p.n, i}.String(), nil
			}
		}
	}
	return all, "", nil
}
