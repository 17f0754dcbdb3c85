package command

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWatched: a change counts once, when it has stayed for two looks; however it was made.
func TestWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		t.Helper()
		tmp := filepath.Join(dir, "tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	// As Kubernetes mounts a ConfigMap: files are links into a folder whose name is a link, which is turned elsewhere.
	for name, text := range map[string]string{"..1/a.yaml": "one", "..2/a.yaml": "two"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(name, text)
	}
	link("..1")
	if err := os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	paths := []string{dir}
	w := watched{look(paths), look(paths)}
	for _, step := range []struct {
		name string
		do   func()
		want bool // at the second look
	}{
		{"nothing", func() {}, false},
		{"a link turned", func() { link("..2") }, true},
		{"and no more", func() {}, false},
		{"and back", func() { link("..1") }, true},
		{"another file", func() { write("b.yml", "x") }, true},
		{"one that is no document", func() { write("c.txt", "x") }, false},
		{"written again as it was", func() { write("b.yml", "x") }, false},
		{"emptied", func() { write("b.yml", "") }, true},
		{"gone", func() { _ = os.Remove(filepath.Join(dir, "b.yml")) }, true},
		{"all of it", func() { _ = os.RemoveAll(dir) }, true},
		{"still", func() {}, false},
	} {
		step.do()
		if w.changed(look(paths)) {
			t.Errorf("%s: it counts at once", step.name)
		}
		if got := w.changed(look(paths)); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
		if w.changed(look(paths)) {
			t.Errorf("%s: it counts twice", step.name)
		}
	}
	// What is being written never counts; what comes back to what is in force does not either.
	dir = t.TempDir()
	write("a.yaml", "0")
	paths = []string{dir}
	w = watched{look(paths), look(paths)}
	for _, text := range []string{"1", "12", "123", "0", "0"} {
		write("a.yaml", text)
		if w.changed(look(paths)) {
			t.Errorf("%s counts", text)
		}
	}
}

// TestSettled: who sends SIGHUP while an editor writes gets what it has written in the end, and not a part of it.
func TestSettled(t *testing.T) {
	t.Parallel()
	looks := []byte{1, 2, 3, 3, 4}
	if got := settled(t.Context(), func() (g glance) {
		g[0], looks = looks[0], looks[1:]
		return g
	}); got[0] != 3 || len(looks) != 1 {
		t.Errorf("%d, %d looks more", got[0], len(looks))
	}
}
