package behaviors

var SidecarToAmbient = declare(Behavior{
	ID: "INT-01", Level: Limitation, Istio: ">=1.27", Needs: []Need{Sidecars},
	Promise: "Sidecars of one cluster do not reach ambient pods of the other: what they get is recorded.",
	Sources: []Source{
		issue("istio/istio#57878", ""),
		note("57878", "").during(">=1.29"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local-only", "only local endpoints are used"},
			{"fails", "a share of calls fails"},
			{"works", "both clusters serve"},
		},
		Unsafe: []Outcome{
			{"plaintext", "calls cross in the clear"},
		},
	},
	Proof:   "Calls from a sidecar client; an ambient client reaches both.",
	Provoke: "Call a global service from a pod with a sidecar.",
	State:   notAutomated("it needs a mesh with sidecars, which the fleet does not make"),
})

var AmbientToSidecar = declare(Behavior{
	ID: "INT-02", Level: Limitation, Istio: ">=1.27", Needs: []Need{Sidecars},
	Promise: "What ambient clients get from pods with sidecars of the other cluster is recorded.",
	Sources: []Source{issue("istio/istio#57877", "")},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"local-only", "only local endpoints are used"},
			{"fails", "a share of calls fails"},
			{"works", "both clusters serve"},
		},
		Unsafe: []Outcome{
			{"plaintext", "calls cross in the clear"},
		},
	},
	Proof:   "Calls to a global service whose remote pods have sidecars; ambient pods serve.",
	Provoke: "Inject sidecars into the other cluster's servers.",
	State:   notAutomated("it needs a mesh with sidecars, which the fleet does not make"),
})

var BothGatewaysSideBySide = declare(Behavior{
	ID: "INT-03", Level: Extended, Istio: ">=1.27", Needs: []Need{Sidecars}, Feature: FeatureSidecarInterop,
	Promise: "A classic east-west gateway and an ambient one work side by side.",
	Sources: []Source{issue("istio/istio#60887", "")},
	Proof:   "Each kind of client crosses by its own gateway.",
	Provoke: "Install both gateways in each cluster.",
	State:   notAutomated("it needs a mesh with sidecars, which the fleet does not make"),
})

var FlagInSidecarMesh = declare(Behavior{
	ID: "INT-04", Level: Limitation, Istio: ">=1.27", Needs: []Need{Sidecars, MeshAdmin},
	Promise: "Turning ambient multi-network on in a sidecar multicluster mesh is not recommended: what changes is recorded.",
	Sources: []Source{
		issue("istio/istio#61713", ""),
		doc(pageIndex, "we do not recommend enabling").during(">=1.31"),
	},
	Outcomes: &Outcomes{
		Acceptable: []Outcome{
			{"endpoints-lost", "sidecars lose remote endpoints"},
			{"unchanged", "sidecars keep theirs"},
		},
		Unsafe: []Outcome{
			{"plaintext", "calls cross in the clear"},
		},
	},
	Proof:   "Endpoints before and after.",
	Provoke: "Turn the flag on and read a sidecar's endpoints.",
	State:   notAutomated("it needs a mesh with sidecars, which the fleet does not make"),
})

var PlainClientsStayLocal = declare(Behavior{
	ID: "INT-05", Level: Core, Istio: ">=1.27",
	Promise: "A client outside the mesh reaches local pods only, and none under STRICT.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "Its calls to a global service are all local; under STRICT none succeeds; a mesh client reaches both.",
	Provoke: "Call a global service from a pod outside the mesh.",
	Mutants: []string{"M66", "M86"}, State: Proven,
})

var PlainServersStayReachable = declare(Behavior{
	ID: "INT-06", Level: Core, Istio: ">=1.27",
	Promise: "A mesh client reaches services outside the mesh as before, in its own cluster only.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "Every call succeeds and is answered in the client's cluster, while its calls to a global service in the mesh reach both.",
	Provoke: "Call a service whose pods are outside the mesh, in every cluster.",
	Hazards: "A global one is another matter: SVC-09.",
	Mutants: []string{"M85"}, State: Proven,
})

var LateEnrolment = declare(Behavior{
	ID: "INT-07", Level: Extended, Istio: ">=1.27", Feature: FeatureUncapturedWorkloads,
	Promise: "A namespace that joins the mesh later is joined across clusters without a restart.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "Before the label calls are local, after it both serve.",
	Provoke: "Label a namespace after its pods run.",
	State:   notAutomated("planned"),
})

var ProbesAndJobs = declare(Behavior{
	ID: "INT-08", Level: Extended, Istio: ">=1.27", Feature: FeatureUncapturedWorkloads,
	Promise: "Probes, scrapes, Jobs and host-network clients are not disturbed.",
	Sources: []Source{implied(pageIndex)},
	Proof:   "Each works as without the mesh.",
	Provoke: "Run each in a namespace of the mesh.",
	State:   notAutomated("planned"),
})

var ClassicGatewayExposesIstiod = declare(Behavior{
	ID: "INT-09", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshCA, MeshAdmin, NodeAccess, IstioCharts}, Feature: FeatureSidecarInterop,
	Promise: "A classic east-west gateway beside the ambient one exposes istiod to other networks. The ambient one still does not.",
	Sources: []Source{
		doc(pageIndex, "You can still use a classic e/w gateway for this").during("<1.30"),
		code("samples/multicluster/expose-istiod.yaml", "TLS on 15012 and 15017 is passed through, whatever its server name"),
	},
	Proof: "Istio's gateway chart and the objects of its sample, in one cluster. Clients of the other networks are shown nothing before, " +
		"and then istiod's certificate by the mesh's CA. istiod configures a proxy of another cluster that has a token of its " +
		"ServiceAccount, and refuses one without. A proxy there that has no other control plane becomes ready. Through each " +
		"ambient gateway not one byte of istiod comes, while its calls to a global service are served.",
	Provoke: "Install the gateway chart, apply expose-istiod.yaml, and connect to port 15012 from another network.",
	Hazards: "A firewall between the networks must let 15012 and 15017 in. istiod knows the tokens of a cluster by its remote secret.",
	Mutants: []string{"M04", "M32", "M68"}, State: Proven,
})
