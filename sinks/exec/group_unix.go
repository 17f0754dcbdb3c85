//go:build unix

package exec

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// ownGroup puts the program into a process group of its own, so that its children end with it: SIGTERM to all when the command's context ends,
// SIGKILL after the grace. The function it returns is to be called once the command has ended; it kills what is left of the group.
func ownGroup(cmd *exec.Cmd, grace time.Duration) (end func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	signal := func(s syscall.Signal) error {
		err := syscall.Kill(-cmd.Process.Pid, s)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	var kill *time.Timer
	cmd.Cancel = func() error {
		if grace <= 0 {
			return signal(syscall.SIGKILL)
		}
		kill = time.AfterFunc(grace, func() { _ = signal(syscall.SIGKILL) }) // An error says that nobody is left.
		return signal(syscall.SIGTERM)
	}
	return func() {
		if kill != nil { // The command's end comes after Cancel's return.
			kill.Stop()
		}
		if cmd.Process != nil {
			_ = signal(syscall.SIGKILL) // As above.
		}
	}
}
