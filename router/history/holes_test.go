package history_test

import (
	"bufio"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
)

// A play is what the records of some partitions do: each ends a step of its partition's one long run, and each tenth a run of its own.
const playEvery = 10

func longRun(partition int) journal.RunID { return journal.RunID{byte(partition + 1), 12: 7} }

func shortRun(partition, offset int) journal.RunID {
	return journal.RunID{byte(partition + 1), byte(offset >> 16), byte(offset >> 8), byte(offset), 12: byte(offset >> 8), 13: byte(offset), 14: 1}
}

// play does what a record does, told as it comes, or again; false: it is to be told later.
func play(h *history.Endings, partition, offset int, again bool) bool {
	rec := &journal.Record{Offset: int64(offset), Time: began.Add(time.Duration(offset) * time.Millisecond)}
	traces := []engine.Trace{branch(longRun(partition), offset-1, nil)}
	var ended []engine.Ended
	var endings []*engine.Ending
	if offset%playEvery == 0 {
		id := shortRun(partition, offset)
		ended = []engine.Ended{{Run: id}}
		endings = []*engine.Ending{{
			ID: id.String(), Tenant: "default", Trigger: "t", State: "succeeded", Started: began, Ended: rec.Time, Event: lang.Of(map[string]string{"id": fmt.Sprint("e", offset)}), Result: lang.Of(offset), Data: lang.Of(offset),
		}}
	}
	if again {
		return h.Again(partition, rec, false, traces, ended, endings)
	}
	h.Take(partition, rec, traces, ended, endings)
	return true
}

// refill does what a shard's filler does, of a journal that reaches to its begin; said is told of each record.
func refill(h *history.Endings, partitions int, said func()) {
	for p := range partitions {
		for {
			after, upto, lacks := h.Lacks(p)
			if !lacks {
				break
			}
			for offset := after + 1; offset <= upto; offset++ {
				for offset > 0 && !play(h, p, int(offset), true) {
					_ = h.Sync() // It is said.
				}
				said()
			}
			h.Filled(p, upto, false)
		}
	}
}

// isWhole looks whether all that records up to n have done is there, once, and in order.
func isWhole(t *testing.T, h *history.Endings, partitions, n int) {
	t.Helper()
	for p := range partitions {
		cursor, at := "", 0
		for begun := false; cursor != "" || !begun; begun = true {
			part, err := h.Timeline(longRun(p), cursor, 10_000, false)
			if err != nil {
				t.Fatal(err)
			}
			if part.Missing != 0 {
				t.Fatalf("%d are missing", part.Missing)
			}
			for _, s := range part.Steps {
				if at++; s.N != uint32(at) {
					t.Fatalf("partition %d: step %d stands where %d should", p, s.N, at)
				}
			}
			cursor = part.Next
		}
		if at != n {
			t.Fatalf("partition %d: %d steps of %d", p, at, n)
		}
	}
	seen := make(map[journal.RunID]bool)
	if err := h.Heads("", nil, func(x *engine.EndHead) bool {
		if seen[x.Run] {
			t.Fatalf("%s is there twice", x.Run)
		}
		seen[x.Run] = true
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		for offset := playEvery; offset <= n; offset += playEvery {
			if !seen[shortRun(p, offset)] {
				t.Fatalf("partition %d: the run that record %d ended is missing", p, offset)
			}
		}
	}
	if len(seen) != partitions*(n/playEvery) {
		t.Fatalf("%d runs of %d", len(seen), partitions*(n/playEvery))
	}
}

// TestWhatIsMissingIsFilled: a file that was lost, a partition that is new here, and a file that is damaged while it is open and much comes: all that the
// journal has is there again, each step and each end once and in order, also after a restart. What comes meanwhile is kept behind it.
func TestWhatIsMissingIsFilled(t *testing.T) {
	t.Parallel()
	const partitions, n = 3, 6000
	for name, f := range map[string]func(t *testing.T, dir string) *history.Endings{
		"lost": func(t *testing.T, dir string) *history.Endings {
			h := keep(t, dir)
			for p := range partitions {
				h.Begins(p, n/2)
			}
			for offset := n/2 + 1; offset <= n; offset++ {
				for p := range partitions {
					play(h, p, offset, false)
				}
			}
			return h
		},
		"from another router, twice": func(t *testing.T, dir string) *history.Endings {
			h := keep(t, dir)
			for p := range partitions {
				h.Begins(p, -1)
				for offset := 1; offset <= n; offset++ {
					if offset == n/3 {
						offset = n / 2 // Another one had it meanwhile, up to a snapshot.
						h.Begins(p, int64(offset-1))
					}
					play(h, p, offset, false)
				}
			}
			return h
		},
		"damaged under load": func(t *testing.T, dir string) *history.Endings {
			h := keep(t, dir)
			var work sync.WaitGroup
			for p := range partitions {
				h.Begins(p, -1)
				work.Go(func() {
					for offset := 1; offset <= n; offset++ {
						play(h, p, offset, false)
						if offset%500 == 0 && h.Sync() != nil {
							t.Error("no letters")
						}
						if p == 0 && offset == n/2 {
							spoil(t, filepath.Join(dir, history.FileName))
							_, _ = h.Timeline(longRun(0), "", 10, false) // It finds out.
						}
					}
				})
			}
			work.Wait()
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := f(t, dir)
			_ = h.Sync()
			if _, _, lacks := h.Lacks(0); !lacks {
				t.Fatal("it lacks nothing")
			}
			refill(h, partitions, func() {})
			isWhole(t, h, partitions, n)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			h = keepFor(t, dir)
			for p := range partitions {
				h.Begins(p, n)
				if _, _, lacks := h.Lacks(p); lacks {
					t.Error("it lacks something")
				}
			}
			isWhole(t, h, partitions, n)
		})
	}
}

