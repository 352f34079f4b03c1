// Package dns proves what names and virtual addresses do across clusters.
package dns

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// DNS-01: what becomes of a name without a Service is DNS-02's. Here it only must not be answered
// while its neighbor, made in the same way, is.
var ServiceMustExistInClientCluster = spec.Proves(behaviors.ServiceMustExistInClientCluster, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.OnlyIn(b)) // in a: the Service without pods
	local := t.ServiceFor("local", echo)                      // the same, but not global
	t.Control(b.Client.HTTP(local), AnsweredBy(b))
	t.Control(a.Client.HTTP(local), EndAs(traffic.Reset, traffic.Refused))

	t.Expect(a.Client.HTTP(echo), AnsweredBy(b))
	t.Expect(b.Client.HTTP(echo), AnsweredBy(b))
})
