package behaviors

import "slices"

// meshedOnly is the family's source: the pages differ by version, the promise does not.
var meshedOnly = []Source{
	doc(pageIndex, "Ambient east-west gateways currently only support meshed mTLS traffic").during("<1.30"),
	doc(pageBefore, "it only supports double HBONE traffic"),
	blog(postAlpha, "non-mesh traffic cannot enter clusters through east-west gateways"),
}

var GatewayDropsPlaintext = declare(Behavior{
	ID: "GW-01", Level: Core, Istio: ">=1.27",
	Promise: "An east-west gateway drops plaintext: HTTP/1.1, an h2c preface, random bytes.",
	Sources: meshedOnly,
	Proof:   "Each attempt ends with no byte, or with exactly one TLS alert; a double HBONE call to the same address succeeds.",
	Provoke: "Send each to port 15008 of the gateway's address.",
	Hazards: "Bytes that cannot be a TLS record are answered by a 7-byte alert; a connection that says nothing stays open.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRequiresClientCertificate = declare(Behavior{
	ID: "GW-02", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "An east-west gateway refuses TLS without a client certificate.",
	Sources: append([]Source{code("pilot listener_waypoint.go", "RequireClientCertificate is true")}, meshedOnly...),
	Proof:   "The connection ends, with an alert about the certificate if with any; the same client with a certificate of the mesh is served.",
	Provoke: "Open TLS to port 15008 without a certificate and read.",
	Hazards: "In TLS 1.3 the client's handshake succeeds and the alert comes with the first read.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesForeignCA = declare(Behavior{
	ID: "GW-03", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "An east-west gateway refuses a certificate of a foreign CA, whatever identity it claims.",
	Sources: meshedOnly,
	Proof: "The right SPIFFE identity signed by another root ends the connection, with an alert about the certificate if with any; " +
		"signed by the mesh's it is served.",
	Provoke: "Mint a certificate with a mesh identity from a CA of your own and open TLS to port 15008.",
	Hazards: "A client that sends an incomplete chain is refused too: the good certificate is the control.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesForeignTrustDomain = declare(Behavior{
	ID: "GW-04", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA, CAKey},
	Promise: "An east-west gateway refuses a certificate of the mesh's CA whose identity is of another trust domain.",
	Sources: slices.Concat([]Source{
		code("pilot buildCommonConnectTLSContext", "the identity must begin with the mesh's trust domain or one of its aliases"),
	}, meshedOnly),
	Proof: "The connection ends with an alert that refuses a certificate, or without an answer, for another name and for two " +
		"that begin as the mesh's does; a certificate made in the same way with the mesh's name is served.",
	Provoke: "Mint a certificate for another trust domain from the mesh's CA.",
	Hazards: "PILOT_SKIP_VALIDATE_TRUST_DOMAIN opens it.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesBadCertificates = declare(Behavior{
	ID: "GW-05", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA, CAKey},
	Promise: "An east-west gateway refuses certificates that are expired, not yet valid, or carry no SPIFFE identity.",
	Sources: meshedOnly,
	Proof: "Each ends with an alert that refuses a certificate, or without an answer: expired, not yet valid, the identity as " +
		"common name only, a DNS name only, a URI of another scheme. One made in the same way without a flaw is served.",
	Provoke: "Mint each from the mesh's CA and open TLS to port 15008.",
	Hazards: "A chain without the intermediate is refused, too. Clocks differ: the times are an hour off.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewaySpeaksTLS13Only = declare(Behavior{
	ID: "GW-06", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA}, Feature: FeatureGatewayHardening,
	Promise: "An east-west gateway accepts TLS 1.3 only.",
	Sources: slices.Concat([]Source{code("pilot", "minimum and maximum are TLS 1.3")}, meshedOnly),
	Proof:   "The handshake of a TLS 1.2 client ends, with the alert protocol_version or without one; the same client with 1.3 is served.",
	Provoke: "Open TLS 1.2 to port 15008 with a good certificate.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayALPN = declare(Behavior{
	ID: "GW-07", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA}, Feature: FeatureGatewayHardening,
	Promise: "What an east-west gateway does with a client that does not offer h2 is recorded.",
	Sources: meshedOnly,
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"closed", "the connection is ended, in the handshake or after it"},
			{"silent", "the certificate is accepted and nothing is said after"},
			{"forbidden", "an HTTP/1.1 CONNECT is answered with an error"},
			{"tunnel", "an HTTP/1.1 CONNECT opens a tunnel to a global service, as one of HTTP/2 does"},
		},
		Unsafe: []Outcome{
			{"relay", "an HTTP/1.1 CONNECT reaches a local service"},
		},
	},
	Proof: "A client of the mesh that offers http/1.1, or nothing, asks for a global service by an HTTP/1.1 CONNECT, and for a local " +
		"one whose pods outside the mesh would answer; with h2 the global one is served.",
	Provoke: "Offer only http/1.1, and send an HTTP/1.1 CONNECT.",
	Hazards: "No protocol is negotiated, and the gateway guesses it from the first bytes.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesSingleHBONE = declare(Behavior{
	ID: "GW-08", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "A single HBONE tunnel does not reach a captured application: without the inner tunnel its bytes meet ztunnel's TLS.",
	Sources: meshedOnly,
	Proof:   "CONNECT with a good certificate and plain HTTP inside brings no answer of the application; the double tunnel answers 200.",
	Provoke: "Open one HBONE tunnel to the gateway for a global service and send plain HTTP in it.",
	Hazards: "CONNECT answers 200 before the upstream is known: judge the bytes after it. Pods outside the mesh are reached, SVC-09.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesLocalServices = declare(Behavior{
	ID: "GW-09", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "A CONNECT to a local service's name is refused.",
	Sources: []Source{upstream("TestDirect/east west gateway/local service", "not expected to be reachable")},
	Proof: "On each port, in single tunnels and in double ones, not one byte comes from behind the gateway; nor from a " +
		"local service in front of pods outside the mesh. A global service beside it is served, and so is this one once labeled.",
	Provoke: "CONNECT to a service without the global label with mesh certificates.",
	Mutants: []string{"M15", "M23"}, State: Proven,
})

