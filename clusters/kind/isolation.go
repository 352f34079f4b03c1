package kind

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/reports/api/v1alpha2"
)

//go:embed isolation.sh
var script string

const (
	// outside and outside6 belong to nobody (RFC 5737, TEST-NET-2; RFC 3849), so that the proof never
	// calls a real host.
	outside  = "198.51.100.1"
	outside6 = "2001:db8::1"
	// tokenPort is where the proof's servers in each cluster say which cluster they are in.
	tokenPort = 18080
	// isolationPatience bounds the proof. Its controls succeed only once services are programmed.
	isolationPatience = 30 * time.Second
	isolationName     = "amc-isolation"
)

// VerifyIsolation probes from a real pod and from the node of each cluster. Nothing in another
// cluster may answer on a pod, service or node address, nor on a closed port of the transit
// network. A pod's packet to an address outside the fleet must be refused and counted.
//
// Each "does not answer" has a control in the same batch: the same probe inside the cluster, which
// must succeed. Clusters may use the same addresses, so the result depends on who answers, and
// addresses that only one cluster has are probed too. Between clusters on one network the pods are
// routed, so they must answer one another, and each other's nodes only by the API server.
//
// The error is not nil when something answered that must not, or when the probes could not be sent.
// In the first case there is a result too. Isolation.FirewallDrops holds the firewalls' counters
// after the proof: whatever [FirewallDrops] counts beyond them later, pods of the fleet caused.
func VerifyIsolation(ctx context.Context, f *mesh.Fleet) (*v1alpha2.Isolation, error) {
	ctx, cancel := context.WithTimeout(ctx, isolationPatience)
	defer cancel()
	e := of(f)
	subjects := make([]*subject, len(f.Members()))
	defer func() { // also when canceled
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		var all errgroup.Group
		for _, s := range subjects {
			if s != nil {
				all.Go(func() error { return s.clear(ctx, e) })
			}
		}
		_ = all.Wait() // on failure, the servers end by themselves and the next proof cleans up first
	}()
	all, setUpCtx := errgroup.WithContext(ctx)
	for i, c := range f.Members() {
		all.Go(func() (err error) {
			subjects[i], err = setUp(setUpCtx, e, c, i+1)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, fmt.Errorf("isolation proof: %w", err)
	}
	var probes []probe
	for _, s := range subjects {
		probes = append(probes, probesFrom(s, subjects)...)
	}
	iso, err := untilControlsPass(ctx, func() (map[string]map[string]string, error) { return send(ctx, e, subjects, probes) }, probes)
	if err != nil {
		return nil, fmt.Errorf("isolation proof: %w", err)
	}
	after, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if iso.FirewallDrops, err = FirewallDrops(after, f); err != nil {
		return nil, fmt.Errorf("isolation proof: %w", err)
	}
	return iso, verdict(iso)
}

// untilControlsPass sends batches until the controls of one succeed, and judges that batch. A
// control that fails means that the cluster or this machine is not ready yet. A wrong answer is
// final at once.
func untilControlsPass(
	ctx context.Context,
	send func() (map[string]map[string]string, error),
	probes []probe,
) (iso *v1alpha2.Isolation, err error) {
	for {
		answers, err := send()
		if err != nil && ctx.Err() != nil && iso != nil {
			return iso, nil // the failed control tells more than the timeout
		}
		if err != nil {
			return nil, err
		}
		iso = judge(probes, answers)
		if bad := failing(iso); ctx.Err() == nil && len(bad) > 0 &&
			!slices.ContainsFunc(bad, func(p v1alpha2.IsolationProbe) bool { return !p.Control }) {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		return iso, nil
	}
}

// subject is one cluster as the proof sees it.
type subject struct {
	*mesh.Cluster
	token    string
	families []addresses     // IPv4, and in a fleet of both IPv6
	pods     map[string]bool // addresses that pods of this cluster have, which pods of others may have, too
	nodePort int
}

// addresses are those of one family that the proof calls.
type addresses struct {
	probe   string // of the pod range, in use in this cluster alone
	pod     string // of the real pod that probes are sent from
	vip     string // of the service range, in use in this cluster alone
	node    string // on the cluster's own network
	transit string // of the node on the transit network
}

// of returns one address for each family.
func (s *subject) of(which func(addresses) string) (all []string) {
	for _, a := range s.families {
		all = append(all, which(a))
	}
	return all
}

// setUp prepares cluster number n: servers that say where they are, and a service for one of them.
func setUp(ctx context.Context, e *engine.Engine, c *mesh.Cluster, n int) (*subject, error) {
	if err := c.Connect(); err != nil {
		return nil, err
	}
	pods, services, err := ranges(c)
	if err != nil {
		return nil, err
	}
	s := &subject{Cluster: c, token: c.Name}
	nodes, err := ownAddresses(ctx, e, c.Kind.Network, c.Kind.Nodes[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if len(nodes) < len(pods) {
		return nil, fmt.Errorf("%s: node %s has the addresses %v, expected one for each of %s: %s", c.Name,
			c.Kind.Nodes[0], nodes, c.PodCIDR, anew)
	}
	probe, transit := host(pods[0], 255<<8+n), netip.MustParseAddr(c.Kind.TransitIP)
	for k := range pods {
		if k > 0 {
			probe, transit = asIPv6(probe), asIPv6(transit)
		}
		s.families = append(s.families, addresses{
			probe: probe.String(), vip: host(services[k], 255<<8+n).String(), node: nodes[k], transit: transit.String(),
		})
	}
	found := false
	err = watchUntil(ctx, func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.LabelSelector = "k8s-app=kube-dns" // the one pod that every cluster has and that is not on the host's network
		return c.Kube().CoreV1().Pods(metav1.NamespaceSystem).Watch(ctx, o)
	}, func(o runtime.Object) bool {
		p, ok := o.(*corev1.Pod)
		if !ok || p.DeletionTimestamp != nil || len(p.Status.PodIPs) < len(s.families) {
			return found
		}
		for k := range s.families {
			s.families[k].pod = p.Status.PodIPs[k].IP
		}
		found = true
		return found
	})
	if err != nil {
		return nil, fmt.Errorf("%s: no pod of kube-dns has an address to probe from: %w: "+
			"run `kubectl --kubeconfig %s -n kube-system describe pods -l k8s-app=kube-dns`", c.Name, err, c.Kubeconfig)
	}
	if s.pods, err = podAddresses(ctx, c); err != nil {
		return nil, err
	}
	if _, err := s.run(ctx, e, "setup", nil); err != nil {
		return s, err
	}
	s.nodePort, err = s.service(ctx)
	return s, err
}

func podAddresses(ctx context.Context, c *mesh.Cluster) (map[string]bool, error) {
	pods, err := c.Kube().CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	all := map[string]bool{}
	for _, p := range pods.Items {
		for _, ip := range p.Status.PodIPs {
			all[ip.IP] = true
		}
	}
	return all, nil
}

// ranges are a cluster's ranges of pod and service addresses, one of each family.
func ranges(c *mesh.Cluster) (pods, services []netip.Prefix, err error) {
	parse := func(list string) (all []netip.Prefix) {
		for text := range strings.SplitSeq(list, ",") {
			p, bad := netip.ParsePrefix(text)
			err = errors.Join(err, bad)
			all = append(all, p)
		}
		return all
	}
	pods, services = parse(c.PodCIDR), parse(c.ServiceCIDR)
	if err == nil && len(pods) != len(services) {
		err = errors.New("they are not of the same families")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: podCIDR %q, serviceCIDR %q of the fleet file: %w", c.Name, c.PodCIDR, c.ServiceCIDR, err)
	}
	return pods, services, nil
}

// service creates the service of the proof and returns its node port.
func (s *subject) service(ctx context.Context) (int, error) {
	core, endpoints := s.Kube().CoreV1().Services(metav1.NamespaceSystem), s.Kube().DiscoveryV1().EndpointSlices(metav1.NamespaceSystem)
	_ = s.removeService(ctx) // left by a proof that was killed
	labels := map[string]string{discoveryv1.LabelServiceName: isolationName}
	name, port, proto := "token", int32(tokenPort), corev1.ProtocolTCP
	for k, a := range s.families {
		_, err := endpoints.Create(ctx, &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: isolationName + []string{"", "6"}[k], Labels: labels},
			AddressType: []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}[k],
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{a.probe}}},
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &proto}},
		}, metav1.CreateOptions{})
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	policy := corev1.IPFamilyPolicyPreferDualStack
	vips := s.of(func(a addresses) string { return a.vip })
	svc, err := core.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: isolationName},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: vips[0], ClusterIPs: vips, IPFamilyPolicy: &policy,
			Ports: []corev1.ServicePort{{Name: name, Port: port}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.Name, err)
	}
	return int(svc.Spec.Ports[0].NodePort), nil
}

