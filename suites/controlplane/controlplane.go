// Package controlplane proves what control planes know of each other.
package controlplane

import (
	"github.com/onsi/gomega"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
)

// CP-01
var RemoteClustersAreSynced = spec.Proves(behaviors.RemoteClustersAreSynced, func(t *spec.T) {
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(spec.RemoteClusters(c), ListsExactly(c, t.Clusters...))
		// The same reading finds a cluster missing that nobody registered.
		t.Control(spec.RemoteClusters(c), gomega.Not(Knows(&mesh.Cluster{Name: "nobody"})))
	})
})
