package behaviors

var IngressReachesRemoteBackends = declare(Behavior{
	ID: "ING-01", Level: Extended, Istio: ">=1.29", Needs: []Need{IngressGW, MeshAdmin}, Feature: FeatureIngress,
	Promise: "With AMBIENT_ENABLE_MULTI_NETWORK_INGRESS an ingress gateway reaches backends of the other cluster.",
	Sources: []Source{
		note("ambient-ingress-remotes", "true by default"),
		code("pilot features/ambient.go", "false by default in every release"),
	},
	Proof:   "With the flag requests are served remotely; without it they get 503, and the version's default is recorded.",
	Provoke: "Scale the local backends to 0 and call the ingress gateway.",
	State:   notAutomated("planned: it needs an ingress gateway in the fleet"),
})

var IngressCrossesTheWaypoint = declare(Behavior{
	ID: "ING-02", Level: Extended, Istio: ">=1.29", Needs: []Need{IngressGW, Waypoints, MeshAdmin}, Feature: FeatureIngress,
	Promise: "With istio.io/ingress-use-waypoint ingress traffic crosses exactly one waypoint, also to remote backends.",
	Sources: []Source{
		note("60162", ""),
		note("61092", "ingress gateways bypassed waypoint proxies"),
	},
	Proof:   "Exactly one mark and DENY holds; without the label there is none.",
	Provoke: "Label the service and call the ingress gateway.",
	State:   notAutomated("planned: it needs an ingress gateway in the fleet"),
})

var IngressLocalPath = declare(Behavior{
	ID: "ING-03", Level: Core, Istio: ">=1.27", Needs: []Need{IngressGW},
	Promise: "Multi-network does not change how an ingress gateway reaches local backends.",
	Sources: []Source{implied(postBeta)},
	Proof:   "Local backends are served with and without the global label.",
	Provoke: "Call the ingress gateway for a local service.",
	State:   notAutomated("planned: it needs an ingress gateway in the fleet"),
})

var IngressProtocols = declare(Behavior{
	ID: "ING-04", Level: Extended, Istio: ">=1.29", Needs: []Need{IngressGW}, Feature: FeatureIngress,
	Promise: "TLS, HTTP/2 and WebSocket through an ingress gateway reach remote backends.",
	Sources: []Source{implied(postBeta)},
	Proof:   "Each is served remotely as locally.",
	Provoke: "Call each through the ingress gateway with no local backends.",
	State:   notAutomated("planned: it needs an ingress gateway in the fleet"),
})

var IngressToSidecars = declare(Behavior{
	ID: "ING-05", Level: Limitation, Istio: ">=1.27", Needs: []Need{IngressGW, Sidecars},
	Promise: "What an ingress gateway does with backends of which some have sidecars is recorded.",
	Sources: []Source{issue("istio/istio#60609", "")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"both", "both kinds of backends serve"},
			{"ambient-only", "only ambient backends serve"},
			{"fails", "a share of requests fails"},
		},
		Unsafe: []Outcome{
			{"plaintext", "a backend is called without mutual TLS"},
		},
	},
	Proof:   "The distribution over both kinds.",
	Provoke: "Run a backend with a sidecar in one cluster.",
	State:   notAutomated("it needs a mesh with sidecars, which the fleet does not make"),
})
