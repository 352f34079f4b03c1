// Package v1alpha2 holds the types of the conformance report, an API with a version: report.yaml in a bundle is one [ConformanceReport].
//
// Fields are written in the order of the structs, lists in a stated order, so that the same report is the same bytes.
package v1alpha2

import "time"

// APIVersion and Kind head every report of this version.
const (
	APIVersion = "amc.ambient.test/v1alpha2"
	Kind       = "ConformanceReport"
)

// ConformanceReport is what one run found.
type ConformanceReport struct {
	// APIVersion is amc.ambient.test/v1alpha2.
	APIVersion string `json:"apiVersion" jsonschema:"enum=amc.ambient.test/v1alpha2"`
	// Kind is ConformanceReport.
	Kind string `json:"kind" jsonschema:"enum=ConformanceReport"`
	// Result sums the verdicts up.
	Result Result `json:"result"`
	// Finished is false while the run goes on, and stays false when it was killed.
	Finished bool `json:"finished"`
	// Date is when the run began, in UTC, to the second.
	Date time.Time `json:"date"`
	// RunID is part of the name of everything the run created.
	RunID string `json:"runID"`
	// Suite is the suite that ran.
	Suite Suite `json:"suite"`
	// Catalog is the catalog the run was planned from.
	Catalog Catalog `json:"catalog"`
	// Mode is the rules the run kept.
	Mode Mode `json:"mode"`
	// Profile is the selection of behaviors: smoke, core, extended, limits or all.
	Profile string `json:"profile"`
	// Filters are the user's wishes; both lists are empty in a certified run.
	Filters Filters `json:"filters"`
	// Implementation is whose mesh was tested; required of a certified run.
	Implementation Implementation `json:"implementation"`
	// Environment is what was tested.
	Environment Environment `json:"environment"`
	// Preflight holds the checks that ran before anything was created, in their order.
	Preflight []Check `json:"preflight,omitempty"`
	// Isolation is the proof that networks are apart; absent when it did not run.
	Isolation *Isolation `json:"isolation,omitempty"`
	// Timeouts are the limits in force, by name.
	Timeouts []Timeout `json:"timeouts,omitempty"`
	// Seed is the seed of the specs' order.
	Seed int64 `json:"seed"`
	// WallSeconds is the time from the run's begin to its end.
	WallSeconds float64 `json:"wallSeconds"`
	// Phases are the run's parts and how long they took, in their order.
	Phases []Phase `json:"phases,omitempty"`
	// Failure says why the run as a whole could not go on, such as a failed set-up; empty otherwise.
	Failure string `json:"failure,omitempty"`
	// Behaviors has an entry for every planned behavior, run or skipped, once each, in the catalog's order.
	Behaviors []BehaviorResult `json:"behaviors"`
	// NotAutomated are the ids of the catalog's behaviors that have no spec. With Behaviors they are the whole catalog.
	NotAutomated []string `json:"notAutomated,omitempty"`
	// Summary counts Behaviors by verdict; Levels and Chapters do so apart.
	Summary Counts `json:"summary"`
	// Levels counts by level, in the order core, extended, limitation; levels without behaviors are left out.
	Levels []Group `json:"levels,omitempty"`
	// Chapters counts by chapter, in the catalog's order; chapters without behaviors are left out.
	Chapters []Group `json:"chapters,omitempty"`
	// Features are the claimed optional capabilities, by name, with the behaviors that show them.
	Features []Feature `json:"features,omitempty"`
	// Convergence says how long the mesh took to follow changes; absent when nothing was measured.
	Convergence *Convergence `json:"convergence,omitempty"`
	// Traffic is who answered whom, sorted by From, Scope, Service.
	Traffic []Traffic `json:"traffic,omitempty"`
	// Leaks is the check for leftovers after clean-up; absent when it did not run.
	Leaks *Leaks `json:"leaks,omitempty"`
}

// Result is the sum of a report.
type Result string

const (
	// Success: every behavior that ran is conformant, at least one ran, none is unknown, and the user took no core behavior out.
	Success Result = "success"
	// Partial: nothing was seen violated, but something is unknown or was taken out by the user, or nothing ran.
	Partial Result = "partial"
	// Failure: at least one behavior is non-conformant.
	Failure Result = "failure"
)

// Mode is a set of rules for the run.
type Mode string

const (
	ModeSmoke       Mode = "smoke"       // quick look; proves little
	ModeConformance Mode = "conformance" // the chosen profile
	ModeCertified   Mode = "certified"   // no focus, no skip by the user, no retries, no stand-in, clean leak check, complete metadata
)

// Verdict is what a run found of one behavior.
type Verdict string

const (
	Conformant    Verdict = "conformant"     // seen to hold
	NonConformant Verdict = "non-conformant" // seen to be violated
	Unknown       Verdict = "unknown"        // the world broke, not the mesh; or it was planned and never ran
	Skipped       Verdict = "skipped"        // planned not to run; see Skip
)