var GatewayRefusesAddresses = declare(Behavior{
	ID: "GW-10", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "A CONNECT to an address, of a pod, a node, the API server, the gateway itself or a metadata service, reaches nothing.",
	Sources: slices.Concat([]Source{code("pilot listener_waypoint.go", "east-west gateways have no chains for pods")}, meshedOnly),
	Proof: "Each is spoken to in its own protocol, and not one byte comes back; a global service's name is served before and " +
		"after, and a pod outside the mesh answers its own cluster at such an address.",
	Provoke: "CONNECT to 127.0.0.1:15000, a pod's address and a node's.",
	Hazards: "The answer may be 200 followed by an end without a byte: judge the bytes. Not every server speaks to every protocol.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayAndVirtualAddresses = declare(Behavior{
	ID: "GW-11", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "A CONNECT to the virtual address of a local service is refused, and one to a global service's does not reach the application.",
	Sources: slices.Concat([]Source{code("pilot", "virtual addresses of listed services are matched too")}, meshedOnly),
	Proof: "By a local service's address not one byte comes from behind the gateway; by a global one's the application does " +
		"not answer (seen: the inner tunnel is refused with 400). By name the global one is served.",
	Provoke: "CONNECT to the ClusterIP of each.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesUnknownNames = declare(Behavior{
	ID: "GW-12", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "A CONNECT to a name or port that does not exist, or to a UDP port, is refused.",
	Sources: meshedOnly,
	Proof: "For a name, a namespace and a domain that do not exist, a port that the service does not have, one that only its " +
		"pods have and a UDP one, not one byte comes from behind the gateway; the right name and port are served.",
	Provoke: "CONNECT to an unknown name, and to an unknown port of a known one.",
	Hazards: "A UDP port is worth asking for only where a server listens on its target over TCP.",
	Mutants: []string{"M15"}, State: Proven,
})

