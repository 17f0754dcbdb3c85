// Package folder makes a folder that is one router's own: nobody else may read it, one process has it at a time, and it is there after a power cut.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The rights of what a router writes: the journal's key is in there, and whoever has it can tell the ids of runs.
const (
	FileMode   fs.FileMode = 0o600
	folderMode fs.FileMode = 0o700
)

// Make makes a folder and those above it that are not there, each durable in the one that has it.
func Make(dir string) error {
	switch _, err := os.Stat(dir); {
	case err == nil:
		return os.MkdirAll(dir, folderMode) // Which refuses what is no folder.
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := Make(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Sync(parent)
}

// Sync makes the names in a folder durable.
func Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Exposed says that others may read a folder, and what to do about it; empty when nobody else may.
func Exposed(dir string) string {
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("other users of this machine may enter %s (%#o), and events and the journal's key are in there; chmod 700 %s", dir, info.Mode().Perm(), dir)
}

// A Lock keeps other processes, and others in this one, out of what it stands for.
type Lock struct{ f *os.File }

// Take locks a folder by a file in it. The error says who has it.
func Take(dir, name string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, FileMode)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return &Lock{f}, nil
}

// File is the one by which the folder is locked. It is open until Release.
func (l *Lock) File() *os.File { return l.f }

// Release lets others in. A nil lock is none.
func (l *Lock) Release() {
	if l != nil {
		_ = l.f.Close()
	}
}

// Restoring is the folder in a folder in which a restore gathers what it brings. As long as it is there, the folder is not whole.
const Restoring = "restoring"

// Begun refuses a folder into which a restore was begun and did not end.
func Begun(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, Restoring)); err == nil {
		return fmt.Errorf("%s: a restore into it was begun and did not end; empty the folder, and restore the backup again", dir)
	}
	return nil
}

// ErrTaken is that another router has a folder.
var ErrTaken = errors.New("another router has it open; stop that one, or choose another folder")
