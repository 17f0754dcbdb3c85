package router_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/prometheus/client_golang/prometheus"
)

var holdWhole = flag.Bool("hold-whole", false, "TestNoGetHoldsAFold has 100,000 open runs and one of a million branches, as make soak does")

const heldDocument = `
version: 1
functions: { work: { far: x, concurrency: 50, timeout: 600s } }
triggers:
  asks: { filters: [{ exact: { type: asks } }], flow: { sequence: [{ signal: go }] } }
  crowd: { filters: [{ exact: { type: crowd } }], flow: { map: { items: %d, window: 10000, do: { name: ask, signal: "${ 'go-' + string(index) }" } } } }
  wide: { filters: [{ exact: { type: wide } }], flow: { map: { items: %d, window: 2000, results: count, do: { function: work } } } }
`

// TestNoGetHoldsAFold: beside many open runs, one that waits for thousands of signals and one of many branches, a tenth of which have ended, no GET of the API keeps a
// fold for longer than a millisecond at a time.
func TestNoGetHoldsAFold(t *testing.T) {
	runs, waits, branches := 3000, 5000, 20_000
	if *holdWhole {
		runs, waits, branches = 100_000, 7500, 1_000_000
	}
	x := &wide{n: branches * 2} // It ends none by itself.
	done := 0
	f := &far{behave: func(s *sent) {
		x.mu.Lock()
		done++
		ends := done <= branches/10
		x.mu.Unlock()
		if ends {
			s.succeed()
		}
	}}
	reg, metrics, dir := farRegistry(f), prometheus.NewRegistry(), t.TempDir()
	j, err := file.Open(file.Options{Dir: dir, LowWater: -1, NoSync: true, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := runIt(t, router.Options{
		Set: parse(t, reg, fmt.Sprintf(heldDocument, waits, branches)), Registry: reg, Journal: j, Metrics: metrics, Dir: dir, Listen: "127.0.0.1:0", Drain: -1,
	})
	start := func(trigger, id string) journal.RunID {
		run, err := r.Start(t.Context(), trigger, startEvent(id))
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	crowd := start("crowd", "crowd")
	waiting := func(n int) {
		eventually(t, func() error {
			var said router.WaitList
			if r.get("/v1/waits?limit=1", &said); said.Total < n {
				return fmt.Errorf("%d waits", said.Total)
			}
			return nil
		})
	}
	waiting(waits)
	wide := start("wide", "wide")
	for i := range runs {
		start("asks", fmt.Sprint("asks-", i))
	}
	waiting(waits + runs)
	eventually(t, func() error {
		var said router.RunList
		if r.get("/v1/runs?limit=1", &said); said.Total != runs+2 {
			return fmt.Errorf("%d runs", said.Total)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if done < branches/10 {
			return fmt.Errorf("%d of %d branches", done, branches/10)
		}
		return nil
	})
	var worst []string
	for _, path := range r.gets() {
		for _, run := range []journal.RunID{crowd, wide} {
			if !strings.Contains(path, "{run}") && run == wide {
				continue
			}
			url := strings.NewReplacer("{run}", run.String(), "{trigger}", "wide", "{function}", "work", "{event}", "wide", "{letter}", "none", "{id}", "wide").Replace(path)
			switch {
			case strings.HasSuffix(path, "/field"), strings.HasSuffix(path, "/live"):
				url += "?step=work"
			case strings.HasSuffix(path, "/steps"):
				url += "?summary=true"
			case path == "/v1/runs":
				url += "?text=nothing&limit=10000"
			}
			least, asked := uint64(1<<62), uint64(0)
			for range 20 { // The machine may be busy: what takes long takes long each time.
				before := gathered(t, metrics, "onward_ask_seconds")
				r.drink(url)
				after := gathered(t, metrics, "onward_ask_seconds")
				asked = after.all - before.all
				if least = min(least, asked-(after.within-before.within)); least <= asked/20 {
					break
				}
			}
			if least > asked/20 {
				t.Errorf("%s keeps a fold for longer than a millisecond, %d times of %d", url, least, asked)
			}
			worst = append(worst, fmt.Sprintf("%6d questions %s", asked, path))
		}
	}
	if len(worst) < 30 {
		t.Errorf("only %d operations are known", len(worst))
	}
	sort.Sort(sort.Reverse(sort.StringSlice(worst)))
	t.Logf("the most:\n%s", strings.Join(worst[:5], "\n"))
}

// gets are the paths that the API can be asked for.
func (r *running) gets() (paths []string) {
	r.t.Helper()
	var said struct {
		Paths map[string]map[string]json.RawMessage
	}
	r.get("/v1/openapi.json", &said)
	for path, ops := range said.Paths {
		if ops["get"] != nil && path != "/v1/backup" { // A copy of all that there is: it asks no fold.
			paths = append(paths, path)
		}
	}
	sort.Strings(paths)
	return paths
}

// drink reads an answer, whatever it is; of one that does not end the first part.
func (r *running) drink(path string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
	if strings.Contains(path, "/watch") || strings.Contains(path, "/live") || strings.Contains(path, "/ended") {
		cancel()
		ctx, cancel = context.WithTimeout(r.t.Context(), 100*time.Millisecond)
	}
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.Addr()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return // It did not end in time.
	}
	_, _ = io.Copy(io.Discard, resp.Body) // Of what does not end the rest does not count.
	_ = resp.Body.Close()
}
