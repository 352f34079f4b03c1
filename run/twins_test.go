package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// What is no twin is refused before anything is created, with what differs.
func TestTwinsAreAlike(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*mesh.Fleet)
		certified bool
		want      string // in the error; empty = it is a twin
	}{
		"other addresses": {change: func(f *mesh.Fleet) { f.Clusters[0].GatewayAddresses = []string{"10.0.9.1"} }},
		"another version": {change: func(f *mesh.Fleet) { f.Istio = "1.30.0" },
			want: `is no twin of the fleet: they differ in istio: the fleet has "1.31.0", this one "1.30.0": `},
		"another image and region": {
			change: func(f *mesh.Fleet) {
				f.Images = map[string]mesh.ImageRef{"app": {Digest: "sha256:2"}}
				f.Clusters[1].Region = "r"
			},
			want: `they differ in clusters: the fleet has {"name":"cluster2","network":"n2"}, ` +
				`this one {"name":"cluster2","network":"n2","region":"r"}; images: ` +
				`the fleet has no others, this one {"name":"app","digest":"sha256:2"}: `,
		},
		"the same fleet": {change: func(f *mesh.Fleet) { f.RunID = "first" }, want: "is named twice (run first)"},
		"not proven":     {change: func(f *mesh.Fleet) { f.Isolation.Proven = false }, want: "the isolation of its networks is not proven"},
		"certified":      {change: func(*mesh.Fleet) {}, certified: true, want: "divided among 2 fleets: what one shows is not known of another"},
	} {
		t.Run(name, func(t *testing.T) {
			var files []string
			for _, id := range []string{"first", "twin"} {
				f := &mesh.Fleet{RunID: id, Provider: mesh.ProviderKind, Istio: "1.31.0", Isolation: &v1alpha2.Isolation{Proven: true},
					Clusters: []*mesh.Cluster{{Name: "cluster1", Network: "n1", Kubeconfig: "none", GatewayAddresses: []string{"10.0.0.1"}},
						{Name: "cluster2", Network: "n2", Kubeconfig: "none"}}}
				if id == "twin" {
					c.change(f)
				}
				file := filepath.Join(t.TempDir(), "fleet.yaml")
				if err := f.Save(file); err != nil {
					t.Fatal(err)
				}
				files = append(files, file)
			}
			r, err := prepare(Options{Fleet: files[0], Twins: files[1:], Certified: c.certified, Times: spec.DefaultTimes})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := r.head().Environment.Twins; len(got) != 1 || got[0].RunID != "twin" || !got[0].Isolation.Proven {
					t.Errorf("the report has the twins %+v", got)
				}
				return
			}
			var usage UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a usage error with %q", err, c.want)
			}
		})
	}
}

// A result and its evidence are of the fleet on which the spec ran.
func TestResultOfATwin(t *testing.T) {
	r := twoPlanned(t)
	twin := *r.first()
	twin.RunID = "twin"
	r.Out = io.Discard
	one := func(id string) spec.Result {
		return spec.Result{Behavior: behaviors.ByID(id), Verdict: v1alpha2.Conformant, Took: 1, Expectations: 1, Controls: 1}
	}
	r.record(t.Context(), &twin, one("SCOPE-01"))
	r.record(t.Context(), r.first(), one("LB-01"))
	var got []string
	for _, b := range r.bundle.Report().Behaviors {
		if b.Attempts > 0 {
			got = append(got, b.ID+" "+b.Twin)
		}
	}
	slices.Sort(got)
	if want := "[LB-01  SCOPE-01 twin]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// An error of one fleet names it, if it is a twin, and does not interrupt the other.
func TestEachNamesTheTwin(t *testing.T) {
	r := &run{grounds: []*ground{{runID: "first"}, {runID: "other"}}}
	for broken, want := range map[string]string{"first": "gone", "other": "the twin other: gone"} {
		err := r.each(t.Context(), func(ctx context.Context, g *ground) error {
			if g.runID == broken {
				return errors.New("gone")
			}
			time.Sleep(10 * time.Millisecond)
			return ctx.Err()
		})
		if fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestIdle(t *testing.T) {
	before := procfs.CPUStat{User: 1, Idle: 10}
	after := procfs.CPUStat{User: 1.5, System: 1, SoftIRQ: 0.5, Idle: 13, Iowait: 2, Nice: 1}
	if got := idle(before, after); got != 0.75 {
		t.Errorf("got %v, want 6 of 8 s", got)
	}
	if _, err := os.Stat("/proc/stat"); err == nil && room(&mesh.Fleet{Kind: &mesh.KindState{DockerHost: "unix:///run/docker.sock"}}) == nil {
		t.Error("nobody asks this machine for room")
	}
	if room(&mesh.Fleet{}) != nil {
		t.Error("this machine is asked for room on another")
	}
}
