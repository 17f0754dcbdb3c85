package router_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
	"github.com/prometheus/client_golang/prometheus"
)

// TestSchedules: ticks start runs, what overlaps goes by its schedule's word, and how far it is lies in the folder, a backup included.
func TestSchedules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, `
version: 1
sources:
  skips: { schedule: { every: 1s, overlap: skip, type: skips } }
  cancels: { schedule: { every: 1s, overlap: cancel, type: cancels } }
triggers:
  skips: { filters: [ { exact: { type: skips } } ], flow: { signal: never } }
  cancels: { filters: [ { exact: { type: cancels } } ], flow: { signal: never } }
`)
	states := func(trigger string) map[string]int {
		resp, err := http.Get("http://" + r.Addr() + "/v1/runs?trigger=" + trigger)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var list struct{ Runs []struct{ State string } }
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
		n := make(map[string]int)
		for _, run := range list.Runs {
			n[run.State]++
		}
		return n
	}
	until(t, "runs that overlap", func() bool {
		skips, cancels := states("skips"), states("cancels")
		return skips["skipped"] >= 1 && skips["waiting"] == 1 && cancels["cancelled"] >= 1 && cancels["waiting"] == 1
	})
	to, err := os.Create(filepath.Join(t.TempDir(), "one.backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := r.Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := router.Restore(t.Context(), to, restored); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, restored} {
		b, err := os.ReadFile(filepath.Join(dir, "source-skips.json"))
		var kept struct{ Last time.Time }
		if err != nil || json.Unmarshal(b, &kept) != nil || time.Since(kept.Last) > time.Minute || !strings.Contains(string(b), "1s") {
			t.Errorf("%s, %v", b, err)
		}
	}
}

// A place is what the routers of a cluster keep for one another, as Kafka does.
type place struct {
	mu  sync.Mutex
	has map[string][]byte
}

func (p *place) Keep(_ context.Context, key string, value []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.has[key] = value
	return nil
}

func (p *place) Kept(context.Context) (map[string][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.has), nil
}

type placed struct {
	*member
	*place
}

// TestOneTickInACluster: all routers make every tick, it counts once, and how far the schedule is lies where all find it, beside what is paused.
func TestOneTickInACluster(t *testing.T) {
	t.Parallel()
	kept := &place{has: make(map[string][]byte)}
	metrics := []*prometheus.Registry{prometheus.NewRegistry(), prometheus.NewRegistry()}
	began := time.Now()
	c := openCluster(t, 2, `
version: 1
sources: { tick: { schedule: { every: 1s } } }
triggers: { tick: { flow: { pass: {} } } }
`, func(n int, o *router.Options) { o.Journal, o.Metrics = placed{o.Journal.(*member), kept}, metrics[n] })
	count := func(reason string) (n float64) {
		for _, m := range metrics {
			families, err := m.Gather()
			if err != nil {
				t.Error(err)
			}
			for _, f := range families {
				for _, x := range f.GetMetric() {
					labels := make(map[string]string)
					for _, l := range x.GetLabel() {
						labels[l.GetName()] = l.GetValue()
					}
					if f.GetName() == "onward_records_total" && labels["kind"] == "start" && labels["reason"] == reason {
						n += x.GetCounter().GetValue()
					}
				}
			}
		}
		return n
	}
	until(t, "two ticks, each made twice", func() bool { return count("applied") >= 2 && count("repeated")+count("ended") >= 2 })
	// Records that a new owner of a partition folds anew are counted anew; runs are not.
	resp, err := http.Get("http://" + c.members[0].address + "/v1/runs?trigger=tick&limit=1000")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Runs []struct{ Run string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	if n, most := float64(len(list.Runs)), time.Since(began).Seconds()+1; n < 1 || n > most {
		t.Errorf("%v runs in %v s", n, most)
	}
	all, _ := kept.Kept(t.Context())
	var was struct{ Last time.Time }
	if err := json.Unmarshal(all["source/tick"], &was); err != nil || was.Last.Before(began.Add(-2*time.Second)) {
		t.Errorf("%s, %v", all["source/tick"], err)
	}
	for _, m := range c.members {
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	}
}
