package plan

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"ambient.test/conformance/behaviors"
)

func TestMatrix(t *testing.T) {
	jobs := Matrix()
	seen := map[Job]bool{}
	image := regexp.MustCompile(`^kindest/node:v(1\.\d+)\.\d+@sha256:[0-9a-f]{64}$`)
	three, all := false, false
	for _, j := range jobs {
		if seen[j] {
			t.Errorf("%+v stands twice", j)
		}
		seen[j] = true
		v, err := behaviors.ParseVersion(j.Version)
		if err != nil {
			t.Errorf("%s: %v", j.Version, err)
		}
		if got := fmt.Sprintf("%d.%d", v.Major, v.Minor); got != j.Istio {
			t.Errorf("%s is of Istio %s, want %s", j.Version, got, j.Istio)
		}
		if m := image.FindStringSubmatch(j.Node); m == nil {
			t.Errorf("%q is no node by digest", j.Node)
		} else if m[1] != j.Kubernetes {
			t.Errorf("%q is of Kubernetes %s, want %s", j.Node, m[1], j.Kubernetes)
		}
		if !slices.Contains(behaviors.Profiles, behaviors.Profile(j.Profile)) {
			t.Errorf("%q is no profile", j.Profile)
		}
		three, all = three || j.Clusters == 3, all || j.Profile == string(behaviors.ProfileAll)
	}
	if !three {
		t.Error("no job has three clusters")
	}
	if !all {
		t.Error("no job runs everything")
	}
	for _, c := range Supported {
		for _, k := range c.Ran {
			if !slices.Contains(c.Kubernetes, k) {
				t.Errorf("Istio %s ran on Kubernetes %s, which is outside the window", c.Istio, k)
			}
		}
		for _, k := range c.Kubernetes {
			for _, version := range c.Versions {
				if !slices.ContainsFunc(jobs, func(j Job) bool { return j.Version == version && j.Kubernetes == k }) {
					t.Errorf("Istio %s on Kubernetes %s can be installed and has no job", version, k)
				}
			}
		}
	}
}
