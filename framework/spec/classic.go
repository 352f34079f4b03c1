package spec

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/install"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/wait"
)

// ClassicGateway is an east-west gateway of the spec's own in one cluster, as meshes of sidecars
// have it: Istio's chart, outside the mesh. Other networks reach it as long as the spec runs.
type ClassicGateway struct {
	*Gateway
	// Roots are those that the mesh trusts.
	Roots *x509.CertPool

	t                  *T
	name, root, charts string
}

// ClassicGateway installs a classic gateway beside the east-west gateway that a cluster has. It is
// gone after the spec, and the ports that were opened for it are closed.
func (t *T) ClassicGateway(c *Cluster) *ClassicGateway {
	charts, err := t.Charts(t.ctx)
	t.NoError(err)
	name := t.Name("gateway")
	objects, err := install.ClassicGateway(t.Fleet, c.Cluster, charts, fixture.PlainNamespace, name)
	t.NoError(err)
	t.applyAll(c, objects)
	t.NoError(wait.Deployment(t.ctx, c.Cluster, fixture.PlainNamespace, name, 0))
	address := ""
	addressed := func(s *corev1.Service, there bool) (bool, string) {
		if there && len(s.Status.LoadBalancer.Ingress) > 0 {
			address = cmp.Or(s.Status.LoadBalancer.Ingress[0].IP, s.Status.LoadBalancer.Ingress[0].Hostname)
		}
		return address != "", "no load balancer has given it an address"
	}
	t.NoError(wait.Object(t.ctx, c.Cluster, &corev1.ServiceList{}, fixture.PlainNamespace, name, addressed))
	t.openPorts(c, istiod.DiscoveryPort, istiod.WebhookPort)
	g := &ClassicGateway{Gateway: &Gateway{cluster: c}, t: t, name: name, charts: charts}
	g.endpoints, err = eastwest.Endpoints(t.ctx, c.Cluster, fixture.PlainNamespace, []string{address})
	t.NoError(err)
	for _, e := range g.endpoints {
		t.Cleanup(func(context.Context) error { e.Close(); return nil })
	}
	for _, from := range t.OtherNetworks(c) {
		g.addresses = append(g.addresses, eastwest.Address{From: from.Plain, At: net.JoinHostPort(address, strconv.Itoa(istiod.DiscoveryPort))})
	}
	g.root, g.Roots, err = eastwest.Root(t.ctx, c.Cluster, fixture.PlainNamespace)
	t.NoError(err)
	t.Changed()
	return g
}

// ExposeIstiod lets the gateway pass TLS on to the cluster's istiod, as Istio's sample does.
func (g *ClassicGateway) ExposeIstiod() {
	s := g.t.ControlPlaneServices(g.cluster)[0]
	for _, o := range install.ExposeIstiod(fixture.PlainNamespace, g.name, g.name, g.t.HostIn(s.Namespace, s.Name),
		install.IstiodPorts) {
		g.t.Apply(Clusters{g.cluster}, func(*Cluster) client.Object { return o })
	}
}

// IstiodName is the name that istiod shows in its certificate.
func (g *ClassicGateway) IstiodName() string {
	s := g.t.ControlPlaneServices(g.cluster)[0]
	return s.Name + "." + s.Namespace + ".svc"
}

// AtAddress are TLS handshakes that ask for istiod at the gateway's address; a list of
// [eastwest.Shown].
func (g *ClassicGateway) AtAddress() Subject {
	name := g.IstiodName()
	return g.handshakesAtAddress(g.tls(name), name)
}

// Handshakes are TLS handshakes that ask for istiod; a list of [eastwest.Shown].
func (g *ClassicGateway) Handshakes() Subject {
	name := g.IstiodName()
	return g.handshakes(g.tls(name), istiod.DiscoveryPort, name)
}

func (g *ClassicGateway) tls(name string) string {
	return "classic " + g.says("TLS to %s on port %d", name, istiod.DiscoveryPort)
}

