package behaviors

var ServiceMustExistInClientCluster = declare(Behavior{
	ID: "DNS-01", Level: Core, Istio: ">=1.27",
	Promise: "A Service in the client's cluster, even without pods, is enough for the client to reach the pods of the other cluster.",
	Sources: []Source{doc(pageVerify, "the HelloWorld Service must be deployed in both clusters, even if one cluster has no local")},
	Proof: "With the Service but no pods in the client's cluster every call is served remotely; the same Service " +
		"without the global label is the control: it fails there and works where the pods are.",
	Provoke: "Apply only the Service in one cluster and call it there.",
	Mutants: []string{"M01"}, State: Proven,
})

var RemoteOnlyServiceHasNoName = declare(Behavior{
	ID: "DNS-02", Level: Limitation, Istio: ">=1.27",
	Promise: "A service that only the other cluster defines cannot be called by name: what the client gets is recorded, " +
		"and nothing may leave as plaintext.",
	Sources: []Source{
		issue("istio/istio#57395", ""),
		issue("istio/istio#60888", ""),
		issue("istio/istio#61068", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"no-address", "the name does not exist, or has no address"},
			{"no-endpoints", "the name has an address, and nobody serves it"},
			{"works", "the name has an address, and the other cluster serves it"},
		},
		Unsafe: []Outcome{
			{"plaintext", "a packet to the remote virtual address leaves the cluster in the clear"},
		},
	},
	Proof: "What becomes of calls is recorded, and on clusters of ours the nodes' counters show that no packet left the fleet; with a " +
		"Service in the client's cluster the calls succeed.",
	Provoke: "Delete the Service in one cluster and call it there.",
	Hazards: "Calling the remote virtual address directly leaves the cluster as plaintext where nothing rejects it.",
	Mutants: []string{"M34"}, State: Proven,
})

var ServiceEntryIsNoStub = declare(Behavior{
	ID: "DNS-03", Level: Limitation, Istio: ">=1.27",
	Promise: "Whether a ServiceEntry can take the place of the local Service is recorded: the page says so, ambient does not do it.",
	Sources: []Source{
		doc(pageVerify, "A ServiceEntry can also provide the DNS entry").during(">=1.29"),
		code("pilot ambient multicluster.go", "a local entry without a scope keeps the remote side out"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"no-address", "the name does not exist, or has no address"},
			{"no-endpoints", "the name has an address, and nobody serves it"},
			{"works", "the name has an address, and the other cluster serves it"},
		},
		Unsafe: []Outcome{
			{"plaintext", "calls leave the cluster in the clear"},
		},
	},
	Proof: "Calls with a ServiceEntry only, and with a Service without pods as control, which succeed. On clusters of ours the nodes' " +
		"counters show that no packet left the fleet.",
	Provoke: "Replace the Service by a ServiceEntry of the same host in one cluster.",
	Hazards: "Seen on the real mesh: the page is wrong for ambient.",
	Mutants: []string{"M34"}, State: Proven,
})

var AnswersAreLocalAddresses = declare(Behavior{
	ID: "DNS-04", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "A lookup answers with the client's own cluster's virtual address only.",
	Sources: []Source{implied(pageVerify)},
	Proof: "The answer in each cluster is its own ClusterIP of a global service and nothing else, of each family that it has. The other " +
		"clusters have other ones, and calls to the name reach all of them.",
	Provoke: "Look the service up in both clusters.",
	Mutants: []string{"M112"}, State: Proven,
})

var WithoutDNSCapture = declare(Behavior{
	ID: "DNS-05", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureDNSVariants,
	Promise: "Without DNS capture global services work through the cluster's own DNS.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "Forty calls see both clusters.",
	Provoke: "Set cni.ambient.dnsCapture=false.",
	State:   notAutomated("planned: it changes istio-cni"),
})

var AllFormsOfNames = declare(Behavior{
	ID: "DNS-06", Level: Extended, Istio: ">=1.27", Feature: FeatureDNSVariants,
	Promise: "Short names, names with namespace, with a trailing dot, and external names of a global service reach it.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "Each form is served by both clusters; a wrong one is not found.",
	Provoke: "Call the service by each form.",
	State:   notAutomated("planned"),
})

var RecreatedService = declare(Behavior{
	ID: "DNS-07", Level: Extended, Istio: ">=1.27", Feature: FeatureDNSVariants,
	Promise: "A service that is deleted and created anew is served again under its new address.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "After the change calls by name succeed and calls to the old address fail.",
	Provoke: "Delete and create the Service in one cluster.",
	State:   notAutomated("planned"),
})

var CustomClusterDomain = declare(Behavior{
	ID: "DNS-08", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureDNSVariants,
	Promise: "A cluster domain other than the default works across clusters when all use it.",
	Sources: []Source{implied(pageVerify)},
	Proof:   "Calls by the custom domain see both clusters.",
	Provoke: "Create the clusters with another dnsDomain.",
	State:   notAutomated("it needs an installation of its own; planned as a fleet variant"),
})
