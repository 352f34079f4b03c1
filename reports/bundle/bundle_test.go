package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
)

func closeBundle(t *testing.T, b *bundle.Bundle, want v1alpha2.Result) {
	t.Helper()
	got, err := b.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("got result %s, want %s", got, want)
	}
}

// finish renders and closes the bundle of a run that is over.
func finish(t *testing.T, dir string) (*v1alpha2.ConformanceReport, error) {
	t.Helper()
	root, err := bundle.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return bundle.Finish(t.Context(), root)
}

func TestKilledRunLeavesUnknowns(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{Exclude: []string{"GW"}})
	b := example.Open(t, p)
	held := v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.Conformant, Seconds: 2, Expectations: 1, Controls: 1}
	if err := b.Record(held); err != nil {
		t.Fatal(err)
	}
	// Nothing is closed: this is what a SIGKILL leaves.
	r := example.Read(t, b.Dir())
	if r.Finished {
		t.Error("the report says that the run was finished")
	}
	counts := v1alpha2.Counts{Conformant: 1, Unknown: len(p.Run) - 1, Skipped: len(p.Skip)}
	if diff := cmp.Diff(counts, r.Summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	for _, x := range r.Behaviors {
		if x.Verdict == v1alpha2.Unknown && x.Message != summary.NeverRan {
			t.Errorf("%s is unknown without saying why: %q", x.ID, x.Message)
		}
	}
	if r.Result != v1alpha2.Partial {
		t.Errorf("got result %s, want %s", r.Result, v1alpha2.Partial)
	}
	if got := summary.ExitCode(r); got != summary.ExitUnknown {
		t.Errorf("got exit code %d, want %d", got, summary.ExitUnknown)
	}
	if _, err := os.Stat(filepath.Join(b.Dir(), layout.JUnitFile)); err != nil {
		t.Error(err)
	}
	// Finishing it afterwards closes the bundle but does not pretend that the run was finished.
	r, err := finish(t, b.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if r.Finished {
		t.Error("after Finish the report says that the run was finished")
	}
	if _, err := os.Stat(filepath.Join(b.Dir(), layout.SumsFile)); err != nil {
		t.Error(err)
	}
}

func TestClosedBundleIsWhole(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	dir, err := b.EvidenceDir("LB-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "calls.txt"), []byte("cluster1 21, cluster2 19\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.RecordPreflight(nil); err != nil {
		t.Fatal(err)
	}
	closeBundle(t, b, v1alpha2.Success)
	closeBundle(t, b, v1alpha2.Success) // a second time
	// sha256sum, which we did not write, agrees with every sum.
	c := exec.Command("sha256sum", "--check", "--strict", "--quiet", layout.SumsFile)
	c.Dir = b.Dir()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sums, _ := os.ReadFile(filepath.Join(b.Dir(), layout.SumsFile))
	for _, n := range []string{
		layout.ReportFile, layout.JUnitFile, layout.HTMLFile, layout.MarkdownFile, layout.PreflightFile, "evidence/LB-01/calls.txt",
	} {
		if !strings.Contains(string(sums), "  "+n+"\n") {
			t.Errorf("%s is not in the sums", n)
		}
	}
	r := example.Read(t, b.Dir())
	i := slices.IndexFunc(r.Behaviors, func(x v1alpha2.BehaviorResult) bool { return x.ID == "LB-01" })
	want := v1alpha2.BehaviorResult{
		ID: "LB-01", Chapter: "LB", Level: "core", Promise: behaviors.ByID("LB-01").Promise, Verdict: v1alpha2.Conformant, Attempts: 1,
		Seconds: 1.5, Expectations: 2, Controls: 1, ConvergeSeconds: []float64{0.25}, Evidence: []string{"evidence/LB-01/calls.txt"},
	}
	if diff := cmp.Diff(want, r.Behaviors[i]); diff != "" {
		t.Errorf("LB-01 (-want +got):\n%s", diff)
	}
	if !r.Finished {
		t.Error("the report does not say that the run was finished")
	}
	convergence := &v1alpha2.Convergence{Samples: len(p.Run), P50: .25, P90: .25, P99: .25, Max: .25}
	if diff := cmp.Diff(convergence, r.Convergence); diff != "" {
		t.Errorf("convergence (-want +got):\n%s", diff)
	}
	if got := len(r.Behaviors) + len(r.NotAutomated); got != len(behaviors.All()) {
		t.Errorf("got %d ids, want the %d of the catalog", got, len(behaviors.All()))
	}
	catalog := v1alpha2.Catalog{Digest: behaviors.Digest(), Behaviors: len(behaviors.All())}
	if diff := cmp.Diff(catalog, r.Catalog); diff != "" {
		t.Errorf("catalog (-want +got):\n%s", diff)
	}
}

// The report's bytes are stable, and reading what was written gives the same report.
func TestReportRoundTrip(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileAll, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	nasty := "true\n'quoted' \"twice\" # no comment: {a: [b]} \t\x01 <b>&amp;</b> \u2028 \U0001f600 \xff end\x7f"
	err := b.Record(v1alpha2.BehaviorResult{
		ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: nasty,
		Observations: []string{"1.0", "null", "~", "2026-01-01", "", "- x", "*a", "&b", "!!c", "two\nlines\u2028\u2029\u0085", "\u0085"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := b.Report()
	one, err := bundle.Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := bundle.Decode(one)
	if err != nil {
		t.Fatalf("%v\n%s", err, one)
	}
	if diff := cmp.Diff(&r, back); diff != "" {
		t.Fatalf("what was read is not what was written (-want +got):\n%s", diff)
	}
	two, err := bundle.Encode(back)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(one), string(two)); diff != "" {
		t.Fatalf("written twice, the bytes differ:\n%s", diff)
	}
	if head := "apiVersion: " + v1alpha2.APIVersion + "\nkind: ConformanceReport\nresult: failure\n"; !strings.HasPrefix(string(one), head) {
		t.Errorf("it begins with %.100s", one)
	}
	if !strings.Contains(string(one), "behaviors:\n  - id: INST-01\n    chapter: INST\n    level: core\n") {
		t.Error("the list of behaviors does not have the promised form")
	}
}

func TestRecordRefusesNonsense(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{})
	b := example.Open(t, p)
	for name, x := range map[string]v1alpha2.BehaviorResult{
		"not planned":            {ID: "XX-01", Verdict: v1alpha2.Conformant},
		"no verdict":             {ID: "LB-01", Verdict: "fine"},
		"skip without why":       {ID: "LB-01", Verdict: v1alpha2.Skipped},
		"why without skip":       {ID: "LB-01", Verdict: v1alpha2.Conformant, Skip: &v1alpha2.Skip{Class: "user", Reason: "r"}},
		"skip of no class":       {ID: "LB-01", Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: "mood", Reason: "r"}},
		"skip without a reason":  {ID: "LB-01", Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: "user"}},
		"unsafe outcome is fine": {ID: "WP-07", Verdict: v1alpha2.Conformant, Outcome: "served-remotely"},
		"outcome outside set":    {ID: "WP-07", Verdict: v1alpha2.Conformant, Outcome: "shrug"},
		"unsafe row is fine": {ID: "WP-04", Verdict: v1alpha2.Conformant, Outcome: "open",
			Rows: []v1alpha2.RowOutcome{{Row: "right, absent", Outcome: "bypassed"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := b.Record(x); err == nil {
				t.Errorf("recorded: %+v", x)
			}
		})
	}
	if _, err := b.EvidenceDir("../x"); err == nil {
		t.Error("evidence outside the bundle")
	}
}

func TestAttemptsAndConcurrency(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{})
	b := example.Open(t, p)
	var wg sync.WaitGroup
	for _, e := range p.Run[:8] {
		wg.Go(func() {
			for _, v := range []v1alpha2.Verdict{v1alpha2.Unknown, v1alpha2.NonConformant} {
				if err := b.Record(v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v, Message: "seen: " + string(v)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r := example.Read(t, b.Dir())
	if got := r.Summary.NonConformant; got != 8 {
		t.Errorf("got %d non-conformant, want 8", got)
	}
	if got := r.Behaviors[0].Attempts; got != 2 {
		t.Errorf("got %d attempts, want 2", got)
	}
	if got, want := r.Behaviors[0].Uncounted, []string{"seen: unknown"}; !slices.Equal(got, want) {
		t.Errorf("got %q of attempts that do not count, want %q", got, want)
	}
	if got := summary.ExitCode(r); got != summary.ExitNonConformant {
		t.Errorf("got exit code %d, want %d", got, summary.ExitNonConformant)
	}
	if r.Result != v1alpha2.Failure {
		t.Errorf("got result %s, want %s", r.Result, v1alpha2.Failure)
	}
}

func TestFailedSetUpIsAReportToo(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(t, p)
	if err := b.Update(func(r *v1alpha2.ConformanceReport) { r.Failure = "cluster2: no address for the gateway" }); err != nil {
		t.Fatal(err)
	}
	closeBundle(t, b, v1alpha2.Partial)
	r := example.Read(t, b.Dir())
	if got := summary.ExitCode(r); got != summary.ExitUnknown {
		t.Errorf("got exit code %d, want %d", got, summary.ExitUnknown)
	}
	if got := r.Summary.Unknown; got != len(p.Run) {
		t.Errorf("got %d unknown, want %d", got, len(p.Run))
	}
	if got := r.Behaviors[0].Message; !strings.Contains(got, "cluster2: no address") {
		t.Errorf("got message %q, want the failure in it", got)
	}
}

// Every secret form is tried in internal/redact. This is what a secret does to a bundle.
func TestSecretKeepsABundleOpen(t *testing.T) {
	// Put together at run time, so that no scanner takes this file for a leak.
	secret := "Authorization: Bearer " + strings.Repeat("b", 24)
	b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
	dir, err := b.EvidenceDir("LB-01")
	if err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(dir, "dump.txt")
	text := strings.Repeat("x\n", 1<<19) + secret + strings.Repeat("\ny", 1<<19)
	if err := os.WriteFile(dump, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = b.Close(t.Context())
	var found *bundle.SecretError
	if !errors.As(err, &found) {
		t.Fatalf("got %v, want a SecretError", err)
	}
	if diff := cmp.Diff([]string{"evidence/LB-01/dump.txt (a credential)"}, found.Places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error holds the secret: %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.Dir(), layout.SumsFile)); err == nil {
		t.Error("the bundle was closed nevertheless")
	}
	// Redacted, it can be closed.
	if err := os.WriteFile(dump, redact.Bytes([]byte(text)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := finish(t, b.Dir()); err != nil {
		t.Fatal(err)
	}
}

func TestSecretInANameKeepsABundleOpen(t *testing.T) {
	token := "eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLXNpZw"
	b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
	dir, err := b.EvidenceDir("LB-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, token), []byte("harmless"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = b.Close(t.Context())
	var found *bundle.SecretError
	if !errors.As(err, &found) {
		t.Fatalf("got %v, want a SecretError", err)
	}
	if want := "a name in the evidence (a token)"; !slices.Contains(found.Places, want) { // and in what names it
		t.Errorf("got %q, want %q among them", found.Places, want)
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("the error holds the secret: %v", err)
	}
}

func TestMessagesAreRedacted(t *testing.T) {
	token := "eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJlLXNpZw"
	b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
	err := b.Record(v1alpha2.BehaviorResult{
		ID: "LB-01", Verdict: v1alpha2.Unknown, Message: "got 401 for " + token, Observations: []string{"sent " + token},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range b.Report().Behaviors {
		if strings.Contains(x.Message, token) {
			t.Errorf("the message of %s is %q", x.ID, x.Message)
		}
		if strings.Contains(strings.Join(x.Observations, "\n"), token) {
			t.Errorf("the observations of %s are %q", x.ID, x.Observations)
		}
	}
}

func TestOpenRemovesOnlyBundles(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	dir := t.TempDir()
	mine := filepath.Join(dir, "fleet.yaml")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second removes the first
		b, err := bundle.Open(dir, example.Head(), p)
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
		if _, err := b.Close(t.Context()); err != nil {
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
	if _, err := bundle.Open(other, example.Head(), p); !strings.Contains(fmt.Sprint(err), "choose another directory") {
		t.Fatalf("somebody else's file: %v", err)
	}
	left, err := os.ReadFile(filepath.Join(other, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("my thesis", string(left)); diff != "" {
		t.Errorf("somebody else's file (-want +got):\n%s", diff)
	}
}

// A new run may replace the bundle of an older release, which this release cannot read.
func TestOpenReplacesABundleOfAnotherVersion(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(t, p)
	name := filepath.Join(b.Dir(), layout.ReportFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(data, []byte("v1alpha2"), []byte("v1alpha1"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Open(b.Dir(), example.Head(), p); err != nil {
		t.Fatal(err)
	}
	if got := example.Read(t, b.Dir()).APIVersion; got != v1alpha2.APIVersion {
		t.Errorf("got %s, want %s", got, v1alpha2.APIVersion)
	}
}

func TestEvidenceHoldsPlainFilesOnly(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"link": func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, "out")) },
		"name": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
			dir, err := b.EvidenceDir("LB-01")
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Close(t.Context()); err == nil {
				t.Error("the bundle was closed")
			}
		})
	}
}

// What a stranger's bundle must not hold is refused before a byte is written: links would lead the
// writer elsewhere, and a dot file may be one that lies in wait.
func TestOpenDirRefusesWhatNoBundleHolds(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "mine")
	link := func(at string) error { return errors.Join(os.RemoveAll(at), os.Symlink(outside, at)) }
	folder := func(at string) error { return errors.Join(os.RemoveAll(at), os.Mkdir(at, 0o755)) }
	pipe := func(at string) error { return errors.Join(os.RemoveAll(at), syscall.Mkfifo(at, 0o644)) }
	file := func(at string) error { return os.WriteFile(at, nil, 0o644) }
	type row struct {
		name string
		put  func(at string) error
	}
	rows := []row{
		{".bashrc", file}, {".git", folder}, {".amc-x.tmp", file}, {".amc-ABCDEFGHIJKLMNOPQRSTUVWXYZ.tmp", link},
		{layout.EvidenceDir, link}, {layout.EvidenceDir, file}, {layout.ReportFile, pipe}, {layout.SumsFile, folder},
	}
	for _, n := range append(slices.Clone(layout.Files), layout.SumsFile, layout.SignatureFile) {
		rows = append(rows, row{n, link}, row{"." + n + ".tmp", link})
	}
	for i, c := range rows {
		t.Run(fmt.Sprint(i, " ", c.name), func(t *testing.T) {
			p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
			b := example.Open(t, p)
			if err := c.put(filepath.Join(b.Dir(), c.name)); err != nil {
				t.Fatal(err)
			}
			before := listing(t, b.Dir())
			_, run := bundle.Open(b.Dir(), example.Head(), p)
			_, render := finish(t, b.Dir())
			for by, err := range map[string]error{"a run": run, "render": render} {
				if !strings.Contains(fmt.Sprint(err), c.name) {
					t.Errorf("%s: got %v, want a sentence that names %s", by, err, c.name)
				}
				if strings.Contains(fmt.Sprint(err), "\n") {
					t.Errorf("%s: not one line: %v", by, err)
				}
			}
			if diff := cmp.Diff(before, listing(t, b.Dir())); diff != "" {
				t.Errorf("the bundle (-want +got):\n%s", diff)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Errorf("%s was written", outside)
			}
		})
	}
}

// listing is the content of a directory: kinds and times.
func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintln(e.Name(), st.Mode(), st.ModTime()))
	}
	return all
}

// A writer that was killed leaves a file that the next one removes.
func TestOpenDirRemovesLeftovers(t *testing.T) {
	b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
	left := filepath.Join(b.Dir(), ".amc-"+strings.Repeat("A", 26)+".tmp")
	if err := os.WriteFile(left, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := finish(t, b.Dir()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(left); err == nil {
		t.Error("it is still there")
	}
}

// A bundle whose files change while it is closed does not pass for closed.
func TestWhatChangesWhileClosingIsNotClosed(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"the report becomes a link": func(dir string) error {
			name := filepath.Join(dir, layout.ReportFile)
			return errors.Join(os.Remove(name), os.Symlink("/etc/hostname", name))
		},
		"a file changes": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, layout.MarkdownFile), []byte("good"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
			ctx := &afterwards{Context: t.Context(), do: func() error { return change(b.Dir()) }, sums: filepath.Join(b.Dir(), layout.SumsFile)}
			if _, err := b.Close(ctx); !strings.Contains(fmt.Sprint(err), "is not closed") {
				t.Errorf("got %v, want that it is not closed", err)
			}
			if ctx.do != nil {
				t.Error("nothing was changed while it was closed")
			}
			if _, err := os.Lstat(ctx.sums); err == nil {
				t.Error("it has sums")
			}
		})
	}
}

// afterwards does something once the sums are written: closing asks the context before each file.
type afterwards struct {
	context.Context
	sums string
	do   func() error
}

func (a *afterwards) Err() error {
	if _, err := os.Lstat(a.sums); err != nil || a.do == nil {
		return a.Context.Err()
	}
	do := a.do
	a.do = nil
	return do()
}

// A report that is small in its own style may be too large as this release writes it: then it stays.
func TestFinishKeepsWhatItCannotWrite(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	closeBundle(t, b, v1alpha2.Success)
	name := filepath.Join(b.Dir(), layout.ReportFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	times := regexp.MustCompile(`(?m)^( +)convergeSeconds:\n +- .*\n`)
	// In flow style an item is one part, in ours it is two: some 240,000 are allowed, twice as many not.
	each := min(120_000/len(times.FindAll(data, -1)), 1999)
	data = times.ReplaceAll(data, []byte("${1}convergeSeconds: ["+strings.Repeat("1,", each)+"1]\n"+
		"${1}observations: ["+strings.Repeat("a,", each)+"a]\n"))
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := finish(t, b.Dir()); err == nil || !strings.Contains(err.Error(), "the bundle is not closed: report.yaml: it has more than") {
		t.Errorf("got %v, want that it has too many parts", err)
	}
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(after, data) {
		t.Errorf("the report is another one, of %d bytes, want %d", len(after), len(data))
	}
}

func TestTakingCoreOutIsPartial(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileCore, plan.Filters{Include: []string{"LB"}})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	closeBundle(t, b, v1alpha2.Partial)
	r := b.Report()
	if got := summary.ExitCode(&r); got != summary.ExitUnknown {
		t.Errorf("got exit code %d, want %d: what the user took out is not known", got, summary.ExitUnknown)
	}
}

// The core of the suite has no Ginkgo and no Kubernetes client.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../...", "ambient.test/conformance/plan", "ambient.test/conformance/behaviors").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, banned := range []string{
		"github.com/onsi/", "k8s.io/", "sigs.k8s.io/", "istio.io/", "ambient.test/conformance/framework/mesh", "github.com/spf13/cobra",
	} {
		for dep := range strings.Lines(string(out)) {
			if strings.HasPrefix(dep, banned) {
				t.Errorf("the core imports %s", strings.TrimSpace(dep))
			}
		}
	}
}
