package behaviors

var RemoteClustersAreSynced = declare(Behavior{
	ID: "CP-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Every control plane lists every other cluster as synced.",
	Sources: []Source{doc(pageVerify, "All clusters should indicate their status as synced")},
	Proof: "Every istiod lists its own cluster without a secret, and each other cluster of the fleet once, with a " +
		"secret and the status synced. Since that status never changes again, a global service is called " +
		"beside it, and a local one as control.",
	Provoke: "Run istioctl remote-clusters in each cluster.",
	Hazards: "The status tells of the first synchronization only and never changes after it, CP-08.",
	Mutants: []string{"M04"}, State: Proven,
})

var AddingAClusterNeedsNoRestart = declare(Behavior{
	ID: "CP-02", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A cluster whose remote secret is added is used without restarting anything.",
	Sources: []Source{implied(pageInstall)},
	Proof: "Without the secret calls stay in the own cluster. Once it is added both clusters serve, " +
		"the other one is listed as synced, and no call of either cluster has failed meanwhile.",
	Provoke: "Apply the remote secret while calls run.",
	Mutants: []string{"M42"}, State: Proven,
})

var DeletingTheSecretWithdrawsTheCluster = declare(Behavior{
	ID: "CP-03", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A cluster whose remote secret is deleted is no longer used, and nothing else changes.",
	Sources: []Source{issue("istio/istio#27187", "")},
	Proof: "The own cluster answers and the other one is listed no more. No call to a local service fails, and none of the " +
		"other direction. Control: both serve before, and with the secret again.",
	Provoke: "Delete the remote secret in one cluster while calls run.",
	Mutants: []string{"M41"}, State: Proven,
})

var RotatingCredentialsLosesNothing = declare(Behavior{
	ID: "CP-04", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Replacing a remote secret repeatedly by equivalent credentials loses no request, and istiod still sees " +
		"later changes of the other cluster.",
	Sources: []Source{
		note("60612", ""),
		note("60920", ""),
		note("61043", ""),
	},
	Proof: "Three rotations while a service is called whose pods are in the other cluster only: no call fails, without a " +
		"waypoint and through one, and both paths follow when its pods go and come back. Control: the other cluster's clients.",
	Provoke: "Replace the secret with new tokens, several times, and then scale the other cluster.",
	Hazards: "On the pinned commit each replacement may lose the remote network, about three of four do: rotate more than " +
		"once. A waypoint hides it, and the status says synced.",
	Mutants: []string{"M42"}, State: Proven,
})

var RapidRotations = declare(Behavior{
	ID: "CP-05", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureControlPlaneOperations,
	Promise: "Many updates of a remote secret in a few seconds leave istiod alive and at work.",
	Sources: []Source{note("59876", ""), issue("istio/istio#60520", "")},
	Proof: "20 updates in 5 s, each with a token that is valid: no container of istiod has restarted and one of its pods is left, the " +
		"cluster is synchronized, and a service that becomes global afterwards is so. No call within the cluster and none of the other " +
		"cluster's own clients fails. What becomes of calls to the other cluster is recorded: CP-04 promises that.",
	Provoke: "Replace the secret in a loop.",
	Mutants: []string{"M106"}, State: Proven,
})

var BadCredentialsAreReported = declare(Behavior{
	ID: "CP-06", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A remote secret that cannot work is reported as timed out, disturbs nothing else, and can be corrected without a restart.",
	Sources: []Source{
		doc(pageVerify, "timeout ... means that Istiod in the primary cluster is unable to communicate with the remote cluster"),
	},
	Proof: "With a wrong token, and with a server that does not answer, the row becomes timeout after istiod's limit, and no " +
		"call fails meanwhile. Corrected, it becomes synced and both serve.",
	Provoke: "Apply a secret with a bad token in place of none.",
	Hazards: "The limit is 30 s by default. In place of a secret that worked, a bad one leaves what was known before: CP-07.",
	Mutants: []string{"M48"}, State: Proven,
})

var RotationToBadCredentials = declare(Behavior{
	ID: "CP-07", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureControlPlaneOperations,
	Promise: "What happens to a working cluster whose credentials are replaced by bad ones is recorded.",
	Sources: []Source{
		implied(pageInstall),
		code("pilot clusterstore.go", "the former data is served meanwhile"),
	},
	Proof:   "How long remote endpoints stay and whether they are followed; good again, all is as before.",
	Provoke: "Replace the secret's token by a bad one.",
	Hazards: "Seen on the real mesh: the status says timeout while the data stays and is live.",
	State:   notAutomated("planned"),
})

