package history

import (
	"cmp"
	"database/sql"
	"slices"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A hole is a part of a partition of which the history lacks what its records did: those behind an offset, up to another. It was lost, was never told, as
// that of a partition which comes from another router, or was let go of while the disk took nothing. What fills it goes into pages of numbers that were left
// free for that, so that it lies before what came later.
type hole struct {
	partition   int
	after, upto int64
	base        int64 // of the numbers
	steps       bool  // only steps are missing, and no ends of runs
	kept        bool  // the disk knows of it: before it may be filled
	gap               // what was let go of, where that is known
}

// A gap counts what was let go of.
type gap struct {
	entries  int
	from, to int64
}

// baseRoom is how many numbers are left free at a time.
const baseRoom = 1 << 32

// holesMost is how many are remembered; the oldest are given up.
const holesMost = 1000

// A fullness says what is let go of while the disk takes nothing.
type fullness byte

const (
	takesAll fullness = iota
	takesEnds
	takesNothing
)

// fill says how full it is. What was let go of once is until there is room again, so that it is one part. The lock is held.
func (s *Store) fill() fullness {
	was := s.full
	switch {
	case s.waiting > 2*waitingMost:
		s.full = takesNothing
	case s.waiting > waitingMost:
		s.full = max(s.full, takesEnds)
	case s.waiting < waitingMost/2:
		s.full = takesAll
	}
	if s.full > was {
		s.leave()
	}
	return s.full
}

// leave leaves numbers free before what comes from now on. The lock is held.
func (s *Store) leave() int64 {
	if s.base+baseRoom == s.next {
		return s.base // Nothing has come since.
	}
	for stream := range s.streams {
		if p := s.last(byte(stream)); p != nil {
			s.seal(p)
		}
	}
	s.base = s.next
	s.next += baseRoom
	return s.base
}

// seal ends a page. The lock is held.
func (s *Store) seal(p *page) {
	if p.raw == nil || p.sealed {
		return
	}
	p.sealed = true
	if !p.dirty {
		p.dirty = true
		s.dirty = append(s.dirty, p)
	}
}

// lack notes that a part of a partition is missing. The lock is held.
func (s *Store) lack(x hole) {
	s.holesMoved = true
	for i := range s.holes {
		if y := &s.holes[i]; y.partition == x.partition && y.upto == x.after && y.base == x.base && y.steps == x.steps {
			y.upto, y.to, y.entries = x.upto, x.to, y.entries+x.entries
			return
		}
	}
	s.holes = append(s.holes, x)
	slices.SortStableFunc(s.holes, func(a, b hole) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.after, b.after))
	})
	for len(s.holes) > holesMost {
		i := 0
		for k := range s.holes {
			if s.holes[k].base < s.holes[i].base {
				i = k
			}
		}
		s.giveUp(i)
	}
}

// giveUp forgets a hole, for ever. The lock is held.
func (s *Store) giveUp(i int) {
	if g := s.holes[i].gap; g.entries > 0 {
		s.lost(g.entries)
		s.add(streamSteps, journal.RunID{}, appendGap(nil, &g), g.to)
	}
	s.holes = slices.Delete(s.holes, i, i+1)
}

// holeOf is the place of the first hole of a partition; -1 is none. The lock is held.
func (s *Store) holeOf(partition int) int {
	return slices.IndexFunc(s.holes, func(x hole) bool { return x.partition == partition })
}

// A filling is where goes what a hole is filled with.
type filling struct {
	base, next int64
	pages      [streamEnd]*page
	recent     [streamEnd]recent
}

// filler is the filling of a hole. The lock is held.
func (s *Store) filler(base int64) *filling {
	if f := s.filling; f != nil && f.base == base {
		return f
	}
	s.filled()
	f := &filling{base: base, next: base}
	for _, all := range s.streams {
		i, _ := slices.BinarySearchFunc(all, base+baseRoom, func(p *page, n int64) int { return cmp.Compare(p.n, n) })
		if i > 0 {
			f.next = max(f.next, all[i-1].n+1)
		}
	}
	s.filling = f
	return f
}

// filled ends the filling. Marks from before it do not tell any more what is behind them. The lock is held.
func (s *Store) filled() {
	if s.filling == nil {
		return
	}
	for _, p := range s.filling.pages {
		if p != nil {
			s.seal(p)
		}
	}
	s.filling = nil
	s.fillings++
}

// page is the page of a stream that takes the next entry of a filling. The store's lock is held.
func (f *filling) page(s *Store, stream byte) *page {
	p := f.pages[stream]
	if p == nil || p.sealed {
		f.recent[stream] = recent{}
		p = &page{n: f.next, stream: stream, raw: s.blank(), recent: &f.recent[stream], filled: true}
		f.next++
		f.pages[stream] = p
		all := s.streams[stream]
		i, _ := slices.BinarySearchFunc(all, p.n, func(q *page, n int64) int { return cmp.Compare(q.n, n) })
		s.streams[stream] = slices.Insert(all, i, p)
	}
	s.soil(p)
	return p
}

// Begins says that a fold begins behind an offset of a partition: what lies before and was never told is missing from then on.
func (h *Endings) Begins(partition int, offset int64) {
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.had(partition)
	if s.dir == "" || offset <= had {
		return
	}
	s.lack(hole{partition: partition, after: had, upto: offset, base: s.leave()})
	s.cover(partition, offset)
}

