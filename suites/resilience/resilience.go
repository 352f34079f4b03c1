// Package resilience proves what failures and restarts cost.
package resilience

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// RES-01: measured on the real mesh, no short call is lost, with one replica and with two.
var GatewayRollingRestart = spec.Proves(behaviors.GatewayRollingRestart, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	t.ScaleGateway(b, 2)
	t.Given(a.Client.HTTP(far), AnsweredBy(b))

	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	seen := t.While(spec.GatewayRestarts(b), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), AtMost(1))

	t.ScaleGateway(b, 0) // that these calls went through the gateway shows when it is gone
	t.Control(across, EndAs(traffic.Reset, traffic.Refused, traffic.TimedOut))
	t.Control(own, AnsweredBy(b))
})
