package prove

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/workload"
)

// Gateway is a site's east-west gateway, with identities of the mesh to speak to it.
type Gateway struct {
	*eastwest.Gateway
	ID *eastwest.Identity // of the standing client's ServiceAccount, issued by the site's istiod
}

// Gateway finds a site's east-west gateway and gets a certificate of the mesh for ServiceAccount client.
func (s *Spec) Gateway(at *Site) *Gateway {
	ctx, cancel := context.WithTimeout(s.Ctx, s.Times.Settle)
	defer cancel()
	g, err := eastwest.Find(ctx, at.Cluster)
	s.Must(err)
	s.Cleanup(func(context.Context) error { g.Close(); return nil })
	id, err := eastwest.FromMesh(s.Ctx, at.Cluster, MeshNamespace, "client")
	s.Must(err)
	return &Gateway{g, id}
}

// Answers makes one double HBONE call to the service's HTTP port and says what is wrong: it must be answered by the application
// of the gateway's cluster (want), or be refused at the outer CONNECT (not want).
func (g *Gateway) Answers(host string, want bool) func(ctx context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		authority := host + ":80"
		t, err := g.Double(ctx, g.ID, g.ID, authority)
		var no *eastwest.Refusal
		switch {
		case err != nil && !errors.As(err, &no):
			return "", err
		case want && err != nil:
			return fmt.Sprintf("CONNECT %s: %v", authority, err), nil
		case want:
			defer func() { _ = t.Close() }()
			code, body, raw, err := t.Get(host)
			if err != nil || code != 200 || !strings.Contains(body, "Cluster="+g.Cluster.Name+"\n") {
				return fmt.Sprintf("status %d, %d bytes (%v), body %.120q", code, len(raw), err, body), nil
			}
			return "", nil
		case err == nil:
			_ = t.Close()
			return "the double tunnel to " + authority + " was opened, to " + t.Peer, nil
		case no.Hop == "outer" && no.Status != 503:
			return fmt.Sprintf("refused, but by %v instead of status 503", no), nil
		}
		return "", nil // 503 at the outer CONNECT, or 200 and closed before the inner handshake: Envoy does either for an authority without a chain
	}
}

// Lists reads the gateway's internal listener: it must have, or must not have, a chain for the host.
func (g *Gateway) Lists(host string, want bool) func(ctx context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		chains, err := g.Chains(ctx)
		if err != nil {
			return "", err
		}
		has := slices.ContainsFunc(chains, func(c string) bool { return strings.HasPrefix(c, host+":") })
		if has != want {
			return fmt.Sprintf("chain for %s: %t; all: %s", host, has, strings.Join(chains, " ")), nil
		}
		return "", nil
	}
}

// Same makes the same object for every site.
func Same(o client.Object) func(*Site) client.Object {
	return func(*Site) client.Object { return o.DeepCopyObject().(client.Object) }
}

// Deployed applies an echo deployment of the spec's own in one cluster only and waits for its pod.
func (s *Spec) Deployed(at *Site, word string) string {
	e := workload.Echo{Namespace: MeshNamespace, Name: s.Name(word), Owner: strings.ToLower(s.Behavior.ID), Image: s.Fleet.Images["app"].Ref, Replicas: 1}
	for _, o := range e.Objects(at.Cluster) {
		s.Cleanup(func(ctx context.Context) error { return deleted(ctx, at, o) })
	}
	s.Must(e.Deploy(s.Ctx, at.Cluster))
	return e.Name
}
