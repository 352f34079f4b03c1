// Package layers holds the test of who may import whom. The table below is docs/architecture.md as
// data.
package layers

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ambient.test/conformance/internal/module"
	"ambient.test/conformance/reports/api"
)

const root = "../.."

// room is a folder with what it may import of this module. A room covers the folders below it,
// unless one of them is a room of its own. A package may always import its own room.
type room struct {
	path string
	may  []string // rooms; "internal" and so on cover all rooms below that folder
	why  string
}

// rooms is design section 2 as a table: a room may import rooms that stand above it in this table,
// and of these only the ones it names.
var rooms = []room{
	{"internal", nil, "small tools that know nothing of Istio"},
	{"behaviors", nil, "the catalog is data"},
	{"plan", []string{"behaviors"}, "a plan follows from the catalog and facts, without Kubernetes and Ginkgo"},
	{"reports/api", nil, "a dashboard imports the report's types alone"},
	{"reports", []string{"behaviors", "plan", "reports/api", "internal"}, "anyone can check a bundle offline"},
	{"manifests", nil, "embedded YAML"},

	{"framework/mesh", []string{"reports/api", "internal"}, "handles of a fleet and its clusters; everything below builds on them"},
	{"framework/wait", []string{"framework/mesh", "internal"}, "waits with patience, for anything"},
	{"framework/apply", []string{"framework/mesh", "reports/api", "internal"}, "applies objects and deletes them"},
	{"framework/undo", []string{
		"framework/mesh", "framework/wait", "framework/apply", "reports/api",
	}, "notes of how to put back what a spec changes of a mesh"},
	{"framework/portforward", []string{"framework/mesh", "internal"}, "connections into a pod"},
	{"framework/traffic", []string{"framework/mesh", "framework/portforward", "internal"}, "calls and their outcomes"},
	{"framework/workload", []string{
		"framework/mesh", "framework/wait", "framework/apply", "framework/traffic", "reports/api", "internal",
	}, "servers and clients as pods"},
	{"framework/ztunnel", []string{"framework/mesh", "framework/portforward", "internal"}, "what ztunnels count and know"},
	{"framework/envoy", []string{"framework/mesh", "framework/portforward"}, "what waypoints and gateways count"},
	{"framework/istiod", []string{"framework/mesh", "framework/portforward", "internal"}, "what istiod says about itself"},
	{"framework/remotesecret", []string{"framework/mesh", "framework/istiod"}, "secrets by which an istiod reads another cluster"},
	{"framework/inspect", []string{
		"framework/mesh", "framework/portforward", "framework/istiod", "framework/ztunnel", "internal",
	}, "the one reader of a cluster's facts"},
	{"framework/eastwest", []string{
		"framework/mesh", "framework/portforward", "framework/traffic", "framework/wait", "framework/inspect", "internal",
	}, "calls to a gateway, by hand"},
	{"framework/peer", []string{"framework/portforward", "framework/traffic", "internal"}, "the suite's own client and server"},
	{"framework/expect", []string{
		"framework/traffic", "framework/ztunnel", "framework/istiod", "framework/eastwest", "framework/peer",
	}, "matchers of what was seen"},
	{"framework/evidence", []string{
		"framework/mesh", "framework/apply", "framework/ztunnel", "framework/istiod", "framework/inspect", "internal",
	}, "what a failed spec leaves for the reader"},
	{"framework/install", []string{
		"framework/mesh", "framework/wait", "framework/apply", "framework/istiod", "framework/remotesecret", "manifests", "internal",
	}, "installs a mesh and removes it"},
	{"framework/preflight", []string{
		"behaviors", "plan", "reports/api", "framework/mesh", "framework/istiod", "framework/inspect",
		"framework/workload", "internal",
	}, "checks of clusters and mesh before anything runs"},
	{"framework/fixture", []string{
		"framework/mesh", "framework/wait", "framework/apply", "framework/workload", "framework/traffic",
		"framework/istiod", "framework/portforward", "framework/undo", "internal",
	}, "what stands for the whole run"},
	{"framework/spec", []string{"behaviors", "reports/api", "framework", "internal"}, "the words of a spec"},
	{"framework/runner", []string{"behaviors", "reports/api", "framework", "internal"}, "runs bodies, retries, cleans up"},

	{"clusters", []string{
		"behaviors", "reports/api", "framework/mesh", "framework/apply", "framework/istiod", "framework/inspect",
		"framework/preflight", "internal",
	}, "where a mesh runs: ours on kind, or existing clusters"},
	{"mutants", []string{"behaviors", "framework", "internal"}, "ways to break a mesh"},
	{"suites", []string{"behaviors", "framework", "mutants", "internal"}, "specs, one package per chapter"},
	{"run", []string{
		"behaviors", "plan", "reports", "framework", "clusters", "suites", "mutants", "internal",
	}, "a run as a library"},
	{"cmd", []string{
		"behaviors", "plan", "reports", "framework", "clusters", "suites", "mutants", "manifests", "run", "internal",
	}, "verbs: parse, call, print"},
	{"standins", nil, "apart: nothing imports them, and they import nothing of the product"},
}

// core are the rooms that anyone can use without a cluster. They depend on none of foreign, not
// even through others.
var core = []string{"behaviors", "plan", "reports"}

var foreign = []string{
	"github.com/onsi/ginkgo", "github.com/onsi/gomega", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "istio.io/istio",
}

