package history

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Limits bound the history; the zero value of a field is its default.
type Limits struct {
	Runs  int           // ended runs. Default 100,000
	Bytes int64         // on disk, or in memory without one. Default 1 GiB, in memory 64 MiB
	Age   time.Duration // of what is kept. Default 30 days
	Value int           // bytes of an input or an output of a step that are kept. Default 16 KiB
}

// What waits for the disk is bounded: beyond it, steps are let go of and counted; ends are twice that.
const waitingMost = 64 << 20

// dropsMost is how many pages are taken away at a time.
const dropsMost = 64

// freeMost is how much room of pages is kept to be used again.
const freeMost = 64

// A cursor says up to which record of a partition the history has what they did. The time tells another journal, whose offsets begin again.
type cursor struct{ offset, time int64 }

// A save is a page as it is to be written.
type save struct {
	page     *page
	length   int // of raw
	entries  int
	runs     int
	from, to int64
	ids      []byte
	body     []byte // as it is in memory
	packed   int    // what it comes to on disk
	sealed   bool
	digest   []byte // nil: none
	index    *endIndex
}

// A Store is streams of entries in pages, in memory until they are on disk, the oldest of which go as the limits say.
type Store struct {
	limits  Limits
	dir     string // empty: memory only
	disk    *disk  // nil: memory only, or it could not be opened yet
	name    string // of the file, which marks have: those of another are told apart
	damaged func(error)
	now     func() time.Time
	newer   error       // the file is of a newer version; nothing is done with it
	broken  atomic.Bool // a page could not be read: the file is to be set aside

	mu          sync.RWMutex
	streams     [streamEnd][]*page // oldest first
	recent      [streamEnd]recent  // of the last page of each
	dirty       []*page
	next        int64
	cursors     map[int]*cursor
	definitions map[lang.Digest]*definition
	moved       bool // a cursor has, since the last flush
	bytes       int64
	runs        int
	waiting     int // bytes that are not on disk
	free        [][]byte
	lost        func(entries int)
	flushed     map[int]cursor // what the disk has of the cursors
	full        fullness
	holes       []hole // by partition and offset
	holesMoved  bool   // they have, since the last flush
	base        int64  // of the numbers that were left free last; 0 is none
	filling     *filling
	fillings    int // so many have ended

	flushing sync.Mutex
	digester digester // of who flushes
}

// openStore opens the store in a folder, or makes one. damaged is told of a file that had to be set aside: history is for people, and its loss is no
// reason not to route.
func openStore(dir string, l Limits, damaged func(error), lost func(int)) *Store {
	l.Runs = cmp.Or(l.Runs, 100_000)
	l.Bytes = cmp.Or(l.Bytes, map[bool]int64{true: 64 << 20, false: 1 << 30}[dir == ""])
	l.Age = cmp.Or(l.Age, 30*24*time.Hour)
	l.Value = cmp.Or(l.Value, 16<<10)
	s := &Store{
		limits: l, dir: dir, damaged: damaged, lost: lost, cursors: make(map[int]*cursor), flushed: make(map[int]cursor), definitions: make(map[lang.Digest]*definition), now: time.Now, next: 1,
	}
	if dir == "" {
		s.name = newName()
		return s
	}
	s.name = newName() // Until it is open: that is tried with each flush.
	if err := s.open(); errors.Is(err, errNewer) {
		s.newer = err
	} // Of another error the first flush says it.
	return s
}

