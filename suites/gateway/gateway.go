// Package gateway proves the east-west gateway as a security boundary. Every refusal stands beside a
// call by the same path that is served.
package gateway

import (
	"bytes"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/eastwest"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/spec"
)

// GW-01
var GatewayDropsPlaintext = spec.Proves(behaviors.GatewayDropsPlaintext, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		for what, payload := range map[string][]byte{
			"HTTP/1.1":            []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"),
			"an h2c preface":      []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
			"an HTTP/1.1 CONNECT": []byte("CONNECT " + host + ":80 HTTP/1.1\r\nHost: " + host + ":80\r\n\r\n"),
			"random bytes":        bytes.Repeat([]byte{0xa7, 0x00, 0x5b, 0xff}, 64),
		} {
			t.ExpectAlways(gateway.Receives(what, payload), Closed())
		}
	})
})

// GW-02
var GatewayRequiresClientCertificate = spec.Proves(behaviors.GatewayRequiresClientCertificate, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, _ string) {
		t.Control(gateway.Handshakes("a certificate of the mesh", eastwest.WithCertificate(gateway.ID)), Served())
		t.ExpectAlways(gateway.Handshakes("no certificate", eastwest.WithCertificate(nil)), RefusedByAlert("certificate required"))
	})
})

// GW-03
var GatewayRefusesForeignCA = spec.Proves(behaviors.GatewayRefusesForeignCA, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, _ string) {
		t.Control(gateway.Handshakes("a certificate of the mesh", eastwest.WithCertificate(gateway.ID)), Served())
		forged, err := eastwest.Forged(gateway.ID, t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
		t.NoError(err)
		t.ExpectAlways(gateway.Handshakes("the same identity signed by a stranger", eastwest.WithCertificate(forged)),
			RefusedByAlert("unknown certificate authority"))
	})
})

// GW-08
var GatewayRefusesSingleHBONE = spec.Proves(behaviors.GatewayRefusesSingleHBONE, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		t.ExpectAlways(gateway.SingleCalls(host), NotAnswered())
	})
})

// GW-13
var IstiodIsNotReachableThroughGateway = spec.Proves(behaviors.IstiodIsNotReachableThroughGateway, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, _ string) {
		services := ".svc." + t.Domain()
		for _, authority := range []string{
			"istiod." + istiod.Namespace + services + ":15012", "istiod." + istiod.Namespace + services + ":443",
			"istiod." + istiod.Namespace + services + ":15010", "istiod." + istiod.Namespace + services + ":15014",
			"kubernetes.default" + services + ":443",
		} {
			t.ExpectAlways(gateway.TLSThrough(authority), NotExposed())
		}
	})
})

// GW-20
var GatewayServesDoubleHBONE = spec.Proves(behaviors.GatewayServesDoubleHBONE, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		// Elsewhere a gateway without a pod is the world's fault; that it serves is the promise here.
		t.Expect(spec.HasGatewayPod(c), IsTrue)
		gateway := t.Gateway(c)
		t.Expect(gateway.Calls(echo.Host()), ServedIn(c))
		t.Control(gateway.Calls(t.Host("nobody")), RefusedByGateway())
	})
})

// besideServed runs attempts at the gateway of each cluster between two calls by the same path that
// are served.
func besideServed(t *spec.T, attempts func(c *spec.Cluster, gateway *spec.Gateway, host string)) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Control(gateway.Calls(echo.Host()), ServedIn(c))
		attempts(c, gateway, echo.Host())
		t.Control(gateway.Calls(echo.Host()), ServedIn(c))
	})
}
