package plan

import (
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
		if want, _ := behaviors.ParseVersion(j.Istio); err != nil || v.Major != want.Major || v.Minor != want.Minor {
			t.Errorf("%s is not of Istio %s: %v %v", j.Version, j.Istio, v, err)
		}
		if m := image.FindStringSubmatch(j.Node); m == nil || m[1] != j.Kubernetes {
			t.Errorf("%q is no node of Kubernetes %s, or not by digest", j.Node, j.Kubernetes)
		}
		if !slices.Contains(behaviors.Profiles, behaviors.Profile(j.Profile)) {
			t.Errorf("%q is no profile", j.Profile)
		}
		three, all = three || j.Clusters == 3, all || j.Profile == string(behaviors.ProfileAll)
	}
	if !three || !all {
		t.Error("no job has three clusters, or none runs everything")
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
