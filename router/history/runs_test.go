package history_test

import (
	"bufio"
	"errors"
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

// TestRunsAreFound by all that is asked for, sorted, in parts, with how many there are.
func TestRunsAreFound(t *testing.T) {
	t.Parallel()
	h := keepFor(t, t.TempDir())
	for i := range 1000 {
		_, e := ending(i)
		e.Tenant, e.Trigger = fmt.Sprint("tenant-", i%2), fmt.Sprint("t", i%5)
		e.Started, e.Ended = began.Add(time.Duration(i)*time.Second), began.Add(time.Duration(i)*time.Second+time.Duration(i*7%1000)*time.Millisecond)
		e.Event = lang.Of(map[string]string{"id": fmt.Sprint("e-", i), "source": "/s", "type": "x"})
		if i%100 == 3 {
			e.State, e.EventType, e.Error, e.Result, e.Data = "failed", engine.TypeFailed, lang.Failf(lang.ClassFunction, "boom", "Broke at %d", i), lang.Null, lang.Of(i)
		}
		add(h, i+1, e)
	}
	for name, c := range map[string]struct {
		q     engine.RunQuery
		total int
		first string
	}{
		"all":       {engine.RunQuery{}, 1000, "e-999"},
		"oldest":    {engine.RunQuery{Up: true, Sort: "started"}, 1000, "e-0"},
		"longest":   {engine.RunQuery{Sort: "duration"}, 1000, "e-857"},
		"tenant":    {engine.RunQuery{Tenant: "tenant-0"}, 500, "e-998"},
		"trigger":   {engine.RunQuery{Trigger: "t3", Tenant: "tenant-0"}, 100, "e-998"},
		"failed":    {engine.RunQuery{State: "failed"}, 10, "e-903"},
		"boom":      {engine.RunQuery{ErrorType: "boom", Until: began.Add(500 * time.Second)}, 5, "e-403"},
		"none":      {engine.RunQuery{ErrorType: "bang"}, 0, ""},
		"since":     {engine.RunQuery{Since: began.Add(990 * time.Second)}, 10, "e-999"},
		"event":     {engine.RunQuery{Event: "e-77"}, 1, "e-77"},
		"not whole": {engine.RunQuery{Event: "e-"}, 0, ""},
		"text":      {engine.RunQuery{Text: "bROKE at 203"}, 1, "e-203"},
	} {
		seen, cursor, first := make(map[string]bool), "", ""
		for more := true; more; more = cursor != "" {
			c.q.After, c.q.Limit = cursor, 70
			found, err := h.Runs(c.q)
			if err != nil || found.Total != c.total {
				t.Fatalf("%s: %+v, %v", name, found, err)
			}
			for _, f := range found.Runs {
				if seen[f.ID] {
					t.Errorf("%s: run %s twice", name, f.ID)
				}
				if seen[f.ID] = true; first == "" {
					var attrs struct{ ID string }
					if err := f.Event.Decode(&attrs); err != nil {
						t.Fatal(err)
					}
					first = attrs.ID
				}
			}
			cursor = found.Next
		}
		if len(seen) != c.total || first != c.first {
			t.Errorf("%s: %d of %d, first %s", name, len(seen), c.total, first)
		}
	}
	if _, err := h.Runs(engine.RunQuery{After: "x"}); !errors.Is(err, engine.ErrCursor) {
		t.Error(err)
	}
	if _, err := h.Runs(engine.RunQuery{Sort: "colour"}); err == nil {
		t.Error("sorted by colour")
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
