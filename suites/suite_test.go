package suites_test

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/run"
	_ "ambient.test/conformance/suites"
)

var (
	fleet     = flag.String("fleet", "", "fleet file; without it no spec runs and only the authoring is checked")
	artifacts = flag.String("artifacts", "", "folder of the bundle; default a temporary one that is removed")
	profile   = flag.String("profile", string(behaviors.ProfileCore), "what to prove: smoke, core, extended, limits or all")
	include   = flag.String("include", "", "only these: ids, globs (GW-*) or chapters (LB), separated by commas")
	settle    = flag.Duration("settle", spec.DefaultTimes.Convergence, "convergence timeout: how long a change may take to show in traffic")
	hold      = flag.Duration("hold", spec.DefaultTimes.Hold, "hold time: how long the effect must then stay")
	parallel  = flag.Int("side-by-side", 0, "how many specs may run at the same time; default as amc run")
)

// TestAuthoring needs no cluster: the catalog and the specs agree.
func TestAuthoring(t *testing.T) {
	if err := spec.Check(); err != nil {
		t.Error(err)
	}
}

// TestConformance runs the specs against a fleet and writes the same bundle as `amc run`.
func TestConformance(t *testing.T) {
	if *fleet == "" {
		t.Skip("no fleet: give one with -args -fleet FILE")
	}
	o := run.Options{
		Fleet: *fleet, Artifacts: *artifacts, Parallel: *parallel, Times: spec.DefaultTimes, Out: os.Stdout, Verbose: true, T: t,
		Selection: run.Selection{Profile: behaviors.Profile(*profile)},
	}
	o.Times.Convergence, o.Times.Hold = *settle, *hold
	if o.Artifacts == "" {
		o.Artifacts = t.TempDir()
	}
	if *include != "" {
		o.Filters = plan.Filters{Include: strings.Split(*include, ",")}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := run.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := summary.Table(os.Stdout, report); err != nil {
		t.Error(err)
	}
	if code := summary.ExitCode(report); code != 0 {
		t.Errorf("the run is %s (exit code %d): see the table, and the bundle in %s", report.Result, code, o.Artifacts)
	}
	if report.Leaks != nil {
		for _, left := range report.Leaks.Found {
			t.Errorf("left behind: %s", left)
		}
	}
}