// Lacks is the first part of a partition that the history lacks: behind an offset, up to another.
func (h *Endings) Lacks(partition int) (after, upto int64, is bool) {
	s := h.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.holeOf(partition)
	if i < 0 || !s.holes[i].kept {
		return 0, 0, false
	}
	return s.holes[i].after, s.holes[i].upto, true
}

// Filled says that no more comes of what Lacks told, up to an offset; lost, that this is so since the journal has it no more.
func (h *Endings) Filled(partition int, upto int64, lost bool) {
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.holeOf(partition)
	if i < 0 || upto < s.holes[i].after {
		return
	}
	s.holesMoved = true
	switch x := &s.holes[i]; {
	case upto < x.upto:
		x.after = upto
	case lost:
		s.giveUp(i)
	default:
		s.holes = slices.Delete(s.holes, i, i+1)
	}
	if !slices.ContainsFunc(s.holes, func(x hole) bool { return s.filling != nil && x.base == s.filling.base }) {
		s.filled()
	}
}

// fillMost is how much of what waits for the disk keeps more from being filled in: what is new comes first.
const fillMost = 32 * pageBytes

// Again takes over what a record did that the history may lack: one that is folded again, beside. began says that it started a run. False: the disk has
// much to take, and it is to be given once more.
func (h *Endings) Again(partition int, rec *journal.Record, began bool, traces []engine.Trace, ended []engine.Ended, endings []*engine.Ending) bool {
	s, now := h.store, rec.Time.UnixNano()
	var event *engine.PastEvent
	if began {
		event = h.told(rec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting > fillMost || s.broken.Load() {
		return false
	}
	i := s.holeOf(partition)
	if i < 0 || rec.Offset <= s.holes[i].after || rec.Offset > s.holes[i].upto {
		return true
	}
	f := s.filler(s.holes[i].base)
	if event != nil {
		h.scratch = event.Append(h.scratch[:0])
		s.put(f.page(s, streamEvents), eventKey(event.ID), h.scratch, now)
	}
	h.enterSteps(f, traces, now)
	if !s.holes[i].steps {
		h.enterEnds(f, ended, endings, now)
	}
	s.holes[i].after, s.holesMoved = rec.Offset, true
	return true
}

// holeTables are holes on disk.
const holeTables = `CREATE TABLE hole (partition INTEGER, after INTEGER, upto INTEGER, base INTEGER, steps INTEGER, entries INTEGER, first INTEGER, last INTEGER)`

func (d *disk) writeHoles(tx *sql.Tx, holes []hole) error {
	if _, err := tx.Exec("DELETE FROM hole"); err != nil {
		return err
	}
	for _, x := range holes {
		if _, err := tx.Exec("INSERT INTO hole VALUES (?, ?, ?, ?, ?, ?, ?, ?)", x.partition, x.after, x.upto, x.base, x.steps, x.entries, x.from, x.to); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) holes() (all []hole, err error) {
	rows, err := d.db.Query("SELECT partition, after, upto, base, steps, entries, first, last FROM hole ORDER BY partition, after")
	return all, through(rows, err, func() error {
		var x hole
		x.kept = true
		err := rows.Scan(&x.partition, &x.after, &x.upto, &x.base, &x.steps, &x.entries, &x.from, &x.to)
		all = append(all, x)
		return err
	})
}

// keepHoles says which holes the disk knows of. The lock is held.
func (s *Store) keepHoles(known []hole) {
	for i := range s.holes {
		x := &s.holes[i]
		x.kept = x.kept || slices.ContainsFunc(known, func(y hole) bool {
			return y.partition == x.partition && y.base == x.base && y.upto <= x.upto && y.after <= x.after && y.upto > x.after
		})
	}
}

// spoil makes holes of all that was on disk. What is in memory only stays, behind them. The lock is held.
func (s *Store) spoil() {
	had, streams := s.holes, s.streams
	s.holes, s.holesMoved, s.filling, s.streams, s.base = nil, true, nil, [streamEnd][]*page{}, 0
	s.next += baseRoom
	for p, c := range s.flushed {
		s.lack(hole{partition: p, after: -1, upto: c.offset, base: 1})
	}
	for _, x := range had {
		if c, has := s.flushed[x.partition]; has {
			x.after = max(x.after, c.offset)
		}
		if x.base, x.kept = x.base+baseRoom, false; x.after < x.upto {
			s.lack(x)
		}
	}
	clear(s.flushed)
	for i, all := range streams {
		for _, p := range all {
			if q := p.unkept(); q != nil {
				q.n += baseRoom
				s.streams[i] = append(s.streams[i], q)
				s.runs += q.runs
				s.soil(q)
			}
		}
	}
}

// unkept is what of a page is in memory only, or what the journal does not bring; nil is nothing.
func (p *page) unkept() *page {
	if p.raw == nil || p.filled {
		return nil
	}
	q := &page{n: p.n, stream: p.stream, raw: p.raw, from: p.from, to: p.to, sealed: true}
	if p.stream != streamEvents {
		q.raw = p.raw[p.kept:]
	}
	if each(q.raw, func(_ int, id journal.RunID, _ []byte) bool {
		q.entries++
		q.ids = append(q.ids, short(id))
		return true
	}) != nil || q.entries == 0 {
		return nil
	}
	if p.stream == streamEnds {
		q.runs = q.entries
	}
	q.sort()
	return q
}
