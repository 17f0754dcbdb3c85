package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dataSync makes a file's bytes durable; sizes do not change after a segment was prepared, so the file's own times need not be.
func dataSync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
