// Package plan computes, before anything runs, which behaviors will run, which are skipped and why,
// and which have no spec.
//
// `amc list`, `amc plan` and the run itself use the same plan, so they cannot disagree.
package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
)

// Class is a kind of reason to skip a behavior.
type Class string

// Classes of skips. A behavior that several reasons would skip gets the first of them, so that
// "user" stands only where nothing but the user's choice kept it from running.
const (
	ClassVersion  Class = "version"  // the promise does not hold for this Istio version
	ClassTopology Class = "topology" // the fleet has another shape, or the suite may not change it
	ClassFeature  Class = "feature"  // an optional capability is missing or not claimed
	ClassStandIn  Class = "stand-in" // a stand-in cannot show it
	ClassProfile  Class = "profile"  // the chosen profile does not run it
	ClassUser     Class = "user"     // the user excluded it
)

// Classes are all classes of skips, in the order in which they are tried.
var Classes = []Class{ClassVersion, ClassTopology, ClassFeature, ClassStandIn, ClassProfile, ClassUser}

// Environment is what is known of the fleet before the run. An unknown fact is zero, empty or
// missing from Has, and what needs it is skipped.
type Environment struct {
	Provider string `json:"provider,omitempty"` // who made the clusters: kind or existing
	Istio    string `json:"istio"`              // version of the control planes; see behaviors.ParseVersion
	Clusters int    `json:"clusters"`
	Networks int    `json:"networks"`
	Nodes    int    `json:"nodes,omitempty"` // of the cluster that has most
	// Has holds the needs that the fleet meets. Needs that follow from the numbers above or from
	// StandIns are not in it.
	Has map[behaviors.Need]bool `json:"has,omitempty"`
	// Features are the optional capabilities that the implementation claims.
	Features []behaviors.Feature `json:"features,omitempty"`
	// StandIns are the names of images (ztunnel, proxyv2) in whose place a stand-in runs.
	StandIns []string `json:"standIns,omitempty"`
}

// Meets reports whether the fleet has what the need asks for.
func (e Environment) Meets(n behaviors.Need) bool {
	switch n {
	case behaviors.TwoNetworks:
		return e.Networks >= 2 && e.Networks == e.Clusters && !e.Has[behaviors.RemoteCluster]
	case behaviors.SecondNode:
		return e.Nodes >= 2
	case behaviors.ThirdCluster:
		return e.Clusters >= 3
	case behaviors.SingleNetwork:
		return e.Clusters > 1 && e.Networks == 1
	case behaviors.SharedNetwork:
		return e.Clusters > e.Networks && e.Networks > 1
	case behaviors.RealZtunnel:
		return !slices.Contains(e.StandIns, "ztunnel")
	case behaviors.RealEnvoy:
		return !slices.Contains(e.StandIns, "proxyv2")
	}
	return e.Has[n]
}

// NothingToProve says why a plan that runs nothing does so, where the fleet's topology is the
// reason, and what to do; it is nil when something can be proven. On a topology that is not
// supported, only probes of what happens there can run.
func (p *Plan) NothingToProve() error {
	e := p.Environment
	if len(p.Run) > 0 || e.Meets(behaviors.TwoNetworks) {
		return nil
	}
	if e.Clusters < 2 {
		return usage("the fleet has one cluster, so nothing that is promised between clusters can be proven on it: %s", anotherFleet)
	}
	if e.Meets(behaviors.RemoteCluster) {
		return usage("the fleet has a cluster that the istiod of another one serves, so nothing that is promised between primary clusters "+
			"can be proven on it: %s; `amc run --profile limits` records what happens there", anotherFleet)
	}
	return usage("the fleet has %d clusters on %s, so nothing that is promised of clusters on networks of their own can be proven on it: %s; "+
		"`amc run --profile limits` records what happens there", e.Clusters, networks(e.Networks), anotherFleet)
}

const anotherFleet = "run `amc fleet init` with the contexts of two or more clusters, each on a network of its own, " +
	"or let `amc up` make them"

