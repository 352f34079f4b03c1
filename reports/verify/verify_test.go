package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/planned"
	"ambient.test/conformance/reports/summary"
)

var testNow = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// goodBundle is a certified bundle that breaks no rule. Every test gets a copy of its own.
func goodBundle(t testing.TB) string {
	t.Helper()
	once.Do(func() { good = createBundle(t) })
	if good == nil {
		t.Fatal("the good bundle could not be created, see the first test that failed")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, good); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	once sync.Once
	good fs.FS
)

func createBundle(t testing.TB) fs.FS {
	t.Helper()
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{})
	head := example.Head()
	head.Mode = v1alpha2.ModeCertified
	head.Implementation = v1alpha2.Implementation{
		Organization: "Example", Project: "mesh", Version: "v1.2.3", URL: "https://mesh.example.com",
		Contact: []string{"conformance@example.com", "@example/mesh"},
	}
	head.Isolation = &v1alpha2.Isolation{Proven: true, At: head.Date, Probes: []v1alpha2.IsolationProbe{
		{From: "cluster1", To: "cluster1", Address: "10.1.2.3:80", Control: true, Reached: true, OK: true},
		{From: "cluster1 pod", To: "cluster2 pod", Address: "10.1.2.3:80", OK: true},
		{From: "cluster2 pod", To: "cluster1 pod", Address: "10.1.2.3:80", OK: true},
	}}
	head.Timeouts = []v1alpha2.Timeout{
		{Name: "call", Seconds: 5}, {Name: "hold", Seconds: 5}, {Name: "settle", Seconds: 30}, {Name: "spec", Seconds: 300},
	}
	preflight := []v1alpha2.Check{{Name: "memory", Status: v1alpha2.CheckOK}}
	head.Leaks = &v1alpha2.Leaks{Clean: true}
	dir, err := os.MkdirTemp("", "good-bundle-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, err := bundle.Open(dir, head, p)
	if err != nil {
		t.Fatal(err)
	}
	example.RecordAll(t, b, p)
	evidence, err := b.EvidenceDir("LB-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(evidence, "calls.txt"), []byte("cluster1 21, cluster2 19\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.RecordPreflight(preflight); err != nil {
		t.Fatal(err)
	}
	report := b.Report()
	if err := b.AttachGinkgo(example.Ginkgo(t, &report)); err != nil {
		t.Fatal(err)
	}
	result, err := b.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result != v1alpha2.Success {
		t.Fatalf("got result %s, want %s", result, v1alpha2.Success)
	}
	files := fstest.MapFS{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// reseal writes new sums over a changed bundle, as a forger would.
func reseal(t testing.TB, dir string) {
	t.Helper()
	old, err := os.ReadFile(filepath.Join(dir, layout.SumsFile))
	if err != nil {
		t.Fatal(err)
	}
	var sums strings.Builder
	for line := range strings.Lines(string(old)) {
		name := strings.TrimSpace(line[66:])
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sumOf(data), name)
	}
	if err := os.WriteFile(filepath.Join(dir, layout.SumsFile), []byte(sums.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// forge changes the report, writes it and what goes with it, and writes new sums. The counts
// in the report stay as the change left them.
func forge(t testing.TB, dir string, change func(*v1alpha2.ConformanceReport)) {
	t.Helper()
	r := example.Read(t, dir)
	change(r)
	data, err := bundle.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := bundle.Render(dir, r, nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		layout.ReportFile: data, layout.PreflightFile: bundle.Preflight(r.Preflight), layout.GinkgoFile: example.Ginkgo(t, r),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	reseal(t, dir)
}

func replaceIn(t testing.TB, dir, name, old, now string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%s does not hold %q", name, old)
	}
	if err := os.WriteFile(filepath.Join(dir, name), bytes.Replace(data, []byte(old), []byte(now), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replan makes the report say what is planned for its environment, as the run would have said it:
// what is planned now and was not before held.
func replan(t testing.TB, r *v1alpha2.ConformanceReport) *plan.Plan {
	t.Helper()
	p, err := planned.Again(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Skip {
		skipped(r, e.Behavior.ID, e.Class, e.Reason)
	}
	for _, e := range p.Run {
		b := result(r, e.Behavior.ID)
		if b.Skip == nil {
			continue
		}
		b.Skip, b.Verdict, b.Attempts, b.Seconds, b.Expectations, b.Controls = nil, v1alpha2.Conformant, 1, 1.5, 2, 1
		if o := e.Behavior.Outcomes; o != nil {
			b.Outcome = o.Acceptable[0].Name
		}
	}
	summary.Fill(r)
	return p
}

func result(r *v1alpha2.ConformanceReport, id string) *v1alpha2.BehaviorResult {
	return &r.Behaviors[slices.IndexFunc(r.Behaviors, func(b v1alpha2.BehaviorResult) bool { return b.ID == id })]
}

// fixtures break exactly the rule they are named for: each takes the good bundle and does one thing
// to it.
var fixtures = map[string]struct {
	does  string
	spoil func(t testing.TB, dir string)
}{
	"B01": {"two lines of SHA256SUMS change places", func(t testing.TB, dir string) {
		data, _ := os.ReadFile(filepath.Join(dir, layout.SumsFile))
		lines := strings.SplitAfter(string(data), "\n")
		lines[0], lines[1] = lines[1], lines[0]
		if err := os.WriteFile(filepath.Join(dir, layout.SumsFile), []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}},
	"B02": {"a link in the evidence leads out of the bundle", func(t testing.TB, dir string) {
		if err := os.Symlink("/etc/hostname", filepath.Join(dir, layout.EvidenceDir, "LB-01", "host")); err != nil {
			t.Fatal(err)
		}
	}},
	"B03": {"a file is added to the evidence afterwards", func(t testing.TB, dir string) {
		if err := os.WriteFile(filepath.Join(dir, layout.EvidenceDir, "LB-01", "late.txt"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}},
	"B04": {"a file is changed afterwards", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.EvidenceDir+"/LB-01/calls.txt", "21", "22")
	}},
	"B05": {"the evidence holds a token", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.EvidenceDir+"/LB-01/calls.txt", "cluster1", "Authorization: Bearer "+strings.Repeat("b", 30))
		reseal(t, dir)
	}},
	"R01": {"a key stands twice in report.yaml", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.ReportFile, "kind: ConformanceReport\n", "kind: ConformanceReport\nkind: ConformanceReport\n")
		reseal(t, dir)
	}},
	"R02": {"report.yaml has a field that the schema does not know", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.ReportFile, "kind: ConformanceReport\n", "kind: ConformanceReport\ngrade: A\n")
		reseal(t, dir)
	}},
	"R03": {"the run was not finished", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Finished = false
			summary.Fill(r)
		})
	}},
	"R04": {"the catalog is another one", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Catalog.Digest = "sha256:" + strings.Repeat("a", 64) })
	}},
	"R05": {"a promise is softened", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			result(r, "GW-01").Promise = "An east-west gateway may drop plaintext."
		})
	}},
	"R06": {"a behavior is conformant and never ran", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { result(r, "GW-01").Attempts = 0 })
	}},
	"R07": {"a count is one higher", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Summary.Conformant++ })
	}},
	"R08": {"a feature is claimed and nothing of it ran", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Features = []v1alpha2.Feature{{Name: string(behaviors.FeatureTracing)}}
		})
	}},
	"R09": {"junit.xml tells of a failure that the report does not", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.JUnitFile, "</testcase>", "<failure message=\"m\"></failure></testcase>")
		reseal(t, dir)
	}},
	"R10": {"the report names evidence of another behavior", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			result(r, "GW-01").Evidence = []string{"evidence/LB-01/calls.txt"}
		})
	}},
	"R11": {"the Istio version is newer than the window", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Environment.Istio = "1.99.0"
			replan(t, r)
		})
	}},
	"R12": {"a behavior is said to have no spec", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Behaviors = slices.DeleteFunc(r.Behaviors, func(b v1alpha2.BehaviorResult) bool { return b.ID == "GW-01" })
			r.NotAutomated = append(r.NotAutomated, "GW-01")
			summary.Fill(r)
		})
	}},
	"R13": {"a comment is added to report.yaml", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.ReportFile, "finished: true\n", "finished: true # really\n")
		reseal(t, dir)
	}},
	"R14": {"Ginkgo's report says that a spec failed", func(t testing.TB, dir string) {
		replaceIn(t, dir, layout.GinkgoFile, `"passed"`, `"failed"`)
		reseal(t, dir)
	}},
	"C01": {"the user took a limitation out", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Filters.Exclude = []string{"SCOPE-07"}
			replan(t, r)
		})
	}},
	"C02": {"a behavior took two attempts", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			result(r, "LB-01").Attempts = 2
			summary.Fill(r)
		})
	}},
	"C03": {"something stands in for istiod", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Environment.StandIns = []v1alpha2.StandIn{{Name: "pilot", What: "a program of ours"}}
		})
	}},
	"C04": {"the check for leftovers did not run", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Leaks = nil })
	}},
	"C05": {"the implementation's version is a branch", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Implementation.Version = "main" })
	}},
	"C06": {"the suite had changes of its own", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Suite.Dirty = true })
	}},
	"C07": {"the isolation is not proven", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Isolation.Proven = false })
	}},
	"C08": {"ztunnel has no digest in one cluster", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Environment.Images = append(r.Environment.Images, v1alpha2.Image{Name: "ztunnel@cluster2", Digest: "latest"})
		})
	}},
	"C09": {"a core behavior is skipped for the topology", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Environment.Provider = v1alpha2.ProviderExisting
			replan(t, r)
		})
	}},
	"C10": {"the mesh had a day to converge", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { limit(r, "settle").Seconds = 86400 })
	}},
	"C11": {"the digest of the application is not known", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { imageOf(r, "app").Digest = "" })
	}},
	"C12": {"half of the specs ran on another fleet", func(t testing.TB, dir string) {
		forge(t, dir, func(r *v1alpha2.ConformanceReport) {
			r.Environment.Twins = []v1alpha2.Twin{{RunID: "other", Isolation: r.Isolation}}
			result(r, "LB-01").Twin = "other"
		})
	}},
	"S01": {"the bundle is signed by another key", func(t testing.TB, dir string) {
		_, other, _ := ed25519.GenerateKey(rand.Reader)
		if err := Sign(context.Background(), dir, other); err != nil {
			t.Fatal(err)
		}
	}},
	"S02": {"the attestation is that of another bundle", func(t testing.TB, dir string) {
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		if err := Sign(context.Background(), dir, key); err != nil {
			t.Fatal(err)
		}
		forge(t, dir, func(r *v1alpha2.ConformanceReport) { r.Seed++ })
	}},
}

