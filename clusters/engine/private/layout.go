package private

import (
	"fmt"
	"path/filepath"
)

// layout gives the paths of a private engine's files.
type layout struct{ dir string }

func layoutIn(cacheDir string) layout {
	if abs, err := filepath.Abs(cacheDir); err == nil {
		cacheDir = abs
	}
	return layout{filepath.Join(cacheDir, "engine")}
}

func (l layout) socket() string   { return filepath.Join(l.dir, "docker.sock") }
func (l layout) pidfile() string  { return filepath.Join(l.dir, "dockerd.pid") }
func (l layout) config() string   { return filepath.Join(l.dir, "daemon.json") }
func (l layout) log() string      { return filepath.Join(l.dir, "dockerd.log") }
func (l layout) dataRoot() string { return filepath.Join(l.dir, "data") }
func (l layout) execRoot() string { return filepath.Join(l.dir, "run") }
func (l layout) netns() string    { return filepath.Join(l.execRoot(), "netns") }
func (l layout) bin() string      { return filepath.Join(l.dir, "bin") }
func (l layout) lock() string     { return filepath.Join(l.dir, "lock") }

// found holds the host's packet filter and forwarding before the first start, which Stop restores.
func (l layout) found() string { return filepath.Join(l.dir, "host.json") }

func (l layout) containerdSocket() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.sock")
}
func (l layout) containerdConfig() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.toml")
}
func (l layout) containerdPid() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.pid")
}

// longestSocket is the longest of the sockets that dockerd and its containerd make below the
// folder.
func (l layout) longestSocket() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.sock.ttrpc")
}

// maxSocketPath is the size of sun_path less its closing zero, unix(7).
const maxSocketPath = 107

func (l layout) fits() error {
	if n := len(l.longestSocket()); n > maxSocketPath {
		return fmt.Errorf(
			"the cache folder's path is too long by %d: the socket %s would have %d characters, the kernel takes %d: choose a shorter cache folder",
			n-maxSocketPath, l.longestSocket(), n, maxSocketPath,
		)
	}
	return nil
}
