package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/router/journal"
)

// written makes a folder with so many records in segments of 4 KiB, one a group.
func written(t *testing.T, n int) (dir string, o Options) {
	t.Helper()
	o = Options{Dir: filepath.Join(t.TempDir(), "data"), SegmentBytes: 4 << 10, LowWater: -1}
	made := o
	made.Partitions = 1
	j := open(t, made)
	for i := range n {
		if err := j.Append(context.Background(), []journal.Record{record(0, fmt.Sprintf("record %03d with some text", i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return o.Dir, o
}

// alter changes a file of a folder.
func alter(t *testing.T, dir, name string, f func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// content is all that a folder has.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func same(a, b map[string]string) bool {
	for name := range b {
		if a[name] != b[name] {
			return false
		}
	}
	return len(a) == len(b)
}

// everything reads a journal's one partition to its end.
func everything(t *testing.T, o Options) (got []string, parked []journal.Parked, err error) {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	defer j.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		if err := tn.Load(ctx, func(int64, io.Reader) error { return nil }); err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			parked = append(parked, b.Parked...)
			for _, r := range b.Records {
				got = append(got, string(r.Payload))
			}
			if b.End {
				cancel()
				return nil
			}
		}
	})
	return got, parked, err
}

// TestDamage has a log damaged in several places: it is refused with the place, the bytes and a cure that exists, Inspect finds it and changes nothing, and
// Repair, once somebody has chosen it, loses what is damaged and no more, says so for ever, and keeps what stood there.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records int
		damage  func(t *testing.T, dir string)
		place   string // that is said
		lost    int    // records; negative: at least
	}{
		"in the last segment":  {10, func(t *testing.T, dir string) { flip(t, dir, 1, 200) }, "byte 154", 1},
		"in a former segment":  {200, func(t *testing.T, dir string) { flip(t, dir, 1, 200) }, "byte 154", 1},
		"in two places":        {200, func(t *testing.T, dir string) { flip(t, dir, 1, 200); flip(t, dir, 2, 900) }, "byte 154", 2},
		"two records in a row": {200, func(t *testing.T, dir string) { flip(t, dir, 2, 10); flip(t, dir, 2, 100) }, "segment-0000000000000002, byte 0", 2},
		"the end of a segment": {200, func(t *testing.T, dir string) {
			alter(t, dir, segmentName(2), func(b []byte) []byte { clear(b[2000:]); return b })
		}, "nor the segment's end", -20},
		"a segment that was cut short": {200, func(t *testing.T, dir string) {
			alter(t, dir, segmentName(2), func(b []byte) []byte { return b[:2001] })
		}, "nor the segment's end", -20},
		"a missing segment": {200, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, segmentName(2))); err != nil {
				t.Fatal(err)
			}
		}, "segment-0000000000000002 is missing", -30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, o := written(t, c.records)
			c.damage(t, dir)
			was := content(t, dir)
			report, err := Inspect(t.Context(), o)
			if err != nil || len(report.Damage) == 0 || report.Running {
				t.Fatalf("inspected: %+v, %v", report, err)
			}
			if !same(was, content(t, dir)) {
				t.Error("Inspect changed the folder")
			}
			_, _, err = everything(t, o)
			if !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), "onward journal repair --data "+dir) {
				t.Fatalf("refused with: %v", err)
			}
			found, err := Repair(t.Context(), o)
			if err != nil || len(found) != len(report.Damage) {
				t.Fatalf("repaired %v, %v; inspected %v", found, err, report.Damage)
			}
			kept := 0
			for name := range content(t, dir) {
				if strings.HasPrefix(name, "damaged-") {
					kept++
				}
			}
			if kept == 0 && name != "a missing segment" {
				t.Error("what stood there is not kept")
			}
			for range 2 { // It is repaired for good.
				got, parked, err := everything(t, o)
				if lost := c.records - len(got); err != nil || lost != c.lost && (c.lost > 0 || lost < -c.lost) {
					t.Fatalf("%d records are lost of %d, %v", lost, c.records, err)
				}
				if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Error("records are in another order, or repeated")
				}
				if len(parked) == 0 || !strings.Contains(parked[0].Reason, "damage, passed over by onward journal repair") {
					t.Errorf("parked: %+v", parked)
				}
			}
			if report, err := Inspect(t.Context(), o); err != nil || len(report.Damage) > 0 {
				t.Errorf("inspected again: %+v, %v", report, err)
			}
			j := open(t, o)
			if err := errors.Join(j.Append(context.Background(), []journal.Record{record(0, "zz new")}), j.Close()); err != nil {
				t.Fatal(err)
			}
			if got, _, err := everything(t, o); err != nil || got[len(got)-1] != "zz new" {
				t.Errorf("after an append: %v", err)
			}
		})
	}
}

func flip(t *testing.T, dir string, segment uint64, at int) {
	alter(t, dir, segmentName(segment), func(b []byte) []byte { b[at] ^= 0x40; return b })
}

