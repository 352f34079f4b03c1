// Package kind makes fleets of kind clusters that are really on separate networks.
//
// Each cluster has a container network of its own, and the engine keeps these apart. One more, the
// transit network, joins the nodes by a second interface; only API servers and east-west gateways
// answer there. By default all clusters use the same pod and service addresses, so a request that
// arrives in another cluster can only have come through a gateway. No packet of a pod leaves the
// fleet: the node's firewall refuses and counts it. [VerifyIsolation] shows all this from inside
// the pods before anything is tested.
package kind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolswatch "k8s.io/client-go/tools/watch"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/variant"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

// FleetFile is the name of the fleet file in Options.Dir.
const FleetFile = "fleet.yaml"

// Options of Up.
type Options struct {
	// RunID is part of the name of all that Up makes; default is a random one.
	RunID string
	// Clusters is how many; default 2, at most MaxClusters.
	Clusters int
	// Dir is where the fleet file, kubeconfigs/ and logs/ go.
	Dir    string
	Engine *engine.Engine
	// Images must have "node", whose containerd already holds every other image.
	Images map[string]mesh.ImageRef
	// DistinctCIDRs gives each cluster pod and service addresses of its own, for comparison.
	DistinctCIDRs bool
	// Shape is how the fleet differs from the default one; Variants are the names of what makes it so.
	Shape    variant.Shape
	Variants []string
	// Subnet is the /20 range of the fleet's container networks; empty finds a free one.
	Subnet string
	// Progress may be nil.
	Progress progress.Reporter
}

// docker runs a command of the docker CLI and returns what it prints.
type docker interface {
	Output(ctx context.Context, args ...string) (string, error)
}

