package plan

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
)

// lab is the fleet that `make conformance` makes on a machine without images.
var lab = Environment{
	Provider: "kind", Istio: "1.31", Clusters: 2, Networks: 2, Nodes: 1, StandIns: []string{"ztunnel", "proxyv2"},
	Has: map[behaviors.Need]bool{
		behaviors.Waypoints: true, behaviors.MeshCA: true, behaviors.MeshAdmin: true, behaviors.Disruptive: true,
		behaviors.NodeAccess: true, behaviors.IstioCharts: true, behaviors.PeerImage: true, behaviors.SameAddresses: true,
	},
}

// labWith is the lab with a change.
func labWith(change func(*Environment)) Environment {
	e := lab
	e.Has = maps.Clone(lab.Has)
	change(&e)
	return e
}

// labWithout is the lab that does not meet a need.
func labWithout(n behaviors.Need) Environment {
	return labWith(func(e *Environment) { delete(e.Has, n) })
}

func TestCoreProfileRunsTheMainJob(t *testing.T) {
	p, err := Compute(lab, behaviors.ProfileCore, Filters{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(`INST-01 INST-02 INST-12 INST-14 SCOPE-01 SCOPE-02 SCOPE-03 SCOPE-07 SCOPE-09
		LB-01 LB-03 GW-01 GW-02 GW-03 GW-08 GW-13 GW-20
		ID-01 ID-03 ID-09 WP-01 WP-02 WP-06 WP-07 WP-08 FO-01 FO-02 FO-03 CP-01 DNS-01 TRF-01 TRF-02 TRF-04`) {
		if e, runs := p.Of(id); !runs {
			t.Errorf("%s does not run: %+v", id, e)
		}
	}
}

func TestEveryNeedCanBeDecided(t *testing.T) {
	nothing := Environment{StandIns: []string{"ztunnel", "proxyv2"}}
	everything := Environment{Clusters: 3, Networks: 2, Nodes: 2, Has: map[behaviors.Need]bool{}}
	for _, n := range behaviors.Needs() {
		everything.Has[n] = true
	}
	for _, n := range behaviors.Needs() {
		t.Run(string(n), func(t *testing.T) {
			if n.Info().Meaning == "" {
				t.Error("the need says nothing of what it asks for")
			}
			if nothing.lacking(n) == "" {
				t.Error("a skip for it has no reason")
			}
			if c := Class(n.Info().Kind); !slices.Contains([]Class{ClassTopology, ClassFeature, ClassStandIn}, c) {
				t.Errorf("a skip for it has class %q", c)
			}
			if nothing.Meets(n) {
				t.Error("an environment that has nothing meets it")
			}
			has := everything
			switch n {
			case behaviors.TwoNetworks: // what is promised between primaries is not where a cluster is none
				has.Networks, has.Has = has.Clusters, maps.Clone(has.Has)
				delete(has.Has, behaviors.RemoteCluster)
			case behaviors.SingleNetwork:
				has.Networks = 1
			}
			if !has.Meets(n) {
				t.Error("an environment that has everything does not meet it")
			}
		})
	}
}

func TestNeedsThatFollowFromNumbers(t *testing.T) {
	for _, c := range []struct {
		name string
		env  Environment
		need behaviors.Need
		want bool
	}{
		{"one node", Environment{Nodes: 1}, behaviors.SecondNode, false},
		{"two nodes", Environment{Nodes: 2}, behaviors.SecondNode, true},
		{"two clusters", Environment{Clusters: 2}, behaviors.ThirdCluster, false},
		{"three clusters", Environment{Clusters: 3}, behaviors.ThirdCluster, true},
		{"one cluster", Environment{Clusters: 1, Networks: 1}, behaviors.TwoNetworks, false},
		{"two clusters on one network", Environment{Clusters: 2, Networks: 1}, behaviors.TwoNetworks, false},
		{"two clusters on two networks", Environment{Clusters: 2, Networks: 2}, behaviors.TwoNetworks, true},
		{"two of three clusters on one network", Environment{Clusters: 3, Networks: 2}, behaviors.TwoNetworks, false},
		{"a network each", Environment{Clusters: 2, Networks: 2}, behaviors.SharedNetwork, false},
		{"one network", Environment{Clusters: 2, Networks: 1}, behaviors.SharedNetwork, false},
		{"two of three", Environment{Clusters: 3, Networks: 2}, behaviors.SharedNetwork, true},
		{"one network", Environment{Clusters: 2, Networks: 1}, behaviors.SingleNetwork, true},
		{"one cluster", Environment{Clusters: 1, Networks: 1}, behaviors.SingleNetwork, false},
		{"two of three", Environment{Clusters: 3, Networks: 2}, behaviors.SingleNetwork, false},
		{"a remote cluster", remoteFleet, behaviors.TwoNetworks, false},
		{"a remote cluster", remoteFleet, behaviors.RemoteCluster, true},
		{"networks are unknown", Environment{Clusters: 2}, behaviors.SharedNetwork, false},
		{"networks are unknown", Environment{Clusters: 2}, behaviors.SingleNetwork, false},
		{"another stand-in", Environment{StandIns: []string{"proxyv2"}}, behaviors.RealZtunnel, true},
		{"a stand-in", Environment{StandIns: []string{"proxyv2"}}, behaviors.RealEnvoy, false},
		// What follows from numbers cannot be claimed.
		{"a number and a claim", Environment{Nodes: 1, Has: map[behaviors.Need]bool{behaviors.SecondNode: true}}, behaviors.SecondNode, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.env.Meets(c.need); got != c.want {
				t.Errorf("%s is met: got %t, want %t", c.need, got, c.want)
			}
		})
	}
}

var remoteFleet = Environment{Clusters: 2, Networks: 2, Has: map[behaviors.Need]bool{behaviors.RemoteCluster: true}}

func TestSkips(t *testing.T) {
	for _, c := range []struct {
		name    string
		env     Environment
		profile behaviors.Profile
		filters Filters
		id      string
		class   Class
		reason  string
	}{
		{
			"version", labWith(func(e *Environment) { e.Istio = "1.27.3" }), behaviors.ProfileCore, Filters{},
			"FO-01", ClassVersion, "promised for Istio >=1.28, this is 1.27.3",
		},
		{
			"mesh admin", labWithout(behaviors.MeshAdmin), behaviors.ProfileCore, Filters{},
			"INST-02", ClassTopology, "it changes istio-system, which is not ours to change",
		},
		{
			"one cluster", labWith(func(e *Environment) { e.Clusters, e.Networks = 1, 1 }), behaviors.ProfileCore, Filters{},
			"LB-01", ClassTopology, "it is promised between clusters on networks of their own, the fleet has one cluster",
		},
		{
			"one network", labWith(func(e *Environment) { e.Networks = 1 }), behaviors.ProfileCore, Filters{},
			"LB-01", ClassTopology, "it is promised between clusters on networks of their own, the 2 clusters of the fleet are on one network",
		},
		{
			"a remote cluster", labWith(func(e *Environment) { e.Has[behaviors.RemoteCluster] = true }), behaviors.ProfileCore, Filters{},
			"LB-01", ClassTopology, "it is promised between primary clusters, and the istiod of another one serves a cluster of the fleet",
		},
		{"no remote cluster", lab, behaviors.ProfileLimits, Filters{}, "INST-09", ClassTopology,
			"it needs a cluster that the istiod of another one serves, here each has its own"},
		{"waypoints", labWithout(behaviors.Waypoints), behaviors.ProfileCore, Filters{}, "WP-01", ClassFeature, "no waypoint can be deployed"},
		{"profile", lab, behaviors.ProfileSmoke, Filters{}, "LB-03", ClassProfile, "profile smoke does not run it; core does"},
		{"excluded", lab, behaviors.ProfileCore, Filters{Exclude: []string{"GW-*"}}, "GW-01", ClassUser, "taken out by the user: GW-*"},
		{
			"not included", lab, behaviors.ProfileCore, Filters{Include: []string{"LB"}},
			"GW-01", ClassUser, "not among those the user asked for: LB",
		},
		{"included by chapter", lab, behaviors.ProfileCore, Filters{Include: []string{"GW"}}, "GW-01", "", ""},
		{"a named id runs outside the profile", lab, behaviors.ProfileSmoke, Filters{Include: []string{"LB-03"}}, "LB-03", "", ""},
		{
			"a glob does not", lab, behaviors.ProfileSmoke, Filters{Include: []string{"LB-0?"}},
			"LB-03", ClassProfile, "profile smoke does not run it; core does",
		},
		{
			"the user's wish comes last", labWithout(behaviors.Waypoints), behaviors.ProfileCore, Filters{Exclude: []string{"WP"}},
			"WP-01", ClassFeature, "no waypoint can be deployed",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compute(c.env, c.profile, c.filters)
			if err != nil {
				t.Fatal(err)
			}
			e, runs := p.Of(c.id)
			if want := c.class == ""; runs != want {
				t.Errorf("runs: got %t, want %t", runs, want)
			}
			if diff := cmp.Diff([]string{string(c.class), c.reason}, []string{string(e.Class), e.Reason}); diff != "" {
				t.Errorf("class and reason (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWishesThatAreNotUnderstood(t *testing.T) {
	for _, c := range []struct {
		env     Environment
		profile behaviors.Profile
		filters Filters
		want    string
	}{
		{lab, "quick", Filters{}, `profile "quick" is unknown: choose one of smoke, core, extended, limits, all`},
		{Environment{Istio: "latest"}, behaviors.ProfileCore, Filters{}, `"latest" is not an Istio version`},
		{Environment{Istio: "1.31", Features: []behaviors.Feature{"magic"}}, behaviors.ProfileCore, Filters{}, `feature "magic" is unknown`},
		{
			Environment{Istio: "1.31", Features: []behaviors.Feature{behaviors.FeatureTracing}},
			behaviors.ProfileCore, Filters{}, "feature tracing has no spec yet",
		},
		{lab, behaviors.ProfileCore, Filters{Include: []string{"LB-99"}}, "there are LB-01, "},
		{lab, behaviors.ProfileCore, Filters{Exclude: []string{"nothing"}}, `no behavior is called "nothing": `},
		{lab, behaviors.ProfileCore, Filters{Include: []string{"GW-["}}, "not a pattern"},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, err := Compute(c.env, c.profile, c.filters)
			var u UsageError
			if !errors.As(err, &u) {
				t.Errorf("got %v, want a usage error", err)
			}
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNothingToProve(t *testing.T) {
	fleet := func(clusters, networks int) Environment {
		return Environment{Istio: "1.31.0", Clusters: clusters, Networks: networks}
	}
	for name, c := range map[string]struct {
		env     Environment
		profile behaviors.Profile
		want    string // empty: something can be proven
	}{
		"the lab":                             {lab, behaviors.ProfileCore, ""},
		"one cluster":                         {fleet(1, 1), behaviors.ProfileCore, "the fleet has one cluster, so nothing"},
		"one cluster, its limits":             {fleet(1, 1), behaviors.ProfileLimits, "the fleet has one cluster, so nothing"},
		"two clusters on one network":         {fleet(2, 1), behaviors.ProfileCore, "the fleet has 2 clusters on one network, so nothing"},
		"two clusters on one network, limits": {fleet(2, 1), behaviors.ProfileLimits, ""},
		"three clusters, two networks":        {fleet(3, 2), behaviors.ProfileCore, "the fleet has 3 clusters on 2 networks, so nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compute(c.env, c.profile, Filters{})
			if err != nil {
				t.Fatal(err)
			}
			err = p.NothingToProve()
			var u UsageError
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if !errors.As(err, &u) {
				t.Errorf("got %v, want a usage error", err)
			}
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Whatever the environment, profile and wishes: every behavior is in exactly one place, in order,
// and a skip has a class and a reason.
func TestEveryBehaviorIsInExactlyOnePlace(t *testing.T) {
	// A catalog of its own, in which every combination of level, needs and state occurs.
	r := rand.New(rand.NewPCG(1, 2))
	flip := func() bool { return r.IntN(2) == 0 }
	needs := behaviors.Needs()
	features := behaviors.Features()
	var claimable []behaviors.Feature
	all := slices.Clone(behaviors.All())
	for i := range 300 {
		c := behaviors.Chapters[r.IntN(len(behaviors.Chapters))]
		b := &behaviors.Behavior{
			ID: fmt.Sprintf("%s-%02d", c.Prefix, 100+i), Level: behaviors.Levels[r.IntN(3)],
			Istio: behaviors.Range([]string{">=1.27", ">=1.30", "<1.29"}[r.IntN(3)]),
		}
		for range r.IntN(4) {
			b.Needs = append(b.Needs, needs[r.IntN(len(needs))])
		}
		if b.Level == behaviors.Extended && len(features) > 0 {
			b.Feature = features[r.IntN(len(features))].Feature
		}
		if b.State = behaviors.Proven; flip() {
			b.State = behaviors.State{Why: "planned"}
		} else if b.Feature != "" {
			claimable = append(claimable, b.Feature)
		}
		all = append(all, b)
	}
	seen := map[Class]int{}
	for range 500 {
		env := Environment{
			Istio: fmt.Sprintf("1.%d.%d", 26+r.IntN(7), r.IntN(4)), Clusters: 1 + r.IntN(3), Networks: 1 + r.IntN(3), Nodes: r.IntN(3),
			Has: map[behaviors.Need]bool{},
		}
		for _, n := range needs {
			env.Has[n] = flip()
		}
		for _, f := range claimable {
			if flip() {
				env.Features = append(env.Features, f)
			}
		}
		for _, s := range []string{"ztunnel", "proxyv2"} {
			if flip() {
				env.StandIns = append(env.StandIns, s)
			}
		}
		var f Filters
		wish := func() string {
			id := all[r.IntN(len(all))].ID
			return []string{id, id[:strings.Index(id, "-")], id[:len(id)-1] + "*"}[r.IntN(3)]
		}
		for range r.IntN(3) {
			f.Include = append(f.Include, wish())
		}
		for range r.IntN(3) {
			f.Exclude = append(f.Exclude, wish())
		}
		p, err := compute(all, env, behaviors.Profiles[r.IntN(len(behaviors.Profiles))], f)
		if err != nil {
			t.Fatal(err)
		}
		places := map[string]int{}
		for _, list := range [][]Entry{p.Run, p.Skip, p.NotAutomated} {
			for _, e := range list {
				places[e.Behavior.ID]++
			}
			if !slices.IsSortedFunc(list, func(a, b Entry) int { return slices.Index(all, a.Behavior) - slices.Index(all, b.Behavior) }) {
				t.Fatal("a list is not in the catalog's order")
			}
		}
		for _, b := range all {
			if places[b.ID] != 1 {
				t.Fatalf("%s is in %d places; environment %+v, filters %+v", b.ID, places[b.ID], env, f)
			}
		}
		for _, e := range p.Run {
			if e.Class != "" {
				t.Fatalf("it runs and is skipped as %s: %+v", e.Class, e)
			}
			if e.Reason != "" {
				t.Fatalf("it runs and is skipped because %s: %+v", e.Reason, e)
			}
			if !e.Behavior.State.Automated {
				t.Fatalf("it runs and has no spec: %+v", e)
			}
		}
		for _, e := range p.Skip {
			seen[e.Class]++
			if !slices.Contains(Classes, e.Class) {
				t.Fatalf("a skip without class: %+v", e)
			}
			if e.Reason == "" {
				t.Fatalf("a skip without reason: %+v", e)
			}
		}
		for _, e := range p.NotAutomated {
			if e.Reason == "" {
				t.Fatalf("no reason: %+v", e)
			}
			if e.Class != "" {
				t.Fatalf("a class where nothing is skipped: %+v", e)
			}
		}
	}
	for _, c := range Classes {
		if seen[c] == 0 {
			t.Errorf("class %s never occurred: the property was not tested for it", c)
		}
	}
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ambient.test/conformance/behaviors", "ambient.test/conformance/plan"}
	if diff := cmp.Diff(want, strings.Fields(string(out))); diff != "" {
		t.Errorf("what plan depends on (-want +got):\n%s", diff)
	}
}
