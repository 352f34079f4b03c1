package behaviors

var GlobalLabelJoinsClusters = declare(Behavior{
	ID: "SCOPE-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "A service labeled istio.io/global=true in every cluster is served by the endpoints of all of them.",
	Sources: []Source{
		doc(pageVerify, "mark the helloworld service in cluster1 as global so that it can be accessed from other clusters in the mesh"),
	},
	Proof:   "Calls from each cluster stay local before the label and reach all clusters after it.",
	Provoke: "Label the service in both clusters and call it from both.",
	Hazards: "The endpoints must exist; allow for istiod's debounce.",
	Mutants: []string{"M01", "M02", "M03", "M31", "M116"}, State: Proven,
})

var ServicesAreLocalByDefault = declare(Behavior{
	ID: "SCOPE-02", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "A service without the label is served by its own cluster only.",
	Sources: []Source{note("55478", "A locally scoped service is only discoverable by the data plane in the same cluster")},
	Proof:   "Calls from each cluster all stay local, while a global service beside it reaches all.",
	Provoke: "Deploy the same service in both clusters without a label and call it from both.",
	Mutants: []string{"M02", "M23"}, State: Proven,
})

var UnlabelingWithdrawsService = declare(Behavior{
	ID: "SCOPE-03", Level: Core, Istio: ">=1.27",
	Promise: "Taking the label away withdraws the service from the other clusters.",
	Sources: []Source{implied(pageIndex)},
	Proof: "After convergence no call is served remotely. Calls run while the label is removed. How many of them fail " +
		"is recorded, because no source promises that none fails.",
	Provoke: "Remove istio.io/global in both clusters while calls run.",
	Hazards: "Open connections outlive the change; count new connections only. One cluster's gateway may drop the service " +
		"a moment before the other cluster's ztunnel learns of it: 1 reset in 336 calls was seen.",
	Mutants: []string{"M18", "M23"}, State: Proven,
})

var OnlyTheLiteralTrueCounts = declare(Behavior{
	ID: "SCOPE-04", Level: Core, Istio: ">=1.27",
	Promise: "Only the value \"true\" makes a service global.",
	Sources: []Source{code("manifests/helm-profiles/ambient.yaml", "operator In, values true")},
	Proof: "With \"True\", \"1\", \"yes\" and an empty value in every cluster the service stays local, while one with \"true\" is " +
		"served by all; so are they, once they have \"true\".",
	Provoke: "Label the service istio.io/global=True.",
	Mutants: []string{"M49"}, State: Proven,
})

var NamespaceLabelDoesNothingByDefault = declare(Behavior{
	ID: "SCOPE-05", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshAdmin},
	Promise: "A namespace labeled istio.io/global=true does not make its services global unless the mesh configuration says so.",
	Sources: []Source{
		note("55478", "selection of individual services or services in a namespace"),
		code("manifests/helm-profiles/ambient.yaml", "the rule of the profile has a services selector only"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local", "the label on the namespace changes nothing"},
			{"global", "the services of the namespace become global"},
		},
		Unsafe: []Outcome{
			{"one-sided-errors", "calls fail where only one cluster takes the label for global"},
		},
	},
	Proof: "With the label on the namespace only, what each cluster's client sees is recorded; a call that fails 10 s after the label or " +
		"later is unsafe. With one more rule, for namespaces with the label, all clusters answer.",
	Provoke: "Label the namespace in both clusters and call from both.",
	Mutants: []string{"M54", "M55"}, State: Proven,
})

var ScopeRulesCombine = declare(Behavior{
	ID: "SCOPE-06", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureScopeRules,
	Promise: "Rules of serviceScopeConfigs combine as documented: selectors of one rule must all match, and any matching " +
		"global rule makes a service global.",
	Sources: []Source{
		implied(pageIndex),
		code("pilot services.go", "a LOCAL rule never wins over a GLOBAL one, in any order"),
	},
	Proof: "Four services are local without rules of their own. A service that both selectors of a rule match is global, those that " +
		"only one of them matches are local; one with a global rule between two local ones is global. With the selectors of the " +
		"rules swapped, those that were global are local and the others global.",
	Provoke: "Set serviceScopeConfigs to [LOCAL for a label, GLOBAL for the same label] and call a service that has it.",
	Hazards: "A comment in the API promises that local takes precedence, of clusterLocal in serviceSettings; the rules' own comment does not.",
	Mutants: []string{"M55"}, State: Proven,
})