var IstiodIsNotReachableThroughGateway = declare(Behavior{
	ID: "GW-13", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "istiod and the API server cannot be reached through an east-west gateway as installed.",
	Sources: []Source{
		doc(pageIndex, "Cannot currently expose istiod across networks using ambient east-west gateways"),
	},
	Proof: "Under each name and address of every Service in front of istiod, on each of its ports and in the " +
		"protocol spoken there, not one byte comes back through the gateway; nor from the API server. Calls to " +
		"a global service by the same ways are served before and after.",
	Provoke: "CONNECT istiod.istio-system.svc.cluster.local:15012 through the gateway with a mesh certificate.",
	Hazards: "An administrator who labels istiod's Service global does expose it, by single HBONE: istiod's pod is not captured.",
	Mutants: []string{"M15", "M32"}, State: Proven,
})

var GatewaySurvivesOddRequests = declare(Behavior{
	ID: "GW-14", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA}, Feature: FeatureGatewayHardening,
	Promise: "An east-west gateway answers odd HTTP/2 with an error and stays healthy.",
	Sources: meshedOnly,
	Proof: "Other methods, another protocol, missing and huge headers and settings that HTTP/2 forbids are answered with an error, " +
		"or end the stream or the connection; no pod of the gateway restarts, and calls are served before and after.",
	Provoke: "Send GET, an unknown :protocol and ten thousand headers.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayOpensTwoPorts = declare(Behavior{
	ID: "GW-15", Level: Core, Istio: ">=1.27",
	Promise: "The address of an east-west gateway answers on 15008 and 15021 only, and 15021 tells its health and nothing else.",
	Sources: meshedOnly,
	Proof: "Of the ports on which parts of Istio, of Kubernetes and gateways listen, no client of another network or of the " +
		"gateway's own cluster can connect to another than the two; a call of the mesh's client is served, the health path " +
		"answers 200, any other 404.",
	Provoke: "Scan the address.",
	Hazards: "A firewall between the networks hides what the gateway opens, so that a client of its own cluster scans, too.",
	Mutants: []string{"M37"}, State: Proven,
})

var NamesAreNotSeenFromOutside = declare(Behavior{
	ID: "GW-16", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess}, Feature: FeatureGatewayHardening,
	Promise: "No service name, path or identity crosses networks in the clear.",
	Sources: []Source{blog(postAlpha, "it is invisible to outside observers")},
	Proof: "While clients of each cluster call services of all, directly and through a waypoint, no packet of port 15008 on any node holds " +
		"their names, the path, or an identity of the mesh. The same texts of a client that sends them without TLS are in such packets.",
	Provoke: "Capture port 15008 on the transit network during calls.",
	Hazards: "A text that is split over two packets is not found.",
	Mutants: []string{"M79"}, State: Proven,
})

var ForgedSourceHeader = declare(Behavior{
	ID: "GW-17", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA, Waypoints}, Feature: FeatureGatewayHardening,
	Promise: "Whether a workload that forges the header x-istio-source gets past the destination's waypoint is recorded.",
	Sources: []Source{code("pilot filters.go", "the gateway believes the header of any client of the mesh")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"enforced", "no call that the waypoint's policy forbids is answered by the application"},
		},
		Unsafe: []Outcome{
			{"bypassed", "the application answers a call that the waypoint's policy forbids"},
			{"no-identity", "it does so also where a policy on its pods admits the waypoint alone"},
		},
	},
	Proof: "A client that the waypoint's policy forbids gets 403 through each gateway. With the header the outcome is recorded: first where " +
		"a policy on the pods admits the waypoint alone, then without it. Another client is answered all the time, through one waypoint.",
	Provoke: "Set x-istio-source: waypoint on the outer CONNECT with an ordinary workload's certificate.",
	Hazards: "A policy on the pods that admits only the waypoint's identity is the mitigation. No document promises that a waypoint cannot " +
		"be passed by; what is unsafe is that its policy holds for honest clients alone.",
	Mutants: []string{"M14"}, State: Proven,
})

var InnerTunnelAuthenticatesToo = declare(Behavior{
	ID: "GW-18", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "The destination's ztunnel refuses an inner tunnel without a certificate of the mesh, whoever opened the outer one.",
	Sources: meshedOnly,
	Proof: "Inner tunnels without a certificate and with one of a foreign CA end with an alert that refuses a certificate, or " +
		"without an answer; a good one is served.",
	Provoke: "Open the outer tunnel with a mesh certificate and the inner one with another CA's.",
	Mutants: []string{"M15"}, State: Proven,
})

