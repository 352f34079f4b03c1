package behaviors

var RequestsSpreadOverClusters = declare(Behavior{
	ID: "LB-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Requests to a global service from either cluster are spread over the endpoints of both.",
	Sources: []Source{doc(pageVerify, "signifying that endpoints in both clusters are being used")},
	Proof:   "New connections from each cluster see all clusters and no error; a local service beside it stays local.",
	Provoke: "Call a global service repeatedly from each cluster, with a new connection each time.",
	Hazards: "ztunnel chooses per connection: a kept connection hides the spread.",
	Mutants: []string{"M01", "M03", "M04", "M05", "M06", "M08", "M31", "M116"}, State: Proven,
})

var WeightFollowsEndpointCounts = declare(Behavior{
	ID: "LB-02", Level: Core, Istio: ">=1.27",
	Promise: "The share of remote requests follows the number of endpoints in each cluster.",
	Sources: []Source{
		blog(postAlpha, "istiod informs each ztunnel how many endpoints there are"),
		code("pilot ambient multicluster.go", "a remote network's capacity is the number of its pods"),
	},
	Proof: "Each of two clusters has one pod, and then one has three. Of 240 calls of each cluster's client the share of each " +
		"cluster lies where chance leads but once in a million: around a half, and then around a quarter and three quarters.",
	Provoke: "Scale the service to 3 in one cluster and count who answers the other.",
	Hazards: "Terminating pods count until they are deleted, so the number of pods only grows.",
	Mutants: []string{"M61"}, State: Proven,
})

var RemoteServesWithoutLocalEndpoints = declare(Behavior{
	ID: "LB-03", Level: Core, Istio: ">=1.27",
	Promise: "When a cluster has no endpoints left for a global service, the other cluster serves all its requests. When " +
		"the endpoints are back, both clusters serve again.",
	Sources: []Source{
		upstream("TestMulticlusterFailover/without-waypoint", ""),
		issue("istio/istio#58630", ""),
	},
	Proof: "Two services in two namespaces at the same time, called from before their local pods go: no call that began 10 s after " +
		"they are gone fails, and each answer, from the first on, is of a pod of its own service. Then every call is served remotely. When " +
		"replicas are back, all clusters serve. With no replica anywhere, every call fails.",
	Provoke: "Scale the service to 0 in one cluster and call it there.",
	Hazards: "Test two services in two namespaces at once: a test of one service alone missed a bug.",
	Mutants: []string{"M01", "M26"}, State: Proven,
})

var LocalNotReadyPodsAreLeftOut = declare(Behavior{
	ID: "LB-04", Level: Core, Istio: ">=1.27",
	Promise: "A local pod that is not ready gets no new requests.",
	Sources: []Source{implied(pageVerify)},
	Proof: "Of two local pods one is not ready: the other answers every call. Neither is: the other clusters do. Ready again, all " +
		"answer. Called by its own address, each answers all the while.",
	Provoke: "Give pods a readiness gate and switch its condition by a patch of their status.",
	Mutants: []string{"M60"}, State: Proven,
})

var RemoteNotReadyPodsDrawTraffic = declare(Behavior{
	ID: "LB-05", Level: Limitation, Istio: ">=1.27",
	Promise: "Remote pods that are not ready may still draw requests: the share that fails is recorded.",
	Sources: []Source{code("pilot ambient multicluster.go", "every remote pod is counted whatever its state")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"left-out", "no call is sent to a remote pod that is not ready"},
			{"fewer", "calls fail, and fewer than the remote share"},
			{"fails", "the remote share of calls fails, by the number of pods"},
		},
		Unsafe: []Outcome{
			{"beyond", "calls fail although the local pods are ready, beyond the remote share"},
		},
	},
	Proof: "Three remote pods run and are not ready, and a local one is: the share of failures is recorded. The other cluster's own " +
		"clients lose no call, and the pods answer at their own addresses. Ready again, no call fails.",
	Provoke: "Give pods a readiness gate, switch its condition in the other cluster only, and call from this one.",
	Hazards: "Seen on the real mesh: about half of the calls fail with one pod on each side, and three quarters with three pods to one.",
	Mutants: []string{"M64"}, State: Proven,
})

var RemoteEndpointIsPinnedBehindWaypoint = declare(Behavior{
	ID: "LB-06", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "Behind a waypoint one endpoint of a remote network may get most requests: the distribution is recorded.",
	Sources: []Source{
		doc(pageIndex,
			"a single endpoint on a remote network may get a disproportionate number of requests "+
				"due to multiplexing of HTTP requests and connection pooling").during(">=1.29"),
		issue("istio/istio#58039", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"pinned", "all requests reach one pod of the remote network"},
			{"spread", "requests reach several pods of the remote network"},
		},
		Unsafe: []Outcome{
			{"errors", "requests fail while the pods are healthy"},
		},
	},
	Proof: "No local pods and three remote ones: how many of these answer calls in turn through the waypoint is recorded. Without the " +
		"waypoint all three do.",
	Provoke: "Send requests through a waypoint to a service with three remote pods and count their host names.",
	Mutants: []string{"M03"}, State: Proven,
})

var TrafficDistributionKeepsTrafficInTheNetwork = declare(Behavior{
	ID: "LB-07", Level: Core, Istio: ">=1.27",
	Promise: "trafficDistribution keeps requests in the client's network while it has a healthy endpoint.",
	Sources: []Source{
		blog(postAlpha, "you can control the load balancing behavior of a service with its trafficDistribution"),
		note("pilot-svc-trafficDistribution", ""),
	},
	Proof: "With PreferClose every call stays in the client's cluster, though others have more pods. With no local pod ready all " +
		"are remote; ready again, local. Unset, they are mixed.",
	Provoke: "Set spec.trafficDistribution in both clusters.",
	Hazards: "Set it in both clusters: the local object's setting wins.",
	Mutants: []string{"M62"}, State: Proven,
})

