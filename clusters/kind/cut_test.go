package kind

import (
	"strings"
	"testing"

	"ambient.test/conformance/framework/mesh"
)

func TestCut(t *testing.T) {
	c := &mesh.Cluster{Name: "cluster1", Kind: &mesh.KindCluster{
		Nodes: []string{"n1", "n2"}, TransitIP: "10.0.0.11", WorkerIPs: []string{"10.0.0.27"},
	}}
	for name, x := range map[string]struct {
		port int
		want []string // how the commands end, by node
	}{
		"all": {0, []string{"sh 10.0.0.11  ", "sh 10.0.0.27  "}},
		"one port": {6443, []string{
			"sh 10.0.0.11 tcp dport 6443 tcp sport 6443", "sh 10.0.0.27 tcp dport 6443 tcp sport 6443",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &nft{}
			if err := cut(t.Context(), d, c, x.port); err != nil {
				t.Fatal(err)
			}
			if len(d.ran) != len(x.want) {
				t.Fatalf("%d commands ran, want one for each node: %q", len(d.ran), d.ran)
			}
			for i, ran := range d.ran {
				if !strings.HasSuffix(ran, x.want[i]) {
					t.Errorf("got %q, want it to end with %q", ran, x.want[i])
				}
			}
		})
	}
}

func TestHealCut(t *testing.T) {
	c := &mesh.Cluster{Name: "cluster1", Kind: &mesh.KindCluster{Nodes: []string{"n1"}}}
	for name, x := range map[string]struct{ lists, want string }{
		"healed":    {"table inet amc_fleet\ntable ip nat\n", ""},
		"still cut": {"table inet amc_fleet\ntable inet amc_cut\n", "still drops them"},
	} {
		t.Run(name, func(t *testing.T) {
			err := healCut(t.Context(), &nft{lists: x.lists}, c)
			switch {
			case x.want == "" && err != nil:
				t.Error(err)
			case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
				t.Errorf("got %v, want an error with %q", err, x.want)
			}
		})
	}
}

func TestCutOfOtherFleets(t *testing.T) {
	if Cut(&mesh.Fleet{Provider: mesh.ProviderExisting}) != nil {
		t.Error("got a way to cut off clusters that are not ours, want none")
	}
}
