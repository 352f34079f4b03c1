// Package mutants breaks a mesh on purpose and mends it again, to see whether the specs notice: one that stays green on a mutant that its behavior names
// proves nothing.
//
// All is done through API servers, in one cluster unless said otherwise. What a spec makes itself (a Service, a policy) is spoilt as soon as it appears.
package mutants

import (
	"context"
	"fmt"
	"slices"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/mesh"
)

// Undo mends what a mutant broke and waits until it is mended. It may be called once.
type Undo func(ctx context.Context) error

// Mutant is a mutant of the catalog that can be applied.
type Mutant struct {
	behaviors.Mutant
	// Does is what is done here, where it is not word for word what the catalog says; else empty.
	Does string
	// Only are the behaviors it is aimed at, where it does not reach all that name it; nil for all.
	Only  []string
	apply func(ctx context.Context, f *mesh.Fleet) (Undo, error)
}

// Apply breaks the mesh. When it fails, what it did is undone already. A fleet needs two clusters at least.
func (m *Mutant) Apply(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	if len(f.Clusters) < 2 {
		return nil, fmt.Errorf("%s: mutants are made in a fleet of two clusters, this one has %d", m.ID, len(f.Clusters))
	}
	for _, c := range f.Clusters {
		if err := c.Connect(); err != nil {
			return nil, err
		}
	}
	undo, err := m.apply(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	return undo, nil
}

// Victims are the behaviors that have a spec and must not be green on the mutant, in the catalog's order.
func (m *Mutant) Victims() []*behaviors.Behavior {
	var all []*behaviors.Behavior
	for _, b := range behaviors.WithSpecs() {
		if slices.Contains(b.Mutants, m.ID) && (m.Only == nil || slices.Contains(m.Only, b.ID)) {
			all = append(all, b)
		}
	}
	return all
}

// All are the mutants that can be applied, in the order of their ids.
func All() []*Mutant { return all }

// ByID finds a mutant; nil if there is none that can be applied.
func ByID(id string) *Mutant {
	for _, m := range all {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// NotHere says why mutants of the catalog cannot be applied.
var NotHere = map[string]string{
	"M08": "a root CA of its own means new certificates for all of cluster2 and back: a fleet of its own is needed for it",
	"M09": "routes are set on nodes, which no API server does; M22 breaks the same promise",
	"M17": "no behavior that names it has a spec",
	"M20": "no behavior that names it has a spec",
}

var all = func() []*Mutant {
	var all []*Mutant
	for _, m := range []Mutant{
		{Mutant: behaviors.Mutant{ID: "M01"}, apply: spoilServices(1, removeGlobal)},
		{Mutant: behaviors.Mutant{ID: "M02"}, Does: "in cluster1", apply: noScopes},
		{Mutant: behaviors.Mutant{ID: "M03"}, apply: noGateway},
		{Mutant: behaviors.Mutant{ID: "M04"}, apply: noRemoteSecret},
		{Mutant: behaviors.Mutant{ID: "M05"}, apply: istiodEnv("AMBIENT_ENABLE_MULTI_NETWORK", "false")},
		{Mutant: behaviors.Mutant{ID: "M06"}, apply: noNetworkLabel},
		{Mutant: behaviors.Mutant{ID: "M07"}, apply: ztunnelEnv("NETWORK", "")},
		{Mutant: behaviors.Mutant{ID: "M10"}, Does: "services of cluster2 name a waypoint that is not there", apply: spoilServices(1, renameWaypoint)},
		{Mutant: behaviors.Mutant{ID: "M11"}, Does: "in cluster2", apply: spoilServices(1, removeGlobalFromWaypoint)},
		{Mutant: behaviors.Mutant{ID: "M12"}, Does: "in cluster2", apply: noRoutes},
		{Mutant: behaviors.Mutant{ID: "M13"}, Does: "in cluster1", apply: noOutlierDetection},
		{Mutant: behaviors.Mutant{ID: "M14"}, apply: noPolicies},
		{Mutant: behaviors.Mutant{ID: "M15"}, Does: "in cluster2, an Envoy stands before the gateway: it asks for no client certificate, hands plaintext to a pod, connects to istiod and ends single tunnels", Only: []string{"GW-01", "GW-02", "GW-03", "GW-08", "GW-13"}, apply: impostor},
		{Mutant: behaviors.Mutant{ID: "M16"}, Does: "the standing echo of cluster2 leaves the mesh", Only: []string{"ID-09"}, apply: leaveMesh},
		{Mutant: behaviors.Mutant{ID: "M18"}, Does: "istiod of cluster1 is scaled to 0", apply: noIstiod},
		{Mutant: behaviors.Mutant{ID: "M19"}, Does: "in cluster1", apply: istiodEnv("AMBIENT_ENABLE_MULTI_NETWORK_WAYPOINT", "false")},
		{Mutant: behaviors.Mutant{ID: "M21"}, Does: "servers of specs in cluster2 say that they are in cluster1", apply: liars},
		{Mutant: behaviors.Mutant{ID: "M22"}, Does: "in cluster1, the node's kubelet answers on the address of cluster2's node", Only: []string{"INST-14"}, apply: nat},
		{Mutant: behaviors.Mutant{ID: "M23"}, apply: allGlobal},
		{Mutant: behaviors.Mutant{ID: "M24"}, apply: keepNetworkLabel},
	} {
		m.Mutant = *behaviors.MutantByID(m.ID)
		all = append(all, &m)
	}
	return all
}()
