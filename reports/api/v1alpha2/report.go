// Package v1alpha2 holds the types of the conformance report. It is a versioned API: report.yaml of
// a bundle is one [ConformanceReport].
//
// Fields are written in the order of the structs and lists in a stated order. The same report is
// always the same bytes.
package v1alpha2

import (
	"slices"
	"strings"
	"time"

	"ambient.test/conformance/reports/api"
)

// APIVersion and Kind are in the first lines of every report of this version.
const (
	APIVersion = api.Group + "/v1alpha2"
	Kind       = "ConformanceReport"
)

// ConformanceReport is what one run found.
type ConformanceReport struct {
	// APIVersion is the API group of the suite and the version of these types.
	APIVersion string `json:"apiVersion"`
	// Kind is ConformanceReport.
	Kind string `json:"kind" jsonschema:"enum=ConformanceReport"`
	// Result is the result of the run as a whole.
	Result Result `json:"result" jsonschema:"enum=success,enum=recorded,enum=partial,enum=failure"`
	// Finished is false while the run goes on. It stays false when the run is killed.
	Finished bool `json:"finished"`
	// Date is the start of the run, in UTC, to the second.
	Date time.Time `json:"date"`
	// RunID is part of the name of everything that the run created.
	RunID string `json:"runID"`
	// Suite is the suite that ran.
	Suite Suite `json:"suite"`
	// Catalog is the catalog that the run was planned from.
	Catalog Catalog `json:"catalog"`
	// Mode is the set of rules that the run kept.
	Mode Mode `json:"mode" jsonschema:"enum=smoke,enum=conformance,enum=certified"`
	// Profile is the selection of behaviors: smoke, core, extended, limits or all.
	Profile string `json:"profile" jsonschema:"enum=smoke,enum=core,enum=extended,enum=limits,enum=all"`
	// Filters are the ids that the user chose or took out; both lists are empty in a certified run.
	Filters Filters `json:"filters"`
	// Implementation names whose mesh was tested; a certified run requires it.
	Implementation Implementation `json:"implementation"`
	// Environment is what was tested.
	Environment Environment `json:"environment"`
	// Preflight holds the checks that ran before anything was created, in their order.
	Preflight []Check `json:"preflight,omitempty" jsonschema:"maxItems=500"`
	// Isolation is the proof that the networks are isolated; absent when it did not run.
	Isolation *Isolation `json:"isolation,omitempty"`
	// Timeouts are the limits in force, by name.
	Timeouts []Timeout `json:"timeouts,omitempty" jsonschema:"maxItems=16"`
	// Seed is the seed that ordered the specs.
	Seed int64 `json:"seed"`
	// WallSeconds is the time from the start of the run to its end.
	WallSeconds float64 `json:"wallSeconds" jsonschema:"minimum=0"`
	// Phases are the parts of the run and how long they took, in their order.
	Phases []Phase `json:"phases,omitempty" jsonschema:"maxItems=500"`
	// Failure says why the run as a whole could not go on, for example because a set-up failed;
	// empty otherwise.
	Failure string `json:"failure,omitempty"`
	// Behaviors has one entry for every planned behavior, run or skipped, in the order of the
	// catalog.
	Behaviors []BehaviorResult `json:"behaviors" jsonschema:"maxItems=20000"`
	// NotAutomated are the ids of the behaviors that have no spec. Together with Behaviors they are
	// the whole catalog.
	NotAutomated []string `json:"notAutomated,omitempty" jsonschema:"maxItems=20000"`
	// Summary counts Behaviors by standing.
	Summary Counts `json:"summary"`
	// Levels counts by level, in the order core, extended, limitation; levels without behaviors are
	// left out.
	Levels []Group `json:"levels,omitempty" jsonschema:"maxItems=8"`
	// Chapters counts by chapter, in the order of the catalog; chapters without behaviors are left
	// out.
	Chapters []Group `json:"chapters,omitempty" jsonschema:"maxItems=64"`
	// Features are the claimed optional capabilities, sorted by name, with the behaviors that show
	// them.
	Features []Feature `json:"features,omitempty" jsonschema:"maxItems=500"`
	// Convergence says how long the mesh took to apply changes; absent when nothing was measured.
	Convergence *Convergence `json:"convergence,omitempty"`
	// Traffic is who answered whom, sorted by From, Scope, Service.
	Traffic []Traffic `json:"traffic,omitempty" jsonschema:"maxItems=256"`
	// Observations are what was seen of the run as a whole, one sentence each.
	Observations []string `json:"observations,omitempty" jsonschema:"maxItems=2000"`
	// Leaks is the check for leftovers after clean-up; absent when it did not run.
	Leaks *Leaks `json:"leaks,omitempty"`
}

