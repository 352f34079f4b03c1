package behaviors

var WaypointsOfOneNameServeEverywhere = declare(Behavior{
	ID: "WP-01", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "With identically named waypoints in every cluster, every request to the service crosses one, wherever it is served.",
	Sources: []Source{
		doc(pageIndex, "All clusters must have identically named waypoint deployments"),
		doc(pageIndex, "Traffic routing relies on consistent waypoint naming conventions"),
	},
	Proof: "Each call from each cluster carries the mark of a waypoint, for a global service and for a local " +
		"one; without the waypoint label none does.",
	Provoke: "Deploy a waypoint of the same name in both clusters with an HTTPRoute that adds a header naming the cluster.",
	Hazards: "A mesh that bypasses waypoints answers 200 with mutual TLS: only the missing mark shows it.",
	Mutants: []string{"M06", "M07", "M10", "M12", "M27"}, State: Proven,
})

var PolicyAppliesExactlyOnce = declare(Behavior{
	ID: "WP-02", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints}, In: []Profile{ProfileSmoke},
	Promise: "A request crosses exactly one waypoint, also when it is served by another cluster.",
	Sources: []Source{
		issue("istio/istio#60985",
			"the guarantee is that request will go through waypoint exactly once and there is no guarantee which waypoint it's going to be"),
		issue("istio/istio#58065", ""),
	},
	Proof:   "For all four pairs of client and server cluster the mark is there exactly once.",
	Provoke: "As WP-01; count the values of the header.",
	Hazards: "Judge by the number of marks, not only by their presence.",
	Mutants: []string{"M12", "M27"}, State: Proven,
})

var WhichWaypointServes = declare(Behavior{
	ID: "WP-03", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "A request crosses the waypoint of the client's cluster while that has a ready pod, and otherwise that of another cluster.",
	Sources: []Source{
		note("57537", "Enabled waypoints to route traffic to remote networks"),
		issue("istio/istio#58065", ""),
	},
	Proof: "Each cluster's clients get every answer, local and remote, through the waypoint of their own cluster; with that waypoint at " +
		"0, through those of the others, whose own clients see no change; with it back, through their own again.",
	Provoke: "As WP-01; compare the header with the client's cluster. Then scale the waypoint of that cluster to 0.",
	Hazards: "1.27 used the waypoint of the serving cluster (blog 2025/ambient-multicluster: \"we decided on the latter\").",
	Mutants: []string{"M10"}, State: Proven,
})

var WaypointsAreEverywhereOrNowhere = declare(Behavior{
	ID: "WP-04", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "Services that name waypoints which exist in one cluster only, or nowhere, are not supported: what happens is " +
		"recorded. No request passes a policy on the Service while its status says that a waypoint is bound to it.",
	Sources: []Source{
		doc(pageIndex, "Universal waypoint deployments are assumed"),
		doc(pageIndex, "Traffic routing relies on consistent waypoint naming conventions"),
		issue("istio/istio#60626", ""),
		issue("istio/istio#60628", ""),
	},
	Outcomes: &Outcomes{
		PerRow: true,
		Acceptable: []Outcome{
			{"enforced", "every call that the policy forbids is refused with 403"},
			{"served", "every call that it lets pass is answered, in all clusters"},
			{"fails-closed", "no call that the policy forbids is answered, some because they fail"},
			{"partly-served", "some calls that the policy lets pass fail"},
			{"unserved", "all calls that the policy lets pass fail"},
			{"open-locally", "only pods of the client's cluster answer calls that the policy forbids; the Service's status says that " +
				"no waypoint is bound"},
			{"open-in-part", "some calls that the policy forbids are answered, not only by pods of the client's cluster, and the others fail; the " +
				"Service's status says that no waypoint is bound"},
			{"open", "pods of all clusters answer calls that the policy forbids; the Service's status says that no waypoint is bound"},
		},
		Unsafe: []Outcome{
			{"bypassed", "a call that the policy forbids is answered though the Service's status says that a waypoint is bound"},
		},
	},
	Proof: "In each cluster the Service names the waypoint that all have, one that does not exist, or one that only this cluster has: " +
		"all nine combinations, with a DENY policy on the Service in every cluster. In each of them, for a client that the policy " +
		"forbids and one that it lets pass, in every cluster, the outcome is recorded. Where all name the one that all have, 403 and " +
		"answers from all clusters are the control.",
	Provoke: "Name a waypoint that does not exist in one cluster's Service, forbid a client by a policy on it, and call from both.",
	Hazards: "A policy on a Service is enforced by its waypoint only. The control plane needs a moment: what is unsafe counts 10 s " +
		"after the last change.",
	Mutants: []string{"M14"}, State: Proven,
})