// open opens the file. What is in memory comes behind what is in there.
func (s *Store) open() error {
	var had []*page
	cursors := make(map[int]cursor)
	d, bad, err := openDisk(s.dir, func(p *page) { had = append(had, p) }, func(p int, c cursor) { cursors[p] = c })
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if bad != nil {
		s.damaged(bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ours, next := s.streams, s.next
	s.streams, s.dirty, s.runs, s.next = [streamEnd][]*page{}, nil, 0, 1
	for _, p := range had {
		s.enter(p)
	}
	for _, x := range d.lacks {
		s.next = max(s.next, x.base+baseRoom)
	}
	behind := s.next - 1
	for i, all := range ours {
		for _, p := range all {
			// Another one under its new number: somebody may be at the old one.
			q := &page{n: p.n + behind, stream: p.stream, raw: p.raw, ids: p.ids, sorted: p.sorted, entries: p.entries, runs: p.runs, from: p.from, to: p.to, sealed: true, dirty: true}
			s.streams[i] = append(s.streams[i], q)
			s.dirty = append(s.dirty, q)
			s.runs += q.runs
		}
	}
	s.next = next + behind
	s.openHoles(d.lacks, cursors, behind)
	for p, c := range cursors {
		s.flushed[p] = c
		if s.cursors[p] == nil {
			s.cursors[p] = &c
		}
	}
	for digest, x := range d.had {
		if s.definitions[digest] == nil {
			s.definitions[digest] = x
		}
	}
	s.disk, s.name, s.moved, d.had, d.lacks = d, d.id, true, nil, nil
	return nil
}

// openHoles takes over those on disk; what was noted before it could be opened, and is there, is none. The lock is held.
func (s *Store) openHoles(had []hole, cursors map[int]cursor, behind int64) {
	ours := s.holes
	s.holes, s.base, s.filling = had, 0, nil
	for _, x := range ours {
		x.base += behind
		if c, has := cursors[x.partition]; has {
			x.after = max(x.after, c.offset)
		}
		if x.after < x.upto {
			s.lack(x)
		}
	}
}

// file is the disk; nil where there is none.
func (s *Store) file() *disk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.disk
}

// newName tells a history from others.
func newName() string { return strings.ToLower(rand.Text()[:6]) }

// enter takes over a page that is on disk.
func (s *Store) enter(p *page) {
	p.sorted = len(p.ids)
	s.streams[p.stream] = append(s.streams[p.stream], p)
	s.bytes += int64(p.size)
	s.runs += p.runs
	s.next = max(s.next, p.n+1)
}

// close writes what is left, and releases the file.
func (s *Store) close() error {
	err := s.flush()
	if d := s.file(); d != nil {
		d.close()
	}
	return err
}

// begin reports whether a record is new to the history, and takes the cursor on. The lock is held.
func (s *Store) begin(partition int, offset, at int64) bool {
	c := s.cursors[partition]
	if !s.fresh(partition, offset, at) {
		return false
	}
	if c == nil {
		c = new(cursor)
		s.cursors[partition] = c
	}
	*c, s.moved = cursor{offset, at}, true
	return true
}

// had is up to which offset of a partition all was told, or is missing; -1 is nothing. The lock is held.
func (s *Store) had(partition int) int64 {
	if c := s.cursors[partition]; c != nil {
		return c.offset
	}
	return -1
}

// cover says that all of a partition up to an offset has been told. The lock is held.
func (s *Store) cover(partition int, offset int64) {
	c := s.cursors[partition]
	if c == nil {
		c = new(cursor)
		s.cursors[partition] = c
	}
	if offset > c.offset {
		c.offset, s.moved = offset, true // Its time stays: what lies between did nothing that is kept.
	}
}

// fresh reports whether a record lies behind what the history has. The lock is held.
func (s *Store) fresh(partition int, offset, at int64) bool {
	c := s.cursors[partition]
	return c == nil || offset > c.offset || at > c.time
}

// room is the page of a stream that takes the next entry. The lock is held.
func (s *Store) room(stream byte) *page {
	p := s.last(stream)
	if p == nil || p.sealed {
		s.recent[stream] = recent{}
		p = &page{n: s.next, stream: stream, raw: s.blank(), recent: &s.recent[stream]}
		s.next++
		s.streams[stream] = append(s.streams[stream], p)
	}
	s.soil(p)
	return p
}

// pageOf is the page of a stream that takes the next entry: of a filling, or without one behind all. The lock is held.
func (s *Store) pageOf(f *filling, stream byte) *page {
	if f != nil {
		return f.page(s, stream)
	}
	return s.room(stream)
}

// soil says that a page has what the disk has not. The lock is held.
func (s *Store) soil(p *page) {
	if !p.dirty {
		s.dirty = append(s.dirty, p)
		p.dirty = true
	}
}

// blank is room for a page: at once, since growing costs more than all the rest, and that of a page which is on disk, where there is one.
func (s *Store) blank() []byte {
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b
	}
	return make([]byte, 0, pageRoom)
}

// add appends an entry to a stream. The lock is held.
func (s *Store) add(stream byte, id journal.RunID, text []byte, at int64) {
	s.put(s.room(stream), id, text, at)
}

// put appends an entry to a page. The lock is held.
func (s *Store) put(p *page, id journal.RunID, text []byte, at int64) {
	begin := p.begin(id, at)
	p.raw = append(p.raw, text...)
	s.end(p, begin)
}

