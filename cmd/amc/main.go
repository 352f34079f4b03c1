// Command amc runs the conformance suite for Istio ambient multicluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/internal/filelock"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
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
	if os.Getenv(kind.ChildEnv) != "" { // this process creates one cluster, see clusters/kind
		if err := kind.ChildMain(os.Args[1:]); err != nil {
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second ctrl-C ends the process at once
	out := &output{File: os.Stdout}
	err := command(out).ExecuteContext(ctx)
	if out.failed != nil {
		err = unknown(fmt.Errorf("the output is not whole: %w", out.failed))
	}
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "amc:", text.Printable(err.Error())) // it may quote a stranger's report
	var e exit
	if !errors.As(err, &e) {
		e.code = exitUsage // an error of cobra: unknown commands and flags
	}
	os.Exit(e.code)
}

// lockDirs locks folders against other amc processes until release is called or this process ends.
func lockDirs(dirs ...string) (release func(), err error) {
	if release, err = filelock.Dirs(dirs...); err != nil {
		return nil, unknown(err)
	}
	return release, nil
}

func root() *cobra.Command {
	version := false
	c := &cobra.Command{
		Use:           "amc",
		Short:         "Conformance and end-to-end suite for Istio ambient multicluster",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if version {
				return writeRelease(c.OutOrStdout(), thisRelease())
			}
			return c.Help()
		},
	}
	c.Flags().BoolVar(&version, "version", false, "say which release this is, as amc version does")
	for _, g := range []struct {
		id, title string
		verbs     []*cobra.Command
	}{
		{"fleet", "Fleet: clusters that form a mesh", []*cobra.Command{
			upCommand(), downCommand(), cleanCommand(), fleetCommand(), rbacCommand(), imagesCommand(), preflightCommand(),
		}},
		{"catalog", "Catalog: what is promised, and what a run would prove", []*cobra.Command{listCommand(), explainCommand(), planCommand()}},
		{"run", "Run: the specs", []*cobra.Command{runCommand(), mutateCommand()}},
		{"report", "Report: the bundle of a run", []*cobra.Command{
			renderCommand(), verifyCommand(), signCommand(), diffCommand(), versionCommand(),
		}},
	} {
		c.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, v := range g.verbs {
			v.GroupID = g.id
			c.AddCommand(v)
		}
	}
	// These are for the project itself: figures of a run, and the jobs of its CI.
	for _, v := range []*cobra.Command{benchCommand(), matrixCommand()} {
		v.Hidden = true
		c.AddCommand(v)
	}
	return c
}
