package behaviors

var ClientIdentityArrives = declare(Behavior{
	ID: "ID-01", Level: Core, Istio: ">=1.27",
	Promise: "The client's identity reaches the destination in the other cluster: a policy there admits and refuses by it.",
	Sources: []Source{blog(postAlpha, "identity is enforced both at the edge of the cluster and the destination")},
	Proof:   "A policy that allows one service account admits that client of the other cluster and refuses another client beside it.",
	Provoke: "Allow one principal in an AuthorizationPolicy of cluster2 and call from two accounts of cluster1.",
	Hazards: "Behind a waypoint the destination sees the waypoint's identity, ID-02.",
	Mutants: []string{"M14"}, State: Proven,
})

var WaypointIdentityArrives = declare(Behavior{
	ID: "ID-02", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "Behind a waypoint the destination sees the waypoint's identity, not the client's.",
	Sources: []Source{issue("istio/istio#61610", ".../sa/waypoint")},
	Proof: "From each cluster: a policy at the pods that allows only the client refuses calls through the waypoint, and one that " +
		"allows only the waypoint admits them, wherever they are served. Without a waypoint in front of the same pods it is the reverse.",
	Provoke: "Allow only sa/client at the pods of a service with a waypoint.",
	Hazards: "This is so within one cluster too. Users read ID-01 as if it always held. A new policy by labels does not end the waypoint's " +
		"open connections (F-04): nobody may call through the waypoint before it.",
	Mutants: []string{"M10"}, State: Proven,
})

var DenyPoliciesHoldAcrossClusters = declare(Behavior{
	ID: "ID-03", Level: Core, Istio: ">=1.27",
	Promise: "Policies that deny, or allow nothing, stop calls from the other cluster as they stop local ones.",
	Sources: []Source{implied(postAlpha)},
	Proof:   "Under either policy no call succeeds, neither local nor remote. Without the policy both succeed.",
	Provoke: "Apply a DENY policy, then an empty ALLOW policy, to the service and call from both clusters.",
	Mutants: []string{"M14"}, State: Proven,
})

var PoliciesAreLocal = declare(Behavior{
	ID: "ID-04", Level: Core, Istio: ">=1.27",
	Promise: "An authorization policy is enforced by the cluster that holds it, and by no other.",
	Sources: []Source{code("pilot ambient multicluster.go", "remote policies are not read")},
	Proof: "A DENY policy in one cluster only, in each of them: calls that this cluster serves are refused, from all clusters, and calls " +
		"that the others serve are not; in all clusters, all are refused. Another client is served throughout.",
	Provoke: "Apply the policy in cluster1 only and call in both directions.",
	Hazards: "This is a policy at the pods. One on a Service is enforced by a waypoint: see WP-06.",
	Mutants: []string{"M14"}, State: Proven,
})

var L7PolicyAcrossClusters = declare(Behavior{
	ID: "ID-05", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "A waypoint's policy by method, path and principal holds for requests that another cluster serves.",
	Sources: []Source{note("60806", "")},
	Proof: "Wherever requests are served, the allowed one gets 200; another path, another method and another client get " +
		"403 each. Without the policy all requests pass.",
	Provoke: "Allow GET /ok from one account in both clusters.",
	Mutants: []string{"M14", "M51"}, State: Proven,
})

var NamespaceSamenessOfIdentity = declare(Behavior{
	ID: "ID-06", Level: Core, Istio: ">=1.27",
	Promise: "The same account in another cluster is the same identity: a policy cannot tell them apart.",
	Sources: []Source{blog(postAlpha, "the same identity is indistinguishable across clusters")},
	Proof: "A policy of one cluster admits an account: clients of this account are served in every cluster alike, and clients of another " +
		"account are refused. Without the policy they are served, too.",
	Provoke: "Allow one account and call as it from the other cluster.",
	Mutants: []string{"M14", "M51"}, State: Proven,
})

var SourceAddressIsNotPreserved = declare(Behavior{
	ID: "ID-07", Level: Limitation, Istio: ">=1.27",
	Promise: "The destination sees the gateway's address instead of the client's.",
	Sources: []Source{
		implied(postAlpha),
		code("policies on ipBlocks see addresses of the destination's cluster", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"gateway", "the peer address is one of the gateway's cluster"},
			{"client", "the peer address is the client's"},
		},
		Unsafe: []Outcome{
			{"policy-matches-forged", "a policy by address admits a client by the address of something else"},
		},
	},
	Proof:   "The peer address that the application sees for local and for remote calls is recorded.",
	Provoke: "Compare the address the application reports with the client's.",
	State:   notAutomated("planned"),
})

