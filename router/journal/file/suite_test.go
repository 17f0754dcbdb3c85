package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/journaltest"
)

// harness is the suite's door to a journal in a folder of its own, on a file system with faults.
func harness(t *testing.T, o Options) journaltest.Harness {
	t.Helper()
	folder := t.TempDir()
	dir, err := openDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	fs := &faults{FS: dir, free: 1 << 40}
	o.Dir, o.FS, o.Pause = folder, fs, time.Millisecond
	next := func(t *testing.T, was journal.Journal) journal.Journal {
		t.Helper()
		if err := was.Close(); err != nil {
			t.Fatal(err)
		}
		fs.set(nil)
		again := o
		again.Partitions = 0
		return open(t, again)
	}
	j := open(t, o)
	return journaltest.Harness{
		Journal: j,
		Reopen:  next,
		FailSync: func(*testing.T) {
			var failed atomic.Bool
			fs.set(func(op, name string) error {
				if op == "sync" && strings.HasPrefix(name, "segment-") && failed.CompareAndSwap(false, true) {
					return errors.New("broken disk")
				}
				return nil
			})
		},
		Fill: func(t *testing.T, full bool) {
			fs.mu.Lock()
			fs.free = 1 << 40
			if full {
				fs.free = 10
			}
			fs.mu.Unlock()
			j.look()
		},
		Tear: func(t *testing.T, n int) (journal.Journal, bool) {
			segment, end := placeOf(offsetOf(j.segment, j.pos))
			frame := int(end - lastFrame(t, folder, segment))
			if n > frame {
				return nil, false
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			zero(t, filepath.Join(folder, segmentName(segment)), end-int64(n), n)
			return next(t, j), true
		},
		DamageSnapshot: func(t *testing.T, partition int) {
			name := filepath.Join(folder, j.manifest.Snapshots[partition][0].Name)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// lastFrame is where a segment's last record begins.
func lastFrame(t *testing.T, folder string, segment uint64) (last int64) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, segmentName(segment)))
	if err != nil {
		t.Fatal(err)
	}
	walk(b, segment, 0, func(pos int64, _ []byte) { last = pos })
	return last
}

func zero(t *testing.T, name string, at int64, n int) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, n), at)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"durability fsync": {Partitions: 4, SegmentBytes: 16 << 10, LowWater: 1 << 20},
		"durability os":    {Partitions: 4, SegmentBytes: 4 << 10, LowWater: 1 << 20, NoSync: true, HoldBytes: 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			journaltest.Run(t, func(t *testing.T) journaltest.Harness {
				h := harness(t, o)
				if o.NoSync {
					h.FailSync = nil
				}
				return h
			})
		})
	}
}
