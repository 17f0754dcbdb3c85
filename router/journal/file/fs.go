package file

import (
	"io"
	"os"

	"github.com/onward-router/onward/router/folder"
)

// An FS is the file system as the journal uses it: names are within its folder. Tests put faults into it.
type FS interface {
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	List() ([]string, error)
	SyncDir() error
	// Free returns the free bytes of the disk.
	Free() (int64, error)
}

// A File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Size() (int64, error)
	Truncate(size int64) error
}

type dirFS struct{ root *os.Root }

func openDir(dir string) (dirFS, error) {
	if err := folder.Make(dir); err != nil {
		return dirFS{}, err
	}
	root, err := os.OpenRoot(dir)
	return dirFS{root}, err
}

func (d dirFS) Open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, flag, folder.FileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dirFS) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d dirFS) Remove(name string) error     { return d.root.Remove(name) }

func (d dirFS) List() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d dirFS) SyncDir() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d dirFS) Free() (int64, error) { return folder.Free(d.root.Name()) }

type osFile struct{ *os.File }

func (f osFile) Sync() error { return folder.SyncData(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
