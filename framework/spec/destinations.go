package spec

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
)

// Destination is what a CONNECT names, and what is spoken there.
type Destination struct {
	Authority string // host:port
	Protocol  eastwest.Protocol
	What      string // for messages: what is, or is not, there
}

// To makes a destination.
func To(host string, port int, in eastwest.Protocol, what string) Destination {
	return Destination{net.JoinHostPort(host, strconv.Itoa(port)), in, what}
}

// String is for messages.
func (d Destination) String() string {
	return fmt.Sprintf("%s (%s) by %s", d.Authority, d.What, d.Protocol)
}

// Destinations are the Service's ports under its name, as a ztunnel asks for them, and its HTTP
// port as a client asks that is no ztunnel.
func (s *Service) Destinations() []Destination {
	all := []Destination{To(s.Host(), 80, eastwest.HTTP, "HTTP port of "+s.Name)}
	for _, p := range s.Object(nil).(*corev1.Service).Spec.Ports {
		all = append(all, To(s.Host(), int(p.Port), eastwest.HBONE, "port "+p.Name+" of "+s.Name))
	}
	return all
}

// VirtualAddress is the HTTP port of a Service under its address in a cluster, as a ztunnel asks
// for it.
func (t *T) VirtualAddress(c *Cluster, s *Service) Destination {
	return To(t.Address(c, s), 80, eastwest.HBONE, "address of "+s.Name)
}

// metadata is where clouds tell a machine its secrets.
const metadata = "169.254.169.254"

// Behind are addresses that a cluster's east-west gateway could reach and that answer there: of
// pods in the mesh and outside it, of istiod, of the gateway itself, of nodes and of the API
// server. The last one is that of metadata services.
func (t *T) Behind(g *Gateway) (all []Destination) {
	c := g.cluster
	for _, p := range []struct {
		namespace, app string
		port           int
		in             eastwest.Protocol
	}{
		{fixture.MeshNamespace, fixture.Echo, traffic.HTTP, eastwest.HTTP},
		{fixture.MeshNamespace, fixture.Echo, eastwest.Port, eastwest.HBONE},
		{fixture.PlainNamespace, fixture.Plain, traffic.HTTP, eastwest.HTTP},
	} {
		pod, err := workload.Pod(t.ctx, c.Cluster, p.namespace, p.app)
		t.NoError(err)
		all = append(all, To(pod.Status.PodIP, p.port, p.in, "pod of "+p.namespace))
	}
	pods, err := wait.Pods(t.ctx, c.Cluster, istiod.Namespace, map[string]string{"app": "istiod"}, 1)
	t.NoError(err)
	all = append(all, To(pods[0].Status.PodIP, 15014, eastwest.HTTP, "pod of istiod"))

	own := []string{"127.0.0.1", "::1", "localhost"}
	for _, e := range g.endpoints {
		own = append(own, e.IP)
		all = append(all, To(e.IP, eastwest.Port, eastwest.HBONE, "the gateway's pod"),
			To(e.IP, eastwest.HealthPort, eastwest.HTTP, "the gateway's pod"))
	}
	for _, host := range own {
		all = append(all, To(host, 15000, eastwest.HTTP, "the gateway's own administration"))
	}
	at := map[string]bool{}
	for _, a := range g.addresses { // one for each client
		if !at[a.At] {
			all = append(all, Destination{a.At, eastwest.HBONE, "the gateway's own address"})
		}
		at[a.At] = true
	}
	return append(append(all, t.machines(c)...), To(metadata, 80, eastwest.HTTP, "metadata service"))
}

// machines are kubelets of a cluster, and the address of its API server.
func (t *T) machines(c *Cluster) (all []Destination) {
	nodes := t.nodes(c)
	for _, n := range nodes[:min(len(nodes), probed)] {
		all = append(all, To(n.address, 10250, eastwest.TLS, n.name))
	}
	if u, err := url.Parse(c.APIServer); err == nil && u.Hostname() != "" {
		all = append(all, Destination{net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")), eastwest.TLS, "the API server"})
	}
	return all
}
