package certs

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWatch: what a file says counts when it has changed; what cannot be read leaves the former in force and is said once.
func TestWatch(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	var gone []string
	w := &Watch[string]{What: "the words", Files: []string{file}, Gone: func(s string) { gone = append(gone, s) }, Load: func() (string, error) {
		b, err := os.ReadFile(file)
		if strings.HasPrefix(string(b), "bad") {
			return "", errors.New("bad words")
		}
		return string(b), err
	}}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.Look()
	}
	if _, err := w.Current(log); err == nil {
		t.Error("nothing is in force, and no error says so")
	}
	for text, want := range map[string]string{"first": "first"} {
		write(text)
		if got, err := w.Current(log); got != want || err != nil {
			t.Error(got, err)
		}
	}
	write("bad one")
	for range 3 {
		w.Look()
		if got, err := w.Current(log); got != "first" || err != nil {
			t.Error(got, err)
		}
	}
	write("the second")
	if got, err := w.Current(log); got != "the second" || err != nil || len(gone) != 1 || gone[0] != "first" {
		t.Error(got, err, gone)
	}
	if n := strings.Count(said.String(), "bad words"); n != 1 {
		t.Errorf("%d times: %s", n, &said)
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Pool("ca", ""); p != nil || err != nil {
		t.Error(p, err)
	}
	for _, name := range []string{file, file + "none"} {
		if _, err := Pool("tls.ca", name); err == nil || !strings.HasPrefix(err.Error(), "tls.ca: ") {
			t.Error(err)
		}
	}
}
