package folder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SyncData makes a file's bytes durable: its size and its times are those that it had. A journal prepares its files, so that this is enough.
func SyncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