var LostAPIServerLeavesTrafficAlone = declare(Behavior{
	ID: "CP-08", Level: Core, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive},
	Promise: "When a remote API server is lost after synchronization, traffic goes on with what was known, and catches up when it is back.",
	Sources: []Source{implied(pageInstall)},
	Proof: "No call to pods of the other cluster fails during the outage. A service there that becomes global meanwhile is not seen, " +
		"and after healing it is. What istiod says of its remote clusters meanwhile is recorded.",
	Provoke: "Block istiod's connections to the other API server.",
	Hazards: "The status stays synced all the time: it is worthless for monitoring.",
	Mutants: []string{"M90", "M91"}, State: Proven,
})

var StartWithoutRemoteAPIServer = declare(Behavior{
	ID: "CP-09", Level: Core, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive},
	Promise: "istiod starts and serves its own cluster when a remote API server cannot be reached, and picks that cluster up later.",
	Sources: []Source{issue("istio/istio#33564", "")},
	Proof: "While the other API server cannot be reached, istiod is restarted and becomes ready, no local call fails, and a new client is " +
		"served; the other cluster is reported as timed out. Healed, it is used and synced. What becomes of calls to pods there meanwhile is " +
		"recorded.",
	Provoke: "Block the other API server and restart istiod.",
	Hazards: "The new istiod waits for PILOT_REMOTE_CLUSTER_TIMEOUT before it is ready.",
	Mutants: []string{"M99"}, State: Proven,
})

var MalformedSecretsAreRefused = declare(Behavior{
	ID: "CP-10", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A remote secret that is malformed, runs a command or reads a file of istiod is refused and harmless.",
	Sources: []Source{
		implied(pageInstall),
		code("pilot", "only plain kubeconfigs are accepted unless PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS says otherwise"),
	},
	Proof: "In place of no secret, none of them registers a cluster, and the known clusters serve. Control: a good secret " +
		"registers it.",
	Provoke: "Apply a secret whose kubeconfig uses exec.",
	Hazards: "In place of a secret that worked, a bad one changes nothing: delete that one first.",
	Mutants: []string{"M46"}, State: Proven,
})

var OnlyMarkedSecretsCount = declare(Behavior{
	ID: "CP-11", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A remote secret counts only with its label and in istio-system.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Without the label, and in another namespace, it registers no cluster. Control: with both it does.",
	Provoke: "Apply the secret without istio/multiCluster=true.",
	Mutants: []string{"M47"}, State: Proven,
})

var OneWaySecrets = declare(Behavior{
	ID: "CP-12", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A secret in one cluster only joins one direction only.",
	Sources: []Source{implied(pageInstall)},
	Proof: "Clients where the secret is are served by both clusters, clients of the other by their own. A policy that is " +
		"applied then admits the same client everywhere and refuses another. Control: before, each is served by both.",
	Provoke: "Delete the remote secret in one cluster.",
	Mutants: []string{"M41"}, State: Proven,
})

var ReaderRights = declare(Behavior{
	ID: "CP-13", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureReaderRights,
	Promise: "What happens when the remote reader may not read gateways, nodes or configuration is recorded.",
	Sources: []Source{note("59473", "")},
	Proof:   "For each missing right: is the cluster synced, and do calls cross.",
	Provoke: "Take gateways out of the reader's role.",
	State:   notAutomated("planned"),
})

var OtherWaysToGiveCredentials = declare(Behavior{
	ID: "CP-14", Level: Extended, Istio: ">=1.30", Needs: []Need{MeshAdmin}, Feature: FeatureReaderRights,
	Promise: "Credentials from files work as those from secrets do.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Both clusters serve, and a rotation is followed.",
	Provoke: "Set PILOT_MULTICLUSTER_KUBECONFIG_PATH.",
	State:   notAutomated("planned"),
})

var IstiodOutage = declare(Behavior{
	ID: "CP-15", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Without istiod existing pods keep talking across clusters, new connections included; new pods fail closed.",
	Sources: []Source{implied(pageInstall)},
	Proof: "No call of existing pods fails from the moment that istiod goes until it is back, to the own cluster and to the " +
		"other. A new pod's calls fail, and are answered with istiod back. Control: the other cluster's clients.",
	Provoke: "Scale istiod of one cluster to 0.",
	Mutants: []string{"M43", "M44"}, State: Proven,
})

var RestartKeepsRemoteEndpoints = declare(Behavior{
	ID: "CP-16", Level: Core, Istio: ">=1.31", Needs: []Need{MeshAdmin},
	Promise: "A restarting istiod never publishes a view without the remote clusters.",
	Sources: []Source{note("ambient-multicluster-sync-gating", "")},
	Proof:   "A service that only the other cluster serves loses no call while istiod restarts; in 1.30 it does.",
	Provoke: "Restart istiod while calling a remote-only service, five times a second.",
	Mutants: []string{"M36"}, State: Proven,
})

