package images

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images/build"
	"ambient.test/conformance/framework/mesh"
)

// What the table says of versions must be what the build modules pin.
func TestTableAgreesWithBuildModules(t *testing.T) {
	type row struct{ in, module, want string }
	rows := []row{
		{"k8s", "k8s.io/kubernetes", build.Kubernetes},
		{"metallb", "go.universe.tf/metallb", build.MetalLB},
		{"coredns", "github.com/coredns/coredns", "v1.14.2"},
		{"etcd", "go.etcd.io/etcd/server/v3", "v3.6.8"},
	}
	for version, r := range releases {
		rows = append(rows, row{r.Module, "istio.io/istio", version})
	}
	for _, c := range rows {
		t.Run(c.in, func(t *testing.T) {
			got, sum, err := build.Pinned(c.in, c.module)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("%s: got %s, want %s", c.module, got, c.want)
			}
			if !strings.HasPrefix(sum, "h1:") {
				t.Errorf("%s: got the checksum %q, want one of go.sum", c.module, sum)
			}
		})
	}
	if _, ok := releases[DefaultIstio]; !ok {
		t.Errorf("%s is the default and no release", DefaultIstio)
	}
	if _, _, err := build.Pinned("k8s", "example.org/nothing"); err == nil {
		t.Error("a module that is not there is pinned")
	}
}

// Every file of every image comes from a node that the graph has, and the graph has no circle.
// Planning reads no sources: it works from any folder.
func TestPlanToBuild(t *testing.T) {
	t.Chdir(t.TempDir())
	plan := func(istio string) *Set {
		t.Helper()
		s, err := Plan(t.Context(), Options{Mode: Build, CacheDir: t.TempDir(), Istio: istio})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, again, april := plan(DefaultIstio), plan(DefaultIstio), plan("v0.0.0-20260423205519-b01690e6db7d")
	if diff := cmp.Diff(a.refs, again.refs); diff != "" {
		t.Errorf("the same plan has other references:\n%s", diff)
	}
	for name, changes := range map[string]bool{Pilot: true, App: true, Node: true, Ztunnel: false, MetalLBSpeaker: false} {
		t.Run(name, func(t *testing.T) {
			if got := a.refs[name] != april.refs[name]; got != changes {
				t.Errorf("with another Istio: %s and %s, want them to differ: %v", a.refs[name], april.refs[name], changes)
			}
		})
	}
	if got, want := len(a.refs), len(Names()); got != want {
		t.Errorf("got %d references, want %d, one for each image", got, want)
	}
	for _, row := range a.List() {
		t.Run("listed "+row.Name, func(t *testing.T) {
			if row.Here {
				t.Error("nothing is built, yet it is in the cache")
			}
			if row.Source != Built {
				t.Errorf("got source %s, want %s", row.Source, Built)
			}
			if row.Ref == "" {
				t.Error("it has no reference")
			}
		})
	}
}

// What no registry has is built where others are pulled, unless one is given.
func TestPlanToPull(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, c := range map[string]struct {
		overrides map[string]string
		want      string
	}{
		"built": {nil, Built},
		"given": {map[string]string{Peer: "a/peer:1"}, Override},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Plan(t.Context(), Options{Mode: Pull, CacheDir: t.TempDir(), Overrides: c.overrides})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range s.List() {
				want := Pulled
				if row.Name == Peer {
					want = c.want
				}
				if row.Source != want || row.Ref == "" {
					t.Errorf("%s: got source %s and reference %q, want %s", row.Name, row.Source, row.Ref, want)
				}
			}
		})
	}
}

// Without a warm cache and without a checkout, what must be built is refused before anything is.
func TestRealizeWithoutSources(t *testing.T) {
	for mode, want := range map[string]string{
		Build: "run `amc images build` in a checkout once",
		Pull:  "or give one with --image peer=REFERENCE",
	} {
		t.Run(mode, func(t *testing.T) {
			cache := t.TempDir()
			t.Chdir(t.TempDir())
			s, err := Plan(t.Context(), Options{Mode: mode, CacheDir: cache, Engine: &engine.Engine{Host: "unix:///nowhere"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Realize(t.Context()); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want it to say %q", err, want)
			}
			left, err := os.ReadDir(cache)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) > 0 {
				t.Errorf("something was built: %v", left)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	got, err := ParseOverrides([]string{"ztunnel=example.org/z:1", "app=a/b@sha256:0"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{Ztunnel: "example.org/z:1", App: "a/b@sha256:0"}, got); diff != "" {
		t.Errorf("overrides (-want +got):\n%s", diff)
	}
	_, err = ParseOverrides([]string{"ztunel=x/y", "pilot", "app=", "app=a/b", "app=c/d"})
	if err == nil {
		t.Fatal("nonsense is accepted")
	}
	for _, want := range []string{`no image "ztunel"`, `"pilot" is not NAME=REFERENCE`, `"app" is given twice`, "ztunnel, proxyv2"} {
		t.Run(want, func(t *testing.T) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want it to say %q", err, want)
			}
		})
	}
}

func TestCheckRefusesBeforeAnythingIsMade(t *testing.T) {
	for want, o := range map[string]Options{
		"expected auto, pull or build": {Mode: "beg"},
		"known are v0.0.0-20260827":    {Istio: "1.99"},
		"use --images build":           {Mode: Pull, Istio: "v0.0.0-20260423205519-b01690e6db7d"},
		"--image app=Not A Reference":  {Overrides: map[string]string{"app": "Not A Reference"}},
	} {
		t.Run(want, func(t *testing.T) {
			if err := Check(o); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want it to say %q", err, want)
			}
		})
	}
	if err := Check(Options{}); err != nil {
		t.Error(err)
	}
}

// An image that the nodes were not built with goes from the engine into each of them whole; what
// fails on either side is told.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	fake := func(script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	loadAll := func(all map[string]mesh.ImageRef) error {
		return Load(t.Context(), &engine.Engine{Host: "unix:///nowhere"}, all, []string{"node1", "node2"})
	}
	load := func() error {
		return loadAll(map[string]mesh.ImageRef{
			Ztunnel: {Ref: "a/ztunnel:1", Source: Override}, App: {Ref: "a/app:1", Source: Built}})
	}
	fake(`case "$1" in save) shift; echo "archive of $*";; exec) cat > "` + dir + `/$3";; esac`)
	if err := load(); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"node1", "node2"} {
		if b, err := os.ReadFile(filepath.Join(dir, node)); err != nil {
			t.Error(err)
		} else if diff := cmp.Diff("archive of a/ztunnel:1\n", string(b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", node, diff)
		}
	}
	// Where others are pulled, the node image holds none that is built.
	if err := loadAll(map[string]mesh.ImageRef{Node: {Ref: "a/node:1", Source: Pulled}, App: {Ref: "a/app:1", Source: Pulled},
		Peer: {Ref: "a/peer:1", Source: Built}}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "node1")); err != nil || string(b) != "archive of a/app:1 a/peer:1\n" {
		t.Errorf("got %q, %v", b, err)
	}
	fake(`case "$1" in save) echo "no such image" >&2; exit 1;; exec) cat >/dev/null;; esac`)
	if err := load(); !strings.Contains(fmt.Sprint(err), "no such image") {
		t.Errorf("a failed save: got %v, want no such image", err)
	}
	fake(`case "$1" in save) yes | head -c 1000000;; exec) echo "no room" >&2; exit 1;; esac`)
	if err := load(); !strings.Contains(fmt.Sprint(err), "no room") {
		t.Errorf("a failed import: got %v, want no room", err)
	}
}
