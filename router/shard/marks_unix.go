//go:build unix

package shard

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file of that size into memory, shared: what is written there is the kernel's at once, and survives kill -9.
func mapFile(name string, size int) (b []byte, unmap func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != int64(size) {
		// Another layout: what it says is of no use.
		if err := errors.Join(err, f.Truncate(0), f.Truncate(int64(size))); err != nil {
			return nil, nil, err
		}
	}
	b, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
