package reports

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

var testEnvironment = plan.Environment{Provider: "kind", Istio: "1.31", Clusters: 2, Networks: 2, Has: map[behaviors.Need]bool{
	behaviors.Disruptive: true, behaviors.MeshAdmin: true, behaviors.MeshCA: true, behaviors.Waypoints: true, behaviors.SameAddresses: true,
}}

func testPlan(t testing.TB, profile behaviors.Profile, f plan.Filters) *plan.Plan {
	t.Helper()
	p, err := plan.Compute(testEnvironment, profile, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testHead() v1alpha2.ConformanceReport {
	return v1alpha2.ConformanceReport{
		Date: time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC), RunID: "abc123", Mode: v1alpha2.ModeConformance, Seed: 7,
		Suite: v1alpha2.Suite{Version: "v0.1.0", Commit: "0123456789abcdef0123456789abcdef01234567"},
		Environment: v1alpha2.Environment{Provider: "kind", Kubernetes: "v1.36.3", Istio: "1.31.0", Clusters: []v1alpha2.Cluster{
			{Name: "cluster1", Network: "network1", Gateways: []string{"172.18.0.100"}}, {Name: "cluster2", Network: "network2", Gateways: []string{"172.18.0.200"}},
		}, Images: []v1alpha2.Image{{Name: "pilot", Digest: "sha256:" + strings.Repeat("0", 64)}}},
	}
}

func openTest(t testing.TB, p *plan.Plan) *Bundle {
	t.Helper()
	b, err := Open(t.TempDir(), testHead(), p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recordAll records every planned behavior as conformant.
func recordAll(t testing.TB, b *Bundle, p *plan.Plan) {
	t.Helper()
	for _, e := range p.Run {
		x := v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Conformant, Seconds: 1.5, Claims: 2, Twins: 1, ConvergeSeconds: []float64{0.25}}
		if o := e.Behavior.Outcomes; o != nil {
			x.Outcome = o.Acceptable[0].Name
		}
		if err := b.Record(x); err != nil {
			t.Fatal(err)
		}
	}
}

func readTest(t testing.TB, dir string) *v1alpha2.ConformanceReport {
	t.Helper()
	r, err := ReadReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKilledRunLeavesUnknowns(t *testing.T) {
	p := testPlan(t, behaviors.ProfileCore, plan.Filters{Exclude: []string{"GW"}})
	b := openTest(t, p)
	if err := b.Record(v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.Conformant, Seconds: 2, Claims: 1, Twins: 1}); err != nil {
		t.Fatal(err)
	}
	// Nothing is closed: this is what a SIGKILL leaves.
	r := readTest(t, b.Dir())
	if r.Finished || r.Summary.Conformant != 1 || r.Summary.Unknown != len(p.Run)-1 || r.Summary.Skipped != len(p.Skip) {
		t.Fatalf("finished %v, %+v for %d to run and %d skipped", r.Finished, r.Summary, len(p.Run), len(p.Skip))
	}
	for _, x := range r.Behaviors {
		if x.Verdict == v1alpha2.Unknown && x.Message != neverRan {
			t.Errorf("%s is unknown without saying why: %q", x.ID, x.Message)
		}
	}
	if r.Result != v1alpha2.Partial || ExitCode(r) != ExitUnknown {
		t.Errorf("result %s, exit code %d", r.Result, ExitCode(r))
	}
	if _, err := os.Stat(filepath.Join(b.Dir(), JUnitFile)); err != nil {
		t.Error(err)
	}
	// Finishing it afterwards closes the bundle but does not pretend that the run was finished.
	r, err := Finish(context.Background(), b.Dir())
	if err != nil || r.Finished {
		t.Fatalf("finished %v, %v", r.Finished, err)
	}
	if _, err := os.Stat(filepath.Join(b.Dir(), SumsFile)); err != nil {
		t.Error(err)
	}
}

func TestClosedBundleIsWhole(t *testing.T) {
	p := testPlan(t, behaviors.ProfileCore, plan.Filters{})
	b := openTest(t, p)
	recordAll(t, b, p)
	dir, err := b.EvidenceDir("LB-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "calls.txt"), []byte("cluster1 21, cluster2 19\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.Attach(PreflightFile, []byte("[]\n")); err != nil {
		t.Fatal(err)
	}
	if result, err := b.Close(context.Background()); err != nil || result != v1alpha2.Success {
		t.Fatal(result, err)
	}
	if result, err := b.Close(context.Background()); err != nil || result != v1alpha2.Success {
		t.Fatal("closing twice:", result, err)
	}
	// sha256sum, which we did not write, agrees with every sum.
	c := exec.Command("sha256sum", "--check", "--strict", "--quiet", SumsFile)
	c.Dir = b.Dir()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sums, _ := os.ReadFile(filepath.Join(b.Dir(), SumsFile))
	for _, n := range []string{ReportFile, JUnitFile, HTMLFile, MarkdownFile, PreflightFile, "evidence/LB-01/calls.txt"} {
		if !strings.Contains(string(sums), "  "+n+"\n") {
			t.Errorf("%s is not in the sums", n)
		}
	}
	r := readTest(t, b.Dir())
	i := slices.IndexFunc(r.Behaviors, func(x v1alpha2.BehaviorResult) bool { return x.ID == "LB-01" })
	if got := r.Behaviors[i]; !slices.Equal(got.Evidence, []string{"evidence/LB-01/calls.txt"}) || got.Attempts != 1 || got.Promise == "" || got.Chapter != "LB" || got.Level != "core" {
		t.Errorf("%+v", got)
	}
	if !r.Finished || r.Convergence == nil || r.Convergence.P50 != 0.25 || r.Convergence.Samples != len(p.Run) {
		t.Errorf("finished %v, convergence %+v", r.Finished, r.Convergence)
	}
	ids := len(r.Behaviors) + len(r.NotAutomated)
	if ids != len(behaviors.All()) || r.Catalog.Behaviors != ids || r.Catalog.Digest != behaviors.Digest() {
		t.Errorf("%d ids for %d behaviors, catalog %+v", ids, len(behaviors.All()), r.Catalog)
	}
}

// The report's bytes are stable, and reading what was written gives the same report.
func TestReportRoundTrip(t *testing.T) {
	p := testPlan(t, behaviors.ProfileAll, plan.Filters{})
	b := openTest(t, p)
	recordAll(t, b, p)
	nasty := "true\n'quoted' \"twice\" # no comment: {a: [b]} \t\x01 <b>&amp;</b> \u2028 \U0001f600 \xff end\x7f"
	if err := b.Record(v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: nasty, Observations: []string{"1.0", "null", "~", "2026-01-01", "", "- x", "*a", "&b", "!!c"}}); err != nil {
		t.Fatal(err)
	}
	r := b.Report()
	one, err := Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(one)
	if err != nil {
		t.Fatalf("%v\n%s", err, one)
	}
	if !reflect.DeepEqual(&r, back) {
		t.Fatalf("what was read is not what was written:\n%+v\n%+v", r, back)
	}
	two, err := Encode(back)
	if err != nil || !bytes.Equal(one, two) {
		t.Fatal("written twice, the bytes differ", err)
	}
	if head := "apiVersion: " + v1alpha2.APIVersion + "\nkind: ConformanceReport\nresult: failure\n"; !strings.HasPrefix(string(one), head) {
		t.Errorf("it begins with %.100s", one)
	}
	if !strings.Contains(string(one), "behaviors:\n  - id: INST-01\n    chapter: INST\n    level: core\n") {
		t.Error("the list of behaviors does not have the promised form")
	}
}

func TestRecordRefusesNonsense(t *testing.T) {
	p := testPlan(t, behaviors.ProfileCore, plan.Filters{})
	b := openTest(t, p)
	for name, x := range map[string]v1alpha2.BehaviorResult{
		"not planned":            {ID: "XX-01", Verdict: v1alpha2.Conformant},
		"no verdict":             {ID: "LB-01", Verdict: "fine"},
		"skip without why":       {ID: "LB-01", Verdict: v1alpha2.Skipped},
		"why without skip":       {ID: "LB-01", Verdict: v1alpha2.Conformant, Skip: &v1alpha2.Skip{Class: "user", Reason: "r"}},
		"skip of no class":       {ID: "LB-01", Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: "mood", Reason: "r"}},
		"skip without a reason":  {ID: "LB-01", Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: "user"}},
		"unsafe outcome is fine": {ID: "WP-07", Verdict: v1alpha2.Conformant, Outcome: "served-remotely"},
		"outcome outside set":    {ID: "WP-07", Verdict: v1alpha2.Conformant, Outcome: "shrug"},
	} {
		if err := b.Record(x); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
	if err := b.Attach("../x", nil); err == nil {
		t.Error("attached a file outside the bundle")
	}
	if _, err := b.EvidenceDir("../x"); err == nil {
		t.Error("evidence outside the bundle")
	}
}

func TestAttemptsAndConcurrency(t *testing.T) {
	p := testPlan(t, behaviors.ProfileCore, plan.Filters{})
	b := openTest(t, p)
	var wg sync.WaitGroup
	for _, e := range p.Run[:8] {
		wg.Go(func() {
			for _, v := range []v1alpha2.Verdict{v1alpha2.Unknown, v1alpha2.NonConformant} {
				if err := b.Record(v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v, Message: "m"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r := readTest(t, b.Dir())
	if r.Summary.NonConformant != 8 || r.Behaviors[0].Attempts != 2 || ExitCode(r) != ExitNonConformant || r.Result != v1alpha2.Failure {
		t.Fatalf("%+v, %d attempts", r.Summary, r.Behaviors[0].Attempts)
	}
}

func TestFailedSetUpIsAReportToo(t *testing.T) {
	p := testPlan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := openTest(t, p)
	if err := b.Update(func(r *v1alpha2.ConformanceReport) { r.Failure = "cluster2: no address for the gateway" }); err != nil {
		t.Fatal(err)
	}
	if result, err := b.Close(context.Background()); err != nil || result != v1alpha2.Partial {
		t.Fatal(result, err)
	}
	r := readTest(t, b.Dir())
	if ExitCode(r) != ExitUnknown || r.Summary.Unknown != len(p.Run) || !strings.Contains(r.Behaviors[0].Message, "cluster2: no address") {
		t.Fatalf("%d, %+v, %q", ExitCode(r), r.Summary, r.Behaviors[0].Message)
	}
}

func TestSecretsKeepABundleOpen(t *testing.T) {
	// Put together at run time, so that no scanner takes this file for a leak.
	jwt := "eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLXNpZw"
	secrets := map[string]string{
		"pem":        "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n",
		"base64 pem": "data: LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQ==",
		"jwt":        "log line " + jwt + " end",
		"kubeconfig": "    client-key-data: " + strings.Repeat("QUJD", 8),
		"token":      "users:\n- user:\n    token: " + strings.Repeat("t", 24),
		"json token": `{"token":"` + strings.Repeat("t", 24) + `"}`,
		"bearer":     "Authorization: Bearer " + strings.Repeat("b", 24),
		"password":   "    password: hunter22",
	}
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			b := openTest(t, testPlan(t, behaviors.ProfileSmoke, plan.Filters{}))
			dir, _ := b.EvidenceDir("LB-01")
			// Across the border of two windows of the scan, where it is easily missed.
			text := strings.Repeat("x", 1<<20-len(secret)/2) + "\n" + secret + "\n" + strings.Repeat("y", 1<<20)
			if err := os.WriteFile(filepath.Join(dir, "dump.txt"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := b.Close(context.Background())
			var found *SecretError
			if !errors.As(err, &found) || !strings.Contains(err.Error(), "evidence/LB-01/dump.txt") || strings.Contains(err.Error(), secret) {
				t.Fatalf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(b.Dir(), SumsFile)); err == nil {
				t.Error("the bundle was closed all the same")
			}
			// Redacted, it can be closed.
			if err := os.WriteFile(filepath.Join(dir, "dump.txt"), Redact([]byte(text)), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Finish(context.Background(), b.Dir()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, harmless := range []string{
		"-----BEGIN CERTIFICATE-----", "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t", "tokens: 4", "token: short", "the token: it was refused", "eyJust a word",
		"password: ", "serviceAccountToken:\n  expirationSeconds: 3600",
	} {
		if what, _ := secretIn(strings.NewReader(harmless)); what != "" {
			t.Errorf("%q is taken for %s", harmless, what)
		}
	}
	b := openTest(t, testPlan(t, behaviors.ProfileSmoke, plan.Filters{}))
	if err := b.Record(v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.Unknown, Message: "got 401 for " + jwt}); err != nil {
		t.Fatal(err)
	}
	if m := b.Report().Behaviors; slices.ContainsFunc(m, func(x v1alpha2.BehaviorResult) bool { return strings.Contains(x.Message, jwt) }) {
		t.Error("a token in a message is not redacted")
	}
}

// The fast search and the regular expressions find the same.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{
		"-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA " + "PRIVATE KEY-----", "-----BEGIN rsa PRIVATE KEY-----", "----BEGIN PRIVATE KEY-----", "BEGIN -----BEGIN A PRIVATE KEY-----PRIVATE KEY-----",
		"-----BEGIN AAAAAAAAAABBBBBBBBBBCCCCCCCCCCPRIVATE KEY-----", "-----BEGIN AAAAAAAAAABBBBBBBBBBCCCCCCCCCC PRIVATE KEY-----",
		"LS0tLS1CRUdJTiBQUklWQVRFIEtF", "LS0tLS1CRUdJTiBDRVJU", "eyJhbGciOiJSU.eyJhbGciOiJSU.aaaaaaaa", "eyJeyJhbGciOiJSU.eyJaaaaaaaa.aaaaaaaa", "eyJ.eyJhbGciOiJSU.eyJaaaaaaaa.aaaaaaaa", "eyJaaaaaaaa.eyJaaaaaaa.aaaaaaaa",
		"Bearer aaaaaaaaaaaaaaaa", "earer aaaaaaaaaaaaaaaaa", "bearer aaaaaaaaaaaaaaa", "client-key-data\" : \"QUJDQUJDQUJDQUJD", "client-key-data QUJDQUJDQUJDQUJD",
		"token: aaaaaaaaaaaaaaaa", "xtoken: aaaaaaaaaaaaaaaa", "{id-token\":\"aaaaaaaaaaaaaaaa", "bid-token:aaaaaaaaaaaaaaaa", "tokentoken: aaaaaaaaaaaaaaaa", ",refresh-token\f:aaaaaaaaaaaaaaaa", "token\v: aaaaaaaaaaaaaaaa",
		"password: 1234", "password: 123", "\npassword\"\n:\n\"a\xffbc", "password:\"\"1234", "passwordpassword: 1234",
	} {
		f.Add([]byte(s))
		f.Add([]byte("-" + s)) // at odd places as at even ones
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []string
		for _, s := range secretForms {
			if s.form.Match(data) {
				want = append(want, s.name)
			}
		}
		if got := find(data); (got == "") != (want == nil) || got != "" && !slices.Contains(want, got) {
			t.Fatalf("found %q, the expressions say %q", got, want)
		}
		if left := find(Redact(data)); left != "" {
			t.Fatalf("%s is left in %q", left, Redact(data))
		}
	})
}

func TestOpenRemovesOnlyBundles(t *testing.T) {
	p := testPlan(t, behaviors.ProfileSmoke, plan.Filters{})
	dir := t.TempDir()
	mine := filepath.Join(dir, "fleet.yaml")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second removes the first
		b, err := Open(dir, testHead(), p)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := b.EvidenceDir("LB-01")
		if entries, _ := os.ReadDir(d); len(entries) != 0 {
			t.Fatal("evidence of the earlier run is still there")
		}
		if err := os.WriteFile(filepath.Join(d, "a.txt"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(mine); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "report.html"), []byte("my thesis"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(other, testHead(), p); err == nil || !strings.Contains(err.Error(), "choose another directory") {
		t.Fatalf("somebody else's file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(other, "report.html"), []byte("my thesis"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEvidenceHoldsPlainFilesOnly(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"link": func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, "out")) },
		"name": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o644) },
	} {
		b := openTest(t, testPlan(t, behaviors.ProfileSmoke, plan.Filters{}))
		dir, _ := b.EvidenceDir("LB-01")
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Close(context.Background()); err == nil {
			t.Errorf("%s: closed", name)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for want, c := range map[int][]v1alpha2.Counts{
		ExitConformant:    {{Conformant: 1}, {Conformant: 3, Skipped: 9}},
		ExitNonConformant: {{NonConformant: 1}, {NonConformant: 1, Unknown: 4, Conformant: 2}},
		ExitUnknown:       {{}, {Skipped: 4}, {Unknown: 1, Conformant: 7}},
	} {
		for _, counts := range c {
			if got := ExitCode(&v1alpha2.ConformanceReport{Summary: counts}); got != want {
				t.Errorf("%+v: %d, want %d", counts, got, want)
			}
		}
	}
}

func TestTakingCoreOutIsPartial(t *testing.T) {
	p := testPlan(t, behaviors.ProfileCore, plan.Filters{Include: []string{"LB"}})
	b := openTest(t, p)
	recordAll(t, b, p)
	if result, err := b.Close(context.Background()); err != nil || result != v1alpha2.Partial {
		t.Fatal(result, err)
	}
	if r := b.Report(); ExitCode(&r) != ExitConformant {
		t.Error("what was asked for holds: that is exit code 0")
	}
}

func TestTable(t *testing.T) {
	p := testPlan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := openTest(t, p)
	recordAll(t, b, p)
	if err := b.Record(v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: "client of cluster1 -> echo:\n expected both clusters, saw cluster1 40 of 40\x1b[31m"}); err != nil {
		t.Fatal(err)
	}
	r := b.Report()
	var out bytes.Buffer
	if err := Table(&out, &r); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{
		"chapter                           conformant  non-conformant  unknown  skipped\n",
		"non-conformant:\n  LB-01    Requests to a global service",
		"client of cluster1 -> echo: expected both clusters, saw cluster1 40 of 40",
		"convergence: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("control characters reach the terminal")
	}
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".", "ambient.test/conformance/plan", "ambient.test/conformance/behaviors").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, banned := range []string{"github.com/onsi/", "k8s.io/", "sigs.k8s.io/", "istio.io/", "ambient.test/conformance/framework/mesh", "github.com/spf13/cobra"} {
		for dep := range strings.Lines(string(out)) {
			if strings.HasPrefix(dep, banned) {
				t.Errorf("the core imports %s", strings.TrimSpace(dep))
			}
		}
	}
}
