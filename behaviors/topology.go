package behaviors

var ThreeClusters = declare(Behavior{
	ID: "TOP-01", Level: Extended, Istio: ">=1.27", Needs: []Need{ThirdCluster, MeshAdmin, Disruptive}, Feature: FeatureLiveTopologyChanges,
	Promise: "Three clusters on three networks serve one another, and removing one leaves the other two to serve each other.",
	Sources: []Source{doc(pageIndex, "Multi-network topologies with each cluster acting as a primary")},
	Proof: "Each cluster has a gateway that is programmed with an address, every control plane lists the others as synced, and a " +
		"client in each cluster is answered in proportion to the numbers of pods, of a local service by its own cluster only. " +
		"Without the remote secrets for the last cluster the others answer one another and that one no more, while its own " +
		"clients are still answered by all; with them all are again.",
	Provoke: "A fleet of three clusters; delete the remote secrets for the last one in the others, and add them again.",
	Mutants: []string{"M41", "M61", "M88"}, State: Proven,
})

var TwoClustersOnOneNetwork = declare(Behavior{
	ID: "TOP-02", Level: Limitation, Istio: ">=1.27", Needs: []Need{ThirdCluster, SharedNetwork},
	Promise: "Two clusters on one network beside a third are not supported: who serves is recorded.",
	Sources: []Source{
		issue("istio/istio#61067", ""),
		note("59330", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"served", "every call is answered, by each of the clusters that have pods"},
			{"served-by-some", "every call is answered, and some clusters that have pods answer none"},
			{"partly-served", "some calls are answered, and others fail"},
			{"fails", "no call is answered"},
		},
		Unsafe: []Outcome{
			{"stranger", "another service answers, or a cluster that has no pods"},
		},
		PerRow: true,
	},
	Proof: "Calls from each cluster to a service with pods in all, and to services with pods in one of the others only; who answers is " +
		"recorded, on the shared network and across networks. That anything is plaintext is a violation. The controls are a local service, " +
		"and the clients beside the pods.",
	Provoke: "Give two of three clusters the same network, with routes between their pods.",
	Hazards: "Each of the two has a gateway for the network: which one a client of the third takes is not promised.",
	Mutants: []string{"M33"}, State: Proven,
})

var SeveralGatewaysInOneNetwork = declare(Behavior{
	ID: "TOP-03", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Which of several gateways of one network clients use, and whether they use another when it no longer counts, is recorded.",
	Sources: []Source{
		issue("istio/istio#56960", ""),
		code("pilot ambient multicluster.go", "the first gateway is used"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"one", "one gateway is used"},
			{"all", "all of them are used"},
		},
		Unsafe: []Outcome{
			{"errors", "calls fail while one gateway is healthy and the others no longer count"},
		},
		PerRow: true,
	},
	Proof: "Which gateways hand connections on, with a second one beside the first. Then each in turn is the only one with a network: " +
		"calls are answered, through it.",
	Hazards: "Which of them is used changes with every change of endpoints.",
	Provoke: "Add a second east-west gateway.",
	Mutants: []string{"M94"}, State: Proven,
})

var ReplicatedGateway = declare(Behavior{
	ID: "TOP-04", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, MeshCA, Disruptive},
	Promise: "All replicas of a gateway carry tunnels, and losing one costs no more than its own connections.",
	Sources: []Source{doc(pageIndex, "Multi-network topologies with each cluster acting as a primary")},
	Proof: "Of two replicas each serves a double HBONE call of its own. One is killed while calls run: none that begins 5 s later " +
		"fails, and none that needs no gateway. With both gone all fail.",
	Provoke: "Scale the gateway to 2 and delete one of its pods by force, while calls run, five a second.",
	Hazards: "Calls that go through the replica that is killed fail, and until its end is known, so may new ones.",
	Mutants: []string{"M83", "M84"}, State: Proven,
})

var ClustersComeAndGo = declare(Behavior{
	ID: "TOP-05", Level: Extended, Istio: ">=1.27", Needs: []Need{ThirdCluster, MeshAdmin, Disruptive}, Feature: FeatureLiveTopologyChanges,
	Promise: "Adding and removing a cluster under load disturbs the others' calls not at all.",
	Sources: []Source{implied(pageIndex)},
	Proof: "No call between the clusters that stay fails while the last one is removed and added; of a service of all, that one answers " +
		"no call after its removal, and calls again once it is added.",
	Provoke: "Delete the remote secrets for a third cluster and add them again, while calls run, five a second.",
	Mutants: []string{"M88"}, State: Proven,
})

var RemoteGatewayByHand = declare(Behavior{
	ID: "TOP-06", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureLiveTopologyChanges,
	Promise: "A gateway of class istio-remote describes a network that the API server does not reach.",
	Sources: []Source{code("pilot networks.go", "")},
	Proof:   "With it and workload entries the network is reached; without it not.",
	Provoke: "Describe the other cluster's gateway by hand and delete its secret.",
	State:   notAutomated("planned"),
})

var NetworkRename = declare(Behavior{
	ID: "TOP-07", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureLiveTopologyChanges,
	Promise: "A network can be renamed on the living mesh.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "After the change both clusters serve again within a minute.",
	Provoke: "Change the label and the ztunnels' network.",
	State:   notAutomated("planned: it renames a network of the fleet"),
})

var GatewayOfItsOwnAccount = declare(Behavior{
	ID: "TOP-08", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureInstallVariants,
	Promise: "A gateway may run under an account named by annotation.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "With the annotation clients accept it; with the account changed behind it they refuse, GW-33.",
	Provoke: "Annotate the Gateway with gateway.istio.io/service-account.",
	State:   notAutomated("planned"),
})
