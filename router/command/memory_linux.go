package command

import (
	"math"

	"golang.org/x/sys/unix"
)

// dataLimit is how many bytes of memory of its own the process may have (ulimit -d).
func dataLimit() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_DATA, &r) != nil {
		return math.MaxUint64
	}
	return r.Cur // RLIM_INFINITY is the largest number.
}
