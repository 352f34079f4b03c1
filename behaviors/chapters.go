package behaviors

// Chapter is a group of behaviors.
type Chapter struct {
	Prefix string // of the ids
	Name   string // what it is about, in a few words
	Suite  string // the package below suites where its specs live
}

// Chapters in the order of the catalog.
var Chapters = []Chapter{
	{"INST", "Installation and topology", "install"},
	{"SCOPE", "Service scope", "scope"},
	{"LB", "Load balancing", "balancing"},
	{"FO", "Locality failover", "failover"},
	{"WP", "Waypoints across clusters", "waypoint"},
	{"GW", "East-west gateway", "gateway"},
	{"ID", "Identity and policy", "identity"},
	{"CP", "Control plane and remote secrets", "controlplane"},
	{"TEL", "Telemetry", "telemetry"},
	{"DNS", "Names and virtual addresses", "dns"},
	{"SVC", "Kinds of services", "services"},
	{"ING", "Ingress", "ingress"},
	{"TRF", "Protocols and traffic shapes", "protocols"},
	{"RES", "Restarts and loss", "resilience"},
	{"INT", "Interoperation", "interop"},
	{"IPV", "Address families", "families"},
	{"TOP", "More clusters and gateways", "topology"},
	{"UPG", "Version skew and upgrade", "upgrade"},
	{"CLN", "Clean-up", "cleanup"},
}

// ChapterOf finds a chapter by the prefix of its ids.
func ChapterOf(prefix string) (Chapter, bool) {
	for _, c := range Chapters {
		if c.Prefix == prefix {
			return c, true
		}
	}
	return Chapter{}, false
}

func chapterIndex(prefix string) int {
	for i, c := range Chapters {
		if c.Prefix == prefix {
			return i
		}
	}
	return len(Chapters)
}

// Profile is a named selection of behaviors.
type Profile string

const (
	ProfileSmoke    Profile = "smoke"    // is this a multicluster mesh at all; minutes
	ProfileCore     Profile = "core"     // the core level, and the limitation probes users most need to know; the default
	ProfileExtended Profile = "extended" // core and every claimed feature
	ProfileLimits   Profile = "limits"   // what is documented as unsupported or not respected
	ProfileAll      Profile = "all"      // everything
)

// Profiles are all profiles, the smallest first.
var Profiles = []Profile{ProfileSmoke, ProfileCore, ProfileExtended, ProfileLimits, ProfileAll}

// profileLevels says which levels a profile runs whole; single behaviors are added with Behavior.In.
var profileLevels = map[Profile][]Level{
	ProfileCore:     {Core},
	ProfileExtended: {Core, Extended},
	ProfileLimits:   {Limitation},
	ProfileAll:      Levels,
}

// Need is something a fleet must have for a behavior to be shown. framework/plan decides whether it is met.
type Need string

const (
	Waypoints     Need = "waypoints"      // waypoints can be deployed
	MeshCA        Need = "mesh-ca"        // certificates of the mesh's CA can be minted by the suite
	MeshAdmin     Need = "mesh-admin"     // istio-system and the mesh's configuration may be changed
	Disruptive    Need = "disruptive"     // mesh or nodes are broken on purpose; only on a fleet of our own
	NodeAccess    Need = "node-access"    // commands on the nodes: packet capture, firewall rules, netem
	SecondNode    Need = "second-node"    // a cluster with two nodes
	ThirdCluster  Need = "third-cluster"  // a third cluster
	SharedNetwork Need = "shared-network" // two clusters on one network with routed pods
	SameAddresses Need = "same-addresses" // services of all clusters get addresses from one and the same range
	Sidecars      Need = "sidecars"       // sidecars can be injected
	IngressGW     Need = "ingress"        // an ingress gateway can be deployed
	IPv6          Need = "ipv6"           // clusters with IPv6 addresses
	OtherVersion  Need = "other-version"  // a second Istio version at hand
	RealZtunnel   Need = "real-ztunnel"   // ztunnel itself, not a stand-in
	RealEnvoy     Need = "real-envoy"     // Istio's build of Envoy, not a stand-in
)

// NeedMeaning says in a sentence what a need asks for.
var NeedMeaning = map[Need]string{
	Waypoints:     "waypoints can be deployed",
	MeshCA:        "the suite can mint certificates of the mesh's CA",
	MeshAdmin:     "the suite may change istio-system and the mesh's configuration",
	Disruptive:    "the suite may break the mesh or its nodes, which it does only to a fleet of its own",
	NodeAccess:    "the suite can run commands on the nodes",
	SecondNode:    "a cluster has two nodes",
	ThirdCluster:  "the fleet has three clusters",
	SharedNetwork: "two clusters share a network with routed pods",
	SameAddresses: "the clusters give their services addresses from one and the same range",
	Sidecars:      "sidecars can be injected",
	IngressGW:     "an ingress gateway can be deployed",
	IPv6:          "the clusters have IPv6 addresses",
	OtherVersion:  "a second Istio version is at hand",
	RealZtunnel:   "ztunnel itself runs, not a stand-in",
	RealEnvoy:     "Istio's build of Envoy runs, not a stand-in",
}
