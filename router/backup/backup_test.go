package backup

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func made(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Head{Journal: "file"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"one": "1", "many": strings.Repeat("many", 10_000)} {
		if err := w.Put(name, int64(len(text)), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.Abort() // It does nothing any more.
	return b.Bytes()
}

func read(b []byte) (names string, err error) {
	r := bytes.NewReader(b)
	if err := Verify(r, r.Size()); err != nil {
		return "", err
	}
	err = Read(r, r.Size(), func(h Head) error { names += h.Journal; return nil }, func(name string, size int64, from io.Reader) error {
		n, err := io.Copy(io.Discard, from)
		if n == size {
			names += " " + name
		}
		return err
	})
	return names, err
}

// TestABackupIsReadWhole or not at all: cut anywhere, or with any bit changed, it is refused before anything of it is read.
func TestABackupIsReadWhole(t *testing.T) {
	t.Parallel()
	b := made(t)
	if names, err := read(b); err != nil || len(names) != len("file one many") {
		t.Fatalf("%q, %v", names, err)
	}
	for n := range len(b) {
		if names, err := read(b[:n]); names != "" || !errors.Is(err, ErrCut) && !errors.Is(err, ErrChanged) {
			t.Errorf("%d of %d bytes: %q, %v", n, len(b), names, err)
		}
	}
	for range 2000 {
		x := bytes.Clone(b)
		x[rand.IntN(len(x))] ^= 1 << rand.IntN(8)
		if names, err := read(x); names != "" || !errors.Is(err, ErrCut) && !errors.Is(err, ErrChanged) {
			t.Errorf("a changed bit: %q, %v", names, err)
		}
	}
	if _, err := read(append(bytes.Clone(b), b...)); err == nil {
		t.Error("two, one behind the other, are one")
	}
}

// TestAShortFileIsNoBackup: what ends early is said, and what was given up has no end.
func TestAShortFileIsNoBackup(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, err := NewWriter(&b, Head{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Put("short", 10, strings.NewReader("x")); err == nil {
		t.Error("it is put")
	}
	w.Abort()
	if _, err := read(b.Bytes()); !errors.Is(err, ErrCut) {
		t.Error(err)
	}
}
