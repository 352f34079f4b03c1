//go:build !linux

package private

import (
	"context"
	"errors"
	"runtime"

	"ambient.test/conformance/internal/progress"
)

// Start fails: only Linux has private engines.
func Start(context.Context, string, progress.Reporter) (host string, err error) {
	return "", errors.New("a private engine needs Linux, this is " + runtime.GOOS)
}

// Stop does nothing: only Linux has private engines.
func Stop(context.Context, string) error { return nil }
