package plan

import (
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
)

// Combination is one Istio minor with the Kubernetes minors the suite is run on with it, the newest
// first.
type Combination struct {
	Istio      string
	Kubernetes []string
	// Versions are those of this minor that `amc up --istio` can install, the newest first. Without
	// any, the suite runs only on existing meshes: their reports are within the support window, and
	// a nightly run has no job for them.
	Versions []string
	// Ran are the Kubernetes minors on which the core profile was really seen to run with this minor.
	// The others are within the window because Istio supports them.
	Ran []string
}

// Supported is the support window: verify accepts reports of these minors of Istio, preflight warns
// outside of these combinations, and the nightly matrix runs those that it can. `amc matrix` prints
// it for CI systems.
var Supported = []Combination{
	{"1.31", []string{"1.36", "1.35", "1.34"}, []string{"v0.0.0-20260827124520-eed52ebb66ad"}, []string{"1.36"}},
	{"1.30", []string{"1.36", "1.35", "1.34"}, nil, nil},
	{"1.29", []string{"1.35", "1.34"}, nil, nil},
}

// Minors are the minors of Istio of the support window, the newest first.
func Minors() (all []string) {
	for _, c := range Supported {
		all = append(all, c.Istio)
	}
	return all
}

// Beyond says that an Istio version is outside of [Supported]; empty if it is within, or if it is
// none.
func Beyond(istio string) string {
	v, err := behaviors.ParseVersion(istio)
	if err != nil {
		return ""
	}
	window := Minors()
	if minor := fmt.Sprintf("%d.%d", v.Major, v.Minor); !slices.Contains(window, minor) {
		return fmt.Sprintf("Istio %s is outside of the support window (%s): no certificate is given for it", minor, strings.Join(window, ", "))
	}
	return ""
}

// nodes are kind's node images by Kubernetes minor: each the default of the release of kind that
// brought it.
var nodes = map[string]string{
	"1.36": "kindest/node:v1.36.1@sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5",
	"1.35": "kindest/node:v1.35.0@sha256:452d707d4862f52530247495d180205e029056831160e22870e37e3f6c1ac31f",
	"1.34": "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a",
}

// Job is one cell of the matrix.
type Job struct {
	Istio      string `json:"istio"`      // minor
	Version    string `json:"version"`    // for `amc up --istio`
	Kubernetes string `json:"kubernetes"` // minor
	Node       string `json:"node"`       // for `amc up --image node=`
	Clusters   int    `json:"clusters"`
	Profile    string `json:"profile"`
}

// Matrix returns the jobs of a nightly run: every combination of [Supported] that can be installed,
// with two clusters and the profile extended. The newest also runs with three clusters, and with
// the profile all.
func Matrix() []Job {
	jobs := []Job{}
	for _, c := range Supported {
		for _, version := range c.Versions {
			for _, k := range c.Kubernetes {
				job := Job{c.Istio, version, k, nodes[k], 2, "extended"}
				jobs = append(jobs, job)
				if len(jobs) == 1 {
					three, all := job, job
					three.Clusters, all.Profile = 3, "all"
					jobs = append(jobs, three, all)
				}
			}
		}
	}
	return slices.Clip(jobs)
}
