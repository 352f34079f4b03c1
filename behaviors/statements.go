package behaviors

// Statement is one sentence of the page "Install Multicluster" about what ambient multicluster
// supports and what it does not, as the page had it when this project began (Istio 1.27 and 1.28),
// what became of it, and the behaviors that show it.
type Statement struct {
	Says string // the page's words, until 1.28
	// Since1_29 is what the page says from 1.29 on: the same, another sentence, or that it is gone.
	Since1_29 string
	// Seen is what a real mesh did when it was tried by hand (docs/findings.md says on which); empty
	// if nobody tried.
	Seen      string
	Behaviors []string
}

// same stands for a sentence that did not change.
const same = "unchanged"

// Changed is what the page says since 1.29, empty where that is the same.
func (s Statement) Changed() string {
	if s.Since1_29 == same {
		return ""
	}
	return s.Since1_29
}

// Status is what the page says of ambient multicluster in a version: alpha, and beta since 1.29.
func Status(v Version) string {
	if v.compare(Version{1, 29, 0}) < 0 {
		return "alpha"
	}
	return "beta"
}

// Statements are the page's twelve statements in its order.
var Statements = []Statement{
	{
		"alpha status: before proceeding it is critical to understand the current state and limitations of this feature",
		"beta, considered production ready; the installation page still carries the alpha note",
		"With AMBIENT_ENABLE_MULTI_NETWORK off in one cluster: no local call was lost; the entries of the other network were gone " +
			"1.9 s after the new istiod was ready, and back 0.3 s after the flag was on again. Meanwhile clients of the other " +
			"cluster lost their share of a global service (18 of about 24 calls), which no document says.",
		[]string{"INST-01", "INST-04"},
	},
	{
		"Multi-cluster single-network configurations are untested, and may be broken", same,
		"With one label on two networks whose pods have no route to each other: calls to the other cluster failed, nothing crossed in " +
			"plaintext, and where a client had the address of the other cluster's waypoint, 14 of its calls went past its own waypoint.",
		[]string{"INST-08", "TOP-02"},
	},
	{
		"Only multi-network configurations are supported", same,
		"The label of the namespace istio-system is where istiod takes the network from: changed in one cluster, the entries of the " +
			"other network were gone 1.1 s later.",
		[]string{"INST-01", "INST-02", "INST-14", "TOP-01"},
	},
	{
		"Primary remote configuration is not currently supported: you can only have multiple primary clusters", same,
		"Seen with a stand-in for ztunnel: the remote cluster's ztunnel was ready and its pods were captured, but the primary's istiod told " +
			"it of the primary's pods and services only, and of none of its own. No call within the remote cluster, to it or from it was " +
			"answered (24 of 24 each); calls within the primary were.",
		[]string{"INST-01", "INST-09"},
	},
	{
		"Universal waypoint deployments are assumed: all clusters must have identically named waypoint deployments", same,
		"Where one cluster's waypoint was missing or mistyped, that cluster's clients were let past a DENY to their own pods (11 and 12 of " +
			"24 calls), and their calls to the other cluster failed. The Service's status said WaypointBound=False. The cluster whose " +
			"waypoint was right was not affected.",
		[]string{"WP-01", "WP-03", "WP-04"},
	},
	{
		"Waypoint configurations must be synchronized manually across clusters", same,
		"An authorization policy that only one cluster had bound that cluster's clients (20 of 20 calls got 403) and not the other's (40 " +
			"of 40 got 200, 16 of them from pods of the cluster that had it).",
		[]string{"WP-06", "WP-08", "ID-04"},
	},
	{
		"Traffic routing relies on consistent waypoint naming conventions", same,
		"The waypoint of the same name in the other cluster took over when the local one was gone and its Service was global: 140 of 140 " +
			"calls. Where the waypoint that a cluster's services named was missing, half of the calls of its clients failed.",
		[]string{"WP-01", "WP-04", "WP-11", "FO-06"},
	},
	{
		"Only the local cluster's service scope configuration is used as the source of truth",
		"Only uniform service scope configurations are supported",
		"With the label in one cluster only, both stayed with their own pods, and no call failed. Behind a waypoint it is not so: clients of " +
			"the cluster that had label and waypoint lost half of their calls (65 of 120 got 503).",
		[]string{"SCOPE-04", "SCOPE-05", "SCOPE-06", "SCOPE-07", "SCOPE-08", "SCOPE-14", "SCOPE-17", "INST-10"},
	},
	{
		"Remote cluster service scopes are not respected, which can lead to unexpected traffic behavior",
		"Only uniform service scope configurations are supported",
		"They are respected as a filter where no waypoint is: a cluster without the label gets no calls of the others. Where there is one, " +
			"it sends about half of the calls there all the same, and they fail.",
		[]string{"SCOPE-01", "SCOPE-02", "SCOPE-07", "SCOPE-13", "SCOPE-17"},
	},
	{
		"If a service's waypoint is marked as global, that service will also be global",
		"This can lead to unintended cross-cluster traffic in single-network multi-cluster deployments",
		"It is not so between networks: a local service behind a global waypoint stayed local (40 of 40 calls), and when its waypoint was " +
			"gone, its calls failed (7 of 7 batches), while a global service beside it was served through the other cluster's waypoint.",
		[]string{"WP-07", "WP-08", "WP-09", "SCOPE-10"},
	},
	{
		"Ambient east-west gateways currently only support meshed mTLS traffic",
		"the same until 1.29; other TLS may pass since 1.30, and the sentence is gone",
		"Only ports 15008 and 15021 were open. Plaintext got no byte, or one TLS alert; a certificate of another CA, trust domain or " +
			"time got an alert. But the pods of a global service that are outside the mesh answered a single tunnel, over plaintext from " +
			"gateway to pod.",
		[]string{"GW-01", "GW-02", "GW-03", "GW-04", "GW-05", "GW-06", "GW-07", "GW-08", "GW-09", "GW-10", "GW-11", "GW-12", "GW-14",
			"GW-15", "GW-17", "GW-18", "GW-20", "GW-21", "GW-22", "GW-31", "WP-05", "SVC-09", "ID-09"},
	},
	{
		"Cannot currently expose istiod across networks using ambient east-west gateways",
		"the same until 1.29; gone since",
		"By its name and its address istiod did not answer. It did once its own Service had the label istio.io/global: then 15014 and 15012 " +
			"answered a single tunnel, with istiod's certificate. Do not label it. A classic gateway beside it, with an upstream Envoy, " +
			"exposed istiod to another network at once: its certificate, and its configuration for a proxy there.",
		[]string{"GW-13", "GW-21", "GW-36", "INT-09"},
	},
}
