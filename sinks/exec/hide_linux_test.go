package exec

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProgramsDoNotReadOurs: a program looks for the router's environment in /proc. Root may; another user finds it closed.
func TestProgramsDoNotReadOurs(t *testing.T) {
	t.Parallel()
	got := describe(run(t, t.Context(), sh("tr '\\0' '\\n' < /proc/$PPID/environ >/dev/null 2>&1 && echo '\"open\"' || echo '\"closed\"'")))
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("the router's environment and memory are open to programs of its user: %d, %v", dumpable, err)
	}
	if os.Geteuid() != 0 && !strings.Contains(got, "closed") {
		t.Error(got)
	}
}
