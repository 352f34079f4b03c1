package spec

import (
	"context"
	"crypto/tls"
	"fmt"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
)

// Gateway is a cluster's east-west gateway, with an identity of the mesh to speak to it. Its
// methods are subjects.
type Gateway struct {
	// ID is of the fixture's client, issued by the cluster's istiod.
	ID *eastwest.Identity

	cluster *Cluster
	gateway *eastwest.Gateway
}

// Gateway finds a cluster's east-west gateway and gets a certificate of the mesh.
func (t *T) Gateway(c *Cluster) *Gateway {
	ctx, cancel := context.WithTimeout(t.ctx, t.times.Convergence)
	defer cancel()
	g, err := eastwest.Find(ctx, c.Cluster)
	t.NoError(err)
	t.Cleanup(func(context.Context) error { g.Close(); return nil })
	id, err := eastwest.FromMesh(t.ctx, c.Cluster, t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
	t.NoError(err)
	return &Gateway{ID: id, cluster: c, gateway: g}
}

func (g *Gateway) says(format string, args ...any) string {
	return "gateway of " + g.cluster.Name + ": " + fmt.Sprintf(format, args...)
}

// Calls are HTTP requests by double HBONE, as a ztunnel of another network makes them; an
// [eastwest.Answer].
func (g *Gateway) Calls(host string) Subject {
	return Probe(g.says("double HBONE call to %s", host), func(ctx context.Context) (any, error) {
		return g.gateway.CallDouble(ctx, g.ID, host)
	})
}

// SingleCalls are HTTP requests by single HBONE; an [eastwest.Answer].
func (g *Gateway) SingleCalls(host string) Subject {
	return Probe(g.says("single HBONE call to %s", host), func(ctx context.Context) (any, error) {
		return g.gateway.CallSingle(ctx, g.ID, host)
	})
}

// TLSThrough are TLS handshakes in a single tunnel to authority (host:port); an [eastwest.Answer].
func (g *Gateway) TLSThrough(authority string) Subject {
	return Probe(g.says("TLS in a single tunnel to %s", authority), func(ctx context.Context) (any, error) {
		return g.gateway.ShakeThrough(ctx, g.ID, authority)
	})
}

// Handshakes are TLS handshakes with the gateway itself; an error, nil when it served.
func (g *Gateway) Handshakes(with string, conf *tls.Config) Subject {
	return Probe(g.says("TLS handshake with %s", with), func(ctx context.Context) (any, error) {
		return eastwest.Handshake{Err: g.gateway.Shake(ctx, conf)}, nil
	})
}

// Receives are raw bytes sent to the gateway's port; an [eastwest.Reply].
func (g *Gateway) Receives(what string, payload []byte) Subject {
	return Probe(g.says("%s on port %d", what, eastwest.Port), func(ctx context.Context) (any, error) {
		return g.gateway.Send(ctx, payload)
	})
}

// Chains are the authorities for which the gateway's internal listener has a filter chain; a list
// of host:port.
func (g *Gateway) Chains() Subject {
	return Probe(g.says("chains of its internal listener"), func(ctx context.Context) (any, error) {
		return g.gateway.Chains(ctx)
	})
}

// HasGatewayPod says whether a cluster's east-west gateway has a pod; a bool.
func HasGatewayPod(c *Cluster) Subject {
	return Probe(c.Name+" has a ready pod of its east-west gateway", func(ctx context.Context) (any, error) {
		return eastwest.HasPod(ctx, c.Cluster)
	})
}
