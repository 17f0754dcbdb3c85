package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

const killedSources = `version: 1
sources:
  lines: { file: { path: "DIR/lines*", as: { type: line } } }
  skips: { schedule: { every: 1s, overlap: skip, type: skips } }
  cancels: { schedule: { every: 1s, overlap: cancel, type: cancels } }
triggers:
  line: { filters: [{ exact: { type: line } }], flow: { pass: {} } }
  skips: { filters: [{ exact: { type: skips } }], flow: { signal: never } }
  cancels: { filters: [{ exact: { type: cancels } }], flow: { signal: never } }
`

// TestKillSources ends the real program with SIGKILL again and again while it reads files that are written to and rotated, and while schedules tick whose runs
// overlap: each line is a run once, and of each schedule one run is at work.
func TestKillSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	doc := filepath.Join(dir, "sources.yaml")
	if err := os.WriteFile(doc, []byte(strings.ReplaceAll(killedSources, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	file, lines := filepath.Join(dir, "lines"), 0
	write := func(n int) {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range n { // Lines that are equal.
			if _, err := fmt.Fprintln(f, "{}"); err != nil {
				t.Fatal(err)
			}
		}
		lines += n
	}
	addr := tooltest.Address()
	for n := range 5 {
		write(1000)
		child := spawn(t, addr, doc, dir)
		waitReady(t, addr)
		write(200) // While it reads: how far it comes is chance.
		if n%2 == 1 {
			if err := os.Rename(file, fmt.Sprint(file, ".", n)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // It was killed.
	}
	child := spawn(t, addr, doc, dir)
	defer func() { _ = child.Process.Signal(os.Interrupt); _ = child.Wait() }()
	waitReady(t, addr)
	runs := func(query string) (n int) {
		resp, err := http.Get("http://" + addr + "/v1/runs?limit=1&" + query)
		if err != nil {
			return -1
		}
		defer resp.Body.Close()
		var said struct{ Total int }
		if json.NewDecoder(resp.Body).Decode(&said) != nil {
			return -1
		}
		return said.Total
	}
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		done, skipped, cancelled := runs("trigger=line&state=succeeded"), runs("trigger=skips&state=skipped"), runs("trigger=cancels&state=cancelled")
		skips, cancels := runs("trigger=skips&state=waiting"), runs("trigger=cancels&state=waiting")
		if skips > 1 || cancels > 1 || done > lines {
			t.Fatalf("%d runs of %d lines; %d and %d runs at work", done, lines, skips, cancels)
		}
		if done == lines && skipped > 0 && cancelled > 0 && skips == 1 && cancels == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d runs of %d lines; %d skipped, %d cancelled, %d and %d at work", done, lines, skipped, cancelled, skips, cancels)
		}
	}
}
