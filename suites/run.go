// Package suites holds the specs, one package per chapter, and runs them: by `go test ./suites` or in the process of `amc run`.
package suites

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"ambient.test/conformance/behaviors"
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
	// Skip says why a behaviour is not run; nil runs all.
	Skip func(id string) (reason string, skip bool)
	// Record is told each result as soon as it is there, before the spec cleans up.
	Record func(ctx context.Context, r prove.Result)
	Out    io.Writer // progress, one line a spec
}

// Run runs the specs against the fleet and returns all results; the error is set when the standing workloads could not be made.
func Run(ctx context.Context, t ginkgo.GinkgoTestingT, o Options) ([]prove.Result, error) {
	if err := prove.Check(); err != nil {
		return nil, fmt.Errorf("authoring mistakes:\n%w", err)
	}
	start := time.Now()
	world, err := prove.Build(ctx, o.Fleet, o.Times)
	if err != nil {
		return nil, err
	}
	defer world.Close()
	fmt.Fprintf(o.Out, "standing workloads ready in %s\n", time.Since(start).Round(100*time.Millisecond))
	var mu sync.Mutex
	var results []prove.Result
	skip := o.Skip
	if skip == nil {
		skip = func(string) (string, bool) { return "", false }
	}
	prove.Use(&prove.Runner{
		World: world,
		Skip:  skip,
		Begin: func(b *behaviors.Behavior) { fmt.Fprintf(o.Out, "%-9s %s\n", b.ID, b.Promise) },
		End: func(ctx context.Context, r prove.Result) {
			mu.Lock()
			results = append(results, r)
			mu.Unlock()
			fmt.Fprintf(o.Out, "%-9s %s in %s\n", r.Behavior.ID, r.Verdict, r.Took.Round(100*time.Millisecond))
			for _, n := range r.Observations {
				fmt.Fprintf(o.Out, "          %s\n", n)
			}
			if r.Message != "" {
				fmt.Fprintf(o.Out, "          %s\n", r.Message)
			}
			if o.Record != nil {
				o.Record(ctx, r)
			}
		},
	})
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	reporter.Succinct = true
	ginkgo.RunSpecs(t, "Istio ambient multicluster", suite, reporter)
	return results, nil
}
