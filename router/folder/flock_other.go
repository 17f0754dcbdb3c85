//go:build !unix

package folder

import "os"

// flock does nothing: this system has no such lock.
func flock(*os.File) error { return nil }
