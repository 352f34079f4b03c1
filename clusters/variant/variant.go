// Package variant holds the shapes that a fleet of ours can have beside the default one.
//
// A spec that holds on the default fleet may still rest on a detail of it: a name, a number, a
// domain. Each variant changes one such detail, so the specs show on all of them together that they
// mean the promise and not our laboratory.
package variant

import (
	"fmt"
	"slices"
	"strings"
)

// Shape is how a fleet differs from the default one; the zero value does not differ.
type Shape struct {
	Domain, TrustDomain string // empty: cluster.local
	Revision            string // of istiod; empty: the default one
	Replicas            int32  // pods of istiod, of the gateway, and of the echo server; 0: one
	Strict              bool   // a mesh-wide PeerAuthentication demands mutual TLS
	PodSecurity         string // level that the suite's namespaces enforce; empty: none
	OneLocality         bool   // all clusters are in the same region and zone
	Nodes               int    // of each cluster; 0: one
	Networks            int    // the last one has all clusters that are left; 0: each has its own
	DualStack           bool   // pods, services, transit and gateways have IPv4 and IPv6 addresses
	Remote              bool   // the second cluster has no istiod: that of the first serves it
	Unlisted            int    // clusters of the mesh that the fleet file does not name as clusters to test
}

// Variant is one difference, with a name for `amc up --variant`.
type Variant struct {
	Name, What string
	set        func(*Shape)
	without    []string // variants that it cannot be combined with
}

// All are the variants, in the order of help and documentation.
var All = []Variant{
	{Name: "domain", What: "the clusters' DNS domain is corp.example, the trust domain mesh.example",
		set: func(s *Shape) { s.Domain, s.TrustDomain = "corp.example", "mesh.example" }},
	{Name: "revision", What: "istiod has the revision stable; gateways and waypoints are labeled with it",
		set: func(s *Shape) { s.Revision = "stable" }},
	{Name: "replicas", What: "each cluster has two pods of istiod, of the east-west gateway and of the echo server",
		set: func(s *Shape) { s.Replicas = 2 }},
	{Name: "strict", What: "a mesh-wide PeerAuthentication demands mutual TLS (STRICT)",
		set: func(s *Shape) { s.Strict = true }},
	{Name: "restricted", What: "the suite's namespaces enforce PodSecurity restricted",
		set: func(s *Shape) { s.PodSecurity = "restricted" }},
	{Name: "regions", What: "all clusters are in the same region and zone",
		set: func(s *Shape) { s.OneLocality = true }},
	{Name: "nodes", What: "each cluster has two nodes; servers are not on the node of their gateway and of most clients",
		set: func(s *Shape) { s.Nodes = 2 }},
	{Name: "single-network", What: "all clusters are on one network: pods have distinct addresses and routes, and no gateway is between them",
		set: func(s *Shape) { s.Networks = 1 }},
	{Name: "shared-network", What: "the first of three clusters has a network of its own; the others share another, as with single-network",
		set: func(s *Shape) { s.Networks = 2 }, without: []string{"single-network", "nodes", "larger"}},
	{Name: "primary-remote", What: "the second cluster has no istiod: that of the first serves it, through a classic east-west gateway",
		set: func(s *Shape) { s.Remote = true }, without: []string{"revision", "single-network", "shared-network", "dual-stack", "larger"}},
	{Name: "dual-stack", What: "pods, services, the transit network and gateways have IPv4 and IPv6 addresses",
		set: func(s *Shape) { s.DualStack = true }},
	{Name: "larger", What: "the mesh has one cluster more than the fleet file names",
		set: func(s *Shape) { s.Unlisted = 1 }},
}

// Names are the names of all variants.
func Names() (all []string) {
	for _, v := range All {
		all = append(all, v.Name)
	}
	return all
}

func find(name string) *Variant {
	if i := slices.IndexFunc(All, func(v Variant) bool { return v.Name == name }); i >= 0 {
		return &All[i]
	}
	return nil
}

// Combine returns the shape that several variants make together, with their names in the order of
// the table. It refuses unknown names, and variants that cannot be combined.
func Combine(names []string) (Shape, []string, error) {
	var s Shape
	for _, name := range names {
		if find(name) == nil {
			return Shape{}, nil, fmt.Errorf("there is no variant %q: choose from %s", name, strings.Join(Names(), ", "))
		}
	}
	var chosen []string
	for _, v := range All {
		if !slices.Contains(names, v.Name) {
			continue
		}
		for _, other := range v.without {
			if slices.Contains(names, other) {
				return Shape{}, nil, fmt.Errorf("the variants %s and %s cannot be combined: choose one of them", v.Name, other)
			}
		}
		v.set(&s)
		chosen = append(chosen, v.Name)
	}
	return s, chosen, nil
}

// Help lists the variants, one line each.
func Help() string {
	var b strings.Builder
	for _, v := range All {
		fmt.Fprintf(&b, "  %-15s %s\n", v.Name, v.What)
	}
	return b.String()
}

// Markdown is the table of variants for the documentation.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| variant | what is different |\n| --- | --- |\n")
	for _, v := range All {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v.Name, v.What)
	}
	return b.String()
}
