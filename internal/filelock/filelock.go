// Package filelock keeps two amc processes from working on the same thing at once. The locking is
// gofrs/flock's; this package adds who holds a lock, and what to do about it. The operating system
// gives a lock back when its process ends, however it ends.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// again is how often Wait tries: a lock cannot be watched.
const again = 100 * time.Millisecond

// Wait takes the lock of a file, which it creates if need be and writes its process ID to. While
// another process holds the lock, Wait tries again until ctx ends. It calls waiting, which may be
// nil, once with what the file says about the holder.
func Wait(ctx context.Context, path string, waiting func(holder string)) (release func(), err error) {
	l := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	taken, err := l.TryLock()
	if err == nil && !taken {
		if waiting != nil {
			holder, _ := os.ReadFile(path)
			waiting(strings.TrimSpace(string(holder)))
		}
		taken, err = l.TryLockContext(ctx, again)
	}
	if err != nil || !taken {
		_ = l.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("another amc holds %s: %w", path, context.Cause(ctx))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Windows refuses to write: a holder without a name does no harm.
	_ = os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
	return func() { _ = l.Close() }, nil
}

// Dir takes the lock of a folder and leaves nothing in it. It fails at once when another process
// holds the lock.
func Dir(path string) (release func(), err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	taken, err := l.TryLock()
	if err == nil && !taken {
		err = fmt.Errorf("another amc is at work in %s: wait for it or end it", path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return func() { _ = l.Close() }, nil
}
