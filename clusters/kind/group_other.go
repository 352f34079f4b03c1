//go:build !unix

package kind

import (
	"os"
	"os/exec"
)

// ownGroup does nothing where there are no process groups: the context ends the child alone.
func ownGroup(*exec.Cmd) {}

func endGroup() { os.Exit(1) }
