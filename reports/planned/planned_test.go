package planned

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

func TestEnvironment(t *testing.T) {
	fleet := func(provider string) v1alpha2.Environment {
		return v1alpha2.Environment{
			Provider: provider, Istio: "1.31.2", StandIns: []v1alpha2.StandIn{{Name: "ztunnel"}},
			Clusters: []v1alpha2.Cluster{
				{Name: "a", Network: "n1", Nodes: 2, ServiceCIDR: "10.96.0.0/16"}, {Name: "b", Network: "n2", Nodes: 1, ServiceCIDR: "10.96.0.0/16"},
			},
		}
	}
	for name, c := range map[string]struct {
		provider string
		change   func(*v1alpha2.Environment)
		want     func(*plan.Environment)
	}{
		"ours": {v1alpha2.ProviderKind, func(*v1alpha2.Environment) {}, func(e *plan.Environment) {
			e.Nodes = 2
			for _, n := range []behaviors.Need{
				behaviors.Disruptive, behaviors.NodeAccess, behaviors.MeshAdmin, behaviors.CAKey, behaviors.IstioCharts, behaviors.PeerImage,
			} {
				e.Has[n] = true
			}
		}},
		"of others": {v1alpha2.ProviderExisting, func(*v1alpha2.Environment) {}, func(*plan.Environment) {}},
		"of others, who allow changes": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) { e.MeshAdmin = true },
			func(e *plan.Environment) { e.Has[behaviors.MeshAdmin] = true },
		},
		"with the stand-in of one cluster": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) {
				e.StandIns = []v1alpha2.StandIn{{Name: "ztunnel@b"}, {Name: "ztunnel"}}
			}, func(*plan.Environment) {},
		},
		"on one network": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) { e.Clusters[1].Network = "n1" },
			func(e *plan.Environment) { e.Networks = 1 },
		},
		"other addresses": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) { e.Clusters[1].ServiceCIDR = "10.97.0.0/16" },
			func(e *plan.Environment) { e.Has[behaviors.SameAddresses] = false },
		},
		"of both families": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) {
				e.Clusters[0].ServiceCIDR, e.Clusters[1].ServiceCIDR = "10.96.0.0/16,fd00::/112", "10.96.0.0/16,fd00::/112"
			},
			func(e *plan.Environment) { e.Has[behaviors.IPv6] = true },
		},
		"of both families in one cluster": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) { e.Clusters[0].ServiceCIDR = "10.96.0.0/16,fd00::/112" },
			func(e *plan.Environment) { e.Has[behaviors.SameAddresses] = false },
		},
		"unknown addresses": {
			v1alpha2.ProviderExisting, func(e *v1alpha2.Environment) { e.Clusters[0].ServiceCIDR, e.Clusters[1].ServiceCIDR = "", "" },
			func(e *plan.Environment) { e.Has[behaviors.SameAddresses] = false },
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := fleet(c.provider)
			c.change(&e)
			want := plan.Environment{
				Provider: c.provider, Istio: "1.31.2", Clusters: 2, Networks: 2, Nodes: 1, StandIns: []string{"ztunnel"},
				Has: map[behaviors.Need]bool{
					behaviors.Disruptive: false, behaviors.NodeAccess: false, behaviors.MeshAdmin: false, behaviors.CAKey: false,
					behaviors.IstioCharts: false, behaviors.PeerImage: false,
					behaviors.MeshCA: true, behaviors.Waypoints: true, behaviors.SameAddresses: true, behaviors.IPv6: false,
				},
			}
			c.want(&want)
			if diff := cmp.Diff(want, Environment(&e)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAgainRefusesWhatNoRunPlans(t *testing.T) {
	for name, change := range map[string]func(*v1alpha2.ConformanceReport){
		"an unknown profile": func(r *v1alpha2.ConformanceReport) { r.Profile = "core " },
		"no version":         func(r *v1alpha2.ConformanceReport) { r.Environment.Istio = "latest" },
		"a filter of none":   func(r *v1alpha2.ConformanceReport) { r.Filters.Exclude = []string{"NOPE"} },
		"thousands of filters": func(r *v1alpha2.ConformanceReport) {
			r.Filters.Exclude = strings.Fields(strings.Repeat("LB-01 ", 10_000))
		},
		"a filter of a megabyte": func(r *v1alpha2.ConformanceReport) { r.Filters.Include = []string{strings.Repeat("*", 1<<20)} },
	} {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha2.ConformanceReport{Profile: "core", Environment: v1alpha2.Environment{Istio: "1.31"}}
			if _, err := Again(r); err != nil {
				t.Fatal(err)
			}
			change(r)
			if p, err := Again(r); err == nil {
				t.Errorf("it was planned: %s", p.Sentence())
			}
		})
	}
}
