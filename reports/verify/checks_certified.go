package verify

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/internal/module"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/planned"
	"ambient.test/conformance/reports/text"
)

func (in *inspection) nothingTakenOut() (wrong []string) {
	if f := in.report.Filters; len(f.Include)+len(f.Exclude) > 0 {
		wrong = append(wrong, "the user chose or took out behaviors: "+strings.Join(slices.Concat(f.Include, f.Exclude), ", "))
	}
	for _, b := range in.report.Behaviors {
		if b.Skip != nil && b.Skip.Class == string(plan.ClassUser) {
			wrong = append(wrong, b.ID+" was taken out by the user")
		}
	}
	return wrong
}

func (in *inspection) noRetries() (wrong []string) {
	for _, b := range in.report.Behaviors {
		if b.Attempts > 1 || b.Flaky {
			wrong = append(wrong, fmt.Sprintf("%s took %d attempts", b.ID, b.Attempts))
		}
	}
	return wrong
}

func (in *inspection) oneFleet() (wrong []string) {
	if n := len(in.report.Environment.Twins); n > 0 {
		wrong = append(wrong, fmt.Sprintf("the specs were divided among %d fleets: what one shows is not known of another", n+1))
	}
	return wrong
}

// The parts of a mesh whose images a report names. Istio's ztunnel and proxyv2 cannot be built by
// the suite, only what stands in for them.
var (
	meshParts  = []string{"pilot", "install-cni", "ztunnel", "proxyv2"}
	onlyIstios = []string{"ztunnel", "proxyv2"}
)

// noDigest has the form of a digest, and nothing has it.
var noDigest = "sha256:" + strings.Repeat("0", 64)

// appPart is the application that specs call and that calls for them.
const appPart = "app"

// partOf is the part whose image a name is of. Where clusters differ, a name is followed by that of
// the cluster.
func partOf(image string) string {
	part, _, _ := strings.Cut(image, "@")
	return part
}

func (in *inspection) noStandIns() (wrong []string) {
	said := map[string]bool{}
	for _, s := range in.report.Environment.StandIns {
		said[partOf(s.Name)] = true
		wrong = append(wrong, "something stands in for "+text.Line(s.Name, 40))
	}
	for _, i := range in.report.Environment.Images {
		part := partOf(i.Name)
		if slices.Contains(onlyIstios, part) && !said[part] && (i.Source == "built" || strings.HasPrefix(i.Ref, module.Registry)) {
			wrong = append(wrong, "the image of "+text.Line(i.Name, 40)+" was built by the suite, which builds a stand-in for it")
		}
	}
	for _, b := range in.report.Behaviors {
		if b.Skip != nil && b.Skip.Class == string(plan.ClassStandIn) && len(said) == 0 {
			wrong = append(wrong, b.ID+" was skipped for a stand-in")
		}
	}
	return wrong
}

func (in *inspection) cleanLeaks() []string {
	switch l := in.report.Leaks; {
	case l == nil:
		return []string{"the check for leaks did not run"}
	case !l.Clean || len(l.Found) > 0:
		return []string{"left behind: " + strings.Join(l.Found, ", ")}
	}
	return nil
}

