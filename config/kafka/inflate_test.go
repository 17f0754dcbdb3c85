package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
)

// packed makes a batch of bytes that are no records, under a right checksum.
func packed(t testing.TB, base int64, codec kafka.Compression, data []byte) []byte {
	b := batch(t, base, 0, 1, Record{Value: []byte("x")})[:batchRecords]
	b = append(b[:len(b):len(b)], data...)
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchFrame))
	binary.BigEndian.PutUint16(b[batchAttributes:], uint16(codec))
	stamp{producer: 1}.put(append(make([]byte, 4), b...))
	out := append(make([]byte, 4), b...)
	stamp{producer: 1}.put(out)
	return out[4:]
}

// TestLargeRecords: what a record becomes is bounded while it is being read, and what is behind it is read.
func TestLargeRecords(t *testing.T) {
	zeros := make([]byte, 100<<20)
	var log []byte
	for i, codec := range []kafka.Compression{kafka.Zstd, kafka.Gzip, kafka.Lz4} {
		log = append(log, batch(t, int64(10*i), uint16(codec), 1, Record{Value: []byte("before")}, Record{Value: zeros}, Record{Value: []byte("behind")})...)
	}
	zeros = nil
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	records, next, err := decode(log, 0, nil, true)
	runtime.ReadMemStats(&after)
	if grew := after.TotalAlloc - before.TotalAlloc; err != nil || next != 23 || grew > 16<<20+pooled {
		t.Errorf("next %d, %v; %d bytes were made room for", next, err, grew)
	}
	var got []string
	for _, r := range records {
		text := string(r.Value)
		if r.Bad != nil {
			text = r.Bad.Error()
		}
		got = append(got, fmt.Sprintf("%d %s", r.Offset, text))
	}
	large := "a record of 104857609 bytes, decompressed, and at most 33554432 are read"
	if want := []string{"0 before", "1 " + large, "2 behind", "10 before", "11 " + large, "12 behind", "20 before", "21 " + large, "22 behind"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q; want %q", got, want)
	}
	ours := batch(t, 0, uint16(kafka.Zstd), 1, Record{Value: make([]byte, MaxRecord)})
	if records, _, err := decode(ours, 0, nil, false); err != nil || len(records) != 1 || len(records[0].Value) != MaxRecord {
		t.Errorf("a reader of what is ours takes it whole: %d records, %v", len(records), err)
	}
}

// TestManyRecords: a batch that becomes much is read in parts.
func TestManyRecords(t *testing.T) {
	t.Parallel()
	var some []Record
	for range 100 {
		some = append(some, Record{Value: make([]byte, 1<<20)})
	}
	log := batch(t, 0, uint16(kafka.Zstd), 1, some...)
	var offsets []int64
	parts := 0
	for at := int64(0); at < 100; parts++ {
		records, next, err := decode(log, at, nil, true)
		if err != nil || next <= at || len(records) > 32 {
			t.Fatalf("%d records, %d after %d, %v", len(records), next, at, err)
		}
		for _, r := range records {
			offsets = append(offsets, r.Offset)
		}
		at = next
	}
	if len(offsets) != 100 || offsets[99] != 99 || parts < 3 {
		t.Errorf("%d parts: %v", parts, offsets)
	}
}

// TestUnreadableBatches: who reads what others write learns of it and goes on; who reads his own stops.
func TestUnreadableBatches(t *testing.T) {
	t.Parallel()
	enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20))
	if err != nil {
		t.Fatal(err)
	}
	var wide bytes.Buffer
	enc.Reset(&wide)
	if _, err := enc.Write(make([]byte, 200<<20)); err != nil {
		t.Fatal(err)
	}
	_ = enc.Close()
	xerial := "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
	for name, c := range map[string]struct {
		codec kafka.Compression
		data  string
		want  string
	}{
		"no zstd": {kafka.Zstd, "garbage", "magic"}, "no gzip": {kafka.Gzip, "garbage", ""}, "no lz4": {kafka.Lz4, "garbage", ""}, "unknown": {7, "x", "unknown compression 7"},
		"a window of 128 MiB": {kafka.Zstd, wide.String(), "window size"}, "snappy, 4 GiB": {kafka.Snappy, "\xff\xff\xff\xff\x0f\x00", "more than it can hold"},
		"xerial, 4 GiB a frame": {kafka.Snappy, xerial + "\xff\xff\xff\xff", "more than it can hold"}, "xerial, 4 GiB in a frame": {kafka.Snappy, xerial + "\x00\x00\x00\x06\xff\xff\xff\xff\x0f\x00", "more than it can hold"},
		"a record of 2^60 bytes": {0, "\x80\x80\x80\x80\x80\x80\x80\x80\x20", "cut short"}, "2^20 headers": {0, "\x10\x00\x00\x00\x01\x01\x80\x80\x40", "cut short"},
	} {
		log := append(packed(t, 5, c.codec, []byte(c.data)), batch(t, 6, 0, 1, Record{Value: []byte("good")})...)
		records, next, err := decode(log, 0, nil, true)
		if err != nil || next != 7 || len(records) != 2 || !errors.Is(records[0].Bad, ErrDamaged) || records[0].Offset != 5 || !strings.Contains(records[0].Bad.Error(), c.want) || string(records[1].Value) != "good" {
			t.Errorf("%s: %+v, %d, %v", name, records, next, err)
		}
		if records, _, err := decode(log, 0, nil, false); !errors.Is(err, ErrDamaged) || len(records) > 0 {
			t.Errorf("%s, ours: %v, %v", name, records, err)
		}
	}
}
