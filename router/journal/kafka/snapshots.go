package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router/journal"
)

// A snapshot is a row of chunks in its partition of the snapshots topic. Those of several writers may lie between one another: each names its snapshot.
// A chunk is a head - magic, format, flags, the layout's name, the snapshot's id, the offset it was saved at, the chunk's index - and bytes; the last one
// ends with the number of chunks, the size and the SHA-256 of all. What is no chunk of this journal is passed over.
const (
	chunkMagic  = "\xf5ons"
	chunkFormat = 1
	chunkLast   = 1
	chunkHead   = len(chunkMagic) + 2 + len(layoutName{}) + 16 + 8 + 4
	chunkFoot   = 4 + 8 + sha256.Size
	chunkBytes  = 512 << 10
)

// A place is where a complete snapshot lies: from its first chunk's offset to its last one's, with what may lie between. It is the hint in a commit's
// metadata.
type place struct {
	Offset int64 `json:"snapshot"` // of the journal
	From   int64 `json:"from"`
	To     int64 `json:"to"`

	id  [16]byte
	sum [sha256.Size]byte
}

// chunks is the writer of one snapshot.
type chunks struct {
	j         *Journal
	ctx       context.Context
	partition int
	offset    int64

	id    [16]byte
	buf   []byte
	count uint32
	size  uint64
	sum   hash.Hash
	from  int64
	to    int64
}

func (w *chunks) Write(b []byte) (int, error) {
	if w.sum == nil {
		w.sum = sha256.New()
		if _, err := rand.Read(w.id[:]); err != nil {
			return 0, err
		}
	}
	w.sum.Write(b)
	w.size += uint64(len(b))
	w.buf = append(w.buf, b...)
	for len(w.buf) > chunkBytes {
		if err := w.send(w.buf[:chunkBytes], 0); err != nil {
			return 0, err
		}
		w.buf = append(w.buf[:0], w.buf[chunkBytes:]...)
	}
	return len(b), nil
}

// close sends the last chunk, which makes it count, and returns where the snapshot lies. What was sent before is read back first.
func (w *chunks) close(verify func(io.Reader) error) (place, error) {
	if _, err := w.Write(nil); err != nil { // An empty snapshot is one, too.
		return place{}, err
	}
	sent := &chunkReader{j: w.j, ctx: w.ctx, partition: w.partition, id: w.id, at: w.from, to: w.to + 1, sum: sha256.New()}
	if w.count == 0 {
		sent.to = sent.at
	}
	if err := journal.Verify(io.MultiReader(sent, io.TeeReader(bytes.NewReader(w.buf), sent.sum)), verify); err != nil {
		return place{}, fmt.Errorf("journal: the snapshot of partition %d at %d cannot be read back: %w", w.partition, w.offset, err)
	}
	if !bytes.Equal(sent.sum.Sum(nil), w.sum.Sum(nil)) {
		return place{}, fmt.Errorf("journal: the snapshot of partition %d at %d reads otherwise than it was written: %w", w.partition, w.offset, journal.ErrDamaged)
	}
	last := slices.Clone(w.buf)
	last = binary.BigEndian.AppendUint32(last, w.count+1)
	last = binary.BigEndian.AppendUint64(last, w.size)
	last = w.sum.Sum(last)
	err := w.send(last, chunkLast)
	s := place{Offset: w.offset, From: w.from, To: w.to, id: w.id}
	copy(s.sum[:], w.sum.Sum(nil))
	return s, err
}

func (w *chunks) send(body []byte, flags byte) error {
	value := make([]byte, 0, chunkHead+len(body))
	value = append(value, chunkMagic...)
	value = append(value, chunkFormat, flags)
	value = append(value, w.j.name[:]...)
	value = append(value, w.id[:]...)
	value = binary.BigEndian.AppendUint64(value, uint64(w.offset))
	value = binary.BigEndian.AppendUint32(value, w.count)
	value = append(value, body...)
	ctx, cancel := context.WithTimeout(w.ctx, w.j.o.Delivery)
	defer cancel()
	ack, err := w.j.producer.Write(ctx, w.j.topics.Snapshots, w.partition, kafka.Record{Value: value})
	if err != nil {
		return fmt.Errorf("journal: writing a snapshot: %w", err)
	}
	if ack.Offset < 0 {
		return errors.New("journal: writing a snapshot: the broker had the chunk already, and does not say where")
	}
	if w.count == 0 {
		w.from = ack.Offset
	}
	w.to = ack.Offset
	w.count++
	return nil
}

// A chunk is one, taken apart; body is without the foot.
type chunk struct {
	at     int64
	id     [16]byte
	offset int64
	index  uint32
	body   []byte
	last   bool
	count  uint32
	size   uint64
	sum    [sha256.Size]byte
}

