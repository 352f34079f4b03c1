package kind

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ambient.test/conformance/framework/mesh"
)

// cutTable is a table of a node's packet filter that is there while the node is cut off.
const cutTable = "inet amc_cut"

// The rules drop what comes from the transit network and what goes there, before any other rule
// sees it and after any other has. Which interface that network has may change with a restart.
const (
	cutOff = `set -e
transit=$(ip -o address show to "$1" | cut -d ' ' -f 2)
test -n "$transit"
nft -f - <<EOF
add table ` + cutTable + `
flush table ` + cutTable + `
table ` + cutTable + ` {
	chain come { type filter hook prerouting priority raw; iifname "$transit" $2 drop; }
	chain go { type filter hook postrouting priority 300; oifname "$transit" $3 drop; }
}
EOF`
	heal = "add table " + cutTable + "; delete table " + cutTable
)

// Cut returns what cuts a cluster off from the other networks, both ways, and heals it again; nil
// for a fleet whose nodes are not ours. With a port, only TCP connections to that port of its nodes
// are cut, such as those to its API server. A run that is killed leaves it cut until [Health] looks
// at the fleet.
func Cut(f *mesh.Fleet) func(ctx context.Context, c *mesh.Cluster, port int) (healed func(context.Context) error, err error) {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	return func(ctx context.Context, c *mesh.Cluster, port int) (func(context.Context) error, error) {
		d := of(f)
		return func(ctx context.Context) error { return healCut(ctx, d, c) }, cut(ctx, d, c, port)
	}
}

func cut(ctx context.Context, d docker, c *mesh.Cluster, port int) error {
	come, leave := "", ""
	if port > 0 {
		come, leave = fmt.Sprintf("tcp dport %d", port), fmt.Sprintf("tcp sport %d", port)
	}
	addresses := append([]string{c.Kind.TransitIP}, c.Kind.WorkerIPs...)
	for i, node := range c.Kind.Nodes {
		if _, err := d.Output(ctx, "exec", node, "sh", "-c", cutOff, "sh", addresses[i], come, leave); err != nil {
			return fmt.Errorf("%s: node %s cannot be cut off from the other networks: %w: %s", c.Name, node, err, anew)
		}
	}
	return nil
}

// healCut lets a cluster's nodes exchange packets with the other networks. What the nodes say
// afterwards is the proof.
func healCut(ctx context.Context, d docker, c *mesh.Cluster) error {
	for _, node := range c.Kind.Nodes {
		_, err := d.Output(ctx, "exec", node, "nft", heal)
		var out string
		if err == nil {
			out, err = d.Output(ctx, "exec", node, "nft", "list", "tables")
		}
		if err == nil && strings.Contains(out, cutTable) {
			err = errors.New("its packet filter still drops them")
		}
		if err != nil {
			return fmt.Errorf("%s: node %s cannot exchange packets with the other networks: %w: %s", c.Name, node, err, anew)
		}
	}
	return nil
}