var StrictHoldsInBothClusters = declare(Behavior{
	ID: "ID-08", Level: Core, Istio: ">=1.27",
	Promise: "With STRICT peer authentication calls across clusters go on, and a client outside the mesh is refused.",
	Sources: []Source{implied(postAlpha)},
	Proof: "In every cluster the client in the mesh is served by all clusters, and the one outside it is refused. Under PERMISSIVE, " +
		"before and after, the one outside is served by its own cluster only.",
	Provoke: "Apply STRICT in both clusters and call from a pod outside the mesh.",
	Mutants: []string{"M66"}, State: Proven,
})

var CrossNetworkTrafficIsMutualTLS = declare(Behavior{
	ID: "ID-09", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Everything that crosses networks is mutual TLS.",
	Sources: []Source{implied(postAlpha)},
	Proof: "From each cluster to each other, ztunnel to ztunnel both ends count every connection as mutual_tls, and when calls go " +
		"through waypoints, too, the servers' end counts none to the pods as anything else. On clusters of ours no pod sends a packet to an " +
		"address outside the fleet. The control is a call to a server outside the mesh, " +
		"which is counted as plaintext.",
	Provoke: "Call across clusters and read istio_tcp_connections_opened_total by connection_security_policy on both ends.",
	Hazards: "Counters are per ztunnel and start anew when it does: take differences, on the nodes of client and server.",
	Mutants: []string{"M16", "M22", "M34", "M114"}, State: Proven,
})

var ClientVerifiesTheDestination = declare(Behavior{
	ID: "ID-10", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "The client checks the destination's identity inside the tunnel and refuses another.",
	Sources: []Source{
		implied(postAlpha),
		code("pilot ambient multicluster.go", "the expected identities are those of the service's remote pods"),
	},
	Proof: "While the istiod of the client's cluster is absent, the service of the other cluster is pointed at pods of another account: " +
		"its own clients are served by them, and those of the first are refused, who were served by the former pods until then. " +
		"Once istiod is back they are served.",
	Provoke: "Point the service's selector at pods of another account while istiod of the client is stopped.",
	Mutants: []string{"M100"}, State: Proven,
})

var CustomTrustDomain = declare(Behavior{
	ID: "ID-11", Level: Extended, Istio: ">=1.28.1", Needs: []Need{Disruptive}, Feature: FeatureCustomTrustDomain,
	Promise: "A trust domain other than the default works across clusters when all use it.",
	Sources: []Source{note("58427", "")},
	Proof:   "The chapter's calls succeed under the custom trust domain.",
	Provoke: "Install all clusters with the same trust domain.",
	State:   notAutomated("it needs an installation of its own; planned as a fleet variant"),
})

var DifferentTrustDomains = declare(Behavior{
	ID: "ID-12", Level: Limitation, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "Clusters with different trust domains are not supported: what happens is recorded.",
	Sources: []Source{
		issue("istio/istio#61608", ""),
		issue("istio/istio#58511", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"fails-closed", "remote calls fail"},
			{"works", "remote calls succeed with the right identity"},
		},
		Unsafe: []Outcome{
			{"wrong-identity", "remote calls succeed under an identity of the wrong trust domain"},
		},
	},
	Proof:   "With and without aliases; the outcome of each is recorded.",
	Provoke: "Install the clusters with different trust domains.",
	State:   notAutomated("it needs an installation of its own; planned as a fleet variant"),
})

var IntermediateRotation = declare(Behavior{
	ID: "ID-13", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive, CAKey},
	Promise: "Replacing one cluster's intermediate CA by another of the same root costs no request.",
	Sources: []Source{doc(pageBefore, "plugin CA")},
	Proof: "While cacerts is replaced and istiod restarted, no call between the clusters fails, in either direction. Certificates come " +
		"from the new CA then, which they did not before; a client and a server that start with such ones call and are called across.",
	Provoke: "Replace cacerts in one cluster and restart istiod.",
	Hazards: "Certificates live 24 h: force new ones to be issued.",
	Mutants: []string{"M102"}, State: Proven,
})