// Result is the result of a run as a whole.
type Result string

const (
	// Success: every core behavior of the profile that the Istio version promises and that has a
	// spec ran, and all that ran are conformant. The run finished and left nothing behind.
	Success Result = "success"
	// Recorded: as success, for the profile limits. Its probes record what happens; they are no
	// marks, so such a run is never conformant.
	Recorded Result = "recorded"
	// Partial: nothing is non-conformant, and something keeps the run from success.
	Partial Result = "partial"
	// Failure: at least one behavior is non-conformant.
	Failure Result = "failure"
)

// Mode is a set of rules for the run.
type Mode string

const (
	ModeSmoke       Mode = "smoke"       // a quick check; proves little
	ModeConformance Mode = "conformance" // the chosen profile
	// ModeCertified allows no filters, no retries, no stand-ins and no leaks, and requires
	// metadata.
	ModeCertified Mode = "certified"
)

// Verdict is what a run found out about one behavior.
type Verdict string

const (
	Conformant    Verdict = "conformant"     // seen to hold
	NonConformant Verdict = "non-conformant" // seen to be violated
	Unknown       Verdict = "unknown"        // the environment broke, a control failed, or it never ran
	Skipped       Verdict = "skipped"        // planned not to run; see Skip
)

// Verdicts are all verdicts, in the order of tables.
var Verdicts = []Verdict{Conformant, NonConformant, Unknown, Skipped}

// Suite identifies the suite that ran.
type Suite struct {
	Version string `json:"version"`          // released version, or devel
	Commit  string `json:"commit,omitempty"` // of the source tree
	Dirty   bool   `json:"dirty,omitempty"`  // the tree had uncommitted changes
}

// Catalog identifies a catalog.
type Catalog struct {
	Digest    string `json:"digest"`    // sha256:... over the catalog's golden form
	Behaviors int    `json:"behaviors"` // how many it holds
}

// Filters are the patterns of ids that the user chose or took out.
type Filters struct {
	Include []string `json:"include,omitempty" jsonschema:"maxItems=200"`
	Exclude []string `json:"exclude,omitempty" jsonschema:"maxItems=200"`
}

// Implementation names whose mesh was tested, as the tester wrote it.
type Implementation struct {
	Organization string   `json:"organization,omitempty"`
	Project      string   `json:"project,omitempty"`
	Version      string   `json:"version,omitempty"`                          // a released version, not a branch
	URL          string   `json:"url,omitempty"`                              // https://...
	Contact      []string `json:"contact,omitempty" jsonschema:"maxItems=50"` // mail addresses or @handles
}

// Providers of clusters.
const (
	ProviderKind     = "kind"     // amc made them
	ProviderExisting = "existing" // somebody else did
)

// Environment is what was tested. The plan of the run follows from it.
type Environment struct {
	// Provider is of the clusters: kind or existing.
	Provider    string    `json:"provider,omitempty" jsonschema:"enum=kind,enum=existing"`
	MeshAdmin   bool      `json:"meshAdmin,omitempty"`                         // specs may change the mesh of clusters that amc did not make
	Variants    []string  `json:"variants,omitempty" jsonschema:"maxItems=50"` // how a fleet that amc made differs from its default one
	Kubernetes  string    `json:"kubernetes,omitempty"`
	Istio       string    `json:"istio,omitempty"`
	GatewayAPI  string    `json:"gatewayAPI,omitempty"` // version and channel of its CRDs
	Kernel      string    `json:"kernel,omitempty"`
	Arch        string    `json:"arch,omitempty"`
	Clusters    []Cluster `json:"clusters,omitempty" jsonschema:"maxItems=64"`
	Images      []Image   `json:"images,omitempty" jsonschema:"maxItems=1000"`      // by name
	IstiodFlags []Flag    `json:"istiodFlags,omitempty" jsonschema:"maxItems=1000"` // by name; environment variables of istiod
	// StandIns are sorted by name; there are none when only real components ran.
	StandIns []StandIn    `json:"standIns,omitempty" jsonschema:"maxItems=32"`
	Host     *Host        `json:"host,omitempty"`
	Facts    []NamedValue `json:"facts,omitempty" jsonschema:"maxItems=2000"` // other facts about the clusters, by name
	// Twins are further fleets, made like this one, among which the specs were divided. A certified
	// run has none.
	Twins []Twin `json:"twins,omitempty" jsonschema:"maxItems=64"`
}

