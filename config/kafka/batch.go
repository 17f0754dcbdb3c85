package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// A Record is one in a log.
type Record struct {
	Key, Value []byte // nil is none
	Headers    []Header
	// Time is the producer's; zero stands for now. Of a record that was fetched it is the log's where the topic has LogAppendTime.
	Time time.Time
	// Offset is where a fetched record lies; a producer ignores it.
	Offset int64
	// Appended says of a fetched record that Time is the log's.
	Appended bool
	// Bad is why a record could not be read, of which only offset and time are known. Only a lenient Fetch gives such.
	Bad error
}

// A Header is one of a record's headers.
type Header = protocol.Header

// A batch in format 2 (KIP-98): where its fields lie, from its first byte on.
const (
	batchLength      = 8 // of what follows the length itself
	batchMagic       = 16
	batchCRC         = 17 // of all from the attributes on
	batchAttributes  = 21
	batchLastDelta   = 23
	batchFirstTime   = 27
	batchMaxTime     = 35
	batchProducer    = 43
	batchEpoch       = 51
	batchSequence    = 53
	batchCount       = 57
	batchRecords     = 61
	batchFrame       = 12 // offset and length
	attributeCodec   = 0x07
	attributeLogTime = 0x08
	attributeTxn     = 0x10
	attributeControl = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A stamp is what makes a batch one that the broker takes once.
type stamp struct {
	producer int64
	epoch    int16
	sequence int32 // of the first record
}

// encode makes a batch of records, without a stamp. The bytes begin with their length, as RawRecordSet wants them.
func encode(records []Record, codec kafka.Compression) ([]byte, error) {
	list := make([]protocol.Record, len(records))
	for i := range records {
		r := &records[i]
		list[i] = protocol.Record{Time: r.Time, Headers: r.Headers}
		if r.Key != nil {
			list[i].Key = protocol.NewBytes(r.Key)
		}
		if r.Value != nil {
			list[i].Value = protocol.NewBytes(r.Value)
		}
	}
	var b bytes.Buffer
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(codec), Records: protocol.NewRecordReader(list...)}
	if _, err := set.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// put writes the stamp into an encoded batch.
func (s stamp) put(encoded []byte) {
	b := encoded[4:]
	binary.BigEndian.PutUint64(b[batchProducer:], uint64(s.producer))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(s.epoch))
	binary.BigEndian.PutUint32(b[batchSequence:], uint32(s.sequence))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
}

// after returns the sequence of the batch that follows n records; sequences wrap at 2^31.
func (s stamp) after(n int) int32 { return int32((int64(s.sequence) + int64(n)) & 0x7fffffff) }

// An aborted transaction: the records of its producer from an offset on, up to its marker, do not count.
type aborted struct{ producer, first int64 }

// decode reads the records from an offset on out of the batches of a fetch, and returns the offset after the last whole batch. A batch that was cut
// off at the end is left out. Markers of transactions, and the records of aborted ones, are passed over. Keys and values lie in b where a batch is not
// compressed. A lenient reader gets what is sound and what is not as it comes, and stops once it holds much.
func decode(b []byte, from int64, gone []aborted, lenient bool) (records []Record, next int64, err error) {
	next = from
	held := 0
	open := make(map[int64]bool) // producers in an aborted transaction
	gone = slices.SortedFunc(slices.Values(gone), func(x, y aborted) int { return int(min(max(x.first-y.first, -1), 1)) })
	for len(b) >= batchFrame {
		base := int64(binary.BigEndian.Uint64(b))
		size := batchFrame + int(int32(binary.BigEndian.Uint32(b[batchLength:])))
		if size < batchRecords {
			return records, next, fmt.Errorf("%w: the batch at offset %d claims %d bytes", ErrDamaged, base, size)
		}
		if size > len(b) {
			break
		}
		batch := b[:size]
		b = b[size:]
		if batch[batchMagic] != 2 {
			return records, next, fmt.Errorf("%w: the batch at offset %d has format %d", ErrDamaged, base, batch[batchMagic])
		}
		if crc32.Checksum(batch[batchAttributes:], castagnoli) != binary.BigEndian.Uint32(batch[batchCRC:]) {
			return records, next, fmt.Errorf("%w: the batch at offset %d fails its checksum", ErrDamaged, base)
		}
		last := base + int64(int32(binary.BigEndian.Uint32(batch[batchLastDelta:])))
		for len(gone) > 0 && gone[0].first <= last {
			open[gone[0].producer] = true
			gone = gone[1:]
		}
		attributes := binary.BigEndian.Uint16(batch[batchAttributes:])
		producer := int64(binary.BigEndian.Uint64(batch[batchProducer:]))
		switch {
		case attributes&attributeControl != 0:
			delete(open, producer)
		case attributes&attributeTxn != 0 && open[producer]:
		default:
			u := unpacking{out: records, batch: batch, base: base, from: from, lenient: lenient, held: held}
			err := u.run()
			records, held = u.out, u.held
			if errors.Is(err, errHeld) {
				return records, records[len(records)-1].Offset + 1, nil
			}
			if err != nil {
				err = fmt.Errorf("%w: the batch at offset %d: %w", ErrDamaged, base, err)
			}
			if err != nil && !lenient {
				return records, next, err
			}
			if err != nil && last >= from { // Its checksum is right: whoever wrote it wrote this, and it will never read otherwise.
				records = append(records, Record{Offset: last, Time: time.UnixMilli(int64(binary.BigEndian.Uint64(batch[batchMaxTime:]))), Bad: err})
			}
		}
		next = max(next, last+1)
	}
	return records, next, nil
}

