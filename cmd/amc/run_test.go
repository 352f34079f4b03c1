package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/mesh/meshtest"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/verify"
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
	kubeconfig := meshtest.Kubeconfig(t, "http://"+l.Addr().String())
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
	if code != exitUnknown || err == nil || !strings.Contains(err.Error(), "cluster1: ") ||
		!strings.Contains(err.Error(), "kubectl --kubeconfig") {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	r, err := bundle.Read(dir)
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
	v, err := verify.Bundle(t.Context(), dir, verify.Options{})
	if err != nil || !v.OK() {
		t.Errorf("the bundle does not verify: %v %+v", err, v)
	}
}

func TestRunRefusesBeforeItWrites(t *testing.T) {
	fleet := goneFleet(t)
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, layout.ReportFile), []byte("mine: true\n"), 0o644); err != nil {
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
		"a certified day": {
			[]string{"--fleet", fleet, "--certified", "--settle", "24h"},
			"the convergence timeout (settle) is 86400 s, and a certificate allows 30 s at most (rule C10)",
		},
		"a certified moment": {
			[]string{"--fleet", fleet, "--certified", "--hold", "0s", "--spec-timeout", "99h"},
			"the hold time (hold) is 0 s, and a certificate wants 5 s at least; the timeout of a spec (spec) is 356400 s",
		},
		"foreign folder": {[]string{"--fleet", fleet, "--artifacts", foreign}, "choose another directory"},
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
	_, without, _ := amc(t, "plan", "--fleet", fleet, "--include", "INST-02")
	out := ok(t, "plan", "--fleet", fleet, "--include", "INST-02", "--allow-mesh-changes")
	if without != 0 || !strings.Contains(out, ": 1 run,") {
		t.Errorf("allowed changes to the mesh are planned:\n%s", out)
	}
}

// The dry run of a certified run says what the run would say, and prints the plan.
func TestPlanOfACertifiedRun(t *testing.T) {
	fleet := goneFleet(t)
	if _, code, err := amc(t, "plan", "--certified"); code != exitUsage || err == nil || !strings.Contains(err.Error(), "--fleet") {
		t.Errorf("without a fleet: got exit code %d, %v, want 3 and --fleet", code, err)
	}
	out, code, err := amc(t, "plan", "--fleet", fleet, "--certified", "--exclude", "SCOPE-07")
	if code != exitUsage || err == nil {
		t.Fatalf("got exit code %d, %v, want %d", code, err, exitUsage)
	}
	for _, want := range []string{
		"SCOPE-07 was taken out by the user (rule C01)", "INST-02 is skipped (topology)", `no image is named "pilot"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if !strings.Contains(out, "INST-02") {
		t.Errorf("the plan is not printed:\n%s", out)
	}
	_, code, ran := amc(t, "run", "--fleet", fleet, "--certified", "--exclude", "SCOPE-07", "--artifacts", t.TempDir())
	if code != exitUsage || ran == nil || ran.Error() != err.Error() {
		t.Errorf("the run says %v, the plan %v", ran, err)
	}
}

func TestExitCodes(t *testing.T) {
	report := func(verdicts ...v1alpha2.Verdict) *v1alpha2.ConformanceReport {
		r := &v1alpha2.ConformanceReport{Profile: "core", Finished: true}
		for i, v := range verdicts {
			b := v1alpha2.BehaviorResult{ID: []string{"LB-01", "SCOPE-01"}[i], Level: "core", Verdict: v}
			if v == v1alpha2.Skipped {
				b.Skip = &v1alpha2.Skip{Class: "topology", Reason: "one cluster"}
			}
			r.Behaviors = append(r.Behaviors, b)
		}
		summary.Fill(r)
		return r
	}
	good := report(v1alpha2.Conformant, v1alpha2.Conformant)
	leaky := report(v1alpha2.Conformant, v1alpha2.Conformant)
	leaky.Leaks = &v1alpha2.Leaks{Found: []string{"cluster1: Service amc-mesh/x"}}
	summary.Fill(leaky)
	interrupted := errors.New("the run was interrupted")
	for name, c := range map[string]struct {
		report *v1alpha2.ConformanceReport
		broken error
		code   int
		want   string
	}{
		"all well": {report: good, code: exitConformant},
		"one broken": {report: report(v1alpha2.Conformant, v1alpha2.NonConformant), code: exitNonConformant,
			want: "1 promises were seen broken"},
		"one unknown": {report: report(v1alpha2.Conformant, v1alpha2.Unknown), code: exitUnknown,
			want: "unknown: of 1 behavior nothing was learned: see above why"},
		"one skipped": {report: report(v1alpha2.Conformant, v1alpha2.Skipped), code: exitUnknown,
			want: "partial: 1 core behavior did not run (topology: one cluster): SCOPE-01: `amc plan`"},
		"something left behind": {report: leaky, code: exitUnknown, want: "partial: 1 object left behind: the next run removes"},
		"set-up failed": {report: report(v1alpha2.Unknown), broken: errors.New("cluster1: gone"), code: exitUnknown,
			want: "cluster1: gone"},
		"interrupted": {report: report(v1alpha2.Conformant, v1alpha2.Unknown), broken: interrupted, code: exitUnknown,
			want: "interrupted"},
		"interrupted after violation": {report: report(v1alpha2.NonConformant, v1alpha2.Unknown), broken: interrupted,
			code: exitNonConformant, want: "seen broken"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := conclude(&out, c.report, "bundle", c.broken)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			var e exit
			if errors.As(err, &e); e.code != c.code {
				t.Errorf("got exit code %d, want %d", e.code, c.code)
			}
			if c.report == leaky && !strings.Contains(out.String(), "left behind: cluster1: Service amc-mesh/x") {
				t.Errorf("what was left behind is not printed:\n%s", &out)
			}
		})
	}
}
