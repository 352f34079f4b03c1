//go:build unix

// Package filelock keeps two processes from working on the same thing at once. The kernel gives a lock back when its process ends, however it ends.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Wait takes the lock of a file, which is made if need be and then names this process. While another process holds it, Wait tries again until ctx ends;
// waiting, which may be nil, is told once, with what the file says of the holder.
func Wait(ctx context.Context, path string, waiting func(holder string)) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		held, err := try(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if !held {
			break
		}
		if waiting != nil {
			holder, _ := os.ReadFile(path)
			waiting(strings.TrimSpace(string(holder)))
			waiting = nil
		}
		select { // flock cannot be watched, and a blocked call could not be canceled
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("another amc holds %s: %w", path, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return func() { _ = f.Close() }, nil
}

// Dir takes the lock of a folder that is there, without leaving anything in it. When another process holds it the error says so at once.
func Dir(path string) (release func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	held, err := try(f)
	if err == nil && held {
		err = fmt.Errorf("another amc is at work in %s: wait for it or end it", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// try says whether somebody else holds the lock of f; if not, it is taken.
func try(f *os.File) (held bool, err error) {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return false, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return true, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}
