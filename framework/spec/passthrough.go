package spec

import (
	"crypto/x509"
	"net"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/undo"
	"ambient.test/conformance/framework/workload"
)

// passthroughPort is none on which an east-west gateway listens anyway. It is not 15443: istiod
// takes a listener there for one of its own mode.
const passthroughPort = 16443

// Passthrough is a port of a cluster's east-west gateways that passes TLS on by server name. Other
// networks reach it as long as the spec runs.
type Passthrough struct {
	*Gateway

	t        *T
	gateways []client.ObjectKey
}

// PassTLS gives each east-west gateway of a cluster a listener more, which passes TLS on. It has no
// routes yet. After the spec the gateways are as before.
func (t *T) PassTLS(c *Cluster) *Passthrough {
	ambient := t.Gateway(c)
	p := &Passthrough{Gateway: &Gateway{cluster: c, endpoints: ambient.endpoints}, t: t, gateways: t.gatewayKeys(c)}
	for _, a := range ambient.addresses {
		host, _, err := net.SplitHostPort(a.At)
		t.NoError(err)
		p.addresses = append(p.addresses, eastwest.Address{From: a.From, At: net.JoinHostPort(host, strconv.Itoa(passthroughPort))})
	}
	t.openPorts(c, passthroughPort)
	mode, all := gateway.TLSModePassthrough, gateway.NamespacesFromAll
	listener := gateway.Listener{Name: "passthrough", Port: passthroughPort, Protocol: gateway.TLSProtocolType,
		TLS:           &gateway.ListenerTLSConfig{Mode: &mode},
		AllowedRoutes: &gateway.AllowedRoutes{Namespaces: &gateway.RouteNamespaces{From: &all}}}
	t.change(func() {
		for _, key := range p.gateways {
			add := func(g *gateway.Gateway) { g.Spec.Listeners = append(g.Spec.Listeners, listener) }
			t.changeGateway(c, key, add, undo.Field{"spec", "listeners"})
		}
	})
	return p
}

// Route passes TLS for a Service's own name on to its HTTPS port.
func (p *Passthrough) Route(to *Service) {
	p.t.Apply(Clusters{p.cluster}, func(*Cluster) client.Object {
		port, section := gateway.PortNumber(443), gateway.SectionName("passthrough")
		r := &gateway.TLSRoute{ObjectMeta: metav1.ObjectMeta{Namespace: to.Namespace, Name: to.Name}}
		for _, g := range p.gateways {
			namespace := gateway.Namespace(g.Namespace)
			r.Spec.ParentRefs = append(r.Spec.ParentRefs,
				gateway.ParentReference{Namespace: &namespace, Name: gateway.ObjectName(g.Name), SectionName: &section})
		}
		r.Spec.Hostnames = []gateway.Hostname{gateway.Hostname(to.Host())}
		r.Spec.Rules = []gateway.TLSRouteRule{{BackendRefs: []gateway.BackendRef{{
			BackendObjectReference: gateway.BackendObjectReference{Name: gateway.ObjectName(to.Name), Port: &port}}}}}
		return r
	})
}

// Handshakes are TLS handshakes that ask for a server name; a list of [eastwest.Shown].
func (p *Passthrough) Handshakes(name string) Subject {
	return p.handshakes(p.tls(name), passthroughPort, name)
}

// AtAddress are [Passthrough.Handshakes] at the gateways' addresses only: of a pod that nobody
// listens in on the port nothing is learned.
func (p *Passthrough) AtAddress(name string) Subject { return p.handshakesAtAddress(p.tls(name), name) }

func (p *Passthrough) tls(name string) string {
	return p.says("TLS to %s on port %d", name, passthroughPort)
}

// Trusting are the roots of who trusts a certificate and no other.
func Trusting(x *workload.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(x.Cert))
	return pool
}
