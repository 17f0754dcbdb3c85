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

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
