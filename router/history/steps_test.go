package history_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
)

var began = time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)

// branch is the end of an invocation of a map.
func branch(run journal.RunID, n int, err *lang.Error) engine.Trace {
	o := lang.Success(lang.Of(map[string]int{"result": n}))
	if err != nil {
		o = lang.Failure(err)
	}
	i := &engine.Invocation{Run: run, N: uint32(n + 1), Purpose: engine.Call, Function: "count", Path: fmt.Sprintf("map/count[%d]", n), Attempt: 1}
	queued := began.UnixNano() + int64(n)*1000
	return engine.Trace{
		Run: run, Inv: i, Path: i.Path, Attempt: 1, Input: lang.Of(n), Outcome: o, Queued: queued, Sent: queued + 1e6, Ended: queued + int64(n+2)*1e6,
	}
}

func take(h *history.Endings, offset int, traces ...engine.Trace) {
	h.Take(0, &journal.Record{Offset: int64(offset), Time: began.Add(time.Duration(offset))}, traces, nil, nil)
}

// wide fills a run of so many branches, each failures-th of which fails.
func wide(h *history.Endings, run journal.RunID, n, failures int) {
	for i := range n {
		var err *lang.Error
		if failures > 0 && i%failures == 7 {
			err = lang.Failf(lang.ClassFunction, "boom", "branch %d broke", i)
		}
		take(h, i+1, branch(run, i, err))
	}
}

