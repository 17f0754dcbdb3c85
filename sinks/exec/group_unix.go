//go:build unix

package exec

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the program into a process group of its own, so that its children end with it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// endGroup ends what the program left running.
func endGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // An error says that nobody is left.
