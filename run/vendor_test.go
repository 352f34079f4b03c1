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
	"istio.io/istio/pkg/config/constants"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/clusters/existing"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/mesh/meshtest"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/internal/module"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/verify"
)

// The proxies' own words, by which a real one is told from a stand-in.
const (
	realZtunnel = "istio_build{component=\"ztunnel\",tag=\"unknown\"} 1\n"
	realEnvoy   = `{"configs":[{"bootstrap":{"node":{"extensions":[{"name":"envoy.filters.network.metadata_exchange"}]}}}]}`
	otherEnvoy  = `{"configs":[{"bootstrap":{"node":{"extensions":[{"name":"envoy.filters.network.tcp_proxy"}]}}}]}`
)

// initialized is the fleet that `amc fleet init` describes from two recorded clusters whose gateways
// say this of themselves.
func initialized(t *testing.T, envoy string, meshAdmin bool) *mesh.Fleet {
	t.Helper()
	config := clientcmdapi.NewConfig()
	o := existing.Options{Dir: t.TempDir(), Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), MeshAdmin: meshAdmin}
	for _, name := range []string{"cluster1", "cluster2"} {
		s := meshtest.Recorded(t, filepath.Join("testdata", name+".yaml"))
		s.Answer(t, "app", "istiod", 15014, "/version", "1.31.0")
		s.Answer(t, "app", "ztunnel", 15020, "/metrics", realZtunnel)
		s.Answer(t, gateway.GatewayClassNameLabelKey, constants.EastWestGatewayClassName, 15000, "/config_dump?mask=bootstrap", envoy)
		config.Clusters[name] = &clientcmdapi.Cluster{Server: s.Start(t)}
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name}
		o.Contexts = append(o.Contexts, name)
	}
	if err := clientcmd.WriteToFile(*config, o.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	f, err := existing.Discover(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

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
		if seen[c.Name], err = inspect.Read(t.Context(), c); err != nil {
			t.Fatal(err)
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
		r.record(t.Context(), r.first(), x)
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

// The path of docs/certify.md, from `amc fleet init` to a verified certificate. What stands in the
// way of one is named once, before the run and after it, and nothing in a fleet file hides it.
func TestVendorsPath(t *testing.T) {
	private, public := keyFiles(t)
	standIn := func(f *mesh.Fleet) {
		f.Images["proxyv2"] = mesh.ImageRef{Ref: module.Registry + "proxyv2:a0306f9271de", Digest: "sha256:" + strings.Repeat("e", 64),
			Source: "found"}
	}
	for name, c := range map[string]struct {
		envoy     string
		meshAdmin bool
		change    func(*mesh.Fleet) // what somebody does to the fleet file
		mode      v1alpha2.Mode
		want      []string // rules of a certificate that the bundle breaks
	}{
		"a certificate":                                {realEnvoy, true, nil, v1alpha2.ModeCertified, nil},
		"a run that could have been certified":         {realEnvoy, true, nil, v1alpha2.ModeConformance, nil},
		"a stand-in for Envoy":                         {otherEnvoy, true, nil, v1alpha2.ModeConformance, []string{"C03"}},
		"a stand-in that the fleet file does not name": {realEnvoy, true, standIn, v1alpha2.ModeConformance, []string{"C03"}},
		"changes to the mesh are not allowed":          {realEnvoy, false, nil, v1alpha2.ModeConformance, []string{"C09"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := initialized(t, c.envoy, c.meshAdmin)
			if c.change != nil {
				c.change(f)
			}
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
