//go:build unix

package kind

import (
	"os/exec"
	"syscall"
)

// ownGroup gives a child a process group of its own: an interrupt of the terminal then reaches only
// the parent, which knows what to do, and ending the child ends the commands that it runs.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}

// endGroup ends the group of this process: itself and the commands that it runs.
func endGroup() { _ = syscall.Kill(0, syscall.SIGKILL) }
