package prove

import (
	"reflect"
	"testing"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

func TestSeen(t *testing.T) {
	var sites []*Site
	for _, name := range []string{"cluster1", "cluster2"} {
		c := &mesh.Cluster{Name: name}
		sites = append(sites, &Site{Cluster: c, Client: &traffic.Client{Cluster: c, Name: "client in " + name}})
	}
	s := &Spec{World: &World{Sites: sites}}
	v := &Service{spec: s, Namespace: "ns", Name: "echo"}
	answers := func(clusters ...string) (os traffic.Outcomes) {
		for _, c := range clusters {
			o := traffic.Outcome{Kind: traffic.Reached, Cluster: c}
			if c == "" {
				o.Kind = traffic.Reset
			}
			os = append(os, o)
		}
		return os
	}
	saw := func(from int, os traffic.Outcomes) { s.count(v.HTTP(sites[from].Client, len(os)), os) }

	saw(0, answers("cluster1")) // a service whose labels nobody set is not known
	v.labeled(sites, workload.LabelGlobal, "")
	saw(0, answers("cluster1", "cluster1"))
	v.labeled(sites[:1], workload.LabelGlobal, "true")
	saw(0, answers("cluster1", "cluster1", "cluster1")) // one-sided: neither local nor global
	v.labeled(sites, workload.LabelGlobal, "true")
	saw(1, answers("cluster2", "cluster1", ""))
	saw(1, answers("cluster2"))
	v.labeled(sites, workload.LabelWaypoint, "wp")
	s.count(v.TCP(sites[0].Client, 1), answers("cluster2"))
	want := []Seen{
		{"cluster1", "global", "echo behind a waypoint", map[string]int{"cluster2": 1}, 0},
		{"cluster1", "local", "echo", map[string]int{"cluster1": 2}, 0},
		{"cluster2", "global", "echo", map[string]int{"cluster1": 1, "cluster2": 2}, 1},
	}
	if !reflect.DeepEqual(s.result.Seen, want) {
		t.Errorf("seen %+v\nwant %+v", s.result.Seen, want)
	}
	if twice := Add(Add(nil, want...), want...); twice[2].Answered["cluster2"] != 4 || twice[2].Failed != 2 || want[2].Answered["cluster2"] != 2 {
		t.Errorf("%+v", twice)
	}
}
