package spec

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/traffic"
)

// Gateway is the east-west gateways of one cluster, with an identity of the mesh to speak to them.
// Its methods are subjects, and each look goes every way there is: to each address in a Gateway's
// status from a client of every other network, and to each ready endpoint behind it.
type Gateway struct {
	// ID is of the fixture's client, issued by the cluster's istiod.
	ID *eastwest.Identity

	cluster   *Cluster
	addresses []eastwest.Address
	endpoints []*eastwest.Endpoint
}

// Gateway finds a cluster's east-west gateways and gets a certificate of the mesh.
func (t *T) Gateway(c *Cluster) *Gateway {
	g := &Gateway{cluster: c}
	var err error
	g.ID, err = eastwest.FromMesh(t.ctx, c.Cluster, t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
	t.NoError(err)
	var found []*eastwest.Gateway
	t.retry(func() error {
		if found, err = eastwest.Find(t.ctx, c.Cluster, c.EastWestClass()); err == nil {
			err = ready(c, found)
		}
		return err
	})
	for _, x := range found {
		t.Cleanup(func(context.Context) error { x.Close(); return nil })
		g.endpoints = append(g.endpoints, x.Endpoints...)
		for _, from := range t.OtherNetworks(c) {
			g.addresses = append(g.addresses, x.From(t.tunnelClient(from))...)
		}
	}
	return g
}

// ready says what gateways lack to be spoken to.
func ready(c *Cluster, all []*eastwest.Gateway) error {
	for _, g := range all {
		if len(g.Addresses) == 0 || len(g.Endpoints) == 0 {
			return fmt.Errorf("%s: gateway %s has %d addresses and %d ready endpoints: run `%s get gateways,endpointslices -A`",
				c.Name, g, len(g.Addresses), len(g.Endpoints), c.Kubectl())
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: there is no east-west gateway: run `%s get gateways -A`", c.Name, c.Kubectl())
	}
	return nil
}

// Gateways are a cluster's east-west gateways as the cluster shows them; a list of
// [eastwest.Gateway].
func (t *T) Gateways(c *Cluster) Subject {
	return Probe("east-west gateways of "+c.Name, func(ctx context.Context) (any, error) {
		return eastwest.Find(ctx, c.Cluster, c.EastWestClass())
	})
}

// OtherNetworks are the clusters whose network is not that of c.
func (t *T) OtherNetworks(c *Cluster) (others Clusters) {
	for _, o := range t.Clusters {
		if o.Network != c.Network {
			others = append(others, o)
		}
	}
	return others
}

// retry calls f until it works. The world gets the time that a change gets; then the spec ends as
// unknown.
func (t *T) retry(f func() error) {
	start := time.Now()
	for pause := newPause(); ; pause.wait(t.ctx) {
		err := f()
		if err == nil {
			return
		}
		if t.ctx.Err() != nil || time.Since(start) > t.times.Convergence {
			t.NoError(err)
		}
	}
}

func (g *Gateway) says(format string, args ...any) string {
	return "gateway of " + g.cluster.Name + ": " + fmt.Sprintf(format, args...)
}

// ways looks every way, side by side; a function that is nil leaves its ways out. A gateway pod
// that died of the attempt is an answer: no matcher accepts it. Where one way told nothing, the
// look told nothing.
func ways[V any](ctx context.Context, g *Gateway, address func(eastwest.Address) (V, error),
	endpoint func(*eastwest.Endpoint) (V, error)) (any, error) {
	addresses, endpoints := g.addresses, g.endpoints
	if address == nil {
		addresses = nil
	}
	if endpoint == nil {
		endpoints = nil
	}
	n := len(addresses)
	values, errs := make([]V, n+len(endpoints)), make([]error, n+len(endpoints))
	died := make([]string, len(endpoints))
	var all sync.WaitGroup
	for i, a := range addresses {
		all.Go(func() { values[i], errs[i] = address(a) })
	}
	for i, e := range endpoints {
		all.Go(func() {
			values[n+i], errs[n+i] = endpoint(e)
			if errs[n+i] == nil {
				return
			}
			if dead, err := e.Died(ctx); err == nil && dead {
				died[i] = e.String()
			}
		})
	}
	all.Wait()
	for _, pod := range died {
		if pod != "" {
			return eastwest.Died(pod), nil
		}
	}
	return values, errors.Join(errs...)
}

// Calls are HTTP requests by double HBONE, as a ztunnel of another network makes them; a list of
// [eastwest.Answer].
func (g *Gateway) Calls(host string) Subject { return g.CallsAs("the mesh's client", g.ID, host) }

// CallsAs are [Gateway.Calls] with another identity; with nil the client has no certificate.
func (g *Gateway) CallsAs(who string, id *eastwest.Identity, host string) Subject {
	return Probe(g.says("%s calls %s by double HBONE", who, host), func(ctx context.Context) (any, error) {
		return ways(ctx, g,
			func(a eastwest.Address) (eastwest.Answer, error) { return a.CallDouble(ctx, id, host) },
			func(e *eastwest.Endpoint) (eastwest.Answer, error) { return e.CallDouble(ctx, eastwest.Both(id), host) })
	})
}

// CallsInside are [Gateway.Calls] with another identity in the inner tunnel only, to each ready
// endpoint: the fleet's clients have one for both. With nil the client has no certificate there.
func (g *Gateway) CallsInside(who string, inner *eastwest.Identity, host string) Subject {
	return g.calls("in the tunnel of the mesh's client, "+who, eastwest.Pair{Outer: g.ID, Inner: inner}, host)
}

// CallsSpeaking are [Gateway.Calls] of a client that speaks TLS to the gateway in another way, to
// each ready endpoint: the fleet's clients cannot.
func (g *Gateway) CallsSpeaking(says string, change func(*tls.Config), host string) Subject {
	return g.calls("the mesh's client, with "+says+",", eastwest.Pair{Outer: g.ID.Speaking(change), Inner: g.ID}, host)
}

// CallsWithHeader are [Gateway.Calls] whose outer CONNECT has a header more, to each ready
// endpoint.
func (g *Gateway) CallsWithHeader(name, value, host string) Subject {
	return g.calls(fmt.Sprintf("the mesh's client, with %s: %s,", name, value),
		eastwest.Pair{Outer: g.ID, Inner: g.ID, Headers: map[string]string{name: value}}, host)
}

func (g *Gateway) calls(who string, id eastwest.Pair, host string) Subject {
	return Probe(g.says("%s calls %s by double HBONE", who, host), func(ctx context.Context) (any, error) {
		return ways(ctx, g, nil, func(e *eastwest.Endpoint) (eastwest.Answer, error) { return e.CallDouble(ctx, id, host) })
	})
}

// Mint makes a certificate of the fixture's client with a flaw, for which it takes the CA's key.
// Only a fleet of ours has it.
func (t *T) Mint(g *Gateway, flaw eastwest.Flaw) *eastwest.Identity {
	id, err := eastwest.Mint(g.ID, t.Fleet.CADir, g.cluster.Name, t.TrustDomain(), fixture.MeshNamespace, fixture.Client, flaw)
	t.NoError(err)
	return id
}

// SingleCalls are HTTP requests by single HBONE; a list of [eastwest.Answer].
func (g *Gateway) SingleCalls(host string) Subject {
	return Probe(g.says("single HBONE call to %s", host), func(ctx context.Context) (any, error) {
		return ways(ctx, g,
			func(a eastwest.Address) (eastwest.Answer, error) { return a.CallSingle(ctx, g.ID, host) },
			func(e *eastwest.Endpoint) (eastwest.Answer, error) { return e.CallSingle(ctx, g.ID, host) })
	})
}

// Asked addresses a destination in its own protocol, through a tunnel; a list of [eastwest.Answer].
func (g *Gateway) Asked(d Destination) Subject { return g.AskedBy("the mesh's client", g.ID, d) }

// AskedBy is [Gateway.Asked] by another identity; with nil the client has no certificate.
func (g *Gateway) AskedBy(who string, id *eastwest.Identity, d Destination) Subject {
	return Probe(g.says("%s asks for %s", who, d), func(ctx context.Context) (any, error) {
		return ways(ctx, g,
			func(a eastwest.Address) (eastwest.Answer, error) { return a.Speak(ctx, id, d.Authority, d.Protocol) },
			func(e *eastwest.Endpoint) (eastwest.Answer, error) { return e.Speak(ctx, id, d.Authority, d.Protocol) })
	})
}

// Requests are odd HTTP/2 requests, made with a certificate of the mesh to each ready endpoint; a
// list of [eastwest.Answer].
func (g *Gateway) Requests(odd eastwest.Odd) Subject {
	return Probe(g.says("%s", odd.Says), func(ctx context.Context) (any, error) {
		return ways(ctx, g, nil, func(e *eastwest.Endpoint) (eastwest.Answer, error) { return e.Request(ctx, g.ID, odd) })
	})
}

// Hears are bytes within the TLS of a client of the mesh that speaks it in another way, to each
// ready endpoint; a list of [eastwest.Answer].
func (g *Gateway) Hears(says string, change func(*tls.Config), payload string) Subject {
	id := g.ID.Speaking(change)
	return Probe(g.says("the mesh's client, with %s", says), func(ctx context.Context) (any, error) {
		return ways(ctx, g, nil, func(e *eastwest.Endpoint) (eastwest.Answer, error) { return e.Say(ctx, id, []byte(payload)) })
	})
}

// OpenPorts are the ports at the gateway's addresses to which clients can connect, of those on
// which parts of Istio, of Kubernetes and gateways listen; a list of [eastwest.Ports]. A client of
// its own cluster tries, too: a firewall between the networks may hide from the others what is
// open. An address that is a node's, as some load balancers give, is left out.
func (g *Gateway) OpenPorts() Subject {
	return Probe(g.says("ports of its addresses"), func(ctx context.Context) (any, error) {
		of, err := nodeAddresses(ctx, g.cluster)
		if err != nil {
			return nil, err
		}
		own := Gateway{cluster: g.cluster}
		for _, a := range g.addresses {
			if host, _, _ := net.SplitHostPort(a.At); !slices.Contains(of, host) {
				own.addresses = append(own.addresses, a, eastwest.Address{From: g.cluster.Plain, At: a.At})
			}
		}
		if len(own.addresses) == 0 {
			return nil, fmt.Errorf("%s: every address of the east-west gateways is a node's, whose ports cannot be told from theirs", g.cluster)
		}
		return ways(ctx, &own, func(a eastwest.Address) (eastwest.Ports, error) { return a.OpenPorts(ctx) }, nil)
	})
}

// Health are GETs of a path at the port of a gateway's address that tells its health.
func (g *Gateway) Health(path string) (all []traffic.Calls) {
	for _, a := range g.addresses {
		all = append(all, a.Health(path))
	}
	return all
}

// InPlaintext are GETs of a path at each of its addresses, without any TLS.
func (g *Gateway) InPlaintext(path string) (all []traffic.Calls) {
	for _, a := range g.addresses {
		all = append(all, a.From.Get("http://"+a.At+path))
	}
	return all
}

// Receives are raw bytes sent to each ready endpoint; a list of [eastwest.Reply].
func (g *Gateway) Receives(what string, payload []byte) Subject {
	return Probe(g.says("%s on port %d", what, eastwest.Port), func(ctx context.Context) (any, error) {
		return ways(ctx, g, nil, func(e *eastwest.Endpoint) (eastwest.Reply, error) { return e.Send(ctx, payload) })
	})
}

// ReceivesHTTP are HTTP requests without TLS, sent to each address; with prior knowledge of HTTP/2
// if http2 is set. A list of [eastwest.Reply].
func (g *Gateway) ReceivesHTTP(http2 bool) Subject {
	version := map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2]
	return Probe(g.says("%s without TLS to its address", version), func(ctx context.Context) (any, error) {
		return ways(ctx, g, func(a eastwest.Address) (eastwest.Reply, error) { return a.Plain(ctx, http2) }, nil)
	})
}

// handshakes are TLS handshakes by every way to the gateway; a list of [eastwest.Shown].
func (g *Gateway) handshakes(says string, port int, name string) Subject {
	return Probe(says, func(ctx context.Context) (any, error) {
		return ways(ctx, g,
			func(a eastwest.Address) (eastwest.Shown, error) { return a.Handshake(ctx, name) },
			func(e *eastwest.Endpoint) (eastwest.Shown, error) { return e.Handshake(ctx, port, name) })
	})
}

// handshakesAtAddress are [Gateway.handshakes] at the gateway's addresses only.
func (g *Gateway) handshakesAtAddress(says, name string) Subject {
	return Probe(says+" at its address", func(ctx context.Context) (any, error) {
		return ways(ctx, g, func(a eastwest.Address) (eastwest.Shown, error) { return a.Handshake(ctx, name) }, nil)
	})
}

// openPorts opens ports at the addresses of a cluster's gateways to the other networks, where that
// is ours to do, until the spec has ended.
func (t *T) openPorts(c *Cluster, ports ...int) {
	if t.OpenPorts == nil {
		return
	}
	closed, err := t.OpenPorts(t.ctx, c.Cluster, ports...)
	if closed != nil {
		t.Cleanup(closed)
	}
	t.NoError(err)
}

// nodeAddresses are all addresses of a cluster's nodes.
func nodeAddresses(ctx context.Context, c *Cluster) (all []string, err error) {
	var nodes corev1.NodeList
	if err := c.Cluster.Client().List(ctx, &nodes); err != nil {
		return nil, fmt.Errorf("%s: nodes: %w", c, err)
	}
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			all = append(all, a.Address)
		}
	}
	return all, nil
}
