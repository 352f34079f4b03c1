package behaviors

// transparent is the family's source: no sentence says so, but a mesh that breaks a protocol is of no use.
var transparent = []Source{implied("the mesh is transparent to protocols")}

var HTTP1CrossesClusters = declare(Behavior{
	ID: "TRF-01", Level: Core, Istio: ">=1.27",
	Promise: "HTTP/1.1 works across clusters as it does inside one: kept connections, chunked bodies, 100-continue, HEAD, large headers.",
	Sources: transparent,
	Proof:   "Each shape succeeds against a service that only the other cluster serves, and against a local one as control; all requests of a kept connection reach one pod.",
	Provoke: "Scale the service to 0 locally and send each shape with curl.",
	Mutants: []string{"M03"}, State: Proven,
})

var HTTP2AndGRPCCrossClusters = declare(Behavior{
	ID: "TRF-02", Level: Core, Istio: ">=1.27",
	Promise: "HTTP/2 with prior knowledge and gRPC work across clusters.",
	Sources: transparent,
	Proof:   "HTTP/2 requests and gRPC calls succeed against a service that only the other cluster serves, and against a local one as control.",
	Provoke: "Scale the service to 0 locally and call it by gRPC.",
	Hazards: "ztunnel balances connections: one channel is one pod.",
	Mutants: []string{"M03"}, State: Proven,
})

var ServerFirstTCPCrossesClusters = declare(Behavior{
	ID: "TRF-04", Level: Core, Istio: ">=1.27",
	Promise: "Plain TCP where the server speaks first works across clusters without delay.",
	Sources: append([]Source{issue("envoyproxy/envoy#35958", "")}, transparent...),
	Proof:   "The banner arrives within a second from a service that only the other cluster serves, and from a local one as control.",
	Provoke: "Connect to a server that sends a banner and wait for it without sending a byte.",
	Hazards: "A waypoint that inspects for HTTP waits for the client; appProtocol: tcp tells it not to.",
	Mutants: []string{"M03"}, State: Proven,
})
