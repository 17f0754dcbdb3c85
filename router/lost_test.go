package router_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/history"
)

const lostDocument = `
version: 1
triggers:
  t: { filters: [{ exact: { type: t } }], flow: { sequence: [{ wait: 1ms }, { wait: 1ms, name: last }] } }
`

// TestLostHistoryIsFilledAgain: a file that is gone after a clean stop is filled from the journal, as far as that reaches: from the snapshot before the
// newest, or the log's start. Runs, their steps, and the events that started them; and each once.
func TestLostHistoryIsFilledAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 12
	round := 0
	var last *router.Finished
	begin := func(lose bool) *running {
		if lose {
			for _, more := range []string{"", "-wal", "-shm"} {
				if err := os.Remove(filepath.Join(dir, history.FileName+more)); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
		}
		return start(t, dir, lostDocument)
	}
	work := func(r *running) {
		round++
		for i := range n {
			last = r.run("t", fmt.Sprintf("%d-%d", round, i), "1")
		}
	}
	total := func(r *running) int {
		var said router.RunList
		r.get("/v1/runs?state=succeeded&limit=1000", &said)
		return said.Total
	}
	r := begin(false)
	work(r)
	for i, want := range []int{n, 2 * n, 3 * n} {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = begin(i%2 == 0)
		if got := total(r); got < min(want, n) || got > want || i%2 == 1 && got != want {
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
