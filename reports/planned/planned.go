// Package planned makes the plan of a run from what its report says of the environment. The run
// asks it before anything happens and verify asks it afterwards, so what a report says and what was
// planned cannot disagree.
package planned

import (
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Environment is what a plan is told about a fleet. What is not known stays false, and what needs
// it is skipped.
func Environment(e *v1alpha2.Environment) plan.Environment {
	networks, ranges, nodes, v6, remote := map[string]bool{}, map[string]bool{}, 1, len(e.Clusters) > 0, false
	ours := e.Provider == v1alpha2.ProviderKind
	for _, c := range e.Clusters {
		networks[c.Network], ranges[c.ServiceCIDR] = true, true
		remote = remote || c.Primary != ""
		v6 = v6 && strings.Contains(c.ServiceCIDR, ":")
		if ours { // what others own is not ours to break, however many nodes it has
			nodes = max(nodes, c.Nodes)
		}
	}
	env := plan.Environment{
		Provider: e.Provider, Istio: e.Istio, Clusters: len(e.Clusters), Networks: len(networks), Nodes: nodes,
		Has: map[behaviors.Need]bool{
			behaviors.MeshAdmin: ours || e.MeshAdmin,
			behaviors.MeshCA:    istiodsSign(e),
			behaviors.IPv6:      v6,
			behaviors.Waypoints: true, behaviors.SameAddresses: len(ranges) == 1 && !ranges[""],
		},
	}
	if remote {
		env.Has[behaviors.RemoteCluster] = true
	}
	for _, n := range behaviors.OfOurFleets {
		env.Has[n] = ours
	}
	env.StandIns = e.StandInParts()
	return env
}

// istiodsSign reports whether every istiod signs certificates: then it does so for any
// ServiceAccount whose token the suite can ask for. In a mesh whose certificates come from another
// CA, istiods do not.
func istiodsSign(e *v1alpha2.Environment) bool {
	return !slices.ContainsFunc(e.IstiodFlags, func(f v1alpha2.Flag) bool { return f.Name == "ENABLE_CA_SERVER" && f.Value == "false" })
}

// maxFilters and maxFilter bound what planning a hostile report again costs: the patterns stand in
// the reason of every skip.
const (
	maxFilters = 200
	maxFilter  = 100
)

// Again plans the run of a report again. It leaves out claims of features that have no spec, which
// nothing can show.
func Again(r *v1alpha2.ConformanceReport) (*plan.Plan, error) {
	all := slices.Concat(r.Filters.Include, r.Filters.Exclude)
	if len(all) > maxFilters || slices.ContainsFunc(all, func(f string) bool { return len(f) > maxFilter }) {
		return nil, fmt.Errorf("it has more than %d filters, or one of more than %d characters", maxFilters, maxFilter)
	}
	env := Environment(&r.Environment)
	shown := map[behaviors.Feature]bool{}
	for _, b := range behaviors.WithSpecs() {
		shown[b.Feature] = true
	}
	for _, f := range r.Features {
		if name := behaviors.Feature(f.Name); name != "" && shown[name] {
			env.Features = append(env.Features, name)
		}
	}
	return plan.Compute(env, behaviors.Profile(r.Profile), plan.Filters{Include: r.Filters.Include, Exclude: r.Filters.Exclude})
}
