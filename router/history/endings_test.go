package history_test

import (
	"fmt"
	"log/slog"
	"testing"

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
	return h
}

func ending(n int) (journal.RunID, *engine.Ending) {
	id := journal.RunID{byte(n >> 16), byte(n >> 8), byte(n)}
	return id, &engine.Ending{
		ID: id.String(), Trigger: "t", State: "succeeded", Result: lang.Of(n), Data: lang.Of(n), Event: lang.Of(map[string]string{"id": "1"}),
		EventType: "dev.onward.run.succeeded",
	}
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
	h.Add(id, e)
	h.Add(id, e) // As a restart folds it again.
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
		h.Add(ending(i))
	}
	id, failed := ending(n)
	failed.State, failed.EventType, failed.Result = "failed", "dev.onward.run.failed", lang.Value{}
	failed.Error, failed.Data = lang.Failf(lang.ClassFunction, "boom", "it broke"), lang.Of(map[string]int{"attempts": 3})
	h.Add(id, failed)
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = keep(t, dir)
	for i := range n {
		want, e := ending(i)
		if got := h.Find(want); got == nil || got.Result != e.Result || got.Data != e.Data || got.EventType != e.EventType {
			t.Fatalf("run %d: %+v", i, got)
		}
	}
	if got := h.Find(id); got == nil || *got.Error != *failed.Error || got.Data != failed.Data || got.EventType != failed.EventType {
		t.Errorf("%+v", got)
	}
	var listed []string
	if err := h.Each(func(e *engine.Ending) bool { listed = append(listed, e.ID); return len(listed) < 3 }); err != nil {
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

// TestMemoryIsBounded: without a folder the oldest ends are forgotten.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	h := keep(t, "")
	const most = 10_000
	for i := range most + 2 {
		h.Add(ending(i))
	}
	oldest, _ := ending(1)
	next, _ := ending(2)
	if h.Find(oldest) != nil || h.Find(next) == nil {
		t.Error("it is not the oldest that was forgotten")
	}
}
