//go:build unix

package command

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipes: documents that came from a pipe, as a shell's <(...) makes one, are read once: who looks for changes neither waits for more nor takes it.
func TestPipes(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "a.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	paths := []string{pipe}
	w := watched{look(paths), look(paths)}
	for range 2 {
		if w.changed(look(paths)) {
			t.Error("a pipe has changed")
		}
	}
	if set, findings := loadAgain(paths, nil); set != nil || len(findings) != 1 || !strings.Contains(findings[0].What, "read once") {
		t.Errorf("%v, %v", set, findings)
	}
}
