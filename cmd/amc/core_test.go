package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/planned"
	"ambient.test/conformance/reports/text"
	"ambient.test/conformance/reports/verify"
)

// amc runs the command in this process and returns what it printed and its exit code.
func amc(t testing.TB, args ...string) (out string, code int, err error) {
	t.Helper()
	var b bytes.Buffer
	c := command(&b)
	c.SetErr(&b)
	c.SetArgs(args)
	err = c.ExecuteContext(t.Context())
	var e exit
	switch {
	case err == nil:
	case errors.As(err, &e):
		code = e.code
	default:
		code = exitUsage
	}
	return b.String(), code, err
}

func ok(t testing.TB, args ...string) string {
	t.Helper()
	out, code, err := amc(t, args...)
	if code != 0 {
		t.Fatalf("amc %s: exit code %d, %v\n%s", strings.Join(args, " "), code, err, out)
	}
	return out
}

// refused runs amc, which must end with the exit code and an error that contains says.
func refused(t testing.TB, code int, says string, args ...string) (out string) {
	t.Helper()
	out, got, err := amc(t, args...)
	if got != code {
		t.Errorf("amc %s: got exit code %d, want %d", strings.Join(args, " "), got, code)
	}
	if !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("amc %s: got %v, want an error with %q", strings.Join(args, " "), err, says)
	}
	return out
}

// wantError wants an error that contains want, or none if want is empty.
func wantError(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "":
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
	case !strings.Contains(fmt.Sprint(err), want):
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

func contains(t testing.TB, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("got\n%s\nwant it to contain %q", text, w)
		}
	}
}