func (s *subject) removeService(ctx context.Context) error {
	err := s.Kube().CoreV1().Services(metav1.NamespaceSystem).Delete(ctx, isolationName, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return errors.Join(err, s.Kube().DiscoveryV1().EndpointSlices(metav1.NamespaceSystem).DeleteCollection(ctx, metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + isolationName}))
}

func (s *subject) clear(ctx context.Context, e *engine.Engine) error {
	_, err := s.run(ctx, e, "clear", nil)
	return errors.Join(err, s.removeService(ctx))
}

// run runs one step of isolation.sh on the node of the cluster.
func (s *subject) run(ctx context.Context, e *engine.Engine, step string, probes []string) (string, error) {
	out6 := ""
	if len(s.families) > 1 {
		out6 = outside6
	}
	vars := fmt.Sprintf("TOKEN=%s PROBE_IPS='%s' PORT=%d POD_IP=%s OUTSIDE=%s OUTSIDE6=%s PROBES='%s'\n", s.token,
		strings.Join(s.of(func(a addresses) string { return a.probe }), " "), tokenPort, s.families[0].pod, outside, out6,
		strings.Join(probes, "\n"))
	out, err := e.Feed(ctx, strings.NewReader(vars+script), "exec", "-i", s.Kind.Nodes[0], "bash", "-s", step)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.Name, err)
	}
	return out, nil
}

