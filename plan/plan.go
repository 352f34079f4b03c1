// Package plan computes, before anything runs, which behaviors will run, which are skipped and why, and which have no spec.
//
// List, dry run and the run itself use the same plan, so they cannot disagree.
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

// Classes of skips. A behavior that several would skip gets the first, so that "user" stands only where the user's wish alone kept it from running.
const (
	ClassVersion  Class = "version"  // the promise does not hold for this Istio version
	ClassTopology Class = "topology" // the fleet has not the shape, or is not ours to change
	ClassFeature  Class = "feature"  // an optional capability that is not there or not claimed
	ClassStandIn  Class = "stand-in" // a stand-in cannot show it
	ClassProfile  Class = "profile"  // not part of the chosen profile
	ClassUser     Class = "user"     // taken out by the user
)

// Classes of skips, in the order in which they are tried.
var Classes = []Class{ClassVersion, ClassTopology, ClassFeature, ClassStandIn, ClassProfile, ClassUser}

// Environment is what is known of the fleet before the run. Facts that are not known are false, zero or empty: what needs them is skipped.
type Environment struct {
	Provider   string `json:"provider,omitempty"` // who made the clusters: kind or existing
	Istio      string `json:"istio"`              // version of the control planes; see behaviors.ParseVersion
	Kubernetes string `json:"kubernetes,omitempty"`
	Clusters   int    `json:"clusters"`
	Networks   int    `json:"networks"`
	Nodes      int    `json:"nodes,omitempty"` // of the cluster that has most
	// Owned: the suite made the clusters and may break them. MeshAdmin: it may change istio-system. NodeAccess: it can run commands on the nodes.
	Owned      bool `json:"owned,omitempty"`
	MeshAdmin  bool `json:"meshAdmin,omitempty"`
	NodeAccess bool `json:"nodeAccess,omitempty"`
	// MeshCA: certificates of the mesh's CA can be minted. Waypoints, Ingress, Sidecars: these proxies can be deployed.
	MeshCA    bool `json:"meshCA,omitempty"`
	Waypoints bool `json:"waypoints,omitempty"`
	Ingress   bool `json:"ingress,omitempty"`
	Sidecars  bool `json:"sidecars,omitempty"`
	IPv6      bool `json:"ipv6,omitempty"`
	// SameAddresses: the clusters give their services addresses from one and the same range, so that one address can be two services'.
	SameAddresses bool `json:"sameAddresses,omitempty"`
	// OtherIstio is a second Istio version at hand for version skew.
	OtherIstio string `json:"otherIstio,omitempty"`
	// Features are the optional capabilities that the implementation claims.
	Features []behaviors.Feature `json:"features,omitempty"`
	// StandIns are the image names (ztunnel, proxyv2) that something stands in for.
	StandIns []string `json:"standIns,omitempty"`
}

// Filters are the user's wishes: ids (SCOPE-01), globs (GW-*) or chapter prefixes (LB). An id that Include names exactly runs also outside the profile.
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

// Plan says for every behavior of the catalog where it stands: in exactly one of the three lists, each in the catalog's order.
//
// NotAutomated holds the behaviors without a spec. They are no skip: nothing could have run, whatever the environment. A report lists their ids apart.
type Plan struct {
	Profile      behaviors.Profile
	Environment  Environment
	Filters      Filters
	Run          []Entry
	Skip         []Entry
	NotAutomated []Entry
}

// UsageError is a wish that cannot be met because it is not understood: an unknown id, profile or feature. Its exit code is 3.
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
		for _, n := range b.Needs {
			if r := requirements[n]; r.class == class && !r.met(p.Environment) {
				return class, r.reason(p.Environment)
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

// requirement says when a need is met.
type requirement struct {
	class  Class
	met    func(Environment) bool
	reason func(Environment) string
}

func says(s string) func(Environment) string { return func(Environment) string { return s } }

const notOurs = "not ours to change"

// requirements has a line for every need of the catalog; a test holds that.
var requirements = map[behaviors.Need]requirement{
	behaviors.Waypoints:  {ClassFeature, func(e Environment) bool { return e.Waypoints }, says("no waypoint can be deployed")},
	behaviors.IngressGW:  {ClassFeature, func(e Environment) bool { return e.Ingress }, says("no ingress gateway can be deployed")},
	behaviors.Sidecars:   {ClassFeature, func(e Environment) bool { return e.Sidecars }, says("no sidecar can be injected")},
	behaviors.MeshCA:     {ClassTopology, func(e Environment) bool { return e.MeshCA }, says("the mesh's CA is not at hand to mint certificates")},
	behaviors.MeshAdmin:  {ClassTopology, func(e Environment) bool { return e.MeshAdmin }, says("it changes istio-system, which is " + notOurs)},
	behaviors.Disruptive: {ClassTopology, func(e Environment) bool { return e.Owned }, says("it breaks the mesh or its nodes, which are " + notOurs)},
	behaviors.NodeAccess: {ClassTopology, func(e Environment) bool { return e.NodeAccess }, says("it runs commands on the nodes, which cannot be done here")},
	behaviors.SecondNode: {ClassTopology, func(e Environment) bool { return e.Nodes >= 2 }, says("it needs a cluster with two nodes")},
	behaviors.ThirdCluster: {ClassTopology, func(e Environment) bool { return e.Clusters >= 3 }, func(e Environment) string {
		return fmt.Sprintf("it needs three clusters, the fleet has %d", e.Clusters)
	}},
	behaviors.SharedNetwork: {ClassTopology, func(e Environment) bool { return e.Clusters > e.Networks && e.Networks > 0 },
		says("it needs two clusters on one network, here each has its own")},
	behaviors.SameAddresses: {ClassTopology, func(e Environment) bool { return e.SameAddresses },
		says("it needs clusters that give their services addresses from the same range, and these are not known to")},
	behaviors.IPv6:         {ClassTopology, func(e Environment) bool { return e.IPv6 }, says("the clusters have no IPv6 addresses")},
	behaviors.OtherVersion: {ClassFeature, func(e Environment) bool { return e.OtherIstio != "" }, says("no second Istio version is at hand")},
	behaviors.RealZtunnel:  {ClassStandIn, real("ztunnel"), says("a stand-in for ztunnel cannot show it")},
	behaviors.RealEnvoy:    {ClassStandIn, real("proxyv2"), says("upstream Envoy in place of Istio's build cannot show it")},
}

func real(image string) func(Environment) bool {
	return func(e Environment) bool { return !slices.Contains(e.StandIns, image) }
}

// Of finds a behavior's entry and says whether it runs; it is nil for an id that is not in the catalog.
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

// Claims are the claimed features with the ids that will run for each. A feature of which nothing runs is claimed in vain: verify refuses the report.
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
	return claims
}

// Matches says whether an id is meant by a pattern: an id, a glob or a chapter's prefix.
func Matches(pattern, id string) bool {
	if prefix, _, _ := strings.Cut(id, "-"); pattern == prefix {
		return true
	}
	ok, err := path.Match(pattern, id)
	return err == nil && ok
}

// Known refuses a pattern of ids that means no behavior of the catalog; the error says which are near.
func Known(pattern string) error { return known(behaviors.All(), pattern) }

// known refuses a pattern that means no behavior: a typing mistake must not run nothing and look green.
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