var RemoteClusterMetrics = declare(Behavior{
	ID: "CP-17", Level: Extended, Istio: ">=1.29", Needs: []Need{MeshAdmin}, Feature: FeatureControlPlaneOperations,
	Promise: "istiod's metrics tell exactly one state per remote cluster and forget deleted ones.",
	Sources: []Source{
		note("istiod-remote-cluster-sync-status", ""),
		issue("istio/istio#60098", ""),
	},
	Proof:   "One series is 1 per cluster; deleted, it is gone.",
	Provoke: "Read istiod's metrics before and after deleting a secret.",
	State:   notAutomated("planned"),
})

var NoLeaksOverRotations = declare(Behavior{
	ID: "CP-18", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureControlPlaneOperations,
	Promise: "Many rotations leave istiod with the goroutines and memory it had.",
	Sources: []Source{issue("istio/istio#60033", "")},
	Proof:   "After 50 rotations and 50 removals both are within a tenth.",
	Provoke: "Rotate and remove in a loop and read istiod's metrics.",
	State:   notAutomated("planned for the long profile"),
})

var ReplicatedIstiod = declare(Behavior{
	ID: "CP-19", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureReplicatedIstiod,
	Promise: "Two replicas of istiod publish the same and survive losing one.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Both answer a ztunnel alike; with one gone calls and changes go on.",
	Provoke: "Scale istiod to 2 and delete one pod.",
	State:   notAutomated("planned"),
})

var RevokedToken = declare(Behavior{
	ID: "CP-20", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureControlPlaneOperations,
	Promise: "Revoking the token of a remote secret after synchronization leaves traffic as it is, until it is issued anew.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Calls go on, changes are not seen; with a new token they are.",
	Provoke: "Delete the token's secret in the remote cluster.",
	State:   notAutomated("planned"),
})

var VanishedCluster = declare(Behavior{
	ID: "CP-21", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureControlPlaneOperations,
	Promise: "What happens to calls when a cluster vanishes and its secret stays is recorded.",
	Sources: []Source{
		implied(pageInstall),
		code("pilot", "what was known of it stays published"),
	},
	Proof:   "The share of failing calls until the secret is deleted; deleted, all are local.",
	Provoke: "Stop a cluster's nodes and leave its secret.",
	Hazards: "The incident users meet most: traffic is sent to a dead gateway until the secret is removed.",
	State:   notAutomated("planned: it destroys a cluster of the fleet"),
})

var LocalPolicyFollowsRemoteSecrets = declare(Behavior{
	ID: "CP-22", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "After a remote secret was rotated or deleted, policies of the own cluster still take effect.",
	Sources: []Source{
		implied("reference/config/security/peer_authentication"),
		code("pkg/kube/kclient/delayed.go", "a remote cluster that goes ends the handlers of all, not its own alone"),
	},
	Proof: "A PeerAuthentication that is applied afterwards is enforced, and lifted again: a client outside the mesh is " +
		"refused and then served, after a rotation and after a deletion. Control: the same before, and a client of " +
		"the mesh, which is always served.",
	Provoke: "Rotate a remote secret, apply a PeerAuthentication with mode STRICT, and call from outside the mesh.",
	Hazards: "What stood before the rotation stays in force, AuthorizationPolicies still follow, and remote-clusters says " +
		"synced: only a PeerAuthentication, a ServiceEntry or a WorkloadEntry that changes afterwards shows it. " +
		"Creating the secret again does not heal it, a restart of istiod does.",
	Mutants: []string{"M45"}, State: Proven,
})

var RemovingAnUnreachableCluster = declare(Behavior{
	ID: "CP-23", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "The remote secret of a cluster that never answered can be removed, and the other ones are followed as before.",
	Sources: []Source{
		implied(pageInstall),
		code("pkg/kube/multicluster/secretcontroller.go", "a cluster that goes is waited for, with everything that was started for it"),
	},
	Proof: "Ten times a remote secret whose server does not answer comes and goes. A good one that comes afterwards is used: the other " +
		"cluster's pods answer. Control: the same before.",
	Provoke: "Apply a remote secret whose server does not answer, and delete it; a few times. Then apply a good one.",
	Hazards: "It depends on which of two threads of istiod is first. Nothing tells of it but that later secrets are ignored: istiod is " +
		"ready. A restart of it heals it.",
	Mutants: []string{"M106"}, State: Proven,
})
