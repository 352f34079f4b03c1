package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/suites"
)

// goneFleet is a fleet file of two clusters of which none answers: their port was closed.
func goneFleet(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: "http://" + l.Addr().String()}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "c"
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	f := &mesh.Fleet{RunID: "gone", Provider: mesh.ProviderExisting, Istio: "1.31.0"}
	for _, n := range []string{"1", "2"} {
		f.Clusters = append(f.Clusters, &mesh.Cluster{Name: "cluster" + n, Network: "network" + n, Kubeconfig: kubeconfig})
	}
	path := filepath.Join(dir, "fleet.yaml")
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunAgainstAFleetThatIsGone(t *testing.T) {
	fleet, dir := goneFleet(t), t.TempDir()
	out, code, err := amc(t, "run", "--fleet", fleet, "--artifacts", dir, "--include", "SCOPE", "--seed", "7")
	if code != exitUnknown || err == nil || !strings.Contains(err.Error(), "cluster1: ") || !strings.Contains(err.Error(), "kubectl --kubeconfig") {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	r, err := reports.ReadReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Finished || r.Failure == "" || r.Seed != 7 || r.Summary.Unknown == 0 || r.Summary.Unknown != r.Summary.Total()-r.Summary.Skipped {
		t.Errorf("finished %t, seed %d, %+v, failure %q", r.Finished, r.Seed, r.Summary, r.Failure)
	}
	if len(r.Preflight) != 1 || r.Preflight[0].Status != "fail" {
		t.Errorf("preflight %+v", r.Preflight)
	}
	if !strings.Contains(out, "the run could not go on") || !strings.Contains(out, "Service scope") {
		t.Errorf("no last table:\n%s", out)
	}
	v, err := reports.Verify(t.Context(), dir, reports.VerifyOptions{})
	if err != nil || !v.OK() {
		t.Errorf("the bundle does not verify: %v %+v", err, v)
	}
}

func TestRunRefusesBeforeItWrites(t *testing.T) {
	fleet := goneFleet(t)
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, reports.ReportFile), []byte("mine: true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no fleet":        {[]string{"--fleet", filepath.Join(t.TempDir(), "none.yaml")}, "no fleet file"},
		"unknown id":      {[]string{"--fleet", fleet, "--include", "NOPE-01"}, "NOPE-01"},
		"unknown flag":    {[]string{"--nope"}, "unknown flag"},
		"no time":         {[]string{"--fleet", fleet, "--settle", "0s"}, "--settle"},
		"nothing abreast": {[]string{"--fleet", fleet, "--parallel", "-1"}, "--parallel"},
		"foreign folder":  {[]string{"--fleet", fleet, "--artifacts", foreign}, "choose another directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, code, err := amc(t, append([]string{"run", "--artifacts", dir}, c.args...)...)
			if code != exitUsage || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("exit code %d, %v; want 3 and %q", code, err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s was written", left[0].Name())
			}
		})
	}
	dir := t.TempDir()
	if out := ok(t, "run", "--fleet", fleet, "--artifacts", dir, "--dry-run"); !strings.Contains(out, "SCOPE-01") || !strings.Contains(out, "not ours to change") {
		t.Errorf("the plan is not printed:\n%s", out)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("a dry run has written %s", left[0].Name())
	}
	_, without, _ := amc(t, "run", "--fleet", fleet, "--artifacts", dir, "--dry-run", "--include", "INST-02")
	out := ok(t, "run", "--fleet", fleet, "--artifacts", dir, "--dry-run", "--include", "INST-02", "--allow-mesh-changes")
	if without != 0 || !strings.Contains(out, ": 1 run,") {
		t.Errorf("allowed changes to the mesh are planned:\n%s", out)
	}
}

