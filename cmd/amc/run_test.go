package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	if code != exitUnknown {
		t.Errorf("got exit code %d, want %d\n%s", code, exitUnknown, out)
	}
	contains(t, fmt.Sprint(err), "cluster1: ", "kubectl --kubeconfig")
	contains(t, out, "the run could not go on", "Service scope")
	r, err := bundle.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Finished {
		t.Error("the report says that the run did not finish")
	}
	if r.Failure == "" {
		t.Error("the report does not say why")
	}
	if r.Seed != 7 {
		t.Errorf("got seed %d, want 7", r.Seed)
	}
	if r.Summary.Unknown == 0 {
		t.Error("no behavior is unknown")
	}
	if want := r.Summary.Total() - r.Summary.Skipped; r.Summary.Unknown != want {
		t.Errorf("%d behaviors are unknown, want all %d that are not skipped", r.Summary.Unknown, want)
	}
	var checks []string
	for _, c := range r.Preflight {
		checks = append(checks, string(c.Status))
	}
	if diff := cmp.Diff([]string{"fail"}, checks); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	v, err := verify.Bundle(t.Context(), dir, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() {
		t.Errorf("the bundle does not verify: %+v", v)
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
			refused(t, exitUsage, c.want, append([]string{"run", "--artifacts", dir}, c.args...)...)
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s was written", left[0].Name())
			}
		})
	}
	_, without, _ := amc(t, "plan", "--fleet", fleet, "--include", "INST-02")
	out := ok(t, "plan", "--fleet", fleet, "--include", "INST-02", "--allow-mesh-changes")
	if without != 0 {
		t.Errorf("without the flag: got exit code %d, want 0", without)
	}
	contains(t, out, ": 1 run,")
}

// The dry run of a certified run says what the run would say, and prints the plan.
func TestPlanOfACertifiedRun(t *testing.T) {
	fleet := goneFleet(t)
	refused(t, exitUsage, "--fleet", "plan", "--certified")
	out, code, err := amc(t, "plan", "--fleet", fleet, "--certified", "--exclude", "SCOPE-07")
	if code != exitUsage {
		t.Fatalf("got exit code %d, %v, want %d", code, err, exitUsage)
	}
	for _, want := range []string{
		"SCOPE-07 was taken out by the user (rule C01)", "INST-02 is skipped (topology)", `no image is named "pilot"`,
	} {
		contains(t, fmt.Sprint(err), want)
	}
	contains(t, out, "INST-02") // the plan is printed
	refused(t, exitUsage, fmt.Sprint(err), "run", "--fleet", fleet, "--certified", "--exclude", "SCOPE-07", "--artifacts", t.TempDir())
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
			wantError(t, err, c.want)
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