var RootRotation = declare(Behavior{
	ID: "ID-14", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureRootRotation,
	Promise: "Changing the root through a bundle of both roots costs no request in any phase.",
	Sources: []Source{note("istiod-root-cert-file-watch", "")},
	Proof:   "No new connection fails in any phase.",
	Provoke: "Distribute both roots, then the new intermediates, then drop the old root.",
	State:   notAutomated("planned for the long profile: it replaces the CAs of all clusters"),
})

var RevokedIntermediates = declare(Behavior{
	ID: "ID-15", Level: Extended, Istio: ">=1.29", Needs: []Need{Disruptive}, Feature: FeatureCRL,
	Promise: "A certificate revocation list that names a cluster's intermediate stops its traffic.",
	Sources: []Source{
		note("58733", ""),
		upstream("crl_test.go", ""),
	},
	Proof:   "Revoked, calls fail and the rejection is counted; with an empty list they succeed.",
	Provoke: "Add the intermediate to ca-crl.pem of the other cluster.",
	State:   notAutomated("planned: it changes the CA of a cluster"),
})

var JWTAcrossClusters = declare(Behavior{
	ID: "ID-16", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureJWT,
	Promise: "Request authentication at a waypoint holds for requests that another cluster serves.",
	Sources: []Source{implied(postAlpha)},
	Proof:   "Valid tokens pass, others are refused, wherever they are served.",
	Provoke: "Apply a RequestAuthentication to the service in both clusters.",
	State:   notAutomated("planned: upstream Envoy's JWT filter was not tried with the relay"),
})

var TrustDomainsInPolicies = declare(Behavior{
	ID: "ID-17", Level: Extended, Istio: ">=1.30.2", Feature: FeatureCustomTrustDomain,
	Promise: "Policies can name trust domains as a source.",
	Sources: []Source{implied(postAlpha)},
	Proof:   "The named trust domain is admitted, another refused.",
	Provoke: "Use trustDomains in an AuthorizationPolicy.",
	State:   notAutomated("planned"),
})

var AutoAllowedWaypoints = declare(Behavior{
	ID: "ID-18", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints, MeshAdmin}, Feature: FeatureAutoAllowWaypoints,
	Promise: "Whether the automatic policy for waypoints admits those of other clusters is recorded.",
	Sources: []Source{
		implied(postAlpha),
		code("PILOT_AUTO_ALLOW_WAYPOINT_POLICY builds policies from the local cluster's waypoints", ""),
	},
	Proof:   "Calls through the other cluster's waypoint with the setting on.",
	Provoke: "Set PILOT_AUTO_ALLOW_WAYPOINT_POLICY and an ALLOW policy at the pods.",
	State:   notAutomated("planned"),
})

var ForwardedClientCertificate = declare(Behavior{
	ID: "ID-19", Level: Extended, Istio: ">=1.30", Needs: []Need{Waypoints}, Feature: FeatureForwardedClientCertificate,
	Promise: "The forwarded client certificate header names the original client also for remote backends.",
	Sources: []Source{note("54995", "")},
	Proof:   "The header at the application names the client's identity, local and remote.",
	Provoke: "Turn the header on at the waypoint and read it at the application.",
	State:   notAutomated("planned"),
})

var ExpiredCertificatesFailClosed = declare(Behavior{
	ID: "ID-20", Level: Core, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "When certificates expire because istiod is gone, calls fail and never fall back to plaintext.",
	Sources: []Source{implied(postAlpha)},
	Proof: "Calls succeed until the certificates expire, fail afterwards, and succeed again when istiod is back. " +
		"Nothing crosses networks unencrypted.",
	Provoke: "Set a short certificate lifetime and stop istiod, RES-05.",
	State:   notAutomated("the spec of RES-05 shows it"),
})

var StrictReachesOpenedPods = declare(Behavior{
	ID: "ID-21", Level: Core, Istio: ">=1.27",
	Promise: "STRICT of a namespace holds on every port that no policy of the pods opens, whichever was there first.",
	Sources: []Source{
		implied(postAlpha),
		issue("istio/istio#61010", "a workload's policy with port rules is not merged anew"),
	},
	Proof: "Pods with a policy that opens one of their ports. Applied after STRICT, the client outside the mesh is refused on the other " +
		"port: the control. Applied before it, the same. The opened port serves it in both, and clients in the mesh are served.",
	Provoke: "PERMISSIVE in the namespace, then a PeerAuthentication of the pods with portLevelMtls only, then STRICT in the namespace.",
	Hazards: "Where the merged policy exists already, it follows: delete the pods' policy first.",
	State:   Proven,
})

