package router_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
)

type writing func([]byte) (int, error)

func (w writing) Write(b []byte) (int, error) { return w(b) }

// An endsAfter is a context that ends once it was looked at so often.
type endsAfter struct {
	context.Context
	left int
}

func (c *endsAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestBackupOfWhatIsInAFolder: where the journal is elsewhere, the backup has what is kept beside it, and says so; one is made at a time.
func TestBackupOfWhatIsInAFolder(t *testing.T) {
	t.Parallel()
	r := startWith(t, `
version: 1
triggers: { id: { flow: { wait: 1ms } } }
`, func(o *router.Options) { o.Dir = t.TempDir() })
	f := r.run("id", "1", "7")
	to, err := os.Create(filepath.Join(t.TempDir(), "one.backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	var beside error
	if err := r.Backup(t.Context(), writing(func(b []byte) (int, error) {
		beside = r.Backup(t.Context(), io.Discard)
		return to.Write(b)
	})); err != nil || !errors.Is(beside, router.ErrBackingUp) {
		t.Fatal(err, beside)
	}
	broken := errors.New("the disk is full")
	if err := r.Backup(t.Context(), writing(func([]byte) (int, error) { return 0, broken })); !errors.Is(err, broken) {
		t.Error(err)
	}
	for n := 0; ; n++ { // Whenever it is stopped, nothing is left of it.
		dir := filepath.Join(t.TempDir(), "stopped")
		_, err := router.Restore(&endsAfter{Context: t.Context(), left: n}, to, dir)
		if err == nil {
			break
		}
		if list, e := os.ReadDir(dir); !errors.Is(err, context.Canceled) || len(list) > 0 || n > 1000 {
			t.Fatalf("stopped after %d looks: %v; %v, %v", n, err, list, e)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil { // As a new disk has it.
		t.Fatal(err)
	}
	x, err := router.Restore(t.Context(), to, dir)
	if err != nil || x.Backup.Journal != "none" || x.Records != 0 {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err == nil {
		t.Error("a journal is restored that was not in it")
	}
	again := startWith(t, "version: 1\ntriggers: { other: { flow: { wait: 1s } } }\n", func(o *router.Options) {
		o.Dir, o.Journal = dir, memory.New(memory.Options{Partitions: 4})
	})
	if list, status := listOf(t, again.Addr(), ""); list.Total != 1 || list.Runs[0].Run != f.ID {
		t.Errorf("%s %+v", status, list)
	}
	if _, err := router.Restore(t.Context(), to, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
}

// TestBackupOfOneOfSeveral says that the journal is not in it.
func TestBackupOfOneOfSeveral(t *testing.T) {
	t.Parallel()
	c := openCluster(t, 1, peersDocument)
	to, err := os.Create(filepath.Join(t.TempDir(), "one.backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := c.members[0].Router.Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if x, err := router.Restore(t.Context(), to, filepath.Join(t.TempDir(), "none")); err != nil || x.Backup.Journal != "kafka" || x.Records != 0 {
		t.Errorf("%+v, %v", x, err)
	}
}
