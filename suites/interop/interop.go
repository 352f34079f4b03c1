// Package interop proves what ambient promises beside parts of Istio that are not ambient.
package interop

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
)

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
