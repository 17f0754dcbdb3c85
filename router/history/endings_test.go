package history_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
)

func keep(t *testing.T, dir string) *history.Endings {
	t.Helper()
	h, err := history.Keep(history.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		t.Cleanup(func() { _ = h.Close() }) // Nothing is written.
	}
	return h
}

func ending(n int) (journal.RunID, *engine.Ending) {
	id := journal.RunID{byte(n >> 16), byte(n >> 8), byte(n)}
	var input *lang.Value
	if n%2 == 0 {
		data := lang.Of([]int{n})
		input = &data
	}
	return id, &engine.Ending{
		ID: id.String(), Trigger: "t", State: "succeeded", Input: input, Result: lang.Of(n), Data: lang.Of(n), Event: lang.Of(map[string]string{"id": "1"}),
		EventType: "dev.onward.run.succeeded",
	}
}

// start is when the first record came.
var start = time.Now().Add(-time.Minute)

// add has a record of a partition end a run.
func add(h *history.Endings, offset int, e *engine.Ending) {
	addAt(h, offset, e, start.Add(time.Duration(offset)))
}

func addAt(h *history.Endings, offset int, e *engine.Ending, at time.Time) {
	id, _ := journal.ParseRunID(e.ID)
	h.Take(3, &journal.Record{Offset: int64(offset), Time: at}, nil, []engine.Ended{{Run: id}}, []*engine.Ending{e})
}

// TestWhoWaitsIsTold of an end that comes, of one that has come, and not of one that he no longer waits for.
func TestWhoWaitsIsTold(t *testing.T) {
	t.Parallel()
	h := keep(t, "")
	id, e := ending(1)
	_, first, stop := h.Get(id)
	defer stop()
	_, second, gone := h.Get(id)
	gone()
	add(h, 1, e)
	add(h, 1, e) // As a restart folds it again.
	if got := <-first; got != e {
		t.Errorf("%+v", got)
	}
	select {
	case got := <-second:
		t.Errorf("who left was told of %+v", got)
	default:
	}
	if now, w, _ := h.Get(id); now != e || w != nil {
		t.Errorf("asked again: %+v", now)
	}
}

// TestEndIsWholeAfterARestart: a run's end comes from disk as it was, in memory only the latest are kept, and they are listed from the latest.
func TestEndIsWholeAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := keep(t, dir)
	const n = 2500
	for i := range n {
		_, e := ending(i)
		add(h, i+1, e)
	}
	id, failed := ending(n)
	failed.State, failed.EventType, failed.Result = "failed", "dev.onward.run.failed", lang.Value{}
	failed.Error, failed.Data = lang.Failf(lang.ClassFunction, "boom", "it broke"), lang.Of(map[string]int{"attempts": 3})
	add(h, n+1, failed)
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = keep(t, dir)
	for i := 0; i < n; i += 7 { // Each is looked for in a page of its own.
		want, e := ending(i)
		if got := h.Find(want); got == nil || !reflect.DeepEqual(got.Input, e.Input) || got.Result != e.Result || got.Data != e.Data || got.EventType != e.EventType {
			t.Fatalf("run %d: %+v", i, got)
		}
	}
	if got := h.Find(id); got == nil || *got.Error != *failed.Error || got.Data != failed.Data || got.EventType != failed.EventType {
		t.Errorf("%+v", got)
	}
	var listed []string
	if err := h.Heads("", nil, func(x *engine.EndHead) bool { listed = append(listed, x.Run.String()); return len(listed) < 3 }); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 3 {
		x, _ := ending(n - i)
		want = append(want, x.String())
	}
	if fmt.Sprint(listed) != fmt.Sprint(want) {
		t.Errorf("%v; want %v", listed, want)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestLatestStayOldestGo: what is kept of ended runs is bounded by number, size and age, on disk and in memory; the latest stay.
func TestLatestStayOldestGo(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]history.Limits{"number": {Runs: 1000}, "size": {Bytes: 200_000}, "age": {Age: time.Hour}} {
		for _, dir := range []string{"", t.TempDir()} {
			h, err := history.Keep(history.Options{Dir: dir, Limits: l, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			const n = 12_000 // More than are kept in memory for those who wait.
			for i := range n {
				_, e := ending(i)
				e.Data = lang.Of(fmt.Sprintf("%x", sha256.Sum256([]byte(e.ID))))
				e.Result = e.Data
				at := time.Now().Add(-2 * time.Hour)
				if i > n-100 {
					at = time.Now()
				}
				addAt(h, i+1, e, at)
				if i%1000 == 0 || i == n-1 {
					if err := h.Sync(); err != nil {
						t.Fatal(err)
					}
				}
			}
			kept := 0
			if err := h.Heads("", nil, func(*engine.EndHead) bool { kept++; return true }); err != nil {
				t.Fatal(err)
			}
			oldest, _ := ending(0)
			latest, _ := ending(n - 1)
			if kept < 100 || kept > 10_000 || h.Find(oldest) != nil || h.Find(latest) == nil {
				t.Errorf("%s in %q: %d are kept", name, dir, kept)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestFileShrinks: a file that has more than it may, since the limits were lowered, gives what it has no more back to the disk.
func TestFileShrinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, history.FileName))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	h := keep(t, dir)
	noise := make([]byte, 8<<10)
	for i := range 1500 {
		_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(noise)
		_, e := ending(i)
		e.Result = lang.Of(fmt.Sprintf("%x", noise))
		if add(h, i+1, e); i%100 == 99 {
			if err := h.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	was := size()
	h, err := history.Keep(history.Options{Dir: dir, Limits: history.Limits{Bytes: 1 << 20}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		_, e := ending(5000 + i)
		add(h, 5000+i, e)
		if err := h.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if is := size(); was < 10<<20 || is > was/2 {
		t.Errorf("the file has %d bytes, of %d", is, was)
	}
	kept := 0
	h = keepFor(t, dir)
	if err := h.Heads("", nil, func(*engine.EndHead) bool { kept++; return true }); err != nil || kept < 20 {
		t.Errorf("%d runs, %v", kept, err)
	}
}
