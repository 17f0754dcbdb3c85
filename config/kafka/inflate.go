package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
)

// A compressed batch is read as a stream, record by record: what it becomes in all is never held at once, whatever its producer made of it.
const (
	maxInflated = 512 << 20 // bytes that one compressed batch becomes, those that are passed over included
	maxWindow   = 32 << 20  // bytes that zstd looks back: all levels up to 20 do with less
	maxHeld     = 32 << 20  // bytes of decompressed records in one answer to a lenient reader: the rest is fetched again
	// MaxRecord is what a lenient reader takes of one record, decompressed: more than any event that there is room for.
	MaxRecord = 32 << 20
)

var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // The options are constants.
	}
	return d
}}

// inflate calls read with what data becomes.
func inflate(data []byte, c kafka.Compression, read func(*bufio.Reader) error) error {
	limited := func(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(&bounded{r, maxInflated}, 32<<10) }
	switch codec := c.Codec(); {
	case c == kafka.Zstd:
		d := decoders.Get().(*zstd.Decoder)
		defer func() {
			_ = d.Reset(nil) // It keeps nothing of data.
			decoders.Put(d)
		}()
		if err := d.Reset(bytes.NewReader(data)); err != nil {
			return err
		}
		return read(limited(d))
	case codec == nil:
		return fmt.Errorf("unknown compression %d", c)
	case c == kafka.Snappy && !isSnappy(data):
		return errors.New("snappy: a block claims more than it can hold")
	default:
		r := codec.NewReader(bytes.NewReader(data))
		defer r.Close()
		return read(limited(r))
	}
}

// A bounded reader fails once more than left bytes were read.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("decompressed, it has more than %d bytes", maxInflated)
	}
	return n, err
}

// isSnappy looks at what blocks claim before anybody makes room for it: kafka-go believes them.
func isSnappy(data []byte) bool {
	holds := func(block []byte) bool {
		n, size := binary.Uvarint(block)
		return size > 0 && n <= uint64(len(block))*64 // A copy of 64 bytes takes two at least.
	}
	const head = 16
	if len(data) < head || !bytes.HasPrefix(data, []byte("\x82SNAPPY\x00")) {
		return holds(data)
	}
	for data = data[head:]; len(data) > 0; {
		if len(data) < 4 {
			return false
		}
		n := int64(binary.BigEndian.Uint32(data))
		if n > int64(len(data)-4) || !holds(data[4:4+n]) {
			return false
		}
		data = data[4+n:]
	}
	return true
}
