package behaviors

var WaypointPrefersLocalCluster = declare(Behavior{
	ID: "FO-01", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "With failoverPriority on the cluster and outlierDetection, a waypoint prefers healthy endpoints of its own cluster.",
	Sources: []Source{
		doc(pageFailover,
			"waypoint proxies will prefer endpoints in the same cluster as the waypoint proxy when they are available and considered healthy"),
		note("57537", "Enabled waypoints to route traffic to remote networks"),
	},
	Proof: "Every call stays in the client's cluster and crosses one waypoint; with the same DestinationRule but " +
		"its locality preference switched off, calls are mixed.",
	Provoke: "Follow the failover page and call from both clusters.",
	Hazards: "Outlier detection alone prefers the client's region: a control without the whole rule may stay local.",
	Mutants: []string{"M13", "M28"}, State: Proven,
})

var WaypointFailsOverToRemoteCluster = declare(Behavior{
	ID: "FO-02", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "When the local endpoints are gone, the local waypoint sends requests to the other cluster and still applies its policy.",
	Sources: []Source{doc(pageFailover, "This time you should see that the request is processed by HelloWorld service in cluster2")},
	Proof:   "With no local replica all calls are served remotely, each with the local waypoint's mark, once.",
	Provoke: "Follow the failover page and scale the service to 0 in one cluster.",
	Hazards: "There may be 503s in the first moments; measure them against a budget of 10 s.",
	Mutants: []string{"M19"}, State: Proven,
})

var WaypointFailsBackToLocalCluster = declare(Behavior{
	ID: "FO-03", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "When the local endpoints return, so does the preference for them.",
	Sources: []Source{implied(pageFailover)},
	Proof:   "After the replicas return all calls are local again, within the convergence timeout.",
	Provoke: "Scale the service up again after the failover.",
	Mutants: []string{"M13"}, State: Proven,
})

var OutlierDetectionEjects = declare(Behavior{
	ID: "FO-04", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "A waypoint takes an endpoint out that answers with errors, and sends its requests to the other cluster.",
	Sources: []Source{doc(pageFailover, "instructs waypoint proxies how to identify when endpoints")},
	Proof: "The only local pod answers every request with 503. With maxEjectionPercent 100 every call goes to the other clusters, " +
		"by the local waypoint; without outlierDetection the errors continue. What the page's own rule makes of it is observed.",
	Provoke: "Let the local pod answer 503 under the page's DestinationRule.",
	Hazards: "The page's rule sets no maxEjectionPercent: of two endpoints it ejects none, as seen on the real mesh.",
	Mutants: []string{"M13"}, State: Proven,
})

var AllEndpointsEjected = declare(Behavior{
	ID: "FO-05", Level: Extended, Istio: ">=1.28", Needs: []Need{Waypoints}, Feature: FeatureLocalityRouting,
	Promise: "What happens when every endpoint is ejected is recorded.",
	Sources: []Source{issue("istio/istio#52435", "")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"nobody", "the waypoint answers by itself with an error, and asks nobody"},
			{"some", "some requests reach pods that have been ejected"},
			{"all", "all requests reach pods that have been ejected"},
		},
		Unsafe: []Outcome{
			{"answered", "somebody answers without an error"},
		},
	},
	Proof: "All pods in all clusters answer with errors, and all may be ejected: who is asked is recorded. A service without errors, " +
		"of the same waypoint and under the same rule, is served.",
	Provoke: "Let the pods of both clusters answer 503.",
	Hazards: "A remote network is one endpoint: one bad pod can eject all of it.",
	Mutants: []string{"M101"}, State: Proven,
})

var RemoteWaypointTakesOver = declare(Behavior{
	ID: "FO-06", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "When the waypoint pods of the client's cluster are gone, the waypoint of the other cluster serves.",
	Sources: []Source{
		upstream("TestMulticlusterFailover/with-waypoints", ""),
		issue("istio/istio#60985", "keep waypoint configuration the same ... but downscale waypoints to 0 pods"),
	},
	Proof: "Calls run while the local waypoint is scaled to 0: from 10 s after its end none fails, each has passed one waypoint, and in the " +
		"end all carry the other waypoint's mark. How many fail before is recorded. The other cluster's clients, and a service without a " +
		"waypoint, lose none. WP-08 shows that all fail when the waypoint's Service is not global.",
	Provoke: "Scale the local waypoint to 0.",
	Hazards: "Remote waypoints are used only when no local one is ready: the generated Service prefers close ones.",
	Mutants: []string{"M11"}, State: Proven,
})

var LocalityRulesOfTheMesh = declare(Behavior{
	ID: "FO-07", Level: Extended, Istio: ">=1.28", Needs: []Need{Waypoints, MeshAdmin}, Feature: FeatureLocalityRouting,
	Promise: "Region and zone failover and distribution of the mesh configuration apply to remote endpoints.",
	Sources: []Source{implied(pageFailover)},
	Proof:   "Shares as distributed; failover to the named region first.",
	Provoke: "Set localityLbSetting in the mesh configuration.",
	State:   notAutomated("it needs regions that differ within a cluster; planned"),
})

var SubsetsDoNotCrossNetworks = declare(Behavior{
	ID: "FO-08", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "Subsets and weighted routes do not reach across networks: the gateway knows services only.",
	Sources: []Source{
		issue("istio/istio#58140", "the e/w gateway doesn't know anything about subsets, so just routes to the service as a whole"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"ignored", "endpoints outside the subset answer"},
			{"honored", "only endpoints of the subset answer"},
			{"fails", "requests for a subset that is only remote fail"},
		},
		Unsafe: []Outcome{
			{"bypass", "requests are served without crossing a waypoint"},
		},
	},
	Proof:   "A route to a subset that is only remote: who answers is recorded.",
	Provoke: "Route all requests to subset v1 while the remote cluster has v1 and v2.",
	State:   notAutomated("planned"),
})

var GatewayIgnoresDestinationRules = declare(Behavior{
	ID: "FO-09", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "A DestinationRule of the serving cluster does not apply at its east-west gateway.",
	Sources: []Source{
		implied(pageFailover),
		code("pilot cluster_waypoint.go", "destination rules are left out for east-west gateways"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"ignored", "the rule has no effect on what came through a waypoint of another cluster"},
			{"applied", "the rule limits it"},
		},
		Unsafe: []Outcome{
			{"errors", "requests fail though the rule allows them"},
		},
	},
	Proof:   "A rule with one connection in the serving cluster only: concurrent calls through the other cluster's waypoint are counted.",
	Provoke: "Apply a DestinationRule with maxConnections 1 in cluster2 only.",
	State:   notAutomated("planned"),
})
