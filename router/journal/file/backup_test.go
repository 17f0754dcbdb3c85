package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// counted folds a partition whose records are numbers in order, with a snapshot and a trim at every so many. It returns when the tenure ends.
func counted(folded *atomic.Int64, every int, stop func(n int) bool) func(context.Context, journal.Tenure) error {
	return func(ctx context.Context, tn journal.Tenure) error {
		n := 0
		err := tn.Load(ctx, func(_ int64, r io.Reader) error {
			_, err := fmt.Fscan(r, &n)
			return err
		})
		if err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return nil // The tenure is over.
			}
			for _, r := range b.Records {
				if got := strings.TrimRight(string(r.Payload), " "); got != fmt.Sprint(n) {
					return fmt.Errorf("record %s where %d is due", got, n)
				}
				if n++; n%every == 0 {
					if err := tn.Save(ctx, r.Offset, func(w io.Writer) error { _, err := fmt.Fprint(w, n); return err }, nil); err != nil {
						return err
					}
					if err := tn.Trim(ctx, r.Offset); err != nil {
						return err
					}
				}
			}
			folded.Store(int64(n))
			if b.End && stop(n) {
				return nil
			}
		}
	}
}

// A traffic appends records, each when it is asked for the next.
type traffic struct {
	t *testing.T
	j *Journal
	n int
}

func (f *traffic) append(count int) {
	f.t.Helper()
	for range count {
		if err := f.j.Append(context.Background(), []journal.Record{record(0, fmt.Sprintf("%-200d", f.n))}); err != nil {
			f.t.Fatal(err)
		}
		f.n++
	}
}

func keep(t *testing.T, dir string) func(name string, size int64, from io.Reader) error {
	return func(name string, size int64, from io.Reader) error {
		b, err := io.ReadAll(from)
		if err == nil && int64(len(b)) != size {
			t.Errorf("%s has %d bytes, and %d were said", name, len(b), size)
		}
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
}

// TestBackupAmidTraffic: the log goes on, snapshots are saved and segments let go of meanwhile; the copy has all that was acknowledged before, and begins where
// it was begun.
func TestBackupAmidTraffic(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Partitions: 1, SegmentBytes: 8 << 10}
	j := open(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	var folded atomic.Int64
	done := make(chan error, 1)
	go func() { done <- j.Own(ctx, counted(&folded, 50, func(int) bool { return false })) }()
	load := &traffic{t: t, j: j}
	caughtUp := func() {
		for deadline := time.Now().Add(2 * time.Minute); folded.Load() < int64(load.n); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d records are folded", folded.Load(), load.n)
			}
		}
	}
	load.append(333)
	caughtUp()
	copied, before := t.TempDir(), load.n
	put, files := keep(t, copied), 0
	err := j.Backup(ctx, func() error {
		load.append(333)
		caughtUp()
		before = load.n // What came until here is in it, too.
		return nil
	}, func(name string, size int64, from io.Reader) error {
		if files++; files%2 == 0 {
			load.append(100)
			caughtUp()
		}
		return put(name, size, from)
	})
	if err != nil || files < 4 {
		t.Fatal(files, err)
	}
	load.append(200) // Now what was kept for it goes.
	caughtUp()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(j.outdated) + j.pins; n != 0 {
		t.Errorf("%d things are kept for a backup that has ended", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(o.Dir, "segment-*"))
	if err != nil || len(names) > 4 {
		t.Errorf("%d segments are left, %v", len(names), err)
	}

	o.Dir = copied
	again := open(t, o)
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	last := 0
	if err := again.Own(ctx, counted(&folded, 1<<30, func(n int) bool {
		last = n
		cancel()
		return true
	})); err != nil {
		t.Fatal(err)
	}
	if last != before {
		t.Errorf("the copy has %d records, and %d were acknowledged before", last, before)
	}
	load = &traffic{t: t, j: again, n: last}
	load.append(100) // It is a journal as any.
}

// TestBackupGivesWay to a disk that becomes nearly full: what it keeps is wanted back.
func TestBackupGivesWay(t *testing.T) {
	t.Parallel()
	j := open(t, Options{Dir: t.TempDir(), Partitions: 1, SegmentBytes: 8 << 10})
	load := &traffic{t: t, j: j}
	load.append(100)
	fill := func(string, int64, io.Reader) error {
		j.mu.Lock()
		j.full = true
		j.mu.Unlock()
		return nil
	}
	if err := j.Backup(t.Context(), func() error { return nil }, func(name string, size int64, from io.Reader) error {
		_, err := io.Copy(io.Discard, from)
		return errors.Join(err, fill(name, size, from))
	}); !errors.Is(err, errPressed) {
		t.Errorf("the disk is nearly full, and %v", err)
	}
	if j.pins != 0 {
		t.Error("something is kept for it")
	}
	broken := errors.New("the other end has gone")
	j.full = false
	if err := j.Backup(t.Context(), func() error { return nil }, func(string, int64, io.Reader) error { return broken }); !errors.Is(err, broken) || j.pins != 0 {
		t.Errorf("%v, %d pins", err, j.pins)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Backup(t.Context(), func() error { return nil }, fill); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("closed, and %v", err)
	}
}
