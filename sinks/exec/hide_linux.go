package exec

import (
	"sync"

	"golang.org/x/sys/unix"
)

// hide keeps programs of the router's own user from reading its environment and memory under /proc. The programs themselves are as open as any: the
// mark does not outlive an exec. Root reads on; there is no simple way to keep it out.
var hide = sync.OnceFunc(func() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // A kernel that refuses it leaves things as they were.
})