// TestDamagedEnd flips each byte of the last record, which was acknowledged: it is gone, and never without a word that says where, and how much.
func TestDamagedEnd(t *testing.T) {
	t.Parallel()
	dir, o := written(t, 3)
	at := int(lastFrame(t, dir, 1))
	frame := 0
	alter(t, dir, segmentName(1), func(b []byte) []byte {
		frame = frameHead + int(le32(b[at+4:]))
		return b
	})
	for i := range frame {
		flip(t, dir, 1, at+i)
		var log logtest.Log
		o.Log = log.Logger()
		got, _, err := everything(t, o)
		if err != nil || len(got) != 2 {
			t.Fatalf("byte %d: %d records, %v", i, len(got), err)
		}
		said := log.String()
		for _, word := range []string{"level=WARN", segmentName(1), fmt.Sprintf("position=%d", at), "bytes=", "crash", "damage"} {
			if !strings.Contains(said, word) {
				t.Fatalf("byte %d: %q is not in %q", i, word, said)
			}
		}
		if i < 4 || i > 7 {
			if word := fmt.Sprintf("bytes=%d", frame); !strings.Contains(said, word) {
				t.Fatalf("byte %d: %q is not in %q", i, word, said)
			}
		}
		flip(t, dir, 1, at+i)
	}
	var log logtest.Log
	o.Log = log.Logger()
	if got, _, err := everything(t, o); err != nil || len(got) != 3 || strings.Contains(log.String(), "WARN") {
		t.Errorf("a sound log: %d records, %v, %s", len(got), err, &log)
	}
}

// TestSoundEndsSayNothing opens logs whose last segment was used before: what an earlier life left there is no torn end.
func TestSoundEndsSayNothing(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		w := newWorld(newDisk())
		scenario(t, w, Options{}, 40+n)
		var log logtest.Log
		j := open(t, small(w, Options{Log: log.Logger()}))
		if err := j.Close(); err != nil || strings.Contains(log.String(), "WARN") {
			t.Fatalf("%d appends: %v, %s", 40+n, err, &log)
		}
	}
}

// TestManifest flips every byte of a manifest, cuts it everywhere, and gives it other versions: it is refused each time, and the folder is not touched.
func TestManifest(t *testing.T) {
	t.Parallel()
	dir, o := written(t, 3)
	flip(t, dir, 1, int(lastFrame(t, dir, 1))+20) // A torn end that an open would cut.
	name := filepath.Join(dir, manifestName)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, b []byte, of error, word string) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		was := content(t, dir)
		j, err := Open(o)
		if err == nil {
			_ = j.Close()
		}
		if !errors.Is(err, of) || !strings.Contains(fmt.Sprint(err), word) {
			t.Fatalf("%s: %v", what, err)
		}
		if !same(was, content(t, dir)) {
			t.Fatalf("%s: the folder was changed", what)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		refused(fmt.Sprint("flipped at ", i), bad, journal.ErrDamaged, "copy")
		refused(fmt.Sprint("cut at ", i), good[:i], journal.ErrDamaged, "copy")
	}
	text, _, _ := bytes.Cut(good, []byte(sumLine))
	remade := func(f func(m *manifest)) []byte {
		m := new(manifest)
		if err := json.Unmarshal(text, m); err != nil {
			t.Fatal(err)
		}
		f(m)
		b, err := m.bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	refused("of the first version, without a checksum", []byte(`{"version": 1, "partitions": 1}`), journal.ErrOlder, "empty journal")
	refused("of a later version", []byte(`{"version": 9, "partitions": "many"}`), journal.ErrNewer, "upgrade")
	refused("records in a later format", remade(func(m *manifest) { m.Format = journal.Format + 1 }), journal.ErrNewer, "upgrade")
	refused("records in an older format", remade(func(m *manifest) { m.Format = journal.Format - 1 }), journal.ErrOlder, "empty journal")
	refused("a later fold level", remade(func(m *manifest) { m.Level = journal.Level + 1 }), journal.ErrNewer, "upgrade")
	refused("a fold level before the last", remade(func(m *manifest) { m.Level = journal.Level - 2 }), journal.ErrOlder, "empty journal")
	if err := os.WriteFile(name, remade(func(m *manifest) { m.Level = journal.Level - 1 }), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	if m, err := parseManifest([]byte(content(t, dir)[manifestName])); err != nil || m.Level != journal.Level {
		t.Errorf("a folder of the level before, after an open: %+v, %v", m, err)
	}
}

// TestOlderRecords has a log with a record of another version, which a manifest does not tell: it is refused with the cure, and not read as something else.
func TestOlderRecords(t *testing.T) {
	t.Parallel()
	for format, of := range map[byte]error{journal.Format - 1: journal.ErrOlder, journal.Format + 1: journal.ErrNewer} {
		if format == 0 {
			continue // No version has it: such bytes are garbage.
		}
		dir, o := written(t, 3)
		at := lastFrame(t, dir, 1)
		alter(t, dir, segmentName(1), func(b []byte) []byte {
			b[at+frameHead+4] = format
			putHead(b[at:at+frameHead+int64(le32(b[at+4:]))], 1, at, groupOf(b[at:]), le32(b[at+4:]))
			return b
		})
		if _, _, err := everything(t, o); !errors.Is(err, of) {
			t.Errorf("format %d: %v", format, err)
		}
	}
}

// TestPrivate: nobody else may read what a journal writes, whatever the umask, and a folder that others may enter is said.
func TestPrivate(t *testing.T) {
	t.Parallel()
	w := t.TempDir()
	dir := filepath.Join(w, "a", "data")
	j := open(t, Options{Dir: dir, Partitions: 1, SegmentBytes: 4 << 10})
	ctx, cancel := context.WithCancel(context.Background())
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		defer cancel()
		if err := j.Append(ctx, []journal.Record{record(0, "a")}); err != nil {
			return err
		}
		b, err := tn.Read(ctx)
		if err != nil {
			return err
		}
		return tn.Save(ctx, b.Next-1, func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err }, nil)
	})
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	names := 0
	err = filepath.WalkDir(filepath.Join(w, "a"), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if names++; err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil || names < 5 {
		t.Errorf("%d names, %v", names, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var log logtest.Log
	if err := open(t, Options{Dir: dir, Log: log.Logger()}).Close(); err != nil || !strings.Contains(log.String(), "chmod 700 "+dir) {
		t.Errorf("an open folder: %v, %s", err, &log)
	}
}

// TestReserveForEveryStep fills the disk at each step of a snapshot in turn: the reserve makes room, and the snapshot is there.
func TestReserveForEveryStep(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"open", "write", "sync", "rename"} {
		dir, err := openDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		fs := &faults{FS: dir, free: 1 << 40}
		j := open(t, Options{FS: fs, Partitions: 1, SegmentBytes: 4 << 10, LowWater: 1})
		eventually(t, "there is a reserve", func() bool {
			j.segments.reserve.mu.Lock()
			defer j.segments.reserve.mu.Unlock()
			return j.segments.reserve.size > 0
		})
		refused := 0
		fs.set(func(op, name string) error {
			if op != step || !strings.HasPrefix(name, "snapshot-") {
				return nil
			}
			f, err := dir.Open(reserveName, os.O_RDONLY)
			if err == nil {
				refused++
				return errors.Join(&os.PathError{Op: op, Path: name, Err: syscall.ENOSPC}, f.Close())
			}
			return nil
		})
		ctx, cancel := context.WithCancel(context.Background())
		err = j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			defer cancel()
			return tn.Save(ctx, offsetOf(1, 1), func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err }, nil)
		})
		if err != nil || refused != 1 || len(j.manifest.Snapshots[0]) != 1 {
			t.Errorf("%s: %v, refused %d times, %v", step, err, refused, j.manifest.Snapshots)
		}
	}
}

