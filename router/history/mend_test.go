package history

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
)

// TestItMendsItself: a folder that cannot be used, and a file that turns read-only, stop nothing: what is new is kept in memory and shown, it is said once
// and measured, and when the cause goes all of it is on disk, behind what was there.
func TestItMendsItself(t *testing.T) {
	t.Parallel()
	run, now, offset := journal.RunID{1, 12: 9}, time.Now(), int64(0)
	take := func(h *Endings, n int) {
		for range n {
			offset++
			rec := journal.Record{Offset: offset, Time: now.Add(time.Duration(offset))}
			h.Take(0, &rec, []engine.Trace{{Run: run, Path: "p", Outcome: lang.Success(lang.Of(offset)), Ended: rec.Time.UnixNano()}}, nil, nil)
		}
	}
	steps := func(h *Endings) int {
		part, err := h.Timeline(run, "", 1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		return len(part.Steps)
	}
	var log bytes.Buffer
	h, err := Keep(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	kept := openStore(dir, Limits{}, func(err error) { t.Error(err) }, func(int) {})
	h.store = kept
	take(h, 3000)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	aside := dir + "-aside"
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // A file where the folder should be.
		t.Fatal(err)
	}
	metrics := prometheus.NewRegistry()
	if h, err = Keep(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics}); err != nil {
		t.Fatal(err)
	}
	h.store = openStore(dir, Limits{}, func(err error) { t.Error(err) }, func(int) {})
	ill := func(want int) {
		t.Helper()
		if err := h.Sync(); err != nil {
			t.Fatal(err)
		}
		all, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if n := f.GetMetric()[0].GetGauge().GetValue(); f.GetName() == "onward_history_failing" && n != float64(want) {
				t.Errorf("onward_history_failing is %v\n%s", n, &log)
			}
		}
	}
	take(h, 3000)
	ill(1)
	take(h, 10)
	ill(1)
	if n := steps(h); n != 3010 {
		t.Errorf("%d steps", n)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	ill(0)
	if n := steps(h); n != 6010 {
		t.Errorf("%d steps", n)
	}
	h.store.disk.db.SetMaxOpenConns(1)
	for n, text := range []string{"OFF", "ON"} {
		if _, err := h.store.disk.db.Exec("PRAGMA query_only = " + map[bool]string{true: "ON", false: "OFF"}[n == 0]); err != nil {
			t.Fatal(text, err)
		}
		take(h, 10)
		ill(1 - n)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h.store = openStore(dir, Limits{}, func(err error) { t.Error(err) }, func(int) {})
	if n := steps(h); n != 6030 {
		t.Errorf("%d steps after a restart", n)
	}
	if err := h.store.close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Count(text, "the history cannot be written") != 2 || strings.Count(text, "the history is written again") != 2 {
		t.Error(text)
	}
}