// Places a probe is sent from.
const (
	fromPod  = "pod"
	fromNode = "node"
)

// probe is one attempt.
type probe struct {
	id       string
	from, to *subject // to is nil for the outside
	where    string
	what     string // of the address
	ip       string
	port     int
	banner   bool // something there says its token
	control  bool
}

// probesFrom are all probes of one cluster: those that must be answered, inside the cluster and on
// the transit network, and those that must not.
func probesFrom(s *subject, subjects []*subject) []probe {
	var all []probe
	add := func(p probe) {
		p.id, p.from = "p"+strconv.Itoa(len(all)), s
		all = append(all, p)
	}
	for _, to := range subjects {
		inside := to == s
		routed := !inside && to.Kind.Network == s.Kind.Network
		if to.IstiodAddress != "" && !inside { // opened on purpose, and nothing else at the same address
			for _, where := range []string{fromPod, fromNode} {
				for _, port := range to.Kind.OpenPorts {
					add(probe{to: to, where: where, what: "istiod behind its gateway", ip: to.IstiodAddress, port: port, control: true})
				}
				add(probe{to: to, where: where, what: "gateway of istiod", ip: to.IstiodAddress, port: crossNetworkPort})
			}
		}
		for _, where := range []string{fromPod, fromNode} {
			for _, at := range to.families {
				for _, port := range []int{apiServerPort, kubeletPort} {
					open := routed && where == fromNode && port == apiServerPort
					add(probe{to: to, where: where, what: "node", ip: at.node, port: port, control: inside || open})
					// Of a node, other clusters may call only the API server, at its transit address.
					add(probe{to: to, where: where, what: "node on transit", ip: at.transit, port: port, control: inside || port == apiServerPort})
				}
				add(probe{to: to, where: where, what: "node port", ip: at.node, port: to.nodePort, banner: true, control: inside})
				add(probe{to: to, where: where, what: "node port on transit", ip: at.transit, port: to.nodePort, banner: true, control: inside})
				add(probe{to: to, where: where, what: "pod", ip: at.probe, port: tokenPort, banner: true, control: inside})
				add(probe{to: to, where: where, what: "service", ip: at.vip, port: tokenPort, banner: true, control: inside})
				if where == fromNode || !inside { // a pod's own address is no proof of anything
					add(probe{to: to, where: where, what: "real pod", ip: at.pod, port: tokenPort, banner: true, control: inside || routed})
				}
			}
		}
	}
	return all
}

const (
	kubeletPort = 10250
	// crossNetworkPort is where a classic gateway would pass on what is meant for services.
	crossNetworkPort = 15443
)