// TestSnapshotIsStreamed looks at the disk while a snapshot is written: what was written is there, and not held back until the end.
func TestSnapshotIsStreamed(t *testing.T) {
	t.Parallel()
	w := newWorld(newDisk())
	j := open(t, small(w, Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		if tn.Partition() != 0 {
			return nil
		}
		defer cancel()
		piece := strings.Repeat("s", 100<<10)
		return tn.Save(ctx, offsetOf(1, 1), func(to io.Writer) error {
			for i := range 30 {
				if _, err := io.WriteString(to, piece); err != nil {
					return err
				}
				if on, written := w.size(j.snapshotName(0, offsetOf(1, 1))+".tmp"), int64(i+1)*int64(len(piece)); on < written-512<<10 {
					t.Errorf("%d bytes were written, and %d are on the disk", written, on)
				}
			}
			return nil
		}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFrameBehindZeros: whatever of a segment was never written, the frame that stands behind it is found, wherever that is, and none where there is none.
func TestFrameBehindZeros(t *testing.T) {
	t.Parallel()
	for segment := range uint64(50) {
		if at := untagged(segment); tagOf(segment, at) != 0 || tagOf(segment, at+1) == 0 {
			t.Errorf("segment %d has no tag at %d", segment, at)
		}
	}
	const size = 3 * len(blank)
	for _, body := range []int{0, 1, 100} {
		for at := 0; at+frameHead+body <= size; at += 1 + at%7 {
			b := make([]byte, size)
			putHead(b[at:at+frameHead+body], 7, int64(at), 0, uint32(body))
			if got, ok := nextFrame(b, 7, 0); !ok || got != int64(at) {
				t.Fatalf("a frame of %d bytes at %d: %d, %v", body, at, got, ok)
			}
			if got, ok := nextFrame(b, 7, int64(at)+1); ok {
				t.Fatalf("behind a frame at %d: %d", at, got)
			}
		}
	}
	// The position without a tag is one like all others, also amid zeros.
	segment := uint64(0)
	for untagged(segment) < 2*int64(len(blank)) || untagged(segment) > 1<<22 {
		segment++
	}
	at := untagged(segment)
	b := make([]byte, at+3*int64(len(blank)))
	putHead(b[at:at+frameHead], segment, at, 0, 0)
	if got, ok := nextFrame(b, segment, 0); !ok || got != at {
		t.Errorf("the frame at %d without a tag: %d, %v", at, got, ok)
	}
}
