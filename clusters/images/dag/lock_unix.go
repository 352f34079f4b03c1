//go:build unix

package dag

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ambient.test/conformance/framework/progress"
)

// lock takes the store for this process; the kernel gives it back when the process ends, however it ends.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	path := filepath.Join(s.Dir, ".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	said := false
	var item progress.Item
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !said && s.Progress != nil {
			said = true
			holder, _ := os.ReadFile(path)
			phase := s.Progress.Phase(s.Phase+" lock", 1)
			item = phase.Item("waiting")
			item.Note("another amc (pid %s) is at work in %s; waiting for it", strings.TrimSpace(string(holder)), s.Dir)
			defer phase.Close(nil)
		}
		select { // flock cannot be watched; a blocked call could not be cancelled
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
	if item != nil {
		item.Done(nil)
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return func() { f.Close() }, nil
}
