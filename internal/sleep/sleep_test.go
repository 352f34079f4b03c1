package sleep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	for name, c := range map[string]struct {
		end, d, took time.Duration
		want         bool
	}{
		"sleeps":             {end: time.Minute, d: time.Second, took: time.Second, want: true},
		"context ends first": {end: time.Second, d: time.Minute, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.end)
				defer cancel()
				begun := time.Now()
				if got := For(ctx, c.d); got != c.want {
					t.Errorf("got %t, want %t", got, c.want)
				}
				if got := time.Since(begun); got != c.took {
					t.Errorf("got %s, want %s", got, c.took)
				}
			})
		})
	}
}
