package behaviors

var WaypointPrefersLocalCluster = declare(Behavior{
	ID: "FO-01", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "With failoverPriority on the cluster and outlierDetection, a waypoint prefers healthy endpoints of its own cluster.",
	Sources: []Source{
		doc(pageFailover, "waypoint proxies will prefer endpoints in the same cluster as the waypoint proxy when they are available and considered healthy"),
		note("57537", "Enabled waypoints to route traffic to remote networks"),
	},
	Proof:   "Forty of forty calls stay local in each cluster and carry the local waypoint's mark; without the DestinationRule they are mixed.",
	Provoke: "Follow the failover page and call from both clusters.",
	Hazards: "Region labels on the nodes prefer the local cluster by themselves: the control needs equal labels or none.",
	Mutants: []string{"M13"}, State: Proven,
})

var WaypointFailsOverToRemoteCluster = declare(Behavior{
	ID: "FO-02", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "When the local endpoints are gone, the local waypoint sends requests to the other cluster and still applies its policy.",
	Sources: []Source{doc(pageFailover, "This time you should see that the request is processed by HelloWorld service in cluster2")},
	Proof:   "With no local replica forty of forty calls are served remotely, each with the local waypoint's mark, once.",
	Provoke: "Follow the failover page and scale the service to 0 in one cluster.",
	Hazards: "There may be 503s in the first moments; measure them against a budget of 10 s.",
	Mutants: []string{"M19"}, State: Proven,
})

var WaypointFailsBackToLocalCluster = declare(Behavior{
	ID: "FO-03", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "When the local endpoints return, so does the preference for them.",
	Sources: []Source{implied(pageFailover)},
	Proof:   "After the replicas return forty of forty calls are local again within the ejection time and convergence.",
	Provoke: "Scale the service up again after the failover.",
	Mutants: []string{"M13"}, State: Proven,
})
