package folder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMake(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "c")
	for range 2 { // Again is fine.
		if err := Make(dir); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; d != top; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
		if said := Exposed(d); said != "" {
			t.Errorf("%s is said to be open: %s", d, said)
		}
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, FileMode); err != nil {
		t.Fatal(err)
	}
	if err := Make(file); err == nil {
		t.Error("a file was taken for a folder")
	}
	if err := Make(filepath.Join(file, "below")); err == nil {
		t.Error("a folder was made below a file")
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if said := Exposed(dir); !strings.Contains(said, "chmod 700 "+dir) {
		t.Errorf("an open folder: %q", said)
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Take(dir, "LOCK")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(dir, "LOCK"); !errors.Is(err, ErrTaken) {
		t.Errorf("a second one: %v", err)
	}
	other, err := Take(dir, "OTHER")
	if err != nil {
		t.Errorf("another file of the folder: %v", err)
	}
	other.Release()
	first.Release()
	again, err := Take(dir, "LOCK")
	if err != nil {
		t.Errorf("after its release: %v", err)
	}
	again.Release()
	(*Lock)(nil).Release()
}
