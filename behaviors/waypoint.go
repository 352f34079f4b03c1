package behaviors

var WaypointsOfOneNameServeEverywhere = declare(Behavior{
	ID: "WP-01", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "With identically named waypoints in every cluster, every request to the service crosses one, wherever it is served.",
	Sources: []Source{
		doc(pageIndex, "All clusters must have identically named waypoint deployments"),
		doc(pageIndex, "Traffic routing relies on consistent waypoint naming conventions"),
	},
	Proof:   "Each of forty calls from each cluster carries the mark of a waypoint, for a global service and for a local one; without the waypoint label none does.",
	Provoke: "Deploy a waypoint of the same name in both clusters with an HTTPRoute that adds a header naming the cluster.",
	Hazards: "A mesh that bypasses waypoints answers 200 with mutual TLS: only the missing mark shows it.",
	Mutants: []string{"M06", "M07", "M10", "M12"}, State: Proven,
})

var PolicyAppliesExactlyOnce = declare(Behavior{
	ID: "WP-02", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints}, In: []Profile{ProfileSmoke},
	Promise: "A request crosses exactly one waypoint, also when it is served by another cluster.",
	Sources: []Source{
		issue("istio/istio#60985", "the guarantee is that request will go through waypoint exactly once and there is no guarantee which waypoint it's going to be"),
		issue("istio/istio#58065", ""),
	},
	Proof:   "For all four pairs of client and server cluster the mark is there exactly once.",
	Provoke: "As WP-01; count the values of the header.",
	Hazards: "Judge by the number of marks, not by their presence.",
	Mutants: []string{"M12"}, State: Proven,
})

var WaypointConfigurationIsNotSynced = declare(Behavior{
	ID: "WP-06", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "Routes and policies of a waypoint are not copied between clusters: what is configured in one cluster applies to the requests of that cluster's clients only, and a policy only at the destination does not protect it from the others.",
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
	Proof:   "A DENY policy in one cluster only: count who is refused and where the allowed are served; the same policy in both clusters refuses everywhere.",
	Provoke: "Apply an AuthorizationPolicy to the service in cluster2 only and call from a forbidden client of cluster1.",
	Hazards: "Users read a policy at the destination as protection of the destination; with a waypoint at the client's side it is not.",
	Mutants: []string{"M14"}, State: Proven,
})

var ServiceBehindGlobalWaypoint = declare(Behavior{
	ID: "WP-07", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "A local service that shares a global waypoint may be treated as global: what happens to it while the local waypoint is gone is recorded.",
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
	Proof:   "With both waypoints up forty of forty calls stay local; with the local waypoint at 0 the outcome is recorded, while a global service beside it is served by the other cluster's waypoint.",
	Provoke: "Bind a local and a global service to one global waypoint and scale that waypoint to 0 in one cluster.",
	Hazards: "The page's older sentence and the code disagree; 1.27.0 to 1.28.0 sent the local service to remote pods.",
	Mutants: []string{"M11"}, State: Proven,
})

var GlobalServiceNeedsGlobalWaypoint = declare(Behavior{
	ID: "WP-08", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "A global service's waypoint must be marked global too; marked, the other cluster's waypoint takes over when the local one is gone.",
	Sources: []Source{
		doc(pageFailover, "this step is specific to multicluster deployment"),
		issue("istio/istio#58064", ""),
	},
	Proof:   "With the local waypoint at 0 all calls succeed when the waypoint's Service is labelled, and all fail when it is not.",
	Provoke: "Scale the local waypoint to 0 with and without istio.io/global=true on its Service.",
	Hazards: "While the local waypoint is up the missing label does not show.",
	Mutants: []string{"M11"}, State: Proven,
})