// Up creates the fleet and returns it when every node is Ready behind its firewall. It writes the
// fleet file before it creates anything, so that [Down] finds everything however Up ends. Up itself
// removes only a cluster that it tries a second time.
func Up(ctx context.Context, o Options) (fleet *mesh.Fleet, err error) {
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	f, nodes, err := plan(ctx, &o)
	if err != nil {
		return nil, err
	}
	phase := o.Progress.Phase("clusters", len(f.Members()))
	defer func() { phase.Close(err) }()
	path := filepath.Join(o.Dir, FleetFile)
	f.Kind.Unfinished = true
	if err := f.Save(path); err != nil {
		return nil, fmt.Errorf("fleet file cannot be written: %w", err)
	}
	parent := ctx
	all, ctx := errgroup.WithContext(parent)
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: run `amc down` to remove what was made", err)
		}
	}()
	all.Go(func() error { return buildNodeImage(ctx, o.Engine, f.RunID, o.Dir, o.Images["node"].Ref, nodes) })
	dual := o.Shape.DualStack
	all.Go(func() error {
		return network(ctx, o.Engine, f, o.Dir, f.Kind.TransitNetwork, f.Kind.TransitCIDR, dual, "--internal")
	})
	made := map[string]bool{}
	for _, c := range f.Members() {
		if !made[c.Kind.Network] {
			made[c.Kind.Network] = true
			all.Go(func() error { return network(ctx, o.Engine, f, o.Dir, c.Kind.Network, c.Kind.NetworkCIDR, dual) })
		}
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	all, ctx = errgroup.WithContext(parent)
	for _, c := range f.Members() {
		own := slices.DeleteFunc(slices.Clone(nodes), func(n node) bool { return n.Cluster != c })
		all.Go(func() error { return createCluster(ctx, o, f, own, phase.Item(c.Name)) })
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	if err := addRoutes(parent, o.Engine, nodes); err != nil {
		return nil, err
	}
	f.Kind.Unfinished = false
	return f, f.Save(path)
}

// plan decides everything before anything is made.
func plan(ctx context.Context, o *Options) (*mesh.Fleet, []node, error) {
	if o.RunID == "" {
		o.RunID = NewRunID()
	}
	if err := CheckRunID(o.RunID); err != nil {
		return nil, nil, err
	}
	if o.Clusters == 0 {
		o.Clusters = 2
	}
	if n := o.Clusters + o.Shape.Unlisted; o.Clusters < 1 || n > MaxClusters {
		return nil, nil, fmt.Errorf("%d clusters: a fleet has 1 to %d", n, MaxClusters)
	}
	image := o.Images["node"]
	if image.Ref == "" {
		return nil, nil, errors.New("no node image is given: run `amc images build`")
	}
	if _, err := o.Engine.Output(ctx, "image", "inspect", "-f", "{{.Id}}", image.Ref); err != nil {
		if gone(err) {
			return nil, nil, fmt.Errorf("the node image %s is not in the container engine: run `amc images build`", image.Ref)
		}
		return nil, nil, err
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, nil, err
	}
	if _, err := os.Lstat(filepath.Join(o.Dir, FleetFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s holds the file of a fleet already: use that fleet, or run `amc down` first", o.Dir)
	}
	if own, err := owned(ctx, o.Engine, o.RunID); err != nil {
		return nil, nil, err
	} else if !own.empty() {
		return nil, nil, fmt.Errorf("run id %s is in use (%s): choose another, or run `amc down --run %s`", o.RunID, own, o.RunID)
	}
	used, err := busy(ctx, o.Engine)
	if err != nil {
		return nil, nil, err
	}
	b, err := chooseBlock(o.Subnet, used)
	if err != nil {
		return nil, nil, err
	}
	facts, err := o.Engine.Output(ctx, "info", "--format", "{{.CgroupVersion}}")
	if err != nil {
		return nil, nil, err
	}
	mtu := 1500
	if s, err := o.Engine.Output(ctx, "network", "inspect", "bridge", "-f", `{{index .Options "com.docker.network.driver.mtu"}}`); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > 0 {
			mtu = n
		}
	}
	f := layout(*o, b)
	return f, nodesOf(f, node{MTU: mtu, CgroupV1: strings.TrimSpace(facts) == "1", ShortOfCaps: o.Engine.NeedsWrapper()}), nil
}

// layout gives the fleet the addresses of its block.
func layout(o Options, b block) *mesh.Fleet {
	f := &mesh.Fleet{
		RunID: o.RunID, Provider: mesh.ProviderKind, Created: time.Now().UTC().Truncate(time.Second), Images: o.Images,
		Variants: o.Variants, Domain: o.Shape.Domain, TrustDomain: o.Shape.TrustDomain, Replicas: o.Shape.Replicas,
		Strict: o.Shape.Strict, PodSecurity: o.Shape.PodSecurity,
		Kind: &mesh.KindState{
			DockerHost: o.Engine.Host, TransitNetwork: transitName(o.RunID), TransitCIDR: b.transit().String(),
			NodeImage: o.Images["node"].Ref,
		},
	}
	for i := 1; i <= o.Clusters+o.Shape.Unlisted; i++ {
		cidr := 10 // 10.10.0.0/16 and 10.110.0.0/16 in all clusters
		if o.DistinctCIDRs || o.Shape.Networks > 0 {
			cidr = 10 * i // up to 10.90.0.0/16 and 10.190.0.0/16
		}
		pods := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(cidr)}), 16)
		services := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + cidr)}), 16)
		first, last := b.pool(i)
		podCIDR, serviceCIDR, pool := pods.String(), services.String(), first.String()+"-"+last.String()
		if o.Shape.DualStack { // lists as Kubernetes and MetalLB have them
			podCIDR += "," + rangeAsIPv6(pods).String()
			serviceCIDR += "," + netip.PrefixFrom(asIPv6(services.Addr()), serviceBits6).String()
			pool += "," + asIPv6(first).String() + "-" + asIPv6(last).String()
		}
		kindName := kindName(o.RunID, i)
		place, network := i, i
		if o.Shape.OneLocality {
			place = 1
		}
		if o.Shape.Networks > 0 {
			network = min(i, o.Shape.Networks) // one container network, too
		}
		c := &mesh.Cluster{
			Name: fmt.Sprintf("cluster%d", i), Network: fmt.Sprintf("network%d", network), Revision: o.Shape.Revision,
			Region: fmt.Sprintf("region%d", place), Zone: fmt.Sprintf("zone%d", place),
			Kubeconfig: filepath.Join(o.Dir, "kubeconfigs", fmt.Sprintf("cluster%d.yaml", i)),
			APIServer:  fmt.Sprintf("https://%s:%d", b.node(i), apiServerPort),
			PodCIDR:    podCIDR, ServiceCIDR: serviceCIDR,
			Kind: &mesh.KindCluster{
				Name: kindName, Nodes: nodeNames(kindName, max(1, o.Shape.Nodes)),
				Network: networkName(o.RunID, network), NetworkCIDR: b.network(network).String(),
				TransitIP: b.node(i).String(), GatewayPool: pool,
			},
		}
		for w := 1; w < len(c.Kind.Nodes); w++ {
			c.Kind.WorkerIPs = append(c.Kind.WorkerIPs, b.worker(i, w).String())
		}
		switch {
		case o.Shape.Remote && i == 1: // what serves another cluster has a gateway of its own for that, at the pool's last address
			c.IstiodAddress, c.Kind.OpenPorts = last.String(), []int{istiod.DiscoveryPort, istiod.WebhookPort}
		case o.Shape.Remote && i == 2:
			c.Primary = f.Clusters[0].Name
		}
		if i <= o.Clusters {
			f.Clusters = append(f.Clusters, c)
		} else {
			f.Unlisted = append(f.Unlisted, c)
		}
	}
	return f
}