// Filters are what the user chose: ids (SCOPE-01), globs (GW-*) or chapter prefixes (LB). An id
// that Include names exactly runs even when the profile does not run it.
type Filters struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// Entry is a behavior's place in the plan.
type Entry struct {
	Behavior *behaviors.Behavior
	Class    Class  // empty for those that run or have no spec
	Reason   string // a sentence; empty for those that run
}

// Plan says for every behavior of the catalog where it stands: in exactly one of the three lists,
// each in the catalog's order.
//
// NotAutomated holds the behaviors without a spec. They are not skips: nothing
// could have run in any environment. A report lists their ids separately.
type Plan struct {
	Profile      behaviors.Profile
	Environment  Environment
	Filters      Filters
	Run          []Entry
	Skip         []Entry
	NotAutomated []Entry
}

// UsageError refuses an id, profile or feature that the catalog does not know. Its exit code is 3.
type UsageError struct{ message string }

func (e UsageError) Error() string { return e.message }

func usage(format string, args ...any) error { return UsageError{fmt.Sprintf(format, args...)} }

// Compute makes the plan for the whole catalog. All errors are [UsageError]s.
func Compute(env Environment, profile behaviors.Profile, filters Filters) (*Plan, error) {
	return compute(behaviors.All(), env, profile, filters)
}

func compute(all []*behaviors.Behavior, env Environment, profile behaviors.Profile, filters Filters) (*Plan, error) {
	if !slices.Contains(behaviors.Profiles, profile) {
		return nil, usage("profile %q is unknown: choose one of %s", profile, join(behaviors.Profiles))
	}
	version, err := behaviors.ParseVersion(env.Istio)
	if err != nil {
		return nil, usage("the environment's Istio version: %v", err)
	}
	for _, f := range env.Features {
		if !behaviors.IsFeature(f) {
			return nil, usage("feature %q is unknown and cannot be claimed: `amc list --features` names those that can", f)
		}
		if !slices.ContainsFunc(all, func(b *behaviors.Behavior) bool { return b.Feature == f && b.State.Automated }) {
			return nil, usage("feature %s has no spec yet and cannot be claimed: nothing would show it", f)
		}
	}
	for _, pattern := range slices.Concat(filters.Include, filters.Exclude) {
		if err := known(all, pattern); err != nil {
			return nil, err
		}
	}
	p := &Plan{Profile: profile, Environment: env, Filters: filters}
	for _, b := range all {
		if !b.State.Automated {
			p.NotAutomated = append(p.NotAutomated, Entry{Behavior: b, Reason: b.State.Why})
			continue
		}
		class, reason := p.skip(b, version)
		if class == "" {
			p.Run = append(p.Run, Entry{Behavior: b})
		} else {
			p.Skip = append(p.Skip, Entry{b, class, reason})
		}
	}
	return p, nil
}

// skip says why a behavior with a spec does not run; an empty class means that it does.
func (p *Plan) skip(b *behaviors.Behavior, version behaviors.Version) (Class, string) {
	if in, err := b.Istio.Contains(version); err != nil || !in {
		return ClassVersion, fmt.Sprintf("promised for Istio %s, this is %s", b.Istio, version)
	}
	for _, class := range []Class{ClassTopology, ClassFeature, ClassStandIn} {
		for _, n := range b.AllNeeds() {
			if Class(n.Info().Kind) == class && !p.Environment.Meets(n) {
				return class, p.Environment.lacking(n)
			}
		}
		if class == ClassFeature && b.Feature != "" && !slices.Contains(p.Environment.Features, b.Feature) {
			return class, fmt.Sprintf("the feature %s is not claimed", b.Feature)
		}
	}
	if !b.InProfile(p.Profile) && !slices.Contains(p.Filters.Include, b.ID) {
		return ClassProfile, fmt.Sprintf("profile %s does not run it; %s does", p.Profile, firstProfile(b))
	}
	if len(p.Filters.Include) > 0 && !slices.ContainsFunc(p.Filters.Include, func(pattern string) bool { return Matches(pattern, b.ID) }) {
		return ClassUser, "not among those the user asked for: " + strings.Join(p.Filters.Include, ", ")
	}
	for _, pattern := range p.Filters.Exclude {
		if Matches(pattern, b.ID) {
			return ClassUser, "taken out by the user: " + pattern
		}
	}
	return "", ""
}

