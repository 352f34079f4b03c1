// Package services proves what becomes of services that differ between clusters.
package services

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// SVC-09: in single tunnels, which carry nothing to a pod of the mesh.
var UncapturedRemotePods = spec.Proves(behaviors.UncapturedRemotePods, func(t *spec.T) {
	inside, outside := t.Service("inside", spec.Global), t.Service("outside", spec.Global, spec.OutsideMesh)
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Control(gateway.Calls(inside.Host()), ServedIn(c))
		t.Control(gateway.SingleCalls(inside.Host()), NotAnswered())
		for _, calls := range t.Burst(c.Client.HTTP(outside)) {
			t.ObserveLook(calls)
		}

		t.RecordAnswers(gateway.SingleCalls(outside.Host()), func(os traffic.Outcomes) string {
			switch os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached }) {
			case len(os):
				return "plaintext"
			case 0:
				return "refused"
			}
			return ""
		})
	})
})
