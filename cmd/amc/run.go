package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
	"ambient.test/conformance/run"
)

func runCommand() *cobra.Command {
	o := run.Options{Times: spec.DefaultTimes}
	var p planFlags
	var implementation string
	c := &cobra.Command{
		Use:   "run",
		Short: "run the specs of a profile against a fleet and write the bundle: report, JUnit, evidence",
		Long: `Run proves what the profile promises against the fleet of a fleet file. It writes a bundle into the
artifacts folder: ` + layout.ReportFile + `, ` + layout.JUnitFile + `, ` + layout.HTMLFile + `, and a
folder of evidence for each failure. The bundle is valid at every moment. If the run is killed, what
never ran is unknown in it, and ` + "`amc render`" + ` closes it.

Exit codes: 0 conformant (profile limits: recorded), 1 a promise was seen broken, 2 unknown or partial,
3 usage. A run is conformant only if every core behavior of its profile that has a spec and that this
version of Istio promises ran and held, but for faults that are known of this version. It is unknown
if the environment broke, partial if something was not to be run: because of the fleet's shape, a
feature, a stand-in, or the user's choice. The last line says which.

Most of a run is spent by specs that must be alone and mostly wait. With --twin other fleets that are like
the first take their share of them; each must have been made by ` + "`amc up --artifacts FOLDER`" + ` with the
same options. Beside each other, specs begin only while the machine has a fifth of its processors idle.

Ctrl-C ends the running specs, cleans up and closes the bundle. A second Ctrl-C stops at once, without
cleaning up.`,
		Example: `  amc run
  amc run --profile smoke --include 'GW-*,LB-01'
  amc run --fleet other/fleet.yaml --artifacts other/run1 --verbose
  amc up --artifacts _artifacts/twin1 && amc run --twin _artifacts/twin1/fleet.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Implementation, err = readImplementation(implementation); err != nil {
				return err
			}
			o.Selection, o.Out = p.selection(), c.OutOrStdout()
			o.Anew = func(ctx context.Context, fleet string) error { return anew(ctx, o.Out, fleet) }
			ctx, undo := endAtOnceOnSecond(c.Context(), o.Out)
			defer undo()
			r, err := run.Run(ctx, o)
			var bad run.UsageError
			if errors.As(err, &bad) {
				return usage("%w", err)
			}
			if r == nil {
				return unknown(err)
			}
			return conclude(o.Out, r, o.Artifacts, err)
		},
	}
	p.flags(c)
	implementationFlag(c, &implementation)
	f := c.Flags()
	f.BoolVar(&o.Certified, "certified", false,
		"keep the rules of a certificate (docs/certify.md); options that break a rule are refused before anything runs")
	f.BoolVar(&o.FailOnFlake, "fail-on-flake", false, "fail (exit code 2) if a behavior was settled only by another attempt, alone")
	f.BoolVar(&o.FailOnFixed, "fail-on-fixed", false,
		"fail (exit code 2) if a behavior holds that this version of Istio is known to break (docs/findings.md)")
	f.StringVar(&o.Fleet, "fleet", filepath.Join(artifactsDefault, kind.FleetFile), "the fleet file")
	f.StringArrayVar(&o.Twins, "twin", nil,
		"fleet file of another fleet, made by the same options of amc up in another folder, that takes its share of the specs; can be repeated")
	f.StringVar(&o.Artifacts, "artifacts", artifactsDefault, "folder of the bundle; an older bundle in it is replaced")
	f.DurationVar(&o.Times.Convergence, "settle", o.Times.Convergence, "convergence timeout: how long a change may take to show in traffic")
	f.DurationVar(&o.Times.Hold, "hold", o.Times.Hold, "hold time: how long the effect must then stay")
	f.DurationVar(&o.Times.Spec, "spec-timeout", o.Times.Spec, "how long one spec may take")
	f.IntVar(&o.Parallel, "parallel", 0,
		"how many specs may run at the same time on a fleet (default: 12, as the machine's load allows, or 8 divided by the number of "+
			"clusters where nobody can measure it); serial specs always run alone")
	f.Int64Var(&o.Seed, "seed", 0, "seed of the specs' order (default: from the clock)")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "print what each spec saw")
	return c
}

func implementationFlag(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "implementation", "",
		"YAML file that says whose mesh is tested: organization, project, version, url, contact")
}

// readImplementation reads the file of --implementation, if there is one.
func readImplementation(name string) (i v1alpha2.Implementation, err error) {
	if name == "" {
		return i, nil
	}
	if i, err = run.ReadImplementation(name); err != nil {
		return i, usage("--implementation %w", err)
	}
	return i, nil
}

// endAtOnceOnSecond says what an interrupt does, and ends the process at the next one: Ginkgo would
// swallow it.
func endAtOnceOnSecond(ctx context.Context, out io.Writer) (context.Context, func()) {
	again := make(chan os.Signal, 1)
	stop := context.AfterFunc(ctx, func() {
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		fmt.Fprintln(out, "interrupted: ending the running specs and cleaning up; interrupt again to stop at once, without cleaning up")
		if _, more := <-again; more {
			os.Exit(exitUnknown)
		}
	})
	return ctx, func() {
		stop()
		signal.Stop(again)
		close(again)
	}
}

// conclude prints a run's table and turns its report into the exit code. broken says why the run as
// a whole could not go on.
func conclude(out io.Writer, r *v1alpha2.ConformanceReport, bundle string, broken error) error {
	fmt.Fprintln(out)
	if err := summary.Table(out, r); err != nil {
		return unknown(err)
	}
	if r.Leaks != nil {
		for _, l := range r.Leaks.Found {
			fmt.Fprintf(out, "left behind: %s\n", text.Line(l, 400))
		}
	}
	for _, s := range r.Environment.StandIns {
		fmt.Fprintf(out, "stand-in for %s: %s\n", text.Line(s.Name, 40), text.Line(s.What, 400))
	}
	fmt.Fprintf(out, "\nbundle: %s\n", bundle)
	code := summary.ExitCode(r)
	switch {
	case code == exitNonConformant:
		return exit{code, fmt.Errorf("%d promises were seen broken: see above, and the evidence in %s",
			r.Summary.NonConformant, filepath.Join(bundle, layout.EvidenceDir))}
	case broken != nil:
		return unknown(broken)
	case code != exitConformant:
		return exit{code, errors.New(incomplete(r))}
	}
	return nil
}

// incomplete says what keeps a run from success, and what to do about it.
func incomplete(r *v1alpha2.ConformanceReport) string {
	next := "run it again"
	switch ran := r.Summary.Conformant + r.Summary.Unknown; {
	case len(summary.Uncovered(r)) > 0 || ran == 0:
		next = "`amc plan` with the same flags says what is skipped and why"
	case r.Summary.Unknown > 0:
		next = "see above why, then run it again"
	case r.Leaks != nil && !r.Leaks.Clean:
		next = "the next run removes what was left"
	}
	result := v1alpha2.Partial
	if r.Summary.Unknown > 0 || r.Summary.Conformant == 0 {
		result = "unknown"
	}
	return fmt.Sprintf("%s: %s: %s", result, strings.Join(summary.Shortfalls(r), "; "), next)
}