func firstProfile(b *behaviors.Behavior) behaviors.Profile {
	for _, p := range behaviors.Profiles {
		if b.InProfile(p) {
			return p
		}
	}
	return behaviors.ProfileAll
}

// lacking says why a behavior with the need is skipped.
func (e Environment) lacking(n behaviors.Need) string {
	switch {
	case n == behaviors.ThirdCluster:
		return fmt.Sprintf("%s, the fleet has %d", n.Info().Lacking, e.Clusters)
	case n == behaviors.TwoNetworks && e.Has[behaviors.RemoteCluster]:
		return "it is promised between primary clusters, and the istiod of another one serves a cluster of the fleet"
	case n == behaviors.TwoNetworks && e.Clusters < 2:
		return n.Info().Lacking + ", the fleet has one cluster"
	case n == behaviors.TwoNetworks:
		return fmt.Sprintf("%s, the %d clusters of the fleet are on %s", n.Info().Lacking, e.Clusters, networks(e.Networks))
	}
	return n.Info().Lacking
}

func networks(n int) string {
	if n == 1 {
		return "one network"
	}
	return fmt.Sprintf("%d networks", n)
}

// Of finds a behavior's entry and says whether it runs; it is nil for an id that is not in the
// catalog.
func (p *Plan) Of(id string) (e *Entry, runs bool) {
	for i, list := range [][]Entry{p.Run, p.Skip, p.NotAutomated} {
		for j := range list {
			if list[j].Behavior.ID == id {
				return &list[j], i == 0
			}
		}
	}
	return nil, false
}

// Claims are the claimed features with the ids that will run for each, and those that the user took out:
// what does not run supports no claim. When nothing runs for a claimed feature, verify refuses the report.
func (p *Plan) Claims() map[behaviors.Feature][]string {
	claims := map[behaviors.Feature][]string{}
	for _, f := range p.Environment.Features {
		claims[f] = nil
	}
	for _, e := range p.Run {
		if f := e.Behavior.Feature; f != "" {
			claims[f] = append(claims[f], e.Behavior.ID)
		}
	}
	for _, e := range p.Skip {
		if _, claimed := claims[e.Behavior.Feature]; claimed && e.Class == ClassUser {
			claims[e.Behavior.Feature] = append(claims[e.Behavior.Feature], e.Behavior.ID)
		}
	}
	return claims
}

// Matches reports whether a pattern matches an id. A pattern is an id, a glob or a chapter's
// prefix.
func Matches(pattern, id string) bool {
	if prefix, _, _ := strings.Cut(id, "-"); pattern == prefix {
		return true
	}
	ok, err := path.Match(pattern, id)
	return err == nil && ok
}

// Known refuses a pattern of ids that matches no behavior of the catalog. The error suggests
// similar ids.
func Known(pattern string) error { return known(behaviors.All(), pattern) }

// known refuses a pattern that matches no behavior: after a typing error nothing would run, and the
// result would look green.
func known(all []*behaviors.Behavior, pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return usage("%q is not a pattern of ids: %v", pattern, err)
	}
	var near []string
	for _, b := range all {
		if Matches(pattern, b.ID) {
			return nil
		}
		if strings.HasPrefix(b.ID, strings.ToUpper(strings.TrimRight(pattern, "0123456789*?"))) && len(near) < 5 {
			near = append(near, b.ID)
		}
	}
	if len(near) > 0 {
		return usage("no behavior is called %q; there are %s ...: `amc list` names all", pattern, strings.Join(near, ", "))
	}
	return usage("no behavior is called %q: `amc list` names all", pattern)
}

func join[S ~string](all []S) string {
	var s []string
	for _, x := range all {
		s = append(s, string(x))
	}
	return strings.Join(s, ", ")
}
