package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// FuzzManifest: no bytes make it panic; what it takes has a checksum, makes sense, and is written again as what it is.
func FuzzManifest(f *testing.F) {
	m, err := newManifest(2)
	if err != nil {
		f.Fatal(err)
	}
	m.Format, m.Level = journal.Format, journal.Level
	m.Snapshots[1] = []snapshotFile{{Offset: 1 << 32, Name: "snapshot-0001-0000000100000000", Size: 7}}
	good, err := m.bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(`{"version": 1, "partitions": 1}`))
	f.Add([]byte("{\"version\": 9}\ncrc32c 00000000\n"))
	f.Add([]byte("null" + sumLine + "00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, journal.ErrNewer) && !errors.Is(err, journal.ErrOlder) {
				t.Error(err)
			}
			return
		}
		again, err := m.bytes()
		if err != nil {
			t.Fatal(err)
		}
		n, err := parseManifest(again)
		if err != nil || !reflect.DeepEqual(m, n) {
			t.Errorf("%+v is written as %+v, %v", m, n, err)
		}
	})
}

// FuzzManifestWithSum gives what is mutated the checksum that it needs, so that what is behind it is tried.
func FuzzManifestWithSum(f *testing.F) {
	m, err := newManifest(2)
	if err != nil {
		f.Fatal(err)
	}
	m.Format, m.Level = journal.Format, journal.Level
	good, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":2,"partitions":-1,"snapshots":[],"trims":[]}`))
	f.Add([]byte(`{"version":2,"partitions":1,"hash":"hmac-sha256","first":1,"snapshots":[[{"offset":-1}]],"trims":[0]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(withSum(b))
		if err != nil {
			return
		}
		if _, err := m.layout(); err == nil && (m.Partitions < 1 || m.Partitions > mostPartitions || len(m.Snapshots) != m.Partitions || len(m.Trims) != m.Partitions) {
			t.Errorf("%+v was taken", m)
		}
		m.beyond(1 << 32)
		m.fresh()
		m.reserveBytes(Options{SegmentBytes: 1 << 20})
	})
}

// FuzzSegment gives any bytes for the log's one segment: it opens or is refused as damaged, what Repair leaves can be opened and read, and what is then
// appended is read again.
func FuzzSegment(f *testing.F) {
	w := newWorld(newDisk())
	j, err := Open(small(w, Options{}))
	if err != nil {
		f.Fatal(err)
	}
	for i := range 5 {
		if err := j.Append(context.Background(), []journal.Record{record(i%crashPartitions, "some text"), record(1, "more")}); err != nil {
			f.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	good := w.disk.names[segmentName(1)].data
	manifest := bytes.Clone(w.disk.names[manifestName].data)
	f.Add(bytes.Clone(good))
	f.Add(good[:300])
	bad := bytes.Clone(good)
	bad[100] ^= 4
	f.Add(bad)
	sealed := bytes.Clone(good[:200])
	f.Add(append(sealed, seal(1, 200)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 8<<10 {
			return
		}
		w := newWorld(newDisk())
		w.disk.names[manifestName] = &inode{data: bytes.Clone(manifest), sure: bytes.Clone(manifest)}
		w.disk.names[segmentName(1)] = &inode{data: bytes.Clone(b), sure: bytes.Clone(b)}
		o := small(w, Options{})
		if err := lives(o); errors.Is(err, journal.ErrDamaged) {
			found, err := repair(t.Context(), w, o.withDefaults())
			if err != nil || len(found) == 0 {
				t.Fatalf("repaired %v, %v", found, err)
			}
			if err := lives(o); err != nil {
				t.Fatalf("after the repair of %v: %v", found, err)
			}
		} else if err != nil && !errors.Is(err, journal.ErrNewer) && !errors.Is(err, journal.ErrOlder) {
			t.Fatal(err)
		}
	})
}

// lives opens a journal, reads it, appends to it and finds what it appended.
func lives(o Options) error {
	j, err := Open(o)
	if err != nil {
		return err
	}
	defer j.Close()
	// A record of the far future makes the log's time stand at what a time can say; it is no reason not to take more.
	if err := j.Append(context.Background(), []journal.Record{record(0, "the last one")}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found := false
	err = j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		if tn.Partition() != 0 {
			return nil
		}
		defer cancel()
		if err := tn.Load(ctx, func(int64, io.Reader) error { return nil }); !errors.Is(err, journal.ErrNoSnapshot) {
			return errors.Join(errors.New("a snapshot is there"), err)
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			if n := len(b.Records); n > 0 {
				found = string(b.Records[n-1].Payload) == "the last one"
			}
			if b.End {
				return nil
			}
		}
	})
	if err == nil && !found {
		err = errors.New("what was appended is not there")
	}
	return err
}
