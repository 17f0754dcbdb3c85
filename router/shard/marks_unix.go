//go:build unix

package shard

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file into memory, shared: what is written there is the kernel's at once, and survives kill -9. All of it is on the disk before: a store to a
// page for which there is no room would end the process.
func mapFile(f *os.File, size int) (b []byte, unmap func() error, err error) {
	had, err := io.ReadAll(io.LimitReader(f, int64(size)+1))
	if err != nil {
		return nil, nil, err
	}
	if len(had) != size { // Another layout: what it says is of no use.
		had, err = make([]byte, size), f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(had, 0) // Holes are filled, too.
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		b, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, nil, err
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
