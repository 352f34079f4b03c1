package command

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestCause(t *testing.T) {
	gone := errors.New("no answer within 2 minutes")
	canceled, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	late, stop := context.WithTimeoutCause(context.Background(), -time.Second, gone)
	defer stop()
	killed := errors.New("signal: killed")
	_, missing := exec.LookPath("no-such-program")
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want error
	}{
		"no error stays none":         {canceled, nil, nil},
		"the context's reason counts": {canceled, killed, gone},
		"so does a deadline's":        {late, killed, gone},
		"else it is the command's":    {context.Background(), killed, killed},
		"a missing program":           {context.Background(), missing, exec.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Cause(c.ctx, c.err); !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := Cause(context.Background(), missing); !strings.HasSuffix(got.Error(), ": install it") {
		t.Errorf("got %v, want it to say what helps", got)
	}
}

func TestTail(t *testing.T) {
	for output, want := range map[string]string{"": "", "a\n": "a", "a\nb\nc\n": "b | c"} {
		t.Run(want, func(t *testing.T) {
			if got := Tail(output, 2); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
