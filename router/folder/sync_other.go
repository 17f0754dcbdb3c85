//go:build !linux

package folder

import "os"

// SyncData makes a file durable.
func SyncData(f *os.File) error { return f.Sync() }
