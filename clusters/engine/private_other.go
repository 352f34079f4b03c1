//go:build !linux

package engine

import (
	"context"
	"errors"
	"runtime"
)

func startPrivate(context.Context, Options) (*Engine, error) {
	return nil, errors.New("a private engine needs Linux, this is " + runtime.GOOS)
}

// Stop does nothing: only Linux has private engines.
func Stop(context.Context, string) error { return nil }
