package kafka

import (
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

// maxInflated bounds what one compressed batch becomes.
const maxInflated = 512 << 20

// decode reads the records from an offset on out of the batches of a fetch, and returns the offset after the last whole batch. A batch that was cut
// off at the end is left out. Markers of transactions, and the records of aborted ones, are passed over. Keys and values lie in b where a batch is not
// compressed.
func decode(b []byte, from int64, gone []aborted) (records []Record, next int64, err error) {
	next = from
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
			if records, err = appendRecords(records, batch, base, from); err != nil {
				return records, next, fmt.Errorf("%w: the batch at offset %d: %w", ErrDamaged, base, err)
			}
		}
		next = max(next, last+1)
	}
	return records, next, nil
}

// ErrDamaged is the cause where a batch does not read.
var ErrDamaged = errors.New("the log is damaged")

// appendRecords adds the records of one batch.
func appendRecords(out []Record, batch []byte, base, from int64) ([]Record, error) {
	attributes := binary.BigEndian.Uint16(batch[batchAttributes:])
	first := int64(binary.BigEndian.Uint64(batch[batchFirstTime:]))
	latest := int64(binary.BigEndian.Uint64(batch[batchMaxTime:]))
	count := int(int32(binary.BigEndian.Uint32(batch[batchCount:])))
	data := batch[batchRecords:]
	if c := kafka.Compression(attributes & attributeCodec); c != 0 {
		codec := c.Codec()
		if codec == nil {
			return out, fmt.Errorf("unknown compression %d", c)
		}
		r := codec.NewReader(bytes.NewReader(data))
		inflated, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
		_ = r.Close() // It holds nothing but memory.
		if err != nil {
			return out, fmt.Errorf("%s: %w", codec.Name(), err)
		}
		if len(inflated) > maxInflated {
			return out, fmt.Errorf("it has more than %d bytes", maxInflated)
		}
		data = inflated
	}
	c := cursor{b: data}
	for range count {
		size := c.varint()
		body := cursor{b: c.take(size), err: c.err}
		body.take(1) // Attributes of a record: none are defined.
		at := first + body.varint()
		r := Record{Offset: base + body.varint()}
		r.Key, r.Value = body.bytes(), body.bytes()
		n := body.varint()
		if n < 0 || n > int64(len(body.b)) {
			return out, errors.New("it is cut short")
		}
		for range n {
			r.Headers = append(r.Headers, Header{Key: string(body.bytes()), Value: body.bytes()})
		}
		if body.err != nil {
			return out, body.err
		}
		if r.Appended = attributes&attributeLogTime != 0; r.Appended {
			at = latest
		}
		r.Time = time.UnixMilli(at)
		if r.Offset >= from {
			out = append(out, r)
		}
	}
	return out, nil
}

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
		c.err = errors.New("it is cut short")
	}
}
