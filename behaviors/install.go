package behaviors

var TwoPrimariesConverge = declare(Behavior{
	ID: "INST-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Two primaries on two networks, installed as documented with an east-west gateway each and remote secrets " +
		"both ways, form one mesh.",
	Sources: []Source{
		doc(pageInstall, "making each a primary cluster (this is currently the only supported configuration in ambient mode)"),
		doc(pageInstall, "AMBIENT_ENABLE_BAGGAGE").during(">=1.29"),
	},
	Proof: "Each cluster has a gateway that is programmed and has an address, every control plane lists the others, and a global service " +
		"is served by both clusters from both; the control is a service that stays local.",
	Provoke: "Follow the page from empty clusters, then call a global service from each.",
	Hazards: "All pods can be ready while no cross-cluster path works; the gateway's address must be reachable on port " +
		"15008; the API server's address in the secret must be one the other cluster reaches.",
	Mutants: []string{"M03", "M04", "M05"}, State: Proven,
})

var NetworkComesFromNamespaceLabel = declare(Behavior{
	ID: "INST-02", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin},
	Promise: "The network of a cluster is the topology.istio.io/network label of its istio-system namespace.",
	Sources: []Source{
		doc(pageInstall, "we need to set the cluster's network there"),
		code("pilot networks.go FetchLocalNetworkID", "reads only the namespace's label"),
	},
	Proof: "With the label both clusters serve. Without it in one cluster, no cross-cluster traffic flows from either " +
		"side. When the label is restored, it flows again.",
	Provoke: "Remove the label from istio-system in one cluster and call a global service from both.",
	Hazards: "The two directions fail differently: on one side calls to remote endpoints fail, the other side stays local without an error.",
	Mutants: []string{"M06", "M24"}, State: Proven,
})

var NodeProxyNetworkMatchesLabel = declare(Behavior{
	ID: "INST-03", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "The network of each ztunnel equals the network label of its cluster. If it does not, policies of waypoints " +
		"are bypassed and calls to remote endpoints fail, so the suite checks this before it tests anything else.",
	Sources: []Source{
		doc(pageInstall, "--set global.network=network1"),
		code("ztunnel outbound.rs", "the service is looked up with ztunnel's own network, the endpoint with the workload's"),
	},
	Proof: "With equal networks every call to a service with a waypoint crosses it, all clusters answer, and no check before a run fails. " +
		"With NETWORK removed from one ztunnel, one check fails, for that cluster; what becomes of calls to services with a waypoint and " +
		"without one is recorded.",
	Provoke: "Remove NETWORK from the ztunnel DaemonSet of one cluster and call a local service that has a waypoint with a DENY policy.",
	Hazards: "A local service answers every call with 200 over mutual TLS although the policy is not enforced: only the " +
		"missing mark shows it. A suite that retries hides the failing calls to remote endpoints.",
	Mutants: []string{"M07"}, State: Proven,
})

var FlagEnablesMultiNetwork = declare(Behavior{
	ID: "INST-04", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Without AMBIENT_ENABLE_MULTI_NETWORK there is no ambient multicluster: the east-west gateway class does not " +
		"exist and remote endpoints are not used, while local traffic goes on.",
	Sources: []Source{
		doc(pageInstall, "AMBIENT_ENABLE_MULTI_NETWORK"),
		doc(pageIndex, "alpha").during("<1.29"),
		code("pilot features/ambient.go", "the flag is false by default"),
	},
	Proof: "With the flag istiod creates the class again when it is deleted. Without it the class stays away, calls are " +
		"served locally only, and no local call fails. With it again all is back.",
	Provoke: "Unset the flag on one istiod; delete the GatewayClass.",
	Hazards: "Before 1.28.6 and 1.29.1 istiod crashed without the flag when a WorkloadEntry was on another network.",
	State:   Proven,
})

var SharedTrustIsRequired = declare(Behavior{
	ID: "INST-05", Level: Core, Istio: ">=1.27", Needs: []Need{Disruptive, MeshCA},
	Promise: "Clusters whose CAs share no root exchange no traffic, and never fall back to plaintext.",
	Sources: []Source{doc(pageBefore, "requires that you establish trust between all clusters")},
	Proof: "If one cluster has its own root, no remote call succeeds, every local call does, and nothing crosses " +
		"networks unencrypted. With the common root both clusters answer.",
	Provoke: "Give one cluster a self-signed root and restart istiod and ztunnel.",
	Hazards: "Changing a CA means restarting istiod and every ztunnel, and old connections outlive it.",
	Mutants: []string{"M08"},
	State:   notAutomated("it needs a mesh installed with two roots; planned as a fleet variant"),
})