// parseChunk takes one apart; false for what is none of the layout's.
func parseChunk(r *kafka.Record, of layoutName) (c chunk, ok bool) {
	b := r.Value
	if len(b) < chunkHead || !bytes.HasPrefix(b, append([]byte(chunkMagic), chunkFormat)) {
		return c, false
	}
	b = b[len(chunkMagic)+1:]
	c.at, c.last = r.Offset, b[0]&chunkLast != 0
	if b = b[1:]; layoutName(b[:len(of)]) != of {
		return c, false
	}
	b = b[len(of):]
	copy(c.id[:], b)
	b = b[len(c.id):]
	c.offset, c.index, c.body = int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:]), b[12:]
	if !c.last {
		return c, true
	}
	if len(c.body) < chunkFoot {
		return c, false
	}
	foot := c.body[len(c.body)-chunkFoot:]
	c.body = c.body[:len(c.body)-chunkFoot]
	c.count, c.size = binary.BigEndian.Uint32(foot), binary.BigEndian.Uint64(foot[4:])
	copy(c.sum[:], foot[12:])
	return c, true
}

// eachChunk gives the chunks of a partition between two offsets, in order, until yield returns false.
func (j *Journal) eachChunk(ctx context.Context, partition int, from, to int64, yield func(chunk) bool) error {
	for at := from; at < to; {
		found, next, err := j.fetchChunks(ctx, partition, at, to)
		if err != nil {
			return err
		}
		for _, c := range found {
			if !yield(c) {
				return nil
			}
		}
		at = next
	}
	return nil
}

// fetchChunks gets some chunks of a partition from an offset on, and where the next are.
func (j *Journal) fetchChunks(ctx context.Context, partition int, at, to int64) (found []chunk, next int64, err error) {
	f, err := j.o.Client.Fetch(ctx, kafka.Fetch{Topic: j.topics.Snapshots, Partition: partition, Offset: at, MaxBytes: fetchBytes})
	if err != nil {
		return nil, at, err
	}
	for i := range f.Records {
		if c, ok := parseChunk(&f.Records[i], j.name); ok {
			found = append(found, c)
		}
	}
	if f.Next == at && f.End <= at { // A leader that has just been elected may know of less than it has.
		return nil, at, fmt.Errorf("journal: topic %q, partition %d ends at %d now, and has ended at %d", j.topics.Snapshots, partition, f.End, to)
	}
	return found, f.Next, nil
}

// A chunkReader reads what the chunks of one snapshot hold between two offsets, a fetch at a time.
type chunkReader struct {
	j         *Journal
	ctx       context.Context
	partition int
	id        [16]byte
	at, to    int64

	next uint32
	got  []chunk
	rest []byte
	sum  hash.Hash
	err  error // of a fetch
}

func (r *chunkReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		switch {
		case len(r.got) > 0:
			c := r.got[0]
			r.got = r.got[1:]
			if c.id == r.id && c.index == r.next { // A chunk may be there twice, when somebody has copied it.
				r.rest = c.body
				r.next++
			}
		case r.err != nil:
			return 0, r.err
		case r.at >= r.to:
			return 0, io.EOF
		default:
			r.got, r.at, r.err = r.j.fetchChunks(r.ctx, r.partition, r.at, r.to)
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	r.sum.Write(b[:n])
	return n, nil
}

// scanSnapshots finds the complete snapshots between two offsets, the one of the oldest journal offset first: chunk by chunk in order, as many and with
// the sum that the last one says.
func (j *Journal) scanSnapshots(ctx context.Context, partition int, from, to int64) ([]place, error) {
	type building struct {
		place
		next uint32
		size uint64
		sum  hash.Hash
	}
	open := make(map[[16]byte]*building)
	var found []place
	err := j.eachChunk(ctx, partition, from, to, func(c chunk) bool {
		b := open[c.id]
		if c.index == 0 && b == nil {
			b = &building{place: place{Offset: c.offset, From: c.at, id: c.id}, sum: sha256.New()}
			open[c.id] = b
		}
		if b == nil || c.index != b.next || c.offset != b.Offset {
			return true
		}
		b.next++
		b.size += uint64(len(c.body))
		b.sum.Write(c.body)
		if !c.last {
			return true
		}
		delete(open, c.id)
		if copy(b.place.sum[:], b.sum.Sum(nil)); c.count == b.next && c.size == b.size && c.sum == b.place.sum {
			b.To = c.at
			found = append(found, b.place)
		}
		return true
	})
	slices.SortStableFunc(found, func(a, b place) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	return found, err
}

// readSnapshot reads one that was found. A fetch that fails says nothing of the snapshot: its error is errFetch.
func (j *Journal) readSnapshot(ctx context.Context, partition int, s place, read func(int64, io.Reader) error) error {
	r := &chunkReader{j: j, ctx: ctx, partition: partition, id: s.id, at: s.From, to: s.To + 1, sum: sha256.New()}
	err := read(s.Offset, r)
	if err == nil {
		err = journal.Verify(r, nil)
	}
	switch {
	case r.err != nil:
		return fmt.Errorf("%w: %w", errFetch, r.err)
	case err == nil && !bytes.Equal(r.sum.Sum(nil), s.sum[:]):
		return fmt.Errorf("the snapshot at %d of partition %d is not what it was when it was found: %w", s.Offset, partition, journal.ErrDamaged)
	}
	return err
}

var errFetch = errors.New("journal: reading a snapshot")