// Verdicts are all verdicts, in the order of tables.
var Verdicts = []Verdict{Conformant, NonConformant, Unknown, Skipped}

// Suite identifies the suite that ran.
type Suite struct {
	Version string `json:"version"`          // released version, or devel
	Commit  string `json:"commit,omitempty"` // of the source tree
	Dirty   bool   `json:"dirty,omitempty"`  // the tree had changes that are not in the commit
}

// Catalog identifies a catalog.
type Catalog struct {
	Digest    string `json:"digest"`    // sha256:... over the catalog's golden form
	Behaviors int    `json:"behaviors"` // how many it holds
}

// Filters are patterns of ids that the user asked for or took out.
type Filters struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// Implementation says whose mesh was tested, in the words of who tested it.
type Implementation struct {
	Organization string   `json:"organization,omitempty"`
	Project      string   `json:"project,omitempty"`
	Version      string   `json:"version,omitempty"` // a released version, not a branch
	URL          string   `json:"url,omitempty"`     // https://...
	Contact      []string `json:"contact,omitempty"` // mail addresses or @handles
}

// Environment is what was tested.
type Environment struct {
	Provider    string       `json:"provider,omitempty"` // who made the clusters: kind or existing
	Kubernetes  string       `json:"kubernetes,omitempty"`
	Istio       string       `json:"istio,omitempty"`
	GatewayAPI  string       `json:"gatewayAPI,omitempty"` // version and channel of its CRDs
	CNI         string       `json:"cni,omitempty"`
	Kernel      string       `json:"kernel,omitempty"`
	Arch        string       `json:"arch,omitempty"`
	Clusters    []Cluster    `json:"clusters,omitempty"`
	Images      []Image      `json:"images,omitempty"`      // by name
	IstiodFlags []Flag       `json:"istiodFlags,omitempty"` // by name; environment of istiod and what it enables
	StandIns    []StandIn    `json:"standIns,omitempty"`    // by name; empty when only real components ran
	Host        *Host        `json:"host,omitempty"`
	Facts       []NamedValue `json:"facts,omitempty"` // anything else worth keeping, by name
}

// Cluster is one cluster of the fleet.
type Cluster struct {
	Name        string   `json:"name"`
	Network     string   `json:"network"`
	Region      string   `json:"region,omitempty"`
	Zone        string   `json:"zone,omitempty"`
	Nodes       int      `json:"nodes,omitempty"`
	Kubernetes  string   `json:"kubernetes,omitempty"` // when it differs between clusters
	Istio       string   `json:"istio,omitempty"`      // when it differs between clusters
	PodCIDR     string   `json:"podCIDR,omitempty"`
	ServiceCIDR string   `json:"serviceCIDR,omitempty"`
	Gateways    []string `json:"gateways,omitempty"` // addresses of its east-west gateway
}

// Image is one container image and what ran of it.
type Image struct {
	Name   string `json:"name"`
	Ref    string `json:"ref,omitempty"`
	Digest string `json:"digest"`           // sha256:...
	Source string `json:"source,omitempty"` // pulled, built or override
}

// Flag is one setting of istiod; clusters that differ have an entry each.
type Flag struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Cluster string `json:"cluster,omitempty"` // empty: the same in all
}

// StandIn is something that ran in place of an Istio component.
type StandIn struct {
	Name string `json:"name"` // of the image it stands in for: ztunnel, proxyv2
	What string `json:"what"` // in one sentence
}

// Host is the machine the run was driven from.
type Host struct {
	CPUs     int    `json:"cpus,omitempty"`
	MemoryMB int64  `json:"memoryMB,omitempty"`
	Engine   string `json:"engine,omitempty"` // container engine and version
}

// NamedValue is a fact.
type NamedValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Check is one check of the preflight.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status" jsonschema:"enum=ok,enum=fixed,enum=warn,enum=fail"`
	// Detail is a sentence on what was seen.
	Detail string `json:"detail,omitempty"`
	// Fix is the command or the step that helps; empty when the check is ok.
	Fix string `json:"fix,omitempty"`
}

// CheckStatus is how a check ended.
type CheckStatus string

// The statuses of a check. Only CheckFail speaks against going on.
const (
	CheckOK    CheckStatus = "ok"
	CheckFixed CheckStatus = "fixed" // was wrong and has been put right
	CheckWarn  CheckStatus = "warn"  // may become a problem, or cannot be known from here
	CheckFail  CheckStatus = "fail"
)

// Isolation is the proof that nothing crosses networks but through gateways.
type Isolation struct {
	Proven bool             `json:"proven"`
	At     time.Time        `json:"at"`
	Probes []IsolationProbe `json:"probes,omitempty"`
	// Rejected counts, by cluster, the packets of pods that the nodes refused to let out of the fleet.
	Rejected []Rejected `json:"rejected,omitempty"`
}