// Twin is a fleet that differs from the one of the report in its addresses alone.
type Twin struct {
	RunID     string     `json:"runID"`
	Isolation *Isolation `json:"isolation,omitempty"`
}

// StandInParts are the parts of the mesh in whose place stand-ins run, each once. One of a single
// cluster is one of the fleet.
func (e *Environment) StandInParts() (parts []string) {
	for _, s := range e.StandIns {
		part, _, _ := strings.Cut(s.Name, "@")
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return parts
}

// Cluster is one cluster of the fleet.
type Cluster struct {
	Name        string   `json:"name"`
	Network     string   `json:"network"`
	Primary     string   `json:"primary,omitempty"` // the cluster whose istiod serves it, when it has none
	Region      string   `json:"region,omitempty"`
	Zone        string   `json:"zone,omitempty"`
	Nodes       int      `json:"nodes,omitempty" jsonschema:"minimum=0"`
	Kubernetes  string   `json:"kubernetes,omitempty"` // when it differs between clusters
	Istio       string   `json:"istio,omitempty"`      // when it differs between clusters
	PodCIDR     string   `json:"podCIDR,omitempty"`
	ServiceCIDR string   `json:"serviceCIDR,omitempty"`
	Gateways    []string `json:"gateways,omitempty" jsonschema:"maxItems=64"` // addresses of its east-west gateway
}

// Image is one container image that ran.
type Image struct {
	Name   string `json:"name"`
	Ref    string `json:"ref,omitempty"`
	Digest string `json:"digest"` // sha256:...
	// Source is where it came from: pulled, built, override, or found when the clusters name it.
	Source string `json:"source,omitempty" jsonschema:"enum=pulled,enum=built,enum=override,enum=found"`
}

// Flag is one setting of istiod. A setting on which clusters differ has an entry for each.
type Flag struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Cluster string `json:"cluster,omitempty"` // empty: the same in all
}

// StandIn is something that ran in place of an Istio component.
type StandIn struct {
	Name string `json:"name"` // of the image that it replaces: ztunnel, proxyv2
	What string `json:"what"` // what it is, in one sentence
}

// Host is the machine that ran the suite.
type Host struct {
	CPUs     int    `json:"cpus,omitempty" jsonschema:"minimum=0"`
	MemoryMB int64  `json:"memoryMB,omitempty" jsonschema:"minimum=0"`
	Engine   string `json:"engine,omitempty"` // container engine and version
}

// NamedValue is a fact and its name.
type NamedValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CheckStatus is the result of a check.
type CheckStatus string

// The statuses of a check. Only [CheckFail] keeps a run from going on.
const (
	CheckOK    CheckStatus = "ok"
	CheckFixed CheckStatus = "fixed" // it was wrong and has been corrected
	CheckWarn  CheckStatus = "warn"  // it may become a problem, or cannot be determined from here
	CheckFail  CheckStatus = "fail"
)

// Check is one check of the machine, the clusters or the mesh before anything is created.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status" jsonschema:"enum=ok,enum=fixed,enum=warn,enum=fail"`
	Detail string      `json:"detail,omitempty"` // what was found, in one sentence
	Fix    string      `json:"fix,omitempty"`    // the command or step that helps; empty when ok
}

// Isolation is the proof that clusters reach one another through gateways only.
type Isolation struct {
	Proven bool             `json:"proven"`
	At     time.Time        `json:"at"`
	Probes []IsolationProbe `json:"probes,omitempty" jsonschema:"maxItems=10000"`
	// FirewallDrops counts, by cluster, the packets by which pods tried to leave the fleet and
	// which the firewalls of the nodes dropped.
	FirewallDrops []FirewallDrops `json:"firewallDrops,omitempty" jsonschema:"maxItems=64"`
}

// IsolationProbe is one attempt to reach an address in another network, or its control inside the
// cluster.
type IsolationProbe struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Address  string `json:"address"`
	Control  bool   `json:"control,omitempty"` // the address must be reached
	Reached  bool   `json:"reached"`
	Answered string `json:"answered,omitempty"` // identity of what answered
	OK       bool   `json:"ok"`
}

// FirewallDrops is how many packets the firewalls of one cluster's nodes dropped since they booted.
type FirewallDrops struct {
	Cluster string `json:"cluster"`
	Packets int64  `json:"packets" jsonschema:"minimum=0"`
}

