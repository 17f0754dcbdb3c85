package history_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
	"go.uber.org/goleak"
)

const victim = "ONWARD_TEST_HISTORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		write(dir)
	}
	if dir := os.Getenv(fillVictim); dir != "" {
		fillUp(dir)
	}
	goleak.VerifyTestMain(m)
}

// write fills a history until it is killed, and says how much is flushed.
func write(dir string) {
	h, err := history.Keep(history.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	for i := 0; err == nil; i++ {
		take(h, i+1, branch(journal.RunID{1, 12: 7}, i, nil))
		if i%97 == 96 {
			err = h.Sync()
			fmt.Println(i + 1)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestKilledAtAnyTime leaves a history that can be read, with all that was flushed, in order and without holes.
func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	for lines := range 4 {
		dir := t.TempDir()
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), victim+"="+dir)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := 0
		for s := bufio.NewScanner(out); said < (1+lines*7)*97 && s.Scan(); {
			if _, err := fmt.Sscan(s.Text(), &said); err != nil {
				t.Fatal(s.Text())
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // It was killed.
		h, err := history.Keep(history.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(failing{t}, nil))})
		if err != nil {
			t.Fatal(err)
		}
		part, err := h.Timeline(journal.RunID{1, 12: 7}, "", 1<<20, false)
		if err != nil || len(part.Steps) < said {
			t.Fatalf("%d steps of %d, %v", len(part.Steps), said, err)
		}
		for i, s := range part.Steps {
			if s.N != uint32(i+1) {
				t.Fatalf("step %d: %+v", i, s)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// failing is a log in which nothing is to be.
type failing struct{ *testing.T }

func (f failing) Write(b []byte) (int, error) {
	f.Errorf("%s", b)
	return len(b), nil
}

// TestHeads: lists get of each ended run what its end says, by its last one, the latest first, only of those that they choose; from memory, from disk, and after
// a restart, and all of them quickly.
func TestHeads(t *testing.T) {
	t.Parallel()
	const n = 3000
	parent := engine.Invocation{Run: journal.RunID{9}, N: 7, Path: "call", Purpose: engine.Call, Type: engine.TypeSub}
	of := func(i int) *engine.Ending {
		_, e := ending(i)
		e.Tenant, e.Trigger, e.Calls = fmt.Sprint("tenant-", i%2), fmt.Sprint("t", i%5), i
		e.Started, e.Ended = began.Add(time.Duration(i)*time.Second), began.Add(time.Duration(i)*time.Second+time.Duration(i*7%1000)*time.Millisecond)
		e.Event = lang.Of(map[string]string{"id": fmt.Sprint("e-", i), "source": "/s", "type": "x"})
		switch {
		case i%100 == 3:
			e.State, e.EventType, e.Error, e.Result, e.Input = "failed", engine.TypeFailed, lang.Failf(lang.ClassFunction, "boom", "Broke at %d", i), lang.Null, nil
			e.Redrives, e.Again = uint32(i%3), &engine.Again{Definition: "d", Numbers: 3, Told: []byte("told")}
		case i%7 == 0:
			e.Event = lang.Of(map[string]string{"id": parent.ID(), "source": "/s", "type": engine.TypeSub})
		}
		return e
	}
	dir := t.TempDir()
	for name, h := range map[string]*history.Endings{"memory": keepFor(t, ""), "disk": keep(t, dir)} {
		offset := 0
		add := func(e *engine.Ending) {
			offset++
			add(h, offset, e)
		}
		for i := range n {
			e := of(i)
			if add(e); i%100 == 3 && i < n/2 { // It is redriven, and succeeds.
				e = of(i)
				e.State, e.Error, e.Redrives, e.Again, e.Data = "succeeded", nil, 0, nil, e.Result
				add(e)
			}
			if i%1000 == 999 {
				if err := h.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		headsAre(t, name, h, n)
		if name == "disk" {
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			headsAre(t, "restart", keepFor(t, dir), n)
		}
	}
}

func headsAre(t *testing.T, name string, h *history.Endings, n int) {
	t.Helper()
	seen, failed, last, began, read := make(map[journal.RunID]bool), 0, n, time.Now(), h.Reader()
	if err := h.Heads("", nil, func(x *engine.EndHead) bool {
		e, err := read(x, nil)
		if err != nil || e == nil {
			t.Fatal(err)
		}
		kind := ""
		if e.Error != nil {
			failed++
			kind = e.Error.Type
		}
		if seen[x.Run] || e.ID != x.Run.String() || e.Tenant != x.Tenant || e.Trigger != x.Trigger || e.State != x.State || kind != x.Error || e.Started.UnixNano() != x.Started ||
			e.Ended.UnixNano() != x.Ended || e.Calls != x.Calls || e.Redrives != x.Redrives || engine.ParentOf(e.Event) != x.Parent || e.Error != nil && string(e.Again.Told) != "told" {
			t.Fatalf("%s: %+v of %+v", name, x, e)
		}
		if seen[x.Run] = true; e.State == "failed" || e.Calls%100 != 3 {
			if e.Calls >= last {
				t.Errorf("%s: run %d comes behind run %d", name, e.Calls, last)
			}
			last = e.Calls
		}
		return true
	}); err != nil || len(seen) != n || failed != n/200 {
		t.Errorf("%s: %d runs, %d failed, %v", name, len(seen), failed, err)
	}
	all, some := 0, 0
	whole := time.Since(began)
	began = time.Now()
	choose := func(tenant, trigger, state, failure string) bool {
		return trigger == "t3" && state == "failed" && failure == "boom" && tenant == "tenant-1"
	}
	if err := h.Heads("", choose, func(*engine.EndHead) bool { all++; return true }); err != nil || all != n/200 {
		t.Errorf("%s: %d are chosen, %v", name, all, err)
	}
	t.Logf("%s: %d read whole in %s, some chosen of them in %s", name, n, whole, time.Since(began))
	if err := h.Heads("", choose, func(*engine.EndHead) bool { some++; return some < 3 }); err != nil || some != 3 {
		t.Errorf("%s: %d after the third, %v", name, some, err)
	}
}

// BenchmarkHeads chooses among 100,000 ended runs.
func BenchmarkHeads(b *testing.B) {
	h, err := history.Keep(history.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	const n = 100_000
	for i := range n {
		_, e := ending(i)
		if e.Trigger = fmt.Sprint("t", i%20); i%1000 == 3 {
			e.State = "failed"
		}
		if add(h, i+1, e); i%5000 == 0 {
			if err := h.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := h.Sync(); err != nil {
		b.Fatal(err)
	}
	for name, choose := range map[string]func(tenant, trigger, state, failure string) bool{"all": nil, "failed": func(_, _, state, _ string) bool { return state == "failed" }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := h.Heads("", choose, func(*engine.EndHead) bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvent looks among 1,000,000 ended runs for the 100 that an event started: at once, or one after the other among all.
func BenchmarkEvent(b *testing.B) {
	h, err := history.Keep(history.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler), Limits: history.Limits{Runs: 2_000_000, Bytes: 4 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	const n, each = 1_000_000, 100
	for i := range n {
		_, e := ending(i)
		id := fmt.Sprint("once-", i/each)
		if i%2 == 1 {
			id = fmt.Sprint("spread-", i%(n/each))
		}
		e.Event = lang.Of(map[string]string{"id": id, "source": "/tests/of/the/history", "type": "com.example.order.placed"})
		if add(h, i+1, e); i%5000 == 0 {
			if err := h.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := h.Sync(); err != nil {
		b.Fatal(err)
	}
	for name, of := range map[string]struct {
		id   string
		runs int
	}{"at once": {"once-5000", each / 2}, "spread": {"spread-77", each}, "none": {"no event", 0}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				found := 0
				if err := h.Heads(of.id, nil, func(*engine.EndHead) bool { found++; return true }); err != nil || found != of.runs {
					b.Fatal(found, err)
				}
			}
		})
	}
}

// TestRunsOfAnEvent: an event's id is found as it is, whatever it looks like.
func TestRunsOfAnEvent(t *testing.T) {
	t.Parallel()
	h := keepFor(t, t.TempDir())
	ids := []string{"e-1", `"id":"e-1"`, `a "quoted" one`, "e-1\\", "\u00fcber <&>", "", `","id":"x`}
	for i, id := range ids {
		_, e := ending(i)
		e.Event = lang.Of(map[string]string{"id": id, "aid": `x","id":"e-1`, "source": `{"id":"e-1"}`, "zid": "e-1"})
		add(h, i+1, e)
	}
	for range 2 {
		for i, id := range ids {
			found, want, read := 0, "", h.Reader()
			if err := h.Heads(id, nil, func(x *engine.EndHead) bool {
				if e, err := read(x, nil); err == nil && engine.EventID(e.Event) == id {
					found++
					want = e.ID
				}
				return true
			}); err != nil {
				t.Fatal(err)
			}
			run, _ := ending(i)
			if id != "" && (found != 1 || want != run.String()) {
				t.Errorf("%q: %d runs, %s", id, found, want)
			}
		}
		if err := h.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEventsAreFound by id, and listed in parts from the latest.
func TestEventsAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := keep(t, dir)
	for i := range 3000 {
		e := engine.PastEvent{ID: fmt.Sprint("e-", i), Source: "/s", Type: strings.Repeat("t", 100), Came: time.Now(), Taken: []string{"matched", "unmatched", "refused"}[i%3], Note: "why"}
		h.Note(&e)
		if i == 7 {
			e.Source = "/other"
			h.Note(&e)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = keepFor(t, dir)
	if got, err := h.Event("e-7"); err != nil || len(got) != 2 || got[0].Source != "/s" || got[1].Source != "/other" {
		t.Errorf("%+v, %v", got, err)
	}
	for taken, want := range map[string]int{"": 3001, "matched": 1000, "unmatched": 1001} {
		cursor, n, last := "", 0, ""
		for more := true; more; more = cursor != "" {
			part, next, err := h.Events(cursor, 64, taken)
			if err != nil {
				t.Fatal(err)
			}
			if n += len(part); len(part) > 0 {
				last = part[len(part)-1].ID
			}
			cursor = next
		}
		if n != want || last != map[string]string{"": "e-0", "matched": "e-0", "unmatched": "e-1"}[taken] {
			t.Errorf("%q: %d of %d, last %s", taken, n, want, last)
		}
	}
}

// TestManyAtATime: folds fill it while it is written and people read; nothing is missing at the end.
func TestManyAtATime(t *testing.T) {
	t.Parallel()
	h := keepFor(t, t.TempDir())
	const partitions, n = 4, 2000
	var fill, rest sync.WaitGroup
	over := make(chan struct{})
	runOf := func(p int) journal.RunID { return journal.RunID{byte(p), 12: byte(p + 1)} }
	for p := range partitions {
		fill.Go(func() {
			for i := range n {
				h.Take(p, &journal.Record{Offset: int64(i), Time: began.Add(time.Duration(i))}, []engine.Trace{branch(runOf(p), i, nil)}, nil, nil)
			}
		})
	}
	for _, f := range []func() error{
		h.Sync,
		func() error { _, err := h.Timeline(runOf(1), "", 100, false); return err },
		func() error { _, err := h.Summary(runOf(2)); return err },
	} {
		rest.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	fill.Wait()
	close(over)
	rest.Wait()
	for p := range partitions {
		if part, err := h.Timeline(runOf(p), "", n+1, false); err != nil || len(part.Steps) != n {
			t.Errorf("%d steps of partition %d, %v", len(part.Steps), p, err)
		}
	}
}