func listed(t testing.TB, args ...string) []string {
	t.Helper()
	var all []entry
	if err := json.Unmarshal([]byte(ok(t, append([]string{"list", "-o", "json"}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range all {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestListFilters(t *testing.T) {
	count := func(keep func(*behaviors.Behavior) bool) (n int) {
		for _, b := range behaviors.All() {
			if keep(b) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		args []string
		keep func(*behaviors.Behavior) bool
	}{
		{nil, func(*behaviors.Behavior) bool { return true }},
		{[]string{"GW", "LB-0?"}, func(b *behaviors.Behavior) bool { return plan.Matches("GW", b.ID) || plan.Matches("LB-0?", b.ID) }},
		{[]string{"--chapter", "gateway,LB"}, func(b *behaviors.Behavior) bool {
			return strings.HasPrefix(b.ID, "GW-") || strings.HasPrefix(b.ID, "LB-")
		}},
		{[]string{"--level", "limitation"}, func(b *behaviors.Behavior) bool { return b.Level == behaviors.Limitation }},
		{[]string{"--profile", "smoke"}, func(b *behaviors.Behavior) bool { return b.InProfile(behaviors.ProfileSmoke) }},
		{[]string{"--istio", "1.27.1"}, func(b *behaviors.Behavior) bool {
			in, _ := b.Istio.Contains(behaviors.Version{Major: 1, Minor: 27, Patch: 1})
			return in
		}},
		{[]string{"--need", "waypoints", "--state", "proven"}, func(b *behaviors.Behavior) bool {
			return b.State.Automated && slices.Contains(b.Needs, behaviors.Waypoints)
		}},
		{[]string{"--state", "not-automated"}, func(b *behaviors.Behavior) bool { return !b.State.Automated }},
		{[]string{"--feature", "jwt"}, func(b *behaviors.Behavior) bool { return b.Feature == behaviors.FeatureJWT }},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got, want := listed(t, c.args...), count(c.keep)
			if want == 0 {
				t.Fatal("the catalog has none of these: the row asserts nothing")
			}
			if len(got) != want {
				t.Errorf("%v: %d behaviors, want %d", c.args, len(got), want)
			}
			for _, id := range got {
				if !c.keep(behaviors.ByID(id)) {
					t.Errorf("%v lists %s", c.args, id)
				}
			}
		})
	}
}

func TestListIsReadable(t *testing.T) {
	contains(t, ok(t, "list", "LB-01"), "LB-01  core   >=1.27  proven  "+behaviors.ByID("LB-01").Promise, behaviors.Digest())
	contains(t, ok(t, "list", "LB-01", "-o", "markdown"), "| LB-01 | core | >=1.27 | proven | Requests")
	f := ok(t, "list", "--features")
	contains(t, f, "jwt ")
	if got, want := strings.Count(f, "\n"), len(behaviors.Features())+1; got != want {
		t.Errorf("got %d lines, want %d:\n%s", got, want, f)
	}
}

func TestWhatIsNotUnderstoodIsUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "GW-99"}, "there are GW-01"},
		{[]string{"list", "--level", "hard"}, "must be one of: core, extended, limitation"},
		{[]string{"list", "--need", "luck"}, "--need"},
		{[]string{"list", "--istio", "latest"}, "not an Istio version"},
		{[]string{"list", "-o", "xml"}, "must be one of: table, json, markdown"},
		{[]string{"explain"}, "wants"},
		{[]string{"explain", "LB"}, "`amc list LB`"},
		{[]string{"explain", "nothing"}, "no behavior"},
		{[]string{"plan", "--profile", "quick"}, "smoke, core"},
		{[]string{"plan", "--clusters", "0"}, "at least one"},
		{[]string{"plan", "--lack", "luck"}, "waypoints"},
		{[]string{"plan", "--lack", "third-cluster"}, "must be one of"},
		{[]string{"plan", "--claim", "magic"}, "`amc list --features`"},
		{[]string{"plan", "--stand-in", "istiod"}, "ztunnel, proxyv2"},
		{[]string{"plan", "--fleet", "x", "--clusters", "3"}, "leave one of them out"},
		{[]string{"plan", "--fleet", filepath.Join(t.TempDir(), "none")}, "`amc up`"},
		{[]string{"verify"}, "wants"},
		{[]string{"verify", filepath.Join(t.TempDir(), "none")}, "cannot be read"},
		{[]string{"verify", t.TempDir(), "--key", "none"}, "key"},
		{[]string{"verify", t.TempDir(), "--key", ""}, "--key must name"},
		{[]string{"verify", t.TempDir(), "--max-age", "0"}, "-1"},
		{[]string{"sign", t.TempDir()}, "openssl genpkey"},
		{[]string{"diff", t.TempDir(), t.TempDir()}, "report"},
		{[]string{"render", t.TempDir()}, "report"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			_, code, err := amc(t, c.args...)
			if code != exitUsage {
				t.Errorf("amc %v: got exit code %d, want %d", c.args, code, exitUsage)
			}
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("amc %v: got %v, want an error with %q", c.args, err, c.want)
			}
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("not one line: %v", err)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	got := ok(t, "explain", "wp-07", "LB-01")
	for _, want := range []string{
		"WP-07: A local service", "level       limitation", "“If a service's waypoint is marked as global", "(Istio <1.29)",
		"https://istio.io/latest/docs/ambient/install/multicluster/",
		"proof       With both waypoints up", "by hand     Bind a local", "hazards     The page's", "acceptable  fails-closed:",
		"unsafe      served-remotely:", "            remove istio.io/global from the waypoint's Service (M11)",
		"suites/waypoint", "LB-01: Requests",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("explain does not say %q:\n%s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if len([]rune(line)) > textWidth+1 && !strings.Contains(line, "https://") {
			t.Errorf("a line of %d characters: %s", len([]rune(line)), line)
		}
	}
	if got := ok(t, "explain", "CLN-08"); !strings.Contains(got, "state       no spec: ") {
		t.Errorf("it does not say that there is no spec:\n%s", got)
	}
}

func TestPlanIsTheRunsPlan(t *testing.T) {
	dir := t.TempDir()
	fleet := filepath.Join(dir, "fleet.yaml")
	if err := os.WriteFile(fleet, []byte(`apiVersion: amc.ambient.test/v1alpha1
runID: abc
provider: existing
created: "2026-11-23T14:30:00Z"
istio: "1.31.0"
clusters:
- {name: cluster1, network: network1, kubeconfig: /nowhere}
- {name: cluster2, network: network2, kubeconfig: /nowhere}
images:
  ztunnel: {ref: "x", digest: "", source: built, standIn: "nodeproxy"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	type doc struct {
		Run, NotAutomated []any
		Skip              []skipped
		Environment       plan.Environment
	}
	read := func(args ...string) (d doc) {
		if err := json.Unmarshal([]byte(ok(t, append([]string{"plan", "-o", "json"}, args...)...)), &d); err != nil {
			t.Fatal(err)
		}
		if n := len(d.Run) + len(d.Skip) + len(d.NotAutomated); n != len(behaviors.All()) {
			t.Fatalf("%d behaviors in the plan", n)
		}
		return d
	}
	d := read("--fleet", fleet)
	if got := d.Environment.Clusters; got != 2 {
		t.Errorf("got %d clusters, want 2", got)
	}
	if d.Environment.Meets(behaviors.Disruptive) {
		t.Error("clusters that amc did not create may be disrupted")
	}
	if diff := cmp.Diff([]string{"ztunnel"}, d.Environment.StandIns); diff != "" {
		t.Errorf("stand-ins (-want +got):\n%s", diff)
	}
	if len(d.Run) == 0 {
		t.Error("nothing runs")
	}
	if len(d.Skip) == 0 {
		t.Error("nothing is skipped")
	}
	allowed := read("--fleet", fleet, "--allow-mesh-changes")
	out := ok(t, "plan", "--fleet", fleet, "--include", "INST-02")
	for _, want := range []string{": 0 run,", "not ours to change"} {
		if !strings.Contains(out, want) {
			t.Errorf("a change of the mesh that nobody allows is planned: want %q in\n%s", want, out)
		}
	}
	if out := ok(t, "plan", "--fleet", fleet, "--include", "INST-02", "--allow-mesh-changes"); !strings.Contains(out, ": 1 run,") {
		t.Errorf("a change of the mesh that is allowed is not planned:\n%s", out)
	}
	if len(allowed.Run) <= len(d.Run) {
		t.Errorf("%d run, and %d with --allow-mesh-changes", len(d.Run), len(allowed.Run))
	}
	data, err := os.ReadFile(fleet)
	if err != nil {
		t.Fatal(err)
	}
	write(t, fleet, string(data)+"meshAdmin: true\n", 0o600)
	if forGood := read("--fleet", fleet); len(forGood.Run) != len(allowed.Run) {
		t.Errorf("%d run with --allow-mesh-changes, %d when the fleet file allows it", len(allowed.Run), len(forGood.Run))
	}
	described := read("--lack", "mesh-admin,disruptive,node-access,ca-key,peer-image,same-addresses",
		"--stand-in", "ztunnel", "--istio", "1.31.0")
	if len(described.Run) != len(d.Run) {
		t.Errorf("the same environment by file and by flags: %d and %d run", len(d.Run), len(described.Run))
	}
	if len(described.Skip) != len(d.Skip) {
		t.Errorf("the same environment by file and by flags: %d and %d are skipped", len(d.Skip), len(described.Skip))
	}
	all, few := read(), read("--lack", "waypoints")
	if len(few.Run) >= len(all.Run) {
		t.Error("without waypoints as much runs as with them")
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("amc plan has written something: %v", files)
	}
	out = ok(t, "plan", "--exclude", "GW", "--profile", "smoke")
	for _, want := range []string{"GW-20", "skip: user", "taken out by the user: GW"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table does not say what the user excluded: want %q in\n%s", want, out)
		}
	}
	if out := ok(t, "plan", "-o", "markdown"); !strings.Contains(out, "| LB-01 | runs |") {
		t.Errorf("markdown:\n%s", out)
	}
}

func TestMatrix(t *testing.T) {
	var jobs []plan.Job
	if err := json.Unmarshal([]byte(ok(t, "matrix", "-o", "json")), &jobs); err != nil {
		t.Fatal(err)
	}
	if len(jobs) == 0 {
		t.Error("the matrix has no job")
	}
	if diff := cmp.Diff(plan.Matrix(), jobs); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	if out := ok(t, "matrix"); strings.Count(out, "\n") != len(jobs)+1 {
		t.Errorf("the table has not a row for each job:\n%s", out)
	}
}

// madeBundle is a closed bundle of a run in which everything held.
func madeBundle(t testing.TB, change func(*bundle.Bundle)) string {
	t.Helper()
	head := v1alpha2.ConformanceReport{
		RunID: "abc", Mode: v1alpha2.ModeConformance, Suite: v1alpha2.Suite{Version: "devel"},
		Environment: v1alpha2.Environment{
			Istio:    "1.31.0",
			Clusters: []v1alpha2.Cluster{{Name: "cluster1", Network: "network1"}, {Name: "cluster2", Network: "network2"}},
		},
	}
	p, err := plan.Compute(planned.Environment(&head.Environment), behaviors.ProfileSmoke, plan.Filters{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(t.TempDir(), head, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Run {
		x := v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Conformant, Seconds: 1, Expectations: 1, Controls: 1}
		if o := e.Behavior.Outcomes; o != nil {
			x.Outcome = o.Acceptable[0].Name
		}
		if err := b.Record(x); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(b)
	}
	if _, err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b.Dir()
}

// keys makes a key pair as the help says: with openssl.
func keys(t testing.TB) (private, public string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl is installed, so keys are not made as the help says")
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "vendor.key"), filepath.Join(dir, "vendor.pub")
	for _, args := range [][]string{
		{"genpkey", "-algorithm", "ed25519", "-out", private},
		{"pkey", "-in", private, "-pubout", "-out", public},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	if err := os.Chmod(private, 0o600); err != nil {
		t.Fatal(err)
	}
	return private, public
}

func TestSignVerifyRender(t *testing.T) {
	dir := madeBundle(t, nil)
	private, public := keys(t)
	contains(t, ok(t, "verify", dir), "B04   holds", "S01   not checked  no key was given", "result success, mode conformance")
	refused(t, exitNonConformant, "a rule is broken", "verify", dir, "--key", public) // it is not signed
	ok(t, "sign", dir, "--key", private)
	ok(t, "verify", dir, "--key", public)
	contains(t, refused(t, exitNonConformant, "broken", "verify", dir, "--certified"),
		"C05   broken       the implementation's organization is missing")
	var v struct {
		OK       bool
		Findings []verify.Finding
	}
	if err := json.Unmarshal([]byte(ok(t, "verify", dir, "-o", "json")), &v); err != nil {
		t.Fatal(err)
	}
	if !v.OK {
		t.Errorf("the bundle does not verify: %+v", v)
	}
	if len(v.Findings) != len(verify.Rules) {
		t.Errorf("got %d findings, want one for each of %d rules", len(v.Findings), len(verify.Rules))
	}
	// Rendered again, the sums are the same and the signature stays.
	if out := ok(t, "render", dir); strings.Contains(out, "signature") {
		t.Errorf("render says %s", out)
	}
	ok(t, "verify", dir, "--key", public)
	// From the report alone, elsewhere.
	to := filepath.Join(t.TempDir(), "site")
	ok(t, "render", filepath.Join(dir, layout.ReportFile), "--to", to)
	for _, name := range []string{layout.HTMLFile, layout.JUnitFile, layout.MarkdownFile} {
		a, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s from the report alone is another", name)
		}
	}
	// The command by which the page says to run it again is one.
	page, err := os.ReadFile(filepath.Join(to, layout.HTMLFile))
	if err != nil {
		t.Fatal(err)
	}
	again := regexp.MustCompile(`>amc (run [^<]*)<`).FindSubmatch(page)
	if again == nil {
		t.Fatal("the page does not say how to run it again")
	}
	if err := understood(fields(string(again[1]))); err != nil {
		t.Errorf("amc %s: %v", again[1], err)
	}
	// An earlier run is compared, but not in the bundle: its page follows from its report alone.
	since := filepath.Join(t.TempDir(), "since")
	ok(t, "render", dir, "--to", since, "--since", filepath.Join(dir, layout.ReportFile))
	page, err = os.ReadFile(filepath.Join(since, layout.HTMLFile))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(page), "What changed", "behaviors are the same.")
	refused(t, exitUsage, "--since needs --to", "render", dir, "--since", dir)
	refused(t, exitUsage, "--since: ", "render", dir, "--to", since, "--since", "nowhere")
	// Changed, it is neither verified nor signed nor rendered into good order.
	if err := os.WriteFile(filepath.Join(dir, layout.HTMLFile), []byte("<h1>all well</h1>"), 0o644); err != nil {
		t.Fatal(err)
	}
	contains(t, refused(t, exitNonConformant, "2 rules are broken", "verify", dir),
		"B04   broken", "report.html was changed after the bundle was closed")
	refused(t, exitNonConformant, "B04", "sign", dir, "--key", private)
	refused(t, exitUnknown, "--to", "render", dir)
}

// A stranger's bundle, or a folder that somebody prepared, makes no verb write outside of it.
func TestNothingIsWrittenThroughLinks(t *testing.T) {
	private, _ := keys(t)
	for _, c := range []struct {
		verb, name string
		args       func(dir string) []string
	}{
		{"render", layout.ReportFile, func(dir string) []string { return []string{"render", dir} }},
		{"render", layout.JUnitFile, func(dir string) []string { return []string{"render", dir} }},
		{"render", layout.HTMLFile, func(dir string) []string { return []string{"render", dir} }},
		{"render", layout.MarkdownFile, func(dir string) []string { return []string{"render", dir} }},
		{"render", layout.SumsFile, func(dir string) []string { return []string{"render", dir} }},
		{"sign", layout.SignatureFile, func(dir string) []string { return []string{"sign", dir, "--key", private} }},
		{"render to", layout.JUnitFile, func(dir string) []string { return []string{"render", madeBundle(t, nil), "--to", dir} }},
		{"render to", layout.HTMLFile, func(dir string) []string { return []string{"render", madeBundle(t, nil), "--to", dir} }},
		{"render to", layout.MarkdownFile, func(dir string) []string { return []string{"render", madeBundle(t, nil), "--to", dir} }},
	} {
		for _, name := range []string{"." + c.name + ".tmp", c.name} {
			if c.name == layout.ReportFile && name == c.name {
				continue // a bundle without a report is refused anyway
			}
			t.Run(c.verb+" "+name, func(t *testing.T) {
				dir, mine := madeBundle(t, nil), write(t, filepath.Join(t.TempDir(), "bashrc"), "# mine\n", 0o644)
				at := filepath.Join(dir, name)
				if err := os.RemoveAll(at); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(mine, at); err != nil {
					t.Fatal(err)
				}
				out, code, err := amc(t, c.args(dir)...)
				dotFileElsewhere := c.verb == "render to" && name != c.name // a website's folder has some
				if (code != 0) == dotFileElsewhere {
					t.Errorf("exit code %d, %v\n%s", code, err, out)
				}
				if err != nil && !strings.Contains(err.Error(), name) {
					t.Errorf("got %v, want an error that names %s", err, name)
				}
				got, err := os.ReadFile(mine)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff("# mine\n", string(got)); diff != "" {
					t.Errorf("a file outside (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestRenderFinishesAKilledRun(t *testing.T) {
	dir := madeBundle(t, nil)
	if err := os.Remove(filepath.Join(dir, layout.SumsFile)); err != nil { // what a kill during the closing leaves
		t.Fatal(err)
	}
	ok(t, "render", dir)
	ok(t, "verify", dir)
}

// Closing a bundle makes sums, not sense: what was closed is verified.
func TestRenderSaysWhatTheBundleBreaks(t *testing.T) {
	dir := madeBundle(t, nil)
	if err := errors.Join(
		os.Remove(filepath.Join(dir, layout.SumsFile)),
		os.WriteFile(filepath.Join(dir, layout.PreflightFile), []byte("[{}]\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	contains(t, ok(t, "render", dir), "rendered and closed: "+dir, "it breaks rule R14: "+layout.PreflightFile+" does not hold")
}

func TestDiff(t *testing.T) {
	a := madeBundle(t, nil)
	b := madeBundle(t, func(b *bundle.Bundle) {
		broken := v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: "seen: cluster1 40 of 40"}
		if err := b.Record(broken); err != nil {
			t.Fatal(err)
		}
	})
	if out := ok(t, "diff", a, a); !strings.Contains(out, "are the same") {
		t.Errorf("a report and itself: %s", out)
	}
	contains(t, refused(t, exitNonConformant, "", "diff", a, b),
		"broke    LB-01     conformant -> non-conformant", "seen: cluster1 40 of 40", "result: success -> failure")
	if out := ok(t, "diff", b, a); !strings.Contains(out, "fixed    LB-01") {
		t.Errorf("better is not worse: %s", out)
	}
	if out, _, _ := amc(t, "diff", a, b, "-o", "markdown"); !strings.Contains(out, "| broke | LB-01 | conformant | non-conformant |") {
		t.Errorf("markdown:\n%s", out)
	}
}

func TestCompletion(t *testing.T) {
	got := ok(t, "__complete", "explain", "gw-0")
	if !strings.HasPrefix(got, "GW-01\t") {
		t.Errorf("got the ids\n%s\nwant GW-01 first", got)
	}
	if strings.Contains(got, "LB-01") {
		t.Errorf("got the ids\n%s\nwant none of another chapter", got)
	}
	if got := ok(t, "__complete", "list", "--level", ""); !strings.HasPrefix(got, "core\nextended\nlimitation\n") {
		t.Errorf("levels:\n%s", got)
	}
	if got := ok(t, "completion", "bash"); !strings.Contains(got, "__start_amc") {
		t.Error("there is no completion for bash")
	}
}

// A certificate is a certified run that succeeded and breaks no rule.
func TestRelyOn(t *testing.T) {
	report := func(mode v1alpha2.Mode, result v1alpha2.Result) *v1alpha2.ConformanceReport {
		return &v1alpha2.ConformanceReport{Mode: mode, Result: result}
	}
	broken := verify.Finding{Rule: "C03", Status: verify.Broken}
	for name, c := range map[string]struct {
		result    verify.Result
		certified bool
		want      string
	}{
		"good":      {verify.Result{Report: report(v1alpha2.ModeConformance, v1alpha2.Failure)}, false, ""},
		"certified": {verify.Result{Report: report(v1alpha2.ModeCertified, v1alpha2.Success)}, true, ""},
		"could have been": {
			verify.Result{Report: report(v1alpha2.ModeConformance, v1alpha2.Success)},
			true,
			"its mode is conformance, not certified",
		},
		"no success": {verify.Result{Report: report(v1alpha2.ModeCertified, v1alpha2.Partial)}, true, "its result is partial, not success"},
		"one rule":   {verify.Result{Findings: []verify.Finding{broken}}, true, "a rule is broken: do not rely on B"},
		"two rules":  {verify.Result{Findings: []verify.Finding{broken, broken}}, false, "2 rules are broken: do not rely on B"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := relyOn("B", &c.result, c.certified); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.want == "" && got != "" {
				t.Errorf("got %q, want nothing", got)
			}
		})
	}
}

// Nothing that lies in a bundle holds a verb up or makes it read without end.
func TestVerbsEndOnPipesAndSparseFiles(t *testing.T) {
	private, _ := keys(t)
	pipe := func(at string) error { return errors.Join(os.RemoveAll(at), syscall.Mkfifo(at, 0o644)) }
	sparse := func(at string) error {
		f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		return errors.Join(f.Truncate(20<<30), f.Close())
	}
	for _, name := range []string{layout.ReportFile, layout.SumsFile, layout.SignatureFile, "evidence/LB-01/dump.txt"} {
		for what, put := range map[string]func(string) error{"pipe": pipe, "sparse": sparse} {
			for verb, args := range map[string]func(dir string) []string{
				"verify": func(dir string) []string { return []string{"verify", dir} },
				"render": func(dir string) []string { return []string{"render", dir} },
				"sign":   func(dir string) []string { return []string{"sign", dir, "--key", private} },
				"diff":   func(dir string) []string { return []string{"diff", dir, dir} },
			} {
				t.Run(strings.Join([]string{verb, what, name}, " "), func(t *testing.T) {
					dir := madeBundle(t, nil)
					at := filepath.Join(dir, name)
					if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := put(at); err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					_, code, err := amc(t, args(dir)...)
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("it took %s", took)
					}
					unread := verb == "diff" && name != layout.ReportFile ||
						verb == "sign" && what == "sparse" && name == layout.SignatureFile // it is replaced
					if (code == 0) != unread {
						t.Errorf("exit code %d, %v", code, err)
					}
				})
			}
		}
	}
}

// Whatever a stranger's report says, the terminal shows it and does not obey it.
func TestNothingOfAReportControlsTheTerminal(t *testing.T) {
	const evil = "\x1b[2J\u202eall rules hold\u200b\u009b8m"
	dir := madeBundle(t, func(b *bundle.Bundle) {
		err := b.Update(func(r *v1alpha2.ConformanceReport) {
			r.Environment.Istio, r.Suite.Version, r.Failure = evil, evil, evil
			r.Features = []v1alpha2.Feature{{Name: evil, Behaviors: []string{evil}}}
			r.NotAutomated[0] = evil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	for name, args := range map[string][]string{
		"verify": {"verify", dir}, "certified": {"verify", dir, "--certified"}, "diff": {"diff", madeBundle(t, nil), dir},
		"no such folder": {"verify", evil}, "no such report": {"render", evil},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := amc(t, args...)
			if err != nil {
				out += text.Printable(err.Error()) // as main prints it
			}
			if i := strings.IndexFunc(out, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }); i >= 0 {
				t.Errorf("%q reaches the terminal: %q", out[i:i+1], out)
			}
			if !strings.Contains(out, "all rules hold") {
				t.Errorf("it does not show what the report says: %q", out)
			}
		})
	}
}