// TestTimelineIsWhole: all steps of a run, in parts, in order and only its own; those that failed apart; the same from memory, from disk, and after a restart
// that folds the records again.
func TestTimelineIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := keep(t, dir)
	run, other := journal.RunID{1, 12: 7}, journal.RunID{2, 12: 7}
	const n = 5000
	fill := func() {
		for i := range n {
			var err *lang.Error
			if i%1000 == 7 {
				err = lang.Failf(lang.ClassFunction, "boom", "branch %d broke", i)
			}
			take(h, i+1, branch(run, i, err), branch(other, i, nil))
			if i%700 == 0 {
				if err := h.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	fill()
	check := func() {
		t.Helper()
		at, cursor := 0, ""
		for more := true; more; more = cursor != "" {
			part, err := h.Timeline(run, cursor, 333, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range part.Steps {
				want := branch(run, at, nil)
				if s.Path != want.Path || s.N != want.Inv.N || s.Input != want.Input || s.Ended.UnixNano() != want.Ended || s.Sent.UnixNano() != want.Sent {
					t.Fatalf("step %d: %+v", at, s)
				}
				at++
			}
			cursor = part.Next
		}
		failed, err := h.Timeline(run, "", 100, true)
		if err != nil || at != n || len(failed.Steps) != 5 || failed.Steps[1].Error.Message != "branch 1007 broke" {
			t.Errorf("%d steps, %+v, %v", at, failed, err)
		}
		sums, err := h.Summary(run)
		if err != nil || len(sums) != 1 {
			t.Fatal(sums, err)
		}
		if s := sums[0]; s.Path != "map/count[*]" || s.Succeeded != n-5 || s.Failed != 5 || s.Min.D() != 2*time.Millisecond || s.Max.D() != (n+1)*time.Millisecond || s.P50.D() != 2501*time.Millisecond {
			t.Errorf("%+v", s)
		}
		memo := 0
		if err := h.Outcomes(run, func(path string, n uint32, v lang.Value) bool {
			memo++
			return path == fmt.Sprintf("map/count[%d]", n-1) && v == lang.Of(map[string]int{"result": int(n) - 1})
		}); err != nil || memo != n-5 {
			t.Errorf("%d outcomes, %v", memo, err)
		}
	}
	check()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = keep(t, dir)
	fill() // A restart.
	check()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := keepFor(t, "").Timeline(run, "x", 1, false); err == nil {
		t.Error("a cursor that is none was taken")
	}
}

func keepFor(t *testing.T, dir string) *history.Endings {
	h := keep(t, dir)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// TestAnotherJournalIsTaken: offsets that begin again, later than those that were, are new.
func TestAnotherJournalIsTaken(t *testing.T) {
	t.Parallel()
	h := keepFor(t, "")
	run := journal.RunID{1, 12: 7}
	take(h, 100, branch(run, 1, nil))
	h.Take(0, &journal.Record{Offset: 5, Time: began.Add(time.Hour)}, []engine.Trace{branch(run, 2, nil)}, nil, nil)
	if part, err := h.Timeline(run, "", 10, false); err != nil || len(part.Steps) != 2 {
		t.Errorf("%+v, %v", part, err)
	}
}

// TestLargeValuesAreCut, and said to be; a memo does not have them.
func TestLargeValuesAreCut(t *testing.T) {
	t.Parallel()
	h, err := history.Keep(history.Options{Limits: history.Limits{Value: 100}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run := journal.RunID{1, 12: 7}
	x := branch(run, 1, nil)
	x.Input = lang.Of(strings.Repeat("x", 1000))
	x.Outcome = lang.Success(lang.Of(strings.Repeat("y", 2000)))
	take(h, 1, x)
	part, err := h.Timeline(run, "", 10, false)
	if err != nil || part.Steps[0].InputSize != 1002 || part.Steps[0].OutputSize != 2002 || part.Steps[0].Output.Size() > 110 {
		t.Errorf("%+v, %v", part, err)
	}
	if err := h.Outcomes(run, func(string, uint32, lang.Value) bool { t.Error("a part was taken for the whole"); return true }); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestDamageIsNoReasonToStop: a file that is garbage, that is cut, of another version, or that is spoiled while it is open is set aside, and what comes then
// is kept.
func TestDamageIsNoReasonToStop(t *testing.T) {
	t.Parallel()
	run := journal.RunID{1, 12: 7}
	for name, spoil := range map[string]func(t *testing.T, file string){
		"garbage": func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(strings.Repeat("garbage", 9000)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"holes": func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			for at := int64(16 << 10); at < info.Size(); at += 4 << 10 {
				if _, err := f.WriteAt([]byte(strings.Repeat("hole", 200)), at); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"flipped bits": func(t *testing.T, file string) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for at := 24 << 10; at < len(b); at += 997 {
				b[at] ^= 1
			}
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, file string) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file, info.Size()/2); err != nil {
				t.Fatal(err)
			}
		},
		"a folder": func(t *testing.T, file string) {
			if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700), os.WriteFile(filepath.Join(file, "x"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := t.TempDir()
		h := keep(t, dir)
		wide(h, run, 3000, 0)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		spoil(t, filepath.Join(dir, history.FileName))
		h = keep(t, dir)
		_, _ = h.Timeline(run, "", 100, false) // It may find out.
		for i := range 3 {
			take(h, 5001+i, branch(run, i, nil))
			if err := h.Sync(); err != nil {
				t.Fatal(name, err)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(name, err)
		}
		h = keep(t, dir)
		part, err := h.Timeline(run, "", 100, false)
		if names, _ := filepath.Glob(filepath.Join(dir, "*damaged*")); err != nil || len(part.Steps) != 3 || len(names) == 0 {
			t.Errorf("%s: %d steps, %v, %v", name, len(part.Steps), err, names)
		}
		if err := h.Close(); err != nil {
			t.Fatal(name, err)
		}
	}
}

// BenchmarkTimeline reads 100 branches of a run of 100,000, from its middle.
func BenchmarkTimeline(b *testing.B) {
	h, err := history.Keep(history.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	run := journal.RunID{1, 12: 7}
	wide(h, run, 100_000, 2703)
	if err := h.Sync(); err != nil {
		b.Fatal(err)
	}
	middle := ""
	for range 500 {
		part, err := h.Timeline(run, middle, 100, false)
		if err != nil {
			b.Fatal(err)
		}
		middle = part.Next
	}
	for name, f := range map[string]func() (*engine.Timeline, error){
		"middle": func() (*engine.Timeline, error) { return h.Timeline(run, middle, 100, false) },
		"failed": func() (*engine.Timeline, error) { return h.Timeline(run, "", 100, true) },
		"summary": func() (*engine.Timeline, error) {
			_, err := h.Summary(run)
			return nil, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTake is the cost of one branch, with what it takes to bring it to disk.
func BenchmarkTake(b *testing.B) {
	h, err := history.Keep(history.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	x, n := branch(journal.RunID{1, 12: 7}, 1, nil), 0
	for b.Loop() {
		n++
		x.Queued += 1000
		take(h, n, x)
		if n%50_000 == 0 {
			if err := h.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestBrush: which activations were at work in a time, and the calls that took longest, of pages in memory and in the file.
func TestBrush(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		h := keepFor(t, dir)
		run, other := journal.RunID{1, 12: 7}, journal.RunID{2, 12: 7}
		const n = 4000
		wide(h, run, n, 1000)
		take(h, n+1, branch(other, n+5000, nil))
		if err := h.Sync(); err != nil {
			t.Fatal(err)
		}
		// Branch i is open until i+2 ms behind what is about the begin of all.
		at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
		var got []int
		if err := h.Within(run, "map/count", at(n-8), at(n+10), func(i int) { got = append(got, i) }); err != nil || len(got) != 13 || got[0] != n-13 {
			t.Errorf("%v, %v", got, err)
		}
		for _, none := range []struct {
			group    string
			from, to time.Time
		}{{"map", at(0), at(n)}, {"map/coun", at(0), at(n)}, {"map/count", at(-10), at(-1)}, {"map/count", at(n + 10), at(n + 20)}} {
			if err := h.Within(run, none.group, none.from, none.to, func(i int) { t.Errorf("%+v: %d", none, i) }); err != nil {
				t.Error(err)
			}
		}
		slow, err := h.Slowest(run, 3)
		if err != nil || len(slow) != 3 {
			t.Fatal(slow, err)
		}
		for i, s := range slow {
			if want := fmt.Sprintf("map/count[%d]", n-1-i); s.Path != want || s.Outcome != "succeeded" {
				t.Errorf("%d: %s %s, not %s", i, s.Path, s.Outcome, want)
			}
		}
		if all, err := h.Slowest(run, 10_000); err != nil || len(all) != n {
			t.Error(len(all), err)
		}
	}
}
