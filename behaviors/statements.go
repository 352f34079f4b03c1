package behaviors

// Statement is one sentence of the page "Install Multicluster" about what ambient multicluster
// supports and what it does not, as the page had it when this project began (Istio 1.27 and 1.28),
// what became of it, and the behaviors that show it.
type Statement struct {
	Says string // the page's words, until 1.28
	// Since1_29 is what the page says from 1.29 on: the same, another sentence, or that it is gone.
	Since1_29 string
	Behaviors []string
}

// same stands for a sentence that did not change.
const same = "unchanged"

// Statements are the page's twelve statements in its order.
var Statements = []Statement{
	{
		"alpha status: before proceeding it is critical to understand the current state and limitations of this feature",
		"beta, considered production ready; the installation page still carries the alpha note",
		[]string{"INST-01", "INST-04"},
	},
	{"Multi-cluster single-network configurations are untested, and may be broken", same, []string{"INST-08", "TOP-02"}},
	{"Only multi-network configurations are supported", same, []string{"INST-01", "INST-02", "INST-14", "TOP-01"}},
	{
		"Primary remote configuration is not currently supported: you can only have multiple primary clusters",
		same,
		[]string{"INST-01", "INST-09"},
	},
	{
		"Universal waypoint deployments are assumed: all clusters must have identically named waypoint deployments",
		same,
		[]string{"WP-01", "WP-03", "WP-04"},
	},
	{"Waypoint configurations must be synchronized manually across clusters", same, []string{"WP-06", "WP-08", "ID-04"}},
	{"Traffic routing relies on consistent waypoint naming conventions", same, []string{"WP-01", "WP-04", "FO-06"}},
	{
		"Only the local cluster's service scope configuration is used as the source of truth",
		"Only uniform service scope configurations are supported",
		[]string{"SCOPE-07", "SCOPE-08"},
	},
	{
		"Remote cluster service scopes are not respected, which can lead to unexpected traffic behavior",
		"Only uniform service scope configurations are supported",
		[]string{"SCOPE-01", "SCOPE-02", "SCOPE-07", "SCOPE-13"},
	},
	{
		"If a service's waypoint is marked as global, that service will also be global",
		"This can lead to unintended cross-cluster traffic in single-network multi-cluster deployments",
		[]string{"WP-07", "SCOPE-10"},
	},
	{
		"Ambient east-west gateways currently only support meshed mTLS traffic",
		"the same until 1.29; other TLS may pass since 1.30, and the sentence is gone",
		[]string{"GW-01", "GW-02", "GW-03", "GW-08", "GW-20", "GW-21", "ID-09"},
	},
	{
		"Cannot currently expose istiod across networks using ambient east-west gateways",
		"the same until 1.29; gone since",
		[]string{"GW-13", "GW-21"},
	},
}
