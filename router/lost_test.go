package router_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/history"
)

const lostDocument = `
version: 1
triggers:
  t: { filters: [{ exact: { type: t } }], flow: { sequence: [{ wait: 1ms }, { wait: 1ms, name: last }] } }
`

// lose takes the history away.
func lose(t *testing.T, dir string) {
	t.Helper()
	for _, more := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(dir, history.FileName+more)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

func (r *running) ended() int {
	var said router.RunList
	r.get("/v1/runs?state=succeeded&limit=1000", &said)
	return said.Total
}

// filled waits until the history lacks nothing that the journal has; every ended run is one of at least so many then.
func (r *running) filled(least int) {
	r.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var said api.RouterList
		r.get("/v1/routers", &said)
		if n := r.ended(); said.Routers[0].Filling == 0 && n >= least {
			return
		} else if time.Now().After(deadline) {
			r.t.Fatalf("%d partitions are being filled, %d runs", said.Routers[0].Filling, n)
		}
	}
}

// TestLostHistoryIsFilledAgain: a file that is gone after a clean stop is filled from the journal, as far as that reaches: from the snapshot before the
// newest, or the log's start. Runs, their steps, and the events that started them; and each once.
func TestLostHistoryIsFilledAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 12
	round := 0
	var last *router.Finished
	begin := func(loses bool) *running {
		if loses {
			lose(t, dir)
		}
		return start(t, dir, lostDocument)
	}
	work := func(r *running) {
		round++
		for i := range n {
			last = r.run("t", fmt.Sprintf("%d-%d", round, i), "1")
		}
	}
	r := begin(false)
	work(r)
	for i, want := range []int{n, 2 * n, 3 * n} {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = begin(i%2 == 0)
		r.filled(n)
		if got := r.ended(); got < min(want, n) || got > want || i%2 == 1 && got != want {
			t.Errorf("round %d: %d runs of %d", i, got, want)
		}
		var steps router.RunSteps
		r.get("/v1/runs/"+last.ID+"/steps?limit=1000", &steps)
		if len(steps.Steps) != 3 {
			t.Errorf("round %d: %d steps: %+v", i, len(steps.Steps), steps.Steps)
		}
		var events router.Events
		r.get(fmt.Sprintf("/v1/events/%d-%d", round, n-1), &events)
		if len(events.Events) != 1 || len(events.Events[0].Runs) != 1 || events.Events[0].Runs[0].Run != last.ID {
			t.Errorf("round %d: %+v", i, events)
		}
		work(r)
	}
}

// TestHistoryDamagedUnderLoad: what was in a file that is damaged while it is open, and runs come, is there again, each run and step once; no run waits for it.
func TestHistoryDamagedUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, lostDocument)
	const n = 150
	var runs []string
	for i := range n {
		runs = append(runs, r.run("t", fmt.Sprint(i), "1").ID)
		if i != n/2 {
			continue
		}
		if err := r.Backup(t.Context(), discard{}); err != nil { // All of it is on the disk.
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, history.FileName)+"?_pragma=busy_timeout(10000)")
		if err == nil {
			_, err = db.Exec("UPDATE page SET body = zeroblob(50)")
		}
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, lostDocument)
	var said router.RunList
	r.get("/v1/runs?text=nothing", &said) // Who looks finds out.
	r.filled(n)
	if got := r.ended(); got != n {
		t.Errorf("%d runs of %d", got, n)
	}
	for _, id := range runs {
		var steps router.RunSteps
		r.get("/v1/runs/"+id+"/steps", &steps)
		if len(steps.Steps) != 3 {
			t.Fatalf("run %s: %d steps", id, len(steps.Steps))
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
