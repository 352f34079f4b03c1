package behaviors

var ThreeClusters = declare(Behavior{
	ID: "TOP-01", Level: Extended, Istio: ">=1.27", Needs: []Need{ThirdCluster, MeshAdmin, Disruptive}, Feature: FeatureLiveTopologyChanges,
	Promise: "Three clusters on three networks serve one another, and removing one leaves the other two to serve each other.",
	Sources: []Source{doc(pageIndex, "Multi-network topologies with each cluster acting as a primary")},
	Proof: "Every gateway is programmed with an address, every control plane lists the others as synced, and a client in each cluster is " +
		"answered in proportion to the numbers of pods, of a local service by its own cluster only. Without the remote secrets for the last " +
		"cluster the others answer one another and that one no more, while its own clients are still answered by all; with the secrets all are again.",
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
			{"either", "the gateway serves pods of either cluster of its network"},
			{"own-only", "the gateway serves its own cluster's pods"},
			{"fails", "a share of calls fails"},
		},
		Unsafe: []Outcome{
			{"plaintext", "calls between the clusters of one network are not encrypted"},
		},
	},
	Proof:   "Calls from each cluster; who answers is recorded.",
	Provoke: "Give two of three clusters the same network.",
	State:   notAutomated("it needs a third cluster and routed pod addresses"),
})

var SeveralGatewaysInOneNetwork = declare(Behavior{
	ID: "TOP-03", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshAdmin, Waypoints},
	Promise: "With several gateways in one network ztunnel uses one and waypoints use all: what happens is recorded.",
	Sources: []Source{
		issue("istio/istio#56960", ""),
		code("pilot ambient multicluster.go", "the first gateway is used"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"one", "ztunnel uses exactly one gateway"},
			{"all", "ztunnel uses all of them"},
		},
		Unsafe: []Outcome{
			{"errors", "calls fail while one gateway is healthy and the other deleted"},
		},
	},
	Proof:   "Which gateways count connections; deleting the used one moves calls to the other in half a minute.",
	Provoke: "Add a second east-west gateway.",
	State:   notAutomated("planned: it adds a gateway"),
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
