package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ambient.test/conformance/framework/mesh"
)

// gatewayPorts are the ports of a cluster's gateways that other networks may call, sorted: those of
// every east-west gateway, and those that the fleet file names.
func gatewayPorts(c *mesh.Cluster) []int {
	ports := []int{hbonePort, statusPort}
	if c.Kind != nil {
		ports = append(ports, c.Kind.OpenPorts...)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// portList is a list as nft has it.
func portList(ports []int) string {
	var all []string
	for _, p := range ports {
		all = append(all, strconv.Itoa(p))
	}
	return strings.Join(all, ", ")
}

// OpenPorts returns what opens more ports at the addresses of a cluster's gateways to the other
// networks, and closes them again; nil for a fleet whose nodes are not ours. A run that is killed
// leaves them open until [Health] looks at the fleet.
func OpenPorts(f *mesh.Fleet) func(ctx context.Context, c *mesh.Cluster, ports ...int) (closed func(context.Context) error, err error) {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	return func(ctx context.Context, c *mesh.Cluster, ports ...int) (func(context.Context) error, error) {
		e, own := of(f), gatewayPorts(c)
		closed := func(ctx context.Context) error { return setPorts(ctx, e, c, own) }
		return closed, setPorts(ctx, e, c, slices.Concat(own, ports))
	}
}

// setPorts makes these ports, and no others, the ones that a cluster's gateways may be called at.
// What the nodes say afterwards is the proof.
func setPorts(ctx context.Context, d docker, c *mesh.Cluster, ports []int) error {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	ports = slices.Compact(ports)
	const set = "inet amc_fleet gateway_ports"
	for _, node := range c.Kind.Nodes {
		// One transaction: at no time is a port closed that stays open.
		_, err := d.Output(ctx, "exec", node, "nft", fmt.Sprintf("flush set %[1]s; add element %[1]s { %[2]s }", set, portList(ports)))
		var out string
		if err == nil {
			out, err = d.Output(ctx, append([]string{"exec", node, "nft", "-j", "list", "set"}, strings.Fields(set)...)...)
		}
		var open []int
		if err == nil {
			open, err = parsePorts([]byte(out))
		}
		if err == nil && !slices.Equal(open, ports) {
			err = fmt.Errorf("they are %v", open)
		}
		if err != nil {
			return fmt.Errorf("%s: the ports of gateways that are open on node %s cannot be made %v: %w: %s", c.Name, node, ports, err, anew)
		}
	}
	return nil
}

// parsePorts reads the elements of a set of ports, sorted.
func parsePorts(listing []byte) ([]int, error) {
	var list struct {
		Nftables []struct {
			Set *struct{ Elem []int }
		}
	}
	if err := json.Unmarshal(listing, &list); err != nil {
		return nil, fmt.Errorf("the answer of nft is malformed: %w", err)
	}
	for _, o := range list.Nftables {
		if o.Set != nil {
			slices.Sort(o.Set.Elem)
			return o.Set.Elem, nil
		}
	}
	return nil, fmt.Errorf("nft lists no set")
}
