package behaviors

var VersionSkew = declare(Behavior{
	ID: "UPG-01", Level: Extended, Istio: ">=1.27", Needs: []Need{OtherVersion}, Feature: FeatureVersionSkew,
	Promise: "Control and data planes one minor apart, in either direction and per cluster, work together.",
	Sources: []Source{
		note("57656", ""),
		issue("istio/istio#60486", "Sidecars prior to 1.29.2 break on upgrade"),
	},
	Proof:   "Spreading, identity and failover hold under each skew.",
	Provoke: "Install the clusters with versions one minor apart.",
	State:   notAutomated("it needs a second Istio version in the fleet"),
})

var RollingUpgrade = declare(Behavior{
	ID: "UPG-02", Level: Extended, Istio: ">=1.27", Needs: []Need{OtherVersion, Disruptive}, Feature: FeatureVersionSkew,
	Promise: "Upgrading one cluster under load costs the others nothing.",
	Sources: []Source{implied("upgrade")},
	Proof:   "No call of the other cluster fails.",
	Provoke: "Upgrade one cluster while calls run.",
	State:   notAutomated("it needs a second Istio version in the fleet"),
})

var CompatibilityVersion = declare(Behavior{
	ID: "UPG-03", Level: Extended, Istio: ">=1.27", Needs: []Need{MeshAdmin}, Feature: FeatureVersionSkew,
	Promise: "compatibilityVersion keeps the older release's behavior across clusters.",
	Sources: []Source{implied("upgrade")},
	Proof:   "The chapter's calls under each setting.",
	Provoke: "Set compatibilityVersion on one istiod.",
	State:   notAutomated("planned"),
})

var TurningBaggageOn = declare(Behavior{
	ID: "UPG-04", Level: Extended, Istio: ">=1.29", Needs: []Need{MeshAdmin}, Feature: FeatureVersionSkew,
	Promise: "Turning baggage on changes telemetry only.",
	Sources: []Source{implied("upgrade")},
	Proof:   "No call fails while it changes.",
	Provoke: "Set AMBIENT_ENABLE_BAGGAGE on the living mesh.",
	State:   notAutomated("planned"),
})

var ReconnectSendsChangesOnly = declare(Behavior{
	ID: "UPG-05", Level: Extended, Istio: ">=1.31", Feature: FeatureVersionSkew,
	Promise: "A ztunnel that reconnects gets only what changed.",
	Sources: []Source{note("wds-reconnect-version-skip", "")},
	Proof:   "The bytes after istiod's restart are a fraction of the first load.",
	Provoke: "Reconnect an xDS client with the versions it has.",
	State:   notAutomated("planned: it needs an xDS client of the suite's own"),
})
