package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

var osHost = host{goos: "linux", admin: os.Geteuid() == 0, isolated: inFreshNetns, space: spaceAt}

func inFreshNetns(ctx context.Context, program string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, program, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := c.CombinedOutput()
	return string(out), err
}

// fsNames are the file systems that matter to overlay2, by statfs(2) magic.
var fsNames = map[int64]string{unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs", unix.NFS_SUPER_MAGIC: "nfs"}

func spaceAt(path string) (uint64, string, error) {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(path, &s)
		if errors.Is(err, fs.ErrNotExist) && path != "/" && path != "." {
			path = filepath.Dir(path)
			continue
		}
		return s.Bavail * uint64(s.Bsize), fsNames[int64(s.Type)], err //nolint:unconvert // its type is another one on other architectures
	}
}
