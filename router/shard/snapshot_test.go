package shard_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
)

// spoil saves a snapshot that is whole and makes no sense, half of the one before, at the end of the log.
func spoil(t *testing.T, j *memory.Journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		defer cancel()
		var was []byte
		err := tn.Load(ctx, func(_ int64, from io.Reader) (err error) {
			was, err = io.ReadAll(from)
			return err
		})
		if err != nil {
			return err
		}
		b, err := tn.Read(ctx)
		if err != nil {
			return err
		}
		return tn.Save(ctx, b.Next-1, func(w io.Writer) error { _, err := w.Write(was[:len(was)/2]); return err }, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotThatCannotBeRead begins behind the older of two snapshots when the newer one is whole and makes no sense, and from the log's begin when none
// does: nothing is lost, and what was answered is not asked again.
func TestSnapshotThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ good, bad int }{{2, 1}, {1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			j := memory.New(memory.Options{Partitions: 1})
			r := run(t, j, "")
			id := start(t, j, 1)
			first := r.calls()[0]
			answer(t, r, first)
			if err := r.stop(); err != nil { // It saves.
				t.Fatal(err)
			}
			for range c.good - 1 {
				if err := run(t, j, "").stop(); err != nil {
					t.Fatal(err)
				}
			}
			start(t, j, 2)
			for range c.bad {
				spoil(t, j)
			}
			r = run(t, j, "")
			if r.open() != 2 || !r.set.Has(id) {
				t.Fatalf("%+v: %d runs are open", c, r.open())
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			calls := r.calls()
			if len(calls) != 2 {
				t.Fatalf("%+v: %d calls", c, len(calls))
			}
			for _, inv := range calls {
				if inv.Run == id && inv.N == first.N {
					t.Errorf("%+v: %s is asked again", c, inv.ID())
				}
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