// end ends an entry whose text was appended to its page. The lock is held.
func (s *Store) end(p *page, begin int) {
	p.end(begin)
	if s.waiting += len(p.raw) - begin; p.stream == streamEnds {
		p.runs++
		s.runs++
	}
	p.sealed = len(p.raw) >= pageBytes || p.stream == streamEnds && p.entries >= max(1, s.limits.Runs/16)
}

func (s *Store) last(stream byte) *page {
	if all := s.streams[stream]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// flush writes what was added before, and lets go of what is beyond the limits.
func (s *Store) flush() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if s.dir != "" && s.file() == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	if s.broken.Load() {
		if err := s.renew(errSpoiled); err != nil {
			return err
		}
	}
	err := s.write()
	if err == nil || !isDamage(err) {
		return err
	}
	if err := s.renew(err); err != nil {
		return err
	}
	return s.write()
}

// renew sets a damaged file aside and begins anew, with what is in memory.
func (s *Store) renew(why error) error {
	s.broken.Store(true) // Until it is done.
	next, damaged, err := s.file().anew(why, func(int, cursor) {})
	if err != nil {
		return err
	}
	s.damaged(damaged)
	s.broken.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk = next
	s.bytes, s.runs, s.dirty, s.moved, s.name = 0, 0, nil, true, s.disk.id
	maps.DeleteFunc(s.definitions, func(_ lang.Digest, x *definition) bool { return x.body == nil })
	s.spoil()
	return nil
}

// write is one transaction.
func (s *Store) write() error {
	s.mu.Lock()
	saves := make([]save, 0, len(s.dirty))
	for _, p := range s.dirty {
		p.sort()
		saves = append(saves, save{page: p, length: len(p.raw), entries: p.entries, runs: p.runs, from: p.from, to: p.to, ids: encodeIDs(p.ids), body: p.raw[:len(p.raw):len(p.raw)], sealed: p.sealed})
	}
	var cursors map[int]cursor
	if s.moved {
		cursors = make(map[int]cursor, len(s.cursors))
		for p, c := range s.cursors {
			cursors[p] = *c
		}
	}
	var holes []hole
	holesMoved := s.holesMoved
	if holesMoved {
		holes = slices.Clone(s.holes)
	}
	drop := s.excess()
	put, forget := s.spareDefinitions()
	s.moved, s.holesMoved = false, false
	s.mu.Unlock()
	if len(saves)+len(drop)+len(cursors)+len(put)+len(forget) == 0 && !holesMoved {
		return nil
	}
	d := s.file()
	for i := range saves {
		x := &saves[i]
		if x.sealed && x.page.stream == streamSteps {
			x.digest = s.digester.of(x.body, x.entries, len(x.ids)/4)
		}
		if x.sealed && x.page.stream == streamEnds {
			x.index, _ = indexEnds(x.body) // Who asks is told of an error.
		}
		if d == nil {
			x.body = pack(x.body, nil)
			x.packed = len(x.body)
		}
	}
	if d != nil {
		change := change{saves: saves, drop: numbers(drop), cursors: cursors, put: put, forget: forget, holes: holes, holesMoved: holesMoved}
		if err := d.write(&change); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.moved, s.holesMoved = s.moved || cursors != nil, s.holesMoved || holesMoved
			return err
		}
	}
	s.settle(saves, drop, put)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.flushed, cursors)
	s.keepHoles(holes)
	return nil
}

func numbers(pages []*page) (all []int64) {
	for _, p := range pages {
		all = append(all, p.n)
	}
	return all
}

// excess are the oldest pages that the limits push out, some at a time. The last of a stream stays: somebody may wait for what is in it. The lock is held.
func (s *Store) excess() (drop []*page) {
	bytes, runs, old := s.bytes, s.runs, s.now().Add(-s.limits.Age).UnixNano()
	var at [streamEnd]int
	for len(drop) < dropsMost {
		var first *page
		for i, all := range s.streams {
			if at[i]+1 < len(all) && (first == nil || all[at[i]].n < first.n) && !all[at[i]].dirty && all[at[i]].sealed {
				first = all[at[i]]
			}
		}
		if first == nil || bytes <= s.limits.Bytes && runs <= s.limits.Runs && first.to >= old {
			break
		}
		bytes, runs = bytes-int64(first.size), runs-first.runs
		at[first.stream]++
		drop = append(drop, first)
	}
	return drop
}

