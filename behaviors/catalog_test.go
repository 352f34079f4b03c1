package behaviors

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCatalogHasNoMistakes(t *testing.T) {
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	if len(All()) == 0 {
		t.Fatal("the catalog is empty")
	}
}

func good() Behavior {
	return Behavior{
		ID: "LB-90", Level: Core, Istio: ">=1.27", Promise: "It works.", Sources: []Source{doc(pageIndex, "q")}, Proof: "p",
		Provoke: "p", State: Proven,
	}
}

// Every mistake is found, with file and line, and all of them at once.
func TestMistakesAreReportedTogether(t *testing.T) {
	outcomes := &Outcomes{Acceptable: []Outcome{{"a", "A."}}}
	mistakes := map[string]struct {
		change func(*Behavior)
		want   string
	}{
		"form":         {func(b *Behavior) { b.ID = "lb-1" }, "not of the form"},
		"chapter":      {func(b *Behavior) { b.ID = "XX-01" }, "no chapter XX"},
		"level":        {func(b *Behavior) { b.Level = "hard" }, `level "hard"`},
		"promise":      {func(b *Behavior) { b.Promise = "" }, "no promise"},
		"sentence":     {func(b *Behavior) { b.Promise = "works" }, "not a sentence"},
		"source":       {func(b *Behavior) { b.Sources = nil }, "no source"},
		"reference":    {func(b *Behavior) { b.Sources = []Source{{Kind: KindDoc}} }, "no reference"},
		"source range": {func(b *Behavior) { b.Sources[0].Istio = "1.x" }, "source ambient"},
		"issue":        {func(b *Behavior) { b.Sources = []Source{issue("#12", "")} }, "owner/repository#number"},
		"no range":     {func(b *Behavior) { b.Istio = "" }, "no Istio range"},
		"range":        {func(b *Behavior) { b.Istio = ">=1.27 ~1.30" }, `"~1.30" does not begin`},
		"need":         {func(b *Behavior) { b.Needs = []Need{"luck"} }, `need "luck"`},
		"profile":      {func(b *Behavior) { b.In = []Profile{"slow"} }, `profile "slow"`},
		"no feature":   {func(b *Behavior) { b.Level = Extended }, "belongs to a feature"},
		"feature":      {func(b *Behavior) { b.Level, b.Feature = Extended, "magic" }, `feature "magic"`},
		"core feature": {func(b *Behavior) { b.Feature = "magic" }, "only an extended"},
		"no outcomes":  {func(b *Behavior) { b.Level = Limitation }, "names its acceptable outcomes"},
		"outcomes":     {func(b *Behavior) { b.Outcomes = outcomes }, "what is core holds"},
		"twice": {func(b *Behavior) {
			b.Level, b.Outcomes = Limitation, &Outcomes{Acceptable: []Outcome{{"a", "A."}}, Unsafe: []Outcome{{"a", "B."}}}
		}, `outcome "a"`},
		"mutant":  {func(b *Behavior) { b.Mutants = []string{"M999"} }, `mutant "M999"`},
		"proof":   {func(b *Behavior) { b.Proof = "" }, "how it is proven"},
		"provoke": {func(b *Behavior) { b.Provoke = "" }, "how it is provoked"},
		"state":   {func(b *Behavior) { b.State = State{} }, "says why not"},
		"both":    {func(b *Behavior) { b.State = State{Automated: true, Why: "no"} }, "says why not"},
	}
	var all registry
	for name, m := range mistakes {
		t.Run(name, func(t *testing.T) {
			b := good()
			b.Sources = slices.Clone(b.Sources)
			m.change(&b)
			var one registry
			one.declare(b, 1)
			all.declare(b, 1)
			err := fmt.Sprint(one.check())
			if !strings.Contains(err, m.want) {
				t.Errorf("got %q, want it to say %q", err, m.want)
			}
			if !strings.HasPrefix(err, "catalog_test.go:") {
				t.Errorf("got %q, want file and line first", err)
			}
			if n := strings.Count(err, "\n"); n > 0 {
				t.Errorf("one mistake is reported as %d", n+1)
			}
		})
	}
	report := all.check().Error()
	for name, m := range mistakes {
		if !strings.Contains(report, m.want) {
			t.Errorf("the report of all mistakes lacks %s", name)
		}
	}
	if !strings.Contains(report, "already taken at catalog_test.go:") {
		t.Error("two behaviors of one id are not reported with both places")
	}
}