var WaypointUsesDoubleHBONE = declare(Behavior{
	ID: "WP-05", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "A waypoint reaches remote networks by double HBONE, as itself.",
	Sources: []Source{note("57537", "Enabled waypoints to route traffic to remote networks")},
	Proof: "Of 24 TCP connections through a waypoint from each cluster, the ztunnel of the serving cluster counts each that " +
		"crosses with mutual TLS and the waypoint's identity, and the waypoint opens as many tunnels to hosts outside its network. " +
		"Without the waypoint the identity is the client's, and the waypoint opens none.",
	Provoke: "Call a remote-only service through a waypoint; read the destination's access log and /clusters of the waypoint's Envoy.",
	Hazards: "These listeners are built in every waypoint, also with multi-network off.",
	Mutants: []string{"M10", "M19", "M77"}, State: Proven,
})

var WaypointConfigurationIsNotSynced = declare(Behavior{
	ID: "WP-06", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "Routes and policies of a waypoint are not copied between clusters: what is configured in one cluster " +
		"applies to the requests of that cluster's clients only, and a policy only at the destination does not " +
		"protect it from the others.",
	Sources: []Source{
		doc(pageIndex, "Waypoint configurations must be synchronized manually across clusters"),
		issue("istio/istio#61610", "silently drops the destination's authorization policy"),
		code("pilot ambient multicluster.go", "authorization policies and routes are read from the local cluster only"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"client-side", "what only one cluster configures applies to the clients of that cluster, wherever they are served, and to no others"},
			{"everywhere", "what one cluster configures applies to the clients of all of them"},
			{"server-side", "what only one cluster configures applies to all requests that this cluster serves"},
		},
		Unsafe: []Outcome{
			{"nowhere", "what a cluster configures does not even apply to its own clients"},
			{"everywhere-missing", "what all clusters configure alike does not apply to some of their clients"},
		},
	},
	Proof: "A DENY policy, a RequestAuthentication, an HTTPRoute and a DestinationRule, each in one cluster only and " +
		"in each direction: it applies there, and what clients of the other cluster see is recorded; the same in all clusters applies to all.",
	Provoke: "Apply an AuthorizationPolicy to the service in cluster2 only and call from a forbidden client of cluster1.",
	Hazards: "Users read a policy at the destination as protection of the destination; with a waypoint at the client's side it is not.",
	Mutants: []string{"M14", "M73"}, State: Proven,
})

var ServiceBehindGlobalWaypoint = declare(Behavior{
	ID: "WP-07", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "A local service that shares a global waypoint may be treated as global: what happens to it while the local " +
		"waypoint is gone is recorded.",
	Sources: []Source{
		doc(pageIndex, "If a service's waypoint is marked as global, that service will also be global").during("<1.29"),
		doc(pageIndex, "This can lead to unintended cross-cluster traffic in single-network multi-cluster deployments").during(">=1.29"),
		issue("istio/istio#57710", ""),
		code("pilot ambientindex.go", "the gateway lists no chain for the local service, so it answers 503"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"fails-closed", "with its waypoint gone the local service cannot be reached"},
			{"stays-local", "the local service is served by its own cluster"},
		},
		Unsafe: []Outcome{
			{"served-remotely", "another cluster serves a service that is local"},
			{"bypassed", "the local service is served without crossing a waypoint"},
		},
	},
	Proof: "With both waypoints up, all calls stay local; with the local waypoint at 0 the outcome is " +
		"recorded, while a global service beside it is served by the other cluster's waypoint.",
	Provoke: "Bind a local and a global service to one global waypoint and scale that waypoint to 0 in one cluster.",
	Hazards: "The page's older sentence and the code disagree; 1.27.0 to 1.28.0 sent the local service to remote pods.",
	Mutants: []string{"M10", "M11", "M23"}, State: Proven,
})

var GlobalServiceNeedsGlobalWaypoint = declare(Behavior{
	ID: "WP-08", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "The waypoint of a global service must be marked global too. Then the other cluster's waypoint takes over " +
		"when the local one is gone.",
	Sources: []Source{
		doc(pageFailover, "this step is specific to multicluster deployment"),
		issue("istio/istio#58064", ""),
	},
	Proof:   "With the local waypoint at 0 all calls succeed when the waypoint's Service is labeled, and all fail when it is not.",
	Provoke: "Scale the local waypoint to 0 with and without istio.io/global=true on its Service.",
	Hazards: "While the local waypoint is up the missing label does not show.",
	Mutants: []string{"M11"}, State: Proven,
})

var LabelOnGatewayReachesService = declare(Behavior{
	ID: "WP-09", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureWaypointVariants,
	Promise: "The global label on a waypoint's Gateway reaches its Service and stays there.",
	Sources: []Source{implied(pageIndex)},
	Proof: "With the label neither on Gateway nor Service, and the waypoint of one cluster at 0, its client's calls are reset. With the " +
		"label on the Gateway in every cluster all calls succeed through the others' waypoints, also after another change of the " +
		"Gateway. Without it they are reset again.",
	Provoke: "Label the Gateway instead of the Service.",
	Mutants: []string{"M57"}, State: Proven,
})

