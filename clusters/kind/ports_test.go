package kind

import (
	"context"
	"strings"
	"testing"

	"ambient.test/conformance/framework/mesh"
)

// nft is a node whose set of ports lists as it says.
type nft struct {
	lists string
	ran   []string
}

func (n *nft) Output(_ context.Context, args ...string) (string, error) {
	n.ran = append(n.ran, strings.Join(args, " "))
	if strings.Contains(n.ran[len(n.ran)-1], " list ") {
		return n.lists, nil
	}
	return "", nil
}

func TestSetPorts(t *testing.T) {
	c := &mesh.Cluster{Name: "cluster1", Kind: &mesh.KindCluster{Nodes: []string{"n1"}}}
	const list = `{"nftables": [{"metainfo": {"version": "1.0.6"}},
		{"set": {"family": "inet", "name": "gateway_ports", "elem": [15021, 15012, 15008]}}]}`
	for _, x := range []struct{ name, lists, want string }{
		{"as wanted", list, ""},
		{"one is missing", strings.Replace(list, "15012, ", "", 1), "they are [15008 15021]"},
		{"one more is open", strings.Replace(list, "15012", "15012, 22", 1), "they are [22 15008 15012 15021]"},
		{"none is open", `{"nftables": [{"set": {"name": "gateway_ports"}}]}`, "they are []"},
		{"there is no such set", `{"nftables": []}`, "nft lists no set"},
		{"nonsense", `no`, "malformed"},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := &nft{lists: x.lists}
			err := setPorts(t.Context(), d, c, []int{15012, 15021, 15008, 15012})
			switch {
			case x.want == "" && err != nil:
				t.Error(err)
			case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
				t.Errorf("got %v, want an error with %q", err, x.want)
			}
			if !strings.Contains(d.ran[0], "{ 15008, 15012, 15021 }") {
				t.Errorf("got %q, want each port once", d.ran[0])
			}
		})
	}
}

func TestOpenPortsOfOtherFleets(t *testing.T) {
	if OpenPorts(&mesh.Fleet{Provider: mesh.ProviderExisting}) != nil {
		t.Error("got a way to open ports of clusters that are not ours, want none")
	}
}
