//go:build !linux

package kafkatest

import "syscall"

// dieWithParent is Linux's; elsewhere a killed test binary leaves its children behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
