// Package dns proves what names and virtual addresses do across clusters.
package dns

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// DNS-01
var ServiceMustExistInClientCluster = spec.Proves(behaviors.ServiceMustExistInClientCluster, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.OnlyIn(b)) // in a: the Service without pods

	t.Expect(a.Client.HTTP(echo), AnsweredBy(b))

	t.Delete(spec.Clusters{a}, echo.Object)
	t.Control(a.Client.HTTP(echo), EndAs(traffic.NoSuchHost))
	t.Control(b.Client.HTTP(echo), AnsweredBy(b))
})