func inside(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// roomOf finds the innermost room of a package, by its path within the module.
func roomOf(pkg string) (room, int) {
	found, at := room{}, -1
	for i, r := range rooms {
		if inside(pkg, r.path) && len(r.path) > len(found.path) {
			found, at = r, i
		}
	}
	return found, at
}

// refusal says why one package may not import another; empty when it may.
func refusal(from, to string) string {
	f, fi := roomOf(from)
	r, ri := roomOf(to)
	switch {
	case fi < 0:
		return from + " is in no room: add it to the table, with what it may import"
	case ri < 0:
		return to + " is in no room: add it to the table"
	case fi == ri:
		return ""
	case ri > fi:
		return f.path + " stands below " + r.path + ": an import must not go up"
	case !slices.ContainsFunc(f.may, func(m string) bool { return inside(r.path, m) }):
		return f.path + " (" + f.why + ") may not import " + r.path
	}
	return ""
}

// sources calls do for every Go file of the module.
func sources(t *testing.T, do func(pkg, name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		do(filepath.ToSlash(filepath.Dir(rel)), name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNobodyImportsUpward(t *testing.T) {
	seen := map[string]bool{}
	sources(t, func(pkg, name string) {
		if strings.HasSuffix(name, "_test.go") {
			return // a test may use what is above to build its cases
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		if _, at := roomOf(pkg); at < 0 {
			t.Errorf("%s is in no room: add it to the table, with what it may import", pkg)
		}
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, module.Path+"/")
			if !ours || seen[pkg+" -> "+to] {
				continue
			}
			seen[pkg+" -> "+to] = true
			if why := refusal(pkg, to); why != "" {
				t.Errorf("%s -> %s: %s", pkg, to, why)
			}
		}
	})
	if len(seen) < 20 {
		t.Errorf("only %d imports within the module were found", len(seen))
	}
}

func TestTableIsInOrder(t *testing.T) {
	for i, r := range rooms {
		t.Run(r.path, func(t *testing.T) {
			if r.why == "" {
				t.Error("it does not say why")
			}
			for _, m := range r.may {
				if !slices.ContainsFunc(rooms[:i], func(above room) bool { return inside(above.path, m) }) {
					t.Errorf("it may import %s, which is no room above it", m)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"plan", "behaviors", ""},
		{"reports/verify", "reports/bundle", ""},
		{"reports/api/v1alpha2", "reports/api/v1alpha2", ""},
		{"reports/api/v1alpha2", "reports", "must not go up"},
		{"behaviors", "plan", "must not go up"},
		{"plan", "framework/mesh", "must not go up"},
		{"suites/gateway", "clusters/kind", "may not import clusters"},
		{"standins/nodeproxy", "framework/mesh", "may not import framework/mesh"},
		{"cmd/amc", "standins/nodeproxy", "must not go up"},
		{"attic", "plan", "is in no room"},
	} {
		t.Run(c.from+" "+c.to, func(t *testing.T) {
			got := refusal(c.from, c.to)
			if c.want == "" && got != "" {
				t.Errorf("got %q, want none", got)
			}
			if c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestCoreStandsAlone asks the go command, since a dependency may come through a library.
func TestCoreStandsAlone(t *testing.T) {
	args := []string{"list", "-deps", "-json=ImportPath"}
	for _, c := range core {
		args = append(args, "./"+c+"/...")
	}
	c := exec.Command("go", args...)
	c.Dir = root
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	n := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; n++ {
		var p struct{ ImportPath string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, f := range foreign {
			if inside(p.ImportPath, f) || strings.HasPrefix(p.ImportPath, f+"/") {
				t.Errorf("the core (%s) depends on %s", strings.Join(core, ", "), p.ImportPath)
			}
		}
	}
	if n < 10 {
		t.Errorf("go list names only %d packages", n)
	}
}

// writtenOnce are names that code takes from one place: who may write them, and where all others
// get them.
var writtenOnce = []struct {
	name   string
	rooms  []string
	advice string
}{
	// The catalog is text for people, and stand-ins know Istio's own default.
	{"cluster.local", []string{"behaviors", "framework/mesh", "standins"}, "take the domain or trust domain from the fleet"},
	{api.Group, []string{"reports/api"}, "build it from api.Group"},
	{module.Registry, []string{"internal/module"}, "build it from a constant of internal/module"},
}

func TestNamesAreWrittenOnce(t *testing.T) {
	for _, c := range writtenOnce {
		t.Run(c.name, func(t *testing.T) {
			sources(t, func(pkg, name string) {
				if strings.HasSuffix(name, "_test.go") || slices.ContainsFunc(c.rooms, func(r string) bool { return inside(pkg, r) }) {
					return
				}
				file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				ast.Inspect(file, func(n ast.Node) bool {
					if _, ok := n.(*ast.ImportSpec); ok {
						return false
					}
					if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && strings.Contains(l.Value, c.name) {
						t.Errorf("%s/%s writes %s: %s", pkg, filepath.Base(name), c.name, c.advice)
					}
					return true
				})
			})
		})
	}
}

// TestArchitecturePage holds that the page shows this table.
func TestArchitecturePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := table(); !strings.Contains(string(page), want) {
		t.Errorf("docs/architecture.md does not show the rooms as they are; put this table there:\n%s", want)
	}
}

// table is the rooms as Markdown.
func table() string {
	var b strings.Builder
	b.WriteString("| room | what it is for | may import |\n| --- | --- | --- |\n")
	for _, r := range rooms {
		may := "nothing of this module"
		if len(r.may) > 0 {
			may = "`" + strings.Join(r.may, "`, `") + "`"
		}
		b.WriteString("| `" + r.path + "` | " + r.why + " | " + may + " |\n")
	}
	return b.String()
}