// Timeout is a limit in force.
type Timeout struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Phase is a part of the run.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// CPUSeconds are what the fleet's nodes used meanwhile; 0 when it is not known.
	CPUSeconds float64 `json:"cpuSeconds,omitempty" jsonschema:"minimum=0"`
}

// BehaviorResult is what the run found out about one behavior.
type BehaviorResult struct {
	ID      string  `json:"id"`
	Chapter string  `json:"chapter,omitempty"` // prefix of the id, filled in by the bundle
	Level   string  `json:"level" jsonschema:"enum=core,enum=extended,enum=limitation"`
	Promise string  `json:"promise,omitempty"` // as in the catalog, filled in by the bundle
	Verdict Verdict `json:"verdict" jsonschema:"enum=conformant,enum=non-conformant,enum=unknown,enum=skipped"`
	// Skip says why; present exactly when the verdict is skipped.
	Skip *Skip `json:"skip,omitempty"`
	// Outcome is the name of what happened; limitations have one.
	Outcome string `json:"outcome,omitempty"`
	// Rows are what happened in each of several combinations, where each has an outcome of its own.
	// Outcome is then the gravest of them.
	Rows []RowOutcome `json:"rows,omitempty" jsonschema:"maxItems=64"`
	// Known is the finding (docs/findings.md) by which this version of Istio is known to break the
	// promise; present exactly when the behavior is non-conformant, known to be so, and the run is
	// not certified. It is counted apart.
	Known string `json:"known,omitempty"`
	// Fixed is the finding that a conformant behavior refutes for this version of Istio.
	Fixed string `json:"fixed,omitempty"`
	// Attempts counts how often the spec ran: 0 when it did not, at most 1 in a certified run.
	Attempts int `json:"attempts,omitempty"`
	// Flaky: it was settled only by another attempt, alone. The first one, beside other specs, was not
	// steady.
	Flaky bool `json:"flaky,omitempty"`
	// Uncounted are the messages of the attempts before the last one, in order.
	Uncounted []string `json:"uncounted,omitempty" jsonschema:"maxItems=16"`
	// Twin is the run id of the twin on which the last attempt ran; empty: on the report's own fleet.
	Twin string `json:"twin,omitempty"`
	// Seconds is the time of the last attempt.
	Seconds float64 `json:"seconds,omitempty"`
	// Expectations counts what the spec expected of the mesh and saw. A conformant behavior has at
	// least one.
	Expectations int `json:"expectations,omitempty"`
	// Controls counts the checks that would have failed if an expectation could not. A conformant
	// behavior has at least one.
	Controls int `json:"controls,omitempty"`
	// ConvergeSeconds are the times from a change to the first call that showed it, in the order of
	// measurement.
	ConvergeSeconds []float64 `json:"convergeSeconds,omitempty" jsonschema:"maxItems=2000"`
	// Observations are what was seen, one sentence each, in order.
	Observations []string `json:"observations,omitempty" jsonschema:"maxItems=2000"`
	// Events are what happened to the mesh while calls ran, in order.
	Events []Event `json:"events,omitempty" jsonschema:"maxItems=16"`
	// Message says who called whom, what was expected and what was seen; empty when the behavior is
	// conformant.
	Message string `json:"message,omitempty"`
	// Evidence are the paths of files in the bundle, sorted.
	Evidence []string `json:"evidence,omitempty" jsonschema:"maxItems=2000"`
}

// RowOutcome is the outcome of one combination of those that a limitation looks at.
type RowOutcome struct {
	Row     string `json:"row"`
	Outcome string `json:"outcome"`
}

// Event is something that happened to the mesh while calls ran at a fixed rate.
type Event struct {
	// What completes "while ...".
	What string `json:"what"`
	// At is when the first call began, in UTC. All times below count from here.
	At time.Time `json:"at"`
	// BeginSeconds is when the event began.
	BeginSeconds float64 `json:"beginSeconds" jsonschema:"minimum=0"`
	// UndoSeconds is when its undoing began; absent where it ends by itself.
	UndoSeconds float64 `json:"undoSeconds,omitempty" jsonschema:"minimum=0"`
	// EndSeconds is when it was over, and undone.
	EndSeconds float64 `json:"endSeconds" jsonschema:"minimum=0"`
	// Rows are the kinds of calls that ran.
	Rows []EventRow `json:"rows" jsonschema:"maxItems=32"`
}