var MeshIDIsNotUsedByAmbient = declare(Behavior{
	ID: "INST-06", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureInstallVariants,
	Promise: "Clusters with different mesh ids work as one ambient mesh.",
	Sources: []Source{doc(pageInstall, "meshID: mesh1")},
	Proof:   "With two mesh ids the same calls reach both clusters as with one.",
	Provoke: "Install the clusters with different global.meshID and call a global service.",
	State:   notAutomated("it needs a second installation of a cluster; planned as a fleet variant"),
})

var ClusterNamesAreUnique = declare(Behavior{
	ID: "INST-07", Level: Core, Istio: ">=1.27",
	Promise: "Cluster names are unique and equal to the key in the remote secret; otherwise the fleet is refused before anything runs.",
	Sources: []Source{
		doc(pageInstall, "--name=cluster1"),
		code("pilot secretcontroller.go", "a secret with the local cluster's id is ignored; a second secret of a known id is refused"),
	},
	Proof: "The preflight refuses two clusters with the same name and names them. Without the preflight, istiod " +
		"registers no remote cluster and logs why. Unique names pass.",
	Provoke: "Give both clusters the name Kubernetes and create the remote secrets.",
	State:   notAutomated("the fleet file refuses it when it is read, which a unit test shows; a spec on a live mesh is planned"),
})

var SingleNetworkIsUntested = declare(Behavior{
	ID: "INST-08", Level: Limitation, Istio: ">=1.27", Needs: []Need{SingleNetwork},
	Promise: "Clusters on one network are not supported: what happens to calls between them is recorded.",
	Sources: []Source{
		doc(pageIndex, "Multi-cluster single-network configurations are untested, and may be broken"),
		doc(pageIndex, "Only multi-network configurations are supported").during("<1.29"),
		note("59330", ""),
		issue("istio/istio#61067", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"direct", "pods of the other cluster are reached without a gateway"},
			{"no-path", "calls to the other cluster fail, and none is answered there"},
			{"mixed", "some calls to the other cluster fail, and some are answered there"},
			{"local-only", "only local endpoints are used"},
		},
		Unsafe: []Outcome{
			{"other-service", "another service answers"},
		},
	},
	Proof: "Calls from each cluster to a global service, with the same network label in both and routes between their " +
		"pods; who answers is recorded. That anything is plaintext is a violation. The control is a local service.",
	Provoke: "Label both istio-system namespaces with the same network.",
	Hazards: "Virtual addresses of both clusters can collide.",
	Mutants: []string{"M33"}, State: Proven,
})

var PrimaryRemoteIsUnsupported = declare(Behavior{
	ID: "INST-09", Level: Limitation, Istio: ">=1.27", Needs: []Need{RemoteCluster},
	Promise: "A primary with a remote cluster is not supported: what happens is recorded.",
	Sources: []Source{
		doc(pageIndex, "Primary remote configuration is not currently supported"),
		doc(pageIndex, "Configurations with one or more remote clusters will not work correctly"),
		issue("istio/istio#60343", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"refused", "plaintext to pods that demand mutual TLS is refused, and was answered before they did"},
			{"served", "every call is answered by the cluster that has the pods"},
			{"mixed", "some calls are answered, and others fail"},
			{"fails", "no call is answered"},
		},
		PerRow: true,
		Unsafe: []Outcome{
			{"plaintext", "a pod that demands mutual TLS answers in plaintext"},
			{"other-cluster", "a cluster answers that is not meant to"},
		},
	},
	Proof: "With the remote profile and a classic gateway in front of the primary's istiod: calls within the remote cluster, from it to " +
		"pods of the primary, and back, to services that are global where they cross; who answers is recorded, and whether " +
		"the remote cluster's pods are captured. A client outside the mesh calls pods in both clusters, before and after a PeerAuthentication " +
		"demands mutual TLS of them; the control is that the primary's answer and then refuse it.",
	Provoke: "Install cluster2 with profile remote and remotePilotAddress.",
	Hazards: "The remote cluster's own policies are nobody's: its API server is read for services and pods only.",
	Mutants: []string{"M69"}, State: Proven,
})

var DefaultScopeRuleExists = declare(Behavior{
	ID: "INST-10", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "The rule that makes services labeled istio.io/global=true global is part of the installation. Without " +
		"it none is.",
	Sources: []Source{
		blog(postAlpha, "By default, services labeled istio.io/global=true are marked global"),
		code("manifests/helm-profiles/ambient.yaml", "the rule is a profile's value; istiod has no default of its own"),
	},
	Proof: "A labeled service is answered by all clusters, one without the label by its own. With an empty list of rules in every cluster " +
		"the first is answered by its own cluster, too; with the rules as they were by all again.",
	Provoke: "Set meshConfig.serviceScopeConfigs to an empty list.",
	Hazards: "A user's own serviceScopeConfigs silently replaces the rule.",
	Mutants: []string{"M02", "M55"}, State: Proven,
})

