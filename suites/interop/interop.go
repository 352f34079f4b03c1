// Package interop proves what ambient promises beside parts of Istio that are not ambient.
package interop

import (
	security "istio.io/api/security/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// INT-05: it is allowed plaintext first, whatever the mesh asks for.
var PlainClientsStayLocal = spec.Proves(behaviors.PlainClientsStayLocal, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	t.ApplyEverywhere(echo.PodMutualTLS(security.PeerAuthentication_MutualTLS_PERMISSIVE))
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Expect(c.Plain.HTTP(echo), AnsweredBy(c))
	})

	t.ApplyEverywhere(echo.PodMutualTLS(security.PeerAuthentication_MutualTLS_STRICT))

	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Expect(c.Plain.HTTP(echo), EndAs(traffic.Reset))
	})
})

// INT-06
var PlainServersStayReachable = spec.Proves(behaviors.PlainServersStayReachable, func(t *spec.T) {
	inside, outside := t.Service("inside", spec.Global), t.Service("outside", spec.OutsideMesh)
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(inside), AnsweredBy(t.Clusters...))
		t.Expect(c.Client.HTTP(outside), AnsweredBy(c))
	})
})

// INT-09: a proxy without a token is the control: that one with a token is taken tells that istiod
// read it.
var ClassicGatewayExposesIstiod = spec.Proves(behaviors.ClassicGatewayExposesIstiod, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	classic := t.ClassicGateway(a)
	t.Control(classic.AtAddress(), ShowsNothing())

	classic.ExposeIstiod()

	t.Expect(classic.Handshakes(), ShowsCertificate(classic.Roots, classic.IstiodName()))
	t.Each(others, func(from *spec.Cluster) {
		t.Control(classic.DiscoveriesWithoutToken(from), Unauthenticated())
		t.Expect(classic.Discoveries(from), Configured())
	})
	for _, from := range others {
		t.Expect(classic.Configures(from), IsTrue)
	}
	t.EachCluster(func(c *spec.Cluster) {
		ambient := t.Gateway(c)
		t.Control(ambient.Calls(echo.Host()), ServedIn(c))
		spec.Each(t, t.ControlPlanePorts(c), func(d spec.Destination) { t.ExpectAlways(ambient.Asked(d), NotExposed()) })
		t.Control(ambient.Calls(echo.Host()), ServedIn(c))
	})
})
