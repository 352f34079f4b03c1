package behaviors

var TwoPrimariesConverge = declare(Behavior{
	ID: "INST-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Two primaries on two networks, installed as documented with an east-west gateway each and remote secrets both ways, form one mesh.",
	Sources: []Source{
		doc(pageInstall, "making each a primary cluster (this is currently the only supported configuration in ambient mode)"),
		doc(pageInstall, "AMBIENT_ENABLE_BAGGAGE").during(">=1.29"),
	},
	Proof:   "Every gateway is programmed and has an address, every control plane lists the others, and a global service is served by both clusters from both; the control is a service that stays local.",
	Provoke: "Follow the page from empty clusters, then call a global service from each.",
	Hazards: "All pods can be ready while no cross-cluster path works; the gateway's address must be reachable on port 15008; the API server's address in the secret must be one the other cluster reaches.",
	Mutants: []string{"M03", "M04", "M05"}, State: Proven,
})

var NetworkComesFromNamespaceLabel = declare(Behavior{
	ID: "INST-02", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin},
	Promise: "The network of a cluster is the topology.istio.io/network label of its istio-system namespace.",
	Sources: []Source{
		doc(pageInstall, "we need to set the cluster's network there"),
		code("pilot networks.go FetchLocalNetworkID", "reads only the namespace's label"),
	},
	Proof:   "With the label both clusters serve; without it in one cluster cross-cluster traffic is lost from both sides; put back, it returns.",
	Provoke: "Remove the label from istio-system in one cluster and call a global service from both.",
	Hazards: "The two directions fail differently: one side's remote picks fail, the other stays local without an error.",
	Mutants: []string{"M06"}, State: Proven,
})

var OverlappingAddressesStayApart = declare(Behavior{
	ID: "INST-12", Level: Core, Istio: ">=1.27",
	Promise: "Clusters may use the same pod and service addresses: a name always reaches its own service, also when another cluster uses the same virtual address for another service.",
	Sources: []Source{
		doc(pageInstall, "there is no direct connectivity between pods across cluster boundaries"),
		blog(postAlpha, "IP address spaces of different clusters might overlap"),
		issue("istio/istio#58512", "").during(">=1.29"),
	},
	Proof:   "Two services that share a virtual address across the clusters each answer with their own name in every call, from both clusters; an answer in the other's name would be noticed.",
	Provoke: "Create the clusters with the same pod and service ranges, give two services of different names the same ClusterIP, one per cluster, make both global and call both.",
	Hazards: "1.27 and 1.28 waypoints matched the virtual address before the host name.",
	Mutants: []string{"M21", "M22"}, State: Proven,
})

var NoDirectPathBetweenPods = declare(Behavior{
	ID: "INST-14", Level: Core, Istio: ">=1.27",
	Promise: "Pods of different networks have no direct path to each other: what crosses, crosses a gateway.",
	Sources: []Source{doc(pageInstall, "there is no direct connectivity between pods across cluster boundaries")},
	Proof:   "From a pod, nothing of the other cluster answers on a pod, node or service address, while the same probe inside the cluster succeeds.",
	Provoke: "Connect from a pod of one cluster to the pod addresses and node ports of the other.",
	Hazards: "With identical ranges the remote pod's address may belong to a local pod: judge by the identity of what answered.",
	Mutants: []string{"M09", "M22"}, State: Proven,
})
