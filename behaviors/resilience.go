package behaviors

var GatewayRollingRestart = declare(Behavior{
	ID: "RES-01", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A rolling restart of the east-west gateway costs new connections no more than a hundredth.",
	Sources: []Source{
		note("60731", ""),
		note("59709", ""),
	},
	Proof: "With two replicas at most 1 % of calls to a service of the other cluster fail, and none that need no gateway; with the gateway " +
		"gone all do.",
	Provoke: "Restart the gateway's Deployment while calls run, five a second.",
	Hazards: "A call that takes longer than the drain of the old pods is cut: only short ones are promised.",
	Mutants: []string{"M35"}, State: Proven,
})

var DeadGatewayDrawsTraffic = declare(Behavior{
	ID: "RES-02", Level: Limitation, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "A gateway that is down still draws its share of calls from ztunnel: the share that fails is recorded.",
	Sources: []Source{code("pilot", "nothing withdraws a remote network when its gateway's pods are gone")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"share-fails", "about the remote share of calls fails"},
			{"withdrawn", "all calls are local"},
		},
		Unsafe: []Outcome{
			{"beyond", "calls fail although the local pods are ready, beyond the remote share"},
		},
	},
	Proof: "The gateway of one cluster at 0: which share of another cluster's calls fails is recorded, while a local service of " +
		"either loses none; back up, none fails.",
	Provoke: "Scale the other cluster's gateway to 0 and call.",
	Hazards: "Chance: of a few calls all may fall to the other cluster, so the unsafe outcome needs a share that chance does not reach.",
	Mutants: []string{"M80"}, State: Proven,
})

var NodeProxyRestart = declare(Behavior{
	ID: "RES-03", Level: Core, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "While ztunnel restarts at least nine of ten calls by address succeed, and ten seconds after it all, by name, too.",
	Sources: []Source{issue("istio/istio#51952", "")},
	Proof: "While either cluster's ztunnel restarts, at most a tenth of the calls by address within its cluster and to the other one " +
		"fails, and none of those that begin 10 s after its end, by name, too. When it is killed, the same without the share. Calls within " +
		"another cluster never do.",
	Provoke: "Restart the DaemonSet, and delete its pods by force, while calls run, five a second.",
	Hazards: "On a stand-in it shows the stand-in's restart. Between the end of one and the listeners of the next nothing resolves names, " +
		"and a query that waits in the socket as it is closed is lost: common clients ask again after 5 s, and all their calls to the name wait.",
	Mutants: []string{"M82"}, State: Proven,
})

var NodeLoss = declare(Behavior{
	ID: "RES-04", Level: Extended, Istio: ">=1.27", Needs: []Need{SecondNode, NodeAccess, Disruptive}, Feature: FeatureOutages,
	Promise: "Losing a node with a gateway's and a server's pod costs only what was on it, once Kubernetes has noticed.",
	Sources: []Source{implied("high availability")},
	Proof: "One of two nodes of a cluster is killed, with one of its gateway's pods and one of a service's. Once Kubernetes knows, all " +
		"calls from both clusters are answered by the pod on the other node, while the lost one answers nobody. When the node is back, both " +
		"answer. Local calls of the other cluster never fail. What is lost before Kubernetes notices is recorded.",
	Provoke: "Kill a node's container, and start it again.",
	Hazards: "Until its monitor gives a node up, after some 45 s, Kubernetes calls the pods ready, and so does the mesh.",
	Mutants: []string{"M109"}, State: Proven,
})

var IstiodGoneLongerThanCertificates = declare(Behavior{
	ID: "RES-05", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive}, Feature: FeatureOutages,
	Promise: "With istiod gone for longer than certificates live, calls fail closed and recover when it returns.",
	Sources: []Source{implied("high availability"), issue("istio/ztunnel#1567", ""),
		code("ztunnel manager.rs", "the pause between two attempts to renew a certificate grows to 150 s")},
	Proof: "One cluster's ztunnel asks for certificates of 40 s, and its istiod goes: calls to pods of the other cluster only are " +
		"answered at first, fail once that time is over, and are answered when istiod is back. No pod sends a packet past the gateways, " +
		"and the other cluster's own clients lose no call. What becomes of calls within the cluster is recorded.",
	Provoke: "Set SECRET_TTL of ztunnel to 40s and scale istiod to 0.",
	Hazards: "ztunnel renews at half of the life, and after failures it tries again ever more seldom, every 150 s (and a fifth of it) at " +
		"last: so long may recovery take. Open tunnels outlive the certificates that they began with, so calls within a cluster " +
		"may go on.",
	Mutants: []string{"M100"}, State: Proven,
})

var WaypointRestart = declare(Behavior{
	ID: "RES-06", Level: Core, Istio: ">=1.28", Needs: []Need{Waypoints},
	Promise: "A waypoint that restarts or is killed costs no request beyond the failover's budget, and no request passes it by.",
	Sources: []Source{
		implied("high availability"),
		upstream("TestMulticlusterFailover/with-waypoints", ""),
	},
	Proof: "A rolling restart of the local waypoint while calls run, then its pods killed: none that began 10 s after the end of the " +
		"restart fails, or 10 s after the kill, when its place may be empty still; every answer " +
		"came through exactly one waypoint, and in the end all through the local one again. The other clusters' clients, and a service " +
		"without a waypoint, lose none. With no waypoint anywhere all calls fail.",
	Provoke: "Restart the waypoint, and delete its pod by force, while calls run.",
	Mutants: []string{"M67"}, State: Proven,
})

