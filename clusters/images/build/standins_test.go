package build

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var update = flag.Bool("update", false, "write standins.sum anew")

// amc knows the stand-ins by standins.sum, which must be that of the sources beside it.
func TestStandinSums(t *testing.T) {
	const standins = "../../../standins"
	want := map[string]string{}
	mains, err := filepath.Glob(standins + "/*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mains {
		name := filepath.Base(filepath.Dir(m))
		if want[name], err = sourceSum(standins, name); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(want)) {
			fmt.Fprintf(&text, "%s %s\n", name, want[name])
		}
		if err := os.WriteFile("standins.sum", []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, standinSums); diff != "" {
		t.Errorf("standins.sum is not that of the stand-ins' sources: run `%s` (-sources +standins.sum):\n%s", updateSums, diff)
	}
}

// standinModule writes a stand-in's module into dir/standins and returns its folder.
func standinModule(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	root := filepath.Join(dir, "standins")
	all := map[string]string{"go.mod": "module ambient.test/conformance/standins\n", "go.sum": "", "nodeproxy/main.go": "package main\n"}
	maps.Copy(all, files)
	for name, text := range all {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// The sum changes with whatever the program is built from, and with nothing else.
func TestSourceSum(t *testing.T) {
	sum := func(files map[string]string) string {
		t.Helper()
		s, err := sourceSum(standinModule(t, t.TempDir(), files), "nodeproxy")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	plain := sum(nil)
	for file, changes := range map[string]bool{
		"go.mod": true, "go.sum": true, "nodeproxy/main.go": true, "nodeproxy/internal/dns/server.go": true,
		"nodeproxy/main_test.go": false, "nodeproxy/README.md": false, "envoyrelay/main.go": false,
	} {
		t.Run(file, func(t *testing.T) {
			if got := sum(map[string]string{file: "another text\n"}) != plain; got != changes {
				t.Errorf("the sum changes: %v, want %v", got, changes)
			}
		})
	}
}

// newGraph is a graph of small images with a stand-in in one of them.
func newGraph(t *testing.T, cache string) *Graph {
	t.Helper()
	g, err := New(t.Context(), Options{Module: "istio", Version: "test", CacheDir: cache, Recipes: map[string]*Recipe{
		"pilot":   {Files: map[string]string{"pilot-discovery": "istio/pilot-discovery"}},
		"ztunnel": {Files: map[string]string{"ztunnel": "nodeproxy/nodeproxy"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// warm puts something into the cache for every part of the graph but the named ones.
func warm(t *testing.T, g *Graph, but ...string) {
	t.Helper()
	layer := archive(t, "a")
	for _, node := range g.parts() {
		if slices.Contains(but, node) {
			continue
		}
		if err := os.MkdirAll(g.path(node), 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(node, imageNode("")) {
			continue
		}
		if err := writeLayout(g.path(node), newImage(), layer, v1.Config{}); err != nil {
			t.Fatal(err)
		}
	}
}

// With the images in the cache nothing must be built, and so nothing be found: any folder will do.
func TestBuildFromAnyFolderWithAWarmCache(t *testing.T) {
	cache := t.TempDir()
	t.Chdir(t.TempDir())
	g := newGraph(t, cache)
	warm(t, g)
	if err := g.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{NodeImage, "pilot", "ztunnel"} {
		t.Run(name, func(t *testing.T) {
			if !g.Has(name) {
				t.Errorf("%s is not in the cache", name)
			}
		})
	}
	if _, err := g.Image("ztunnel"); err != nil {
		t.Errorf("the stand-in's image: %v", err)
	}
}

// A stand-in that must be built needs a checkout, the right one, and that is said in one sentence
// before anything is built.
func TestBuildWithAColdCache(t *testing.T) {
	for name, c := range map[string]struct {
		checkout bool
		want     string
	}{
		"another folder":                     {false, "is in a checkout of it: run `amc images build` in a checkout once"},
		"a checkout of another amc":          {true, "are not those that this amc was made with: run `make amc` there"},
		"which says how to make new digests": {true, updateSums},
	} {
		t.Run(name, func(t *testing.T) {
			cache, dir := t.TempDir(), t.TempDir()
			if c.checkout {
				standinModule(t, dir, nil)
			}
			below := filepath.Join(dir, "some", "folder")
			if err := os.MkdirAll(below, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Chdir(below)
			g := newGraph(t, cache)
			warm(t, g, imageNode("ztunnel"), storeNode)
			before := pathsBelow(t, cache)
			err := g.Build(t.Context())
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("got several lines, want one: %v", err)
			}
			if diff := cmp.Diff(before, pathsBelow(t, cache)); diff != "" {
				t.Errorf("the refused build changed the cache:\n%s", diff)
			}
		})
	}
}

// pathsBelow are the paths below a folder.
func pathsBelow(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
