package soak

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limitedBy says how limitMemory does it.
const limitedBy = "watching what is resident, and half as much again of RLIMIT_DATA (ulimit -d)"

// limitMemory bounds the private writable memory of a process that has just begun; what it asks for beyond is refused. That counts what is asked for and
// never touched, such as 8 MiB of stack a thread of C: it is given half as much again, and what is resident is watched.
func limitMemory(pid int, bytes int64) error {
	most := uint64(bytes + bytes/2)
	limit := unix.Rlimit{Cur: most, Max: most}
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil); err != nil {
		return fmt.Errorf("limiting the router's memory: %w", err)
	}
	return nil
}

// peakOf returns the most resident memory that a process has had, in bytes.
func peakOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory left", pid)
}

// mount makes a small disk of its own at dir; unmount takes it away. It needs the right to.
func mount(dir string, bytes int64) (unmount func() error, err error) {
	if err := unix.Mount("onward-soak", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		return nil, err
	}
	return func() error { return unix.Unmount(dir, 0) }, nil
}