var LocalScopeIsSourceOfTruth = declare(Behavior{
	ID: "SCOPE-07", Level: Limitation, Istio: ">=1.27", In: []Profile{ProfileCore},
	Promise: "Labels that differ between clusters are not supported: which cluster decides about a service that only some " +
		"label is recorded. A cluster without the label always serves its own clients, and no call fails once the change has arrived.",
	Sources: []Source{
		doc(pageIndex, "Only the local cluster's service scope configuration is used as the source of truth").during("<1.29"),
		doc(pageIndex, "Remote cluster service scopes are not respected").during("<1.29"),
		doc(pageIndex, "Only uniform service scope configurations are supported").during(">=1.29"),
		issue("istio/istio#58269", ""),
		code("pilot ambient multicluster.go, services.go", "the local rules are applied to each cluster's own labels"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"intersection", "a service is joined only between the clusters where it is labeled"},
			{"local-truth", "the label in the client's cluster decides alone: it reaches the service everywhere"},
		},
		Unsafe: []Outcome{{"errors", "a label that is missing elsewhere makes calls fail"}},
	},
	Proof: "All labeled is the control. Then the label goes in one cluster, in the others, in all: clients of clusters " +
		"without it are served by their own, and what clients of the others see is recorded; a call that fails is unsafe.",
	Provoke: "Label the service in one cluster only and call it from both.",
	Hazards: "1.27.0 to 1.28.0 leaked remote endpoints behind a waypoint when only one side was labeled.",
	Mutants: []string{"M01", "M23"}, State: Proven,
})

var RulesMustBeUniform = declare(Behavior{
	ID: "SCOPE-08", Level: Limitation, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Scope rules that differ between clusters are not supported: who serves a service that only the rules of its client's " +
		"cluster match is recorded. A cluster whose rules do not match serves its own clients, and no call is sent to a cluster that " +
		"does not serve the service.",
	Sources: []Source{blog(postAlpha, "ServiceScope must be uniform across clusters")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"intersection", "a service is joined only between the clusters whose rules match it"},
			{"local-truth", "the rules of the client's cluster decide alone: it reaches the service everywhere"},
		},
		Unsafe: []Outcome{{"errors", "calls are sent where nobody serves them, instead of staying local"}},
	},
	Proof: "The rules of one cluster look for another label than those of the others. A service with both labels is answered by all; one " +
		"with one of them by its own cluster where the rules do not match, and what a client sees where they match is recorded; a call " +
		"that fails 10 s after the change or later is unsafe.",
	Provoke: "Give the clusters rules for different labels, and call a service with one of them from the cluster whose rules match.",
	Mutants: []string{"M55"}, State: Proven,
})

var GatewayServesExactlyGlobalServices = declare(Behavior{
	ID: "SCOPE-09", Level: Core, Istio: ">=1.27", Needs: []Need{MeshCA},
	Promise: "An east-west gateway serves exactly the global services of its cluster.",
	Sources: []Source{
		note("55478", ""),
		upstream("TestDirect/east west gateway", "not expected to be reachable"),
		code("pilot ambientindex.go", "chains of the gateway's internal listener"),
	},
	Proof: "A double HBONE call by name, at the gateway's address from another network and at every pod behind " +
		"it, reaches a global service and is refused for a local one. Once their labels are exchanged, so are " +
		"the results.",
	Provoke: "Open double HBONE to the gateway with a mesh certificate and CONNECT to a global and to a local service's name.",
	Hazards: "The gateway's /clusters keeps withdrawn services for good: judge by calls or by the listener's matcher.",
	Mutants: []string{"M01", "M02", "M23"}, State: Proven,
})