// IsolationProbe is one attempt to reach an address across networks, or its control inside the cluster.
type IsolationProbe struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Address  string `json:"address"`
	Control  bool   `json:"control,omitempty"` // true: it must be reached
	Reached  bool   `json:"reached"`
	Answered string `json:"answered,omitempty"` // identity of what answered
	OK       bool   `json:"ok"`
}

// Rejected is a cluster's count of packets that tried to leave the fleet.
type Rejected struct {
	Cluster string `json:"cluster"`
	Packets int64  `json:"packets"`
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
}

// BehaviorResult is what the run found of one behavior.
type BehaviorResult struct {
	ID      string  `json:"id"`
	Chapter string  `json:"chapter,omitempty"` // prefix of the id, filled in by the bundle
	Level   string  `json:"level" jsonschema:"enum=core,enum=extended,enum=limitation"`
	Promise string  `json:"promise,omitempty"` // as the catalog had it, filled in by the bundle
	Verdict Verdict `json:"verdict" jsonschema:"enum=conformant,enum=non-conformant,enum=unknown,enum=skipped"`
	// Skip says why; present exactly when the verdict is skipped.
	Skip *Skip `json:"skip,omitempty"`
	// Outcome is, for a limitation, the name of what happened.
	Outcome string `json:"outcome,omitempty"`
	// Attempts counts how often the spec ran; 0 when it did not, at most 1 in a certified run.
	Attempts int `json:"attempts,omitempty"`
	// Seconds is the time of the last attempt.
	Seconds float64 `json:"seconds,omitempty"`
	// Claims counts what the spec claimed and saw, Twins their opposites and controls; a conformant behavior has at least one of each.
	Claims int `json:"claims,omitempty"`
	Twins  int `json:"twins,omitempty"`
	// ConvergeSeconds are the times from a change to the first call that showed it, in the order they were measured.
	ConvergeSeconds []float64 `json:"convergeSeconds,omitempty"`
	// Observations are what was seen, one sentence each, in order.
	Observations []string `json:"observations,omitempty"`
	// Message says, when the behavior is not conformant, who called whom, what was expected and what was seen.
	Message string `json:"message,omitempty"`
	// Evidence are files of the bundle, by path, sorted.
	Evidence []string `json:"evidence,omitempty"`
}

// Skip says why a behavior did not run.
type Skip struct {
	Class  string `json:"class" jsonschema:"enum=version,enum=topology,enum=feature,enum=stand-in,enum=profile,enum=user"`
	Reason string `json:"reason"`
}

// Counts are numbers of behaviors by verdict.
type Counts struct {
	Conformant    int `json:"conformant"`
	NonConformant int `json:"nonConformant"`
	Unknown       int `json:"unknown"`
	Skipped       int `json:"skipped"`
}

// Add counts one more.
func (c *Counts) Add(v Verdict) {
	switch v {
	case Conformant:
		c.Conformant++
	case NonConformant:
		c.NonConformant++
	case Unknown:
		c.Unknown++
	case Skipped:
		c.Skipped++
	}
}

// Of is the count of one verdict.
func (c Counts) Of(v Verdict) int {
	return map[Verdict]int{Conformant: c.Conformant, NonConformant: c.NonConformant, Unknown: c.Unknown, Skipped: c.Skipped}[v]
}

// Total is the number of behaviors counted.
func (c Counts) Total() int { return c.Conformant + c.NonConformant + c.Unknown + c.Skipped }

// Group is a named part of the behaviors.
type Group struct {
	Name string `json:"name"`
	Counts
}

// Feature is a claimed optional capability.
type Feature struct {
	Name string `json:"name"`
	// Behaviors are the ids that show it and ran; a claim with none, or with one that is not conformant, does not stand.
	Behaviors []string `json:"behaviors,omitempty"`
	// Supported is true when at least one ran and all that ran are conformant.
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

// Traffic is one cell of the traffic matrix: calls from a cluster to services of a scope, and who answered.
type Traffic struct {
	From     string     `json:"from"`              // cluster of the client
	Scope    string     `json:"scope"`             // local or global
	Service  string     `json:"service,omitempty"` // kind of service, such as echo or echo behind a waypoint
	Answered []Answered `json:"answered"`          // by cluster
	Failed   int        `json:"failed,omitempty"`  // calls that nobody answered, as the spec expected of them
}

// Answered counts the calls a cluster answered.
type Answered struct {
	Cluster string `json:"cluster"`
	Calls   int    `json:"calls"`
}

// Leaks is the check for leftovers after clean-up.
type Leaks struct {
	Clean bool     `json:"clean"`
	Found []string `json:"found,omitempty"`
}
