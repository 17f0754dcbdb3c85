package router_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/router"
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
	if _, err := router.Restore(to, restored); err != nil {
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
