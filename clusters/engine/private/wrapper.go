package private

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"ambient.test/conformance/clusters/engine/private/capset"
	"ambient.test/conformance/internal/command"
	"ambient.test/conformance/internal/module"
)

// The wrapper's source travels inside this binary, so that it can be built wherever a Go toolchain
// is, also far from the checkout. It imports nothing but the standard library.
//
//go:embed capset/capset.go ociwrap/main.go ociwrap/args.go ociwrap/spec.go
var wrapperSource embed.FS

// Where the OCI runtime wrapper and the real runtime stand inside a node image.
const (
	WrapperInNode     = "/usr/local/sbin/runc"
	RealRuntimeInNode = "/usr/local/sbin/runc.real"
)

// WrapperKey is a digest of the wrapper's source, for caches of what holds a built wrapper.
func WrapperKey() string {
	h := sha256.New()
	_ = fs.WalkDir(wrapperSource, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := wrapperSource.ReadFile(p)
		fmt.Fprintf(h, "%s %d\n%s", p, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))
}

// BuildWrapper builds the OCI runtime wrapper as a static binary at dst, with the Go toolchain in
// PATH. The same binary serves dockerd and the node image. Beside it, or at RUNC_REAL, the real
// runtime must stand as runc.real; else it uses the system's runc.
func BuildWrapper(ctx context.Context, dst string) error {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return err
	}
	src, err := os.MkdirTemp("", "ociwrap-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	const room = "clusters/engine/private" // the sources import one another by their place in the module
	if err := os.CopyFS(filepath.Join(src, filepath.FromSlash(room)), wrapperSource); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(src, "go.mod"), []byte("module "+module.Path+"\n\ngo 1.26.0\n"), 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", dst+".new", "./"+room+"/ociwrap")
	c.Dir = src
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("the OCI runtime wrapper cannot be built: go build: %w: %s", command.Cause(ctx, err), command.Tail(string(out), 5))
	}
	return os.Rename(dst+".new", dst)
}

// MissingCapabilities names the capabilities that the kernel knows and a container started from
// here could not get, because the bounding set of this process lacks them. It is empty when that
// cannot be known. read reads a file of the machine.
func MissingCapabilities(read func(path string) (string, error)) []string {
	status, err := read("/proc/self/status")
	if err != nil {
		return nil
	}
	bounding, err := capset.Bounding(status)
	if err != nil {
		return nil
	}
	last := capset.Last()
	if s, err := read("/proc/sys/kernel/cap_last_cap"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
			last = n
		}
	}
	return bounding.Missing(last)
}

func readFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
}