var InnerIdentityWins = declare(Behavior{
	ID: "GW-19", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA, RealZtunnel}, Feature: FeatureGatewayHardening,
	Promise: "When outer and inner identities differ, policies at the destination see the inner one.",
	Sources: meshedOnly,
	Proof:   "A policy that allows one account admits it inside an outer tunnel of the other, and refuses the reverse.",
	Provoke: "Open the outer tunnel as one account and the inner as another.",
	State:   notAutomated("planned: on the stand-in it would prove the stand-in"),
})

var GatewayServesDoubleHBONE = declare(Behavior{
	ID: "GW-20", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA}, In: []Profile{ProfileSmoke},
	Promise: "An east-west gateway serves a double HBONE call with certificates of the mesh.",
	Sources: meshedOnly,
	Proof: "A hand-made double tunnel to a global service answers 200 from the gateway's cluster. To a name that does " +
		"not exist it is refused.",
	Provoke: "Open the outer and the inner tunnel with certificates of the mesh and call a global service by name.",
	Hazards: "It is the positive control of the chapter: without it every refusal is worthless.",
	Mutants: []string{"M01", "M03"}, State: Proven,
})

var TLSPassthroughListener = declare(Behavior{
	ID: "GW-21", Level: Extended, Istio: ">=1.30", Needs: []Need{MeshAdmin}, Feature: FeatureTLSPassthrough,
	Promise: "An east-west gateway can pass TLS on other ports by server name, without loosening port 15008.",
	Sources: []Source{
		note("ewgw-tls-passthrough", "non-HBONE ports to be exposed via the Gateway API"),
		upstream("TestEastWestGatewayTLSRoute", ""),
	},
	Proof: "With a route the name of a service outside the mesh leads to its own certificate; another name, and this one without the route, " +
		"lead to none. What the name of one in the mesh leads to is observed. Port 15008 serves calls of the mesh, refuses a client without a " +
		"certificate, and does not lead to that service, which is local.",
	Provoke: "Add a TLS passthrough listener on 16443 and a TLSRoute.",
	Hazards: "Not on 15443: that port is converted automatically.",
	Mutants: []string{"M89"}, State: Proven,
})

var ListenersAreValidated = declare(Behavior{
	ID: "GW-22", Level: Core, Istio: ">=1.27",
	Promise: "A listener that an east-west gateway cannot serve is refused with a message that says what is allowed.",
	Sources: slices.Concat([]Source{code("pilot conversion.go", "15008 must be HBONE and terminate, others TLS passthrough")}, meshedOnly),
	Proof: "Copies of each cluster's own gateway, one with its listener as it is, which is accepted, and each other with one change: " +
		"protocol HTTP, protocol TCP, another port, TLS passed through. None of these is accepted, and the message names HBONE.",
	Provoke: "Apply a gateway with an HTTP listener.",
	Hazards: "A gateway that names a host as its address gets no pods, and one without a network label no calls.",
	Mutants: []string{"M40"}, State: Proven,
})

var GatewayPortIsAlways15008 = declare(Behavior{
	ID: "GW-23", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshAdmin},
	Promise: "The port of a remote gateway cannot be changed: clients always use 15008.",
	Sources: slices.Concat([]Source{code("pilot networks.go", "the remote listener's port is not read")}, meshedOnly),
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"ignored", "clients go to 15008 whatever the listener says"},
			{"honored", "clients go to the listener's port"},
		},
		Unsafe: []Outcome{
			{"plaintext", "clients reach the other port without mutual TLS"},
		},
	},
	Proof:   "A gateway on another port: where clients connect is recorded.",
	Provoke: "Expose the gateway by a node port.",
	State:   notAutomated("planned"),
})

var GatewayDiscoveryConditions = declare(Behavior{
	ID: "GW-24", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "A remote gateway counts only with the right class, a network label, an address and an HBONE listener; " +
		"without one of them clients stay local and no call fails.",
	Sources: slices.Concat([]Source{code("pilot networks.go", "")}, meshedOnly),
	Proof: "Each condition broken in turn in one cluster: the others' clients are answered by the others alone, and no call fails later " +
		"than 10 s after the change; its own clients are answered by all. Restored, so are the others'.",
	Provoke: "Remove the network label from the gateway.",
	Mutants: []string{"M59"}, State: Proven,
})

