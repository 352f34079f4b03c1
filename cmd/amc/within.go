package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// patience is how long the verbs that read a bundle may take. A bundle may come from a stranger,
// and no honest one takes so long.
const patience = 30 * time.Second

// memoryLimit is from where on the garbage of these verbs is collected at once. What they need at
// the same time is bounded by the limits of a bundle and is less than that.
const memoryLimit = 320 << 20

// within does something that needs no clean-up and gives it up when it takes too long or the user
// interrupts it: what a bundle makes it compute must not keep it from ending. What is given up goes
// on until the process ends, so do must print nothing.
func within[T any](ctx context.Context, most time.Duration, what string, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryLimit))
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := do(ctx)
		done <- result{v, err}
	}()
	var none T
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return none, unknown(fmt.Errorf("%s took longer than %s and was given up: no bundle of a run takes so long", what, most))
		}
		return none, unknown(fmt.Errorf("%s was interrupted", what))
	}
}