// spoil makes what is in a file's pages nonsense, while a history has it open.
func spoil(t *testing.T, file string) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err == nil {
		_, err = db.Exec("UPDATE page SET body = zeroblob(100)")
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

// TestNotReached: what the journal has no more is given up, and the rest is filled.
func TestNotReached(t *testing.T) {
	t.Parallel()
	h := keepFor(t, t.TempDir())
	h.Begins(0, 1000)
	_ = h.Sync()
	h.Filled(0, 400, true)
	if after, upto, lacks := h.Lacks(0); !lacks || after != 400 || upto != 1000 {
		t.Errorf("it lacks what is behind %d, up to %d", after, upto)
	}
	refill(h, 1, func() {})
	part, err := h.Timeline(longRun(0), "", 10_000, false)
	if err != nil || len(part.Steps) != 600 || part.Steps[0].N != 401 {
		t.Errorf("%d steps, %v", len(part.Steps), err)
	}
}

// TestRedrivenBefore: the last end of a run is its last, also where an earlier one is filled in after it.
func TestRedrivenBefore(t *testing.T) {
	t.Parallel()
	h := keepFor(t, t.TempDir())
	id, failed := ending(7)
	failed.State, failed.Error = "failed", lang.Failf(lang.ClassFunction, "boom", "it broke")
	_, succeeded := ending(7)
	h.Begins(3, 10)
	add(h, 11, succeeded)
	_ = h.Sync()
	if !h.Again(3, &journal.Record{Offset: 9, Time: start}, false, nil, []engine.Ended{{Run: id}}, []*engine.Ending{failed}) {
		t.Fatal("it is full")
	}
	h.Filled(3, 10, false)
	for i := range 11_000 { // More than are kept in memory.
		_, e := ending(i + 100)
		add(h, 12+i, e)
	}
	states := ""
	if err := h.Heads("", nil, func(x *engine.EndHead) bool {
		if x.Run == id {
			states += x.State
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if f := h.Find(id); f == nil || f.State != "succeeded" || states != "succeeded" {
		t.Errorf("%+v, %s", f, states)
	}
}

const fillVictim = "ONWARD_TEST_FILL"

// fillUp fills a history until it is killed, and says how much it was told.
func fillUp(dir string) {
	h, err := history.Keep(history.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	h.Begins(0, fillLost)
	h.Begins(1, fillLost)
	for p := range 2 {
		for offset := fillLost + 1; offset <= fillLost+100; offset++ {
			play(h, p, offset, false)
		}
	}
	_ = h.Sync()
	told := 0
	refill(h, 2, func() {
		if told++; told%37 == 0 {
			_ = h.Sync()
			fmt.Println(told)
		}
	})
	_ = h.Sync()
	fmt.Println("done")
	select {}
}

const fillLost = 3000

// TestKilledAmidFilling: what was filled in is there once, and the rest is filled by the next process.
func TestKilledAmidFilling(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for life := 0; ; life++ {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), fillVictim+"="+dir)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		line := ""
		for s := bufio.NewScanner(out); s.Scan(); {
			if line = s.Text(); line == "done" || len(line) > 3 && life < 3 { // After a thousand.
				break
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // It was killed.
		if line == "done" {
			if life < 3 {
				t.Error("it was never killed amid it")
			}
			break
		}
		if line == "" {
			t.Fatal("it says nothing")
		}
	}
	h := keepFor(t, dir)
	isWhole(t, h, 2, fillLost+100)
}
