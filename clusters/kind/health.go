package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Health makes sure that a fleet can be used. The container of every node must run on both of its
// networks; a stopped one is started. Its API server must answer, the node must be Ready, and its
// firewall must be in force. The firewall is part of the node, so it returns with the node after
// the engine was restarted. The error names the cluster, what is wrong, and the next command.
func Health(ctx context.Context, f *mesh.Fleet) error {
	if f.Kind == nil {
		return fmt.Errorf("fleet %s is not of kind clusters", f.RunID)
	}
	e := of(f)
	if _, err := e.Output(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("the container engine of fleet %s does not answer: %w: run `amc up`, which starts it again", f.RunID, err)
	}
	parent := ctx
	all, ctx := errgroup.WithContext(parent)
	for _, c := range f.Members() {
		all.Go(func() error { return healthy(ctx, e, f, c) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return addRoutes(parent, e, nodesOf(f, node{}))
}

// of returns the container engine that the fleet runs in.
func of(f *mesh.Fleet) *engine.Engine { return &engine.Engine{Host: f.Kind.DockerHost} }

const anew = "run `amc down` and `amc up` to create the fleet again"

func healthy(ctx context.Context, d docker, f *mesh.Fleet, c *mesh.Cluster) error {
	if c.Kind == nil || len(c.Kind.Nodes) == 0 {
		return fmt.Errorf("%s: the fleet file names no node: %s", c.Name, anew)
	}
	if _, err := os.Stat(c.Kubeconfig); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: kubeconfig %s is missing, or the cluster was never finished: %s", c.Name, c.Kubeconfig, anew)
	}
	var booted time.Time
	for _, name := range c.Kind.Nodes {
		out, err := d.Output(ctx, "container", "inspect", "-f",
			`{{index .Config.Labels "`+LabelRun+`"}} {{.State.Running}} {{range $n, $v := .NetworkSettings.Networks}}{{$n}},{{end}}`,
			name)
		if err != nil && gone(err) {
			return fmt.Errorf("%s is gone: its node container %s no longer exists: %s", c.Name, name, anew)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		state := strings.Fields(out)
		if len(state) != 3 || state[0] != f.RunID {
			return fmt.Errorf("%s: container %s does not belong to run %s and is left alone: %s", c.Name, name, f.RunID, anew)
		}
		if !strings.Contains(state[2], f.Kind.TransitNetwork+",") {
			return fmt.Errorf("%s: container %s is not on the transit network %s: %s", c.Name, name, f.Kind.TransitNetwork, anew)
		}
		if state[1] != "true" {
			if _, err := d.Output(ctx, "start", name); err != nil {
				return fmt.Errorf("%s: node %s was stopped and does not start: %w: %s", c.Name, name, err, anew)
			}
		}
		out, err = d.Output(ctx, "container", "inspect", "-f", "{{.State.StartedAt}}", name)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if booted, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(out)); err != nil {
			return fmt.Errorf("%s: container %s: %w", c.Name, name, err)
		}
	}
	if err := waitForAPIServer(ctx, c); err != nil {
		return err
	}
	if err := ready(ctx, c, booted); err != nil {
		return err
	}
	if err := firewallInForce(ctx, d, c); err != nil {
		return err
	}
	// A run that was killed may have left other ports open, or the cluster cut off.
	if err := healCut(ctx, d, c); err != nil {
		return err
	}
	return setPorts(ctx, d, c, gatewayPorts(c))
}

// waitForAPIServer waits for the API server of a node that may still be booting. Before the server
// answers there is nothing to watch, so it is polled.
func waitForAPIServer(ctx context.Context, c *mesh.Cluster) error {
	const patience = 90 * time.Second
	config, err := c.Config()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", c.Name, err, anew)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("%s: kubeconfig %s: %w: %s", c.Name, c.Kubeconfig, err, anew)
	}
	ask := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz says %s", res.Status)
		}
		return nil
	}
	last := errors.New("no request was sent")
	err = wait.For(func(ctx context.Context) (bool, error) {
		err := ask()
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	}, wait.WithContext(ctx), wait.WithTimeout(patience), wait.WithInterval(100*time.Millisecond), wait.WithImmediate())
	if err != nil {
		return fmt.Errorf(
			"%s: the API server did not answer within %s: %w: run `docker logs %s`, or `amc down` and `amc up` to create the fleet again",
			c.Name, patience, last, c.Kind.Nodes[0],
		)
	}
	return nil
}

// firewallInForce returns an error unless every node's firewall is in force.
func firewallInForce(ctx context.Context, d docker, c *mesh.Cluster) error {
	for _, name := range c.Kind.Nodes {
		if _, err := count(ctx, d, name); err != nil {
			return fmt.Errorf("%s: the firewall of node %s is not in force, so its pods could reach other networks: %w: %s",
				c.Name, name, err, anew)
		}
	}
	return nil
}

// counters of a node's firewall, in packets.
type counters struct {
	Out      int64 // pods to addresses outside the fleet
	Gone     int64 // pods and nodes to pods and services that are not there
	Resolver int64 // pods to the engine's resolver
	In       int64 // other nodes to closed ports
	Tunnels  int64 // connections of other networks to HBONE's port of gateways
}

