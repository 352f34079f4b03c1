package behaviors

var ServiceMustExistInClientCluster = declare(Behavior{
	ID: "DNS-01", Level: Core, Istio: ">=1.27",
	Promise: "A Service in the client's cluster, even without pods, is enough for the client to reach the pods of the other cluster.",
	Sources: []Source{doc(pageVerify, "the HelloWorld Service must be deployed in both clusters, even if one cluster has no local")},
	Proof:   "With the Service and no pods in the client's cluster forty of forty calls are served remotely; a name with no Service there is not found.",
	Provoke: "Apply only the Service in one cluster and call it there.",
	Mutants: []string{"M01"}, State: Proven,
})
