package shard

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/onward-router/onward/router/folder"
)

// marks remember which record each partition's fold is at, and the records on which folds have died, in memory that outlives the process: a record on
// which the fold died twice, by a panic or with the whole process, is passed over.
type marks struct {
	partitions int
	b          []byte // a word a partition: the offset + 1 that is being folded; then the deaths
	close      func() error

	again []byte // of the fold that fills the history: what it is at, and what it died on

	dead atomic.Int64 // deaths that are booked: while there are none, nothing is looked up
	mu   sync.Mutex
	next int // the entry to use when all are taken
}

// A death is partition + 1, offset and count; what the router can tell apart at one time.
const (
	markSize  = 8
	deathSize = 24
	againSize = 40
	deathsMax = 256
)

// DeathsToSkip is how often a fold must have died on a record for the record to be passed over.
const DeathsToSkip = 2

// openMarks opens the marks in a folder, or makes them, and keeps other routers out of it; an empty folder, or one without room, keeps them for this process
// only. What a fold was at when a former process ended counts as a death: it may have been innocent, and then folding it once more clears it.
func openMarks(dir string, partitions int, log *slog.Logger) (*marks, error) {
	m := &marks{partitions: partitions, close: func() error { return nil }}
	dies := markSize*partitions + deathSize*deathsMax
	size := dies + againSize
	if dir == "" {
		m.b = make([]byte, size)
		m.again = m.b[dies:]
		return m, nil
	}
	if err := folder.Make(dir); err != nil {
		return nil, err
	}
	lock, err := folder.Take(dir, "MARKS")
	if err != nil {
		return nil, fmt.Errorf("crash marks: %w", err)
	}
	b, unmap, err := mapFile(lock.File(), size)
	if err == nil {
		err = folder.Sync(dir)
	}
	if err != nil { // On a full disk the router has to start all the same.
		log.Warn("no crash marks: a record that ends the whole process is not passed over until the router is started with room for them", "folder", dir, "error", err)
		b, unmap = make([]byte, size), func() error { return nil }
	}
	m.b, m.close = b, func() error {
		defer lock.Release()
		return unmap()
	}
	m.again = m.b[dies:]
	m.diedAgain()
	for i := range deathsMax {
		if at := m.entry(i); word(at, 0) != 0 {
			m.dead.Add(1)
		}
	}
	for p := range partitions {
		if folding := word(m.b, p); folding != 0 {
			m.died(p, int64(folding-1))
		}
	}
	return m, nil
}

func word(b []byte, i int) uint64       { return binary.LittleEndian.Uint64(b[8*i:]) }
func setWord(b []byte, i int, v uint64) { binary.LittleEndian.PutUint64(b[8*i:], v) }

func (m *marks) entry(i int) []byte {
	at := markSize*m.partitions + deathSize*i
	return m.b[at : at+deathSize]
}

// begin says that a fold takes the record at an offset; end, that it has: whatever was held against that record is forgotten.
func (m *marks) begin(p int, offset int64) { setWord(m.b, p, uint64(offset)+1) }

func (m *marks) end(p int, offset int64) {
	setWord(m.b, p, 0)
	if m.dead.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.find(p, offset); e != nil {
		clear(e)
		m.dead.Add(-1)
	}
}

// find returns the entry of a death; the lock is held.
func (m *marks) find(p int, offset int64) []byte {
	for i := range deathsMax {
		if e := m.entry(i); word(e, 0) == uint64(p)+1 && word(e, 1) == uint64(offset) {
			return e
		}
	}
	return nil
}

// died books that a fold died on the record at an offset.
func (m *marks) died(p int, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	setWord(m.b, p, 0)
	e := m.find(p, offset)
	for i := 0; e == nil && i < deathsMax; i++ {
		if free := m.entry(i); word(free, 0) == 0 {
			e = free
			m.dead.Add(1)
		}
	}
	if e == nil {
		e = m.entry(m.next)
		clear(e)
		m.next = (m.next + 1) % deathsMax
	}
	setWord(e, 0, uint64(p)+1)
	setWord(e, 1, uint64(offset))
	setWord(e, 2, word(e, 2)+1)
}

// skips reports whether the record at an offset is to be passed over.
func (m *marks) skips(p int, offset int64) bool {
	if m.dead.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(p, offset)
	return e != nil && word(e, 2) >= DeathsToSkip
}

// covered forgets the deaths of a partition up to an offset, which no fold will read again.
func (m *marks) covered(p int, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 0; i < deathsMax && m.dead.Load() > 0; i++ {
		if e := m.entry(i); word(e, 0) == uint64(p)+1 && int64(word(e, 1)) <= offset {
			clear(e)
			m.dead.Add(-1)
		}
	}
}

// refold says that the fold which fills the history takes a record, and refolded that it has.
func (m *marks) refold(p int, offset int64) {
	setWord(m.again, 1, uint64(offset)+1)
	setWord(m.again, 0, uint64(p)+1)
}

func (m *marks) refolded() { setWord(m.again, 0, 0) }

// diedAgain books what that fold was at when a former process ended. It is no record that decides anything: what kills twice there is left out of the
// history, and nothing else.
func (m *marks) diedAgain() {
	if word(m.again, 0) == 0 {
		return
	}
	if word(m.again, 0) != word(m.again, 2) || word(m.again, 1) != word(m.again, 3) {
		setWord(m.again, 4, 0)
	}
	setWord(m.again, 2, word(m.again, 0))
	setWord(m.again, 3, word(m.again, 1))
	setWord(m.again, 4, word(m.again, 4)+1)
	m.refolded()
}

// kills reports whether a record has ended the process twice while the history was filled.
func (m *marks) kills(p int, offset int64) bool {
	return word(m.again, 4) >= DeathsToSkip && word(m.again, 2) == uint64(p)+1 && word(m.again, 3) == uint64(offset)+1
}
