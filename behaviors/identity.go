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

var DenyPoliciesHoldAcrossClusters = declare(Behavior{
	ID: "ID-03", Level: Core, Istio: ">=1.27",
	Promise: "Policies that deny, or allow nothing, stop calls from the other cluster as they stop local ones.",
	Sources: []Source{implied(postAlpha)},
	Proof:   "Under either policy no call succeeds, local or remote; taken away, both succeed.",
	Provoke: "Apply a DENY policy, then an empty ALLOW policy, to the service and call from both clusters.",
	Mutants: []string{"M14"}, State: Proven,
})

var CrossNetworkTrafficIsMutualTLS = declare(Behavior{
	ID: "ID-09", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Everything that crosses networks is mutual TLS.",
	Sources: []Source{implied(postAlpha)},
	Proof:   "Both ends count every cross-network connection as mutual_tls, none as plaintext, and no packet of a pod tried to leave the fleet.",
	Provoke: "Call across clusters and read istio_tcp_connections_opened_total by connection_security_policy on both ends.",
	Hazards: "Counters are per ztunnel and start anew when it does: take differences, on the nodes of client and server.",
	Mutants: []string{"M15", "M16", "M22"}, State: Proven,
})
