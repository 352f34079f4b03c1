package behaviors

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Fault is something that people met in ambient multicluster, or that a change of Istio mended:
// what a suite like this one is there to catch.
type Fault struct {
	// Threads tell of it: owner/repository#number, or the name of one of Istio's release notes. The
	// first one names the fault.
	Threads []string
	Says    string
	// State is what became of it, as its threads and Istio's source say of the version that is
	// installed by default.
	State FaultState
	// Since is the release with the mending; empty when it is not known, or nothing is mended.
	Since string
	// Behaviors are those that the fault breaks; none when the catalog has no such promise.
	Behaviors []string
	// ShownBy is the one of Behaviors whose spec the fault turns red, or whose recorded outcome it is.
	ShownBy string
	// WhyNot says why no spec shows it.
	WhyNot string
}

// FaultState is whether Istio has a fault, in the version that is installed by default.
type FaultState string

// States of faults.
const (
	FaultFixed   FaultState = "fixed"   // a regression to keep out
	FaultPresent FaultState = "present" // by the source or by what a real mesh did
	FaultOpen    FaultState = "open"    // its thread is open, nobody has tried this version
	FaultUnclear FaultState = "unclear"
)

// Reasons that several faults share.
const (
	noIngress     = "the fleet has no ingress gateway"
	noSidecar     = "the fleet has no sidecars"
	noServiceSpec = "no spec uses ServiceEntries or WorkloadEntries yet"
	noSecondRev   = "the fleet has one revision"
	noTelemetry   = "the chapter on telemetry has no spec yet"
)

