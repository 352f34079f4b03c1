package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	never := func(context.Context) (int, error) { select {} }
	broken := errors.New("the bundle is broken")
	for name, c := range map[string]struct {
		most      time.Duration
		interrupt bool
		do        func(context.Context) (int, error)
		want      int
		err       string
	}{
		"done":        {time.Minute, false, func(context.Context) (int, error) { return 7, nil }, 7, ""},
		"failed":      {time.Minute, false, func(context.Context) (int, error) { return 0, broken }, 0, broken.Error()},
		"endless":     {20 * time.Millisecond, false, never, 0, "verify took longer than 20ms and was given up"},
		"interrupted": {time.Minute, true, never, 0, "verify was interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.interrupt {
				time.AfterFunc(20*time.Millisecond, cancel)
			}
			began := time.Now()
			got, err := within(ctx, c.most, "verify", c.do)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			wantError(t, err, c.err)
		})
	}
}
