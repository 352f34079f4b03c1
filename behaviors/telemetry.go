package behaviors

var BothClustersReport = declare(Behavior{
	ID: "TEL-01", Level: Core, Istio: ">=1.27", Needs: []Need{RealZtunnel},
	Promise: "ztunnels of both clusters count the bytes of a service that both serve.",
	Sources: []Source{doc(pageObservability, "you should be able to see values from both clusters in the output")},
	Proof:   "The counters of both rise with mixed calls; with local calls only one does.",
	Provoke: "Read istio_tcp_received_bytes_total of the ztunnels after calls.",
	State:   notAutomated("planned: on the stand-in it would prove the stand-in's counters"),
})

var BothEndsAreNamed = declare(Behavior{
	ID: "TEL-02", Level: Extended, Istio: ">=1.29", Needs: []Need{RealZtunnel}, Feature: FeaturePeerMetadata,
	Promise: "Metrics name the source and the destination of a cross-cluster connection on both ends.",
	Sources: []Source{
		blog(postBeta, "some source or destination labels would show as 'unknown'"),
		note("58476", ""),
	},
	Proof:   "Workload, cluster and principal of both ends at both ends; with response baggage off the source names the gateway.",
	Provoke: "Read the labels of istio_tcp_connections_opened_total on both nodes.",
	Hazards: "Before 1.29 the labels are documented as unknown.",
	Mutants: []string{"M17"},
	State:   notAutomated("planned: on the stand-in it would prove the stand-in's labels"),
})

var WaypointMetricsNamePeers = declare(Behavior{
	ID: "TEL-03", Level: Extended, Istio: ">=1.29", Needs: []Need{Waypoints, RealEnvoy, MeshAdmin}, Feature: FeatureBaggage,
	Promise: "A waypoint's metrics name both peers also for remote backends when baggage is on.",
	Sources: []Source{note("58794", "")},
	Proof:   "No label is unknown; with the flag off some are.",
	Provoke: "Turn AMBIENT_ENABLE_BAGGAGE on and read istio_requests_total.",
	State:   notAutomated("upstream Envoy has no Istio metrics, so it needs Istio's build"),
})

var FailuresAreCounted = declare(Behavior{
	ID: "TEL-04", Level: Core, Istio: ">=1.27", Needs: []Need{RealZtunnel},
	Promise: "Denied and failed connections are counted once each, with a flag that tells why.",
	Sources: []Source{implied(pageObservability)},
	Proof:   "Each kind of failure raises its counter by the attempts; successes raise none of them.",
	Provoke: "Call under a DENY policy and with a dead gateway.",
	Hazards: "Gateway refused, 503 and dead gateway all read CONNECT.",
	State:   notAutomated("planned: on the stand-in it would prove the stand-in's counters"),
})

var AccessLogNamesThePath = declare(Behavior{
	ID: "TEL-05", Level: Core, Istio: ">=1.27", Needs: []Need{RealZtunnel},
	Promise: "ztunnel's access log names the source identity, the service and the tunnel's target.",
	Sources: []Source{implied(pageObservability)},
	Proof:   "The line of a remote call has all three; the line of a local one has no gateway.",
	Provoke: "Read the log of the client's ztunnel after a call.",
	State:   notAutomated("planned: on the stand-in it would prove the stand-in's log"),
})

var ByteCountsAgree = declare(Behavior{
	ID: "TEL-06", Level: Extended, Istio: ">=1.27", Needs: []Need{RealZtunnel}, Feature: FeaturePeerMetadata,
	Promise: "Client and server count the same bytes within framing.",
	Sources: []Source{issue("istio/istio#32399", "")},
	Proof:   "A transfer of 10 MiB differs by less than its framing.",
	Provoke: "Send 10 MiB and compare the counters of both ends.",
	Hazards: "Sent and received are swapped for the source's reports.",
	State:   notAutomated("planned"),
})

var TracesSpanClusters = declare(Behavior{
	ID: "TEL-07", Level: Extended, Istio: ">=1.27", Needs: []Need{Waypoints}, Feature: FeatureTracing,
	Promise: "A trace continues across clusters.",
	Sources: []Source{note("58348", "")},
	Proof:   "Spans of both clusters carry one trace id.",
	Provoke: "Configure a tracing provider and call through waypoints.",
	State:   notAutomated("planned: it needs a collector"),
})

var FederatedDashboards = declare(Behavior{
	ID: "TEL-08", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureDashboards,
	Promise: "The documented federation of Prometheus and Kiali shows both clusters.",
	Sources: []Source{doc(pageObservability, "Federated")},
	Proof:   "The dashboards' queries answer with both clusters.",
	Provoke: "Follow the page.",
	State:   notAutomated("its images are on registries that an offline run does not reach"),
})

var GatewayNamesTheOuterPeer = declare(Behavior{
	ID: "TEL-09", Level: Extended, Istio: ">=1.27", Needs: []Need{RealEnvoy}, Feature: FeaturePeerMetadata,
	Promise: "What the gateway's metrics and access log say of the outer peer is recorded.",
	Sources: []Source{implied(pageObservability)},
	Proof:   "The identity in the gateway's log line against the client's.",
	Provoke: "Turn the access log on and call through the gateway.",
	State:   notAutomated("upstream Envoy has no Istio metrics, so it needs Istio's build"),
})

var DebugEndpointsStayUsable = declare(Behavior{
	ID: "TEL-10", Level: Extended, Istio: ">=1.27.6", Feature: FeatureControlPlaneOperations,
	Promise: "The debug endpoints that the suite reads answer to the documented ways of access, and to no others.",
	Sources: []Source{note("debug-endpoint-authorization", "")},
	Proof:   "Through the pod they answer, from another namespace they refuse.",
	Provoke: "Read /debug/clusterz with and without rights.",
	State:   notAutomated("planned; CP-01's spec reads one of them"),
})
