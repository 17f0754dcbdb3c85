package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Used returns how many bytes the files in a folder have, and in those below it. Files that go meanwhile count for nothing.
func Used(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && d.Type().IsRegular() {
			info, err = d.Info()
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if info != nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}
