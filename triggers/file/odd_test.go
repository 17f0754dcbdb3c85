//go:build unix

package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
	"golang.org/x/sys/unix"
)

// TestManyFiles: a folder with more files than may be open is read whole.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	const n = 2500
	dir := t.TempDir()
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("%05d", i)), fmt.Sprintln(i))
	}
	l := live(t, dir, new(memory), nil)
	most := 0
	l.answer = func(events []event.Event) ([]triggers.Receipt, error) { // Of the source's own goroutine.
		most = max(most, len(l.s.files))
		return make([]triggers.Receipt, len(events)), nil
	}
	l.start()
	until(t, "all are read", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.seen) >= n })
	l.cancel()
	for i, x := range strings.Fields(l.data(n)) {
		if x != fmt.Sprint(i) {
			t.Fatalf("%d is %s", i, x)
		}
	}
	if most > mostOpen || len(l.ids()) != n {
		t.Errorf("%d lines, %d files open", len(l.ids()), most)
	}
}

// TestLongLine: of a line of many megabytes the beginning is parked, and what is behind it is taken.
func TestLongLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	write(t, path, "1\n")
	if err := os.Truncate(path, 1<<27); err != nil { // A hole: it takes no place.
		t.Fatal(err)
	}
	appendTo(t, path, "\n\xff\n2\n")
	l := live(t, path, new(memory), func(s *Settings) { s.As = nil })
	l.start()
	until(t, "it is parked", func() bool { return len(l.s.Parked()) == 4 })
	for i, p := range l.s.Parked() {
		if p.Place != fmt.Sprintf("%s:%d", path, i+1) || len(p.Bytes) > 1<<10 {
			t.Errorf("%s %s", p.Place, p.Reason)
		}
	}
}

// TestPipe: what cannot be read again is no file, and it says so and what to do; one in a folder is passed over.
func TestPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "a")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "b"), "1\n")
	l := live(t, pipe, new(memory), nil).start()
	const want = "a is a pipe, and no file that could be read again; read it by standard input: path: - and < "
	until(t, "it is said", func() bool { return l.s.Trouble() != nil && strings.Contains(l.s.Trouble().Error(), want) })
	if _, err := l.s.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
	if got := live(t, dir, new(memory), nil).start().data(1); got != "1" {
		t.Errorf("%q", got)
	}
}