var NewPodsDuringCNIRestart = declare(Behavior{
	ID: "RES-07", Level: Core, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "Pods that start while istio-cni restarts are captured before they are ready.",
	Sources: []Source{implied("high availability")},
	Proof: "The server's pods are replaced three times while istio-cni restarts, and plaintext calls run from outside the mesh, under " +
		"STRICT: none is answered, before, during or after, and none of a client in the mesh fails. Before the policy plaintext is answered.",
	Provoke: "Restart istio-cni and a service's Deployment at once.",
	Hazards: "A pod whose sandbox cannot be made while the plugin is away starts later; that is no harm.",
	Mutants: []string{"M81"}, State: Proven,
})

var Partition = declare(Behavior{
	ID: "RES-08", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive}, Feature: FeaturePartitionTolerance,
	Promise: "When the clusters cannot reach each other, local calls go on, and healing takes no more than half a minute.",
	Sources: []Source{implied("high availability")},
	Proof: "Calls to local services, and to global ones that prefer what is close, do not fail. Calls to pods of the other cluster only do, " +
		"and none that begins later than 30 s after healing. What a service of both loses is recorded.",
	Provoke: "Drop all packets between the nodes.",
	Hazards: "Calls hang until the client gives up: nothing is refused.",
	Mutants: []string{"M62"}, State: Proven,
})

var PausedRemoteCluster = declare(Behavior{
	ID: "RES-09", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive}, Feature: FeaturePartitionTolerance,
	Promise: "What happens while a remote cluster's node is paused is recorded.",
	Sources: []Source{implied("high availability")},
	Proof:   "The share of failing calls; resumed, none fails.",
	Provoke: "Pause the node's container.",
	State:   notAutomated("planned: it pauses nodes"),
})

var ClockSkew = declare(Behavior{
	ID: "RES-10", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive}, Feature: FeaturePartitionTolerance,
	Promise: "A clock ten minutes off makes calls fail closed, and right again they recover.",
	Sources: []Source{implied("high availability")},
	Proof:   "Calls fail with a certificate that is not yet valid; set right, they succeed.",
	Provoke: "Set the clock of one cluster.",
	State:   notAutomated("the clusters of a fleet share one host's clock"),
})

var Draining = declare(Behavior{
	ID: "RES-11", Level: Extended, Istio: ">=1.27", Feature: FeaturePartitionTolerance,
	Promise: "A pod that ends finishes the requests of remote clients within its grace period.",
	Sources: []Source{implied("high availability")},
	Proof:   "No request shorter than the grace period is cut.",
	Provoke: "Delete a pod while a slow request runs.",
	State:   notAutomated("planned"),
})

var EnrolmentOfRemotePods = declare(Behavior{
	ID: "RES-12", Level: Extended, Istio: ">=1.27", Feature: FeaturePartitionTolerance,
	Promise: "What enrolling and un-enrolling remote pods costs their clients is recorded.",
	Sources: []Source{issue("istio/istio#58228", "")},
	Proof:   "The share of failing calls while the label changes.",
	Provoke: "Toggle the namespace's label in the other cluster.",
	State:   notAutomated("planned"),
})

var PowerCut = declare(Behavior{
	ID: "RES-13", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive}, Feature: FeatureOutages,
	Promise: "After a power cut of a cluster's nodes its pods are in the mesh again, and none takes plaintext that it must refuse.",
	Sources: []Source{issue("istio/istio#60882", "")},
	Proof: "All nodes of one cluster are killed and started. From the moment that every pod is ready plaintext under STRICT is refused, and " +
		"calls in the mesh, from both clusters, are answered. Before the policy plaintext is answered; local calls of the other cluster " +
		"never fail. What is lost meanwhile is recorded.",
	Provoke: "Kill the node's container and start it again.",
	Hazards: "For some seconds the API server tells of the pods as they were before. It has another address if the engine gives it one.",
	Mutants: []string{"M105"}, State: Proven,
})

var ReplacedSandbox = declare(Behavior{
	ID: "RES-14", Level: Core, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive},
	Promise: "A pod that gets another sandbox is in the mesh again, and takes no plaintext that it must refuse.",
	Sources: []Source{issue("istio/istio#61182", ""), issue("istio/istio#61183", "")},
	Proof: "The sandbox of a server is killed, and kubelet makes another with another address. Plaintext calls under STRICT run all the " +
		"time: none is answered, then or later. Calls in the mesh, from both clusters, are answered again. Before the policy plaintext is " +
		"answered, and calls to another server never fail.",
	Provoke: "Kill the pause process of a pod.",
	Mutants: []string{"M105"}, State: Proven,
})