// planned is a bundle of two planned behaviors.
func planned(t *testing.T) *reports.Bundle {
	t.Helper()
	f := &mesh.Fleet{RunID: "r", Provider: mesh.ProviderKind, Istio: "1.31.0", Clusters: []*mesh.Cluster{{Name: "cluster1", Network: "network1"}, {Name: "cluster2", Network: "network2"}}}
	p, err := plan.Compute(environment(f), behaviors.ProfileCore, plan.Filters{Include: []string{"SCOPE-01", "LB-01"}})
	if err != nil || len(p.Run) != 2 {
		t.Fatalf("%v, %d run", err, len(p.Run))
	}
	b, err := reports.Open(t.TempDir(), head(f, p, runOptions{times: prove.DefaultTimes, seed: 1}), p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExitCodes(t *testing.T) {
	found := func(id string, v prove.Verdict) v1alpha2.BehaviorResult {
		return resultOf(prove.Result{Behavior: behaviors.ByID(id), Verdict: v, Claims: 1, Twins: 1, Message: map[bool]string{true: "it broke"}[v != prove.Conformant], Converge: []time.Duration{1500 * time.Millisecond}})
	}
	good := []v1alpha2.BehaviorResult{found("SCOPE-01", prove.Conformant), found("LB-01", prove.Conformant)}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		found  []v1alpha2.BehaviorResult
		leaks  []string
		broken error
		code   int
		want   string
	}{
		"all well":                    {found: good, code: exitConformant},
		"one broken":                  {found: []v1alpha2.BehaviorResult{good[0], found("LB-01", prove.NonConformant)}, code: exitNonConformant, want: "1 promises were seen broken"},
		"one unknown":                 {found: []v1alpha2.BehaviorResult{good[0], found("LB-01", prove.Unknown)}, code: exitUnknown, want: "of 1 promises nothing was learned"},
		"one never ran":               {found: good[:1], code: exitUnknown, want: "of 1 promises nothing was learned"},
		"something left behind":       {found: good, leaks: []string{"cluster1: Service amc-mesh/x"}, code: exitUnknown, want: "1 things were left behind"},
		"set-up failed":               {broken: errors.New("cluster1: gone, Bearer abcdefghijklmnopqrstuvwxyz"), code: exitUnknown, want: "cluster1: gone"},
		"interrupted":                 {ctx: over, found: good[:1], code: exitUnknown, want: "interrupted"},
		"interrupted after violation": {ctx: over, found: []v1alpha2.BehaviorResult{found("LB-01", prove.NonConformant)}, code: exitNonConformant, want: "seen broken"},
	} {
		t.Run(name, func(t *testing.T) {
			b := planned(t)
			for _, x := range c.found {
				if err := b.Record(x); err != nil {
					t.Fatal(err)
				}
			}
			if err := leaks(b, &suites.Summary{Leaks: c.leaks, LeaksKnown: true}); err != nil {
				t.Fatal(err)
			}
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			var out bytes.Buffer
			err := finish(c.ctx, &out, b, c.broken)
			var e exit
			if errors.As(err, &e); e.code != c.code || (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("code %d, %v; want %d with %q", e.code, err, c.code, c.want)
			}
			r, err := reports.ReadReport(b.Dir())
			if err != nil {
				t.Fatal(err)
			}
			if !r.Finished || (c.broken != nil || c.ctx == over) != (r.Failure != "") || strings.Contains(r.Failure, "abcdefghij") || r.Leaks.Clean != (c.leaks == nil) {
				t.Errorf("finished %t, failure %q, leaks %+v", r.Finished, r.Failure, r.Leaks)
			}
			if c.leaks != nil && !strings.Contains(out.String(), "left behind: "+c.leaks[0]) {
				t.Errorf("what was left behind is not printed:\n%s", &out)
			}
			if _, err := os.Stat(filepath.Join(b.Dir(), reports.SumsFile)); err != nil {
				t.Errorf("the bundle is not closed: %v", err)
			}
		})
	}
}

func TestSecretInEvidenceKeepsTheBundleOpen(t *testing.T) {
	b := planned(t)
	dir, err := b.EvidenceDir("SCOPE-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "leak.txt"), []byte("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = finish(t.Context(), &bytes.Buffer{}, b, nil)
	var e exit
	if !errors.As(err, &e) || e.code != exitUnknown || !strings.Contains(err.Error(), "leak.txt") {
		t.Errorf("%d %v", e.code, err)
	}
}

func TestDescribe(t *testing.T) {
	f := &mesh.Fleet{Provider: mesh.ProviderExisting, Istio: "1.31.0",
		Images:   map[string]mesh.ImageRef{"ztunnel": {Ref: "z:1", Digest: "sha256:1", Source: "built", StandIn: "a Go program"}, "app": {Ref: "a:1", Source: "found"}},
		Clusters: []*mesh.Cluster{{Name: "east", Network: "n1", Region: "r", GatewayAddresses: []string{"10.0.0.1"}}, {Name: "west", Network: "n2"}}}
	seen := map[string]*inspect.Cluster{
		"east": {Kubernetes: "v1.36.3", Nodes: []inspect.Node{{Kernel: "6", Arch: "amd64"}}, Istio: "1.31", Flags: map[string]string{"CLUSTER_ID": "east", "A": "1", "ONLY_EAST": "x"}, Running: map[string]string{"istiod/discovery": "reg/pilot@sha256:" + strings.Repeat("ab", 32)}, TrustDomain: "td"},
		"west": {Kubernetes: "v1.36.4", Nodes: []inspect.Node{{Kernel: "6", Arch: "amd64"}, {Kernel: "6", Arch: "amd64"}}, Istio: "1.31", Flags: map[string]string{"CLUSTER_ID": "west", "A": "1"}, Running: map[string]string{"istiod/discovery": "reg/pilot@sha256:" + strings.Repeat("ab", 32)}, TrustDomain: "td"},
	}
	var e v1alpha2.Environment
	describe(&e, f, seen)
	if len(e.IstiodFlags) != 4 || e.IstiodFlags[0] != (v1alpha2.Flag{Name: "A", Value: "1"}) || e.IstiodFlags[1] != (v1alpha2.Flag{Name: "CLUSTER_ID", Value: "east", Cluster: "east"}) || e.IstiodFlags[3].Cluster != "east" {
		t.Errorf("flags %+v", e.IstiodFlags)
	}
	if e.Clusters[1].Kubernetes != "v1.36.4" || e.Clusters[1].Istio != "" || e.Clusters[1].Nodes != 2 || e.Clusters[0].Gateways[0] != "10.0.0.1" {
		t.Errorf("clusters %+v: what differs is said of each, what does not once", e.Clusters)
	}
	if len(e.StandIns) != 1 || e.StandIns[0].Name != "ztunnel" {
		t.Errorf("stand-ins %+v", e.StandIns)
	}
	if len(e.Images) != 3 || e.Images[1].Name != "istio-system/istiod/discovery" || e.Images[1].Ref != "reg/pilot" || len(e.Images[1].Digest) != len("sha256:")+64 {
		t.Errorf("images %+v", e.Images)
	}
	if e.Host == nil || e.Host.CPUs == 0 {
		t.Errorf("host %+v", e.Host)
	}
}

func TestSuiteOfBuildInfo(t *testing.T) {
	s := suite(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}, true)
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
	}{{[]string{"10.96.0.0/16", "10.96.0.0/16", "10.96.0.0/16"}, true}, {[]string{"10.96.0.0/16", "10.96.0.0/16", "10.97.0.0/16"}, false}, {[]string{"", ""}, false}, {[]string{"10.96.0.0/16", ""}, false}} {
		f := &mesh.Fleet{}
		for _, r := range c.ranges {
			f.Clusters = append(f.Clusters, &mesh.Cluster{ServiceCIDR: r})
		}
		if got := environment(f).SameAddresses; got != c.same {
			t.Errorf("%q: %t", c.ranges, got)
		}
	}
}
