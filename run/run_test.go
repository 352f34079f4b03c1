package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// twoPlanned is a run of two planned behaviors, with an open bundle.
func twoPlanned(t *testing.T) *run { return plannedFor(t, "SCOPE-01", "LB-01") }

func plannedFor(t *testing.T, ids ...string) *run {
	t.Helper()
	f := &mesh.Fleet{RunID: "r", Provider: mesh.ProviderKind, Istio: "1.31.0", Clusters: []*mesh.Cluster{
		{Name: "cluster1", Network: "network1"}, {Name: "cluster2", Network: "network2"}}}
	chosen := Selection{Filters: plan.Filters{Include: ids}}
	p, err := chosen.Plan(Environment(f))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Run) != len(ids) {
		t.Fatalf("%d behaviors are planned, want %d", len(p.Run), len(ids))
	}
	r := &run{Options: Options{Selection: chosen, Times: spec.DefaultTimes, Seed: 1, Out: io.Discard},
		grounds: []*ground{{runID: f.RunID, fleet: f}}, plan: p}
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
			r := twoPlanned(t)
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

// What calls saw while something happened is in the report by the second, and one by one in the
// evidence.
func TestEventsAreReported(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	begin := at.Add(2 * time.Second)
	call := func(s float64, kind traffic.Kind, err error) traffic.Timed {
		return traffic.Timed{At: at.Add(time.Duration(s * float64(time.Second))), Took: 5 * time.Millisecond, Err: err,
			Outcome: traffic.Outcome{Kind: kind, Cluster: map[bool]string{true: "b"}[kind == traffic.Reached]}}
	}
	of := func(who string, calls ...traffic.Timed) traffic.Timeline {
		return traffic.Timeline{Who: who, Calls: calls, Begin: begin, End: begin.Add(time.Second)}
	}
	e := spec.EventResult{Says: "the gateway restarts", Begin: begin, Heal: begin.Add(time.Second), End: begin.Add(3 * time.Second),
		Timelines: spec.Timelines{
			of("a -> far", call(0, traffic.Reached, nil), call(2.5, traffic.Reset, nil), call(2.75, traffic.Reached, nil),
				call(4, traffic.Reached, nil)),
			of("a -> near", call(0.5, traffic.Reached, nil), call(1, traffic.Reached, errors.New("the pod is gone"))),
			of("a -> dead", call(2, traffic.Reset, nil)),
		}}
	seconds := func(s float64) *float64 { return &s }
	want := []v1alpha2.Event{{What: "the gateway restarts", At: at, BeginSeconds: 2, UndoSeconds: 3, EndSeconds: 5, Rows: []v1alpha2.EventRow{
		{Calls: "a -> far", Made: []int{1, 0, 2, 0, 1}, Lost: []int{0, 0, 1, 0, 0}, Answered: []v1alpha2.Answered{{Cluster: "b", Calls: 3}},
			RecoverSeconds: seconds(0.75)},
		{Calls: "a -> near", Made: []int{1, 1}, Lost: []int{0, 0}, Answered: []v1alpha2.Answered{{Cluster: "b", Calls: 1}},
			RecoverSeconds: seconds(0)},
		{Calls: "a -> dead", Made: []int{0, 0, 1}, Lost: []int{0, 0, 1}, Answered: []v1alpha2.Answered{}},
	}}}
	r := twoPlanned(t)
	if err := r.bundle.Record(resultOf(spec.Result{Behavior: behaviors.ByID("SCOPE-01"), Verdict: v1alpha2.Conformant,
		Expectations: 1, Controls: 1, Events: []spec.EventResult{e}})); err != nil {
		t.Fatal(err)
	}
	if _, err := r.finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	written, err := bundle.Read(filepath.Join(r.bundle.Dir(), layout.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(written.Behaviors, func(b v1alpha2.BehaviorResult) bool { return b.ID == "SCOPE-01" })
	if diff := cmp.Diff(want, written.Behaviors[i].Events); diff != "" {
		t.Errorf("in the report (-want +got):\n%s", diff)
	}
	lines := []string{
		"12:00:00.000: the gateway restarts; begins 12:00:02.000, over 12:00:05.000",
		"12:00:00.000  a -> far (5ms): b",
		"12:00:02.500  a -> far (5ms): reset",
		"12:00:02.750  a -> far (5ms): b",
		"12:00:04.000  a -> far (5ms): b",
		"12:00:00.500  a -> near (5ms): b",
		"12:00:01.000  a -> near (5ms): not known: the pod is gone",
		"12:00:02.000  a -> dead (5ms): reset",
	}
	if diff := cmp.Diff(lines, timelines([]spec.EventResult{e})); diff != "" {
		t.Errorf("in the evidence (-want +got):\n%s", diff)
	}
}

// What a neighbor's change did to calls stays in the report, and so does that the spec ran again.
func TestFlakyIsRecorded(t *testing.T) {
	r := twoPlanned(t)
	b := behaviors.ByID("SCOPE-01")
	r.record(t.Context(), r.first(), spec.Result{Behavior: b, Verdict: v1alpha2.Unknown, Message: "flaky", Retry: true, Lost: 3, Made: 40})
	r.record(t.Context(), r.first(),
		spec.Result{Behavior: behaviors.ByID("LB-01"), Verdict: v1alpha2.Unknown, Message: "flaky", Retry: true, Made: 20})
	r.record(t.Context(), r.first(), spec.Result{Behavior: b, Verdict: v1alpha2.Conformant, Expectations: 1, Controls: 1})
	report := r.bundle.Report()
	want := []string{"neighbor drops: 3 of 60 calls, in the samples of attempts that did not count: SCOPE-01 3 of 40, LB-01 0 of 20"}
	if diff := cmp.Diff(want, report.Observations); diff != "" {
		t.Errorf("observations (-want +got):\n%s", diff)
	}
	if got := report.Summary.Flaky; got != 1 {
		t.Errorf("got %d flaky, want 1: LB-01 has not run again yet", got)
	}
	if err := (Options{}).refuses(&report); err != nil {
		t.Errorf("flakes are allowed: got %v", err)
	}
	if err := (Options{FailOnFlake: true}).refuses(&report); !strings.Contains(fmt.Sprint(err), "flaky: SCOPE-01 needed") {
		t.Errorf("flakes are not allowed: got %v, want SCOPE-01", err)
	}
}

// Ginkgo asks about a violation right after it was recorded.
func TestKnownIsWhatTheReportSays(t *testing.T) {
	before := behaviors.KnownFaults["LB-01"]
	behaviors.KnownFaults["LB-01"] = []behaviors.Known{{Finding: "F-90", Istio: ">=1.31"}}
	t.Cleanup(func() { behaviors.KnownFaults["LB-01"] = before })
	r := twoPlanned(t)
	for _, id := range []string{"LB-01", "SCOPE-01"} {
		r.record(t.Context(), r.first(), spec.Result{Behavior: behaviors.ByID(id), Verdict: v1alpha2.NonConformant, Expectations: 1, Controls: 1})
	}
	got := []string{r.known("LB-01"), r.known("SCOPE-01"), r.known("WP-01")}
	if diff := cmp.Diff([]string{"F-90", "", ""}, got); diff != "" {
		t.Errorf("findings of a known fault, another, and one that did not run (-want +got):\n%s", diff)
	}
}

// A run whose leftovers nobody could look for is no success.
func TestLeaksThatCannotBeLookedFor(t *testing.T) {
	r := twoPlanned(t)
	for _, c := range r.first().Clusters {
		c.Kubeconfig = filepath.Join(t.TempDir(), "missing")
	}
	err := r.leaks(t.Context(), nil, nil)
	if !strings.Contains(fmt.Sprint(err), "it is not known whether specs left something behind") {
		t.Errorf("got error %v, want one that says so", err)
	}
	if got := r.bundle.Report().Leaks; got != nil {
		t.Errorf("got leak check %+v, want none", got)
	}
}

// A mutant of another behavior that was killed left a second gateway in a fleet of ours, and the next run
// of the core profile refused the fleet as no twin of the others.
func TestWhoseLeftoversGo(t *testing.T) {
	r := twoPlanned(t)
	if got := r.owners(r.first()); len(got) != len(behaviors.All()) {
		t.Errorf("in a fleet of ours %d behaviors' leftovers go, want those of all %d", len(got), len(behaviors.All()))
	}
	r.first().Provider = mesh.ProviderExisting
	if got, want := r.owners(r.first()), []string{"SCOPE-01", "LB-01"}; !slices.Equal(got, want) {
		t.Errorf("in clusters of others the leftovers of %q go, want those of %q, which are planned", got, want)
	}
}

func TestFailOnFixed(t *testing.T) {
	report := &v1alpha2.ConformanceReport{Behaviors: []v1alpha2.BehaviorResult{{ID: "LB-01", Verdict: v1alpha2.Conformant, Fixed: "F-90"}}}
	if err := (Options{FailOnFlake: true}).refuses(report); err != nil {
		t.Errorf("what is fixed is allowed: got %v", err)
	}
	if err := (Options{FailOnFixed: true}).refuses(report); !strings.Contains(fmt.Sprint(err), "fixed: LB-01 held") {
		t.Errorf("what is fixed is not allowed: got %v, want LB-01", err)
	}
}

// What cannot be run is refused before anything is created.
func TestRefusedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fleet    mesh.Fleet
		networks []string
		chosen   Selection
		want     string
	}{
		"one cluster": {
			fleet: mesh.Fleet{Provider: mesh.ProviderExisting, Istio: "1.31.0"}, networks: []string{"n1"},
			want: "the fleet has one cluster, so nothing",
		},
		"one network": {
			fleet: mesh.Fleet{Provider: mesh.ProviderExisting, Istio: "1.31.0"}, networks: []string{"n1", "n1"},
			want: "the fleet has 2 clusters on one network, so nothing",
		},
		"a classic gateway without the charts for it": {
			fleet: mesh.Fleet{Provider: mesh.ProviderKind, Istio: "1.31.99"}, networks: []string{"n1", "n2"},
			chosen: Selection{
				Profile: behaviors.ProfileAll, Claims: []behaviors.Feature{behaviors.FeatureSidecarInterop},
				Filters: plan.Filters{Include: []string{"INT-09", "LB-01"}},
			},
			want: "INT-09: Istio's charts, from which a gateway is installed, cannot be had for 1.31.99: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.fleet
			f.RunID = "r"
			for i, n := range c.networks {
				f.Clusters = append(f.Clusters, &mesh.Cluster{Name: fmt.Sprint("c", i), Network: n, Kubeconfig: "none"})
			}
			file, dir := filepath.Join(t.TempDir(), "fleet.yaml"), filepath.Join(t.TempDir(), "bundle")
			if err := f.Save(file); err != nil {
				t.Fatal(err)
			}
			_, err := Run(t.Context(), Options{Fleet: file, Artifacts: dir, Selection: c.chosen})
			var usage UsageError
			if !errors.As(err, &usage) {
				t.Errorf("got %v, want a usage error", err)
			}
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something was created")
			}
		})
	}
}

