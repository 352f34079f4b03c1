// Package controlplane proves what control planes know of each other.
package controlplane

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
)

// CP-01: the status tells of the first synchronization only, so traffic stands beside it.
var RemoteClustersAreSynced = spec.Proves(behaviors.RemoteClustersAreSynced, func(t *spec.T) {
	global, local := t.Service("global", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(spec.RemoteClusters(c), AllSynced(c, t.Clusters...))
		t.Expect(c.Client.HTTP(global), AnsweredBy(t.Clusters...))
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})
})

// CP-16
var RestartKeepsRemoteEndpoints = spec.Proves(behaviors.RestartKeepsRemoteEndpoints, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	t.Given(a.Client.HTTP(far), AnsweredBy(b))

	// Pods in the other cluster only: where local ones serve too, a lost cluster costs no call.
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	seen := t.While(spec.IstiodRestarts(a), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), NoneLost())
	t.Expect(spec.RemoteClusters(a), AllSynced(a, t.Clusters...))
})
