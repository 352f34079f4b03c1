// Command amc runs the conformance suite for Istio ambient multicluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/internal/filelock"
	"ambient.test/conformance/reports/summary"
)

// Exit codes.
const (
	exitConformant    = summary.ExitConformant
	exitNonConformant = summary.ExitNonConformant
	exitUnknown       = summary.ExitUnknown
	exitUsage         = summary.ExitUsage
)

// exit is an error that knows its exit code.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return e.err.Error() }
func (e exit) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return exit{exitUsage, fmt.Errorf(format, args...)} }
func unknown(err error) error                { return exit{exitUnknown, err} }

func main() {
	if os.Getenv(kind.ChildEnv) != "" { // this process makes one cluster, see clusters/kind
		if err := kind.ChildMain(os.Args[1:]); err != nil {
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second ctrl-C ends the process at once
	err := root().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "amc:", err)
	var e exit
	if !errors.As(err, &e) {
		e.code = exitUsage // cobra's own: unknown commands and flags
	}
	os.Exit(e.code)
}

// hold keeps other amc processes away from folders, which are made if need be, until release is called or this process ends.
func hold(dirs ...string) (release func(), err error) {
	var all []func()
	release = func() {
		for _, r := range all {
			r()
		}
	}
	seen := map[string]bool{}
	for _, d := range dirs {
		d, err := filepath.Abs(d)
		if err == nil {
			err = os.MkdirAll(d, 0o755)
		}
		if err == nil {
			d, err = filepath.EvalSymlinks(d)
		}
		if seen[d] {
			continue
		}
		seen[d] = true
		var r func()
		if err == nil {
			r, err = filelock.Dir(d)
		}
		if err != nil {
			release()
			return nil, unknown(err)
		}
		all = append(all, r)
	}
	return release, nil
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "amc",
		Short:         "Conformance and end-to-end suite for Istio ambient multicluster",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(upCommand(), downCommand(), benchCommand(), fleetCommand(), rbacCommand(), imagesCommand(), runCommand(), mutateCommand(), preflightCommand(), listCommand(), explainCommand(), planCommand(), renderCommand(), verifyCommand(), signCommand(), diffCommand(), matrixCommand())
	return c
}