func TestSecretInEvidenceKeepsTheBundleOpen(t *testing.T) {
	r := twoPlanned(t)
	dir, err := r.bundle.EvidenceDir("SCOPE-01")
	if err != nil {
		t.Fatal(err)
	}
	key := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"
	if err := os.WriteFile(filepath.Join(dir, "leak.txt"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.finish(t.Context(), nil); !strings.Contains(fmt.Sprint(err), "leak.txt") {
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
	e := v1alpha2.Environment{Twins: []v1alpha2.Twin{{RunID: "twin"}}}
	describe(&e, f, seen)
	if len(e.Twins) != 1 {
		t.Error("the twins are forgotten")
	}
	wantFlags := []v1alpha2.Flag{{Name: "A", Value: "1"}, {Name: "CLUSTER_ID", Value: "east", Cluster: "east"},
		{Name: "CLUSTER_ID", Value: "west", Cluster: "west"}, {Name: "ONLY_EAST", Value: "x", Cluster: "east"}}
	if diff := cmp.Diff(wantFlags, e.IstiodFlags); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	west := []any{e.Clusters[1].Kubernetes, e.Clusters[1].Istio, e.Clusters[1].Nodes}
	if diff := cmp.Diff([]any{"v1.36.4", "", 2}, west); diff != "" {
		t.Errorf("what differs is said of each cluster, what does not once (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10.0.0.1"}, e.Clusters[0].Gateways); diff != "" {
		t.Errorf("gateways (-want +got):\n%s", diff)
	}
	var standIns []string
	for _, s := range e.StandIns {
		standIns = append(standIns, s.Name)
	}
	if diff := cmp.Diff([]string{"ztunnel"}, standIns); diff != "" {
		t.Errorf("stand-ins (-want +got):\n%s", diff)
	}
	if len(e.Images) != 3 {
		t.Fatalf("got images %+v, want three", e.Images)
	}
	if diff := cmp.Diff([]string{"istio-system/istiod/discovery", "reg/pilot"}, []string{e.Images[1].Name, e.Images[1].Ref}); diff != "" {
		t.Errorf("second image (-want +got):\n%s", diff)
	}
	if got, want := e.Images[1].Digest, "sha256:"+strings.Repeat("ab", 32); got != want {
		t.Errorf("got digest %s, want %s", got, want)
	}
	if e.Host == nil {
		t.Fatal("nothing is said of the host")
	}
	if e.Host.CPUs == 0 {
		t.Errorf("host %+v has no CPU", e.Host)
	}
}

// A secret is taken out of Ginkgo's report, and what is left is JSON.
func TestRedactJSON(t *testing.T) {
	key := `-----BEGIN PRIVATE KEY-----\nMHcC\n-----END PRIVATE KEY-----\n`
	for name, c := range map[string]struct{ doc, want string }{
		"a key": {
			`[{"Out": "seen: ` + key + `", "RunTime": 104744971682}]`,
			`[{"Out": "seen:  [redacted: a private key]\n", "RunTime": 104744971682}]`,
		},
		"a password before a quote": {`{"Out": "password: secret\""}`, `{"Out": " [redacted: a credential]\""}`},
		"nothing":                   {`{"a": ["b", null, true, 1.50]}`, `{"a": ["b", null, true, 1.50]}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := redactJSON([]byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			var flat bytes.Buffer
			if err := json.Compact(&flat, got); err != nil {
				t.Fatalf("%v:\n%s", err, got)
			}
			var want bytes.Buffer
			if err := json.Compact(&want, []byte(c.want)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), flat.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// On clusters of others only the nodes know which application they pulled.
func TestAppOfClusters(t *testing.T) {
	clusters := []*mesh.Cluster{{Name: "east"}, {Name: "west"}, {Name: "north"}}
	asked := []v1alpha2.Image{{Name: "app", Ref: "a:1", Source: "pulled"}, {Name: "pilot", Digest: "sha256:p"}}
	app := func(name, digest string) v1alpha2.Image {
		return v1alpha2.Image{Name: name, Ref: "a:1", Digest: digest, Source: "pulled"}
	}
	for name, c := range map[string]struct {
		ran  []string
		want []v1alpha2.Image
	}{
		"the same in all": {[]string{"sha256:1", "sha256:1", "sha256:1"}, []v1alpha2.Image{app("app", "sha256:1"), asked[1]}},
		"another in one": {[]string{"sha256:1", "sha256:1", "sha256:2"},
			[]v1alpha2.Image{app("app", "sha256:1"), app("app@north", "sha256:2"), asked[1]}},
	} {
		t.Run(name, func(t *testing.T) {
			var ran []mesh.ImageRef
			for _, d := range c.ran {
				ran = append(ran, mesh.ImageRef{Digest: d})
			}
			if diff := cmp.Diff(c.want, withApp(asked, clusters, ran)); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
	if asked[0].Digest != "" {
		t.Error("the images that were given changed")
	}
}

func TestSuiteOfBuildInfo(t *testing.T) {
	s := suite(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}, true)
	if diff := cmp.Diff(v1alpha2.Suite{Version: "v1.2.3", Commit: "abc", Dirty: true}, s); diff != "" {
		t.Errorf("a release (-want +got):\n%s", diff)
	}
	s = suite(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, true)
	if diff := cmp.Diff(v1alpha2.Suite{Version: "devel"}, s); diff != "" {
		t.Errorf("a checkout (-want +got):\n%s", diff)
	}
}

// The plan skips what a fleet cannot show, by facts that the fleet file has.
func TestEnvironmentHas(t *testing.T) {
	ranges := func(all ...string) (f mesh.Fleet) {
		for _, r := range all {
			f.Clusters = append(f.Clusters, &mesh.Cluster{ServiceCIDR: r})
		}
		return f
	}
	signing := func(second string) mesh.Fleet {
		return mesh.Fleet{Clusters: []*mesh.Cluster{{}, {Flags: map[string]string{"ENABLE_CA_SERVER": second}}}}
	}
	for _, c := range []struct {
		name  string
		need  behaviors.Need
		fleet mesh.Fleet
		want  bool
	}{
		{"one range in all clusters", behaviors.SameAddresses, ranges("10.96.0.0/16", "10.96.0.0/16", "10.96.0.0/16"), true},
		{"another range in one", behaviors.SameAddresses, ranges("10.96.0.0/16", "10.96.0.0/16", "10.97.0.0/16"), false},
		{"no range is known", behaviors.SameAddresses, ranges("", ""), false},
		{"one range is known", behaviors.SameAddresses, ranges("10.96.0.0/16", ""), false},
		{"istiods sign", behaviors.MeshCA, signing("true"), true},
		{"an external CA signs for one", behaviors.MeshCA, signing("false"), false},
		{"nothing said of who signs", behaviors.MeshCA, ranges(""), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Environment(&c.fleet).Has[c.need]; got != c.want {
				t.Errorf("%s: got %t, want %t", c.need, got, c.want)
			}
		})
	}
}
