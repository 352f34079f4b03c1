package behaviors

import "slices"

// transparent is the family's source: no sentence says so, but a mesh that breaks a protocol is of
// no use.
var transparent = []Source{implied("the mesh is transparent to protocols")}

var HTTP1CrossesClusters = declare(Behavior{
	ID: "TRF-01", Level: Core, Istio: ">=1.27",
	Promise: "HTTP/1.1 works across clusters as it does inside one: kept connections, chunked bodies, 100-continue, HEAD, large headers.",
	Sources: transparent,
	Proof: "Kept connections, chunked bodies, 100-continue, HEAD, 60 KiB of headers, a request of three seconds " +
		"and an error of the application come through to a service that only the other clusters serve; the " +
		"same to a local one is the control.",
	Provoke: "Scale the service to 0 locally and send each shape with curl.",
	Mutants: []string{"M03", "M29", "M116"}, State: Proven,
})

var HTTP2AndGRPCCrossClusters = declare(Behavior{
	ID: "TRF-02", Level: Core, Istio: ">=1.27",
	Promise: "HTTP/2 with prior knowledge and gRPC work across clusters.",
	Sources: transparent,
	Proof: "New connections, a request of three seconds and hundreds of requests on one connection succeed by " +
		"HTTP/2 and gRPC against a service that only the other clusters serve; the same to a local one is the " +
		"control.",
	Provoke: "Scale the service to 0 locally and call it by gRPC.",
	Hazards: "ztunnel balances connections: one channel is one pod.",
	Mutants: []string{"M03", "M29", "M115"}, State: Proven,
})

var WebSocketCrossesClusters = declare(Behavior{
	ID: "TRF-03", Level: Core, Istio: ">=1.27",
	Promise: "WebSocket connections work across clusters and survive a minute and a half of silence.",
	Sources: transparent,
	Proof:   "Messages are echoed before and after the silence, remote as local.",
	Provoke: "Open a WebSocket to a remote-only service and wait.",
	Mutants: []string{"M03"},
	State:   notAutomated("planned for the long profile: it waits"),
})

var ServerFirstTCPCrossesClusters = declare(Behavior{
	ID: "TRF-04", Level: Core, Istio: ">=1.27",
	Promise: "Plain TCP where the server speaks first works across clusters.",
	Sources: append([]Source{issue("envoyproxy/envoy#35958", "")}, transparent...),
	Proof: "The banner arrives at a client that has sent nothing, from a service that only the other clusters " +
		"serve; a local one is the control, and so is a port on which nobody speaks first.",
	Provoke: "Connect to a server that sends a banner and wait for it without sending a byte.",
	Hazards: "A waypoint that inspects for HTTP waits for the client; appProtocol: tcp tells it not to.",
	Mutants: []string{"M03", "M30"}, State: Proven,
})

var HalfCloseCrossesClusters = declare(Behavior{
	ID: "TRF-05", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "A half-closed connection stays open in the other direction.",
	Sources: transparent,
	Proof:   "Data arrives after the other side has closed, in both directions, remote as local.",
	Provoke: "Close the writing side and read on.",
	Mutants: []string{"M03"}, State: Proven,
})

var ApplicationTLSIsEndToEnd = declare(Behavior{
	ID: "TRF-06", Level: Core, Istio: ">=1.27",
	Promise: "TLS of the application passes through: the client sees the application's certificate.",
	Sources: transparent,
	Proof: "The application has a certificate of its own. A client who trusts that one and no other is served, remote as local; one " +
		"who trusts another ends the handshake.",
	Provoke: "Call an HTTPS port of a remote-only service.",
	Mutants: []string{"M03", "M65"}, State: Proven,
})

var UDPIsNotCaptured = declare(Behavior{
	ID: "TRF-07", Level: Limitation, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "UDP is not part of the mesh: it works locally as without it and has no path across.",
	Sources: slices.Concat([]Source{code("pilot", "UDP ports are left out")}, transparent),
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local-only", "local servers answer, remote ones do not"},
		},
		Unsafe: []Outcome{
			{"leaves", "packets to a remote server leave the cluster"},
		},
	},
	Proof: "Datagrams to a service with pods in the other clusters only are not answered, and the nodes' counters show that none left " +
		"the fleet. Controls: datagrams to a local one are answered, and the same remote service by TCP.",
	Provoke: "Send UDP to a service that only the other cluster serves.",
	Mutants: []string{"M34"}, State: Proven,
})

var LargePayloads = declare(Behavior{
	ID: "TRF-08", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "Large bodies and many small writes arrive whole.",
	Sources: transparent,
	Proof:   "The digests of 64 MiB each way and of ten thousand single bytes are equal, remote as local.",
	Provoke: "Send a large body to a remote-only service.",
	Mutants: []string{"M03", "M104"}, State: Proven,
})