var NamespaceTrafficDistribution = declare(Behavior{
	ID: "LB-08", Level: Extended, Istio: ">=1.30", Feature: FeatureTrafficDistribution,
	Promise: "The traffic distribution annotation of a namespace applies to its services, and a service's own value overrides it.",
	Sources: []Source{note("namespace-traffic-distribution", "")},
	Proof:   "Inherited, calls stay local; overridden, they are mixed.",
	Provoke: "Annotate the namespace and call its services.",
	State:   notAutomated("planned"),
})

var InternalTrafficPolicyLocalStaysOnNode = declare(Behavior{
	ID: "LB-09", Level: Extended, Istio: ">=1.27", Feature: FeatureTrafficDistribution,
	Promise: "A service with internalTrafficPolicy Local is never served by another cluster.",
	Sources: []Source{
		implied(pageVerify),
		code("pilot services.go", "a remote network has no node"),
	},
	Proof:   "Without a pod on the client's node calls fail; with policy Cluster they are served.",
	Provoke: "Set internalTrafficPolicy: Local and remove the local pods.",
	State:   notAutomated("planned"),
})

var RemoteEndpointsHaveNoLocality = declare(Behavior{
	ID: "LB-10", Level: Limitation, Istio: ">=1.27", Needs: []Need{ThirdCluster},
	Promise: "ztunnel knows no locality of remote endpoints: two remote networks are chosen without regard to their region.",
	Sources: []Source{issue("istio/istio#60889", "a source ztunnel gets no locality for remote workloads")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"no-preference", "both remote networks serve, whatever their region"},
			{"nearest", "only the network of the nearer region serves"},
		},
		Unsafe: []Outcome{
			{"errors", "calls fail while endpoints are healthy"},
		},
	},
	Proof:   "Three clusters with region labels and no local pods: who serves is recorded.",
	Provoke: "Prefer close with two remote networks in different regions.",
	State:   notAutomated("it needs a third cluster"),
})

var NotReadyAddressesDoNotLeak = declare(Behavior{
	ID: "LB-11", Level: Limitation, Istio: ">=1.27",
	Promise: "Publishing not-ready addresses of one service does not expose not-ready endpoints of others.",
	Sources: []Source{note("60423", "")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"contained", "other services receive no endpoint that is not ready"},
		},
		Unsafe: []Outcome{
			{"leaked", "a service receives not-ready endpoints because another one publishes them"},
		},
	},
	Proof: "One service publishes not-ready addresses, another has a traffic distribution: no call to the second " +
		"service reaches a pod that is not ready.",
	Provoke: "Combine publishNotReadyAddresses with a trafficDistribution.",
	Hazards: "Fixed in 1.28.8, 1.29.4 and 1.30.1.",
	Mutants: []string{"M60"}, State: Proven,
})

var SessionAffinityIsRecorded = declare(Behavior{
	ID: "LB-12", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureSessionAffinity,
	Promise: "What session affinity and consistent hashing do across clusters is recorded.",
	Sources: []Source{note("61045", "")},
	Proof:   "The distribution of one client's calls with ClientIP affinity and with a consistent hash at the waypoint.",
	Provoke: "Set sessionAffinity: ClientIP and call across clusters.",
	State:   notAutomated("planned"),
})

var ChurnLosesNoRequests = declare(Behavior{
	ID: "LB-13", Level: Core, Istio: ">=1.27",
	Promise: "Replacing pods in one cluster under load costs clients of the other no more than a hundredth of their requests.",
	Sources: []Source{upstream("TestServiceRestart", "")},
	Proof: "The service has three pods, all in one cluster. They are replaced three times by rolling restarts while clients of both " +
		"clusters call: at most 1 % of the calls fail, in either cluster, and afterwards the new pods answer, each of them. Calls to " +
		"another service lose none.",
	Provoke: "Restart the deployment over and over while calling from the other cluster.",
	Hazards: "A remote pod that is not ready still draws traffic, LB-05. Nine pods are replaced, so that the spec takes little more " +
		"than a minute; what one replacement in a hundred loses it does not see.",
	Mutants: []string{"M63"}, State: Proven,
})

var UnequalWeightsAreRecorded = declare(Behavior{
	ID: "LB-14", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "Weights of workload entries count into a remote network's share.",
	Sources: []Source{
		implied(pageVerify),
		code("pilot ambient multicluster.go", "capacity is the sum of weights"),
	},
	Proof:   "The observed share against the weights.",
	Provoke: "Add a WorkloadEntry with a weight to a global service.",
	State:   notAutomated("planned"),
})

var NotReadyPodsAreLeftOut = declare(Behavior{
	ID: "LB-15", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "While one pod of a cluster is ready, the pods beside it that are not get no connection from other clusters.",
	Sources: []Source{implied(pageVerify), issue("istio/istio#60690", "")},
	Proof: "Three pods of another cluster run, and one of them is ready, and then another one: it alone answers, and it alone answers " +
		"that cluster's own clients. The others answer at their own addresses. Ready again, all of them answer. Who answers through a " +
		"waypoint is recorded.",
	Provoke: "Give pods a readiness gate, switch its condition, and call from another cluster.",
	Hazards: "A waypoint keeps connections to remote pods (LB-06) and sends requests on them, also to a pod that is no longer ready: seen " +
		"in two of five runs, for half a minute (F-18).",
	Mutants: []string{"M109"}, State: Proven,
})
