package file

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForbidden: a file that may not be read is said, others are read, and it is when it may be.
func TestForbidden(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // Somebody else is to find the files.
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "a"), "1\n")
	write(t, filepath.Join(dir, "b"), "2\n")
	for name, mode := range map[string]os.FileMode{"a": 0, "b": 0o644} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	l := live(t, dir, new(memory), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // It ends with the goroutine.
		if os.Getuid() == 0 {
			_ = unix.Setfsuid(65534) // Root may read everything: of this thread, files are looked at as nobody.
		}
		ran <- l.s.Run(ctx, l.admit)
	}()
	if got := l.data(1); got != "2" {
		t.Errorf("%q", got)
	}
	until(t, "it is said", func() bool {
		err := l.s.Trouble()
		return err != nil && strings.Contains(err.Error(), "a file cannot be opened: "+filepath.Join(dir, "a"))
	})
	if err := os.Chmod(filepath.Join(dir, "a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := l.data(2); got != "2 1" {
		t.Errorf("%q", got)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
