// Package services proves what becomes of services that differ between clusters.
package services

import (
	"fmt"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// SVC-07: a port that leads to another one by name, and one that is not the Service's. From the
// other clusters the port of the Service is all that a gateway is told.
var PortsReachTheirTargets = spec.Proves(behaviors.PortsReachTheirTargets, func(t *spec.T) {
	const named, undeclared = fixture.OtherPort, 81
	_, b := t.Clusters.Pair()
	for _, to := range []struct {
		*spec.Service
		by spec.Clusters
	}{
		{t.Service("both", spec.Global, spec.WithNamedPort(named)), t.Clusters},
		{t.DeployEcho("far", spec.Global, spec.OnlyIn(b), spec.WithNamedPort(named)), spec.Clusters{b}},
	} {
		t.EachCluster(func(c *spec.Cluster) {
			for _, port := range []struct {
				calls  traffic.Calls
				target int
			}{
				{c.Client.HTTP(to), traffic.HTTP},
				{c.Client.Get(fmt.Sprintf("http://%s:%d/", to.Host(), named)), traffic.HTTP},
				{c.Client.TCP(to), traffic.TCP},
				{c.Client.ServerFirst(to), traffic.ServerFirst},
				{c.Client.GRPC(to), traffic.GRPC},
			} {
				t.Expect(port.calls, FromPort(port.target), AnsweredBy(to.by...))
			}
			t.Control(c.Client.Get(fmt.Sprintf("http://%s:%d/", to.Host(), undeclared)),
				EndAs(traffic.Reset, traffic.Refused, traffic.TimedOut))
		})
	}
})

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
