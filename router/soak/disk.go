package soak

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A disk is the router's: a small one of its own, which can be filled, where one may be mounted.
type disk struct {
	dir     string
	own     bool
	unmount func() error
}

// diskBytes is the size of the small disk.
const diskBytes = 1 << 30

const balloonName = "BALLOON"

// openDisk mounts the small disk at dir, or says in how why it is not one.
func openDisk(dir string) (d *disk, how string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	d = &disk{dir: dir, unmount: func() error { return nil }}
	unmount, err := mount(dir, diskBytes)
	if err != nil {
		return d, fmt.Sprintf("not at all: no disk of its own can be mounted here (%v); the router is started with a low-water mark above what is free instead", err), nil
	}
	d.own, d.unmount = true, unmount
	return d, fmt.Sprintf("a balloon on a tmpfs of %d MiB", diskBytes>>20), nil
}

// fill takes all that is free. What the router frees meanwhile is its own again.
func (d *disk) fill() error {
	f, err := os.OpenFile(filepath.Join(d.dir, balloonName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	chunk := make([]byte, 1<<20)
	for size := len(chunk); size > 0; {
		n, err := f.WriteAt(chunk[:size], end)
		end += int64(n)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
			if size < 4096 {
				size = 0
			}
		case err != nil:
			return err
		}
	}
	return nil
}

func (d *disk) free() error { return os.Remove(filepath.Join(d.dir, balloonName)) }