// Discoveries are streams that a proxy of another cluster opens to istiod for its configuration,
// with a token of its ServiceAccount; a list of [eastwest.Stream]. They go to the pods behind the
// address: the fleet's clients send no message on a stream. See [ClassicGateway.Configures].
func (g *ClassicGateway) Discoveries(from *Cluster) Subject {
	p := g.proxy(from)
	var err error
	p.Token, err = eastwest.Token(g.t.ctx, from.Cluster, fixture.PlainNamespace, fixture.Plain)
	g.t.NoError(err)
	return g.streams(from, "with a token", nil, p)
}

// DiscoveriesWithoutToken are [ClassicGateway.Discoveries] without a token, by every way to the
// gateway.
func (g *ClassicGateway) DiscoveriesWithoutToken(from *Cluster) Subject {
	p := g.proxy(from)
	at := func(ctx context.Context, a eastwest.Address) (eastwest.Stream, error) { return a.Discover(ctx, p) }
	return g.streams(from, "without a token", at, p)
}

func (g *ClassicGateway) proxy(from *Cluster) eastwest.Proxy {
	return eastwest.Proxy{Cluster: from.Name, Namespace: fixture.PlainNamespace, Domain: g.t.Domain(), CA: g.root, ServerName: g.IstiodName()}
}

func (g *ClassicGateway) streams(from *Cluster, how string, at func(context.Context, eastwest.Address) (eastwest.Stream, error),
	p eastwest.Proxy) Subject {
	return Probe("classic "+g.says("a proxy of %s asks istiod for its configuration, %s", from, how), func(ctx context.Context) (any, error) {
		var address func(eastwest.Address) (eastwest.Stream, error)
		if at != nil {
			address = func(a eastwest.Address) (eastwest.Stream, error) { return at(ctx, a) }
		}
		return ways(ctx, g.Gateway, address, func(e *eastwest.Endpoint) (eastwest.Stream, error) {
			return e.Discover(ctx, istiod.DiscoveryPort, p)
		})
	})
}

// Configures is true while a proxy in another cluster is ready whose only control plane is the one
// behind the gateway's address: it has shown its token there and got its configuration.
func (g *ClassicGateway) Configures(from *Cluster) Subject {
	name := g.t.Name("proxy")
	at := g.addresses[slices.IndexFunc(g.addresses, func(a eastwest.Address) bool { return a.From == from.Plain })].At
	objects, err := install.ProxyOf(g.t.Fleet, from.Cluster, g.charts, fixture.PlainNamespace, name, at, g.IstiodName())
	g.t.NoError(err)
	g.t.applyAll(from, objects)
	g.t.retry(func() error { return runs(g.t.ctx, from, name) }) // how long a pod takes to start is not the question
	g.t.Changed()
	return Probe("proxy in "+from.Name+" that istiod behind the classic gateway of "+g.cluster.Name+" configures",
		func(ctx context.Context) (any, error) {
			d := deployment(fixture.PlainNamespace, name)
			err := from.Cluster.Client().Get(ctx, client.ObjectKeyFromObject(d), d)
			return d.Status.ReadyReplicas > 0, err
		})
}

// runs says what keeps a pod outside the mesh from running, ready or not.
func runs(ctx context.Context, c *Cluster, app string) error {
	var pods corev1.PodList
	if err := c.Cluster.Client().List(ctx, &pods, client.InNamespace(fixture.PlainNamespace), client.MatchingLabels{"app": app}); err != nil {
		return err
	}
	if !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }) {
		return fmt.Errorf("%s: no pod of %s runs: run `%s -n %s describe pods -l app=%s`", c.Name, app, c.Kubectl(), fixture.PlainNamespace, app)
	}
	return nil
}

// applyAll applies the objects of a chart, and deletes them after the spec.
func (t *T) applyAll(c *Cluster, objects []client.Object) {
	for _, o := range objects {
		t.Apply(Clusters{c}, func(*Cluster) client.Object { return o })
	}
}