// escaped are the packets that pods sent to addresses outside the fleet.
func (c counters) escaped() int64 { return c.Out + c.Resolver }

// count reads a node's firewall counters. It fails unless every chain of the firewall exists.
func count(ctx context.Context, d docker, node string) (counters, error) {
	out, err := d.Output(ctx, "exec", node, "nft", "-j", "list", "table", "inet", "amc_fleet")
	if err != nil {
		return counters{}, err
	}
	return parseCounters([]byte(out))
}

func parseCounters(listing []byte) (c counters, err error) {
	var table struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets int64
			}
			Chain *struct{ Name string }
			Rule  *struct{ Chain string }
		}
	}
	if err := json.Unmarshal(listing, &table); err != nil {
		return c, fmt.Errorf("the answer of nft is malformed: %w", err)
	}
	missing := map[string]bool{}
	for _, counter := range []string{"out", "gone", "resolver", "in", "tunnels"} {
		missing["counter "+counter] = true
	}
	for _, chain := range []string{"forward", "from_pods", "to_pods", "input", "leave", "refuse", "to_node"} {
		missing["rules of "+chain] = true
	}
	for _, o := range table.Nftables {
		switch {
		case o.Counter != nil:
			delete(missing, "counter "+o.Counter.Name)
			switch o.Counter.Name {
			case "out":
				c.Out = o.Counter.Packets
			case "gone":
				c.Gone = o.Counter.Packets
			case "resolver":
				c.Resolver = o.Counter.Packets
			case "in":
				c.In = o.Counter.Packets
			case "tunnels":
				c.Tunnels = o.Counter.Packets
			}
		case o.Rule != nil:
			delete(missing, "rules of "+o.Rule.Chain)
		}
	}
	for m := range missing {
		return c, fmt.Errorf("%s is missing", m)
	}
	return c, nil
}

// FirewallDrops counts, per cluster, the packets that pods sent to an address outside the fleet
// since the node booted. Packets to the engine's resolver are included, and those to pods and
// services that are not there any more are not: every deleted pod causes some. It fails when a
// node's firewall is not in force.
func FirewallDrops(ctx context.Context, f *mesh.Fleet) ([]v1alpha2.FirewallDrops, error) {
	sums, err := counted(ctx, f, counters.escaped)
	var all []v1alpha2.FirewallDrops
	for _, c := range f.Members() {
		if n, ok := sums[c.Name]; ok {
			all = append(all, v1alpha2.FirewallDrops{Cluster: c.Name, Packets: n})
		}
	}
	return all, err
}

// counted is the sum, by cluster, of what the firewalls of its nodes count.
func counted(ctx context.Context, f *mesh.Fleet, what func(counters) int64) (map[string]int64, error) {
	e, sums := of(f), map[string]int64{}
	for _, c := range f.Members() {
		for _, name := range c.Kind.Nodes {
			n, err := count(ctx, e, name)
			if err != nil {
				return nil, fmt.Errorf("%s: firewall of node %s: %w: run `amc up`, which checks the fleet", c.Name, name, err)
			}
			sums[c.Name] += what(n)
		}
	}
	return sums, nil
}

// Escapes returns what counts, by cluster, the packets of [FirewallDrops]; nil for a fleet whose
// nodes are not ours.
func Escapes(f *mesh.Fleet) func(context.Context) (map[string]int64, error) {
	return counting(f, counters.escaped)
}

// Tunnels returns what counts, by cluster, the connections that came from other networks to HBONE's
// port of its gateways; nil for a fleet whose nodes are not ours.
func Tunnels(f *mesh.Fleet) func(context.Context) (map[string]int64, error) {
	return counting(f, func(n counters) int64 { return n.Tunnels })
}

func counting(f *mesh.Fleet, what func(counters) int64) func(context.Context) (map[string]int64, error) {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	return func(ctx context.Context) (map[string]int64, error) { return counted(ctx, f, what) }
}

// CPU is the CPU time that all nodes of the fleet have used since they were created.
func CPU(ctx context.Context, f *mesh.Fleet) (sum time.Duration, err error) {
	e := of(f)
	for _, c := range f.Members() {
		for _, name := range c.Kind.Nodes {
			out, err := e.Output(ctx, "exec", name, "sh", "-c",
				"cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || cat /sys/fs/cgroup/cpu.stat")
			if err != nil {
				return 0, fmt.Errorf("%s: CPU time of node %s: %w", c.Name, name, err)
			}
			used, err := parseCPU(out)
			if err != nil {
				return 0, fmt.Errorf("%s: CPU time of node %s: %w", c.Name, name, err)
			}
			sum += used
		}
	}
	return sum, nil
}

// parseCPU reads cpuacct.usage of cgroup v1, which is in nanoseconds, or cpu.stat of cgroup v2.
func parseCPU(text string) (time.Duration, error) {
	fields, unit := strings.Fields(text), time.Nanosecond
	if len(fields) > 1 && fields[0] == "usage_usec" {
		fields, unit = fields[1:], time.Microsecond
	}
	if len(fields) == 0 {
		return 0, errors.New("the node's cgroup does not tell it")
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the node's cgroup does not tell it: %w", err)
	}
	return time.Duration(n) * unit, nil
}
