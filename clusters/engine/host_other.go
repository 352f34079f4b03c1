//go:build !linux

package engine

import "runtime"

var osHost = host{goos: runtime.GOOS}
