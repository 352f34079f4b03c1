//go:build !linux

package build

import "syscall"

// dieWithParent has no counterpart here; nothing is built on such machines, only pulled.
func dieWithParent() *syscall.SysProcAttr { return nil }
