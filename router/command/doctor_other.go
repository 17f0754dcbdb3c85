//go:build !linux

package command

// volume does not know here.
func volume(string) (kind string, free int64) { return "", -1 }

// openFiles does not know here.
func openFiles() (limit uint64, known bool) { return 0, false }
