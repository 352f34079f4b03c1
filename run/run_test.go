package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// planned is a run of two planned behaviors, with an open bundle.
func planned(t *testing.T) *run {
	t.Helper()
	f := &mesh.Fleet{RunID: "r", Provider: mesh.ProviderKind, Istio: "1.31.0", Clusters: []*mesh.Cluster{
		{Name: "cluster1", Network: "network1"}, {Name: "cluster2", Network: "network2"}}}
	p, err := Selection{Filters: plan.Filters{Include: []string{"SCOPE-01", "LB-01"}}}.Plan(Environment(f))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Run) != 2 {
		t.Fatalf("%d behaviors are planned, want 2", len(p.Run))
	}
	r := &run{Options: Options{Times: spec.DefaultTimes, Seed: 1}, fleet: f, plan: p}
	if r.bundle, err = bundle.Open(t.TempDir(), r.head(), p); err != nil {
		t.Fatal(err)
	}
	return r
}

// However a run ends, its bundle is closed and says why.
func TestFinish(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		broken  error
		failure string
	}{
		"all well":      {t.Context(), nil, ""},
		"set-up failed": {t.Context(), errors.New("cluster1: gone, Bearer abcdefghijklmnopqrstuvwxyz"), "cluster1: gone"},
		"interrupted":   {over, nil, "interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			r := planned(t)
			if err := r.bundle.Record(resultOf(spec.Result{Behavior: behaviors.ByID("SCOPE-01"), Verdict: v1alpha2.Conformant,
				Expectations: 1, Controls: 1})); err != nil {
				t.Fatal(err)
			}
			report, err := r.finish(c.ctx, c.broken)
			if (err != nil) != (c.failure != "") {
				t.Errorf("got error %v, want one with %q", err, c.failure)
			}
			if !report.Finished {
				t.Error("the report is not finished")
			}
			if !strings.Contains(report.Failure, c.failure) {
				t.Errorf("got failure %q, want one with %q", report.Failure, c.failure)
			}
			if strings.Contains(report.Failure, "abcdefghij") {
				t.Errorf("a token is in the failure: %q", report.Failure)
			}
			if _, err := os.Stat(filepath.Join(r.bundle.Dir(), layout.SumsFile)); err != nil {
				t.Errorf("the bundle is not closed: %v", err)
			}
		})
	}
}

func TestSecretInEvidenceKeepsTheBundleOpen(t *testing.T) {
	r := planned(t)
	dir, err := r.bundle.EvidenceDir("SCOPE-01")
	if err != nil {
		t.Fatal(err)
	}
	key := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"
	if err := os.WriteFile(filepath.Join(dir, "leak.txt"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.finish(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "leak.txt") {
		t.Errorf("got %v, want an error that names leak.txt", err)
	}
}

func TestDescribe(t *testing.T) {
	f := &mesh.Fleet{Provider: mesh.ProviderExisting, Istio: "1.31.0",
		Images: map[string]mesh.ImageRef{"ztunnel": {Ref: "z:1", Digest: "sha256:1", Source: "built", StandIn: "a Go program"},
			"app": {Ref: "a:1", Source: "found"}},
		Clusters: []*mesh.Cluster{{Name: "east", Network: "n1", Region: "r", GatewayAddresses: []string{"10.0.0.1"}},
			{Name: "west", Network: "n2"}}}
	seen := map[string]*inspect.Cluster{
		"east": {Kubernetes: "v1.36.3", Nodes: []inspect.Node{{Kernel: "6", Arch: "amd64"}}, Istio: "1.31",
			Flags:   map[string]string{"CLUSTER_ID": "east", "A": "1", "ONLY_EAST": "x"},
			Running: map[string]string{"istiod/discovery": "reg/pilot@sha256:" + strings.Repeat("ab", 32)}, TrustDomain: "td"},
		"west": {Kubernetes: "v1.36.4", Nodes: []inspect.Node{{Kernel: "6", Arch: "amd64"}, {Kernel: "6", Arch: "amd64"}}, Istio: "1.31",
			Flags:   map[string]string{"CLUSTER_ID": "west", "A": "1"},
			Running: map[string]string{"istiod/discovery": "reg/pilot@sha256:" + strings.Repeat("ab", 32)}, TrustDomain: "td"},
	}
	var e v1alpha2.Environment
	describe(&e, f, seen)
	if len(e.IstiodFlags) != 4 || e.IstiodFlags[0] != (v1alpha2.Flag{Name: "A", Value: "1"}) ||
		e.IstiodFlags[1] != (v1alpha2.Flag{Name: "CLUSTER_ID", Value: "east", Cluster: "east"}) || e.IstiodFlags[3].Cluster != "east" {
		t.Errorf("flags %+v", e.IstiodFlags)
	}
	if e.Clusters[1].Kubernetes != "v1.36.4" || e.Clusters[1].Istio != "" || e.Clusters[1].Nodes != 2 ||
		e.Clusters[0].Gateways[0] != "10.0.0.1" {
		t.Errorf("clusters %+v: what differs is said of each, what does not once", e.Clusters)
	}
	if len(e.StandIns) != 1 || e.StandIns[0].Name != "ztunnel" {
		t.Errorf("stand-ins %+v", e.StandIns)
	}
	if len(e.Images) != 3 || e.Images[1].Name != "istio-system/istiod/discovery" || e.Images[1].Ref != "reg/pilot" ||
		len(e.Images[1].Digest) != len("sha256:")+64 {
		t.Errorf("images %+v", e.Images)
	}
	if e.Host == nil || e.Host.CPUs == 0 {
		t.Errorf("host %+v", e.Host)
	}
}

func TestSuiteOfBuildInfo(t *testing.T) {
	s := suite(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}, true)
	if s != (v1alpha2.Suite{Version: "v1.2.3", Commit: "abc", Dirty: true}) {
		t.Errorf("%+v", s)
	}
	if s := suite(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, true); s != (v1alpha2.Suite{Version: "devel"}) {
		t.Errorf("%+v", s)
	}
}

func TestEnvironmentKnowsSameAddresses(t *testing.T) {
	for _, c := range []struct {
		ranges []string
		same   bool
	}{{[]string{"10.96.0.0/16", "10.96.0.0/16", "10.96.0.0/16"}, true},
		{[]string{"10.96.0.0/16", "10.96.0.0/16", "10.97.0.0/16"}, false}, {[]string{"", ""}, false}, {[]string{"10.96.0.0/16", ""}, false}} {
		f := &mesh.Fleet{}
		for _, r := range c.ranges {
			f.Clusters = append(f.Clusters, &mesh.Cluster{ServiceCIDR: r})
		}
		if got := Environment(f).Has[behaviors.SameAddresses]; got != c.same {
			t.Errorf("%q: %t", c.ranges, got)
		}
	}
}
