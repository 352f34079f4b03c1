package behaviors

var GlobalLabelJoinsClusters = declare(Behavior{
	ID: "SCOPE-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "A service labelled istio.io/global=true in every cluster is served by the endpoints of all of them.",
	Sources: []Source{doc(pageVerify, "mark the helloworld service in cluster1 as global so that it can be accessed from other clusters in the mesh")},
	Proof:   "Forty calls from each cluster stay local before the label and reach both clusters after it.",
	Provoke: "Label the service in both clusters and call it from both.",
	Hazards: "The endpoints must exist; allow for istiod's debounce.",
	Mutants: []string{"M01", "M02", "M03"}, State: Proven,
})

var ServicesAreLocalByDefault = declare(Behavior{
	ID: "SCOPE-02", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "A service without the label is served by its own cluster only.",
	Sources: []Source{note("55478", "A locally scoped service is only discoverable by the data plane in the same cluster")},
	Proof:   "Forty calls from each cluster all stay local, while a global service beside it reaches both.",
	Provoke: "Deploy the same service in both clusters without a label and call it from both.",
	Mutants: []string{"M02"}, State: Proven,
})

var UnlabellingWithdrawsService = declare(Behavior{
	ID: "SCOPE-03", Level: Core, Istio: ">=1.27",
	Promise: "Taking the label away withdraws the service from the other clusters.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "Once converged no call is served remotely. Calls run while the label goes; how many of them fail is recorded, since no source promises that none does.",
	Provoke: "Remove istio.io/global in both clusters while calls run.",
	Hazards: "Open connections outlive the change; count new connections only. One cluster's gateway may drop the service a moment before the other cluster's ztunnel hears of it: 1 reset in 336 calls was seen.",
	Mutants: []string{"M18"}, State: Proven,
})

var LocalScopeIsSourceOfTruth = declare(Behavior{
	ID: "SCOPE-07", Level: Core, Istio: ">=1.27",
	Promise: "A service is joined only between clusters where it is labelled: one-sided labels leave each cluster with its own endpoints, and never cause an error.",
	Sources: []Source{
		doc(pageIndex, "Only the local cluster's service scope configuration is used as the source of truth").during("<1.29"),
		doc(pageIndex, "Remote cluster service scopes are not respected").during("<1.29"),
		doc(pageIndex, "Only uniform service scope configurations are supported").during(">=1.29"),
		issue("istio/istio#58269", ""),
		code("pilot ambient multicluster.go, services.go", "the local rules are applied to each cluster's own labels"),
	},
	Proof:   "The four combinations of labelled and unlabelled: both labelled reach both, every other combination stays local from both sides, without an error in any transition.",
	Provoke: "Label the service in one cluster only and call it from both.",
	Hazards: "1.27.0 to 1.28.0 leaked remote endpoints behind a waypoint when only one side was labelled.",
	Mutants: []string{"M01"}, State: Proven,
})

var GatewayServesExactlyGlobalServices = declare(Behavior{
	ID: "SCOPE-09", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "An east-west gateway serves exactly the global services of its cluster, and the waypoints of global services.",
	Sources: []Source{
		note("55478", ""),
		upstream("TestDirect/east west gateway", "not expected to be reachable"),
		code("pilot ambientindex.go", "chains of the gateway's internal listener"),
	},
	Proof:   "A double HBONE call by name reaches a global service and is refused for a local one; labelled, the local one is reached too; unlabelled again, refused.",
	Provoke: "Open double HBONE to the gateway with a mesh certificate and CONNECT to a global and to a local service's name.",
	Hazards: "The gateway's /clusters keeps withdrawn services for good: judge by calls or by the listener's matcher.",
	Mutants: []string{"M01", "M02"}, State: Proven,
})