// Faults are the faults that were found in public threads, by what they concern.
var Faults = []Fault{
	// Control plane and remote secrets.
	{Threads: []string{"istio/istio#60612"}, Says: "A rotated remote secret is used only after istiod has restarted.",
		State: FaultFixed, Since: "1.30.3", Behaviors: []string{"CP-04"},
		WhyNot: "CP-04 leaves the old token valid, so nothing tells an istiod that goes on with it"},
	{Threads: []string{"istio/istio#60920"}, Says: "After a rotation the other network's gateway is gone, and remote calls stop.",
		State: FaultPresent, Behaviors: []string{"CP-04"}, ShownBy: "CP-04"},
	{Threads: []string{"istio/istio#61043"}, Says: "A rotation wipes the endpoints that waypoints are given of the other cluster.",
		State: FaultFixed, Behaviors: []string{"CP-04"}, ShownBy: "CP-04"},
	{Threads: []string{"istio/istio#60033"}, Says: "After a rotation istiod answers from what the other cluster was before.",
		State: FaultFixed, Behaviors: []string{"CP-04", "CP-18"}, ShownBy: "CP-04"},
	{Threads: []string{"deckhouse/deckhouse#19278"}, Says: "Each renewal of a token costs half a minute without services.",
		State: FaultFixed, Behaviors: []string{"CP-04"}, ShownBy: "CP-04"},
	{Threads: []string{"istio/istio#59876", "istio/istio#59875"}, Says: "Many updates of a remote secret bring istiod into a deadlock.",
		State: FaultFixed, Since: "1.29.3", Behaviors: []string{"CP-05"},
		WhyNot: "CP-05 asks for it, and no mutant stops an istiod that stays alive"},
	{Threads: []string{"istio/istio#60520"}, Says: "Two quick updates of a remote secret make istiod panic.",
		State: FaultFixed, Since: "1.29.5", Behaviors: []string{"CP-05"}, ShownBy: "CP-05"},
	{Threads: []string{"istio/istio#58047"}, Says: "A remote secret that was wrong first and is corrected works only after a restart.",
		State: FaultFixed, Since: "1.28.3", Behaviors: []string{"CP-06"}, ShownBy: "CP-06"},
	{Threads: []string{"ambient-multicluster-sync-gating"},
		Says:  "A restarted istiod tells of the local cluster alone before the others have synchronized.",
		State: FaultFixed, Since: "1.31", Behaviors: []string{"CP-16"}, ShownBy: "CP-16"},
	{Threads: []string{"istio/istio#59603"}, Says: "A waypoint that starts before the network is known has none.",
		State: FaultFixed, Behaviors: []string{"INST-16"}, WhyNot: "INST-16 has no spec yet"},
	{Threads: []string{"istio/istio#59153", "istio/istio#59156"},
		Says:  "A reader role of an older version, without ConfigMaps, makes istiod panic.",
		State: FaultFixed, Since: "1.29.1", Behaviors: []string{"CP-13", "UPG-01"}, WhyNot: "CP-13 has no spec yet"},
	{Threads: []string{"istio/istio#59473", "istio/istio#59474"}, Says: "The same role gives remote workloads the wrong trust domain.",
		State: FaultFixed, Since: "1.29.2", Behaviors: []string{"CP-13"}, WhyNot: "CP-13 has no spec yet"},
	{Threads: []string{"istio/istio#60098"}, Says: "The gauge of remote clusters says timeout after they have synchronized.",
		State: FaultFixed, Behaviors: []string{"CP-17"}, WhyNot: "CP-17 has no spec yet: CP-01 reads istiod's own table"},
	{Threads: []string{"istio/istio#58942"},
		Says:  "The order of remote clusters changes, since their registry is written under a read lock.",
		State: FaultFixed, Since: "1.28.4", Behaviors: []string{"CP-18"}, WhyNot: "CP-18 has no spec yet"},

	// Scope and waypoints.
	{Threads: []string{"istio/istio#58139"}, Says: "Waypoints are given remote endpoints of local services.",
		State: FaultFixed, Since: "1.28.1", Behaviors: []string{"WP-01", "WP-07"}, ShownBy: "WP-01"},
	{Threads: []string{"istio/istio#58269"},
		Says:  "A waypoint is given endpoints of a cluster where the service is not global, and calls to them fail.",
		State: FaultPresent, Behaviors: []string{"SCOPE-17"}, ShownBy: "SCOPE-17"},
	{Threads: []string{"istio/istio#58141", "istio/istio#58144", "istio/istio#58167"},
		Says:  "Gateway and waypoint share a cache entry, so that one gets the other's endpoints.",
		State: FaultFixed, Since: "1.28.1", Behaviors: []string{"GW-30"}, ShownBy: "GW-30"},
	{Threads: []string{"istio/istio#57710"}, Says: "A local service behind a global waypoint is served by the other cluster.",
		State: FaultFixed, Since: "1.28.1", Behaviors: []string{"SCOPE-10", "WP-07"}, ShownBy: "SCOPE-10"},
	{Threads: []string{"istio/istio#57394", "istio/istio#60626", "istio/istio#60628", "istio/istio#61609", "istio/istio#60985"},
		Says:  "Where only the destination's cluster has the waypoint, its clients' connections are reset.",
		State: FaultOpen, Behaviors: []string{"WP-04"}, ShownBy: "WP-04"},
	{Threads: []string{"istio/istio.io#17520"},
		Says:  "A service that names a waypoint which does not exist is called past its policies.",
		State: FaultPresent, Behaviors: []string{"WP-04"}, ShownBy: "WP-04"},
	{Threads: []string{"istio/istio#58039"}, Says: "The remote hop of a waypoint sticks to one endpoint.",
		State: FaultOpen, Behaviors: []string{"LB-06"}, ShownBy: "LB-06"},
	{Threads: []string{"istio/istio#58140"}, Says: "Subsets and weights do not survive the gateway.",
		State: FaultOpen, Behaviors: []string{"FO-08"}, WhyNot: "FO-08 has no spec yet"},
	{Threads: []string{"istio/istio#58248", "istio/istio#58254"},
		Says:  "A TCPRoute or TLSRoute to a global service breaks at the waypoint.",
		State: FaultFixed, Since: "1.28", WhyNot: "the catalog has no promise of these routes: TRF-04 and WP-16 are near"},
	{Threads: []string{"istio/istio#59117"}, Says: "Baggage breaks services whose DestinationRule sets TLS or the PROXY protocol.",
		State: FaultFixed, Since: "1.29.1", Behaviors: []string{"WP-15"}, WhyNot: "WP-15 has no spec yet"},
	{Threads: []string{"istio/istio#61045", "istio/istio#59323", "istio/istio#58187", "istio/istio#60312"},
		Says:  "Waypoints ignore consistent hashing, or do not build its ring anew.",
		State: FaultFixed, Since: "1.31", Behaviors: []string{"LB-12"}, WhyNot: "LB-12 has no spec yet"},
	{Threads: []string{"istio/istio#60728", "istio/istio#60731"}, Says: "A gateway or waypoint that drains never ends.",
		State: FaultFixed, Since: "1.30.3", Behaviors: []string{"RES-01", "RES-06"},
		WhyNot: "RES-01 counts calls and does not measure when the old pod is gone"},
	{Threads: []string{"istio/istio#58064"}, Says: "The Service of a waypoint has to be labeled, too.",
		State: FaultPresent, Behaviors: []string{"WP-08"}, WhyNot: "Istio means it so, and WP-08 holds that the label is needed"},

	// Gateways.
	{Threads: []string{"istio/istio#58630", "istio/istio#59513"}, Says: "A gateway sends a stream to another service than it names.",
		State: FaultFixed, Since: "1.29.2", Behaviors: []string{"GW-29", "LB-03"}, ShownBy: "GW-29"},
	{Threads: []string{"istio/istio#60806"}, Says: "A policy by path on a service makes the gateway refuse all its calls.",
		State: FaultFixed, Since: "1.30.3", Behaviors: []string{"GW-35", "ID-05"}, ShownBy: "GW-35"},
	{Threads: []string{"istio/istio#61748"}, Says: "Of several gateways the one in use changes at nearly every change of an endpoint.",
		State: FaultPresent, Behaviors: []string{"TOP-03"}, WhyNot: "TOP-03 changes no endpoints while it looks which gateway is used"},
	{Threads: []string{"istio/istio#56960", "istio/istio#59319"}, Says: "Of several gateways in a network one is used.",
		State: FaultOpen, Behaviors: []string{"TOP-03"}, ShownBy: "TOP-03"},
	{Threads: []string{"istio/istio#60887"}, Says: "One gateway cannot serve sidecars and ambient.",
		State: FaultOpen, WhyNot: "a wish, and " + noSidecar},
	{Threads: []string{"istio/istio#57289"}, Says: "Istio's script for a gateway ignores its network argument.",
		State: FaultFixed, Since: "1.27", WhyNot: "the suite writes the Gateway itself, as the page does"},
	{Threads: []string{"istio/istio#59959", "istio/istio#60158"},
		Says:  "A live Gateway that gets another revision is left without an owner.",
		State: FaultFixed, Since: "1.31", Behaviors: []string{"UPG-02"}, WhyNot: noSecondRev},
	{Threads: []string{"istio/istio#56767", "istio/istio#55392"},
		Says:  "A Gateway without a revision is never programmed, and nothing says why.",
		State: FaultOpen, Behaviors: []string{"INST-13"}, WhyNot: "INST-13 has no spec yet"},
	{Threads: []string{"istio/istio#61095"}, Says: "A Gateway that is applied while istiod starts gets no Deployment.",
		State: FaultFixed, Since: "1.30.4", Behaviors: []string{"INST-16"}, WhyNot: "INST-16 has no spec yet"},
	{Threads: []string{"istio/istio#61049"}, Says: "istiod is ready before its webhook answers.",
		State: FaultFixed, WhyNot: "the catalog has no promise of the webhook: specs that meet it are unknown"},
	{Threads: []string{"istio/istio#59443", "istio/istio#59949", "istio/istio#59387"},
		Says:  "With CRDs of another version istiod is not ready, or ignores routes.",
		State: FaultUnclear, Behaviors: []string{"INST-11"}, WhyNot: "INST-11 has no spec yet"},
	{Threads: []string{"istio/istio#59767"}, Says: "Proxies are given gateway addresses of a family that they cannot reach.",
		State: FaultFixed, Since: "1.30", Behaviors: []string{"IPV-03"}, WhyNot: "IPV-03 has no spec yet"},
	{Threads: []string{"istio/istio#57525", "istio/istio#59223", "istio/istio#59272"},
		Says:  "TLS that a gateway is to pass through is not passed.",
		State: FaultUnclear, Behaviors: []string{"GW-21"}, ShownBy: "GW-21"},

	// Locality, balancing, life of connections.
	{Threads: []string{"istio/istio#60889", "istio/istio#60890"},
		Says:  "Remote gateways have no locality, so that two remote networks are equal.",
		State: FaultOpen, Behaviors: []string{"LB-10"}, WhyNot: "LB-10 has no spec yet"},
	{Threads: []string{"istio/ztunnel#1980"}, Says: "With the network among its preferences, ztunnel prefers the wrong endpoints.",
		State: FaultFixed, Since: "1.31", Behaviors: []string{"LB-07"}, ShownBy: "LB-07"},
	{Threads: []string{"istio/istio#60422", "istio/istio#60423"},
		Says:  "A service that publishes its not-ready addresses does so for others.",
		State: FaultFixed, Since: "1.30.1", Behaviors: []string{"LB-11"}, ShownBy: "LB-11"},
	{Threads: []string{"istio/istio#60690"}, Says: "Waypoints and gateways are given endpoints that are not ready.",
		State: FaultPresent, Behaviors: []string{"LB-05", "LB-15"}, ShownBy: "LB-15"},
	{Threads: []string{"istio/istio#58514"}, Says: "Each pod that ends costs some tenths of a second of 503.",
		State: FaultOpen, Behaviors: []string{"LB-13", "RES-11"}, ShownBy: "LB-13"},
	{Threads: []string{"istio/ztunnel#1637", "istio/ztunnel#1662", "istio/istio#58389"},
		Says:  "A pooled tunnel to an address that now belongs to another pod fails.",
		State: FaultUnclear, WhyNot: "the catalog has no promise of it, and addresses come back only in small pod ranges"},
	{Threads: []string{"istio/istio#60074"}, Says: "Downloads that are aborted leave tunnels behind, without end.",
		State: FaultPresent, Behaviors: []string{"TRF-16"}, ShownBy: "TRF-16"},

	// Identity and policy.
	{Threads: []string{"istio/istio#61010", "istio/istio#61006"},
		Says:  "STRICT of a namespace or of the mesh does not reach a workload whose own policy has port rules.",
		State: FaultPresent, Since: "1.32", Behaviors: []string{"ID-21"}, ShownBy: "ID-21"},
	{Threads: []string{"istio/istio#61023"}, Says: "PeerAuthentication of the root namespace with a selector is ignored.",
		State: FaultOpen, Behaviors: []string{"ID-22"}, ShownBy: "ID-22"},
	{Threads: []string{"istio/istio#58427", "istio/istio#58345"}, Says: "A trust domain of one's own breaks calls between networks.",
		State: FaultFixed, Since: "1.28.1", Behaviors: []string{"ID-11"},

		WhyNot: "ID-11 has no spec, but the core profile runs on variant domain, which has a trust domain of its own"},
	{Threads: []string{"istio/istio#58511", "istio/istio#61608", "istio/istio#61610", "istio/ztunnel#2092"},
		Says:  "Clusters of different trust domains do not work together, aliases or not.",
		State: FaultOpen, Behaviors: []string{"ID-12"}, WhyNot: "ID-12 has no spec yet: the fleets have one trust domain"},
	{Threads: []string{"istio/istio#61719"}, Says: "Roots that are joined by caCertificates are not supported.",
		State: FaultOpen, Behaviors: []string{"INST-05", "ID-14"},
		WhyNot: "the fleets have one root; GW-03 covers that a foreign CA is refused"},
	{Threads: []string{"istio/istio#46624", "istio/ztunnel#311"},
		Says:  "A new policy by labels does not reach open connections, those of a waypoint among them.",
		State: FaultPresent, Behaviors: []string{"ID-24", "ID-26"}, ShownBy: "ID-24"},
	{Threads: []string{"istio/ztunnel#1567"}, Says: "A failed request to the CA throws valid certificates away.",
		State: FaultFixed, Behaviors: []string{"RES-05", "ID-20"},
		WhyNot: "RES-05 asks for it, and no mutant takes certificates away before they expire"},
	{Threads: []string{"istio/ztunnel#1728"}, Says: "With baggage the far side believes who the caller says it is.",
		State: FaultUnclear, Behaviors: []string{"TEL-02"}, WhyNot: noTelemetry},

	// Ingress, mixing, DNS, services.
	{Threads: []string{"istio/istio#58804"}, Says: "An ingress gateway sees no remote endpoints.",
		State: FaultPresent, Behaviors: []string{"ING-01"}, WhyNot: noIngress},
	{Threads: []string{"istio/istio#60162", "istio/istio#61092", "istio/istio#61093", "istio/istio#61127"},
		Says:  "An ingress gateway bypasses the waypoint as soon as a second cluster joins.",
		State: FaultFixed, Since: "1.30.4", Behaviors: []string{"ING-02"}, WhyNot: noIngress},
	{Threads: []string{"istio/istio#61713", "istio/istio#61714", "istio/istio#61746"},
		Says:  "Multi-network mode takes remote endpoints from sidecars.",
		State: FaultPresent, Behaviors: []string{"SCOPE-16"}, WhyNot: noSidecar},
	{Threads: []string{"istio/istio#57877", "istio/istio#57878", "istio/istio#60609", "istio/istio#60716", "istio/istio#60837",
		"istio/istio#61704"},
		Says:  "Clusters with sidecars and clusters in ambient mode do not reach each other.",
		State: FaultOpen, Behaviors: []string{"INT-01", "INT-02", "INT-03", "INT-04", "INT-05"}, WhyNot: noSidecar},
	{Threads: []string{"istio/istio#60343", "istio/istio#60345", "istio/istio#60444"},
		Says:  "ServiceEntries by DNS vanish for proxies of the other network.",
		State: FaultUnclear, Behaviors: []string{"SVC-11"}, WhyNot: noServiceSpec},
	{Threads: []string{"istio/istio#57395", "istio/istio#61068", "istio/istio#60888"},
		Says:  "The name of a service that only the other cluster has cannot be used.",
		State: FaultOpen, Behaviors: []string{"DNS-02"}, ShownBy: "DNS-02"},
	{Threads: []string{"istio/istio#59401"}, Says: "Endpoints of a ServiceEntry in another network are not reached by its gateway.",
		State: FaultOpen, Behaviors: []string{"SVC-03"}, WhyNot: noServiceSpec},
	{Threads: []string{"istio/istio#58324"}, Says: "Deleting one of two ServiceEntries of a host takes both away.",
		State: FaultUnclear, Behaviors: []string{"SVC-11"}, WhyNot: noServiceSpec},
	{Threads: []string{"deckhouse/deckhouse#23082"}, Says: "The chart of ztunnel sets no cluster domain.",
		State: FaultOpen, Behaviors: []string{"DNS-08"}, WhyNot: "DNS-08 has no spec yet"},
	{Threads: []string{"istio/istio#46105"}, Says: "The ports of a service differ between clusters.",
		State: FaultOpen, Behaviors: []string{"SCOPE-12"}, ShownBy: "SCOPE-12"},

	// Node and CNI.
	{Threads: []string{"istio/istio#60882", "istio/istio#55968", "istio/istio#56652", "istio/istio#57285"},
		Says:  "After a node's reboot pods are taken for enrolled and are not captured: they send and take plaintext.",
		State: FaultOpen, Behaviors: []string{"RES-13"}, ShownBy: "RES-13"},
	{Threads: []string{"istio/istio#61182", "istio/istio#61183"}, Says: "A pod whose sandbox is replaced stays outside the mesh.",
		State: FaultOpen, Behaviors: []string{"RES-14"}, ShownBy: "RES-14"},
	{Threads: []string{"istio/istio#61019", "istio/istio#61020"},
		Says:  "Another iptables back end after a restart of the CNI agent leaves rules twice, or none.",
		State: FaultPresent, Behaviors: []string{"RES-07"},
		WhyNot: "RES-07 restarts the CNI agent with the iptables back end that it had"},
	{Threads: []string{"istio/istio#60328"}, Says: "Two pods that are added at once make the CNI agent panic.",
		State: FaultFixed, Since: "1.30.1", Behaviors: []string{"RES-07"}, WhyNot: "RES-07 adds pods one after the other"},
	{Threads: []string{"istio/ztunnel#1674", "istio/istio#60668"},
		Says:  "The CNI agent is in a deadlock when a pod goes while ztunnel connects.",
		State: FaultFixed, Behaviors: []string{"RES-03", "RES-07"},
		WhyNot: "RES-07 restarts the CNI agent, and no spec ztunnel beside it"},
	{Threads: []string{"istio/istio#61211"}, Says: "The network namespace of another pod is used: a call has the wrong identity.",
		State: FaultFixed, Since: "1.31", WhyNot: "the catalog has no promise of it; it takes hundreds of pods to meet it"},

	// Telemetry and scale.
	{Threads: []string{"istio/istio#58476", "istio/istio#58794"}, Says: "Across networks metrics name an unknown caller.",
		State: FaultFixed, Since: "1.29", Behaviors: []string{"TEL-02", "TEL-03"}, WhyNot: noTelemetry},
	{Threads: []string{"istio/ztunnel#1966"}, Says: "With 40 thousand workloads ztunnel cannot reconnect.",
		State: FaultOpen, Behaviors: []string{"UPG-05"}, WhyNot: "the machine is too small for such a mesh"},
	{Threads: []string{"scoped-address-pushes"}, Says: "With scoped pushes a gateway's new address does not arrive.",
		State: FaultPresent, Behaviors: []string{"GW-26"}, WhyNot: "it takes AMBIENT_SCOPED_ADDRESS_PUSHES, which is off by default"},
}