var (
	released   = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)+([-+.][0-9A-Za-z.+-]+)?$`)
	unreleased = regexp.MustCompile(`(?i)dirty|snapshot|nightly`)
	webAddress = regexp.MustCompile(`^https://[A-Za-z0-9.-]+\.[A-Za-z]{2,}(/[^\s<>"]*)?$`)
	someone    = regexp.MustCompile(`^(@[A-Za-z0-9][A-Za-z0-9/_-]*|[^@\s]+@[^@\s]+\.[^@\s]+|https://\S+)$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// isRelease reports whether a version is one that can be found again: numbers, with what a build
// adds to them.
func isRelease(version string) bool {
	return released.MatchString(version) && !unreleased.MatchString(version)
}

func (in *inspection) metadata() (wrong []string) {
	i := in.report.Implementation
	for _, f := range []struct{ name, value string }{{"organization", i.Organization}, {"project", i.Project}, {"version", i.Version}} {
		switch printed := text.Line(f.value, len(f.value)); {
		case printed == "":
			wrong = append(wrong, "the implementation's "+f.name+" is missing")
		case printed != f.value:
			wrong = append(wrong, fmt.Sprintf("the implementation's %s %.40q has what is not printed", f.name, f.value))
		}
	}
	if i.Version != "" && !isRelease(i.Version) {
		wrong = append(wrong, fmt.Sprintf("the implementation's version %.40q is not a release", i.Version))
	}
	if !webAddress.MatchString(i.URL) {
		wrong = append(wrong, fmt.Sprintf("the implementation's address %.80q is not an https address", i.URL))
	}
	if len(i.Contact) == 0 {
		wrong = append(wrong, "the implementation names no contact")
	}
	for _, c := range i.Contact {
		if !someone.MatchString(c) || text.Line(c, len(c)) != c {
			wrong = append(wrong, fmt.Sprintf("the contact %.80q is not a mail address, @handle or https address", c))
		}
	}
	return wrong
}

func (in *inspection) suiteKnown() (wrong []string) {
	s := in.report.Suite
	if !isRelease(s.Version) {
		wrong = append(wrong, fmt.Sprintf("the suite's version %.40q is not a release", s.Version))
	}
	if !commitForm.MatchString(s.Commit) {
		wrong = append(wrong, fmt.Sprintf("the suite's commit %.60q is not a commit", s.Commit))
	}
	if s.Dirty {
		wrong = append(wrong, "the suite had uncommitted changes")
	}
	return wrong
}

func (in *inspection) isolated() (wrong []string) {
	env := planned.Environment(&in.report.Environment)
	if env.Clusters < 2 || env.Networks < 2 {
		wrong = append(wrong, fmt.Sprintf("the fleet has %d clusters and %d networks: nothing between networks can be shown on it",
			env.Clusters, env.Networks))
	}
	wrong = append(wrong, in.namedApart()...)
	// The suite cannot probe from nodes that it does not own. There the spec probes from pods.
	bySpec := env.Provider == v1alpha2.ProviderExisting && slices.ContainsFunc(in.report.Behaviors, func(b v1alpha2.BehaviorResult) bool {
		return b.ID == behaviors.NoDirectPathBetweenPods.ID && b.Verdict == v1alpha2.Conformant
	})
	switch i := in.report.Isolation; {
	case i == nil && !bySpec, i != nil && !i.Proven:
		wrong = append(wrong, "the isolation of the networks is not proven")
	case i != nil:
		wrong = append(wrong, in.probesHeld(i)...)
	}
	if in.report.Finished && len(in.report.Preflight) == 0 {
		wrong = append(wrong, "the report has no preflight check")
	}
	for _, c := range in.report.Preflight {
		if c.Status == v1alpha2.CheckFail {
			wrong = append(wrong, "the preflight check "+c.Name+" failed")
		}
	}
	return wrong
}

// namedApart wants clusters that can be told apart, each in a network with a name.
func (in *inspection) namedApart() (wrong []string) {
	seen := map[string]bool{}
	for _, c := range in.report.Environment.Clusters {
		if c.Name == "" || seen[c.Name] {
			wrong = append(wrong, fmt.Sprintf("%.40q is not the name of one cluster", c.Name))
		}
		seen[c.Name] = true
		if c.Network == "" {
			wrong = append(wrong, text.Line(c.Name, 40)+" has no network")
		}
	}
	return wrong
}

// probesHeld says why the probes do not prove what they are said to prove. A probe goes from a
// cluster to one, or out of the fleet; what stands behind a cluster's name says from where in it.
func (in *inspection) probesHeld(i *v1alpha2.Isolation) (wrong []string) {
	network, tried := map[string]string{}, map[[2]string]bool{}
	for _, c := range in.report.Environment.Clusters {
		network[c.Name] = c.Network
	}
	controls := 0
	for _, p := range i.Probes {
		from, _, _ := strings.Cut(p.From, " ")
		to, _, _ := strings.Cut(p.To, " ")
		if !p.Control {
			tried[[2]string{from, to}] = true
		}
		if !p.OK || p.Reached != p.Control {
			wrong = append(wrong, fmt.Sprintf("the isolation is said to be proven, and the probe from %s to %s did not hold",
				text.Line(p.From, 40), text.Line(p.To, 40)))
		}
		if p.Control {
			controls++
		}
	}
	if controls == 0 || controls == len(i.Probes) {
		wrong = append(wrong, "the isolation is said to be proven without a probe between networks, or without a control")
	}
	for from := range network {
		for to := range network {
			if network[from] != network[to] && !tried[[2]string{from, to}] {
				wrong = append(wrong, fmt.Sprintf("the isolation is said to be proven, and no probe went from %s to %s",
					text.Line(from, 40), text.Line(to, 40)))
			}
		}
	}
	// The fleet is older than the run, and a fleet whose proof is older than a certificate may be
	// another one by now.
	if before := in.report.Date.Sub(i.At); before < -time.Hour || before > oldestProof {
		wrong = append(wrong, fmt.Sprintf("the isolation is said to be proven at %s, which is not within the %d days before the run",
			i.At.UTC().Format(time.DateOnly), int(oldestProof.Hours()/24)))
	}
	slices.Sort(wrong)
	return wrong
}

// oldestProof is how long before a run the isolation of its fleet may have been proven.
const oldestProof = 365 * 24 * time.Hour

// digests wants the images of the mesh. What else runs beside it is named as the clusters name it.
func (in *inspection) digests() (wrong []string) {
	for _, part := range meshParts {
		wrong = append(wrong, in.digestsOf(part)...)
	}
	return wrong
}

func (in *inspection) appDigest() []string { return in.digestsOf(appPart) }

// digestsOf wants a part's image to be named, and each of its images by a digest of its own: no two
// parts are the same image.
func (in *inspection) digestsOf(part string) (wrong []string) {
	found := 0
	for _, i := range in.report.Environment.Images {
		if partOf(i.Name) != part {
			continue
		}
		found++
		if !digestForm.MatchString(i.Digest) || i.Digest == noDigest {
			wrong = append(wrong, fmt.Sprintf("the image %.60q has no sha256 digest", i.Name))
			continue
		}
		for _, o := range in.report.Environment.Images {
			if other := partOf(o.Name); o.Digest == i.Digest && other != part && slices.Contains(meshParts, other) {
				wrong = append(wrong, fmt.Sprintf("the images %.60q and %.60q have the same digest", i.Name, o.Name))
			}
		}
	}
	if found == 0 {
		return []string{fmt.Sprintf("no image is named %q", part)}
	}
	return wrong
}

func (in *inspection) coreHolds() (wrong []string) {
	switch behaviors.Profile(in.report.Profile) {
	case behaviors.ProfileCore, behaviors.ProfileExtended, behaviors.ProfileAll:
	default:
		wrong = append(wrong, fmt.Sprintf("the profile %.40q does not run the core behaviors", in.report.Profile))
	}
	for _, b := range in.report.Behaviors {
		if b.Level != string(behaviors.Core) || b.Verdict == v1alpha2.Conformant {
			continue
		}
		// A stand-in is one fault, which is noStandIns'.
		if b.Skip != nil && (b.Skip.Class == string(plan.ClassVersion) || b.Skip.Class == string(plan.ClassStandIn)) {
			continue
		}
		known := behaviors.ByID(b.ID)
		if b.Skip != nil && in.report.Environment.Provider == v1alpha2.ProviderExisting && known != nil && known.NeedsOurFleet() {
			continue
		}
		how := string(b.Verdict)
		if b.Skip != nil {
			how += " (" + b.Skip.Class + ")"
		}
		wrong = append(wrong, b.ID+" is "+how)
	}
	return wrong
}

// limits are those of a run by their names in the report. They are the defaults of the framework,
// which the core of the suite does not import; a test of package run holds them together.
var limits = []struct {
	name, what  string
	least, most float64 // in seconds
}{
	{"settle", "the convergence timeout", 0, 30},
	{"hold", "the hold time", 5, math.Inf(1)},
	{"call", "the timeout of a call", 0, 5},
	{"spec", "the timeout of a spec", 0, 300},
}

func (in *inspection) strictLimits() (wrong []string) {
	for _, l := range limits {
		found := 0
		for _, t := range in.report.Timeouts {
			if t.Name != l.name {
				continue
			}
			found++
			if t.Seconds < l.least {
				wrong = append(wrong, fmt.Sprintf("%s (%s) is %g s, and a certificate wants %g s at least", l.what, l.name, t.Seconds, l.least))
			}
			if t.Seconds > l.most {
				wrong = append(wrong, fmt.Sprintf("%s (%s) is %g s, and a certificate allows %g s at most", l.what, l.name, t.Seconds, l.most))
			}
		}
		if found != 1 {
			wrong = append(wrong, fmt.Sprintf("%s (%s) is in the report %d times, not once", l.what, l.name, found))
		}
	}
	return wrong
}
