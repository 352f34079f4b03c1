package behaviors

var UninstallLeavesNothing = declare(Behavior{
	ID: "CLN-01", Level: Core, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "The documented uninstallation leaves nothing in the API but what the page names as optional.",
	Sources: []Source{
		doc(pageInstall, "Cleanup"),
		upstream("ambient multicluster doc test", "Everything should be removed once cleanup completes"),
	},
	Proof:   "The difference of all objects before and after is empty but for those; skipping a step shows in it.",
	Provoke: "Follow the page's clean-up and compare.",
	Hazards: "Expected leftovers: GatewayClasses, the root certificate's ConfigMaps, namespace labels.",
	State:   notAutomated("framework/install undoes and checks it in its own test; a spec that follows the page's commands is planned"),
})

var NodesAreClean = declare(Behavior{
	ID: "CLN-02", Level: Core, Istio: ">=1.27", Needs: []Need{NodeAccess, Disruptive},
	Promise: "Uninstalling leaves nothing on the nodes: no rules, no CNI configuration, no binary.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Before and after are equal; pods work in the clear afterwards.",
	Provoke: "Compare the node's rules and CNI files before and after.",
	State:   notAutomated("planned: it removes istio-cni from a fleet"),
})

var UnenrollingIsLocal = declare(Behavior{
	ID: "CLN-03", Level: Core, Istio: ">=1.27",
	Promise: "Taking one namespace out of the mesh leaves the rest as it was.",
	Sources: []Source{implied(pageInstall)},
	Proof: "No call between other namespaces fails while a namespace of one cluster leaves the mesh. A client in it reaches local pods " +
		"only, in plaintext, and all clusters' once it is back.",
	Provoke: "Remove the namespace's label in one cluster.",
	Mutants: []string{"M92"}, State: Proven,
})

var RemovingAClusterLeavesNothing = declare(Behavior{
	ID: "CLN-04", Level: Core, Istio: ">=1.27", Needs: []Need{MeshAdmin, Disruptive},
	Promise: "Removing a cluster's secret and gateway leaves no trace of it in the other clusters' ztunnels.",
	Sources: []Source{implied(pageInstall)},
	Proof: "The gateway goes, and the other clusters' ztunnels still know workloads of the network; the secrets go, and they know none, " +
		"and serve by themselves. Controls: with secret and gateway they know them again, and those of their own network always.",
	Provoke: "Delete secret and gateway and read ztunnel's configuration.",
	Mutants: []string{"M41"}, State: Proven,
})

var Reinstallation = declare(Behavior{
	ID: "CLN-05", Level: Core, Istio: ">=1.27", Needs: []Need{Disruptive},
	Promise: "A cluster that was uninstalled can be installed again.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "INST-01 holds after it; without installing it does not.",
	Provoke: "Uninstall and install.",
	State:   notAutomated("planned for the long profile: it installs the mesh twice"),
})

var SuiteLeavesNothing = declare(Behavior{
	ID: "CLN-06", Level: Core, Istio: ">=1.27",
	Promise: "The suite leaves nothing behind: no namespace, secret, cluster, network or rule.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "What exists after a run is what existed before it; a planted leftover is found.",
	Provoke: "Compare before and after a run.",
	State: notAutomated("every run checks it when its specs have ended, and is partial if something is left; the fleet's part is in " +
		"the tests of clusters"),
})

var HelmUninstallOrder = declare(Behavior{
	ID: "CLN-07", Level: Extended, Istio: ">=1.27", Needs: []Need{Disruptive}, Feature: FeatureInstallVariants,
	Promise: "Uninstalling by Helm in the documented order succeeds.",
	Sources: []Source{implied(pageInstall)},
	Proof:   "Every step succeeds and CLN-01 holds.",
	Provoke: "Uninstall ztunnel, cni, istiod and base in this order.",
	State:   notAutomated("framework/install undoes in this order and checks it in its own test; a spec is planned"),
})

var DashboardsCleanUp = declare(Behavior{
	ID: "CLN-08", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureDashboards,
	Promise: "What the observability page's clean-up leaves behind is recorded.",
	Sources: []Source{doc(pageObservability, "delete crd kialis.kiali.io")},
	Proof:   "The difference of all objects before and after.",
	Provoke: "Follow the page and its clean-up.",
	State:   notAutomated("its images are on registries that an offline run does not reach"),
})