func TestGoodBehaviorIsGood(t *testing.T) {
	disputed := good()
	disputed.ID, disputed.State = "LB-91", provisional("example/suite#7", "the page was read wrongly")
	var r registry
	r.declare(good(), 1)
	r.declare(disputed, 1)
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	if disputed.State.Automated {
		t.Errorf("%+v: a disputed spec runs", disputed.State)
	}
	if why := "disputed in example/suite#7: the page"; !strings.Contains(disputed.State.Why, why) {
		t.Errorf("a disputed spec does not run because %q, want it to say %q", disputed.State.Why, why)
	}
}

func TestOrder(t *testing.T) {
	var ids []string
	for _, b := range All() {
		ids = append(ids, b.ID)
	}
	want := slices.Clone(ids)
	slices.SortFunc(want, CompareIDs)
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Fatalf("not in the catalog's order (-want +got):\n%s", diff)
	}
	if ids[0] != "INST-01" {
		t.Fatalf("the catalog begins with %s, want INST-01", ids[0])
	}
	for _, ids := range [][2]string{{"LB-02", "LB-10"}, {"INST-99", "SCOPE-01"}, {"CLN-01", "ZZ-01"}} {
		t.Run(ids[0]+" before "+ids[1], func(t *testing.T) {
			if got := CompareIDs(ids[0], ids[1]); got >= 0 {
				t.Errorf("got %d, want less than 0: ids are not compared as text", got)
			}
		})
	}
}

