package variant

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestCombine(t *testing.T) {
	for _, c := range []struct {
		names string
		want  Shape
		order []string
	}{
		{"", Shape{}, nil},
		{"domain", Shape{Domain: "corp.example", TrustDomain: "mesh.example"}, []string{"domain"}},
		{"revision", Shape{Revision: "stable"}, []string{"revision"}},
		{"replicas", Shape{Replicas: 2}, []string{"replicas"}},
		{"strict", Shape{Strict: true}, []string{"strict"}},
		{"restricted", Shape{PodSecurity: "restricted"}, []string{"restricted"}},
		{"regions", Shape{OneLocality: true}, []string{"regions"}},
		{"nodes", Shape{Nodes: 2}, []string{"nodes"}},
		{"single-network", Shape{Networks: 1}, []string{"single-network"}},
		{"shared-network", Shape{Networks: 2}, []string{"shared-network"}},
		{"primary-remote", Shape{Remote: true}, []string{"primary-remote"}},
		{"larger", Shape{Unlisted: 1}, []string{"larger"}},
		{"strict,revision,strict", Shape{Revision: "stable", Strict: true}, []string{"revision", "strict"}},
	} {
		t.Run(c.names, func(t *testing.T) {
			got, order, err := Combine(split(c.names))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("shape (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.order, order); d != "" {
				t.Errorf("names (-want +got):\n%s", d)
			}
		})
	}
}

func TestCombineRefuses(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"moon", `there is no variant "moon": choose from domain, `},
		{"strict,", `there is no variant ""`},
		{"single-network,primary-remote", "the variants primary-remote and single-network cannot be combined"},
		{"primary-remote,revision", "the variants primary-remote and revision cannot be combined"},
	} {
		t.Run(c.names, func(t *testing.T) {
			_, _, err := Combine(split(c.names))
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func split(names string) []string {
	if names == "" {
		return nil
	}
	return strings.Split(names, ",")
}

// A variant that changes nothing would make a fleet that tests nothing new; two of one name would
// hide each other.
func TestTable(t *testing.T) {
	for i, v := range All {
		t.Run(v.Name, func(t *testing.T) {
			var s Shape
			v.set(&s)
			if s == (Shape{}) {
				t.Error("it changes nothing")
			}
			if find(v.Name) != &All[i] {
				t.Error("another variant has its name")
			}
			for _, other := range v.without {
				if find(other) == nil {
					t.Errorf("it cannot be combined with %q, which is no variant", other)
				}
			}
			if v.What == "" {
				t.Error("it does not say what it is")
			}
			if strings.HasSuffix(v.What, ".") {
				t.Errorf("%q ends with a full stop", v.What)
			}
			if n := len(v.What); n > 110 {
				t.Errorf("%q is %d long, want at most 110: it is one line", v.What, n)
			}
		})
	}
}

// Combined in either order, two variants make the same shape: none undoes or contradicts another.
func TestVariantsChangeDifferentThings(t *testing.T) {
	for i, v := range All {
		for _, w := range All[i+1:] {
			if slices.Contains(v.without, w.Name) || slices.Contains(w.without, v.Name) {
				continue
			}
			t.Run(v.Name+","+w.Name, func(t *testing.T) {
				var one, other Shape
				v.set(&one)
				w.set(&one)
				w.set(&other)
				v.set(&other)
				if d := cmp.Diff(one, other); d != "" {
					t.Errorf("the order matters (-first +last):\n%s", d)
				}
			})
		}
	}
}

func TestHelpListsAll(t *testing.T) {
	for _, v := range All {
		t.Run(v.Name, func(t *testing.T) {
			for _, want := range []string{"  " + v.Name + " ", v.What} {
				if !strings.Contains(Help(), want) {
					t.Errorf("help does not show %q:\n%s", want, Help())
				}
			}
		})
	}
}

func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/variants.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), Markdown()) {
		t.Errorf("docs/variants.md does not show the variants as they are; put this table there:\n%s", Markdown())
	}
}

// Every variant runs alone once a night.
func TestNightly(t *testing.T) {
	text, err := os.ReadFile("../../.github/workflows/nightly.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs struct {
			Variants struct {
				Strategy struct{ Matrix struct{ Variant []string } }
			}
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(slices.Values(workflow.Jobs.Variants.Strategy.Matrix.Variant))
	if d := cmp.Diff(slices.Sorted(slices.Values(Names())), got); d != "" {
		t.Errorf("nightly.yaml (-want +got):\n%s", d)
	}
}
