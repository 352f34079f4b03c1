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
