package runner

import (
	"io"
	"sync/atomic"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/formatter"
	"github.com/onsi/ginkgo/v2/types"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/reports/api/v1alpha2"
)

const title = "Istio ambient multicluster"

// Ginkgo shows a run as a Ginkgo suite: the tree of chapters and behaviors with its labels,
// Ginkgo's focus and filters, and its report. Ginkgo would run specs one after another, and ours
// wait most of their time for a mesh to follow; so a node only waits for its spec's result.
type Ginkgo struct {
	suite    types.SuiteConfig
	reporter types.ReporterConfig

	run   *Run
	skip  func(id string) (reason string, skip bool)
	known func(id string) (finding string)
}

// Ginkgo runs specs once in a process.
var claimed atomic.Bool

// NewGinkgo declares the tree. ok is false when this process has had a Ginkgo suite already: then
// there is no Ginkgo report. skip says which behaviors are not run, and why. known is asked about a
// violation, and returns its finding if it is a known one; it then does not fail the suite, as it
// does not fail a run.
func NewGinkgo(seed int64, skip func(id string) (reason string, skip bool), known func(id string) string) (g *Ginkgo, ok bool) {
	if !claimed.CompareAndSwap(false, true) {
		return nil, false
	}
	g = &Ginkgo{skip: skip, known: known}
	g.suite, g.reporter = ginkgo.GinkgoConfiguration()
	g.suite.RandomizeAllSpecs, g.suite.RandomSeed, g.reporter.Succinct = true, seed, true
	// Ginkgo keeps containers only when it previews a tree; it enters them when it runs or previews.
	ginkgo.Describe("behaviors", func() {
		for _, c := range behaviors.Chapters {
			ginkgo.Describe(c.Name, func() {
				for _, s := range spec.All() {
					if b := s.Behavior; b.Chapter().Prefix == c.Prefix {
						at := types.CodeLocation{FileName: s.File, LineNumber: s.Line}
						ginkgo.It(b.ID+" "+b.Promise, ginkgo.Label(b.ID, string(b.Level)), at, func(ginkgo.SpecContext) { g.report(b) })
					}
				}
			})
		}
	})
	return g, true
}

// Selected are the ids that Ginkgo's focus and filters leave.
func (g *Ginkgo) Selected() map[string]bool {
	ids := map[string]bool{}
	for _, r := range ginkgo.PreviewSpecs(title, g.suite, g.reporter).SpecReports {
		if r.LeafNodeType == types.NodeTypeIt && r.State.Is(types.SpecStatePassed) && len(r.LeafNodeLabels) > 0 {
			ids[r.LeafNodeLabels[0]] = true
		}
	}
	return ids
}

// Report has Ginkgo wait for the run's results and write its JSON report to file. With quiet,
// Ginkgo prints nothing of its own.
func (g *Ginkgo) Report(t ginkgo.GinkgoTestingT, run *Run, file string, quiet bool) {
	g.run = run
	g.reporter.JSONReport = file
	if quiet {
		out := formatter.ColorableStdOut
		formatter.ColorableStdOut = io.Discard
		defer func() { formatter.ColorableStdOut = out }()
	}
	ginkgo.RunSpecs(t, title, g.suite, g.reporter)
}

// report is the body of each node.
func (g *Ginkgo) report(b *behaviors.Behavior) {
	if why, skip := g.skip(b.ID); skip {
		ginkgo.Skip(why)
	}
	r, ok := g.run.Result(b.ID)
	if !ok {
		ginkgo.Fail(string(v1alpha2.Unknown) + ": " + r.Message)
	}
	for _, o := range r.Observations {
		ginkgo.GinkgoWriter.Println("  " + o)
	}
	// Ginkgo measures how long the node waited; the entry says when the spec ran.
	ginkgo.AddReportEntry(b.ID, ginkgo.ReportEntryVisibilityNever,
		map[string]any{"verdict": r.Verdict, "started": r.Started, "seconds": r.Took.Seconds()})
	failed := string(r.Verdict) + ": " + r.Message
	switch {
	case r.Verdict == v1alpha2.Conformant:
	case r.Verdict == v1alpha2.NonConformant && g.known(b.ID) != "": // Ginkgo has no word for an expected failure
		ginkgo.Skip("known, see "+g.known(b.ID)+": "+failed, 1)
	default:
		ginkgo.Fail(failed, 1)
	}
}
