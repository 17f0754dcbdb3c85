package folder

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace writes a file so that a crash leaves the former content or the new one, whole.
func Replace(name string, b []byte) error {
	temp := name + ".tmp"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, FileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp) // It may be what fills the disk.
		return err
	}
	return Sync(filepath.Dir(name))
}
