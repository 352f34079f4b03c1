// Package balancing proves how requests spread over clusters without a waypoint.
package balancing

import (
	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
)

func init() {
	prove.Proves(behaviors.RequestsSpreadOverClusters, func(s *prove.Spec) {
		echo := s.Service("echo")
		s.Each(func(from *prove.Site) { s.Twin(echo.TCP(from.Client, 40), expect.ReachOnly(from.Name)) })
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) {
			s.Then(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...))
			s.Then(echo.TCP(from.Client, 40), expect.ReachAll(s.Names()...))
		})
	})

	prove.Proves(behaviors.RemoteServesWithoutLocalEndpoints, func(s *prove.Spec) {
		// Two services at once: Istio once mixed up two authorities on one pooled connection (istio/istio#58630).
		one, two := s.Echo("one"), s.Echo("two")
		one.Global(s.Sites...)
		two.Global(s.Sites...)
		a, others := s.One()
		s.Then(one.HTTP(a.Client, 40), expect.ReachAll(s.Names()...))
		s.Scale(a, "one", 0)
		s.Scale(a, "two", 0)
		s.Each(func(from *prove.Site) {
			s.Then(one.HTTP(from.Client, 40), expect.And(expect.ReachAll(others.Names()...), podsOf(one)))
			s.Then(two.HTTP(from.Client, 40), expect.And(expect.ReachAll(others.Names()...), podsOf(two)))
		})
		s.EachOf(others, func(at *prove.Site) { s.Scale(at, "one", 0) })
		s.Each(func(from *prove.Site) {
			s.Twin(one.HTTP(from.Client, 10), expect.Fail(traffic.Reset, traffic.Refused))
			s.Twin(two.HTTP(from.Client, 40), expect.ReachAll(others.Names()...))
		})
		s.Scale(a, "one", 1)
		s.Each(func(from *prove.Site) { s.Then(one.HTTP(from.Client, 40), expect.ReachOnly(a.Name)) })
	})
}

func podsOf(v *prove.Service) expect.Expectation {
	return expect.Each("to come from a pod of "+v.Name, func(o traffic.Outcome) bool {
		return len(o.Workload) > len(v.Name) && o.Workload[:len(v.Name)] == v.Name
	})
}
