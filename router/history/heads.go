package history

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"hash/maphash"
	"math"
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
	events  []eventHead // by what they have of their ids
}

// An eventHead is what stands for the id of the event that started a run - 64 bits, by a key of this process, so that no two are taken for one - and the place
// of its head.
type eventHead struct {
	sum   uint64
	place uint32
}

func (x eventHead) compare(y eventHead) int {
	return cmp.Or(cmp.Compare(x.sum, y.sum), cmp.Compare(x.place, y.place))
}

var eventSeed = maphash.MakeSeed()

func eventSum(id []byte) uint64 { return maphash.Bytes(eventSeed, id) }

// idOf is the id that an event has, whose attributes are all texts or numbers: its key stands there once, and in no text, where quotes are escaped.
func idOf(event []byte) []byte {
	_, rest, has := bytes.Cut(event, []byte(`"id":"`))
	end := bytes.IndexAny(rest, `"\\`)
	switch {
	case !has || end < 0:
		return nil
	case rest[end] == '"':
		return rest[:end]
	}
	return []byte(engine.EventID(lang.Trusted(string(event))))
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
		x.events = append(x.events, eventHead{eventSum(idOf(event)), uint32(len(x.heads))})
		x.heads = append(x.heads, e)
		return true
	})
	slices.SortFunc(x.events, eventHead.compare)
	x.events = slices.Clip(x.events)
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

// Heads gives the ended runs that choose chooses, the latest first, each by its last end, until yield returns false; with an event's id only those that one of
// that id has started. nil chooses all. A head is yield's until it returns.
func (h *Endings) Heads(event string, choose func(tenant, trigger, state, failure string) bool, yield func(*engine.EndHead) bool) error {
	runs := 0
	if event == "" {
		runs = h.store.ended()
	}
	l := &looking{seen: newOnce(runs), choose: choose, yield: yield}
	sum := eventSum([]byte(event))
	for _, p := range slices.Backward(h.store.all(streamEnds)) {
		x, err := h.store.index(p)
		if err != nil {
			return err
		}
		l.begin(p, x)
		if event == "" {
			for i := range slices.Backward(x.heads) {
				if !l.look(i) {
					return nil
				}
			}
			continue
		}
		end, _ := slices.BinarySearchFunc(x.events, eventHead{sum, math.MaxUint32}, eventHead.compare)
		for end--; end >= 0 && x.events[end].sum == sum; end-- {
			if !l.look(int(x.events[end].place)) {
				return nil
			}
		}
	}
	return nil
}

// A looking goes through heads.
type looking struct {
	seen   *once
	choose func(tenant, trigger, state, failure string) bool
	yield  func(*engine.EndHead) bool
	page   *page
	index  *endIndex
	chosen []int8 // by kind: 1 is chosen, -1 is not, 0 is not known
	head   engine.EndHead
}

func (l *looking) begin(p *page, x *endIndex) {
	l.page, l.index = p, x
	l.chosen = slices.Grow(l.chosen[:0], len(x.kinds))[:len(x.kinds)]
	clear(l.chosen)
}

// look gives a head where it is chosen, and the first of its run. False: no more is wanted.
func (l *looking) look(i int) bool {
	e := &l.index.heads[i]
	if !l.seen.first(e.id) {
		return true
	}
	k, c := &l.index.kinds[e.kind], &l.chosen[e.kind]
	if *c == 0 {
		if *c = -1; l.choose == nil || l.choose(k.tenant, k.trigger, k.state, k.failure) {
			*c = 1
		}
	}
	if *c < 0 {
		return true
	}
	l.head = engine.EndHead{
		Run: e.id, Started: e.started, Ended: e.ended, Calls: int(e.calls), Redrives: e.redrives, Tenant: k.tenant, Trigger: k.trigger, State: k.state, Error: k.failure, Page: l.page.n, At: uint32(i),
	}
	if e.parent > 0 {
		l.head.Parent = l.index.parents[e.parent-1]
	}
	return l.yield(&l.head)
}

// readerPages is how many pages a reader of ends remembers: who looks through many asks for those of a page one after the other, about.
const readerPages = 8

// Reader returns what reads the ends that heads are of: whole, where may, which may be nil, says so of the form in which it is kept; nil when it was let go of
// meanwhile. It is for one goroutine.
func (h *Endings) Reader() func(x *engine.EndHead, may func(kept []byte) bool) (*engine.Ending, error) {
	type had struct {
		n     int64
		raw   []byte
		index *endIndex
	}
	var pages []had
	return func(x *engine.EndHead, may func([]byte) bool) (*engine.Ending, error) {
		at := slices.IndexFunc(pages, func(p had) bool { return p.n == x.Page })
		if at < 0 {
			p := h.store.pageAt(streamEnds, x.Page)
			if p == nil {
				return nil, nil
			}
			raw, err := h.store.read(p)
			if err != nil {
				return nil, err
			}
			index, err := h.store.index(p)
			if err != nil {
				return nil, err
			}
			if len(pages) == readerPages {
				pages = slices.Delete(pages, 0, 1)
			}
			at, pages = len(pages), append(pages, had{x.Page, raw, index})
		}
		p := &pages[at]
		if int(x.At) >= len(p.index.heads) {
			return nil, nil
		}
		e := &p.index.heads[x.At]
		if e.id != x.Run || int(e.at+e.size) > len(p.raw) {
			return nil, nil
		}
		if text := p.raw[e.at : e.at+e.size]; may == nil || may(text) {
			return decodeEnding(x.Run, text)
		}
		return nil, nil
	}
}