// send sends one batch from all clusters at once. The answers are by cluster and by the first word
// of each line.
func send(ctx context.Context, e *engine.Engine, subjects []*subject, probes []probe) (map[string]map[string]string, error) {
	answers := map[string]map[string]string{}
	for _, s := range subjects {
		answers[s.Name] = map[string]string{}
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, s := range subjects {
		var lines []string
		for _, p := range probes {
			if p.from == s {
				banner := 0
				if p.banner {
					banner = 1
				}
				lines = append(lines, fmt.Sprintf("%s %s %s %d %d", p.id, p.where, p.ip, p.port, banner))
			}
		}
		all.Go(func() error {
			out, err := s.run(ctx, e, "probe", lines)
			for line := range strings.Lines(out) {
				key, answer, _ := strings.Cut(strings.TrimSpace(line), " ")
				answers[s.Name][key] = answer
			}
			return err
		})
	}
	return answers, all.Wait()
}

// judge turns answers into results. An answer is "+" and the token, if there was one. It is empty
// when nothing answered. A probe that was not sent has no answer.
func judge(probes []probe, answers map[string]map[string]string) *v1alpha2.Isolation {
	iso := &v1alpha2.Isolation{Proven: true, At: time.Now().UTC().Truncate(time.Second)}
	add := func(p v1alpha2.IsolationProbe) {
		iso.Proven = iso.Proven && p.OK
		iso.Probes = append(iso.Probes, p)
	}
	var from []*subject
	for _, p := range probes {
		if !slices.Contains(from, p.from) {
			from = append(from, p.from)
		}
		answer, asked := answers[p.from.Name][p.id]
		token, reached := strings.CutPrefix(answer, "+")
		r := v1alpha2.IsolationProbe{
			From: p.from.Name + " " + p.where, To: p.to.Name + " " + p.what, Address: net.JoinHostPort(p.ip, strconv.Itoa(p.port)),
			Control: p.control, Reached: reached, Answered: token,
		}
		switch {
		case !asked:
		case p.control:
			r.OK = reached && (!p.banner || token == p.to.token)
		case reached && p.banner && (token == p.from.token || token == "" && p.from.pods[p.ip]):
			// The same address in the own cluster: the other cluster was not reached. A ztunnel takes each
			// connection to its pods, also to a port where nobody listens; what the proof is about tells its
			// token, and its control says that it does.
			r.Reached, r.OK = false, true
		default:
			r.OK = !reached
		}
		add(r)
	}
	for _, s := range from {
		for _, proto := range toOutside[:3*len(s.families)] {
			counted, err := strconv.Atoi(answers[s.Name]["counted-"+proto.name])
			_, reached := strings.CutPrefix(answers[s.Name]["outside-"+proto.name], "+")
			r := v1alpha2.IsolationProbe{
				From: s.Name + " " + fromPod, To: "outside the fleet", Address: proto.address,
				Reached: reached || err != nil || counted == 0,
			}
			if r.OK = !r.Reached; r.OK {
				r.Answered = "refused and counted by the node's firewall"
			}
			add(r)
		}
	}
	return iso
}

// toOutside is what a pod tries to send out of the fleet: the first three by IPv4, the others by
// IPv6.
var toOutside = []struct{ name, address string }{
	{"tcp", outside + ":443/tcp"}, {"udp", outside + ":53/udp"}, {"icmp", outside + " icmp"},
	{"tcp6", "[" + outside6 + "]:443/tcp"}, {"udp6", "[" + outside6 + "]:53/udp"}, {"icmp6", outside6 + " icmpv6"},
}

func failing(iso *v1alpha2.Isolation) []v1alpha2.IsolationProbe {
	var bad []v1alpha2.IsolationProbe
	for _, p := range iso.Probes {
		if !p.OK {
			bad = append(bad, p)
		}
	}
	slices.SortStableFunc(bad, func(a, b v1alpha2.IsolationProbe) int { // wrong answers before failed controls
		return cmp.Compare(btoi(a.Control), btoi(b.Control))
	})
	return bad
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// verdict is an error that says which probe failed, or nil.
func verdict(iso *v1alpha2.Isolation) error {
	bad := failing(iso)
	if len(bad) == 0 {
		return nil
	}
	p := bad[0]
	more := ""
	if len(bad) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(bad)-1)
	}
	switch {
	case p.Control:
		return fmt.Errorf(
			"isolation is not proven: control failed: %s should reach %s at %s, and did not%s: run `amc up`, which checks the fleet",
			p.From, p.To, p.Address, more,
		)
	case p.Answered != "":
		return fmt.Errorf("the clusters are not isolated: %s reached %s at %s, where %s answered%s: run `amc down` and `amc up`",
			p.From, p.To, p.Address, p.Answered, more)
	default:
		return fmt.Errorf("the clusters are not isolated: %s reached %s at %s%s: run `amc down` and `amc up`", p.From, p.To, p.Address, more)
	}
}