var GlobalWaypointAndLocalService = declare(Behavior{
	ID: "SCOPE-10", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "A local service behind a global waypoint is not served by another cluster while its own waypoint is up.",
	Sources: []Source{
		doc(pageIndex, "If a service's waypoint is marked as global, that service will also be global").during("<1.29"),
		doc(pageIndex, "This can lead to unintended cross-cluster traffic in single-network multi-cluster deployments").during(">=1.29"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local", "all calls stay in the client's cluster"},
		},
		Unsafe: []Outcome{
			{"served-remotely", "another cluster serves a service that is local"},
		},
	},
	Proof: "With all waypoints up the calls of each cluster stay there for the hold time, while a global service beside it " +
		"is served by all.",
	Provoke: "Bind a local service to a global waypoint and call it from both clusters.",
	Mutants: []string{"M23"}, State: Proven,
})

var GlobalServiceWithoutPods = declare(Behavior{
	ID: "SCOPE-11", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "A global service without pods in one cluster is served by the other without errors; without pods anywhere it fails at once.",
	Sources: []Source{implied(pageIndex)},
	Proof: "Without pods in one cluster all calls are served by the others and none fails within the hold time; without pods anywhere all " +
		"end within three seconds, refused or reset, while a service with pods is served; with pods again, so is this one.",
	Provoke: "Deploy the servers in one cluster only, then scale them to 0.",
	Mutants: []string{"M01"}, State: Proven,
})

var PortsMustMatch = declare(Behavior{
	ID: "SCOPE-12", Level: Extended, Istio: ">=1.27", Feature: FeatureUnevenServices,
	Promise: "A service's ports must be the same in all clusters; the target port may differ.",
	Sources: []Source{
		blog(postAlpha, "we require all services ... to have the exact same configuration"),
		code("pilot ambient multicluster.go", "the local ports are kept, and a mismatch is logged"),
	},
	Proof: "In the cluster that has the pods the service's port leads to another port of them than in the others: calls from every " +
		"cluster reach that one, and before they reached the first. What calls do once the port itself has another number there is recorded; " +
		"that cluster's own clients reach the new one.",
	Provoke: "Change targetPort, then port, in one cluster.",
	Mutants: []string{"M110"}, State: Proven,
})

var NamespacesAreTheSame = declare(Behavior{
	ID: "SCOPE-13", Level: Core, Istio: ">=1.27",
	Promise: "Services are the same only when name and namespace are: a service of the same name in another namespace is never served for it.",
	Sources: []Source{blog(postAlpha, "adopts namespace sameness")},
	Proof: "A global service that one cluster has in one namespace, and the others serve in another one, is answered by its own " +
		"cluster's pods only; the one of the other namespace is answered by the others. Once the others have it in the same " +
		"namespace, all answer.",
	Provoke: "Create the global service under another namespace in the second cluster and call the first.",
	Mutants: []string{"M50"}, State: Proven,
})

var DiscoverySelectorsHideNamespaces = declare(Behavior{
	ID: "SCOPE-14", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureScopeRules,
	Promise: "A namespace that one cluster's discoverySelectors exclude disappears from that cluster's view only.",
	Sources: []Source{
		implied(pageIndex),
		code("pilot", "remote namespaces are filtered by the local mesh's selectors"),
	},
	Proof: "A global service of the namespace, with pods in the other clusters, is answered everywhere. Excluded in one cluster, calls " +
		"from there are refused or reset within three seconds, and those from the others are answered; a service of another namespace is " +
		"answered everywhere. Selected again, so is this one.",
	Provoke: "Set discoverySelectors on one istiod so that the namespace does not match.",
	Mutants: []string{"M55", "M56"}, State: Proven,
})

