package behaviors

import (
	"maps"
	"slices"
)

// Need is something a fleet must have before a behavior can be shown. Package plan decides whether
// the fleet has it.
type Need string

// OfOurFleets are the needs that only a fleet meets that the suite has made. On clusters of others
// nobody can meet them, so a certificate does not want what they keep from running.
var OfOurFleets = []Need{Disruptive, NodeAccess, CAKey, IstioCharts, PeerImage}

// NeedsOurFleet says that a behavior cannot be shown on clusters of others.
func (b *Behavior) NeedsOurFleet() bool {
	return slices.ContainsFunc(b.Needs, func(n Need) bool { return slices.Contains(OfOurFleets, n) })
}

// NeedKind says what is lacking when a need is not met. A skip has the class of the same name.
type NeedKind string

// Kinds of needs.
const (
	NeedTopology NeedKind = "topology" // the fleet has another shape, or the suite may not change it
	NeedFeature  NeedKind = "feature"  // an optional capability is missing
	NeedReal     NeedKind = "stand-in" // a stand-in runs in place of the real component
)

// NeedInfo is all the catalog says of a need.
type NeedInfo struct {
	Need    Need
	Kind    NeedKind
	Meaning string // what a fleet that meets it has, as a clause
	Lacking string // why a behavior is skipped without it, as a clause
}

// Needs that behaviors name.
var (
	Waypoints = need("waypoints", NeedFeature,
		"waypoints can be deployed",
		"no waypoint can be deployed")
	MeshCA = need("mesh-ca", NeedTopology,
		"the suite can mint certificates of the mesh's CA",
		"the mesh's CA is not at hand to mint certificates")
	CAKey = need("ca-key", NeedTopology,
		"the suite has the key of the mesh's CA, as it has of a mesh that it installed",
		"it needs certificates that istiod does not sign, and the key of the mesh's CA is not ours")
	MeshAdmin = need("mesh-admin", NeedTopology,
		"the suite may change istio-system and the mesh's configuration",
		"it changes istio-system, which is not ours to change")
	Disruptive = need("disruptive", NeedTopology,
		"the suite may break the mesh or its nodes, which it does only to a fleet of its own",
		"it breaks the mesh or its nodes, which are not ours to change")
	NodeAccess = need("node-access", NeedTopology,
		"the suite can run commands on the nodes",
		"it runs commands on the nodes, which cannot be done here")
	IstioCharts = need("istio-charts", NeedTopology,
		"the suite has the charts from which it installed the mesh",
		"it installs a gateway from Istio's charts, which the suite has for its own fleets only")
	PeerImage = need("peer-image", NeedTopology,
		"its nodes have the image of the suite's own client and server, which no registry has",
		"it needs the suite's own client and server, whose image only the suite's own fleets have")
	TwoNetworks = need("two-networks", NeedTopology,
		"the fleet has two primary clusters or more, each on a network of its own; every promise between clusters needs it",
		"it is promised between clusters on networks of their own")
	RemoteCluster = need("remote-cluster", NeedTopology,
		"a cluster has no istiod of its own: that of another one serves it",
		"it needs a cluster that the istiod of another one serves, here each has its own")
	SecondNode = need("second-node", NeedTopology,
		"a cluster has two nodes",
		"it needs a cluster with two nodes")
	ThirdCluster = need("third-cluster", NeedTopology,
		"the fleet has three clusters",
		"it needs three clusters")
	SingleNetwork = need("single-network", NeedTopology,
		"all clusters are on one network with routed pods",
		"it needs all clusters on one network, and here they are on several")
	SharedNetwork = need("shared-network", NeedTopology,
		"two clusters share a network with routed pods, and another one has its own",
		"it needs two clusters on one network beside one on another, which this fleet has not")
	SameAddresses = need("same-addresses", NeedTopology,
		"the clusters give their services addresses from one and the same range",
		"it needs clusters that give their services addresses from the same range, and these are not known to")
	Sidecars = need("sidecars", NeedFeature,
		"sidecars can be injected",
		"no sidecar can be injected")
	IngressGW = need("ingress", NeedFeature,
		"an ingress gateway can be deployed",
		"no ingress gateway can be deployed")
	IPv6 = need("ipv6", NeedTopology,
		"the clusters have IPv6 addresses",
		"the clusters have no IPv6 addresses")
	OtherVersion = need("other-version", NeedFeature,
		"a second Istio version is at hand",
		"no second Istio version is at hand")
	RealZtunnel = need("real-ztunnel", NeedReal,
		"ztunnel itself runs, not a stand-in",
		"a stand-in for ztunnel cannot show it")
	RealEnvoy = need("real-envoy", NeedReal,
		"Istio's build of Envoy runs, not a stand-in",
		"upstream Envoy in place of Istio's build cannot show it")
)

var needInfo = map[Need]NeedInfo{}

func need(n Need, kind NeedKind, meaning, lacking string) Need {
	needInfo[n] = NeedInfo{n, kind, meaning, lacking}
	return n
}

// OtherTopologies are the needs for a topology that is not supported. No fleet meets two of them, nor
// one of them and [TwoNetworks].
var OtherTopologies = []Need{SingleNetwork, SharedNetwork, RemoteCluster}

// AllNeeds are the needs of a behavior: those that it names, and that for two networks, without
// which nothing crosses clusters as promised. A behavior of another topology goes without it.
func (b *Behavior) AllNeeds() []Need {
	if slices.ContainsFunc(b.Needs, func(n Need) bool { return slices.Contains(OtherTopologies, n) }) {
		return b.Needs
	}
	return append([]Need{TwoNetworks}, b.Needs...)
}

// Info returns what the catalog says of the need; the zero value for a need it does not know.
func (n Need) Info() NeedInfo { return needInfo[n] }

// Needs returns all needs by name.
func Needs() []Need { return slices.Sorted(maps.Keys(needInfo)) }
