package tooltest

import "syscall"

// DieWithParent has the kernel kill a child when the thread that started it ends, also when the test binary is killed.
func DieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
