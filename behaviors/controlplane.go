package behaviors

var RemoteClustersAreSynced = declare(Behavior{
	ID: "CP-01", Level: Core, Istio: ">=1.27", In: []Profile{ProfileSmoke},
	Promise: "Every control plane lists every other cluster as synced.",
	Sources: []Source{doc(pageVerify, "All clusters should indicate their status as synced")},
	Proof:   "Each istiod names itself without a secret and every other cluster with one and the status synced; a cluster nobody registered is not listed.",
	Provoke: "Run istioctl remote-clusters in each cluster.",
	Hazards: "The status tells of the first synchronisation only and never changes after it, CP-08.",
	Mutants: []string{"M04"}, State: Proven,
})
