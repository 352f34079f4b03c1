// Package private runs a dockerd of the suite's own on a Linux host that has no Docker.
//
// It lives under the cache folder with its own data root, state, socket and log, and leaves the
// user's alone. [Stop] removes all of it but the data root. Where the capability bounding set is
// short, its containers start through an OCI runtime wrapper; see [BuildWrapper].
package private

import (
	"os"
	"os/exec"
	"runtime"
)

// CannotStart returns why no private engine can be started here, or an empty string if one can.
func CannotStart(cacheDir string) string {
	if runtime.GOOS != "linux" {
		return "it needs Linux, this is " + runtime.GOOS + ": start Docker (Docker Desktop or Colima) and try again"
	}
	if os.Geteuid() != 0 {
		return "it needs root: run as root, or start Docker and try again"
	}
	if cacheDir == "" {
		return "no cache folder is given"
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		if _, err := exec.LookPath("apt-get"); err != nil {
			return "neither dockerd nor apt-get is in PATH: install Docker by hand"
		}
	}
	if err := layoutIn(cacheDir).fits(); err != nil {
		return err.Error()
	}
	return ""
}

// DataRoot is where the private engine under a cache folder keeps its data.
func DataRoot(cacheDir string) string { return layoutIn(cacheDir).dataRoot() }
