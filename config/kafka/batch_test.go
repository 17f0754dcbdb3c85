package kafka

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// batch makes one as a broker would hand it out.
func batch(t testing.TB, base int64, attributes uint16, producer int64, records ...Record) []byte {
	t.Helper()
	encoded, err := encode(records, kafka.Compression(attributes&attributeCodec))
	if err != nil {
		t.Fatal(err)
	}
	b := encoded[4:]
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint16(b[batchAttributes:], attributes)
	stamp{producer: producer}.put(encoded)
	return b
}

func offsets(records []Record) []int64 {
	var out []int64
	for _, r := range records {
		out = append(out, r.Offset)
	}
	return out
}

func TestDecode(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_000_000)
	one := Record{Value: []byte("x"), Time: at}
	var log []byte
	log = append(log, batch(t, 10, 0, 1, one, one)...)
	log = append(log, batch(t, 12, attributeTxn, 7, one, one)...)               // aborted
	log = append(log, batch(t, 14, attributeTxn, 8, one)...)                    // committed
	log = append(log, batch(t, 15, attributeTxn|attributeControl, 7, one)...)   // 7 aborts
	log = append(log, batch(t, 16, attributeTxn|uint16(kafka.Zstd), 7, one)...) // 7 again, committed
	log = append(log, batch(t, 17, attributeLogTime, -1, Record{Time: at}, Record{Time: at.Add(time.Hour)})...)
	records, next, err := decode(log, 11, []aborted{{7, 12}}, false)
	if err != nil || next != 19 {
		t.Fatal(next, err)
	}
	got, want := offsets(records), []int64{11, 14, 16, 17, 18}
	if len(got) != len(want) {
		t.Fatal(got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatal(got)
		}
	}
	if r := records[0]; r.Appended || !r.Time.Equal(at) {
		t.Errorf("%+v", r)
	}
	for _, r := range records[3:] {
		if !r.Appended || !r.Time.Equal(at.Add(time.Hour)) {
			t.Errorf("%+v", r)
		}
	}
	for cut := 1; cut < 60; cut++ {
		if records, next, err := decode(log[:len(log)-cut], 11, []aborted{{7, 12}}, false); err != nil || next != 17 || len(records) != 3 {
			t.Fatalf("%d bytes less: %v, %d, %v", cut, offsets(records), next, err)
		}
	}
}

// TestDamage flips every bit of a batch: nothing of it is read as sound, or it is cut short.
func TestDamage(t *testing.T) {
	t.Parallel()
	whole := batch(t, 0, 0, 1, Record{Key: []byte("k"), Value: []byte("value"), Headers: []Header{{Key: "h", Value: []byte("v")}}})
	for i := batchMagic; i < len(whole); i++ {
		for bit := range 8 {
			b := append([]byte(nil), whole...)
			b[i] ^= 1 << bit
			if records, _, err := decode(b, 0, nil, false); !errors.Is(err, ErrDamaged) || len(records) > 0 {
				t.Fatalf("byte %d, bit %d: %v, %v", i, bit, records, err)
			}
		}
	}
}

// FuzzDecode gives arbitrary records under a right checksum: an error, and neither a panic nor memory without bound.
func FuzzDecode(f *testing.F) {
	f.Add(batch(f, 0, 0, 1, Record{Key: []byte("k"), Value: []byte("value"), Headers: []Header{{Key: "h", Value: []byte("v")}}})[batchFrame:])
	f.Add(batch(f, 5, uint16(kafka.Gzip), 1, Record{Value: make([]byte, 100)}, Record{})[batchFrame:])
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < batchRecords-batchFrame {
			return
		}
		b := append(make([]byte, batchFrame), body...)
		binary.BigEndian.PutUint32(b[batchLength:], uint32(len(body)))
		b[batchMagic] = 2
		binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
		records, _, err := decode(b, 0, nil, false)
		if err == nil && len(records) > 100*len(b) && binary.BigEndian.Uint16(b[batchAttributes:])&attributeCodec == 0 {
			t.Errorf("%d records of %d bytes", len(records), len(b))
		}
	})
}

func TestSequencesWrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   int32
		n    int
		want int32
	}{{0, 5, 5}, {1<<31 - 5, 5, 0}, {1<<31 - 1, 3, 2}} {
		if got := (stamp{sequence: c.at}).after(c.n); got != c.want {
			t.Errorf("%d after %d: %d", c.n, c.at, got)
		}
	}
}
