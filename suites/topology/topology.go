// Package topology proves what holds for more gateways, networks and clusters than two of each.
package topology

import (
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// TOP-04: measured on the real mesh, a gateway that is killed costs no call that begins 5 s later.
var ReplicatedGateway = spec.Proves(behaviors.ReplicatedGateway, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	t.ScaleGateway(b, 2)
	t.Given(t.Gateways(b), Replicas(2))
	t.Expect(t.Gateway(b).Calls(far.Host()), ServedIn(b))
	t.Given(across, AnsweredBy(b))

	seen := t.While(spec.GatewayReplicaIsKilled(b), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), NoneAfter(5*time.Second))

	t.ScaleGateway(b, 0) // that these calls went through the gateway shows when it is gone
	t.Control(across, EndAs(traffic.Reset, traffic.Refused, traffic.TimedOut))
	t.Control(own, AnsweredBy(b))
})
