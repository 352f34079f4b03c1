// Package sleep pauses until a time is over or a context ends.
package sleep

import (
	"context"
	"time"
)

// For sleeps for d and says whether it did; false means that ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
