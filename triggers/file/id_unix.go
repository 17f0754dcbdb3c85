//go:build unix

package file

import (
	"fmt"
	"io/fs"
	"syscall"
)

// idOf is what the system calls a file, whatever its name.
func idOf(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	return ""
}