var GatewayByHostName = declare(Behavior{
	ID: "GW-25", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureGatewayHostname,
	Promise: "A gateway whose address is a host name is reached by it.",
	Sources: slices.Concat([]Source{code("pilot", "gateway address by host name; ztunnel resolves it")}, meshedOnly),
	Proof:   "Calls succeed by name; while the name does not resolve only new tunnels fail.",
	Provoke: "Give the gateway's Service a host name instead of an address.",
	State:   notAutomated("planned: it needs a load balancer that gives names"),
})

var GatewayAddressMayChange = declare(Behavior{
	ID: "GW-26", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "When a gateway's address changes, new connections follow within half a minute.",
	Sources: meshedOnly,
	Proof: "Calls of a client that has not called before are answered by pods of the other cluster within 30 s of its gateway's status " +
		"having another address. Those of a second one are not while the istiod of the client's cluster is absent and the gateway moves " +
		"back, and are when it is there again.",
	Provoke: "Ask the load balancer for another address.",
	Mutants: []string{"M93"}, State: Proven,
})

var OuterTunnelIsReused = declare(Behavior{
	ID: "GW-27", Level: Core, Istio: ">=1.27", Needs: []Need{NodeAccess},
	Promise: "Connections from one client to one gateway share an outer tunnel, and each has an inner one of its own.",
	Sources: []Source{
		issue("istio/ztunnel#1672", ""),
		code("ztunnel outbound.rs", "inner tunnels are not pooled"),
	},
	Proof: "A client that nobody has seen before opens 60 connections to pods of the other cluster only: the gateway's node counts one new " +
		"connection at least and a tenth of 60 at most, and the destination's ztunnels 60, all with mutual TLS.",
	Provoke: "Open 60 connections and count those that come to the gateway.",
	Hazards: "On a stand-in it shows the stand-in's pool. An attempt to connect that is repeated counts twice.",
	Mutants: []string{"M107"}, State: Proven,
})

var ManyConcurrentStreams = declare(Behavior{
	ID: "GW-28", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "More concurrent connections than one tunnel carries open further tunnels: none waits or fails.",
	Sources: slices.Concat([]Source{code("pilot listener_waypoint.go", "at most 100 streams")}, meshedOnly),
	Proof: "250 connections from one pod to a service that only the other clusters serve are open together before any of them sends, " +
		"and then each carries its bytes both ways; the same to a local one is the control.",
	Provoke: "Open 250 connections to a remote service and keep them.",
	Mutants: []string{"M103"}, State: Proven,
})

var RightServiceUnderConcurrency = declare(Behavior{
	ID: "GW-29", Level: Core, Istio: ">=1.27",
	Promise: "Under concurrency every call reaches the service it named.",
	Sources: []Source{
		note("59513", ""),
		issue("istio/istio#58630", "E/W gateway occasionally routed HBONE connections to a wrong service"),
	},
	Proof: "Calls from every cluster to three global services in front of different pods, on an HTTP and on a TCP port of each, 40 of " +
		"each kind at the same time: every call succeeds, and a pod of the service that it named answers. The same one service at a time.",
	Provoke: "Call several global services at once.",
	Hazards: "Versions before 1.29.2 are known to fail.",
	Mutants: []string{"M38"}, State: Proven,
})

var LabelsMayToggle = declare(Behavior{
	ID: "GW-30", Level: Core, Istio: ">=1.28.1",
	Promise: "Labeling and unlabeling a service in any order leaves it reachable when it is global.",
	Sources: []Source{note("58141", "")},
	Proof: "The label comes and goes 20 times, by turns in each cluster, of a service behind a waypoint and of one that is not. Global " +
		"everywhere in the end, all clusters serve both; local again, each cluster serves its own clients.",
	Provoke: "Toggle the label in each cluster at random.",
	Mutants: []string{"M01"}, State: Proven,
})

