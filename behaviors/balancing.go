package behaviors

var RequestsSpreadOverClusters = declare(Behavior{
	ID: "LB-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Requests to a global service from either cluster are spread over the endpoints of both.",
	Sources: []Source{doc(pageVerify, "signifying that endpoints in both clusters are being used")},
	Proof:   "Forty new connections from each cluster see both clusters and no error; a local service beside it stays local.",
	Provoke: "Call a global service repeatedly from each cluster, with a new connection each time.",
	Hazards: "ztunnel chooses per connection: a kept connection hides the spread.",
	Mutants: []string{"M01", "M03", "M04", "M05", "M06", "M08", "M31"}, State: Proven,
})

var WeightFollowsEndpointCounts = declare(Behavior{
	ID: "LB-02", Level: Core, Istio: ">=1.27",
	Promise: "The share of remote requests follows the number of endpoints in each cluster.",
	Sources: []Source{
		blog(postAlpha, "istiod informs each ztunnel how many endpoints there are"),
		code("pilot ambient multicluster.go", "a remote network's capacity is the number of its pods"),
	},
	Proof: "With one local and three remote pods the remote share of 400 calls lies in the interval around three " +
		"quarters; with one and one around a half.",
	Provoke: "Scale the service to 3 in one cluster and count who answers the other.",
	Hazards: "Terminating pods count until they are deleted.",
	Mutants: []string{"M01"},
	State:   notAutomated("planned: it needs 400 calls and a binomial interval"),
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
		"fails, and each answer, from the first on, is of a pod of its own service. Then every call is served remotely. When replicas " +
		"are back, all clusters serve. With no replica anywhere, every call fails.",
	Provoke: "Scale the service to 0 in one cluster and call it there.",
	Hazards: "Test two services in two namespaces at once: a test of one service alone missed a bug.",
	Mutants: []string{"M01", "M26"}, State: Proven,
})

var LocalNotReadyPodsAreLeftOut = declare(Behavior{
	ID: "LB-04", Level: Core, Istio: ">=1.27",
	Promise: "A local pod that is not ready gets no new requests.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "With the local pod not ready forty of forty calls are served remotely; ready again, both serve.",
	Provoke: "Let the readiness probe of the local pod fail.",
	State:   notAutomated("planned: it needs an echo deployment with a readiness switch"),
})

var RemoteNotReadyPodsDrawTraffic = declare(Behavior{
	ID: "LB-05", Level: Limitation, Istio: ">=1.27",
	Promise: "Remote pods that are not ready may still draw requests: the share that fails is recorded.",
	Sources: []Source{code("pilot ambient multicluster.go", "every remote pod is counted whatever its state")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"left-out", "no call is sent to a remote pod that is not ready"},
			{"fails", "about the remote share of calls fails"},
		},
		Unsafe: []Outcome{
			{"all-fail", "calls fail although the local pods are ready, beyond the remote share"},
		},
	},
	Proof:   "Remote pods running but not ready, local ones fine: the share of failures is recorded; ready again, no call fails.",
	Provoke: "Let the readiness probes fail in the other cluster only and call from this one.",
	Hazards: "Seen on the real mesh: about half of the calls fail with one pod on each side.",
	State:   notAutomated("planned: it needs an echo deployment with a readiness switch; seen by hand as documented in the hazards"),
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
	Proof: "No local pods, three remote ones, 60 requests through the waypoint: the distribution is recorded; without " +
		"the waypoint all three are seen.",
	Provoke: "Send requests through a waypoint to a service with three remote pods and count their host names.",
	State:   notAutomated("planned"),
})

var TrafficDistributionKeepsTrafficInTheNetwork = declare(Behavior{
	ID: "LB-07", Level: Core, Istio: ">=1.27",
	Promise: "trafficDistribution keeps requests in the client's network while it has a healthy endpoint.",
	Sources: []Source{
		blog(postAlpha, "you can control the load balancing behavior of a service with its trafficDistribution"),
		note("pilot-svc-trafficDistribution", ""),
	},
	Proof:   "With PreferClose forty of forty calls are local; without local endpoints all are remote; unset, they are mixed.",
	Provoke: "Set spec.trafficDistribution in both clusters.",
	Hazards: "Set it in both clusters: the local object's setting wins.",
	State:   notAutomated("planned"),
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
	State:   notAutomated("planned: it needs an echo deployment with a readiness switch"),
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
	Proof:   "200 replacements while calls run: at most 1 % fail and the counts converge.",
	Provoke: "Restart the deployment over and over while calling from the other cluster.",
	Hazards: "A remote pod that is not ready still draws traffic, LB-05.",
	State:   notAutomated("planned for the long profile: it takes minutes"),
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
