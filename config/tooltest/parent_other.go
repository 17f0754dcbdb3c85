//go:build !linux

package tooltest

import "syscall"

// DieWithParent is Linux's; elsewhere a killed test binary leaves its children behind.
func DieWithParent() *syscall.SysProcAttr { return nil }
