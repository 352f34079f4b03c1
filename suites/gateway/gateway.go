// Package gateway proves the east-west gateway as a security boundary. Every refusal stands beside a
// call by the same ways that is served.
package gateway

import (
	"bytes"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/eastwest"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// GW-01
var GatewayDropsPlaintext = spec.Proves(behaviors.GatewayDropsPlaintext, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		spec.Each(t, []spec.Subject{
			gateway.ReceivesHTTP(false),
			gateway.ReceivesHTTP(true),
			gateway.Receives("HTTP/1.1", []byte("GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")),
			gateway.Receives("an h2c preface", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
			gateway.Receives("an HTTP/1.1 CONNECT", []byte("CONNECT "+host+":80 HTTP/1.1\r\nHost: "+host+":80\r\n\r\n")),
			gateway.Receives("random bytes", bytes.Repeat([]byte{0xa7, 0x00, 0x5b, 0xff}, 64)),
		}, func(s spec.Subject) { t.ExpectAlways(s, Closed()) })
	})
})

// GW-02
var GatewayRequiresClientCertificate = spec.Proves(behaviors.GatewayRequiresClientCertificate, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		t.ExpectAlways(gateway.CallsAs("a client without a certificate", nil, host), RefusedForCertificate())
	})
})

// GW-03
var GatewayRefusesForeignCA = spec.Proves(behaviors.GatewayRefusesForeignCA, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		forged, err := eastwest.Forged(gateway.ID, t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
		t.NoError(err)
		t.ExpectAlways(gateway.CallsAs("the same identity, signed by a stranger,", forged, host), RefusedForCertificate())
	})
})

// GW-08
var GatewayRefusesSingleHBONE = spec.Proves(behaviors.GatewayRefusesSingleHBONE, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		t.ExpectAlways(gateway.SingleCalls(host), NotAnswered())
	})
})

// GW-13: every name and port that control plane and API server have, each in its own protocol.
var IstiodIsNotReachableThroughGateway = spec.Proves(behaviors.IstiodIsNotReachableThroughGateway, func(t *spec.T) {
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, _ string) {
		spec.Each(t, t.ControlPlanePorts(c), func(p spec.ControlPlanePort) {
			t.ExpectAlways(gateway.Speaks(p.Authority, p.Protocol), NotExposed())
		})
	})
})

// GW-20
var GatewayServesDoubleHBONE = spec.Proves(behaviors.GatewayServesDoubleHBONE, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Expect(gateway.Calls(echo.Host()), ServedIn(c))
		t.Control(gateway.Calls(t.Host("nobody")), RefusedByGateway())
	})
})

// besideServed makes attempts at the gateways of each cluster between two calls by the same ways that
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

// GW-35: a policy on a Service is for waypoints. The calls go through the gateway twice over: to the only waypoint
// that is left, and from there to the pods of all clusters.
var GatewayAppliesNoServicePolicy = spec.Proves(behaviors.GatewayAppliesNoServicePolicy, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	waypoint := t.DeployWaypoint()
	echo.UseWaypoint(waypoint)
	echo.TraceWaypoints()
	t.ScaleWaypoint(a, waypoint, 0)
	allowed, forbidden := a.Client.HTTP(echo).Path("/ok"), a.Client.HTTP(echo).Path("/no")
	for _, calls := range []traffic.Calls{allowed, forbidden} {
		t.Control(calls, AnsweredBy(t.Clusters...), ViaWaypointOf(others...))
	}

	t.ApplyEverywhere(echo.AllowGet("/ok", t.Principal(fixture.Client)))

	t.Together( // a gateway that refuses all that is under a policy breaks both, and the promise is what counts
		func() { t.Control(forbidden, HaveStatus(403)) },
		func() { t.Expect(allowed, AnsweredBy(t.Clusters...), ViaWaypointOf(others...)) },
	)
	t.Each(others, func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo).Path("/ok"), AnsweredBy(t.Clusters...), ViaWaypointOf(c))
	})
})
