package behaviors

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestCatalogueHasNoMistakes(t *testing.T) {
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	if len(All()) == 0 {
		t.Fatal("the catalogue is empty")
	}
}

func good() Behavior {
	return Behavior{ID: "LB-90", Level: Core, Istio: ">=1.27", Promise: "It works.", Sources: []Source{doc(pageIndex, "q")}, Proof: "p", Provoke: "p", State: Proven}
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
		"outcomes":     {func(b *Behavior) { b.Outcomes = outcomes }, "only a limitation"},
		"twice": {func(b *Behavior) {
			b.Level, b.Outcomes = Limitation, &Outcomes{Acceptable: []Outcome{{"a", "A."}}, Unsafe: []Outcome{{"a", "B."}}}
		}, `outcome "a"`},
		"mutant":  {func(b *Behavior) { b.Mutants = []string{"M99"} }, `mutant "M99"`},
		"proof":   {func(b *Behavior) { b.Proof = "" }, "how it is proven"},
		"provoke": {func(b *Behavior) { b.Provoke = "" }, "how it is provoked"},
		"state":   {func(b *Behavior) { b.State = State{} }, "says why not"},
		"both":    {func(b *Behavior) { b.State = State{Automated: true, Why: "no"} }, "says why not"},
	}
	var all registry
	for name, m := range mistakes {
		b := good()
		b.Sources = slices.Clone(b.Sources)
		m.change(&b)
		var one registry
		one.declare(b, 1)
		all.declare(b, 1)
		if err := one.check(); err == nil || !strings.Contains(err.Error(), m.want) || !strings.HasPrefix(err.Error(), "catalogue_test.go:") {
			t.Errorf("%s: got %v, want file, line and %q", name, err, m.want)
		} else if n := strings.Count(err.Error(), "\n"); n > 0 {
			t.Errorf("%s: one mistake is reported as %d", name, n+1)
		}
	}
	report := all.check().Error()
	for name, m := range mistakes {
		if !strings.Contains(report, m.want) {
			t.Errorf("the report of all mistakes lacks %s", name)
		}
	}
	if !strings.Contains(report, "already taken at catalogue_test.go:") {
		t.Error("two behaviours of one id are not reported with both places")
	}
}

func TestGoodBehaviorIsGood(t *testing.T) {
	var r registry
	r.declare(good(), 1)
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
}

func TestOrder(t *testing.T) {
	var ids []string
	for _, b := range All() {
		ids = append(ids, b.ID)
	}
	want := slices.Clone(ids)
	slices.SortFunc(want, CompareIDs)
	if !slices.Equal(ids, want) || ids[0] != "INST-01" {
		t.Fatalf("not in the catalogue's order: %v", ids)
	}
	if CompareIDs("LB-02", "LB-10") >= 0 || CompareIDs("INST-99", "SCOPE-01") >= 0 || CompareIDs("CLN-01", "ZZ-01") >= 0 {
		t.Fatal("ids are compared as text")
	}
}

func TestDigestFollowsPromises(t *testing.T) {
	if Digest() != Digest() || !strings.HasPrefix(Digest(), "sha256:") || len(Digest()) != 71 {
		t.Fatal(Digest())
	}
	if n := strings.Count(Golden(), "\n"); n != len(All()) {
		t.Fatalf("%d lines for %d behaviours", n, len(All()))
	}
}

func TestVersions(t *testing.T) {
	for in, want := range map[string]string{
		"1.31": "1.31.0", "v1.28.1": "1.28.1", "1.31.0-rc.0": "1.31.0",
		"v0.0.0-20260827124520-eed52ebb66ad": "1.31.0", "v0.0.0-20260423205519-b01690e6db7d": "1.31.0", "v0.0.0-20250801000000-0123456789ab": "1.28.0",
	} {
		if v, err := ParseVersion(in); err != nil || v.String() != want {
			t.Errorf("%s: %v %v, want %s", in, v, err, want)
		}
	}
	for _, in := range []string{"", "one", "1", "1.2.3.4", "1.x", "1.-2", "v0.0.0-today-abc"} {
		if v, err := ParseVersion(in); err == nil {
			t.Errorf("%q reads as %v", in, v)
		}
	}
	for _, c := range []struct {
		r    Range
		v    string
		want bool
	}{
		{"", "1.20", true}, {">=1.27", "1.27", true}, {">=1.27", "1.26.9", false}, {">=1.27 <1.29", "1.28.5", true}, {">=1.27 <1.29", "1.29.0-rc.1", false},
		{">=1.28.1", "1.28", false}, {"=1.29.0", "1.29.0", true}, {">1.29 <=1.30", "1.30", true},
	} {
		v, _ := ParseVersion(c.v)
		if got, err := c.r.Contains(v); err != nil || got != c.want {
			t.Errorf("%s in %q: %v %v", c.v, c.r, got, err)
		}
	}
}

// The core imports neither Ginkgo nor Kubernetes: that keeps its tests at milliseconds and lets reports be checked anywhere.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != "ambient.test/conformance/behaviors" {
		t.Errorf("behaviors imports more than the standard library:\n%s", got)
	}
}
