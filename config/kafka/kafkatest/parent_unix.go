//go:build unix && !linux

package kafkatest

import "syscall"

// dieWithParent is Linux's; elsewhere a killed test binary leaves its nodes behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