// settle books what was written.
func (s *Store) settle(saves []save, drop []*page, put []defined) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDefinitions(put)
	for i := range saves {
		x := &saves[i]
		p := x.page
		size := x.packed + len(x.ids) + len(x.digest)
		s.bytes += int64(size - p.size)
		p.size, p.kept = size, x.length
		if p.dirty = len(p.raw) > x.length; p.dirty || !p.sealed {
			continue
		}
		if !p.lent.Load() && cap(p.raw) == pageRoom && len(s.free) < freeMost {
			s.free = append(s.free, p.raw[:0])
		}
		p.raw = nil
		p.ids = slices.Clone(p.ids) // Without the room that it grew by.
		p.recent, p.index = nil, x.index
		if s.disk == nil {
			p.packed, p.digest = x.body, x.digest
		}
	}
	s.dirty = slices.DeleteFunc(s.dirty, func(p *page) bool { return !p.dirty })
	s.waiting = 0
	for _, p := range s.dirty {
		s.waiting += len(p.raw)
	}
	for _, p := range drop {
		s.bytes -= int64(p.size)
		s.runs -= p.runs
		all := s.streams[p.stream]
		if i, is := slices.BinarySearchFunc(all, p.n, func(q *page, n int64) int { return cmp.Compare(q.n, n) }); is {
			s.streams[p.stream] = slices.Delete(all, i, i+1)
		}
	}
}

// read returns the entries of a page; nil when it was let go of meanwhile.
func (s *Store) read(p *page) ([]byte, error) {
	s.mu.RLock()
	raw, packed, d := p.raw[:len(p.raw):len(p.raw)], p.packed, s.disk
	p.lent.Store(true)
	s.mu.RUnlock()
	if raw != nil {
		return raw, nil
	}
	var err error
	if packed == nil {
		if d == nil {
			return nil, nil
		}
		if packed, err = d.body(p.n); err != nil || packed == nil {
			s.broken.CompareAndSwap(false, isDamage(err))
			return nil, err
		}
	}
	if raw, err = unpack(packed); err != nil {
		s.broken.Store(true)
		return nil, errSpoiled
	}
	return raw, nil
}

// A place is that of an entry: its page and its number there. Its text goes out as a cursor.
type place struct {
	page  int64
	entry int
}

// String is how a place is written.
func (p place) String() string { return engine.Cursor{N: p.page, ID: strconv.Itoa(p.entry)}.String() }

func parsePlace(text string) (p place, err error) {
	if text == "" {
		return place{-1, 0}, nil
	}
	c, err := engine.ParseCursor(text)
	if err != nil {
		return p, err
	}
	entry, err := strconv.Atoi(c.ID)
	if err != nil || c.N < 0 || entry < 0 {
		return p, fmt.Errorf("%.60q is %w", text, engine.ErrCursor)
	}
	return place{c.N, entry}, nil
}

// pages returns those of a stream that may have a run, from a number on, the oldest first.
func (s *Store) pages(stream byte, id journal.RunID, from int64) (found []*page) {
	x := short(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.streams[stream]
	i, _ := slices.BinarySearchFunc(all, from, func(p *page, n int64) int { return cmp.Compare(p.n, n) })
	for _, p := range all[i:] {
		if p.has(x) {
			found = append(found, p)
		}
	}
	return found
}

// pageAt returns a page by its number; nil when it was let go of.
func (s *Store) pageAt(stream byte, n int64) *page {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.streams[stream]
	if i, is := slices.BinarySearchFunc(all, n, func(p *page, n int64) int { return cmp.Compare(p.n, n) }); is {
		return all[i]
	}
	return nil
}

// all returns the pages of a stream, the oldest first.
func (s *Store) all(stream byte) []*page {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.streams[stream])
}

// walk gives the entries of a run behind a place, until yield returns false.
func (s *Store) walk(stream byte, run journal.RunID, after place, yield func(at place, text []byte) bool) error {
	for _, p := range s.pages(stream, run, after.page) {
		raw, err := s.read(p)
		if err != nil {
			return err
		}
		more := true
		err = each(raw, func(i int, id journal.RunID, text []byte) bool {
			if id == run && (p.n != after.page || i > after.entry) {
				more = yield(place{p.n, i}, text)
			}
			return more
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// ending returns how a run has ended, last; nil when it is not known.
func (s *Store) ending(run journal.RunID) (f *engine.Ending, err error) {
	for _, p := range slices.Backward(s.pages(streamEnds, run, 0)) {
		raw, err := s.read(p)
		if err != nil {
			return nil, err
		}
		var last []byte
		if err := each(raw, func(_ int, id journal.RunID, text []byte) bool {
			if id == run {
				last = text
			}
			return true
		}); err != nil {
			return nil, err
		}
		if last != nil {
			return decodeEnding(run, last)
		}
	}
	return nil, nil
}