var GatewayDoesNotForwardOnwards = declare(Behavior{
	ID: "GW-31", Level: Core, Istio: ">=1.28.1", Needs: []Need{MeshCA},
	Promise: "An east-west gateway serves from its own cluster only: it never forwards to another network.",
	Sources: []Source{issue("istio/istio#58167", "")},
	Proof: "A cluster whose service has pods in the other networks only: its clients reach them, and its gateway opens no tunnel; " +
		"the gateways of the clusters with pods serve.",
	Provoke: "Scale the service to 0 in cluster2 and open double HBONE to cluster2's gateway.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayWithstandsProbing = declare(Behavior{
	ID: "GW-32", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess}, Feature: FeatureGatewayHardening,
	Promise: "Bad handshakes in great number do not disturb calls through the gateway.",
	Sources: meshedOnly,
	Proof:   "A thousand bad handshakes a second for half a minute: no call fails.",
	Provoke: "Open and abandon TLS connections to port 15008.",
	State:   notAutomated("planned for the long profile"),
})

var ClientVerifiesTheGateway = declare(Behavior{
	ID: "GW-33", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureGatewayHardening,
	Promise: "A client refuses a gateway whose identity is not the expected one.",
	Sources: slices.Concat([]Source{code("pilot", "the identity is the gateway's namespace and account")}, meshedOnly),
	Proof:   "With the gateway under another account every remote call fails; put back, they succeed.",
	Provoke: "Patch the gateway's Deployment to another ServiceAccount.",
	Mutants: []string{"M20"},
	State:   notAutomated("planned with the mutants"),
})

var HBONEWindows = declare(Behavior{
	ID: "GW-34", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureHBONETuning,
	Promise: "The window settings of HBONE apply to the gateway.",
	Sources: []Source{note("59961", "")},
	Proof:   "The configured windows are in force and large transfers succeed.",
	Provoke: "Set PILOT_HBONE_INITIAL_STREAM_WINDOW_SIZE.",
	State:   notAutomated("planned"),
})

var GatewayAppliesNoServicePolicy = declare(Behavior{
	ID: "GW-35", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "The east-west gateway applies no policy of the services behind it: what a waypoint has admitted is not refused there.",
	Sources: []Source{note("60806", "")},
	Proof: "A policy on the service admits one path. With the waypoint of the client's cluster at 0 its calls go through the gateway to " +
		"another cluster's waypoint, and from there through a gateway to the pods of all clusters: requests of this path are answered " +
		"by all, as are those of the other clusters' clients, and another path gets 403. Without the policy both are answered.",
	Provoke: "Apply an ALLOW policy by path and call through the other cluster's waypoint.",
	Hazards: "Fixed in 1.29.6 and 1.30.3.",
	Mutants: []string{"M52"}, State: Proven,
})

var LabeledIstiodIsExposed = declare(Behavior{
	ID: "GW-36", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshCA, MeshAdmin, Disruptive},
	Promise: "Once an administrator labels istiod's own Service istio.io/global, any workload of the mesh in another network may reach " +
		"istiod through the east-west gateway: do not label it, and let no selector of serviceScopeConfigs match it.",
	Sources: []Source{
		doc(pageIndex, "Cannot currently expose istiod across networks using ambient east-west gateways").during("<1.29"),
		code("pilot", "a scope rule knows no exception for the control plane, and a pod outside the mesh is spoken to in plaintext"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"exposed", "istiod answers a single tunnel of any workload of the mesh"},
			{"closed", "not one byte comes from istiod, labeled or not"},
		},
		Unsafe: []Outcome{
			{"anybody", "istiod answers a client without a certificate of the mesh, too"},
		},
	},
	Proof: "The port that tells istiod's version is asked for in a single tunnel: before the label, with it, and after, when not one " +
		"byte may come any more. With the label also by a client without a certificate.",
	Provoke: "Label the Service istiod in istio-system istio.io/global=true, and CONNECT istiod.istio-system.svc.cluster.local:15014.",
	Hazards: "Seen on the real mesh: 15014 answers, and 15012 shows istiod's certificate. Removing the label closes it again.",
	Mutants: []string{"M39"}, State: Proven,
})