// nodesOf completes what is common to all nodes of the fleet with what is each one's own.
func nodesOf(f *mesh.Fleet, common node) []node {
	common.Image, common.Domain = imageName(f.RunID), cmp.Or(f.Domain, mesh.DefaultDomain)
	var all []node
	for _, c := range f.Members() {
		for i, ip := range transitIPs(c) {
			n := common
			n.Cluster, n.Host, n.TransitIP = c, c.Kind.Nodes[i], ip
			n.Families = familiesOf(f, c, i)
			all = append(all, n)
		}
	}
	for i := range all {
		n := &all[i]
		for _, m := range all {
			if m.Host == n.Host || m.Kind.Network != n.Kind.Network {
				continue
			}
			n.Peers = append(n.Peers, m.Host)
			for k := range n.Families {
				n.Families[k].Peers = append(n.Families[k].Peers, m.Families[k].PodRange)
			}
		}
	}
	return all
}

// familiesOf returns what the i-th node of a cluster has of each address family, without peers.
func familiesOf(f *mesh.Fleet, c *mesh.Cluster, i int) (all []family) {
	pods, services, pools := strings.Split(c.PodCIDR, ","), strings.Split(c.ServiceCIDR, ","), strings.Split(c.Kind.GatewayPool, ",")
	for k := range pods {
		v := family{IP: "ip", Pods: pods[k], Services: services[k], Network: c.Kind.NetworkCIDR, GatewayPool: pools[k]}
		nodeBits := 24 // as the controller manager gives them
		if k > 0 {
			v.IP, v.Network, nodeBits = "ip6", rangeAsIPv6(netip.MustParsePrefix(c.Kind.NetworkCIDR)).String(), 64
		}
		v.PodRange = subnet(netip.MustParsePrefix(v.Pods), nodeBits, i).String()
		for _, m := range f.Members() {
			for _, ip := range transitIPs(m) {
				if k > 0 {
					ip = asIPv6(netip.MustParseAddr(ip)).String()
				}
				v.Fleet = append(v.Fleet, ip)
			}
			v.Fleet = append(v.Fleet, strings.Split(m.Kind.GatewayPool, ",")[k])
		}
		all = append(all, v)
	}
	return all
}

