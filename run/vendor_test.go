package run

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/internal/module"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/verify"
)

// recorded is the closed bundle of a run on a vendor's clusters in which all that was planned held.
// What the clusters and the specs would have said is recorded; all else is the run's own.
func recorded(t *testing.T, f *mesh.Fleet, mode v1alpha2.Mode) string {
	t.Helper()
	o := Options{Implementation: whole, Artifacts: filepath.Join(t.TempDir(), "bundle"), Fleet: filepath.Join(t.TempDir(), "fleet.yaml")}
	if err := f.Save(o.Fleet); err != nil {
		t.Fatal(err)
	}
	r, err := prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	head := r.head()
	head.Mode, head.Suite = mode, v1alpha2.Suite{Version: "v0.1.0", Commit: strings.Repeat("a", 40)} // this test is no release
	if r.bundle, err = bundle.Open(o.Artifacts, head, r.plan); err != nil {
		t.Fatal(err)
	}
	if err := r.bundle.RecordPreflight([]v1alpha2.Check{{Name: "stand-ins", Status: v1alpha2.CheckOK}}); err != nil {
		t.Fatal(err)
	}
	seen, ran := map[string]*inspect.Cluster{}, []mesh.ImageRef{}
	for _, c := range f.Clusters {
		seen[c.Name] = &inspect.Cluster{
			Kubernetes: "v1.36.3", Istio: "1.31.0", TrustDomain: "cluster.local", GatewayAPI: "v1.6.0 standard",
			Nodes:   []inspect.Node{{Name: "n1", Kernel: "6.1", Arch: "amd64", Runtime: "containerd://2"}},
			Flags:   map[string]string{"CLUSTER_ID": c.Name, "PILOT_ENABLE_AMBIENT": "true"},
			Running: map[string]string{"istiod/discovery": "docker.io/istio/pilot@" + f.Images["pilot"].Digest},
		}
		ran = append(ran, mesh.ImageRef{Ref: f.Images["app"].Ref, Digest: "sha256:" + strings.Repeat("a", 64)})
	}
	err = r.bundle.Update(func(x *v1alpha2.ConformanceReport) {
		describe(&x.Environment, f, seen)
		x.Environment.Images = withApp(x.Environment.Images, f.Clusters, ran)
		x.Leaks = &v1alpha2.Leaks{Clean: true}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.plan.Run {
		x := spec.Result{Behavior: e.Behavior, Verdict: v1alpha2.Conformant, Expectations: 1, Controls: 1, Took: time.Second}
		if e.Behavior.Outcomes != nil {
			x.Outcome = e.Behavior.Outcomes.Acceptable[0].Name
		}
		r.record(t.Context(), x)
	}
	if _, err := r.finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return o.Artifacts
}

// keyFiles are a key pair as the docs make it.
func keyFiles(t *testing.T) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	open, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "vendor.key"), filepath.Join(dir, "vendor.pub")
	for name, b := range map[string]*pem.Block{private: {Type: "PRIVATE KEY", Bytes: secret}, public: {Type: "PUBLIC KEY", Bytes: open}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

// The path of docs/certify.md, from the fleet file to a verified certificate. What stands in the
// way of one is named once, before the run and after it, and nothing in a fleet file hides it.
func TestVendorsPath(t *testing.T) {
	private, public := keyFiles(t)
	standIn := func(ref, what string) func(*mesh.Fleet) {
		return func(f *mesh.Fleet) {
			f.Images["proxyv2"] = mesh.ImageRef{Ref: ref, Digest: "sha256:" + strings.Repeat("e", 64), Source: "found", StandIn: what}
		}
	}
	for name, c := range map[string]struct {
		change func(*mesh.Fleet)
		mode   v1alpha2.Mode
		want   []string // rules of a certificate that the bundle breaks
	}{
		"a certificate":                        {func(*mesh.Fleet) {}, v1alpha2.ModeCertified, nil},
		"a run that could have been certified": {func(*mesh.Fleet) {}, v1alpha2.ModeConformance, nil},
		"a stand-in for Envoy": {
			standIn("proxyv2:1", "an Envoy without Istio's extensions"), v1alpha2.ModeConformance, []string{"C03"},
		},
		"a stand-in that the fleet file does not name": {
			standIn(module.Registry+"proxyv2:a0306f9271de", ""), v1alpha2.ModeConformance, []string{"C03"},
		},
		"changes to the mesh are not allowed": {func(f *mesh.Fleet) { f.MeshAdmin = false }, v1alpha2.ModeConformance, []string{"C09"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := vendorFleet()
			c.change(f)
			dir := recorded(t, f, c.mode)

			key, err := verify.PrivateKey(private)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify.Sign(t.Context(), dir, key); err != nil {
				t.Fatal(err)
			}
			o := verify.Options{}
			if o.Key, err = verify.PublicKey(public); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string(nil), brokenRules(t, dir, o)); diff != "" {
				t.Errorf("signed: broken (-want +got):\n%s", diff)
			}
			o.Certified = true
			if diff := cmp.Diff(c.want, brokenRules(t, dir, o)); diff != "" {
				t.Errorf("as a certificate: broken (-want +got):\n%s", diff)
			}

			there := t.TempDir()
			before := Options{Implementation: whole, Artifacts: filepath.Join(there, "bundle"), Fleet: filepath.Join(there, "fleet.yaml")}
			if err := f.Save(before.Fleet); err != nil {
				t.Fatal(err)
			}
			said := Certifiable(before) // and that this test is no release
			for _, rule := range append(c.want, "C06") {
				if want := fmt.Sprintf("(rule %s)", rule); !strings.Contains(fmt.Sprint(said), want) {
					t.Errorf("before the run: got %v, want %s", said, want)
				}
			}
			if got, want := strings.Count(fmt.Sprint(said), "(rule "), len(c.want)+1; got != want {
				t.Errorf("before the run: got %d rules, want %d: %v", got, want, said)
			}
		})
	}
}

// A stand-in for Envoy takes no core behavior with it but those that only Istio's Envoy can show,
// and that the clusters are others' only those for which it takes a fleet of ours.
func TestStandInSkipsAreNamed(t *testing.T) {
	f := vendorFleet()
	f.Images["proxyv2"] = mesh.ImageRef{Ref: "proxyv2:1", Digest: "sha256:" + strings.Repeat("e", 64), Source: "found", StandIn: "an Envoy"}
	p, err := Selection{Profile: behaviors.ProfileCore}.Plan(Environment(f))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Skip {
		if e.Behavior.Level == behaviors.Core && e.Class != "stand-in" && e.Class != "version" && !e.Behavior.NeedsOurFleet() {
			t.Errorf("%s is skipped (%s: %s)", e.Behavior.ID, e.Class, e.Reason)
		}
	}
}

func brokenRules(t *testing.T, dir string, o verify.Options) (rules []string) {
	t.Helper()
	v, err := verify.Bundle(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Broken() {
		t.Logf("%s: %s", f.Rule, f.Message)
		rules = append(rules, f.Rule)
	}
	return rules
}
