// Package command makes errors of other programs' ends readable.
package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Cause returns why a command failed. A canceled context or a missed deadline is the reason that
// counts: the "signal: killed" that follows from it says nothing. A program that is not installed
// is named as such.
func Cause(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: install it", err)
	}
	return err
}

// Tail returns the last n lines of a command's output as one line, for the end of an error.
func Tail(output string, n int) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(strings.Join(lines[max(0, len(lines)-n):], " | "))
}
