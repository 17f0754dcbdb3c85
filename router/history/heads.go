package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A head is what lists ask of an ended run: some 60 bytes in memory, so that they read no page. Its texts are its page's, since few differ.
type endHead struct {
	id              journal.RunID
	started, ended  int64
	calls, redrives uint32
	at, size        uint32 // of its text in the page
	kind            uint32
	parent          uint32 // its number among the page's, from 1; 0 is none
}

type endKind struct{ tenant, trigger, state, failure string }

// An endIndex has the heads of a page of ends, in its order.
type endIndex struct {
	heads   []endHead
	kinds   []endKind
	parents []string
}

func indexEnds(raw []byte) (x *endIndex, err error) {
	x = new(endIndex)
	by := make(map[string]uint32)
	var key []byte
	bad := false
	err = each(raw, func(_ int, id journal.RunID, text []byte) bool {
		r := reader{b: text}
		e := endHead{id: id, started: r.int(), ended: r.int(), calls: uint32(r.uint()), at: uint32(cap(raw) - cap(text)), size: uint32(len(text))}
		tenant, trigger, state := r.bytes(), r.bytes(), r.bytes()
		_ = r.bytes() // The type of its event.
		failure := r.bytes()
		key = append(append(append(append(append(append(append(key[:0], tenant...), 0), trigger...), 0), state...), 0), failure...)
		kind, known := by[string(key)]
		if !known {
			kind = uint32(len(x.kinds))
			by[string(key)] = kind
			x.kinds = append(x.kinds, endKind{string(tenant), string(trigger), string(state), string(failure)})
		}
		e.kind = kind
		event := r.bytes()
		_ = r.bytes() // Its result.
		if len(r.b) > 1 {
			failed := len(r.bytes()) > 0
			if _ = r.bytes(); failed && len(r.b) > 1 {
				e.redrives = uint32(r.uint())
			}
		}
		if bad = r.bad; bad {
			return false
		}
		if bytes.Contains(event, []byte(engine.TypeSub)) {
			if parent := engine.ParentOf(lang.Trusted(string(event))); parent != "" {
				if n := len(x.parents); n == 0 || x.parents[n-1] != parent {
					x.parents = append(x.parents, parent)
				}
				e.parent = uint32(len(x.parents))
			}
		}
		x.heads = append(x.heads, e)
		return true
	})
	if bad {
		err = errSpoiled
	}
	x.heads = slices.Clip(x.heads)
	return x, err
}

// index returns the heads of a page: it is made once, and of one that grows each time.
func (s *Store) index(p *page) (*endIndex, error) {
	s.mu.RLock()
	x := p.index
	s.mu.RUnlock()
	if x != nil {
		return x, nil
	}
	raw, err := s.read(p)
	if err != nil {
		return nil, err
	}
	if x, err = indexEnds(raw); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.sealed {
		p.index = x
	}
	return x, nil
}

// warm makes the heads of what a former process has left, so that the first who lists need not wait.
func (s *Store) warm(ctx context.Context) {
	for _, p := range slices.Backward(s.all(streamEnds)) {
		if _, err := s.index(p); err != nil || ctx.Err() != nil {
			return // It is said to who asks.
		}
	}
}

// A once knows which runs it has seen, by 64 bits of each.
type once struct {
	table []uint64 // a power of two of places, half of them empty
	n     int
}

func newOnce(runs int) *once { return &once{table: make([]uint64, 1<<bits.Len(uint(2*runs+1024)))} }

func (o *once) first(id journal.RunID) bool {
	return o.enter((binary.BigEndian.Uint64(id[:])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(id[8:])) | 1)
}

func (o *once) enter(x uint64) bool {
	if 2*o.n >= len(o.table) {
		was := o.table
		*o = once{table: make([]uint64, 2*len(was))}
		for _, x := range was {
			if x != 0 {
				o.enter(x)
			}
		}
	}
	mask := uint64(len(o.table) - 1)
	for i := (x * 0xbf58476d1ce4e5b9) >> (64 - bits.Len64(mask)); ; i++ {
		switch at := &o.table[i&mask]; *at {
		case x:
			return false
		case 0:
			*at = x
			o.n++
			return true
		}
	}
}

// ended is how many ends there are.
func (s *Store) ended() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.runs
}

// Heads gives the ended runs that choose chooses, the latest first, each by its last end, until yield returns false. nil chooses all. A head is yield's until
// it returns.
func (h *Endings) Heads(choose func(tenant, trigger, state, failure string) bool, yield func(*engine.EndHead) bool) error {
	seen := newOnce(h.store.ended())
	var chosen []bool
	var at *endHead
	var of *page
	var raw []byte
	text := func() (b []byte, err error) {
		if raw == nil {
			if raw, err = h.store.read(of); err != nil {
				return nil, err
			}
		}
		if int(at.at+at.size) > len(raw) {
			return nil, nil // The page was let go of meanwhile.
		}
		return raw[at.at : at.at+at.size], nil
	}
	var head engine.EndHead
	for _, p := range slices.Backward(h.store.all(streamEnds)) {
		x, err := h.store.index(p)
		if err != nil {
			return err
		}
		chosen = chosen[:0]
		for _, k := range x.kinds {
			chosen = append(chosen, choose == nil || choose(k.tenant, k.trigger, k.state, k.failure))
		}
		of, raw = p, nil
		for i := range slices.Backward(x.heads) {
			e := &x.heads[i]
			if !seen.first(e.id) || !chosen[e.kind] {
				continue
			}
			k := &x.kinds[e.kind]
			at, head = e, engine.EndHead{
				Run: e.id, Started: e.started, Ended: e.ended, Calls: int(e.calls), Redrives: e.redrives, Tenant: k.tenant, Trigger: k.trigger, State: k.state, Error: k.failure, Text: text,
			}
			if e.parent > 0 {
				head.Parent = x.parents[e.parent-1]
			}
			if !yield(&head) {
				return nil
			}
		}
	}
	return nil
}

// Whole is the end that a head is of; nil when it was let go of meanwhile.
func (h *Endings) Whole(x *engine.EndHead) (*engine.Ending, error) {
	text, err := x.Text()
	if err != nil || text == nil {
		return nil, err
	}
	return decodeEnding(x.Run, text)
}
