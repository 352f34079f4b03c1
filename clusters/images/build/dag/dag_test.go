package dag

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// graph is base <- left, right <- top, noting the order of builds.
func graph(built *[]string, fail string) []Node {
	var mu sync.Mutex
	node := func(name string, needs ...string) Node {
		return Node{
			Name:   name,
			Needs:  needs,
			Inputs: map[string]string{"version": "1"},
			Pool:   "all",
			Build: func(_ context.Context, t *Task) error {
				if name == fail {
					_ = os.WriteFile(filepath.Join(t.Out, "half"), nil, 0o644)
					return errors.New("out of paint")
				}
				for _, n := range needs {
					if _, err := os.Stat(filepath.Join(t.Needs[n], n)); err != nil {
						return err
					}
				}
				mu.Lock()
				*built = append(*built, name)
				mu.Unlock()
				return os.WriteFile(filepath.Join(t.Out, name), nil, 0o644)
			},
		}
	}
	return []Node{node("top", "left", "right"), node("left", "base"), node("right", "base"), node("base")}
}

func TestBuildsOnceInOrder(t *testing.T) {
	var built []string
	s := &Store{Dir: t.TempDir(), Pools: map[string]int{"all": 2}, Phase: "images"}
	nodes := graph(&built, "")
	if _, err := s.Run(t.Context(), nodes, "top"); err != nil {
		t.Fatal(err)
	}
	if len(built) != 4 {
		t.Fatalf("built %v, want each of the 4 nodes once", built)
	}
	if built[0] != "base" {
		t.Errorf("built %v, want base first", built)
	}
	if built[3] != "top" {
		t.Errorf("built %v, want top last", built)
	}
	res, err := s.Run(t.Context(), nodes, "top")
	if err != nil {
		t.Fatal(err)
	}
	if len(built) != 4 {
		t.Errorf("built %v, want nothing built again", built)
	}
	if !res["top"].Cached {
		t.Errorf("got %+v, want top from the cache", res["top"])
	}
	// A changed input builds its node and what needs it, and nothing else.
	nodes[slices.IndexFunc(nodes, func(n Node) bool { return n.Name == "left" })].Inputs["version"] = "2"
	missing, err := s.Missing(nodes, "top")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range missing {
		names = append(names, n.Name)
	}
	if diff := cmp.Diff([]string{"top", "left"}, names); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if _, err := s.Run(t.Context(), nodes, "top"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"left", "top"}, built[4:]); diff != "" {
		t.Errorf("built (-want +got):\n%s", diff)
	}
}

func TestFailureLeavesNothingHalf(t *testing.T) {
	var built []string
	s := &Store{Dir: t.TempDir(), Phase: "images"}
	_, err := s.Run(t.Context(), graph(&built, "left"), "top")
	for _, want := range []string{"left", "out of paint"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if slices.Contains(built, "top") {
		t.Errorf("built %v, want no top", built)
	}
	built = nil
	nodes := graph(&built, "")
	keys, err := Keys(nodes)
	if err != nil {
		t.Fatal(err)
	}
	if s.Has("left", keys["left"]) {
		t.Fatal("after the failure: left is kept, and it failed")
	}
	if !s.Has("base", keys["base"]) {
		t.Fatal("after the failure: base is not kept, and it was built")
	}
	if _, err := s.Run(t.Context(), nodes, "top"); err != nil {
		t.Error(err)
	}
	if slices.Contains(built, "base") {
		t.Errorf("built %v, want base from the cache", built)
	}
	if !slices.Contains(built, "top") {
		t.Errorf("built %v, want top too", built)
	}
	if _, err := os.Stat(filepath.Join(s.Path("left", keys["left"]), "half")); err == nil {
		t.Error("what the failed build left is in the result")
	}
}
