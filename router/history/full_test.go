package history

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestDiskIsFull: what is new waits in memory, so much and no more; ends come before steps; what was let go of is counted, and said to who asks; and once
// there is room the rest is written.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h, err := Keep(Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	h.store.disk.db.SetMaxOpenConns(1)
	pages := func(text string) {
		if _, err := h.store.disk.db.Exec("PRAGMA max_page_count = " + text); err != nil {
			t.Fatal(err)
		}
	}
	pages("4")
	run, other, now := journal.RunID{1, 12: 9}, journal.RunID{2, 12: 9}, time.Now()
	noise := make([]byte, 6<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	large := lang.Of(hex.EncodeToString(noise))
	offset := 0
	take := func(n int) {
		for range n {
			offset++
			rec := journal.Record{Offset: int64(offset), Time: now.Add(time.Duration(offset))}
			i := &engine.Invocation{Run: run, N: uint32(offset), Purpose: engine.Call, Path: "p", Attempt: 1}
			h.Take(0, &rec, []engine.Trace{{Run: run, Inv: i, Path: "p", Attempt: 1, Outcome: lang.Success(large), Queued: now.UnixNano(), Ended: rec.Time.UnixNano()}}, nil, nil)
		}
	}
	take(100)
	for range 3 {
		_ = h.Sync() // It is said.
	}
	const n = 8000
	take(n)
	e := engine.Ending{ID: other.String(), State: "succeeded", Event: lang.Null, Result: lang.Null}
	h.Take(1, &journal.Record{Time: now}, nil, []engine.Ended{{Run: other}}, []*engine.Ending{&e})
	if w := h.store.waiting; w > waitingMost+1<<20 {
		t.Errorf("%d bytes wait", w)
	}
	pages("1000000")
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	take(1)
	part, err := h.Timeline(run, "", 1<<20, false)
	if err != nil || part.Missing == 0 || part.Missing+len(part.Steps) != n+101 {
		t.Errorf("%d steps, %d missing, %v", len(part.Steps), part.Missing, err)
	}
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	after, upto, lacks := h.Lacks(0)
	if !lacks {
		t.Fatal("it lacks nothing")
	}
	for at := after + 1; at <= upto; at++ { // As the journal brings it, and what lies before, too.
		i := &engine.Invocation{Run: run, N: uint32(at), Purpose: engine.Call, Path: "p", Attempt: 1}
		rec := journal.Record{Offset: at, Time: now.Add(time.Duration(at))}
		e := engine.Ending{ID: run.String(), State: "succeeded", Event: lang.Null, Result: lang.Null}
		for !h.Again(0, &rec, false, []engine.Trace{{Run: run, Inv: i, Path: "p", Attempt: 1, Outcome: lang.Success(large), Queued: now.UnixNano(), Ended: rec.Time.UnixNano()}}, []engine.Ended{{Run: run}}, []*engine.Ending{&e}) {
			if err := h.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Filled(0, upto, false)
	part, err = h.Timeline(run, "", 1<<20, false)
	if err != nil || part.Missing != 0 || len(part.Steps) != n+101 {
		t.Errorf("%d steps, %d missing, %v", len(part.Steps), part.Missing, err)
	}
	for i, s := range part.Steps {
		if s.N != uint32(i+1) {
			t.Fatalf("step %d stands where %d should", s.N, i+1)
		}
	}
	if f, err := h.store.ending(run); err != nil || f != nil {
		t.Errorf("an end was filled in where only steps are missing: %+v, %v", f, err)
	}
	if f, err := h.store.ending(other); err != nil || f == nil {
		t.Errorf("%+v, %v", f, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if strings.Count(log.String(), "the history cannot be written") != 1 || strings.Count(log.String(), "the history is written again") != 1 {
		t.Error(log.String())
	}
}