// ErrDamaged is the cause where a batch does not read.
var ErrDamaged = errors.New("the log is damaged")

// An unpacking takes the records out of one batch.
type unpacking struct {
	out        []Record
	batch      []byte
	base, from int64
	lenient    bool
	held       int // bytes of records that were decompressed
}

// errHeld ends an unpacking that holds enough: the rest is read another time.
var errHeld = errors.New("enough")

func (u *unpacking) run() error {
	count := int(int32(binary.BigEndian.Uint32(u.batch[batchCount:])))
	data := u.batch[batchRecords:]
	if c := kafka.Compression(binary.BigEndian.Uint16(u.batch[batchAttributes:]) & attributeCodec); c != 0 {
		return inflate(data, c, func(r *bufio.Reader) error { return u.stream(r, count) })
	}
	c := cursor{b: data}
	for range count {
		body := cursor{b: c.take(c.varint()), err: c.err}
		if err := u.record(&body); err != nil {
			return err
		}
	}
	return nil
}

// stream reads records one by one; those that are too large, and those before from, are passed over.
func (u *unpacking) stream(r *bufio.Reader, count int) error {
	for range count {
		size, err := binary.ReadVarint(r)
		if err != nil || size < 0 {
			return errors.Join(errShort, err)
		}
		head, _ := r.Peek(int(min(size, 1+2*binary.MaxVarintLen64)))
		c := cursor{b: head}
		c.take(1)
		time, offset := c.varint(), u.base+c.varint()
		switch {
		case c.err != nil:
			return c.err
		case offset < u.from:
			if _, err := io.CopyN(io.Discard, r, size); err != nil {
				return err
			}
			continue
		case u.lenient && size > MaxRecord:
			if _, err := io.CopyN(io.Discard, r, size); err != nil {
				return err
			}
			bad := Record{Offset: offset, Bad: fmt.Errorf("a record of %d bytes, decompressed, and at most %d are read", size, MaxRecord)}
			bad.Time, bad.Appended = u.time(time)
			u.out = append(u.out, bad)
			continue
		case u.lenient && u.held > 0 && u.held+int(size) > maxHeld:
			return errHeld
		}
		b, err := take(r, size)
		if err != nil {
			return err
		}
		u.held += len(b)
		if err := u.record(&cursor{b: b}); err != nil {
			return err
		}
	}
	return nil
}

// take reads size bytes; room for more than a little is made as they come.
func take(r io.Reader, size int64) ([]byte, error) {
	if size <= 64<<10 {
		b := make([]byte, size)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(r, size))
	if err == nil && int64(len(b)) < size {
		err = errShort
	}
	return b, err
}

// time is a record's: the producer's, or the log's.
func (u *unpacking) time(delta int64) (at time.Time, appended bool) {
	if binary.BigEndian.Uint16(u.batch[batchAttributes:])&attributeLogTime != 0 {
		return time.UnixMilli(int64(binary.BigEndian.Uint64(u.batch[batchMaxTime:]))), true
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(u.batch[batchFirstTime:])) + delta), false
}

func (u *unpacking) record(body *cursor) error {
	body.take(1) // Attributes of a record: none are defined.
	var r Record
	r.Time, r.Appended = u.time(body.varint())
	r.Offset = u.base + body.varint()
	r.Key, r.Value = body.bytes(), body.bytes()
	n := body.varint()
	if n < 0 || n > int64(len(body.b)) {
		return errShort
	}
	for range n {
		if body.err != nil {
			break
		}
		r.Headers = append(r.Headers, Header{Key: string(body.bytes()), Value: body.bytes()})
	}
	if body.err != nil {
		return body.err
	}
	if r.Offset >= u.from {
		u.out = append(u.out, r)
	}
	return nil
}

var errShort = errors.New("it is cut short")

// A cursor takes a record apart. After its first error it gives nothing.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) take(n int64) []byte {
	if n < 0 || n > int64(len(c.b)) {
		c.fail()
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

// bytes reads a length and as many bytes; -1 is nil.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if n == -1 {
		return nil
	}
	return c.take(n)
}

func (c *cursor) fail() {
	c.b = nil
	if c.err == nil {
		c.err = errShort
	}
}
