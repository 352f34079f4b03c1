package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/evidence"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/preflight"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/suites"
)

type runOptions struct {
	wishes
	vendor
	fleet, artifacts string
	times            prove.Times
	parallel         int
	seed             int64
	verbose, dry     bool
}

func runCommand() *cobra.Command {
	o := runOptions{times: prove.DefaultTimes}
	c := &cobra.Command{
		Use:   "run",
		Short: "run the specs of a profile against a fleet and write the bundle: report, JUnit, evidence",
		Long: `Run proves what the profile promises against the fleet of a fleet file and writes a bundle into the artifacts folder: ` + reports.ReportFile + `,
` + reports.JUnitFile + `, ` + reports.HTMLFile + `, and for each failure a folder of evidence. The bundle is valid at every moment; after a run that was killed,
what never ran is unknown in it, and ` + "`amc render`" + ` closes it.

Exit codes: 0 conformant, 1 a promise was seen broken, 2 something is unknown because the environment broke, 3 usage.
Ctrl-C ends the specs under way, cleans up after them and closes the bundle; a second one ends at once and leaves all as it is.`,
		Example: `  amc run
  amc run --profile smoke --include 'GW-*,LB-01'
  amc run --fleet other/fleet.yaml --artifacts other/run1 --verbose`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return run(c.Context(), c.OutOrStdout(), o) },
	}
	o.wishes.flags(c)
	o.vendor.flags(c)
	f := c.Flags()
	f.StringVar(&o.fleet, "fleet", filepath.Join(artifactsDefault, kind.FleetFile), "the fleet file")
	f.StringVar(&o.artifacts, "artifacts", artifactsDefault, "folder of the bundle; an older bundle in it is replaced")
	f.DurationVar(&o.times.Settle, "settle", o.times.Settle, "how long a change may take to show in traffic")
	f.DurationVar(&o.times.Hold, "hold", o.times.Hold, "how long it must then stay")
	f.DurationVar(&o.times.Spec, "spec-timeout", o.times.Spec, "how long one spec may take")
	f.IntVar(&o.parallel, "parallel", 0, "how many specs may be under way at once (default: 8 divided by the clusters); those that change what others stand on always run alone")
	f.Int64Var(&o.seed, "seed", 0, "seed of the specs' order (default: from the clock)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print what each spec saw")
	f.BoolVar(&o.dry, "dry-run", false, "print the plan and end")
	return c
}

func run(ctx context.Context, out io.Writer, o runOptions) error {
	for flag, bad := range map[string]bool{"settle": o.times.Settle <= 0, "hold": o.times.Hold < 0, "spec-timeout": o.times.Spec <= 0, "parallel": o.parallel < 0} {
		if bad {
			return usage("--%s cannot be so little", flag)
		}
	}
	f, err := mesh.Load(o.fleet)
	if err != nil {
		return usage("%w", err)
	}
	p, err := o.plan(environment(f))
	if err != nil {
		return err
	}
	if o.dry {
		return writePlan(out, p, formatTable)
	}
	switch {
	case o.parallel == 0 && o.vendor.certified:
		o.parallel = 1 // nothing may have to be run again
	case o.parallel == 0:
		// Every spec changes the gateways of all clusters and calls from each to all: with their number grows what specs side by side take from each other.
		o.parallel = max(1, 8/max(1, len(f.Clusters)))
	}
	if o.seed == 0 {
		o.seed = time.Now().Unix()
	}
	fmt.Fprintf(out, "plan: %s\n", planSentence(p))
	about := head(f, p, o)
	if err := o.vendor.apply(&about); err != nil {
		return err
	}
	release, err := hold(o.artifacts, filepath.Dir(f.Path()))
	if err != nil {
		return err
	}
	defer release()
	b, err := reports.Open(o.artifacts, about, p)
	if err != nil {
		return usage("%w", err)
	}
	ctx, undo := endAtOnceOnSecond(ctx, out)
	defer undo()
	broken := conduct(ctx, out, f, p, b, o)
	return finish(ctx, out, b, broken)
}