var LongLivedConnections = declare(Behavior{
	ID: "TRF-09", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage, Disruptive},
	Promise: "An open connection survives certificate rotation, istiod's restart, changes of other services and of secrets.",
	Sources: transparent,
	Proof: "A connection to a pod of another cluster carries a byte five times a second through all of them: other services come and " +
		"change, both remote secrets are rotated, both istiods restart, and the certificates of both ztunnels, which live for 40 s, are " +
		"renewed. All bytes arrive, and the answer. Another connection ends when the gateway goes that both pass through.",
	Provoke: "Keep a connection open while making each change.",
	Hazards: "A client that only holds a connection does not notice that it leads nowhere. What a gateway replaces it drains, for 45 s by " +
		"default, before it cuts: the connection lasts for 75 s. A rotation loses the other network (F-01), for new connections.",
	Mutants: []string{"M111"}, State: Proven,
})

var LatencyIsRecorded = declare(Behavior{
	ID: "TRF-10", Level: Extended, Istio: ">=1.27", Feature: FeatureNetworkStress,
	Promise: "What the second tunnel costs in time is recorded.",
	Sources: transparent,
	Proof:   "The median and the 99th percentile of remote calls beside local ones.",
	Provoke: "Compare calls to a remote-only and to a local service.",
	State:   notAutomated("planned: a benchmark, not a promise"),
})

var BackPressure = declare(Behavior{
	ID: "TRF-11", Level: Extended, Istio: ">=1.27", Feature: FeatureNetworkStress,
	Promise: "A slow reader does not fill the gateway's memory.",
	Sources: transparent,
	Proof:   "The gateway's memory stays within a bound while a reader stops.",
	Provoke: "Stop reading in the middle of a large transfer.",
	State:   notAutomated("planned for the long profile"),
})

var ManyShortConnections = declare(Behavior{
	ID: "TRF-12", Level: Extended, Istio: ">=1.27", Feature: FeatureNetworkStress,
	Promise: "A thousand connections a second do not exhaust the gateway's ports.",
	Sources: transparent,
	Proof:   "None fails in half a minute.",
	Provoke: "Open a thousand short connections a second to a remote service.",
	State:   notAutomated("planned for the long profile: it needs more than two cores"),
})

var SmallMTU = declare(Behavior{
	ID: "TRF-13", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess}, Feature: FeatureNetworkStress,
	Promise: "A smaller MTU between the clusters stalls nothing.",
	Sources: transparent,
	Proof:   "Large transfers succeed at 1280 and 1400 bytes.",
	Provoke: "Lower the MTU of the transit network.",
	State:   notAutomated("planned: it changes the nodes' network"),
})

var LossyNetwork = declare(Behavior{
	ID: "TRF-14", Level: Extended, Istio: ">=1.27", Needs: []Need{NodeAccess}, Feature: FeatureNetworkStress,
	Promise: "Delay and loss between the clusters slow calls down and break none.",
	Sources: transparent,
	Proof:   "Calls succeed at 50 ms and 1 % loss.",
	Provoke: "Add netem to the transit network.",
	State:   notAutomated("planned: it needs a kernel module that not every host has"),
})

var AbortsPropagate = declare(Behavior{
	ID: "TRF-15", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "A client's abort and a server's reset reach the other end within two seconds.",
	Sources: transparent,
	Proof: "One end resets a connection in the middle of 64 MiB, the client by TCP and by HTTP, the server by TCP. The other end, " +
		"which is sending, notices within two seconds; remote as local.",
	Provoke: "Reset a connection in the middle of a large transfer.",
	Mutants: []string{"M113"}, State: Proven,
})

var AbortsPropagateThroughWaypoints = declare(Behavior{
	ID: "TRF-16", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints, PeerImage},
	Promise: "An abort reaches the other end through a waypoint, too, and holds up nobody else.",
	Sources: append([]Source{issue("istio/istio#60074", "")}, transparent...),
	Proof: "Clients reset 24 downloads of 64 MiB through a waypoint, from the other clusters and from their own: each server, which is " +
		"sending, notices within two seconds, and whole downloads arrive afterwards. Controls: whole downloads before, and 24 aborts " +
		"without a waypoint.",
	Provoke: "Abort downloads through a waypoint, then download something whole.",
	Hazards: "Not each abort is lost. What is lost stays in the waypoint, so the spec has one of its own.",
	State:   Proven,
})

var PortsOfOtherServices = declare(Behavior{
	ID: "TRF-17", Level: Core, Istio: ">=1.27", Needs: []Need{PeerImage},
	Promise: "An open connection to another cluster survives that other services bring port numbers that no service had.",
	Sources: transparent,
	Proof: "A connection to a pod of another cluster carries a byte five times a second for 75 s, in which another global service is " +
		"made that has a port number of its own: all bytes arrive, and the answer. So they do on a connection within the cluster, and " +
		"the new port is served.",
	Provoke: "Keep a connection open, and create a global service with a port number that is new in the mesh.",
	Hazards: "It is cut when the gateway has drained what it replaced: 45 s later, by default (drainDuration). Where that is longer than " +
		"the connection lasts, nothing is seen.",
	State: Proven,
})
