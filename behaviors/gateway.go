package behaviors

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
	Proof:   "The connection ends with the alert certificate_required; the same client with a certificate of the mesh is served.",
	Provoke: "Open TLS to port 15008 without a certificate and read.",
	Hazards: "In TLS 1.3 the client's handshake succeeds and the alert comes with the first read.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayRefusesForeignCA = declare(Behavior{
	ID: "GW-03", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "An east-west gateway refuses a certificate of a foreign CA, whatever identity it claims.",
	Sources: meshedOnly,
	Proof:   "The right SPIFFE identity signed by another root ends with the alert unknown_ca; signed by the mesh's it is served.",
	Provoke: "Mint a certificate with a mesh identity from a CA of your own and open TLS to port 15008.",
	Hazards: "A client that sends an incomplete chain is refused too: the good certificate is the control.",
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

var IstiodIsNotReachableThroughGateway = declare(Behavior{
	ID: "GW-13", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "istiod and the API server cannot be reached through an east-west gateway as installed.",
	Sources: []Source{
		doc(pageIndex, "Cannot currently expose istiod across networks using ambient east-west gateways"),
	},
	Proof:   "CONNECT by name to istiod's ports and to the API server is refused, while CONNECT to a global service succeeds.",
	Provoke: "CONNECT istiod.istio-system.svc.cluster.local:15012 through the gateway with a mesh certificate.",
	Hazards: "An administrator who labels istiod's Service global does expose it, by single HBONE: istiod's pod is not captured.",
	Mutants: []string{"M15"}, State: Proven,
})

var GatewayServesDoubleHBONE = declare(Behavior{
	ID: "GW-20", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA}, In: []Profile{ProfileSmoke},
	Promise: "An east-west gateway serves a double HBONE call with certificates of the mesh.",
	Sources: meshedOnly,
	Proof:   "A hand-made double tunnel to a global service answers 200 from the gateway's cluster; to a name that does not exist it is refused.",
	Provoke: "Open the outer and the inner tunnel with certificates of the mesh and call a global service by name.",
	Hazards: "It is the positive control of the chapter: without it every refusal is worthless.",
	Mutants: []string{"M03"}, State: Proven,
})