// EventRow is one kind of calls that ran during an event.
type EventRow struct {
	// Calls names client and target.
	Calls string `json:"calls"`
	// Made counts calls by the second in which they began.
	Made []int `json:"made" jsonschema:"maxItems=3600"`
	// Lost counts those of them that failed.
	Lost []int `json:"lost" jsonschema:"maxItems=3600"`
	// Answered counts the calls that an application answered, by its cluster, sorted by name.
	Answered []Answered `json:"answered" jsonschema:"maxItems=64"`
	// RecoverSeconds is the time from the begin of the event until no call failed any more; 0 when none
	// failed, absent when calls failed to the end.
	RecoverSeconds *float64 `json:"recoverSeconds,omitempty"`
}

// Skip says why a behavior did not run.
type Skip struct {
	Class  string `json:"class" jsonschema:"enum=version,enum=topology,enum=feature,enum=stand-in,enum=profile,enum=user"`
	Reason string `json:"reason"`
}

// Standing is how a behavior counts: by its verdict, and a violation that is known by itself.
type Standing string

// StandingKnown is the standing of a violation that is known.
const StandingKnown Standing = "known"

// Standings are all standings, in the order of tables.
var Standings = []Standing{Standing(Conformant), Standing(NonConformant), StandingKnown, Standing(Unknown), Standing(Skipped)}

// Standing is how the behavior counts.
func (b *BehaviorResult) Standing() Standing {
	if b.Verdict == NonConformant && b.Known != "" {
		return StandingKnown
	}
	return Standing(b.Verdict)
}

// Counts are numbers of behaviors by standing, and those of them that are flaky.
type Counts struct {
	Conformant    int `json:"conformant"`
	NonConformant int `json:"nonConformant"` // without the known ones
	Known         int `json:"known"`         // non-conformant, as is known of this version of Istio
	Unknown       int `json:"unknown"`
	Skipped       int `json:"skipped"`
	// Flaky behaviors are counted once more by how they stand.
	Flaky int `json:"flaky"`
}

// Add counts one more behavior.
func (c *Counts) Add(b *BehaviorResult) {
	switch b.Standing() {
	case Standing(Conformant):
		c.Conformant++
	case Standing(NonConformant):
		c.NonConformant++
	case StandingKnown:
		c.Known++
	case Standing(Unknown):
		c.Unknown++
	case Standing(Skipped):
		c.Skipped++
	}
	if b.Flaky {
		c.Flaky++
	}
}

// Of is the count of one standing.
func (c Counts) Of(s Standing) int {
	return map[Standing]int{Standing(Conformant): c.Conformant, Standing(NonConformant): c.NonConformant, StandingKnown: c.Known,
		Standing(Unknown): c.Unknown, Standing(Skipped): c.Skipped}[s]
}

// Total is the number of behaviors counted.
func (c Counts) Total() int { return c.Conformant + c.NonConformant + c.Known + c.Unknown + c.Skipped }

// Ran is the number of behaviors that were not skipped.
func (c Counts) Ran() int { return c.Total() - c.Skipped }

// Group is a named part of the behaviors.
type Group struct {
	Name string `json:"name"`
	Counts
}

// Feature is a claimed optional capability.
type Feature struct {
	Name string `json:"name"`
	// Behaviors are the ids of the behaviors that show it and ran.
	Behaviors []string `json:"behaviors,omitempty" jsonschema:"maxItems=2000"`
	// Supported is true when at least one behavior ran and all that ran are conformant.
	Supported bool `json:"supported"`
}

// Convergence holds percentiles of all convergeSeconds (nearest rank).
type Convergence struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Traffic is one cell of the traffic table: calls from a cluster to services of a scope, and which
// clusters answered.
type Traffic struct {
	From     string     `json:"from"`                                    // cluster of the client
	Scope    string     `json:"scope"`                                   // local or global
	Service  string     `json:"service,omitempty"`                       // kind of service: echo, echo behind a waypoint
	Answered []Answered `json:"answered" jsonschema:"maxItems=64"`       // by cluster
	Failed   int        `json:"failed,omitempty" jsonschema:"minimum=0"` // calls that no server answered, as the spec expected
}

// Answered counts the calls a cluster answered.
type Answered struct {
	Cluster string `json:"cluster"`
	Calls   int    `json:"calls" jsonschema:"minimum=0"`
}

// Leaks is the check for leftovers after clean-up.
type Leaks struct {
	Clean bool     `json:"clean"`
	Found []string `json:"found,omitempty" jsonschema:"maxItems=10000"`
}
