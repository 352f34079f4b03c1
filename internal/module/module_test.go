package module

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
)

func parse(t *testing.T, file string) *modfile.File {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse(file, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func versions(f *modfile.File) map[string]string {
	all := map[string]string{}
	for _, r := range f.Require {
		all[r.Mod.Path] = r.Mod.Version
	}
	return all
}

func TestPaths(t *testing.T) {
	for file, want := range map[string]string{"../../go.mod": Path, "../../standins/go.mod": Standins} {
		t.Run(want, func(t *testing.T) {
			if diff := cmp.Diff(want, parse(t, file).Module.Mod.Path); diff != "" {
				t.Errorf("module path of %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// A module that requires or replaces nothing of the other cannot import it. What both require has
// one version, so that they share a build cache and a stand-in speaks the protocols of the same
// Istio.
func TestStandinsAreApart(t *testing.T) {
	root, standins := parse(t, "../../go.mod"), parse(t, "../../standins/go.mod")
	if v, ok := versions(root)[Standins]; ok {
		t.Errorf("go.mod requires %s %s: the suite must not import its stand-ins", Standins, v)
	}
	if v, ok := versions(standins)[Path]; ok {
		t.Errorf("standins/go.mod requires %s %s: a stand-in must not import the suite", Path, v)
	}
	for _, f := range []*modfile.File{root, standins} {
		if n := len(f.Replace); n > 0 {
			t.Errorf("%s replaces %d modules, want none: both modules are built as others would build them", f.Syntax.Name, n)
		}
	}
	if diff := cmp.Diff(root.Go.Version, standins.Go.Version); diff != "" {
		t.Errorf("go line (-go.mod +standins/go.mod):\n%s", diff)
	}
	suite := versions(root)
	for path, got := range versions(standins) {
		if want, both := suite[path]; both && got != want {
			t.Errorf("standins/go.mod requires %s %s, go.mod %s: run `cd standins && go get %s@%s && go mod tidy`", path, got, want, path, want)
		}
	}
}