func imageOf(r *v1alpha2.ConformanceReport, name string) *v1alpha2.Image {
	return &r.Environment.Images[slices.IndexFunc(r.Environment.Images, func(i v1alpha2.Image) bool { return i.Name == name })]
}

func limit(r *v1alpha2.ConformanceReport, name string) *v1alpha2.Timeout {
	return &r.Timeouts[slices.IndexFunc(r.Timeouts, func(t v1alpha2.Timeout) bool { return t.Name == name })]
}

func verifyTest(t testing.TB, dir string, key crypto.PublicKey) *Result {
	t.Helper()
	v, err := Bundle(context.Background(), dir, Options{Now: testNow, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func broken(r *Result) []string {
	var ids []string
	for _, f := range r.Broken() {
		ids = append(ids, f.Rule)
	}
	return ids
}

func TestGoodBundleBreaksNoRule(t *testing.T) {
	dir := goodBundle(t)
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	if err := Sign(context.Background(), dir, private); err != nil {
		t.Fatal(err)
	}
	v := verifyTest(t, dir, public)
	for _, f := range v.Findings {
		if f.Status != Holds {
			t.Errorf("%s: got %s (%s), want %s", f.Rule, f.Status, f.Message, Holds)
		}
	}
	if !v.OK() {
		t.Errorf("broken %v", broken(v))
	}
	if len(v.Findings) != len(Rules) {
		t.Errorf("got %d findings, want one for each of %d rules", len(v.Findings), len(Rules))
	}
	if v.Files == 0 {
		t.Error("no file was counted")
	}
	if v.Bytes == 0 {
		t.Error("no byte was counted")
	}
}

func TestEveryRuleHasAFixtureThatBreaksIt(t *testing.T) {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	seen := map[string]bool{}
	for _, r := range Rules {
		if seen[r.ID] {
			t.Errorf("there are two rules %s", r.ID)
		}
		if !strings.HasSuffix(r.Says, ".") {
			t.Errorf("%s: %q is not a sentence", r.ID, r.Says)
		}
		seen[r.ID] = true
		f, ok := fixtures[r.ID]
		if !ok {
			t.Errorf("rule %s has no fixture", r.ID)
			continue
		}
		t.Run(r.ID, func(t *testing.T) {
			dir := goodBundle(t)
			f.spoil(t, dir)
			var key crypto.PublicKey
			if r.For == WhenAsked {
				key = public
			}
			v := verifyTest(t, dir, key)
			if diff := cmp.Diff([]string{r.ID}, broken(v)); diff != "" {
				t.Errorf("%s: broken (-want +got):\n%s", f.does, diff)
			}
			for _, x := range v.Broken() {
				t.Logf("%s: %s -> %s", x.Rule, f.does, x.Message)
				if x.Message == "" {
					t.Errorf("%s has no message", x.Rule)
				}
				checkSentence(t, x.Message, 900)
			}
		})
	}
	for id := range fixtures {
		if !seen[id] {
			t.Errorf("the fixture %s is for no rule", id)
		}
	}
}

// Verify knows what is known: neither may a violation be called known that is not, nor the other
// way around.
func TestKnownIsComputedAgain(t *testing.T) {
	violated := func(r *v1alpha2.ConformanceReport) {
		r.Mode = v1alpha2.ModeConformance
		b := result(r, "LB-01")
		b.Verdict, b.Message = v1alpha2.NonConformant, "one cluster answered"
	}
	for name, c := range map[string]struct {
		known  bool // to this release
		change func(*v1alpha2.ConformanceReport)
		want   []string
	}{
		"known":            {true, func(r *v1alpha2.ConformanceReport) { violated(r); summary.Fill(r) }, nil},
		"not known":        {false, func(r *v1alpha2.ConformanceReport) { violated(r); summary.Fill(r) }, nil},
		"called known":     {false, func(r *v1alpha2.ConformanceReport) { violated(r); result(r, "LB-01").Known = "F-90" }, []string{"R07"}},
		"not called known": {true, func(r *v1alpha2.ConformanceReport) { violated(r) }, []string{"R07"}},
		"certified and known": {true, func(r *v1alpha2.ConformanceReport) {
			violated(r)
			r.Mode = v1alpha2.ModeCertified
			summary.Fill(r)
		}, []string{"C09"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			if c.known {
				example.KnowFault(t, "LB-01")
			}
			forge(t, dir, c.change)
			if diff := cmp.Diff(c.want, broken(verifyTest(t, dir, nil))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

var update = flag.Bool("update", false, "write docs/verify-rules.md")

// The table of rules with their fixtures is a page of the docs.
func TestRulesAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(
		"# Rules of `amc verify`\n\nGenerated by `go test ./reports/verify -update`; do not edit. The tests hold a fixture for each rule: " +
			"a bundle that breaks this rule and no other. With `--certified`, the rules of certified bundles are held against any bundle.\n\n" +
			"| rule | applies to | what must hold | its fixture |\n| --- | --- | --- | --- |\n",
	)
	for _, r := range Rules {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.ID, r.For, r.Says, fixtures[r.ID].does)
	}
	const name = "../../docs/verify-rules.md"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("%s is not what it is generated from: run `go test ./reports/verify -update` and have the difference reviewed (-want +got):\n%s",
			name, diff)
	}
}

func TestSignatures(t *testing.T) {
	dir := goodBundle(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for name, key := range map[string]crypto.Signer{"ed25519": ed, "ecdsa": p256} {
		t.Run(name, func(t *testing.T) {
			// Through key files, as the command does.
			keys := t.TempDir()
			der, _ := x509.MarshalPKCS8PrivateKey(key)
			pub, _ := x509.MarshalPKIXPublicKey(key.Public())
			private, public := filepath.Join(keys, "key.pem"), filepath.Join(keys, "pub.pem")
			if err := os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := PrivateKey(private); !strings.Contains(fmt.Sprint(err), "chmod 600") {
				t.Errorf("a key that others can read: %v", err)
			}
			if err := os.Chmod(private, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := PrivateKey(private)
			if err != nil {
				t.Fatal(err)
			}
			k, err := PublicKey(public)
			if err != nil {
				t.Fatal(err)
			}
			if err := Sign(context.Background(), dir, s); err != nil {
				t.Fatal(err)
			}
			if v := verifyTest(t, dir, k); !v.OK() {
				t.Errorf("got %v broken, want no rule", broken(v))
			}
			// The verdicts of a signed bundle cannot be changed, not even with sums that fit.
			copied := copyBundle(t, dir)
			forge(t, copied, func(r *v1alpha2.ConformanceReport) { r.Seed++ })
			if diff := cmp.Diff([]string{"S01", "S02"}, broken(verifyTest(t, copied, k))); diff != "" {
				t.Errorf("after a change: broken (-want +got):\n%s", diff)
			}
			// Nor can a signature be made without the key: that of another key in its name is none.
			forged := copyBundle(t, dir)
			changeEnvelope(t, forged, func(e *dsse.Envelope) {
				sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
				if err != nil {
					t.Fatal(err)
				}
				sig[len(sig)/2] ^= 1
				e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(sig)
			})
			if diff := cmp.Diff([]string{"S01"}, broken(verifyTest(t, forged, k))); diff != "" {
				t.Errorf("with another signature: broken (-want +got):\n%s", diff)
			}
			if _, err := PublicKey(private); err == nil {
				t.Error("a private key is taken for a public one")
			}
		})
	}
	big, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := Sign(context.Background(), dir, big); err == nil {
		t.Error("a kind of key that verify does not know signed")
	}
	copied := copyBundle(t, dir)
	forge(t, copied, func(r *v1alpha2.ConformanceReport) { r.Seed++ })
	if err := Sign(context.Background(), copied, ed); err != nil {
		t.Errorf("a bundle with the attestation of another one cannot be signed: %v", err)
	}
	unfinished := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
	if err := Sign(context.Background(), unfinished.Dir(), ed); !strings.Contains(fmt.Sprint(err), "B01") {
		t.Errorf("an open bundle: %v", err)
	}
}

func changeEnvelope(t testing.TB, dir string, change func(*dsse.Envelope)) {
	t.Helper()
	file := filepath.Join(dir, layout.SignatureFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	change(&e)
	if data, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A signature that nobody can read does not hide a good one, and the good one must not be among
// thousands.
func TestForeignSignatures(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	bad := dsse.Signature{Sig: "***"}
	for name, c := range map[string]struct {
		before []dsse.Signature
		want   []string
	}{
		"none":      {nil, nil},
		"bad":       {[]dsse.Signature{bad}, nil},
		"foreign":   {[]dsse.Signature{{KeyID: "SHA256:x", Sig: "AAAA"}, {Sig: "AAAA"}}, nil},
		"thousands": {slices.Repeat([]dsse.Signature{bad}, 5000), []string{"S01", "S02"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			if err := Sign(t.Context(), dir, private); err != nil {
				t.Fatal(err)
			}
			changeEnvelope(t, dir, func(e *dsse.Envelope) { e.Signatures = append(c.before, e.Signatures...) })
			if diff := cmp.Diff(c.want, broken(verifyTest(t, dir, public))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

// Every reader reads the same in an envelope, or it is none.
func TestEnvelopes(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	replace := func(old, now string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, now, 1) }
	}
	const none = "attestation.dsse.json is not an envelope: "
	for name, c := range map[string]struct {
		change func(string) string
		want   string // of S02; empty: it holds
	}{
		"as it was signed":         {func(s string) string { return s }, ""},
		"in one line":              {func(s string) string { return strings.Join(strings.Fields(s), "") }, ""},
		"a payload twice":          {replace(`"payload":`, `"payload": "e30=", "payload":`), none + `the key "payload" appears twice`},
		"a payload in other case":  {replace(`"payload":`, `"Payload": "e30=", "payload":`), none + `the key "Payload" is unknown`},
		"a signature twice":        {replace(`"sig":`, `"sig": "AAAA", "sig":`), none + `the key "sig" appears twice`},
		"a key of its own":         {replace(`"payload":`, `"comment": "trust me", "payload":`), none + `the key "comment" is unknown`},
		"a key of a signature":     {replace(`"sig":`, `"cert": "", "sig":`), none + `the key "cert" is unknown`},
		"text behind it":           {func(s string) string { return s + "{}" }, none + "something follows it"},
		"a list":                   {func(s string) string { return "[" + s + "]" }, none + "it has another form"},
		"deep":                     {func(string) string { return strings.Repeat("[", 1<<20) }, none + "it is nested deeper than 16"},
		"not JSON":                 {func(string) string { return "PK" }, none + "it is not JSON"},
		"cut":                      {func(s string) string { return s[:len(s)/2] }, none + "it is not JSON"},
		"empty":                    {func(string) string { return "" }, none + "it is not JSON"},
		"Latin-1":                  {func(s string) string { return s + "\xe9" }, none + "it is not UTF-8"},
		"a line break in base64":   {replace(`"payload": "`, `"payload": "\n`), none + "its payload is not base64 as an encoder writes it"},
		"signatures of other form": {replace(`"signatures": [`, `"signatures": [7, `), none + "it has another form"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			if err := Sign(t.Context(), dir, private); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, layout.SignatureFile)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(c.change(string(data))), 0o644); err != nil {
				t.Fatal(err)
			}
			v := verifyTest(t, dir, public)
			if c.want == "" {
				if diff := cmp.Diff([]string(nil), broken(v)); diff != "" {
					t.Errorf("broken (-want +got):\n%s", diff)
				}
				return
			}
			if diff := cmp.Diff([]string{"S01", "S02"}, broken(v)); diff != "" {
				t.Fatalf("broken (-want +got):\n%s", diff)
			}
			if got := v.Broken()[len(v.Broken())-1].Message; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A statement that is signed well and says something twice is no attestation either, and a
// signature counts only as an encoder writes it.
func TestStatements(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	s, err := newSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(t *testing.T, dir string, change func(string) string) *dsse.Envelope {
		in := verifyTest(t, dir, nil)
		body, err := statementOf(in.sums, in.Report)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := dsse.NewEnvelopeSigner(s)
		if err != nil {
			t.Fatal(err)
		}
		e, err := signer.SignPayload(t.Context(), payloadType, []byte(change(string(body))))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	twice := func(s string) string {
		return strings.Replace(s, "{", `{"predicateType":"https://example.com/other",`, 1)
	}
	for name, c := range map[string]struct {
		statement func(string) string
		envelope  func(*dsse.Envelope)
		want      []string
	}{
		"good":        {func(s string) string { return s }, func(*dsse.Envelope) {}, nil},
		"a key twice": {twice, func(*dsse.Envelope) {}, []string{"S01", "S02"}},
		"a predicate twice": {
			func(s string) string { return strings.Replace(s, `"result"`, `"result":"FAILED","result"`, 1) },
			func(*dsse.Envelope) {},
			[]string{"S01", "S02"},
		},
		"text behind it": {func(s string) string { return s + "{}" }, func(*dsse.Envelope) {}, []string{"S01", "S02"}},
		"another result": {
			func(s string) string {
				return regexp.MustCompile(`"result": ?"[A-Z]+"`).ReplaceAllString(s, `"result":"FAILED"`)
			},
			func(*dsse.Envelope) {},
			[]string{"S01"},
		},
		"a verdict less": {
			func(s string) string { return regexp.MustCompile(`"LB-01", ?`).ReplaceAllString(s, "") },
			func(*dsse.Envelope) {},
			[]string{"S01"},
		},
		"a result that is a list": {
			func(s string) string {
				return regexp.MustCompile(`"result": ?("[A-Z]+")`).ReplaceAllString(s, `"result":[$1]`)
			},
			func(*dsse.Envelope) {},
			[]string{"S01"},
		},
		"an unknown key": {
			func(s string) string { return strings.Replace(s, "{", `{"note":"x",`, 1) },
			func(*dsse.Envelope) {},
			[]string{"S01", "S02"},
		},
		"another catalog": {
			func(s string) string { return strings.Replace(s, `"catalog"`, `"another"`, 1) },
			func(*dsse.Envelope) {},
			[]string{"S01"},
		},
		"no catalog": {
			func(s string) string {
				return regexp.MustCompile(`"configuration": ?\[[^]]*\]`).ReplaceAllString(s, `"configuration":[]`)
			},
			func(*dsse.Envelope) {},
			[]string{"S01"},
		},
		"another subject beside it": {
			func(s string) string {
				return regexp.MustCompile(`"subject": ?\[`).ReplaceAllString(s,
					`"subject":[{"name":"other","digest":{"sha256":"`+strings.Repeat("a", 64)+`"}},`)
			},
			func(*dsse.Envelope) {},
			[]string{"S01", "S02"},
		},
		"a broken signature": {func(s string) string { return s }, func(e *dsse.Envelope) {
			e.Signatures[0].Sig = e.Signatures[0].Sig[:40] + "\n" + e.Signatures[0].Sig[40:]
		}, []string{"S01"}},
		// The last character of the base64 of 64 bytes has four bits that count for nothing.
		"other last bits": {func(s string) string { return s }, func(e *dsse.Envelope) {
			sig := []byte(e.Signatures[0].Sig)
			last := bytes.TrimRight(sig, "=")
			last[len(last)-1]++ // in its alphabet: the encoder writes A, Q, g or w there
			e.Signatures[0].Sig = string(sig)
		}, []string{"S01"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			e := signed(t, dir, c.statement)
			c.envelope(e)
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, layout.SignatureFile), data, 0o644); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, broken(verifyTest(t, dir, public))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretInAName(t *testing.T) {
	dir := goodBundle(t)
	folder := filepath.Join(dir, layout.EvidenceOf("LB-01"))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	token := "eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLXNpZw"
	if err := os.WriteFile(filepath.Join(folder, token), []byte("harmless"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := broken(verifyTest(t, dir, nil)); !slices.Contains(got, "B05") {
		t.Errorf("got %q broken, want B05 among them", got)
	}
}

// Nothing sums the attestation, so it is scanned by itself.
func TestSecretInTheAttestation(t *testing.T) {
	dir := goodBundle(t)
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	if err := Sign(t.Context(), dir, private); err != nil {
		t.Fatal(err)
	}
	replaceIn(t, dir, layout.SignatureFile, `"keyid": "`, `"keyid": "-----BEGIN PRIVATE KEY-----`)
	if diff := cmp.Diff([]string{"B05"}, broken(verifyTest(t, dir, nil))); diff != "" {
		t.Errorf("broken (-want +got):\n%s", diff)
	}
}

// What is looked at is what was scanned for secrets.
func TestAttestationThatChangesMeanwhile(t *testing.T) {
	dir := goodBundle(t)
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	if err := Sign(t.Context(), dir, private); err != nil {
		t.Fatal(err)
	}
	in := begun(t, dir)
	in.readSums()
	in.walk()
	in.readFiles()
	if wrong := in.attested(); len(wrong) > 0 {
		t.Fatalf("before it changes: %q", wrong)
	}
	name := filepath.Join(dir, layout.SignatureFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []string{layout.SignatureFile + " was changed while it was read"}
	if diff := cmp.Diff(want, in.attested()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnfitKeys(t *testing.T) {
	file := func(t *testing.T, blocks ...*pem.Block) string {
		name := filepath.Join(t.TempDir(), "key.pem")
		var all []byte
		for _, b := range blocks {
			all = append(all, pem.EncodeToMemory(b)...)
		}
		if err := os.WriteFile(name, all, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	junk := []byte("junk")
	old := &pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "x"}, Bytes: junk}
	for name, c := range map[string]struct {
		key  string
		want string
	}{
		"encrypted":            {file(t, &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: junk}), "openssl pkey -in "},
		"encrypted, old form":  {file(t, old), "openssl pkey -in "},
		"RSA":                  {file(t, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: junk}), "not a private key of a kind that is known"},
		"a certificate":        {file(t, &pem.Block{Type: "CERTIFICATE", Bytes: junk}), `holds a "CERTIFICATE", not a private key`},
		"a folder":             {t.TempDir(), "is not a plain file"},
		"a device":             {"/dev/null", "is not a plain file"},
		"words":                {file(t), "is not a PEM file"},
		"nothing that is read": {file(t, &pem.Block{Type: "PRIVATE KEY", Bytes: junk}), "holds no private key that can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := PrivateKey(c.key); !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	// As `openssl ecparam -genkey` writes it.
	both := file(t, &pem.Block{Type: "EC PARAMETERS", Bytes: junk}, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if _, err := PrivateKey(both); err != nil {
		t.Errorf("a key behind its parameters: %v", err)
	}
}

// A key of small order fits signatures that anybody can make.
func TestKeysOfSmallOrder(t *testing.T) {
	for name, point := range map[string]string{ // little-endian y, and the sign of x in the last bit
		"order 1":                "0100000000000000000000000000000000000000000000000000000000000000",
		"order 1, other sign":    "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2":                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, other sign":    "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, another":       "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 1, not canonical": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4, not canonical": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		t.Run(name, func(t *testing.T) {
			key, err := hex.DecodeString(point)
			if err != nil {
				t.Fatal(err)
			}
			if err := fit(ed25519.PublicKey(key)); !strings.Contains(fmt.Sprint(err), "small order") {
				t.Errorf("got %v, want that it is of small order", err)
			}
		})
	}
	for range 20 {
		public, _, _ := ed25519.GenerateKey(rand.Reader)
		if err := fit(public); err != nil {
			t.Errorf("%x: %v", public, err)
		}
	}
}

// What is published beside the report says what the report says, to every reader and every parser.
func TestOneTruth(t *testing.T) {
	put := func(name, text string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(name, old, now string) func(testing.TB, string) {
		return func(t testing.TB, dir string) { replaceIn(t, dir, name, old, now) }
	}
	report := func(old, now string) func(testing.TB, string) { return change(layout.ReportFile, old, now) }
	for name, c := range map[string]struct {
		spoil func(testing.TB, string)
		want  []string
	}{
		"another page":    {put(layout.HTMLFile, "<h1>Certified</h1><script src=//evil></script>"), []string{"R09"}},
		"another summary": {put(layout.MarkdownFile, "245 of 245 conformant ![](https://evil.example/x.png)"), []string{"R09"}},
		"a style sheet": {
			change(layout.JUnitFile, "<testsuites", `<?xml-stylesheet href="https://evil.example/x.xsl"?><testsuites`), []string{"R09"},
		},
		"other counts in JUnit": {change(layout.JUnitFile, "failures=\"0\"", "failures=\"99\""), []string{"R09"}},
		"two roots in JUnit":    {change(layout.JUnitFile, "</testsuites>", "</testsuites><testsuites></testsuites>"), []string{"R09"}},
		"flow style":            {report("filters: {}", "filters: { }"), []string{"R13"}},
		"a document's start":    {report("apiVersion:", "---\napiVersion:"), []string{"R13"}},
		"a directive":           {report("apiVersion:", "%YAML 1.2\n---\napiVersion:"), []string{"R01"}},
		"a quoted word":         {report("mode: certified", "mode: \"certified\""), []string{"R13"}},
		"no final newline": {func(t testing.TB, dir string) {
			name := filepath.Join(dir, layout.ReportFile)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, bytes.TrimRight(data, "\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"R13"}},
		"a line break of one parser": {
			report("finished: true\n", "finished: true\n# \u0085seed: 8\n"), []string{"R01"},
		},
		"a line separator": {report("finished: true\n", "finished: true # \u2028\n"), []string{"R01"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			c.spoil(t, dir)
			reseal(t, dir)
			if diff := cmp.Diff(c.want, broken(verifyTest(t, dir, nil))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

// What Ginkgo and the preflight wrote says what the report says.
func TestFilesBesideTheReport(t *testing.T) {
	put := func(name, text string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			reseal(t, dir)
		}
	}
	drop := func(name string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			unlist(t, dir, name)
		}
	}
	ginkgo := func(change func(r *v1alpha2.ConformanceReport)) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			r := example.Read(t, dir)
			change(r)
			put(layout.GinkgoFile, string(example.Ginkgo(t, r)))(t, dir)
		}
	}
	verdict := func(v v1alpha2.Verdict) func(*v1alpha2.ConformanceReport) {
		return func(r *v1alpha2.ConformanceReport) { result(r, "LB-01").Verdict = v }
	}
	// said is a report of Ginkgo in which one spec has a state, beside a verdict of the report.
	said := func(v v1alpha2.Verdict, known string, old, now string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if known != "" {
				example.KnowFault(t, "LB-01")
			}
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				r.Mode = v1alpha2.ModeConformance
				b := result(r, "LB-01")
				if b.Verdict = v; v != v1alpha2.Conformant {
					b.Message = "seen"
				}
				summary.Fill(r)
			})
			if old != "" {
				replaceIn(t, dir, layout.GinkgoFile, old, now)
				reseal(t, dir)
			}
		}
	}
	const noEntries = `"ReportEntries": [`
	for name, c := range map[string]struct {
		spoil func(testing.TB, string)
		want  string // in the message of R14; empty: it holds
	}{
		"no Ginkgo report":  {drop(layout.GinkgoFile), ""},
		"no preflight":      {drop(layout.PreflightFile), "the report has 1 preflight checks, and preflight.json is missing"},
		"another preflight": {put(layout.PreflightFile, `[{"name": "memory", "status": "fail"}]`), "preflight.json does not hold"},
		"not Ginkgo":        {put(layout.GinkgoFile, `{"not": "ginkgo"}`), "is not a report of one Ginkgo suite"},
		"no suite":          {put(layout.GinkgoFile, `[]`), "is not a report of one Ginkgo suite"},
		"two suites":        {put(layout.GinkgoFile, `[{}, {}]`), "is not a report of one Ginkgo suite"},
		"too many specs": {
			put(layout.GinkgoFile, `[{"SpecReports": [`+strings.Repeat("{},", 4<<20)+`{}]}]`),
			"is not a report of one",
		},
		"too many suites": {put(layout.GinkgoFile, `[`+strings.Repeat("{},", 4<<20)+`{}]`), "is not a report of one"},
		"too large":       {put(layout.GinkgoFile, strings.Repeat(" ", 17<<20)), "ginkgo.json is larger than 16 MiB"},
		"a spec less":     {ginkgo(func(r *v1alpha2.ConformanceReport) { r.Behaviors = r.Behaviors[1:] }), "is missing"},
		"a spec twice": {
			ginkgo(func(r *v1alpha2.ConformanceReport) { r.Behaviors = append(r.Behaviors, r.Behaviors[0]) }),
			"appears twice",
		},
		"a failure": {ginkgo(verdict(v1alpha2.NonConformant)), "LB-01 is failed there, and conformant in the report"},
		"a skip":    {ginkgo(verdict(v1alpha2.Skipped)), "LB-01 is skipped there, and conformant in the report"},
		"a failure that the suite forgets": {
			said(v1alpha2.NonConformant, "", `"SuiteSucceeded": false`, `"SuiteSucceeded": true`),
			"the suite succeeded and a spec of it failed",
		},
		"a violation":               {said(v1alpha2.NonConformant, "", "", ""), ""},
		"a violation that is known": {said(v1alpha2.NonConformant, "F-90", "", ""), ""},
		"a violation that passed": {
			said(v1alpha2.NonConformant, "", `"failed"`, `"passed"`),
			"LB-01 is passed there, and non-conformant in the report",
		},
		"an unknown":                     {said(v1alpha2.Unknown, "", "", ""), ""},
		"an unknown that Ginkgo cut off": {said(v1alpha2.Unknown, "", `"failed"`, `"interrupted"`), ""},
		"an unknown that passed": {
			said(v1alpha2.Unknown, "", `"failed"`, `"passed"`),
			"LB-01 is passed there, and unknown in the report",
		},
		"a run that Ginkgo cut off": {func(t testing.TB, dir string) {
			ginkgo(verdict(v1alpha2.Skipped))(t, dir)
			replaceIn(t, dir, layout.GinkgoFile, `"SuiteSucceeded": true`,
				`"SpecialSuiteFailureReasons": ["Interrupted by User"], "SuiteSucceeded": false`)
			reseal(t, dir)
		}, ""},
		"another verdict beside the states": {
			said(v1alpha2.Conformant, "", `\"conformant\"`, `\"unknown\"`),
			"is passed there, and conformant in the report",
		},
		"no verdict beside the states": {said(v1alpha2.Conformant, "", noEntries, noEntries+"null, "), ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			c.spoil(t, dir)
			v := verifyTest(t, dir, nil)
			if c.want == "" {
				if diff := cmp.Diff([]string(nil), broken(v)); diff != "" {
					t.Errorf("broken (-want +got):\n%s", diff)
				}
				return
			}
			if diff := cmp.Diff([]string{"R14"}, broken(v)); diff != "" {
				t.Fatalf("broken (-want +got):\n%s", diff)
			}
			if got := v.Broken()[0].Message; !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Where no file was read, nothing is said to hold of the files.
func TestWhatWasNotReadIsNotChecked(t *testing.T) {
	dir := goodBundle(t)
	fixtures["B02"].spoil(t, dir)
	fixtures["B05"].spoil(t, dir)
	got := map[string]Status{}
	for _, f := range verifyTest(t, dir, nil).Findings {
		got[f.Rule] = f.Status
	}
	for _, rule := range []string{"B04", "B05", "R09", "R14"} {
		t.Run(rule, func(t *testing.T) {
			if got[rule] != NotChecked {
				t.Errorf("got %s, want %s", got[rule], NotChecked)
			}
		})
	}
}

func copyBundle(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// traffic is a table of n rows and n columns.
func traffic(n int) (all []v1alpha2.Traffic) {
	for i := range n {
		all = append(all, v1alpha2.Traffic{From: fmt.Sprint("from", i), Scope: fmt.Sprint("scope", i), Answered: []v1alpha2.Answered{}})
	}
	return all
}

// A hostile bundle ends in one sentence per rule, in bounded time and memory, and nothing outside
// it is read.
func TestHostileBundles(t *testing.T) {
	put := func(name string, data []byte) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	repeat := func(s string, n int) []byte { return bytes.Repeat([]byte(s), n) }
	sum := strings.Repeat("0", 64)
	sums := func(name string) func(testing.TB, string) { return put(layout.SumsFile, []byte(sum+"  "+name+"\n")) }
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	hostile := map[string]struct {
		rule  string
		spoil func(testing.TB, string)
	}{
		"sums name a parent":        {"B01", sums("../../etc/passwd")},
		"sums name a parent inside": {"B01", sums("evidence/../../x")},
		"sums name the root":        {"B01", sums("/etc/passwd")},
		"sums with a back slash":    {"B01", sums(`..\..\x`)},
		"sums with a control char":  {"B01", sums("evidence/LB-01/\x1b[2J")},
		"sums of nothing":           {"B01", put(layout.SumsFile, nil)},
		"sums of 17 MiB":            {"B01", put(layout.SumsFile, repeat("0", 17<<20))},
		"sums in one long line":     {"B01", put(layout.SumsFile, repeat("0", 1<<20))},
		"sums are a link": {"B01", func(t testing.TB, dir string) {
			os.Remove(filepath.Join(dir, layout.SumsFile))
			if err := os.Symlink("/etc/hostname", filepath.Join(dir, layout.SumsFile)); err != nil {
				t.Fatal(err)
			}
		}},
		"the report is a link out": {"R01", func(t testing.TB, dir string) {
			os.Remove(filepath.Join(dir, layout.ReportFile))
			if err := os.Symlink("/etc/hostname", filepath.Join(dir, layout.ReportFile)); err != nil {
				t.Fatal(err)
			}
		}},
		"evidence is a link out": {"B02", func(t testing.TB, dir string) {
			os.RemoveAll(filepath.Join(dir, layout.EvidenceDir))
			if err := os.Symlink("/etc", filepath.Join(dir, layout.EvidenceDir)); err != nil {
				t.Fatal(err)
			}
		}},
		"a file of 1 GiB": {"B02", func(t testing.TB, dir string) {
			if err := os.Truncate(filepath.Join(dir, layout.EvidenceDir, "LB-01", "calls.txt"), 1<<30); err != nil { // sparse
				t.Fatal(err)
			}
		}},
		"a pipe": {"B02", func(t testing.TB, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, layout.EvidenceDir, "LB-01", "pipe"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		"a deep folder": {"B02", func(t testing.TB, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, layout.EvidenceDir, strings.Repeat("d/", 40)), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		"a name with a line break": {"B02", put("evidence/LB-01/a\nb", nil)},
		"no report":                {"R01", func(t testing.TB, dir string) { os.Remove(filepath.Join(dir, layout.ReportFile)) }},
		"empty report":             {"R01", put(layout.ReportFile, nil)},
		"report of 1 GiB": {"R01", func(t testing.TB, dir string) {
			if err := os.Truncate(filepath.Join(dir, layout.ReportFile), 1<<30); err != nil {
				t.Fatal(err)
			}
		}},
		"aliases":               {"R01", put(layout.ReportFile, []byte(bomb))},
		"merge key":             {"R01", put(layout.ReportFile, []byte("<<: {a: b}\n"))},
		"a tag of its own":      {"R01", put(layout.ReportFile, []byte("a: !!python/object x\n"))},
		"binary":                {"R01", put(layout.ReportFile, []byte("a: !!binary aGk=\n"))},
		"many brackets":         {"R01", put(layout.ReportFile, repeat("[", 1<<20))},
		"deep brackets":         {"R01", put(layout.ReportFile, append(repeat("[", 5000), repeat("]", 5000)...))},
		"millions of parts":     {"R01", put(layout.ReportFile, repeat("- a\n", 3<<20))},
		"as many as allowed":    {"R02", put(layout.ReportFile, repeat("- a\n", 150_000))},
		"lists in lists":        {"R01", put(layout.ReportFile, repeat(strings.Repeat("- ", 30)+"x\n", 200_000))},
		"as many in lists":      {"R02", put(layout.ReportFile, repeat(strings.Repeat("- ", 30)+"x\n", 10_000))},
		"UTF-16":                {"R01", put(layout.ReportFile, []byte("\xff\xfea\x00:\x00 \x001\x00"))},
		"Latin-1":               {"R01", put(layout.ReportFile, []byte("kind: caf\xe9\n"))},
		"byte order mark":       {"R01", put(layout.ReportFile, []byte("\xef\xbb\xbfkind: x\n"))},
		"NUL":                   {"R01", put(layout.ReportFile, []byte("kind: \x00\n"))},
		"two documents":         {"R01", put(layout.ReportFile, []byte("a: b\n---\na: b\n"))},
		"a number as key":       {"R01", put(layout.ReportFile, []byte("1: b\n"))},
		"infinity":              {"R01", put(layout.ReportFile, []byte("seed: .inf\n"))},
		"a tiny number":         {"R01", put(layout.ReportFile, []byte("behaviors: ["+strings.Repeat("{attempts: -1e-999999},", 500)+"]\n"))},
		"a long number":         {"R01", put(layout.ReportFile, []byte("seed: 0."+strings.Repeat("1", 500)+"\n"))},
		"octal":                 {"R01", put(layout.ReportFile, []byte("seed: 0o17\n"))},
		"not a mapping":         {"R02", put(layout.ReportFile, []byte("just words\n"))},
		"another kind":          {"R02", put(layout.ReportFile, []byte("apiVersion: v1\nkind: Pod\n"))},
		"a field in other case": {"R02", func(t testing.TB, dir string) { replaceIn(t, dir, layout.ReportFile, "runID:", "RunID:") }},
		"words for a number":    {"R02", func(t testing.TB, dir string) { replaceIn(t, dir, layout.ReportFile, "seed: 7", "seed: seven") }},
		"a verdict of its own": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "verdict: conformant", "verdict: splendid")
		}},
		"a mode of its own": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "mode: certified", `mode: "certified\u200b"`)
		}},
		"a profile of its own": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "profile: core", `profile: "\e[2Jcore"`)
		}},
		"a result of its own": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "result: success", "result: splendid")
		}},
		"a provider of its own": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "provider: kind", "provider: cloud")
		}},
		"an image of its own": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "source: pulled", "source: elsewhere")
		}},
		"a key that controls the terminal": {"R02", func(t testing.TB, dir string) {
			replaceIn(t, dir, layout.ReportFile, "kind: Conf", "\"\\e[2J\\u202e\": 1\nkind: Conf")
		}},
		"thousands of features": {"R02", func(t testing.TB, dir string) {
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				var ids []string
				for i := range 100 {
					ids = append(ids, fmt.Sprint("LB-", i))
				}
				r.Features = slices.Repeat([]v1alpha2.Feature{{Name: "jwt", Behaviors: ids}}, 1000)
			})
		}},
		"a traffic table of millions": {"R02", func(t testing.TB, dir string) {
			data, err := bundle.Encode(&v1alpha2.ConformanceReport{
				APIVersion: v1alpha2.APIVersion, Kind: v1alpha2.Kind, Traffic: traffic(3000),
			})
			if err != nil {
				t.Fatal(err)
			}
			put(layout.ReportFile, data)(t, dir)
		}},
		"junit with entities": {
			"R09",
			put(layout.JUnitFile, []byte(`<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuites>&b;</testsuites>`)),
		},
		"junit nested":     {"R09", put(layout.JUnitFile, repeat("<a>", 1<<20))},
		"junit is not XML": {"R09", put(layout.JUnitFile, []byte("hello"))},
		"junit with an id twice": {
			"R09",
			put(layout.JUnitFile, []byte(`<testsuites><testsuite><testcase name="LB-01 a"/><testcase name="LB-01 b"/></testsuite></testsuites>`)),
		},
	}
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		h := hostile[name]
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			h.spoil(t, dir)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			v := verifyTest(t, dir, nil)
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			if !slices.Contains(broken(v), h.rule) {
				t.Errorf("broken %v, want %s", broken(v), h.rule)
			}
			for _, f := range v.Findings {
				checkSentence(t, f.Message, 900)
				if f.Status == Broken {
					t.Logf("%s %s", f.Rule, f.Message)
				}
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
				t.Errorf("%d MiB were allocated, want at most 1 GiB", used>>20)
			}
			if took > 20*time.Second {
				t.Errorf("it took %s, want at most 20 s", took)
			}
		})
	}
	for name, dir := range map[string]string{"nothing": filepath.Join(t.TempDir(), "none"), "a file": "/etc/hostname"} {
		t.Run(name, func(t *testing.T) {
			if _, err := Bundle(t.Context(), dir, Options{}); err == nil {
				t.Errorf("%s is taken for a bundle", dir)
			}
		})
	}
}

// On clusters of others there is no proof before the run: the spec that shows the same stands for
// it, unless a proof says otherwise.
func TestIsolationOnClustersOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha2.ConformanceReport)
		broken []string
	}{
		"by the spec": {func(r *v1alpha2.ConformanceReport) {
			r.Environment.Provider, r.Isolation = v1alpha2.ProviderExisting, nil
		}, nil},
		"on our own": {func(r *v1alpha2.ConformanceReport) { r.Isolation = nil }, []string{"C07"}},
		"disproved": {func(r *v1alpha2.ConformanceReport) {
			r.Environment.Provider, r.Isolation.Proven = v1alpha2.ProviderExisting, false
		}, []string{"C07"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				c.change(r)
				r.Environment.MeshAdmin = r.Environment.Provider == v1alpha2.ProviderExisting
				replan(t, r)
			})
			if diff := cmp.Diff(c.broken, broken(verifyTest(t, dir, nil))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

// A certificate cannot be had by saying that something could not run, nor by an environment that
// contradicts itself.
func TestForgedCertificates(t *testing.T) {
	env := func(change func(*v1alpha2.Environment)) func(*v1alpha2.ConformanceReport) {
		return func(r *v1alpha2.ConformanceReport) { change(&r.Environment) }
	}
	istio := func(version string) func(*v1alpha2.ConformanceReport) {
		return env(func(e *v1alpha2.Environment) { e.Istio = version })
	}
	isolation := func(change func(*v1alpha2.Isolation)) func(*v1alpha2.ConformanceReport) {
		return func(r *v1alpha2.ConformanceReport) { change(r.Isolation) }
	}
	version := func(v string) func(*v1alpha2.ConformanceReport) {
		return func(r *v1alpha2.ConformanceReport) { r.Implementation.Version = v }
	}
	image := func(i v1alpha2.Image) func(*v1alpha2.ConformanceReport) {
		i.Digest = example.Digest(8)
		return env(func(e *v1alpha2.Environment) { e.Images = append(e.Images, i) })
	}
	lb01 := func(change func(*v1alpha2.BehaviorResult)) func(*v1alpha2.ConformanceReport) {
		return func(r *v1alpha2.ConformanceReport) { change(result(r, "LB-01")) }
	}
	skip := func(class plan.Class, reason string) func(*v1alpha2.ConformanceReport) {
		return func(r *v1alpha2.ConformanceReport) { skipped(r, "LB-01", class, reason) }
	}
	for name, c := range map[string]struct {
		change func(*v1alpha2.ConformanceReport)
		want   []string
	}{
		"one behavior, the rest has no spec": {func(r *v1alpha2.ConformanceReport) {
			for _, b := range r.Behaviors {
				if b.ID != "LB-01" {
					r.NotAutomated = append(r.NotAutomated, b.ID)
				}
			}
			slices.SortFunc(r.NotAutomated, behaviors.CompareIDs)
			r.Behaviors = []v1alpha2.BehaviorResult{*result(r, "LB-01")}
		}, []string{"R12"}},
		"skipped for the version":    {skip(plan.ClassVersion, "promised for Istio >=9.9, this is 1.31.0"), []string{"R12"}},
		"skipped for another reason": {skip(plan.ClassProfile, "profile core does not run it; extended does"), []string{"R12", "C09"}},
		"ran where it may not": {env(func(e *v1alpha2.Environment) {
			e.Provider = v1alpha2.ProviderExisting
		}), []string{"R12"}},
		"no cluster":         {env(func(e *v1alpha2.Environment) { e.Clusters = nil }), []string{"R12", "C07"}},
		"one cluster":        {env(func(e *v1alpha2.Environment) { e.Clusters = e.Clusters[:1] }), []string{"R12", "C07"}},
		"one network":        {env(func(e *v1alpha2.Environment) { e.Clusters[1].Network = e.Clusters[0].Network }), []string{"R12", "C07"}},
		"other addresses":    {env(func(e *v1alpha2.Environment) { e.Clusters[1].ServiceCIDR = "10.97.0.0/16" }), []string{"R12"}},
		"an old cluster":     {env(func(e *v1alpha2.Environment) { e.Clusters[0].Istio = "1.20.0" }), []string{"R11"}},
		"no cluster version": {env(func(e *v1alpha2.Environment) { e.Clusters[0].Istio = "x" }), []string{"R11"}},
		"istiod says otherwise": {env(func(e *v1alpha2.Environment) {
			e.Facts = []v1alpha2.NamedValue{{Name: "istiod", Value: "1.29.4"}}
		}), []string{"R11"}},
		"one of the istiods says otherwise": {env(func(e *v1alpha2.Environment) {
			e.Facts = []v1alpha2.NamedValue{{Name: "istiod of cluster1", Value: "1.31.0"}, {Name: "istiod of cluster2", Value: "1.20.3"}}
		}), []string{"R11"}},
		"istiods of two versions that the clusters have": {env(func(e *v1alpha2.Environment) {
			e.Clusters[1].Istio = "1.30.2"
			e.Facts = []v1alpha2.NamedValue{{Name: "istiod of cluster1", Value: "1.31.0"}, {Name: "istiod of cluster2", Value: "1.30.2"}}
		}), nil},
		"a name for two clusters":  {env(func(e *v1alpha2.Environment) { e.Clusters[1].Name = "cluster1" }), []string{"C07"}},
		"a network without a name": {env(func(e *v1alpha2.Environment) { e.Clusters[1].Network = "" }), []string{"C07"}},
		"one digest for all": {env(func(e *v1alpha2.Environment) {
			for i := range e.Images {
				e.Images[i].Digest = example.Digest(1)
			}
		}), []string{"C08", "C11"}},
		"digests of nothing": {env(func(e *v1alpha2.Environment) {
			for i := range e.Images {
				e.Images[i].Digest = example.Digest(0)
			}
		}), []string{"C08", "C11"}},
		"isolation of others":       {isolation(func(i *v1alpha2.Isolation) { i.Probes[1].From, i.Probes[1].To = "c9", "c9" }), []string{"C07"}},
		"isolation one way":         {isolation(func(i *v1alpha2.Isolation) { i.Probes = i.Probes[:2] }), []string{"C07"}},
		"isolation long ago":        {isolation(func(i *v1alpha2.Isolation) { i.At = i.At.AddDate(-2, 0, 0) }), []string{"C07"}},
		"isolation after the run":   {isolation(func(i *v1alpha2.Isolation) { i.At = i.At.Add(23 * time.Hour) }), []string{"C07"}},
		"no preflight":              {func(r *v1alpha2.ConformanceReport) { r.Preflight = nil }, []string{"C07"}},
		"an invisible organization": {func(r *v1alpha2.ConformanceReport) { r.Implementation.Organization = "\u200b" }, []string{"C05"}},
		"a project that turns text": {func(r *v1alpha2.ConformanceReport) { r.Implementation.Project = "mesh\u202e" }, []string{"C05"}},
		"held on another fleet":     {lb01(func(b *v1alpha2.BehaviorResult) { b.Twin = "nobody" }), []string{"R06"}},
		"held in no time":           {lb01(func(b *v1alpha2.BehaviorResult) { b.Seconds, b.ConvergeSeconds = 0, nil }), []string{"R06"}},
		"a day of letters":          {istio("v0.0.0-zzzzzzzzzzzzzz-abc"), []string{"R11"}},
		"a day of nines":            {istio("v0.0.0-99999999999999-eed52ebb66ad"), []string{"R11"}},
		"a day to come":             {istio("v0.0.0-20270827124520-eed52ebb66ad"), []string{"R11"}},
		"a version with markup":     {istio("1.31-<script>"), []string{"R11"}},
		"no version":                {istio("soon"), []string{"R11", "R12"}},
		"isolation by no probe":     {isolation(func(i *v1alpha2.Isolation) { i.Probes = nil }), []string{"C07"}},
		"isolation by no control":   {isolation(func(i *v1alpha2.Isolation) { i.Probes = i.Probes[1:] }), []string{"C07"}},
		"isolation by controls":     {isolation(func(i *v1alpha2.Isolation) { i.Probes = i.Probes[:1] }), []string{"C07"}},
		"isolation at no time":      {isolation(func(i *v1alpha2.Isolation) { i.At = time.Time{} }), []string{"C07"}},
		"a probe failed":            {isolation(func(i *v1alpha2.Isolation) { i.Probes[1].OK = false }), []string{"C07"}},
		"a probe arrived":           {isolation(func(i *v1alpha2.Isolation) { i.Probes[1].Reached = true }), []string{"C07"}},
		"a built ztunnel":           {image(v1alpha2.Image{Name: "ztunnel", Source: "built"}), []string{"C03"}},
		"a ztunnel that was built and is said to be pulled": {env(func(e *v1alpha2.Environment) {
			e.Images[4].Ref = "ambient.test/ztunnel:022042441b23"
		}), []string{"C03"}},
		"one image of any name": {env(func(e *v1alpha2.Environment) {
			e.Images = []v1alpha2.Image{{Name: "x", Digest: example.Digest(0)}}
		}), []string{"C08", "C11"}},
		"no image":   {env(func(e *v1alpha2.Environment) { e.Images = nil }), []string{"C08", "C11"}},
		"no ztunnel": {env(func(e *v1alpha2.Environment) { e.Images = e.Images[:4] }), []string{"C08"}},
		"another image without a digest": {env(func(e *v1alpha2.Environment) {
			e.Images = append(e.Images, v1alpha2.Image{Name: "istio-system/kiali/kiali", Source: "found"})
		}), nil},
		"a built proxy of one":    {image(v1alpha2.Image{Name: "proxyv2@cluster2", Source: "built"}), []string{"C03"}},
		"a version that is dirty": {version("v1.2.3-dirty"), []string{"C05"}},
		"a trunk":                 {version("trunk"), []string{"C05"}},
		"a branch and a blank":    {version("main "), []string{"C05"}},
		"a branch in Cyrillic":    {version("m\u0430in"), []string{"C05"}},
		"a reference":             {version("refs/heads/main"), []string{"C05"}},
		"an invisible version":    {version("\u200b"), []string{"C05"}},
		"another suite, dirty":    {func(r *v1alpha2.ConformanceReport) { r.Suite.Version = "v0.0.1-other+dirty" }, []string{"C06"}},
		"no hold time":            {func(r *v1alpha2.ConformanceReport) { limit(r, "hold").Seconds = 0 }, []string{"C10"}},
		"a spec of an hour":       {func(r *v1alpha2.ConformanceReport) { limit(r, "spec").Seconds = 3600 }, []string{"C10"}},
		"a call of a minute":      {func(r *v1alpha2.ConformanceReport) { limit(r, "call").Seconds = 60 }, []string{"C10"}},
		"a negative timeout":      {func(r *v1alpha2.ConformanceReport) { limit(r, "settle").Seconds = -1 }, []string{"C10"}},
		"no limits":               {func(r *v1alpha2.ConformanceReport) { r.Timeouts = nil }, []string{"C10"}},
		"a limit twice": {func(r *v1alpha2.ConformanceReport) {
			r.Timeouts = append(r.Timeouts, v1alpha2.Timeout{Name: "settle", Seconds: 10})
		}, []string{"C10"}},
		"held with a message": {lb01(func(b *v1alpha2.BehaviorResult) { b.Message = "one cluster answered" }), []string{"R06"}},
		"no attempt counts":   {lb01(func(b *v1alpha2.BehaviorResult) { b.Uncounted = []string{"was not steady"} }), []string{"R06"}},
		"skipped with results": {func(r *v1alpha2.ConformanceReport) {
			r.Filters.Exclude = []string{"SCOPE-07"}
			replan(t, r)
			result(r, "SCOPE-07").Attempts = 1
		}, []string{"R06", "C01"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				c.change(r)
				summary.Fill(r)
			})
			v := verifyTest(t, dir, nil)
			if diff := cmp.Diff(c.want, broken(v)); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			for _, f := range v.Broken() {
				t.Logf("%s %s", f.Rule, f.Message)
			}
		})
	}
}

func TestAge(t *testing.T) {
	dir := goodBundle(t)
	for days, ok := range map[int]bool{0: true, 89: true, 92: false, -3: false} {
		t.Run(fmt.Sprint(days, " days"), func(t *testing.T) {
			v, err := Bundle(t.Context(), dir, Options{Now: example.Head().Date.AddDate(0, 0, days)})
			if err != nil {
				t.Fatal(err)
			}
			if v.OK() != ok {
				t.Errorf("got OK %t, want %t: broken %v", v.OK(), ok, broken(v))
			}
		})
	}
	if v, _ := Bundle(context.Background(), dir, Options{Now: testNow.AddDate(9, 0, 0), MaxAge: -1}); !v.OK() {
		t.Error("any age was asked for")
	}
}

// A conformant behavior has an expectation, and a control that could have shown it wrong.
func TestConformantNeedsExpectationAndControl(t *testing.T) {
	for name, spoil := range map[string]func(*v1alpha2.BehaviorResult){
		"no expectation": func(b *v1alpha2.BehaviorResult) { b.Expectations = 0 },
		"no control":     func(b *v1alpha2.BehaviorResult) { b.Controls = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			forge(t, dir, func(r *v1alpha2.ConformanceReport) { spoil(result(r, "GW-01")) })
			if diff := cmp.Diff([]string{"R06"}, broken(verifyTest(t, dir, nil))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

// One row of a limitation must be as acceptable as the whole.
func TestRowsAreAcceptable(t *testing.T) {
	for outcome, want := range map[string][]string{"open-locally": nil, "bypassed": {"R06"}, "melts": {"R06"}} {
		t.Run(outcome, func(t *testing.T) {
			dir := goodBundle(t)
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				result(r, "WP-04").Rows = []v1alpha2.RowOutcome{{Row: "absent, right", Outcome: outcome}}
			})
			if diff := cmp.Diff(want, broken(verifyTest(t, dir, nil))); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

// A report of another version is neither verified nor found broken: this release cannot read it.
func TestReportOfAnotherVersion(t *testing.T) {
	dir := goodBundle(t)
	replaceIn(t, dir, layout.ReportFile, v1alpha2.APIVersion, api.Group+"/v1alpha1")
	reseal(t, dir)
	_, err := Bundle(t.Context(), dir, Options{Now: testNow})
	var version *bundle.VersionError
	if !errors.As(err, &version) {
		t.Fatalf("got %v, want a VersionError", err)
	}
	if !strings.HasPrefix(err.Error(), dir+": ") {
		t.Errorf("the error does not name the bundle: %v", err)
	}
}

// What can be judged before a run is judged by the rules that its bundle would have to keep.
func TestCertifiable(t *testing.T) {
	good := *example.Read(t, goodBundle(t))
	existing := func(r *v1alpha2.ConformanceReport) {
		r.Environment.Provider, r.Isolation = v1alpha2.ProviderExisting, nil
		imageOf(r, "app").Digest = "" // the pods will say it
	}
	for name, c := range map[string]struct {
		change func(*v1alpha2.ConformanceReport)
		want   []string
	}{
		"good": {func(*v1alpha2.ConformanceReport) {}, nil},
		"clusters of others, whose owner allows changes": {func(r *v1alpha2.ConformanceReport) {
			existing(r)
			r.Environment.MeshAdmin = true
		}, nil},
		"clusters of others":        {existing, []string{"C09"}},
		"clusters not proven apart": {func(r *v1alpha2.ConformanceReport) { r.Isolation = nil }, []string{"C07"}},
		"one network": {
			func(r *v1alpha2.ConformanceReport) { r.Environment.Clusters[1].Network = "network1" },
			[]string{"C07", "C09"},
		},
		"a version outside the window": {func(r *v1alpha2.ConformanceReport) { r.Environment.Istio = "1.99.0" }, []string{"R11"}},
		"a smaller profile":            {func(r *v1alpha2.ConformanceReport) { r.Profile = string(behaviors.ProfileSmoke) }, []string{"C09"}},
		"a filter":                     {func(r *v1alpha2.ConformanceReport) { r.Filters.Include = []string{"LB"} }, []string{"C01", "C09"}},
		"a stand-in, and nothing else": {func(r *v1alpha2.ConformanceReport) {
			r.Environment.StandIns = []v1alpha2.StandIn{{Name: "proxyv2", What: "an Envoy without Istio's extensions"}}
		}, []string{"C03"}},
		"nothing is said": {func(r *v1alpha2.ConformanceReport) {
			*r = v1alpha2.ConformanceReport{Profile: r.Profile, Environment: v1alpha2.Environment{Istio: "1.31.0"}}
		}, []string{"C05", "C06", "C07", "C08", "C09", "C10"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			r.Environment.Clusters, r.Environment.Images = slices.Clone(r.Environment.Clusters), slices.Clone(r.Environment.Images)
			c.change(&r)
			p, err := planned.Again(&r)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range Certifiable(r, p) {
				got = append(got, f.Rule)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

// A bundle that does not say that it is certified can be asked to be as good as one.
func TestCertifiedIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha2.ConformanceReport)
		want   []string
	}{
		"as good": {func(*v1alpha2.ConformanceReport) {}, nil},
		"a stand-in": {func(r *v1alpha2.ConformanceReport) {
			r.Environment.StandIns = []v1alpha2.StandIn{{Name: "proxyv2", What: "an Envoy without Istio's extensions"}}
		}, []string{"C03"}},
		"a retry": {func(r *v1alpha2.ConformanceReport) { result(r, "LB-01").Attempts = 2 }, []string{"C02"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				r.Mode = v1alpha2.ModeConformance
				c.change(r)
				replan(t, r)
			})
			if diff := cmp.Diff([]string(nil), broken(verifyTest(t, dir, nil))); diff != "" {
				t.Errorf("not asked: broken (-want +got):\n%s", diff)
			}
			v, err := Bundle(t.Context(), dir, Options{Now: testNow, Certified: true})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, broken(v)); diff != "" {
				t.Errorf("asked: broken (-want +got):\n%s", diff)
			}
		})
	}
}