// endAtOnceOnSecond says what an interrupt does, and ends the process at the next one: Ginkgo would swallow it.
func endAtOnceOnSecond(ctx context.Context, out io.Writer) (context.Context, func()) {
	again := make(chan os.Signal, 1)
	stop := context.AfterFunc(ctx, func() {
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		fmt.Fprintln(out, "interrupted: ending the specs under way and cleaning up after them; once more ends at once and leaves all as it is")
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

// conduct does what the plan says and records it. The error is why the run as a whole could not go on.
func conduct(ctx context.Context, out io.Writer, f *mesh.Fleet, p *plan.Plan, b *reports.Bundle, o runOptions) error {
	began := time.Now()
	phase := func(name string, took time.Duration) {
		_ = b.Update(func(r *v1alpha2.ConformanceReport) {
			r.Phases = append(r.Phases, v1alpha2.Phase{Name: name, Seconds: took.Round(time.Millisecond).Seconds()})
		})
	}
	checks, err := healthy(ctx, f)
	if data, merr := json.MarshalIndent(checks, "", "  "); merr == nil {
		err = errors.Join(err, b.Attach(reports.PreflightFile, append(data, '\n')))
	}
	err = errors.Join(err, b.Update(func(r *v1alpha2.ConformanceReport) { r.Preflight = checks }))
	if err != nil {
		return err
	}
	seen, err := survey(ctx, f)
	if err != nil {
		return err
	}
	if err := b.Update(func(r *v1alpha2.ConformanceReport) { describe(&r.Environment, f, seen) }); err != nil {
		return err
	}
	phase("preflight", time.Since(began))
	if len(p.Run) == 0 {
		return nil
	}
	scratch, err := os.MkdirTemp("", "amc-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	ginkgoReport := filepath.Join(scratch, reports.GinkgoFile)
	var t failing
	var table []prove.Seen
	s, err := suites.Run(ctx, &t, suites.Options{
		Fleet: f, Times: o.times, Parallel: o.parallel, Seed: o.seed, Out: out, Verbose: o.verbose, Quiet: true, GinkgoReport: ginkgoReport,
		Skip: func(id string) (string, bool) {
			e, runs := p.Of(id)
			if runs {
				return "", false
			}
			return fmt.Sprintf("%s: %s", e.Class, e.Reason), true
		},
		Record: func(ctx context.Context, r prove.Result) {
			record(ctx, out, b, f, r)
			_ = b.Update(func(report *v1alpha2.ConformanceReport) { // one after the other: it holds the bundle's lock
				table = prove.Add(table, r.Seen...)
				report.Traffic = answers(table)
			})
		},
	})
	if err != nil {
		return err
	}
	phase("standing workloads", s.Standing)
	phase("specs", s.Ran)
	if data, err := os.ReadFile(ginkgoReport); err == nil {
		if err := b.Attach(reports.GinkgoFile, reports.Redact(data)); err != nil {
			return err
		}
	}
	return errors.Join(leaks(b, s), rejected(ctx, out, b, f), ctx.Err())
}

// record keeps a result, and for what is not conformant the evidence.
func record(ctx context.Context, out io.Writer, b *reports.Bundle, f *mesh.Fleet, r prove.Result) {
	err := b.Record(resultOf(r))
	if r.Verdict != prove.Conformant && ctx.Err() == nil {
		dir, derr := b.EvidenceDir(r.Behavior.ID)
		if derr == nil {
			derr = evidence.Save(ctx, dir, f, evidence.Case{
				Since: r.Started, Namespaces: []string{prove.MeshNamespace, prove.PlainNamespace}, Calls: r.Calls,
				Finding: fmt.Sprintf("%s %s\n%s\n\n%s\n\n%s", r.Behavior.ID, r.Behavior.Promise, r.Verdict, r.Message, strings.Join(r.Observations, "\n")),
			})
		}
		err = errors.Join(err, derr)
	}
	if err != nil {
		fmt.Fprintf(out, "%s: %v\n", r.Behavior.ID, err)
	}
}

func resultOf(r prove.Result) v1alpha2.BehaviorResult {
	x := v1alpha2.BehaviorResult{
		ID: r.Behavior.ID, Verdict: v1alpha2.Verdict(r.Verdict), Outcome: r.Outcome, Seconds: r.Took.Seconds(), Claims: r.Claims, Twins: r.Twins,
		Observations: append([]string(nil), r.Observations...), Message: r.Message,
	}
	for _, d := range r.Converge {
		x.ConvergeSeconds = append(x.ConvergeSeconds, d.Seconds())
	}
	return x
}

// answers is the table of who answered whom, for the report.
func answers(table []prove.Seen) (all []v1alpha2.Traffic) {
	for _, x := range table {
		t := v1alpha2.Traffic{From: x.From, Scope: x.Scope, Service: x.Service, Answered: []v1alpha2.Answered{}, Failed: x.Failed}
		for _, cluster := range slices.Sorted(maps.Keys(x.Answered)) {
			t.Answered = append(t.Answered, v1alpha2.Answered{Cluster: cluster, Calls: x.Answered[cluster]})
		}
		all = append(all, t)
	}
	return all
}

// leaks reports what specs left behind.
func leaks(b *reports.Bundle, s *suites.Summary) error {
	if !s.LeaksKnown && len(s.Leaks) == 0 {
		return nil // the check did not run: the report has none
	}
	return b.Update(func(r *v1alpha2.ConformanceReport) {
		r.Leaks = &v1alpha2.Leaks{Clean: len(s.Leaks) == 0, Found: s.Leaks}
	})
}

// rejected adds how many packets of pods the nodes' firewalls have kept in by now.
func rejected(ctx context.Context, out io.Writer, b *reports.Bundle, f *mesh.Fleet) error {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	counts, err := kind.FirewallDrops(ctx, f)
	if err != nil {
		return err
	}
	return b.Update(func(r *v1alpha2.ConformanceReport) {
		if r.Isolation == nil {
			r.Isolation = &v1alpha2.Isolation{}
		}
		r.Isolation.Rejected = rejections(counts)
		for _, c := range r.Isolation.Rejected {
			fmt.Fprintf(out, "%s: %d packets that would have left the fleet were rejected since the node began\n", c.Cluster, c.Packets)
		}
	})
}

// finish closes the bundle, whatever happened, and turns it into the exit code.
func finish(ctx context.Context, out io.Writer, b *reports.Bundle, broken error) error {
	switch {
	case ctx.Err() != nil:
		broken = errors.New("it was interrupted: `amc run` with the same flags begins anew")
	case broken != nil:
		broken = fmt.Errorf("%s", reports.Redact([]byte(broken.Error())))
	}
	if broken != nil {
		if err := b.Update(func(r *v1alpha2.ConformanceReport) { r.Failure = broken.Error() }); err != nil {
			broken = errors.Join(broken, err)
		}
	}
	_, closing := b.Close(context.WithoutCancel(ctx))
	r := b.Report()
	fmt.Fprintln(out)
	if err := reports.Table(out, &r); err != nil {
		return unknown(err)
	}
	found := 0
	if r.Leaks != nil {
		found = len(r.Leaks.Found)
		for _, l := range r.Leaks.Found {
			fmt.Fprintf(out, "left behind: %s\n", l)
		}
	}
	for _, s := range r.Environment.StandIns {
		fmt.Fprintf(out, "stand-in for %s: %s\n", s.Name, s.What)
	}
	fmt.Fprintf(out, "\nbundle: %s\n", b.Dir())
	code := reports.ExitCode(&r)
	switch {
	case closing != nil:
		return exit{max(code, exitUnknown), closing}
	case code == exitNonConformant:
		return exit{code, fmt.Errorf("%d promises were seen broken: see above, and the evidence in %s", r.Summary.NonConformant, filepath.Join(b.Dir(), reports.EvidenceDir))}
	case broken != nil:
		return unknown(broken)
	case code != 0:
		return exit{code, cmp.Or(unsettled(&r), errors.New("nothing ran: `amc plan` with the same flags says why"))}
	case found > 0:
		return unknown(fmt.Errorf("all that ran is conformant, but %d things were left behind: see above; the next run removes them", found))
	}
	return nil
}

func unsettled(r *v1alpha2.ConformanceReport) error {
	if r.Summary.Unknown == 0 {
		return nil
	}
	return fmt.Errorf("of %d promises nothing was learned because the environment broke: see above", r.Summary.Unknown)
}

// patience is how long a run waits for a mesh that is not ready, for example after a restart.
const patience = 30 * time.Second

// healthy says whether the fleet can be used, with a row for each check. The error names all that
// is wrong. It starts stopped nodes of a fleet of ours.
func healthy(ctx context.Context, f *mesh.Fleet) ([]v1alpha2.Check, error) {
	var rows []v1alpha2.Check
	if f.Provider == mesh.ProviderKind {
		rows = append(rows, machine(ctx, f)...)
		if err := kind.Health(ctx, f); err != nil {
			return append(rows, v1alpha2.Check{Name: "nodes", Status: "fail", Detail: err.Error()}), err
		}
		rows = append(rows, v1alpha2.Check{Name: "nodes", Status: "ok", Detail: "every node runs behind its firewall"})
	}
	fleet, err := preflight.Fleet(ctx, f, preflight.Options{Namespaces: []string{prove.MeshNamespace, prove.PlainNamespace}, Patience: patience})
	return append(rows, fleet...), err
}

// environment is what the plan is told of a fleet. What is not known stays false, and what needs it is skipped.
func environment(f *mesh.Fleet) plan.Environment {
	networks, ranges, nodes := map[string]bool{}, map[string]bool{}, 1
	for _, c := range f.Clusters {
		networks[c.Network], ranges[c.ServiceCIDR] = true, true
		if c.Kind != nil {
			nodes = max(nodes, len(c.Kind.Nodes))
		}
	}
	owned := f.Provider == mesh.ProviderKind
	env := plan.Environment{
		Provider: f.Provider, Istio: f.Istio, Clusters: len(f.Clusters), Networks: len(networks), Nodes: nodes,
		Owned: owned, MeshAdmin: owned || f.MeshAdmin, NodeAccess: owned,
		MeshCA:    true, // istiod signs for any ServiceAccount whose token the suite can ask for
		Waypoints: true, SameAddresses: len(ranges) == 1 && !ranges[""],
	}
	for name, i := range f.Images {
		if i.StandIn != "" {
			env.StandIns = append(env.StandIns, name)
		}
	}
	return env
}

// mode is the rules that a run of a profile keeps.
func mode(p behaviors.Profile) v1alpha2.Mode {
	if p == behaviors.ProfileSmoke {
		return v1alpha2.ModeSmoke
	}
	return v1alpha2.ModeConformance
}

// failing lets Ginkgo tell that the suite failed; the verdicts say why.
type failing struct{ failed bool }

func (t *failing) Fail() { t.failed = true }