var RootPolicyWithSelector = declare(Behavior{
	ID: "ID-22", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshAdmin},
	Promise: "What a PeerAuthentication with a selector does in the root namespace is recorded: the reference says both.",
	Sources: []Source{
		doc(pagePeerAuthentication, "PeerAuthentication policies with workload selectors are ignored when deployed in the root namespace"),
		doc(pagePeerAuthentication, "If the policy is in the root namespace, the selector will additionally match with workloads in all "+
			"namespace"),
		issue("istio/istio#61023", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"ignored", "plaintext to the pods that it selects is answered as before"},
			{"enforced", "plaintext to the pods that it selects is refused"},
		},
	},
	Proof: "STRICT for some pods, from the root namespace, while their own is PERMISSIVE. Whether plaintext to them is answered is " +
		"recorded, once the same policy beside other pods, applied later, is in force. Pods that none of them selects are answered.",
	Provoke: "Apply a PeerAuthentication with a selector to istio-system.",
	Mutants: []string{"M108"}, State: Proven,
})

var NamespacePolicyReachesOpenConnections = declare(Behavior{
	ID: "ID-23", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "A policy of a namespace ends the open connections that it denies, also those from other clusters, and no others.",
	Sources: onlyPermittedTraffic,
	Proof: "Connections of two clients to pods of the other clusters and of their own, on which a byte goes five times a second. A " +
		"policy of the namespace denies one of the clients: its connections end, and it gets no new ones; the other's stay open. When " +
		"the policy is gone, the first client is served again.",
	Provoke: "Keep a connection open, then deny its client.",
	Mutants: []string{"M14"}, State: Proven,
})

var PodPolicyReachesOpenConnections = declare(Behavior{
	ID: "ID-24", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "A policy of some pods ends the open connections that it denies, also those from other clusters, and no others.",
	Sources: onlyPermittedTraffic,
	Proof:   "As ID-23, with a policy that selects the pods by their label.",
	Provoke: "Keep a connection open, then deny its client.",
	Hazards: "By hand a policy of the namespace reached open connections at once, and one with a selector never did (F-04).",
	Mutants: []string{"M14"}, State: Proven,
})

var StrictReachesOpenConnections = declare(Behavior{
	ID: "ID-25", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "When pods come to demand mutual TLS, their open plaintext connections end, and no others.",
	Sources: []Source{
		doc("concepts/security", "Workloads only accept mutual TLS traffic"),
		issue("istio/ztunnel#311", "whether policies apply to existing connections: those that are denied are closed"),
	},
	Proof: "A client outside the mesh and one in it send a byte five times a second to pods of their cluster that accept both. Once the " +
		"pods' PeerAuthentication says STRICT, the first connection is cut and none is accepted anew from there, while the other one " +
		"carries all its bytes. With PERMISSIVE again both are served.",
	Provoke: "Keep a plaintext connection open, then demand mutual TLS.",
	Hazards: "By hand, with a real ztunnel, the plaintext connection went on.",
	Mutants: []string{"M66"}, State: Proven,
})

var PodPolicyReachesWaypointConnections = declare(Behavior{
	ID: "ID-26", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "A policy of some pods that does not admit their waypoint stops also what the waypoint sends on connections that it has.",
	Sources: onlyPermittedTraffic,
	Proof: "From each cluster calls go through a waypoint to pods of all clusters. Then a policy at the pods admits the client and not the " +
		"waypoint: no call through the waypoint is answered any more, wherever the pods are, while the same client is answered " +
		"without it and a client that is not admitted is not. Without the policy all calls are answered again.",
	Provoke: "Call through a waypoint, then allow only sa/client at the pods behind it.",
	Hazards: "A waypoint keeps its connections to pods, so that a call of a client that connects anew may go on one from before the policy. " +
		"ID-02 is the same without earlier calls.",
	Mutants: []string{"M14"}, State: Proven,
})

// A connection that goes on carries traffic that nobody permits.
var onlyPermittedTraffic = []Source{
	doc(pageL4Policy, "Once a policy is provisioned, pods targeted by the policy only permit traffic which is explicitly allowed"),
	issue("istio/ztunnel#311", "whether policies apply to existing connections: those that are denied are closed"),
}
