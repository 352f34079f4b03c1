package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
)

// A rule has several sentences, and a bundle that breaks it by one of them keeps it by the others:
// a test that wants the rule alone does not see a sentence that is gone.
func TestSentences(t *testing.T) {
	remove := func(name string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add := func(name string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	report := func(change func(*v1alpha2.ConformanceReport)) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				change(r)
				summary.Fill(r)
			})
		}
	}
	replanned := func(change func(*v1alpha2.ConformanceReport)) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			forge(t, dir, func(r *v1alpha2.ConformanceReport) {
				change(r)
				replan(t, r)
			})
		}
	}
	// as is a report that says what it was made to say, also of what follows from the rest.
	as := func(change func(*v1alpha2.ConformanceReport)) func(testing.TB, string) {
		return func(t testing.TB, dir string) { forge(t, dir, change) }
	}
	implementation := func(change func(*v1alpha2.Implementation)) func(testing.TB, string) {
		return report(func(r *v1alpha2.ConformanceReport) { change(&r.Implementation) })
	}
	for name, c := range map[string]struct {
		spoil func(testing.TB, string)
		want  []string // how the message of each broken rule begins
	}{
		"a file that is not listed": {add(layout.EvidenceOf("LB-01") + "/late.txt"), []string{"B03 evidence/LB-01/late.txt is not listed"}},
		"a listed file is gone": {remove(layout.EvidenceOf("LB-01") + "/calls.txt"), []string{
			"B03 evidence/LB-01/calls.txt is listed and missing",
			`R10 LB-01 names "evidence/LB-01/calls.txt", which is not its evidence`,
		}},
		"the page is gone, and from the sums": {func(t testing.TB, dir string) {
			remove(layout.HTMLFile)(t, dir)
			unlist(t, dir, layout.HTMLFile)
		}, []string{"B03 report.html is missing", "R09 report.html is missing"}},
		"a file of someone else": {add("notes.txt"), []string{"B03 notes.txt does not belong in a certified bundle"}},
		"a filter that takes nothing out": {replanned(func(r *v1alpha2.ConformanceReport) {
			r.Filters.Include = []string{"*"}
		}), []string{"C01 the user chose or took out behaviors: *"}},
		"skipped by the user, without a filter": {report(func(r *v1alpha2.ConformanceReport) {
			skipped(r, "SCOPE-07", plan.ClassUser, "excluded")
		}), []string{
			"R12 SCOPE-07 is skipped (user: excluded) in the report, and planned again it is to run",
			"C01 SCOPE-07 was taken out by the user",
		}},
		"skipped for a stand-in that nobody names": {report(func(r *v1alpha2.ConformanceReport) {
			skipped(r, "LB-01", plan.ClassStandIn, "the stand-in of ztunnel cannot show it")
		}), []string{
			"R12 LB-01 is skipped (stand-in: the stand-in of ztunnel cannot show it) in the report, and planned again it is to run",
			"C03 LB-01 was skipped for a stand-in",
		}},
		"something is left": {report(func(r *v1alpha2.ConformanceReport) {
			r.Leaks = &v1alpha2.Leaks{Found: []string{"namespace amc-1"}}
		}), []string{"C04 left behind: namespace amc-1"}},
		"a clean fleet with something left": {report(func(r *v1alpha2.ConformanceReport) {
			r.Leaks.Found = []string{"namespace amc-1"}
		}), []string{"C04 left behind: namespace amc-1"}},
		"no organization": {implementation(func(i *v1alpha2.Implementation) { i.Organization = "" }), []string{
			"C05 the implementation's organization is missing",
		}},
		"a home without TLS": {implementation(func(i *v1alpha2.Implementation) { i.URL = "http://mesh.example.com" }), []string{
			`C05 the implementation's address "http://mesh.example.com" is not an https address`,
		}},
		"no contact": {implementation(func(i *v1alpha2.Implementation) { i.Contact = nil }), []string{
			"C05 the implementation names no contact",
		}},
		"a contact that nobody reaches": {implementation(func(i *v1alpha2.Implementation) { i.Contact = []string{"the team"} }), []string{
			`C05 the contact "the team" is not a mail address, @handle or https address`,
		}},
		"a suite of no commit": {report(func(r *v1alpha2.ConformanceReport) { r.Suite.Commit = "main" }), []string{
			`C06 the suite's commit "main" is not a commit`,
		}},
		"a preflight that failed": {report(func(r *v1alpha2.ConformanceReport) {
			r.Preflight[0].Status = v1alpha2.CheckFail
		}), []string{"C07 the preflight check memory failed"}},
		"a profile without the core": {replanned(func(r *v1alpha2.ConformanceReport) {
			r.Profile = string(behaviors.ProfileSmoke)
		}), []string{`C09 the profile "smoke" does not run the core behaviors`}},
		"an id twice": {report(func(r *v1alpha2.ConformanceReport) {
			r.Behaviors = slices.Insert(r.Behaviors, 1, r.Behaviors[0])
		}), []string{`R05 "INST-01" appears twice`, "R14 ginkgo.json: INST-01 appears twice"}},
		"an id that is missing": {report(func(r *v1alpha2.ConformanceReport) {
			r.Behaviors = r.Behaviors[1:]
		}), []string{"R05 INST-01 is missing"}},
		"an id before its time": {report(func(r *v1alpha2.ConformanceReport) {
			r.Behaviors[0], r.Behaviors[1] = r.Behaviors[1], r.Behaviors[0]
		}), []string{`R05 "INST-01" is out of order`}},
		"an id of its own": {report(func(r *v1alpha2.ConformanceReport) {
			r.NotAutomated = append(r.NotAutomated, "LB-99")
		}), []string{`R05 "LB-99" is not in the catalog`}},
		"a feature shown by half of it": {report(func(r *v1alpha2.ConformanceReport) {
			claim(t, r, behaviors.FeatureScopeRules)
			f := &r.Features[0]
			f.Behaviors = f.Behaviors[1:]
		}), []string{"R12 the feature scope-rules is shown by other behaviors than those that run for it"}},
		"a feature of its own": {report(func(r *v1alpha2.ConformanceReport) {
			r.Features = []v1alpha2.Feature{{Name: "luck", Behaviors: []string{}}}
		}), []string{`R08 "luck" is not a feature`}},
		"a feature that is violated": {report(func(r *v1alpha2.ConformanceReport) {
			r.Mode = v1alpha2.ModeConformance
			claim(t, r, behaviors.FeatureScopeRules)
			b := result(r, r.Features[0].Behaviors[0])
			b.Verdict, b.Outcome, b.Message = v1alpha2.NonConformant, "", "nobody answered"
		}), []string{`R08 scope-rules is claimed and "SCOPE-06" is not conformant`}},
		"a feature shown by what is none of it": {report(func(r *v1alpha2.ConformanceReport) {
			claim(t, r, behaviors.FeatureScopeRules)
			f := &r.Features[0]
			f.Behaviors = append(f.Behaviors, "LB-01")
		}), []string{
			`R08 "LB-01" does not show scope-rules`,
			"R12 the feature scope-rules is shown by other behaviors than those that run for it",
		}},
		"evidence for no behavior": {func(t testing.TB, dir string) {
			if err := os.Mkdir(filepath.Join(dir, layout.EvidenceOf("LB-99")), 0o755); err != nil {
				t.Fatal(err)
			}
			add(layout.EvidenceOf("LB-99")+"/calls.txt")(t, dir)
			list(t, dir, layout.EvidenceOf("LB-99")+"/calls.txt")
		}, []string{`R10 "evidence/LB-99/calls.txt" is evidence for no behavior`}},
		"held, and with a reason to be skipped": {report(func(r *v1alpha2.ConformanceReport) {
			result(r, "LB-01").Skip = &v1alpha2.Skip{Class: string(plan.ClassProfile), Reason: "x"}
		}), []string{
			"R06 LB-01 is skipped without a reason, or has a reason and is not skipped",
			"R12 LB-01 is skipped (profile: x) in the report, and planned again it is to run",
		}},
		"skipped for no reason": {report(func(r *v1alpha2.ConformanceReport) {
			skipped(r, "SCOPE-07", plan.ClassProfile, " ")
		}), []string{
			"R06 SCOPE-07 is skipped without a reason",
			"R12 SCOPE-07 is skipped (profile: ) in the report, and planned again it is to run",
		}},
		"violated without a word": {report(func(r *v1alpha2.ConformanceReport) {
			r.Mode = v1alpha2.ModeConformance
			result(r, "LB-01").Verdict = v1alpha2.NonConformant
		}), []string{"R06 LB-01 is non-conformant without a message"}},
		"an outcome that is unsafe": {report(func(r *v1alpha2.ConformanceReport) {
			result(r, "SCOPE-07").Outcome = "leaked"
		}), []string{`R06 SCOPE-07 is conformant with the outcome "leaked", which is not among the acceptable ones`}},
		"a negative time": {report(func(r *v1alpha2.ConformanceReport) {
			result(r, "LB-01").ConvergeSeconds = []float64{-1}
		}), []string{"R06 LB-01 took a negative time"}},
		"another result": {as(func(r *v1alpha2.ConformanceReport) { r.Result = v1alpha2.Partial }), []string{
			`R07 result says "partial", the behaviors give "success"`,
		}},
		"other levels":        {as(func(r *v1alpha2.ConformanceReport) { r.Levels[0].Conformant++ }), []string{"R07 levels says "}},
		"other chapters":      {as(func(r *v1alpha2.ConformanceReport) { r.Chapters[0].Conformant++ }), []string{"R07 chapters says "}},
		"another convergence": {as(func(r *v1alpha2.ConformanceReport) { r.Convergence.P50 /= 2 }), []string{"R07 convergence says "}},
		"flaky in one attempt": {as(func(r *v1alpha2.ConformanceReport) { result(r, "LB-01").Flaky = true }), []string{
			"R07 flaky of LB-01 says true, the behaviors give false",
			"C02 LB-01 took 1 attempts",
		}},
		"known, and held": {as(func(r *v1alpha2.ConformanceReport) { result(r, "LB-01").Known = "F-90" }), []string{
			`R07 known or fixed of LB-01 says ["F-90",""], the behaviors give ["",""]`,
		}},
		"a feature that is not supported": {as(func(r *v1alpha2.ConformanceReport) {
			claim(t, r, behaviors.FeatureScopeRules)
			summary.Fill(r)
			r.Features[0].Supported = false
		}), []string{"R07 feature scope-rules says false, the behaviors give true"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			c.spoil(t, dir)
			got := said(verifyTest(t, dir, nil))
			for i, s := range got {
				if i < len(c.want) && strings.HasPrefix(s, c.want[i]) {
					got[i] = c.want[i]
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
		})
	}
}

// What is wrong with the files as such is said too, and nothing else is read then.
func TestSentencesOnFiles(t *testing.T) {
	under := func(dir, name string) string { return filepath.Join(dir, layout.EvidenceDir, name) }
	for name, c := range map[string]struct {
		spoil func(t testing.TB, dir string)
		want  string
	}{
		"too many": {func(t testing.TB, dir string) {
			for i := range maxFiles {
				if err := os.WriteFile(under(dir, fmt.Sprint("LB-01/", i)), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}, fmt.Sprintf("it holds more than %d files", maxFiles)},
		"too deep": {func(t testing.TB, dir string) {
			if err := os.MkdirAll(under(dir, strings.Repeat("d/", maxDepth)), 0o755); err != nil {
				t.Fatal(err)
			}
		}, `"evidence/d/d/d/d/d/d/d/d" is nested deeper than 8`},
		"too large together": {func(t testing.TB, dir string) {
			for i := range maxTotalBytes/maxFileBytes + 1 {
				name := under(dir, fmt.Sprint("LB-01/", i))
				if err := os.WriteFile(name, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(name, maxFileBytes); err != nil { // sparse
					t.Fatal(err)
				}
			}
		}, fmt.Sprintf("its files are larger than %d MiB together", maxTotalBytes>>20)},
		"one too large": {func(t testing.TB, dir string) {
			if err := os.Truncate(under(dir, "LB-01/calls.txt"), maxFileBytes+1); err != nil {
				t.Fatal(err)
			}
		}, fmt.Sprintf(`"evidence/LB-01/calls.txt" is larger than %d MiB`, maxFileBytes>>20)},
		"a name with a blank": {func(t testing.TB, dir string) {
			if err := os.WriteFile(under(dir, "LB-01/a b"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, `"evidence/LB-01/a b" is not a plain name`},
		"a link": {func(t testing.TB, dir string) {
			if err := os.Symlink("calls.txt", under(dir, "LB-01/link")); err != nil {
				t.Fatal(err)
			}
		}, `"evidence/LB-01/link" is not a plain file`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			c.spoil(t, dir)
			all := said(verifyTest(t, dir, nil))
			if !slices.Contains(all, "B02 "+c.want) {
				t.Errorf("got %q, want B02 to say %q", all, c.want)
			}
		})
	}
}

// A list of sums that never ends is read no further than a bundle may have files.
func TestTooManySums(t *testing.T) {
	var b strings.Builder
	for i := range 2 * maxFiles {
		fmt.Fprintf(&b, "%064d  evidence/LB-01/%08d\n", 0, i)
	}
	_, _, wrong := parseSums([]byte(b.String()))
	if want := fmt.Sprintf("SHA256SUMS line %d: more than %d files", maxFiles+1, maxFiles); !slices.Equal(wrong, []string{want}) {
		t.Errorf("got %q, want %q", wrong, want)
	}
}

// said is what was found wrong, rule by rule.
func said(r *Result) (all []string) {
	for _, f := range r.Broken() {
		all = append(all, f.Rule+" "+f.Message)
	}
	return all
}

// No report within the limits has a page that large, as far as is known; the limit holds for the
// next release's page too.
func TestTooLargeToBeRendered(t *testing.T) {
	defer func(before int) { maxRendered = before }(maxRendered)
	maxRendered = 1 << 10
	const large = " cannot be rendered: it is larger than 1 KiB"
	want := []string{"R09 junit.xml" + large + "; report.html" + large + "; summary.md" + large}
	if diff := cmp.Diff(want, said(verifyTest(t, goodBundle(t), nil))); diff != "" {
		t.Errorf("broken (-want +got):\n%s", diff)
	}
}

// skipped makes a behavior one that did not run.
func skipped(r *v1alpha2.ConformanceReport, id string, class plan.Class, reason string) {
	b := result(r, id)
	*b = v1alpha2.BehaviorResult{
		ID: b.ID, Chapter: b.Chapter, Level: b.Level, Promise: b.Promise, Evidence: b.Evidence, Verdict: v1alpha2.Skipped,
		Skip: &v1alpha2.Skip{Class: string(class), Reason: reason},
	}
}

// claim makes the report one that claims a feature, and whose behaviors of it held.
func claim(t testing.TB, r *v1alpha2.ConformanceReport, feature behaviors.Feature) {
	t.Helper()
	r.Profile = string(behaviors.ProfileExtended)
	r.Features = []v1alpha2.Feature{{Name: string(feature)}}
	p := replan(t, r)
	r.Features[0].Behaviors = p.Claims()[feature]
}

// list puts a file into SHA256SUMS.
func list(t testing.TB, dir, name string) {
	t.Helper()
	changeSums(t, dir, func(lines []string) []string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, sumOf(data)+"  "+name+"\n")
		slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
		return lines
	})
}

// unlist takes a file out of SHA256SUMS.
func unlist(t testing.TB, dir, name string) {
	t.Helper()
	changeSums(t, dir, func(lines []string) []string {
		return slices.DeleteFunc(lines, func(line string) bool { return strings.HasSuffix(line, "  "+name+"\n") })
	})
}

func changeSums(t testing.TB, dir string, change func(lines []string) []string) {
	t.Helper()
	file := filepath.Join(dir, layout.SumsFile)
	sums, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := change(slices.Collect(strings.Lines(string(sums))))
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// begun is an inspection that has read nothing yet.
func begun(t *testing.T, dir string) *inspection {
	t.Helper()
	root, err := bundle.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &inspection{ctx: t.Context(), root: root, files: map[string]file{}}
}

// What is judged is what was read: a file that changes meanwhile is seen to.
func TestFilesThatChangeMeanwhile(t *testing.T) {
	evidence := layout.EvidenceOf("LB-01") + "/calls.txt"
	for name, c := range map[string]struct {
		change func(t *testing.T, in *inspection, dir string)
		check  func(*inspection) []string
		want   string
	}{
		"a file goes": {
			func(t *testing.T, in *inspection, dir string) {
				in.walk()
				if err := os.Remove(filepath.Join(dir, evidence)); err != nil {
					t.Fatal(err)
				}
				in.readFiles()
			},
			(*inspection).sumsMatch, evidence + " cannot be read",
		},
		"the report changes": {
			func(t *testing.T, in *inspection, dir string) {
				in.readReport()
				replaceIn(t, dir, layout.ReportFile, "seed: 7", "seed: 8")
				reseal(t, dir)
				in.readSums()
				in.walk()
				in.readFiles()
			},
			(*inspection).sumsMatch, layout.ReportFile + " was changed while it was read",
		},
		"Ginkgo's report changes": {
			func(t *testing.T, in *inspection, dir string) {
				in.readReport()
				in.walk()
				in.readFiles()
				replaceIn(t, dir, layout.GinkgoFile, "passed", "failed")
			},
			(*inspection).ginkgoAgrees, layout.GinkgoFile + " was changed while it was read",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goodBundle(t)
			in := begun(t, dir)
			in.readSums()
			c.change(t, in, dir)
			if diff := cmp.Diff([]string{c.want}, c.check(in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
