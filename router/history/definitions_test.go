package history_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/history"
)

// TestDefinitionsAreKept by which runs have ended: from memory, from disk, after a restart; the longest unused go; what a damaged file had is told again.
func TestDefinitionsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := func(n int) []byte { return fmt.Append(nil, "definition ", n) }
	of := func(n int) lang.Digest { return sha256.Sum256(text(n)) }
	asked := 0
	end := func(h *history.Endings, n int, at time.Time) {
		h.Defined(of(n), at, func() []byte { asked++; return text(n) })
	}
	has := func(h *history.Endings, n int, want bool) {
		t.Helper()
		b, err := h.Definition(of(n))
		if err != nil || (b != nil) != want || want && string(b) != string(text(n)) {
			t.Errorf("definition %d is %q, %v", n, b, err)
		}
	}
	sync := func(h *history.Endings) {
		t.Helper()
		if err := h.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	const most = 1000
	for _, dir := range []string{"", dir} {
		h := keep(t, dir)
		asked = 0
		for n := range most + 2 {
			end(h, n, began.Add(time.Duration(n)*time.Second))
			end(h, n, began)
		}
		end(h, 0, began.Add(48*time.Hour)) // It is used again.
		has(h, 7, true)
		sync(h)
		has(h, 0, true)
		has(h, 1, false)
		has(h, 2, false)
		has(h, most+1, true)
		if asked != most+2 {
			t.Errorf("%d were asked for", asked)
		}
		end(h, 2, began.Add(72*time.Hour))
		sync(h)
		has(h, 2, true)
		has(h, 3, false)
		if err := h.Close(); err != nil && dir != "" {
			t.Fatal(err)
		}
	}
	h := keep(t, dir)
	has(h, 0, true)
	has(h, 2, true)
	has(h, 3, false)
	end(h, 0, began.Add(72*time.Hour)) // On disk only its time is new.
	sync(h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = keep(t, dir)
	has(h, 0, true)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, history.FileName)); err != nil {
		t.Fatal(err)
	}
	h = keepFor(t, dir)
	has(h, 0, false)
	end(h, 0, began)
	has(h, 0, true)
}