var ClusterLocalSettingsAreRecorded = declare(Behavior{
	ID: "SCOPE-15", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin, Waypoints}, Feature: FeatureScopeRules,
	Promise: "What serviceSettings clusterLocal does to a global service is recorded, with and without a waypoint.",
	Sources: []Source{
		implied(pageIndex),
		code("pilot", "honored in endpoint discovery, not in workload discovery"),
	},
	Proof:   "The observed scope through ztunnel and through a waypoint, with the setting and without.",
	Provoke: "Declare the namespace cluster-local in the mesh configuration and call a global service in it.",
	State:   notAutomated("it changes the mesh configuration; planned with the scope rules"),
})

var ScopeStripsSidecarEndpoints = declare(Behavior{
	ID: "SCOPE-16", Level: Limitation, Istio: ">=1.27", Needs: []Need{Sidecars, MeshAdmin},
	Promise: "In a mesh with sidecars, turning ambient multi-network on removes remote endpoints from the sidecars unless " +
		"their services are global.",
	Sources: []Source{
		issue("istio/istio#61713", "turning on AMBIENT_ENABLE_MULTI_NETWORK makes sidecars lose all endpoints from remote clusters"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"stripped", "sidecars lose the remote endpoints of services that are not global"},
			{"kept", "sidecars keep their remote endpoints"},
		},
		Unsafe: []Outcome{
			{"plaintext", "remote endpoints are reached without mutual TLS"},
		},
	},
	Proof:   "Endpoints of a sidecar before and after the flag; the outcome is recorded.",
	Provoke: "Turn the flag on in a sidecar multicluster mesh and read a sidecar's endpoints.",
	State:   notAutomated("it needs a mesh with sidecars, which the fleet does not make"),
})

var OneSidedLabelBehindWaypoint = declare(Behavior{
	ID: "SCOPE-17", Level: Limitation, Istio: ">=1.27", Needs: []Need{Waypoints}, In: []Profile{ProfileCore},
	Promise: "Labels that differ between clusters are not supported, behind a waypoint either: who serves a service that only its " +
		"client's cluster labels is recorded. No call is sent to a cluster that does not serve the service.",
	Sources: []Source{
		doc(pageIndex, "Only the local cluster's service scope configuration is used as the source of truth").during("<1.29"),
		doc(pageIndex, "Only uniform service scope configurations are supported").during(">=1.29"),
		issue("istio/istio#58269", ""),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"intersection", "a service is joined only between the clusters where it is labeled"},
			{"local-truth", "the label in the client's cluster decides alone: it reaches the service everywhere"},
		},
		Unsafe: []Outcome{{"errors", "the waypoint sends calls where nobody serves them"}},
	},
	Proof: "Without labels each cluster serves its own clients. Then some clusters get the label, and the others still serve their own " +
		"clients. What a client with the label sees is recorded; a call that fails 10 s after the change or later is unsafe. A service " +
		"made later, with the label everywhere, is joined: so the label has been read.",
	Provoke: "Put a service behind a waypoint in both clusters, label it in one, and call it from there.",
	Hazards: "1.27.0 to 1.28.0 leaked remote endpoints behind a waypoint when only one side was labeled. A waypoint keeps connections " +
		"and calls on them go on: where the label is taken away instead of given, the fault shows late or never.",
	Mutants: []string{"M01"}, State: Proven,
})

var BecomingGlobalUnderTraffic = declare(Behavior{
	ID: "SCOPE-18", Level: Core, Istio: ">=1.27", Needs: []Need{Waypoints},
	Promise: "A service that is made global while it is called serves on, with and without a waypoint, but for a moment.",
	Sources: []Source{implied(pageIndex)},
	Proof: "Clients of every cluster call two local services, one of them behind a waypoint, while both are made global. No call " +
		"fails that begins 10 s after the change or later, and all clusters serve. How many fail before is recorded, because no source " +
		"promises that none does.",
	Provoke: "Label services in all clusters while calls run.",
	Hazards: "A client's proxy learns of the other cluster's pods before that cluster's gateway takes connections for them: in 6 of " +
		"24 changes a call within the first half second was reset, or got 503 from the waypoint, where it had been served locally.",
	Mutants: []string{"M01", "M03"}, State: Proven,
})
