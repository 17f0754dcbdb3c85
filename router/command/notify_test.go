package command

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

// TestSystemdIsTold once the router takes events, and when it stops.
func TestSystemdIsTold(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "on") // The name of a socket is short.
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	doc := filepath.Join(dir, "doc.yaml")
	if err := os.WriteFile(doc, []byte("version: 1\ntriggers: { t: { flow: { wait: 1s } } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	child := exec.Command(os.Args[0], "serve", doc, "--listen", addr, "--data", filepath.Join(dir, "data"), "--durability", "os", "--disk-low-water", "1", "--log-level", "error")
	child.Env, child.Stderr = append(os.Environ(), childVariable+"=1", "NOTIFY_SOCKET="+socket), os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill() }()
	told := func() string {
		b := make([]byte, 100)
		_ = l.SetReadDeadline(time.Now().Add(within))
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := told(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	waitReady(t, addr)
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}
