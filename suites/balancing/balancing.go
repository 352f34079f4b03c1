// Package balancing proves how requests spread over clusters without a waypoint.
package balancing

import (
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// LB-01
var RequestsSpreadOverClusters = spec.Proves(behaviors.RequestsSpreadOverClusters, func(t *spec.T) {
	echo := t.Service("echo")
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.TCP(echo), AnsweredBy(c)) })

	echo.SetGlobal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Expect(c.Client.TCP(echo), AnsweredBy(t.Clusters...))
	})
})

// LB-03: two services of two namespaces at the same time, since Istio once mixed up two authorities on
// one pooled connection (istio/istio#58630).
var RemoteServesWithoutLocalEndpoints = spec.Proves(behaviors.RemoteServesWithoutLocalEndpoints, func(t *spec.T) {
	a, others := t.Clusters.Split()
	one, two := t.DeployEcho("one", spec.Global), t.DeployEcho("two", spec.Global, spec.InSecondNamespace)
	services := []*spec.Service{one, two}
	both := func(f func(c *spec.Cluster, s *spec.Service)) {
		t.EachCluster(func(c *spec.Cluster) { spec.Each(t, services, func(s *spec.Service) { f(c, s) }) })
	}
	both(func(c *spec.Cluster, s *spec.Service) {
		t.Given(c.Client.HTTP(s), AnsweredBy(t.Clusters...), FromPodsOf(s.App))
	})

	seen := t.While(spec.Change("the pods of "+a.Name+" go", func() {
		spec.Each(t, services, func(s *spec.Service) { t.Scale(a, s, 0) })
	}), append(t.HTTPFromEach(one), t.HTTPFromEach(two)...)...)
	both(func(c *spec.Cluster, s *spec.Service) {
		t.Expect(seen.Of(c.Client.HTTP(s)), NoneAfter(10*time.Second))
		t.Expect(seen.Answers(c.Client.HTTP(s)), FromPodsOf(s.App))
		t.Expect(c.Client.HTTP(s), AnsweredBy(others...), FromPodsOf(s.App))
	})

	t.Each(others, func(c *spec.Cluster) { t.Scale(c, one, 0) })
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(one), EndAs(traffic.Reset, traffic.Refused))
		t.Control(c.Client.HTTP(two), AnsweredBy(others...))
	})

	t.EachCluster(func(c *spec.Cluster) { t.Scale(c, one, 1) })
	t.Scale(a, two, 1)
	both(func(c *spec.Cluster, s *spec.Service) {
		t.Expect(c.Client.HTTP(s), AnsweredBy(t.Clusters...), FromPodsOf(s.App))
	})
})