// RedBy says what has turned the behavior's spec red, or does: a known fault of Istio, or mutants.
// It is empty for one without a spec.
func (b *Behavior) RedBy() string {
	if !b.State.Automated {
		return ""
	}
	for _, k := range KnownFaults[b.ID] {
		return fmt.Sprintf("%s itself, %s", k.In(), k.Finding)
	}
	return strings.Join(b.Mutants, ", ")
}

var noteForm = regexp.MustCompile(`^[a-z][a-z0-9-]+$`)

// checkFaults finds authoring mistakes of the faults.
func checkFaults(byID map[string]*Behavior, faults []Fault) error {
	var mistakes []error
	named := map[string]bool{}
	for i, f := range faults {
		if len(f.Threads) == 0 {
			mistakes = append(mistakes, fmt.Errorf("faults.go: no thread tells of fault %d: %s", i+1, f.Says))
			continue
		}
		say := func(format string, args ...any) {
			mistakes = append(mistakes, fmt.Errorf("faults.go: %s: %s", f.Threads[0], fmt.Sprintf(format, args...)))
		}
		for _, thread := range f.Threads {
			if !issueForm.MatchString(thread) && !noteForm.MatchString(thread) {
				say("thread %q is neither of the form owner/repository#number nor a release note", thread)
			}
			if named[thread] {
				say("%s tells of two faults", thread)
			}
			named[thread] = true
		}
		shown := f.ShownBy == ""
		for _, id := range f.Behaviors {
			if byID[id] == nil {
				say("there is no behavior %s", id)
			}
			shown = shown || id == f.ShownBy
		}
		if !shown {
			say("it is shown by %s, which it does not break", f.ShownBy)
		}
		switch b := byID[f.ShownBy]; {
		case (f.ShownBy == "") == (f.WhyNot == ""):
			say("it says either which behavior shows it or why none does")
		case b != nil && b.RedBy() == "":
			say("%s shows it, which has no spec, or a spec that nothing has turned red", b.ID)
		}
		if id, _, ok := strings.Cut(f.WhyNot, " has no spec"); ok && byID[id] != nil && byID[id].State.Automated {
			say("%s has a spec now: say whether it shows the fault", id)
		}
	}
	return errors.Join(mistakes...)
}
