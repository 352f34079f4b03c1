package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/clusters/images"
	"ambient.test/conformance/framework/mesh"
)

// What can never work is refused as usage, before an engine is asked for anything.
func TestUpRefusesAtOnce(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"up --clusters 0", "a fleet has 1 to"},
		{"up --clusters 99", "a fleet has 1 to"},
		{"up --subnet 10.89.16.0/28", "not an IPv4 range of /20"},
		{"up --subnet here", "not an IPv4 range of /20"},
		{"up --variant moon", `there is no variant "moon"`},
		{"up --variant single-network --distinct-cidrs=false", "needs distinct addresses"},
		{"up --variant single-network --clusters 1", "needs 2 clusters or more"},
		{"up --variant shared-network --clusters 2", "needs 3 clusters or more"},
		{"up --variant shared-network,single-network", "cannot be combined"},
		{"up --variant primary-remote --clusters 3", "needs two clusters, a primary and its remote"},
		{"up --variant primary-remote,single-network", "cannot be combined"},
		{"up --variant larger --clusters 9", "a fleet has 1 to"},
		{"up --engine podman", "must be one of: auto, docker, private"},
		{"up --images beg", "expected auto, pull or build"},
		{"up --image ztunel=x/y", `no image "ztunel"`},
		{"up --istio 1.99", "known are"},
		{"images build --image app", "NAME=REFERENCE"},
		{"images push", "--to is missing"},
		{"images list -o xml", "expected table or json"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := root()
			r.SetArgs(append(strings.Fields(c.args), artifactsOf(c.args, t.TempDir())...))
			err := r.Execute()
			var e exit
			if !errors.As(err, &e) {
				t.Fatalf("amc %s: got %v, want an error with an exit code", c.args, err)
			}
			if e.code != exitUsage {
				t.Errorf("amc %s: got exit code %d, want %d", c.args, e.code, exitUsage)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("amc %s: got %v, want an error with %q", c.args, err, c.want)
			}
		})
	}
}

func artifactsOf(args, dir string) []string {
	if strings.HasPrefix(args, "up") {
		return []string{"--artifacts", dir}
	}
	return nil
}

// A fleet that is up is only used when it is the one that was asked for.
func TestUpTellsAnotherFleet(t *testing.T) {
	f := &mesh.Fleet{
		Istio: "v1", Clusters: []*mesh.Cluster{{PodCIDR: "10.0.0.0/16"}, {PodCIDR: "10.0.0.0/16"}},
		Images: map[string]mesh.ImageRef{"app": {Ref: "a/b"}}, Variants: []string{"domain", "strict"},
	}
	asked := func(flags ...string) func(string) bool {
		return func(q string) bool { return strings.Contains(strings.Join(flags, ","), q) }
	}
	for _, c := range []struct {
		o    upOptions
		want string
	}{
		{upOptions{clusters: 3, asked: asked("clusters")}, "it has 2 clusters, not 3"},
		{upOptions{imageFlags: imageFlags{istio: "v2"}, asked: asked("istio")}, "its Istio is v1, not v2"},
		{upOptions{variants: []string{"larger"}, asked: asked("variant")}, "its variants are domain, strict, not larger"},
		{upOptions{variants: []string{"strict", "domain"}, asked: asked("variant")}, ""},
		{upOptions{asked: asked("variant")}, "its variants are domain, strict, not none"},
		{upOptions{asked: asked()}, ""},
		{upOptions{distinct: true, asked: asked("distinct-cidrs")}, "the same, not distinct"},
		{upOptions{imageFlags: imageFlags{overrides: []string{"app=c/d"}}, asked: asked()}, "its image app is a/b, not c/d"},
		{upOptions{clusters: 3, imageFlags: imageFlags{istio: "v2", overrides: []string{"app=a/b"}}, asked: asked()}, ""},
	} {
		err := c.o.differs(f)
		wantError(t, err, c.want)
	}
}

// Two at once in one folder would take each other's fleet away, or write one bundle.
func TestOneAtATime(t *testing.T) {
	fleet := goneFleet(t)
	dir := filepath.Dir(fleet)
	release, err := lockDirs(dir, dir+"/.")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"up", "--artifacts", dir}, {"down", "--artifacts", dir}, {"mutate", "M01", "--fleet", fleet, "--allow-mesh-changes"},
		{"run", "--fleet", fleet, "--artifacts", dir}, {"run", "--fleet", fleet, "--artifacts", t.TempDir()},
	} {
		refused(t, exitUnknown, "another amc is at work in "+dir, args...)
	}
	release()
	if release, err = lockDirs(dir); err != nil {
		t.Fatal(err)
	}
	release()
}

// A fleet that is made anew is like the one before: shape, images by the user's choice, run id.
func TestLikeness(t *testing.T) {
	f := &mesh.Fleet{RunID: "abc", Istio: images.DefaultIstio, Variants: []string{"strict"},
		Kind: &mesh.KindState{TransitCIDR: "10.89.16.0/24"}, Images: map[string]mesh.ImageRef{
			"ztunnel": {Ref: "mine:1", Source: images.Override}, "pilot": {Ref: "built:2", Source: images.Built}},
		Clusters: []*mesh.Cluster{{Name: "cluster1", PodCIDR: "10.10.0.0/16"}, {Name: "cluster2", PodCIDR: "10.20.0.0/16"}}}
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	o := likeness(f)
	got := []any{o.runID, o.istio, o.variants, o.overrides, o.clusters, o.distinct, o.artifacts, o.subnet}
	want := []any{"abc", images.DefaultIstio, []string{"strict"}, []string{"ztunnel=mine:1"}, 2, true, filepath.Dir(path), "10.89.16.0/20"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := o.check(); err != nil {
		t.Errorf("the options are refused: %v", err)
	}
	if err := o.differs(f); err != nil {
		t.Errorf("it would be another fleet: %v", err)
	}
}
