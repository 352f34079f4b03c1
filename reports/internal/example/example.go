// Package example makes reports and bundles for the tests of the packages around it.
package example

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/planned"
)

// Plan is the plan for the environment of [Head].
func Plan(t testing.TB, profile behaviors.Profile, f plan.Filters) *plan.Plan {
	t.Helper()
	head := Head()
	p, err := plan.Compute(planned.Environment(&head.Environment), profile, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Head is the head of a report of a finished release.
func Head() v1alpha2.ConformanceReport {
	return v1alpha2.ConformanceReport{
		Date: time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC), RunID: "abc123", Mode: v1alpha2.ModeConformance, Seed: 7,
		Suite: v1alpha2.Suite{Version: "v0.1.0", Commit: "0123456789abcdef0123456789abcdef01234567"},
		Environment: v1alpha2.Environment{Provider: v1alpha2.ProviderKind, Kubernetes: "v1.36.3", Istio: "1.31.0",
			Clusters: []v1alpha2.Cluster{
				{Name: "cluster1", Network: "network1", ServiceCIDR: "10.96.0.0/16", Gateways: []string{"172.18.0.100"}},
				{Name: "cluster2", Network: "network2", ServiceCIDR: "10.96.0.0/16", Gateways: []string{"172.18.0.200"}},
			}, Images: Images()},
	}
}

// Images are those of a mesh of Istio's own parts, and of the application that specs call.
func Images() (all []v1alpha2.Image) {
	for i, name := range []string{"app", "install-cni", "pilot", "proxyv2", "ztunnel"} {
		all = append(all, v1alpha2.Image{Name: name, Ref: "docker.io/istio/" + name + ":1.31.0", Digest: Digest(i + 1), Source: "pulled"})
	}
	return all
}

// Digest is one of ten digests.
func Digest(n int) string { return "sha256:" + strings.Repeat(fmt.Sprint(n%10), 64) }

// Open begins a bundle.
func Open(t testing.TB, p *plan.Plan) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Open(t.TempDir(), Head(), p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RecordAll records every planned behavior as conformant.
func RecordAll(t testing.TB, b *bundle.Bundle, p *plan.Plan) {
	t.Helper()
	for _, e := range p.Run {
		x := v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Conformant, Seconds: 1.5,
			Expectations: 2, Controls: 1, ConvergeSeconds: []float64{0.25}}
		if o := e.Behavior.Outcomes; o != nil {
			x.Outcome = o.Acceptable[0].Name
		}
		if err := b.Record(x); err != nil {
			t.Fatal(err)
		}
	}
}

// Ginkgo is the part of Ginkgo's report of a run that tells of verdicts.
func Ginkgo(t testing.TB, r *v1alpha2.ConformanceReport) []byte {
	t.Helper()
	var specs []any
	succeeded := true
	for _, b := range r.Behaviors {
		state := "passed"
		switch {
		case b.Verdict == v1alpha2.Skipped || b.Known != "":
			state = "skipped"
		case b.Verdict != v1alpha2.Conformant:
			state, succeeded = "failed", false
		}
		spec := map[string]any{
			"LeafNodeType": "It", "LeafNodeLabels": []string{b.ID, b.Level}, "LeafNodeText": b.ID + " " + b.Promise, "State": state,
		}
		if b.Verdict != v1alpha2.Skipped {
			spec["ReportEntries"] = []any{map[string]any{"Name": b.ID, "Value": map[string]any{"AsJSON": fmt.Sprintf(`{"verdict":%q}`, b.Verdict)}}}
		}
		specs = append(specs, spec)
	}
	specs = append(specs, map[string]any{"LeafNodeType": "ReportAfterSuite", "LeafNodeLabels": []string{}, "State": "passed"})
	data, err := json.MarshalIndent([]any{map[string]any{"SuiteSucceeded": succeeded, "SpecReports": specs}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// KnowFault makes a fault known for a test, of which one of these words is seen: the catalog's own list
// changes with Istio.
func KnowFault(t testing.TB, id string, seen ...string) {
	t.Helper()
	before := behaviors.KnownFaults[id]
	behaviors.KnownFaults[id] = []behaviors.Known{{Finding: "F-90", Istio: ">=1.31", Seen: seen}}
	t.Cleanup(func() { behaviors.KnownFaults[id] = before })
}

// Read reads the report of a bundle.
func Read(t testing.TB, dir string) *v1alpha2.ConformanceReport {
	t.Helper()
	r, err := bundle.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Rich is a report with something of everything: violations, unknowns, outcomes, skips of several
// classes, stand-ins, traffic, times, a flaky behavior.
func Rich(t testing.TB) *v1alpha2.ConformanceReport {
	t.Helper()
	h := Head()
	h.Implementation = v1alpha2.Implementation{Organization: "Example", Project: "mesh", Version: "v1.2.3",
		URL: "https://mesh.example.com", Contact: []string{"conformance@example.com"}}
	e := &h.Environment
	e.GatewayAPI, e.Kernel, e.Arch = "v1.6.0 standard", "6.1.0-44-amd64", "amd64"
	e.Provider = v1alpha2.ProviderExisting
	e.StandIns = []v1alpha2.StandIn{{Name: "ztunnel", What: "nodeproxy speaks ztunnel's contracts; it is not ztunnel"}}
	for i := range e.Clusters {
		c := &e.Clusters[i]
		c.Region, c.Zone, c.Nodes = fmt.Sprintf("region%d", i+1), fmt.Sprintf("zone%d", i+1), 1
		c.PodCIDR, c.ServiceCIDR = "10.244.0.0/16", "10.96.0.0/16"
	}
	p, err := plan.Compute(planned.Environment(e), behaviors.ProfileCore, plan.Filters{Exclude: []string{"DNS"}})
	if err != nil {
		t.Fatal(err)
	}
	e.Images[4].Ref, e.Images[4].Source = "images.example/nodeproxy:v0.1.0", "built"
	e.IstiodFlags = []v1alpha2.Flag{{Name: "AMBIENT_ENABLE_MULTI_NETWORK", Value: "true"}, {Name: "PILOT_ENABLE_AMBIENT", Value: "true"}}
	e.Host = &v1alpha2.Host{CPUs: 2, MemoryMB: 24576, Engine: "Docker 20.10.24"}
	h.Preflight = []v1alpha2.Check{
		{Name: "memory", Status: v1alpha2.CheckOK, Detail: "24 GiB, 4 are needed"},
		{Name: "inotify", Status: v1alpha2.CheckFixed, Detail: "raised to 8192"},
	}
	h.Isolation = &v1alpha2.Isolation{Proven: true, At: h.Date, Probes: []v1alpha2.IsolationProbe{
		{From: "cluster1", To: "cluster2", Address: "10.244.0.7:80", OK: true},
		{From: "cluster1", To: "cluster1", Address: "10.244.0.5:80", Control: true, Reached: true, Answered: "echo of cluster1", OK: true},
	}, FirewallDrops: []v1alpha2.FirewallDrops{{Cluster: "cluster1", Packets: 12}}}
	h.Timeouts = []v1alpha2.Timeout{{Name: "settle", Seconds: 60}, {Name: "hold", Seconds: 3}}
	h.Phases = []v1alpha2.Phase{{Name: "clusters", Seconds: 71.3}, {Name: "mesh", Seconds: 48}, {Name: "specs", Seconds: 402.8}}
	h.Traffic = []v1alpha2.Traffic{
		{From: "cluster1", Scope: "global", Service: "echo",
			Answered: []v1alpha2.Answered{{Cluster: "cluster1", Calls: 212}, {Cluster: "cluster2", Calls: 188}}},
		{From: "cluster1", Scope: "local", Service: "echo", Answered: []v1alpha2.Answered{{Cluster: "cluster1", Calls: 400}}},
		{From: "cluster2", Scope: "global", Service: "echo",
			Answered: []v1alpha2.Answered{{Cluster: "cluster1", Calls: 171}, {Cluster: "cluster2", Calls: 226}}, Failed: 3},
		{From: "cluster2", Scope: "global", Service: "echo behind a waypoint", Answered: []v1alpha2.Answered{{Cluster: "cluster2", Calls: 120}}},
	}
	h.Leaks = &v1alpha2.Leaks{Clean: true}
	h.Observations = []string{"neighbor drops: 1 of 40 calls, in the samples of attempts that did not count: LB-01 1 of 40"}
	b, err := bundle.Open(t.TempDir(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i, e := range p.Run {
		x := v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Conformant,
			Expectations: 3, Controls: 2, Seconds: 1 + 20*r.Float64(),
			Observations: []string{"40 of 40 calls from cluster1 were answered by cluster1 and cluster2",
				"the control from the same pod was answered"}}
		for range r.IntN(4) {
			x.ConvergeSeconds = append(x.ConvergeSeconds, math.Exp(r.NormFloat64()-1))
		}
		if o := e.Behavior.Outcomes; o != nil {
			x.Outcome = o.Acceptable[0].Name
		}
		switch i {
		case 4:
			x.Verdict = v1alpha2.NonConformant
			x.Message = "client of cluster1 -> echo.amc-lb (global)\nexpected: answers of cluster1 and cluster2\n" +
				"seen: cluster1 40 of 40\nhint: `kubectl --context cluster2 -n istio-system get pods -l istio.io/gateway-name=istio-eastwestgateway`"
		case 6:
			x.Attempts = 2
			x.Uncounted = []string{"scope.go:41: the calls: was as expected after 210ms, then was not\nexpected 24 answers\nseen     23, 1 x 503"}
		case 7:
			x.Verdict = v1alpha2.Unknown
			x.Message = "the pods of echo were not ready within 60 s: 0/1 nodes are available: insufficient cpu"
		}
		if err := b.Record(x); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range []string{p.Run[4].Behavior.ID, "LB-01"} {
		dir, err := b.EvidenceDir(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/calls.txt", []byte(strings.Repeat("call\n", i+1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	report := b.Report()
	report.Date, report.WallSeconds = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC), 522.1
	return &report
}
