package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/reports/api/v1alpha2"
)

var whole = v1alpha2.Implementation{
	Organization: "Example", Project: "mesh", Version: "v1.2.3", URL: "https://mesh.example.com", Contact: []string{"conformance@example.com"},
}

func TestReadImplementation(t *testing.T) {
	const text = "organization: Example\nproject: mesh\nversion: v1.2.3\nurl: https://mesh.example.com\ncontact: [conformance@example.com]\n"
	for name, c := range map[string]struct {
		text string // empty: no file
		want v1alpha2.Implementation
		err  string
	}{
		"whole":            {text: text, want: whole},
		"an unknown field": {text: "company: a\n", err: "it holds organization"},
		"no file":          {err: "no such file"},
		"a large file":     {text: strings.Repeat("# x\n", 20<<10), err: "larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "implementation.yaml")
			if c.text != "" {
				if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := ReadImplementation(file)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c.err == "" && err != nil {
				t.Errorf("got %v, want none", err)
			}
			if c.err != "" && !strings.Contains(fmt.Sprint(err), c.err) {
				t.Errorf("got error %v, want one with %q", err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
		})
	}
}

// What no certificate allows is said before anything is created, by a run and by whoever asks
// first.
func TestCertifiable(t *testing.T) {
	standIn := mesh.ImageRef{Ref: "proxy:1", Digest: "sha256:" + strings.Repeat("1", 64), Source: "found", StandIn: "an Envoy"}
	for name, c := range map[string]struct {
		change func(*mesh.Fleet, *Options)
		want   []string // beside that this test is no released suite
	}{
		"whole": {func(*mesh.Fleet, *Options) {}, nil},
		"nobody is named": {func(_ *mesh.Fleet, o *Options) { o.Implementation = v1alpha2.Implementation{} },
			[]string{"the implementation's organization is missing", "(rule C05)"}},
		"a branch": {func(_ *mesh.Fleet, o *Options) { o.Implementation.Version = "main" }, []string{`"main" is not a release`}},
		"a filter": {func(_ *mesh.Fleet, o *Options) { o.Filters.Exclude = []string{"SCOPE-07"} }, []string{"(rule C01)"}},
		"a stand-in": {
			func(f *mesh.Fleet, _ *Options) { f.Images["proxyv2"] = standIn },
			[]string{"something stands in for proxyv2 (rule C03)"},
		},
		"mesh changes": {func(f *mesh.Fleet, _ *Options) { f.MeshAdmin = false }, []string{"INST-02 is skipped (topology)", "(rule C09)"}},
		"a mesh part is gone": {
			func(f *mesh.Fleet, _ *Options) { delete(f.Images, "ztunnel") },
			[]string{`no image is named "ztunnel" (rule C08)`},
		},
		"loose limits": {func(_ *mesh.Fleet, o *Options) { o.Times = spec.Times{Convergence: time.Hour, Spec: time.Hour} },
			[]string{"(settle) is 3600 s", "(hold) is 0 s", "(spec) is 3600 s", "(rule C10)"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, o := vendorFleet(), Options{Implementation: whole, Artifacts: filepath.Join(t.TempDir(), "bundle")}
			c.change(f, &o)
			o.Fleet = filepath.Join(t.TempDir(), "fleet.yaml")
			if err := f.Save(o.Fleet); err != nil {
				t.Fatal(err)
			}
			err := Certifiable(o)
			var usage UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a UsageError", err)
			}
			for _, want := range append(c.want, "the suite's version") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			if got, want := strings.Count(err.Error(), "(rule "), 1; len(c.want) == 0 && got != want {
				t.Errorf("got %d rules, want %d: %v", got, want, err)
			}
			o.Certified = true
			if _, again := Run(t.Context(), o); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("the run says %v, want %v", again, err)
			}
			if _, err := os.Stat(o.Artifacts); err == nil {
				t.Error("something was created")
			}
		})
	}
}

// vendorFleet is a fleet of a vendor who allows changes, as `amc fleet init` finds it.
func vendorFleet() *mesh.Fleet {
	f := &mesh.Fleet{RunID: "r", Provider: mesh.ProviderExisting, Istio: "1.31.0", MeshAdmin: true, Images: map[string]mesh.ImageRef{
		"app": {Ref: "docker.io/istio/app:1.31.0", Source: "pulled"},
	}}
	for _, n := range []string{"1", "2"} {
		f.Clusters = append(f.Clusters, &mesh.Cluster{
			Name: "cluster" + n, Network: "network" + n, Kubeconfig: "none", ServiceCIDR: "10.96.0.0/16",
		})
	}
	for i, part := range []string{"pilot", "install-cni", "ztunnel", "proxyv2"} {
		f.Images[part] = mesh.ImageRef{Ref: "docker.io/istio/" + part + ":1.31.0", Digest: fmt.Sprintf("sha256:%064x", i+1), Source: "found"}
	}
	return f
}
