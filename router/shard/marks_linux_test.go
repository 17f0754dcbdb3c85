package shard

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMarksAreOnTheDisk: each page of the marks has its place before anything is stored there, also of a file with holes; and nobody else may read them.
func TestMarksAreOnTheDisk(t *testing.T) {
	t.Parallel()
	size := int64(markSize*4 + deathSize*deathsMax + againSize)
	for name, before := range map[string]func(file string) error{
		"a new one":      func(string) error { return nil },
		"one with holes": func(file string) error { return os.Truncate(file, size) },
		"another layout": func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte{1}, 100), 0o600) },
		"a larger one":   func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte{1}, 100_000), 0o600) },
	} {
		dir := filepath.Join(t.TempDir(), "data")
		file := filepath.Join(dir, "MARKS")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if name != "a new one" {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := before(file); err != nil {
			t.Fatal(err)
		}
		m, err := openMarks(dir, 4, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Blocks*512 < size {
			t.Errorf("%s: %d bytes have a place of %d", name, st.Blocks*512, size)
		}
		if m.dead.Load() != 0 {
			t.Errorf("%s: %d deaths", name, m.dead.Load())
		}
		if _, err := openMarks(dir, 4, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another router") {
			t.Errorf("%s: a second router: %v", name, err)
		}
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMarksOnAFullDisk: without room the router starts all the same, and says what it cannot do.
func TestMarksOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "MARKS")); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	m, err := openMarks(dir, 4, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	m.died(1, 5)
	m.died(1, 5)
	if !m.skips(1, 5) {
		t.Error("not skipped")
	}
	if err := m.close(); err != nil || !strings.Contains(said.String(), "no crash marks") {
		t.Errorf("%v, %s", err, &said)
	}
}
