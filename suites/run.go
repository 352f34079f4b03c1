// Package suites holds the specs, one package per chapter, and runs them: by `go test ./suites` or in the process of `amc run`.
package suites

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/formatter"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/prove"

	// The chapters declare their specs when they are loaded.
	_ "ambient.test/conformance/suites/balancing"
	_ "ambient.test/conformance/suites/controlplane"
	_ "ambient.test/conformance/suites/dns"
	_ "ambient.test/conformance/suites/failover"
	_ "ambient.test/conformance/suites/gateway"
	_ "ambient.test/conformance/suites/identity"
	_ "ambient.test/conformance/suites/install"
	_ "ambient.test/conformance/suites/protocols"
	_ "ambient.test/conformance/suites/scope"
	_ "ambient.test/conformance/suites/waypoint"
)

// Options of a run.
type Options struct {
	Fleet *mesh.Fleet
	Times prove.Times
	// Parallel is how many specs may be under way at once; default 1.
	Parallel int
	// Seed of the specs' order; 0 = Ginkgo's own, from the clock.
	Seed int64
	// Skip says why a behavior is not run; nil runs all.
	Skip func(id string) (reason string, skip bool)
	// Record is told each result as soon as it is there, before the spec cleans up; from several goroutines when specs run side by side.
	Record func(ctx context.Context, r prove.Result)
	// Out is where progress goes: one line a spec.
	Out io.Writer
	// Verbose adds what each spec saw to the progress.
	Verbose bool
	// Quiet keeps Ginkgo's own words off the terminal.
	Quiet bool
	// GinkgoReport is a file for Ginkgo's report in JSON; empty = none.
	GinkgoReport string
}

// Summary is what a run brought besides the results that were recorded.
type Summary struct {
	Seed          int64
	Standing, Ran time.Duration // standing workloads; all specs
	// Leaks is what specs left behind and what could not be cleaned up. LeaksKnown is false when that could not be found out.
	Leaks      []string
	LeaksKnown bool
}

// Run runs the specs against the fleet. The error is set when they could not begin: authoring mistakes, or the standing workloads could not be made.
// When ctx is canceled, the specs under way end as unknown and clean up, and no other begins.
func Run(ctx context.Context, t ginkgo.GinkgoTestingT, o Options) (*Summary, error) {
	if err := prove.Check(); err != nil {
		return nil, fmt.Errorf("authoring mistakes:\n%w", err)
	}
	if o.Skip == nil {
		o.Skip = func(string) (string, bool) { return "", false }
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.RandomizeAllSpecs, reporter.Succinct = true, true
	reporter.JSONReport = o.GinkgoReport
	if o.Seed != 0 {
		suite.RandomSeed = o.Seed
	}
	run := slices.DeleteFunc(order(suite, reporter), func(id string) bool { _, skip := o.Skip(id); return skip })
	swept, err := prove.Sweep(ctx, o.Fleet, run)
	if len(swept) > 0 {
		fmt.Fprintf(o.Out, "an earlier run was cut off and left something, which is put right now: %s\n", strings.Join(swept, "; "))
	}
	if err != nil {
		return nil, fmt.Errorf("what an earlier run left cannot be removed: %w", err)
	}
	begin := time.Now()
	world, err := prove.Build(ctx, o.Fleet, o.Times)
	if err != nil {
		return nil, err
	}
	defer world.Close()
	s := &Summary{Seed: suite.RandomSeed, Standing: time.Since(begin)}
	fmt.Fprintf(o.Out, "standing workloads ready in %s\n", seconds(s.Standing))

	show := &progress{out: o.Out, verbose: o.Verbose, of: len(run)}
	runner := &prove.Runner{World: world, Skip: o.Skip, Parallel: o.Parallel, End: func(ctx context.Context, r prove.Result) {
		if o.Record != nil {
			o.Record(ctx, r)
		}
		show.ended(r)
	}}
	prove.Use(runner)
	if o.Quiet {
		out := formatter.ColorableStdOut
		formatter.ColorableStdOut = io.Discard
		defer func() { formatter.ColorableStdOut = out }()
	}
	begin = time.Now()
	wait := runner.Start(ctx, run)
	ginkgo.RunSpecs(t, title, suite, reporter)
	wait()
	s.Ran = time.Since(begin)

	for _, err := range runner.Leaked() {
		s.Leaks = append(s.Leaks, err.Error())
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	left, err := prove.Leaks(after, o.Fleet, run)
	s.Leaks, s.LeaksKnown = append(s.Leaks, left...), err == nil
	if err != nil {
		fmt.Fprintf(o.Out, "whether specs left something behind is not known: %v\n", err)
	}
	return s, nil
}

const title = "Istio ambient multicluster"

// order is which specs Ginkgo will ask for, and in which order: its focus, its labels and its seed count.
func order(suite types.SuiteConfig, reporter types.ReporterConfig) []string {
	reporter.JSONReport = ""
	var ids []string
	for _, r := range ginkgo.PreviewSpecs(title, suite, reporter).SpecReports {
		if r.LeafNodeType == types.NodeTypeIt && r.State.Is(types.SpecStatePassed) && len(r.LeafNodeLabels) > 0 {
			ids = append(ids, r.LeafNodeLabels[0])
		}
	}
	return ids
}

// progress prints a line for each spec that has ended.
type progress struct {
	out     io.Writer
	verbose bool
	of      int

	mu sync.Mutex
	n  int
}

func (p *progress) ended(r prove.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Again {
		fmt.Fprintf(p.out, "%*s  %-9s not steady beside other specs after %s, will be run again by itself\n", 2*len(fmt.Sprint(p.of))+1, "", r.Behavior.ID, seconds(r.Took))
		return
	}
	p.n++
	var b strings.Builder
	fmt.Fprintf(&b, "%*d/%d  %-9s %-14s %6s  %s\n", len(fmt.Sprint(p.of)), p.n, p.of, r.Behavior.ID, r.Verdict, seconds(r.Took), r.Behavior.Promise)
	if p.verbose {
		for _, o := range r.Observations {
			fmt.Fprintf(&b, "          %s\n", o)
		}
	}
	if r.Message != "" {
		fmt.Fprintf(&b, "          %s\n", strings.ReplaceAll(r.Message, "\n", "\n          "))
	}
	_, _ = io.WriteString(p.out, b.String())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
