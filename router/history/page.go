package history

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/onward-router/onward/router/journal"
)

// The streams: what one asks for apart lies apart.
const (
	streamEnds   = iota // runs that have ended
	streamSteps         // what became of invocations and steps
	streamFailed        // those of them that failed for good, once more
	streamEvents        // events, and what they started
	streamEnd
)

// pageBytes is what a page holds before the next is begun. One that is read is unpacked whole.
const pageBytes = 128 << 10

// pageRoom is what a page takes in memory: the last entry goes beyond.
const pageRoom = pageBytes + pageBytes/16

// A page is a part of a stream: entries in the order in which they came, packed together on disk. Only the last of a stream grows, and it is written anew
// with what was added.
type page struct {
	n       int64 // grows over all streams: the oldest page is that of the least number
	stream  byte
	raw     []byte    // the entries; nil once they are on disk and nothing is to be added. It is only ever appended to
	packed  []byte    // in a history without a disk: the entries of a sealed page
	digest  []byte    // and its digest
	index   *endIndex // of ended runs, once somebody asked or it was sealed here; never of one that grows
	ids     []uint32
	recent  *recent // what was entered in ids lately; nil once nothing is added
	sorted  int     // so many of ids are in order, each once
	entries int
	runs    int // that have ended, of its entries
	from    int64
	to      int64
	size    int         // on disk
	kept    int         // of raw that is there, where it is not sealed
	filled  bool        // it has what a hole is filled with
	sealed  bool        // nothing is added any more
	dirty   bool        // it has what the disk has not
	lent    atomic.Bool // somebody may read raw
}

// recent remembers some of the ids that a page has, so that runs whose entries come in turns are not entered with each.
type recent [256]uint32

// has reports whether an id is remembered, and remembers it.
func (r *recent) has(x uint32) bool {
	at := &r[x%uint32(len(r))]
	was := *at
	*at = x
	return was == x && x != 0
}

// short is what a page remembers of an id: of a page without the run hardly any looks like one that has it, and what is read is compared whole.
func short(id journal.RunID) uint32 { return binary.BigEndian.Uint32(id[12:]) }

// begin begins an entry - its length, the run, the text, which the caller appends to raw - and end ends it.
func (p *page) begin(id journal.RunID, at int64) (begin int) {
	if p.entries == 0 {
		p.from, p.to = at, at
	}
	p.from, p.to = min(p.from, at), max(p.to, at)
	if x := short(id); !p.recent.has(x) {
		p.ids = append(p.ids, x)
	}
	if len(p.ids)-p.sorted > 4096 {
		p.sort()
	}
	begin = len(p.raw)
	p.raw = append(append(p.raw, 0, 0), id[:]...)
	p.entries++
	return begin
}

// end writes the length, in two bytes where it has room there.
func (p *page) end(begin int) {
	size := uint64(len(p.raw) - begin - 2)
	if size < 1<<14 {
		p.raw[begin], p.raw[begin+1] = byte(size)|0x80, byte(size>>7)
		return
	}
	var b [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(b[:], size)
	p.raw = slices.Insert(p.raw, begin, b[:n-2]...)
	copy(p.raw[begin:], b[:n])
}

func (p *page) sort() {
	if p.sorted == len(p.ids) {
		return
	}
	slices.Sort(p.ids)
	p.ids = slices.Compact(p.ids)
	p.sorted = len(p.ids)
}

// has reports whether a run may be in the page.
func (p *page) has(x uint32) bool {
	if slices.Contains(p.ids[p.sorted:], x) {
		return true
	}
	_, found := slices.BinarySearch(p.ids[:p.sorted], x)
	return found
}

func encodeIDs(ids []uint32) []byte {
	b := make([]byte, 0, 4*len(ids))
	for _, x := range ids {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func decodeIDs(b []byte) []uint32 {
	ids := make([]uint32, len(b)/4)
	for i := range ids {
		ids[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return ids
}

var errSpoiled = errors.New("a page makes no sense")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pack is the form of entries on disk: what they come to, compressed, behind a checksum. It is in room, where there is enough of it.
func pack(raw, room []byte) []byte {
	if most := 4 + s2.MaxEncodedLen(len(raw)); cap(room) < most {
		room = make([]byte, most)
	}
	room = room[:cap(room)]
	b := room[:4+len(s2.Encode(room[4:], raw))]
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

func unpack(b []byte) ([]byte, error) {
	const most = 64 << 20 // A single entry may be large.
	if len(b) < 4 || crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, errSpoiled
	}
	if n, err := s2.DecodedLen(b[4:]); err != nil || n > most {
		return nil, errSpoiled
	}
	return s2.Decode(nil, b[4:])
}

// each gives the entries of a page with their numbers, until yield returns false.
func each(raw []byte, yield func(i int, id journal.RunID, text []byte) bool) error {
	for i := 0; len(raw) > 0; i++ {
		size, n := binary.Uvarint(raw)
		var id journal.RunID
		if n <= 0 || size < uint64(len(id)) || size > uint64(len(raw)-n) {
			return errSpoiled
		}
		entry := raw[n : n+int(size)]
		copy(id[:], entry)
		if !yield(i, id, entry[len(id):]) {
			return nil
		}
		raw = raw[n+int(size):]
	}
	return nil
}
