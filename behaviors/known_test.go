package behaviors

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKnownIn(t *testing.T) {
	fault := Known{Finding: "F-90", Istio: ">=1.29 <1.31"}
	ofPart := Known{Finding: "F-91", Istio: ">=1.29", Part: "ztunnel"}
	KnownFaults["LB-01"], KnownFaults["LB-02"] = []Known{fault}, []Known{ofPart}
	t.Cleanup(func() { delete(KnownFaults, "LB-01"); delete(KnownFaults, "LB-02") })
	for name, c := range map[string]struct {
		id       string
		version  Version
		standIns []string
		want     *Known
	}{
		"in its range":                     {"LB-01", Version{1, 30, 2}, nil, &fault},
		"before it":                        {"LB-01", Version{1, 28, 0}, nil, nil},
		"mended":                           {"LB-01", Version{1, 31, 0}, nil, nil},
		"another behavior":                 {"LB-03", Version{1, 30, 2}, nil, nil},
		"of no part that is a stand-in":    {"LB-01", Version{1, 30, 2}, []string{"proxyv2", "ztunnel"}, &fault},
		"of the real part":                 {"LB-02", Version{1, 30, 2}, []string{"proxyv2"}, &ofPart},
		"of a part that is not the mesh's": {"LB-02", Version{1, 30, 2}, []string{"proxyv2", "ztunnel"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ByID(c.id).KnownIn(c.version, c.standIns)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMistakesOfKnownFaults(t *testing.T) {
	catalog := map[string]*Behavior{"LB-01": {State: Proven}, "LB-02": {State: notAutomated("planned")}}
	for name, c := range map[string]struct {
		id    string
		fault Known
		want  string // empty: no mistake
	}{
		"none":        {"LB-01", Known{"F-01", "istio/istio#1", ">=1.30", "", []string{"seen"}, false}, ""},
		"no behavior": {"LB-99", Known{"F-01", "", ">=1.30", "", []string{"seen"}, false}, "no behavior of this id"},
		"no spec":     {"LB-02", Known{"F-01", "", ">=1.30", "", []string{"seen"}, false}, "no spec shows the fault"},
		"finding":     {"LB-01", Known{"one", "", ">=1.30", "", []string{"seen"}, false}, `finding "one"`},
		"issue":       {"LB-01", Known{"F-01", "#1", ">=1.30", "", []string{"seen"}, false}, `issue "#1"`},
		"no versions": {"LB-01", Known{"F-01", "", "", "", []string{"seen"}, false}, "which versions"},
		"part":        {"LB-01", Known{"F-01", "", ">=1.30", "gateway", []string{"seen"}, false}, `part "gateway"`},
		"seen":        {"LB-01", Known{Finding: "F-01", Istio: ">=1.30"}, "what is seen of the fault"},
		"versions":    {"LB-01", Known{"F-01", "", "1.x", "", []string{"seen"}, false}, "1.x"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkKnown(catalog, map[string][]Known{c.id: {c.fault}})
			if got := fmt.Sprint(err); c.want == "" && err != nil {
				t.Errorf("got %v, want none", err)
			} else if c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Every known fault has its finding.
func TestKnownFaultsHaveFindings(t *testing.T) {
	page, err := os.ReadFile("../docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	for id, faults := range KnownFaults {
		for _, k := range faults {
			if !strings.Contains(string(page), "\n## "+k.Finding+": ") {
				t.Errorf("%s: docs/findings.md has no section %s", id, k.Finding)
			}
		}
	}
}