var CRDsMayComeLater = declare(Behavior{
	ID: "INST-11", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Gateway API CRDs may be installed after istiod: it picks them up without a restart.",
	Sources: []Source{doc(pageInstall, "Gateway API CRDs")},
	Proof:   "Without the CRDs no gateway is programmed. Once they are installed the gateway is programmed, by the same istiod pod.",
	Provoke: "Install istiod, then the CRDs, then the gateway.",
	Hazards: "Since 1.30, istiod silently ignores CRDs that are older than it requires.",
	State:   notAutomated("it needs an installation without CRDs; planned as a fleet variant"),
})

var OverlappingAddressesStayApart = declare(Behavior{
	ID: "INST-12", Level: Core, Istio: ">=1.27", Needs: []Need{SameAddresses},
	Promise: "Clusters may use the same pod and service addresses: a name always reaches its own service, also when " +
		"another cluster uses the same virtual address for another service.",
	Sources: []Source{
		doc(pageInstall, "there is no direct connectivity between pods across cluster boundaries"),
		blog(postAlpha, "IP address spaces of different clusters might overlap"),
		issue("istio/istio#58512", "").during(">=1.29"),
	},
	Proof: "Two services that share a virtual address across the clusters answer from their own pods in every " +
		"call, from both clusters, straight and behind a waypoint; the control is another name for the " +
		"second's pods.",
	Provoke: "Create the clusters with the same pod and service ranges, give two services of different names the same " +
		"ClusterIP, one per cluster, make both global and call both.",
	Hazards: "1.27 and 1.28 waypoints matched the virtual address before the host name.",
	Mutants: []string{"M25"}, State: Proven,
})

var GatewayScriptIgnoresRevision = declare(Behavior{
	ID: "INST-13", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureInstallVariants,
	Promise: "With a revisioned control plane an east-west gateway is programmed when it carries the revision's label.",
	Sources: []Source{
		doc(pageInstall, "add the --revision rev flag to the gen-eastwest-gateway.sh command"),
		code("samples/multicluster/gen-eastwest-gateway.sh", "with --ambient the script ends before it uses the revision"),
	},
	Proof:   "The labeled gateway is programmed; the script's output, which has no label, is not.",
	Provoke: "Install istiod with a revision and no default tag, and run the script with --ambient --revision.",
	State:   notAutomated("it needs an installation with a revision; planned as a fleet variant"),
})

var NoDirectPathBetweenPods = declare(Behavior{
	ID: "INST-14", Level: Core, Istio: ">=1.27",
	Promise: "Pods of different networks have no direct path to each other: all traffic between networks passes a gateway.",
	Sources: []Source{doc(pageInstall, "there is no direct connectivity between pods across cluster boundaries")},
	Proof: "From a pod outside the mesh no pod of the other cluster answers under its own address, and no node; " +
		"else nothing can be told, since the underlay is nobody's promise. A global service is served by all " +
		"clusters nevertheless, which only the gateways can do; a local one stays local.",
	Provoke: "Connect from a pod of one cluster to the pod addresses and node ports of the other.",
	Hazards: "With identical ranges the remote pod's address may belong to a local pod: judge by the identity of what answered.",
	Mutants: []string{"M03", "M09"}, State: Proven,
})

var HelmAndIstioctlInstallAlike = declare(Behavior{
	ID: "INST-15", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureInstallVariants,
	Promise: "Installing by Helm and by istioctl gives the same mesh.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Labels, flags and behaviors of both installations are equal, except for the differences that the page names.",
	Provoke: "Follow both tabs of the page and compare.",
	State:   notAutomated("istioctl is no part of the suite; planned"),
})

var InstallOrderDoesNotMatter = declare(Behavior{
	ID: "INST-16", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureInstallVariants,
	Promise: "Secrets, gateways and labels may be created in any order: the mesh converges to the same state without restarts.",
	Sources: []Source{
		implied(pageInstall),
		code("pilot ambient multicluster.go", "without a gateway's address nothing is published; it is computed again when it comes"),
	},
	Proof:   "Each order ends in the same entries in ztunnel and the same calls.",
	Provoke: "Apply the remote secrets before the gateways, and the other way round.",
	State:   notAutomated("it needs several installations; planned as a fleet variant"),
})
