package behaviors

var RequestsSpreadOverClusters = declare(Behavior{
	ID: "LB-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Requests to a global service from either cluster are spread over the endpoints of both.",
	Sources: []Source{doc(pageVerify, "signifying that endpoints in both clusters are being used")},
	Proof:   "Forty new connections from each cluster see both clusters and no error; a local service beside it stays local.",
	Provoke: "Call a global service repeatedly from each cluster, with a new connection each time.",
	Hazards: "ztunnel chooses per connection: a kept connection hides the spread.",
	Mutants: []string{"M01", "M03", "M04", "M05", "M06", "M08"}, State: Proven,
})

var RemoteServesWithoutLocalEndpoints = declare(Behavior{
	ID: "LB-03", Level: Core, Istio: ">=1.27",
	Promise: "When a cluster has no endpoints left for a global service, all its requests are served by the other cluster, and come back when the endpoints do.",
	Sources: []Source{
		upstream("TestMulticlusterFailover/without-waypoint", ""),
		issue("istio/istio#58630", ""),
	},
	Proof:   "With no local replica forty of forty calls are served remotely; with replicas again both serve; with none anywhere every call fails.",
	Provoke: "Scale the service to 0 in one cluster and call it there.",
	Hazards: "Use two services in two namespaces at once; one alone hid a bug.",
	Mutants: []string{"M01", "M03", "M18"}, State: Proven,
})
