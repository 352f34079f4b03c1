package behaviors

var HeadlessServices = declare(Behavior{
	ID: "SVC-01", Level: Limitation, Istio: ">=1.27",
	Promise: "Headless services are not joined: what a client of a global headless service reaches is recorded.",
	Sources: []Source{
		issue("istio/istio.io#8832", ""),
		code("pilot listener_waypoint.go", "services without addresses are left out"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local-only", "only local pods are reached"},
			{"both", "pods of both clusters are reached"},
			{"fails", "calls fail when only the other cluster has pods"},
		},
		Unsafe: []Outcome{
			{"plaintext", "a remote pod's address is called directly"},
		},
	},
	Proof:   "The answers for a global headless service are recorded; a service with an address is joined.",
	Provoke: "Label a headless service global in both clusters.",
	State:   notAutomated("planned"),
})

var StatefulSetNames = declare(Behavior{
	ID: "SVC-02", Level: Limitation, Istio: ">=1.27",
	Promise: "Names of single pods of a StatefulSet do not resolve across clusters.",
	Sources: []Source{note("61038", "")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"no-such-host", "the name does not resolve"},
			{"reached", "the remote pod answers"},
		},
		Unsafe: []Outcome{
			{"wrong-pod", "another pod answers under the name"},
		},
	},
	Proof:   "The lookup of a remote pod's name is recorded; a local pod's resolves.",
	Provoke: "Call pod-0 of a StatefulSet of the other cluster.",
	State:   notAutomated("planned"),
})

var SharedServiceEntries = declare(Behavior{
	ID: "SVC-03", Level: Limitation, Istio: ">=1.27",
	Promise: "ServiceEntries are not joined across clusters: what happens to their endpoints is recorded.",
	Sources: []Source{issue("istio/istio#59401", "ztunnel does not generate SplitHorizonWorkload for ServiceEntry endpoints")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local-only", "only endpoints the local entry names are used"},
			{"joined", "endpoints of the other cluster's entry are used"},
		},
		Unsafe: []Outcome{
			{"plaintext", "an endpoint on another network is called in the clear"},
		},
	},
	Proof:   "An entry whose endpoint names another network: what the call does is recorded.",
	Provoke: "Apply a ServiceEntry with an endpoint of network2 in cluster1.",
	State:   notAutomated("planned"),
})

var EndpointSlicesByHand = declare(Behavior{
	ID: "SVC-04", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "What happens to a global service whose endpoints are written by hand is recorded.",
	Sources: []Source{
		implied(pageVerify),
		code("pilot", "they are counted, and not captured"),
	},
	Proof:   "Calls from the other cluster and their errors.",
	Provoke: "Create a Service without a selector and an EndpointSlice.",
	State:   notAutomated("planned"),
})

var RemoteWorkloadEntries = declare(Behavior{
	ID: "SVC-05", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "WorkloadEntries of another cluster are not used.",
	Sources: []Source{
		implied(pageVerify),
		code("pilot ambientindex.go", "only local entries are read"),
	},
	Proof:   "Calls never reach the remote entry; the local one is reached.",
	Provoke: "Create a WorkloadEntry behind a global service in one cluster.",
	State:   notAutomated("planned"),
})

var PodAddressesAcrossNetworks = declare(Behavior{
	ID: "SVC-06", Level: Limitation, Istio: ">=1.27",
	Promise: "A pod cannot be called by its address across networks.",
	Sources: []Source{upstream("TestPodIP", "direct workload to workload communication is not supported in multi-network deployments")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"fails-closed", "the call fails"},
			{"local-namesake", "a local pod of the same address answers, as itself"},
		},
		Unsafe: []Outcome{
			{"reached", "the remote pod answers without a gateway"},
		},
	},
	Proof: "Calls to a remote pod's address fail if no local pod has it; otherwise the local pod answers. Calls to a " +
		"local pod's address are answered.",
	Provoke: "Call the address of a pod of the other cluster.",
	State:   notAutomated("the spec of INST-14 shows it; a spec of its own is planned"),
})

var PortsReachTheirTargets = declare(Behavior{
	ID: "SVC-07", Level: Core, Istio: ">=1.27",
	Promise: "Every port of a multi-port service reaches its own target in the other cluster, by number and by name.",
	Sources: []Source{implied(pageVerify)},
	Proof: "Each port's answer names the right port of a pod, of a service that both clusters serve and of one that only the other " +
		"does: HTTP by number and by name, TCP, TCP where the server speaks first, gRPC. A port that the service does not have fails.",
	Provoke: "Call each port of a service with several.",
	Mutants: []string{"M87"}, State: Proven,
})

var NodePortsAndLoadBalancers = declare(Behavior{
	ID: "SVC-08", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "Services of type NodePort and LoadBalancer can be global as others can.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "Mesh clients see both clusters.",
	Provoke: "Change the type of a global service.",
	State:   notAutomated("planned"),
})

var UncapturedRemotePods = declare(Behavior{
	ID: "SVC-09", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA}, Feature: FeatureUnevenServices,
	Promise: "What a gateway does when the pods behind a global service are not in the mesh is recorded.",
	Sources: []Source{
		implied(pageVerify),
		code("pilot", "such pods are counted all the same"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"refused", "no gateway leads to them"},
		},
		Unsafe: []Outcome{
			{"plaintext", "a gateway hands a single tunnel on to them in plaintext"},
		},
	},
	Proof: "A global service in front of pods outside the mesh is called by a single tunnel through each gateway, which a service in " +
		"front of pods in the mesh does not answer. How the calls of the mesh's clients end is noted.",
	Provoke: "Label a service global whose pods are not in the mesh, and CONNECT to it through the gateway with a mesh certificate.",
	Hazards: "A trap of every roll-out: about the remote share of calls fails, since their ztunnels open an inner tunnel.",
	Mutants: []string{"M15"}, State: Proven,
})

var HostNetworkServers = declare(Behavior{
	ID: "SVC-10", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "What happens to calls when the other cluster's pods use the host network is recorded.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "The share of failing calls.",
	Provoke: "Run the server with hostNetwork in the other cluster.",
	State:   notAutomated("planned"),
})

var ServiceEntriesKeepWorking = declare(Behavior{
	ID: "SVC-11", Level: Extended, Istio: ">=1.27", Feature: FeatureServiceEntries,
	Promise: "Ranges, visibility and dynamic DNS of ServiceEntries work in a multi-network mesh.",
	Sources: []Source{issue("istio/istio#60343", "")},
	Proof:   "Each kind is served locally with the flag on as without it.",
	Provoke: "Apply each kind of ServiceEntry.",
	State:   notAutomated("planned: it needs servers outside the mesh but inside the fleet"),
})

var EgressStaysLocal = declare(Behavior{
	ID: "SVC-12", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureEgress,
	Promise: "Traffic to external hosts never leaves through another cluster.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "Through an egress waypoint all calls leave locally; without local waypoint pods they fail.",
	Provoke: "Bind a ServiceEntry to an egress waypoint in both clusters.",
	State:   notAutomated("planned: it needs servers outside the mesh but inside the fleet"),
})

var MultiClusterServicesAPI = declare(Behavior{
	ID: "SVC-13", Level: Extended, Istio: ">=1.27", Feature: FeatureMCSAPI,
	Promise: "ServiceExport and ServiceImport do not change what ambient does.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "With an export and no label the service stays local.",
	Provoke: "Apply a ServiceExport.",
	State:   notAutomated("the MCS CRDs are not installed by the fleet"),
})