func TestDigestFollowsPromises(t *testing.T) {
	if want := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`); !want.MatchString(Digest()) {
		t.Fatalf("got %q, want %s", Digest(), want)
	}
	if n := strings.Count(Golden(), "\n"); n != len(All()) {
		t.Fatalf("%d lines for %d behaviors", n, len(All()))
	}
}

func TestVersions(t *testing.T) {
	for in, want := range map[string]string{
		"1.31": "1.31.0", "v1.28.1": "1.28.1", "1.31.0-rc.0": "1.31.0",
		"v0.0.0-20260827124520-eed52ebb66ad": "1.31.0", "v0.0.0-20260423205519-b01690e6db7d": "1.31.0",
		"v0.0.0-20250801000000-0123456789ab": "1.28.0",
	} {
		t.Run(in, func(t *testing.T) {
			if v, err := ParseVersion(in); err != nil {
				t.Errorf("got %v, want %s", err, want)
			} else if v.String() != want {
				t.Errorf("got %s, want %s", v, want)
			}
		})
	}
	for _, in := range []string{"", "one", "1", "1.2.3.4", "1.x", "1.-2", "v0.0.0-today-abc"} {
		t.Run(in, func(t *testing.T) {
			if v, err := ParseVersion(in); err == nil {
				t.Errorf("%q reads as %v", in, v)
			}
		})
	}
	for _, c := range []struct {
		r    Range
		v    string
		want bool
	}{
		{"", "1.20", true}, {">=1.27", "1.27", true}, {">=1.27", "1.26.9", false},
		{">=1.27 <1.29", "1.28.5", true}, {">=1.27 <1.29", "1.29.0-rc.1", false},
		{">=1.28.1", "1.28", false}, {"=1.29.0", "1.29.0", true}, {">1.29 <=1.30", "1.30", true},
	} {
		t.Run(c.v+" in "+string(c.r), func(t *testing.T) {
			v, _ := ParseVersion(c.v)
			if got, err := c.r.Contains(v); err != nil {
				t.Errorf("%s in %q: %v", c.v, c.r, err)
			} else if got != c.want {
				t.Errorf("%s in %q: got %t, want %t", c.v, c.r, got, c.want)
			}
		})
	}
}

// The core imports neither Ginkgo nor Kubernetes: that keeps its tests at milliseconds and lets
// reports be checked anywhere.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != "ambient.test/conformance/behaviors" {
		t.Errorf("behaviors imports more than the standard library:\n%s", got)
	}
}

var update = flag.Bool("update", false, "write the golden file and docs/catalog.md anew")

// A changed promise, level or range shows as a line of the golden file in review; the docs are what
// the data says.
func TestGeneratedFiles(t *testing.T) {
	var doc, page, faults strings.Builder
	if err := errors.Join(WriteMarkdown(&doc), WritePage(&page), WriteFaults(&faults)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"testdata/catalog.golden.jsonl": Golden(), "../docs/catalog.md": doc.String(), "../docs/page.md": page.String(),
		"../docs/faults.md": faults.String(),
	} {
		t.Run(name, func(t *testing.T) {
			if *update {
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatalf("%v: run `go test ./behaviors -update`", err)
			}
			if string(got) != want {
				old, now := strings.Split(string(got), "\n"), strings.Split(want, "\n")
				for i := range min(len(old), len(now)) {
					if old[i] != now[i] {
						t.Errorf("%s, line %d\n  has  %s\n  want %s", name, i+1, old[i], now[i])
						break
					}
				}
				t.Errorf("%s is not what the catalog says: "+
					"if the change is meant, run `go test ./behaviors -update` and let the difference be reviewed",
					name)
			}
		})
	}
}

func TestCatalogIsComplete(t *testing.T) {
	count := map[Level]int{}
	last := map[string]int{}
	for _, b := range All() {
		count[b.Level]++
		prefix, number, _ := strings.Cut(b.ID, "-")
		n, _ := strconv.Atoi(number)
		if n != last[prefix]+1 {
			t.Errorf("%s follows %s-%02d", b.ID, prefix, last[prefix])
		}
		last[prefix] = n
	}
	count[""] = len(All())
	if diff := cmp.Diff(map[Level]int{"": 262, Core: 120, Extended: 106, Limitation: 36}, count); diff != "" {
		t.Errorf("behaviors per level, and of all (-want +got):\n%s; "+
			"ids are added at a chapter's end and never taken away: if that is what happened, change the numbers here", diff)
	}
	for _, c := range Chapters {
		if last[c.Prefix] == 0 {
			t.Errorf("chapter %s is empty", c.Prefix)
		}
	}
}

// The page's twelve statements are all there, each with behaviors that exist, that quote the page,
// and of which at least one holds for versions then and now.
func TestStatements(t *testing.T) {
	if len(Statements) != 12 {
		t.Errorf("%d statements, the page has 12", len(Statements))
	}
	old, now := Version{1, 28, 0}, Version{1, 31, 0}
	for _, s := range Statements {
		if s.Says == "" {
			t.Errorf("%+v: says nothing", s)
		}
		if s.Since1_29 == "" {
			t.Errorf("%+v: says not what has been since 1.29", s)
		}
		if len(s.Behaviors) == 0 {
			t.Errorf("%+v: belongs to no behavior", s)
		}
		then, today := false, false
		for _, id := range s.Behaviors {
			b := ByID(id)
			if b == nil {
				t.Errorf("%q names %s, which does not exist", s.Says, id)
				continue
			}
			a, _ := b.Istio.Contains(old)
			z, _ := b.Istio.Contains(now)
			then, today = then || a, today || z
		}
		if !then {
			t.Errorf("%q is shown for no behavior of %v", s.Says, old)
		}
		if !today {
			t.Errorf("%q is shown for no behavior of %v", s.Says, now)
		}
	}
	// Every sentence that behaviors quote from the page for the old versions only is one of the
	// statements.
	for _, b := range All() {
		for _, src := range b.Sources {
			if src.Kind != KindDoc || src.Ref != pageIndex || src.Istio != "<1.29" {
				continue
			}
			if !slices.ContainsFunc(Statements, func(s Statement) bool { return strings.Contains(s.Says, src.Quote) }) {
				t.Errorf("%s quotes %q, which is none of the statements", b.ID, src.Quote)
			}
		}
	}
}

func TestFeatures(t *testing.T) {
	for _, f := range Features() {
		if len(f.Behaviors) == 0 {
			t.Errorf("no behavior shows the feature %s", f.Feature)
		}
	}
}

func TestLinks(t *testing.T) {
	for _, c := range []struct {
		s    Source
		want string
	}{
		{doc(pageFailover, "q"), "https://istio.io/latest/docs/ambient/install/multicluster/failover/"},
		{blog(postAlpha, "q"), "https://istio.io/latest/blog/2025/ambient-multicluster/"},
		{blog(postBeta, "q"), ""},
		{implied(postAlpha), "https://istio.io/latest/blog/2025/ambient-multicluster/"},
		{implied("high availability"), ""},
		{note("55478", ""), "https://github.com/istio/istio/blob/master/releasenotes/notes/55478.yaml"},
		{issue("istio/ztunnel#1672", ""), "https://github.com/istio/ztunnel/issues/1672"},
		{code("pilot", "r"), ""},
	} {
		t.Run(c.s.String(), func(t *testing.T) {
			if got := c.s.Link(); got != c.want {
				t.Errorf("%s: %q, want %q", c.s, got, c.want)
			}
		})
	}
}
