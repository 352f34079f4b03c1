package behaviors

var IPv6Only = declare(Behavior{
	ID: "IPV-01", Level: Extended, Istio: ">=1.27", Needs: []Need{IPv6}, Feature: FeatureIPv6,
	Promise: "Clusters with IPv6 only work as those with IPv4.",
	Sources: []Source{code("cni.ambient.ipv6 is true by default", "")},
	Proof:   "The core behaviors on such a fleet; a gateway without an IPv6 address is not used, and no call hangs.",
	Provoke: "Create the clusters with IPv6 only.",
	State:   notAutomated("it needs clusters with IPv6, which the fleet does not make"),
})

var DualStackServices = declare(Behavior{
	ID: "IPV-02", Level: Extended, Istio: ">=1.27", Needs: []Need{IPv6}, Feature: FeatureDualStack,
	Promise: "Dual-stack services are reached by either family across clusters.",
	Sources: []Source{
		implied(pageIndex),
		code("ztunnel state.rs", "the caller's family is preferred"),
	},
	Proof:   "Calls by each family see both clusters.",
	Provoke: "Label a RequireDualStack service global.",
	State:   notAutomated("it needs clusters with IPv6, which the fleet does not make"),
})

var GatewayFamilies = declare(Behavior{
	ID: "IPV-03", Level: Extended, Istio: ">=1.30", Needs: []Need{IPv6}, Feature: FeatureDualStack,
	Promise: "Proxies never get a gateway address of a family they cannot reach.",
	Sources: []Source{note("eds-gateway-ip-family-filter", "")},
	Proof:   "IPv4-only waypoints use the IPv4 address; which one ztunnel uses is recorded.",
	Provoke: "Give the gateway addresses of both families.",
	State:   notAutomated("it needs clusters with IPv6, which the fleet does not make"),
})

var FamiliesMeetAtTheGateway = declare(Behavior{
	ID: "IPV-04", Level: Extended, Istio: ">=1.27", Needs: []Need{IPv6}, Feature: FeatureDualStack,
	Promise: "An IPv4-only cluster reaches an IPv6-only one through a gateway of both families.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "Calls in both directions succeed.",
	Provoke: "Give the gateway a host name or addresses of both families.",
	State:   notAutomated("it needs clusters with IPv6, which the fleet does not make"),
})

var HeadlessIPv6Waypoint = declare(Behavior{
	ID: "IPV-05", Level: Extended, Istio: ">=1.31", Needs: []Need{IPv6, Waypoints}, Feature: FeatureIPv6,
	Promise: "Headless services behind an IPv6 waypoint work.",
	Sources: []Source{note("60310", "")},
	Proof:   "Calls carry the mark and are served.",
	Provoke: "Bind a headless service to a waypoint in an IPv6 cluster.",
	State:   notAutomated("it needs clusters with IPv6, which the fleet does not make"),
})