// transitIPs are the addresses of a cluster's nodes in the transit network.
func transitIPs(c *mesh.Cluster) []string {
	return append([]string{c.Kind.TransitIP}, c.Kind.WorkerIPs...)
}

func network(ctx context.Context, d docker, f *mesh.Fleet, dir, name, subnet string, dual bool, more ...string) error {
	args := append([]string{
		"network", "create", "--driver", "bridge", "--subnet", subnet,
		"--label", LabelRun + "=" + f.RunID, "--label", LabelFrom + "=" + from(dir),
	}, more...)
	if dual {
		args = append(args, "--ipv6", "--subnet", rangeAsIPv6(netip.MustParsePrefix(subnet)).String())
	}
	_, err := d.Output(ctx, append(args, name)...)
	if err != nil {
		return fmt.Errorf("container network %s: %w", name, err)
	}
	return nil
}

// createCluster creates one cluster. It tries a second time, because on a loaded machine kubeadm
// can miss its deadline.
func createCluster(ctx context.Context, o Options, f *mesh.Fleet, nodes []node, item progress.Item) (err error) {
	defer func() { item.Done(err) }()
	c := nodes[0].Cluster
	try := func() error {
		connected := make(chan error, 1)
		req := request{
			Cluster: c.Kind.Name, Config: nodes[0].render("kind.yaml"), Kubeconfig: c.Kubeconfig,
			Log: filepath.Join(o.Dir, "logs", c.Name+"-kind.log"),
		}
		connecting := false
		err := runChild(ctx, o.Engine, c.Kind.Network, req, func(stage string) {
			item.Note("%s", stage)
			// Not earlier: kind reads the node's address while it writes kubeadm's configuration, and
			// refuses a node that has two.
			if !connecting && strings.HasPrefix(stage, "Starting control-plane") {
				connecting = true
				go func() { connected <- connect(ctx, o.Engine, f, nodes) }()
			}
		})
		if connecting {
			err = errors.Join(err, <-connected)
		}
		return err
	}
	err = try()
	var failed *failure
	if errors.As(err, &failed) {
		item.Note("%v: trying once more", failed)
		for _, n := range nodes {
			if err := removeNode(ctx, o.Engine, f.RunID, n.Host); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
		}
		_ = os.Remove(c.Kubeconfig)
		err = try()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: see %s", c.Name, err, filepath.Join(o.Dir, "logs", c.Name+"-kind.log"))
	}
	item.Note("Waiting for the node to be Ready")
	if err := ready(ctx, c, time.Time{}); err != nil {
		return err
	}
	return firewallInForce(ctx, o.Engine, c)
}

// connect joins nodes to the transit network.
func connect(ctx context.Context, d docker, f *mesh.Fleet, nodes []node) error {
	for _, n := range nodes {
		args := []string{"network", "connect", "--ip", n.TransitIP}
		if len(n.Families) > 1 {
			args = append(args, "--ip6", asIPv6(netip.MustParseAddr(n.TransitIP)).String())
		}
		if _, err := d.Output(ctx, append(args, f.Kind.TransitNetwork, n.Host)...); err != nil {
			return err
		}
	}
	return nil
}

// addRoutes gives nodes their routes to the pods of their peers, which a boot of the node takes
// away. They go by the container network that peers share. Over the transit network they cannot:
// the engine drops there what has an address of another range, as on every internal network. Adding
// routes again changes nothing.
func addRoutes(ctx context.Context, d docker, nodes []node) error {
	addresses := map[string][]string{}
	for _, n := range nodes {
		if len(n.Peers) == 0 {
			continue
		}
		var err error
		if addresses[n.Host], err = ownAddresses(ctx, d, n.Kind.Network, n.Host); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		for i, peer := range n.Peers {
			for k, f := range n.Families {
				_, err := d.Output(ctx, "exec", n.Host, "ip", "route", "replace", f.Peers[i], "via", addresses[peer][k])
				if err != nil {
					return fmt.Errorf("route of node %s to the pods of %s: %w", n.Host, peer, err)
				}
			}
		}
	}
	return nil
}

