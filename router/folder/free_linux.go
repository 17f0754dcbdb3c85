package folder

import "golang.org/x/sys/unix"

// Free returns how many bytes may yet be written to a folder's disk.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
