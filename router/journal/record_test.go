package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

func aRecord() Record {
	return Record{Kind: Completion, Level: Level, Partition: 300, Epoch: 7, Tenant: "tenant", Run: RunID{1, 2, 15: 3}, Payload: []byte("payload"), Time: time.Unix(0, -12).UTC()}
}

// FuzzDecodeRecord: no bytes make it panic, and what it reads is written again byte for byte.
func FuzzDecodeRecord(f *testing.F) {
	for _, r := range []Record{aRecord(), {Kind: Claim}, {Kind: Release, Epoch: math.MaxUint64, Time: time.Unix(0, math.MinInt64).UTC()}, {Kind: kindEnd}} {
		f.Add(r.Append(nil))
	}
	f.Add([]byte(magic + "\x02\x01\x01\x05"))
	f.Add([]byte(magic + "\x01\x01\x01\x80\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		switch {
		case errors.Is(err, ErrGarbage):
			if fmt.Sprint(r) != fmt.Sprint(Record{}) {
				t.Errorf("garbage gave %+v", r)
			}
		case errors.Is(err, ErrNewer):
			if !bytes.HasPrefix(b, []byte(magic)) {
				t.Errorf("%q is no newer version", b)
			}
		case err != nil:
			t.Error(err)
		default:
			if again := r.Append(nil); !bytes.Equal(again, b) {
				t.Errorf("read %q, wrote %q", b, again)
			}
		}
	})
}

// TestDecodeRecord tells what is foreign from what is newer.
func TestDecodeRecord(t *testing.T) {
	t.Parallel()
	r := aRecord()
	whole := r.Append(nil)
	if got, err := DecodeRecord(whole); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", r) {
		t.Errorf("%+v, %v", got, err)
	}
	without := len(r.Payload)
	for n := range len(whole) - without {
		if got, err := DecodeRecord(whole[:n]); !errors.Is(err, ErrGarbage) {
			t.Errorf("cut at %d: %+v, %v", n, got, err)
		}
	}
	for _, foreign := range []string{
		"", "hello", `{"specversion":"1.0"}`, "\x02\x01\x01\x00", "\xff\xfe\x00", "\x00\x00\x00\x00\x07avro", "\x1f\x8b\x08", "\xac\xed\x00\x05", "\xf5", "\xf5onto it",
		magic, magic + "\x00\x01\x01\x00", magic + "\x01\x00\x01\x00", magic + "\x02\x01\x01\xff", string(bytes.Repeat([]byte{0}, 3000)), string(bytes.Repeat([]byte{255}, 3000)),
	} {
		if got, err := DecodeRecord([]byte(foreign)); !errors.Is(err, ErrGarbage) {
			t.Errorf("%.20q: %+v, %v", foreign, got, err)
		}
	}
	format, kind := bytes.Clone(whole), bytes.Clone(whole)
	format[len(magic)], kind[len(magic)+1] = Format+1, byte(kindEnd)
	for _, newer := range [][]byte{format, kind, format[:len(magic)+5]} {
		if got, err := DecodeRecord(newer); !errors.Is(err, ErrNewer) || got.Partition != r.Partition {
			t.Errorf("%q: partition %d, %v", newer, got.Partition, err)
		}
	}
}

// TestRecordsInAList are read as they were written, and cut or spoilt they are refused.
func TestRecordsInAList(t *testing.T) {
	t.Parallel()
	for _, list := range [][]Record{nil, {aRecord()}, {aRecord(), {Kind: Signal, Level: 1, Time: time.Unix(0, 0).UTC()}, aRecord()}} {
		b := AppendRecords(nil, list)
		got, err := DecodeRecords(b)
		if err != nil || len(got) != len(list) || !bytes.Equal(AppendRecords(nil, got), b) {
			t.Errorf("%+v, %v", got, err)
		}
		if len(list) < 2 {
			continue
		}
		first := len(AppendRecords(nil, list[:1]))
		for n := first + 1; n < first+20; n++ {
			if got, err := DecodeRecords(b[:n]); err == nil {
				t.Errorf("cut at %d: %+v", n, got)
			}
		}
	}
}