// ownAddresses are a node's addresses on its cluster's own network: IPv4, and IPv6 if it has one.
func ownAddresses(ctx context.Context, d docker, network, host string) ([]string, error) {
	out, err := d.Output(ctx, "container", "inspect", "-f",
		fmt.Sprintf("{{with index .NetworkSettings.Networks %q}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}", network), host)
	if err != nil {
		return nil, fmt.Errorf("addresses of node %s: %w", host, err)
	}
	return strings.Fields(out), nil
}

// removeNode removes one node container of the run.
func removeNode(ctx context.Context, d docker, run, name string) error {
	label, err := d.Output(ctx, "container", "inspect", "-f", `{{index .Config.Labels "`+LabelRun+`"}}`, name)
	if err != nil && gone(err) {
		return nil // it never came to be
	}
	if err != nil {
		return err
	}
	if strings.TrimSpace(label) != run || !strings.HasPrefix(name, prefix(run)) {
		return fmt.Errorf("container %s is not of run %s and is left alone", name, run)
	}
	_, err = d.Output(ctx, "rm", "-f", "-v", name)
	return err
}

// ready waits until all nodes of the cluster are Ready. After a boot the API server first repeats
// what was true before it, so each kubelet must also have renewed its lease (every 10 s) later than
// since.
func ready(ctx context.Context, c *mesh.Cluster, since time.Time) error {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.Connect(); err != nil {
		return err
	}
	for _, name := range c.Kind.Nodes {
		if seen, err := nodeReady(ctx, c, name, since); err != nil {
			return fmt.Errorf("%s: node %s is not Ready within %s: %s (%w): run `kubectl --kubeconfig %s describe nodes`", c.Name,
				name, patience, seen, err, c.Kubeconfig)
		}
	}
	return nil
}

// nodeReady waits until one node is Ready. It returns what was seen last.
func nodeReady(ctx context.Context, c *mesh.Cluster, name string, since time.Time) (seen string, err error) {
	only := func(o metav1.ListOptions) metav1.ListOptions {
		o.FieldSelector = metav1.ObjectNameField + "=" + name
		return o
	}
	if !since.IsZero() {
		leases := c.Kube().CoordinationV1().Leases(corev1.NamespaceNodeLease)
		err := watchUntil(ctx, func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return leases.Watch(ctx, only(o))
		}, func(o runtime.Object) bool {
			l, ok := o.(*coordinationv1.Lease)
			return ok && l.Spec.RenewTime != nil && l.Spec.RenewTime.After(since)
		})
		if err != nil {
			return "its kubelet gives no sign of life", err
		}
	}
	seen = "no such node"
	err = watchUntil(ctx, func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		return c.Kube().CoreV1().Nodes().Watch(ctx, only(o))
	}, func(o runtime.Object) bool {
		n, ok := o.(*corev1.Node)
		if !ok {
			return false
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady {
				seen = cond.Message
				return cond.Status == corev1.ConditionTrue
			}
		}
		return false
	})
	return seen, err
}

// watchUntil watches all objects, beginning with those that exist, until one is as wanted. The API
// server ends a watch now and then; it is then opened again.
func watchUntil(
	ctx context.Context,
	open func(context.Context, metav1.ListOptions) (watch.Interface, error),
	wanted func(runtime.Object) bool,
) error {
	for {
		w, err := open(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		_, err = toolswatch.UntilWithoutRetry(ctx, w, func(e watch.Event) (bool, error) { return wanted(e.Object), nil })
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, toolswatch.ErrWatchClosed):
			return err
		}
	}
}
