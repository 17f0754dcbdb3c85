package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// A Fetch asks for the records of a partition from an offset on.
type Fetch struct {
	Topic     string
	Partition int
	Offset    int64
	MaxBytes  int           // of one answer, about: a batch is never cut; default 1 MiB
	MaxWait   time.Duration // for a record to come; default 500 ms
	// Lenient is for topics that others write: records and batches that cannot be read, or are too large to, come as Bad and hold nothing up. Without it
	// they are damage.
	Lenient bool
}

// A Fetched is what a partition holds from an offset on. Records of transactions that were aborted, and of those still open, are not in it.
type Fetched struct {
	Records []Record // may be empty though Next has moved: markers, and what compaction or an abort removed
	Next    int64    // where to go on
	End     int64    // offset after the last record, whether or not its transaction has ended (the high watermark)
	Start   int64    // offset of the first record that is left
}

// An OutOfRange says that an offset is not, or no longer, in its partition: records before First were removed, or the topic is another one. Nothing is
// ever skipped for the caller; it is his to decide.
type OutOfRange struct {
	Topic               string
	Partition           int
	Offset, First, Last int64 // Last is the offset after the last record
}

// Error names the range.
func (e *OutOfRange) Error() string {
	return fmt.Sprintf("offset %d is out of range: partition %d of %q holds %d to %d", e.Offset, e.Partition, e.Topic, e.First, e.Last)
}

// Fetch returns what is there, or waits for it until MaxWait is over. The error is *OutOfRange, an *Error, or that of a damaged log (errors.Is
// ErrDamaged).
func (c *Client) Fetch(ctx context.Context, f Fetch) (*Fetched, error) {
	if f.MaxBytes == 0 {
		f.MaxBytes = 1 << 20
	}
	if f.MaxWait == 0 {
		f.MaxWait = 500 * time.Millisecond
	}
	p := patience{c: c, topic: f.Topic, doing: fmt.Sprintf("fetch from %q, partition %d", f.Topic, f.Partition)}
	defer p.end()
	for {
		out, err := c.fetchOnce(ctx, f)
		if err == nil {
			p.well = true
			return out, nil
		}
		if errors.Is(err, kafka.OffsetOutOfRange) && ctx.Err() == nil {
			first, last, e := c.Range(ctx, f.Topic, f.Partition)
			if e != nil {
				return nil, e
			}
			if f.Offset < first || f.Offset > last {
				return nil, &OutOfRange{f.Topic, f.Partition, f.Offset, first, last}
			}
		}
		if errors.Is(err, ErrDamaged) {
			return nil, &Error{Doing: p.doing, Err: err, Cure: "another replica may be whole; else choose where to go on", Final: true}
		}
		if err := p.after(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (c *Client) fetchOnce(ctx context.Context, f Fetch) (*Fetched, error) {
	m, err := c.call(ctx, f.MaxWait, &fetchRequest{Fetch: f, client: c.id})
	if err != nil {
		return nil, err
	}
	r := m.(*fetchResponse)
	if err := answer(r.code, ""); err != nil {
		return nil, err
	}
	out := &Fetched{End: r.end, Start: r.start}
	out.Records, out.Next, err = decode(r.batches, f.Offset, r.gone, f.Lenient)
	if err == nil && out.Next == f.Offset && len(r.batches) > 0 {
		err = fmt.Errorf("%w: %d bytes at offset %d hold no whole batch", ErrDamaged, len(r.batches), f.Offset)
	}
	return out, err
}

// fetchVersion is the version of the protocol that is spoken: brokers have it from Kafka 2.3 on, and 4.x still.
const fetchVersion = 11

// A fetchRequest goes past kafka-go's encoding: its decoding of the answer drops what matters here. The transport routes it to the partition's leader.
type fetchRequest struct {
	Fetch
	client    string
	supported int16
}

type fetchResponse struct {
	code       int16
	end, start int64
	gone       []aborted
	batches    []byte
}

func (*fetchRequest) ApiKey() protocol.ApiKey  { return protocol.Fetch }
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker routes the request.
func (r *fetchRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	like := fetch.Request{Topics: []fetch.RequestTopic{{Topic: r.Topic, Partitions: []fetch.RequestPartition{{Partition: int32(r.Partition)}}}}}
	return like.Broker(cluster)
}

// Required takes the request out of kafka-go's hands.
func (r *fetchRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.supported = versions[protocol.Fetch]
	return true
}

// RawExchange sends the request and reads the answer.
func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if r.supported < fetchVersion {
		return nil, kafka.UnsupportedVersion
	}
	id := rand.Uint32()
	if _, err := rw.Write(r.encode(id)); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:]))) - 4
	if size < 0 || size > maxInflated || binary.BigEndian.Uint32(head[4:]) != id {
		return nil, errors.New("an answer to something else came")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(rw, body); err != nil {
		return nil, err
	}
	return parseFetch(body)
}

func (r *fetchRequest) encode(id uint32) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	u32, u64 := binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	const none = 1<<32 - 1 // -1
	b := make([]byte, 4, 128)
	b = binary.BigEndian.AppendUint16(b, uint16(protocol.Fetch))
	b = binary.BigEndian.AppendUint16(b, fetchVersion)
	b = u32(b, id)
	b = text(b, r.client)
	b = u32(b, none) // replica
	b = u32(b, uint32(r.MaxWait.Milliseconds()))
	b = u32(b, 1)                        // bytes at least
	b = u32(b, uint32(r.MaxBytes+1<<20)) // of all: the partition's is the one that counts
	b = append(b, 1)                     // read committed
	b = u32(b, 0)                        // session
	b = u32(b, none)                     // no session
	b = u32(b, 1)                        // topics
	b = text(b, r.Topic)                 //
	b = u32(b, 1)                        // partitions
	b = u32(b, uint32(r.Partition))
	b = u32(b, none) // leader epoch
	b = u64(b, uint64(r.Offset))
	b = u64(b, 1<<64-1) // a follower's log start
	b = u32(b, uint32(r.MaxBytes))
	b = u32(b, 0) // forgotten topics
	b = text(b, "")
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// parseFetch reads the answer for one partition.
func parseFetch(b []byte) (*fetchResponse, error) {
	c := cursor{b: b}
	u16 := func() int16 { return int16(binary.BigEndian.Uint16(pad(c.take(2), 2))) }
	u32 := func() int32 { return int32(binary.BigEndian.Uint32(pad(c.take(4), 4))) }
	u64 := func() int64 { return int64(binary.BigEndian.Uint64(pad(c.take(8), 8))) }
	u32() // throttled
	if code := u16(); code != 0 {
		return &fetchResponse{code: code}, nil
	}
	u32() // session
	if u32() != 1 {
		return nil, errors.New("the answer to a fetch names no topic")
	}
	c.take(int64(u16()))
	if u32() != 1 {
		return nil, errors.New("the answer to a fetch names no partition")
	}
	u32() // partition
	r := &fetchResponse{code: u16(), end: u64()}
	u64() // last stable offset: the batches end there
	r.start = u64()
	for range max(u32(), 0) {
		if c.err != nil {
			break
		}
		r.gone = append(r.gone, aborted{u64(), u64()})
	}
	u32() // a replica to prefer
	if n := u32(); n > 0 {
		r.batches = c.take(int64(n))
	}
	return r, c.err
}

// pad gives zeros for what a cursor could not give.
func pad(b []byte, n int) []byte {
	if len(b) < n {
		return make([]byte, n)
	}
	return b
}