var WorkloadWaypointsAcrossNetworks = declare(Behavior{
	ID: "WP-10", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureWaypointVariants,
	Promise: "What waypoints for workloads do across networks is recorded.",
	Sources: []Source{
		implied(pageIndex),
		code("pilot ambientindex.go", "gateways list no workloads"),
	},
	Proof:   "The mark on calls to a workload address, local and remote.",
	Provoke: "Label a waypoint istio.io/waypoint-for: all and call a pod's address.",
	State:   notAutomated("planned"),
})

var CrossNamespaceWaypoint = declare(Behavior{
	ID: "WP-11", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureWaypointVariants,
	Promise: "A waypoint in another namespace serves in all clusters alike. Where it does not allow the namespace, it is " +
		"missing in that cluster only.",
	Sources: []Source{implied(pageIndex)},
	Proof: "All answers of a local and a global service carry one mark when all clusters allow the namespace, and none before. Where one " +
		"does not allow it, the answers of the local service carry none there; those of both services to the others' clients do.",
	Provoke: "Set istio.io/use-waypoint-namespace and allowedRoutes.",
	Mutants: []string{"M10", "M58"}, State: Proven,
})

var CanaryWaypoint = declare(Behavior{
	ID: "WP-12", Level: Extended, Istio: ">=1.31", Needs: []Need{Waypoints}, Feature: FeatureCanaryWaypoint,
	Promise: "A canary waypoint gets its weight of the requests.",
	Sources: []Source{note("60801", "istio.io/use-waypoint-canary")},
	Proof:   "The share of marks lies in the interval around the weight; remote requests are recorded.",
	Provoke: "Label the service with a canary waypoint and a weight.",
	State:   notAutomated("planned"),
})

var OtherWaypoints = declare(Behavior{
	ID: "WP-13", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureThirdPartyWaypoints,
	Promise: "Waypoints of another implementation can replace Istio's across clusters.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "The chapter's behaviors with the other implementation.",
	Provoke: "Deploy a waypoint of another GatewayClass in both clusters.",
	State:   notAutomated("there is no second implementation among the images the suite knows"),
})

var OptingOutOfWaypoints = declare(Behavior{
	ID: "WP-14", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "istio.io/use-waypoint: none takes a service out of its namespace's waypoint in every cluster.",
	Sources: []Source{implied(pageIndex)},
	Proof: "With the namespace behind a waypoint in every cluster, no answer of the service carries a mark, while every answer of another " +
		"service of the namespace does; without the label of its own, so do its answers.",
	Provoke: "Label the namespace with a waypoint, and the service none, in both clusters.",
	Mutants: []string{"M53"}, State: Proven,
})

var BaggageAndTLSPolicies = declare(Behavior{
	ID: "WP-15", Level: Extended, Istio: ">=1.29", Needs: []Need{Waypoints, MeshAdmin}, Feature: FeatureBaggage,
	Promise: "Baggage does not break services whose DestinationRule sets TLS or PROXY protocol.",
	Sources: []Source{note("59117", "")},
	Proof:   "Calls succeed with baggage on; in 1.29.0 they fail.",
	Provoke: "Turn AMBIENT_ENABLE_BAGGAGE on and set tls SIMPLE for a service behind a waypoint.",
	State:   notAutomated("planned"),
})

var TrafficPoliciesReachRemoteEndpoints = declare(Behavior{
	ID: "WP-16", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureWaypointTrafficPolicies,
	Promise: "Retries, timeouts, mirrors, redirects and faults of a waypoint apply to remote endpoints too.",
	Sources: []Source{note("60682", "")},
	Proof: "At services whose pods are in the other clusters only, in each direction: a time-out answers 504, a redirect 302, a fault the " +
		"status it is given, and a mirror reaches pods that nobody else calls; before the policies all calls are served there. Of a service " +
		"whose pods in one cluster fail every request, retries leave the answers of the others alone. What is answered has one mark.",
	Provoke: "Add each to the HTTPRoute, or retries and faults to a VirtualService, and call a remote-only service.",
	Hazards: "Retries are in HTTPRoutes of the experimental channel only, faults in none.",
	Mutants: []string{"M12", "M75", "M95", "M96", "M97", "M98"}, State: Proven,
})

var PolicyTargets = declare(Behavior{
	ID: "WP-17", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints, MeshAdmin}, Feature: FeatureWaypointVariants,
	Promise: "Authorization policies that target a Gateway, a Service or the GatewayClass refuse across clusters as they do locally.",
	Sources: []Source{implied(pageIndex)},
	Proof: "Under each target the requests of a forbidden client get 403 in every cluster, and another client is answered by all; without " +
		"the policy so is the first.",
	Provoke: "Apply each kind of policy in both clusters.",
	Hazards: "A policy on the GatewayClass counts in the root namespace only, and holds for all waypoints of the cluster.",
	Mutants: []string{"M14"}, State: Proven,
})
