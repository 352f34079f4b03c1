package engine

import (
	"context"
	"os"
	"path/filepath"
)

// host is the machine as the checks see it. Tests use an invented one.
type host struct {
	goos  string
	root  string // stands before every path that is read or written; empty for the real machine
	admin bool   // may change sysctls and make network namespaces
	// isolated runs a program in a network namespace of its own. nil where that cannot be done.
	isolated func(ctx context.Context, program string, args ...string) (output string, err error)
	// space gives the free bytes and the type of the file system that holds a path or, if it is not
	// there yet, its nearest parent.
	space func(path string) (free uint64, fsType string, err error)
}

func (h host) read(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/", h.root, path))
	return string(b), err
}

func (h host) write(path, text string) error {
	return os.WriteFile(filepath.Join("/", h.root, path), []byte(text), 0o644)
}
