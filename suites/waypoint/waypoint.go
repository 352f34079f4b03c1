// Package waypoint proves what waypoints of one name do in several clusters.
package waypoint

import (
	"fmt"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// WP-01
var WaypointsOfOneNameServeEverywhere = spec.Proves(behaviors.WaypointsOfOneNameServeEverywhere, func(t *spec.T) {
	global, local, none := t.Service("global", spec.Global, spec.BehindWaypoint), t.Service("local", spec.BehindWaypoint), t.Service("none")
	none.TraceWaypoints()
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(global), AnsweredBy(t.Clusters...), ViaOneWaypoint())
		t.Expect(c.Client.HTTP(local), AnsweredBy(c), ViaWaypointOf(c))
		t.Control(c.Client.HTTP(none), AnsweredBy(c), WithoutWaypoint())
	})

	global.UseWaypoint("")

	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...), WithoutWaypoint()) })
})

// WP-02: exactly one is promised, and not whose; that is observed.
var PolicyAppliesExactlyOnce = spec.Proves(behaviors.PolicyAppliesExactlyOnce, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	echo.UseWaypoint(t.SharedWaypoint())
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), WithoutWaypoint()) })

	echo.TraceWaypoints()

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })
})

// WP-06: a policy, a route and a destination rule, each configured in one cluster only, in each direction.
var WaypointConfigurationIsNotSynced = spec.Proves(behaviors.WaypointConfigurationIsNotSynced, func(t *spec.T) {
	type way struct {
		kind                string
		object              func(*spec.Service) spec.Object
		calls               func(*spec.Cluster, *spec.Service) traffic.Calls
		configured, without types.GomegaMatcher // what a client sees that is under the configuration, or not
	}
	all := AnsweredBy(t.Clusters...)
	for _, in := range t.Clusters {
		spec.Each(t, []way{
			{"policy", func(s *spec.Service) spec.Object { return s.Deny(t.Principal(fixture.ClientB)) },
				func(c *spec.Cluster, s *spec.Service) traffic.Calls { return c.ClientB.HTTP(s) }, HaveStatus(403), all},
			{"route", (*spec.Service).TraceRoute,
				func(c *spec.Cluster, s *spec.Service) traffic.Calls { return c.Client.HTTP(s) }, ViaOneWaypoint(), WithoutWaypoint()},
			{"rule", func(s *spec.Service) spec.Object { return s.LocalityRule(spec.PreferCluster) },
				func(c *spec.Cluster, s *spec.Service) traffic.Calls { return c.Client.HTTP(s) }, FromOneCluster(), all},
		}, func(w way) {
			echo := t.Service(w.kind+"-in-"+in.Name, spec.Global)
			echo.UseWaypoint(t.SharedWaypoint())
			others := t.Clusters.Without(in)
			t.EachCluster(func(c *spec.Cluster) { t.Control(w.calls(c, echo), w.without) })

			t.Apply(spec.Clusters{in}, w.object(echo))

			t.Expect(w.calls(in, echo), w.configured) // where it is configured, it applies
			t.Each(others, func(c *spec.Cluster) {
				t.RecordOutcome(fmt.Sprintf("%s only in %s, a client in %s", w.kind, in.Name, c.Name), w.calls(c, echo),
					func(os traffic.Outcomes) string { return effect(os, in, w.configured, w.without) })
			})

			t.Apply(others, w.object(echo))
			t.EachCluster(func(c *spec.Cluster) { t.Expect(w.calls(c, echo), w.configured) })
		})
	}
})

// effect names what a configuration in one cluster does to a client of another one. It is empty when
// the outcomes are mixed.
func effect(os traffic.Outcomes, in *spec.Cluster, configured, without types.GomegaMatcher) string {
	matches := func(m types.GomegaMatcher, os traffic.Outcomes) bool { ok, _ := m.Match(os); return ok }
	switch {
	case matches(without, os):
		return "client-side"
	case matches(configured, os):
		return "everywhere"
	}
	// What the configured cluster serves is under it, what the others serve is not.
	served := os.Count(func(o traffic.Outcome) bool {
		return o.Kind == traffic.Reached && o.Cluster == in.Name && len(o.Waypoints) == 0
	})
	if served == 0 {
		return "server-side"
	}
	return ""
}

// WP-07
var ServiceBehindGlobalWaypoint = spec.Proves(behaviors.ServiceBehindGlobalWaypoint, func(t *spec.T) {
	a, others := t.Clusters.Split()
	local, global := t.Service("local"), t.Service("global", spec.Global)
	waypoint := t.DeployWaypoint()
	for _, s := range []*spec.Service{local, global} {
		s.UseWaypoint(waypoint)
		s.TraceWaypoints()
	}
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(local), AnsweredBy(c), ViaOneWaypoint())
		t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...), ViaOneWaypoint())
	})

	t.ScaleWaypoint(a, waypoint, 0)

	t.Control(a.Client.HTTP(global), AnsweredBy(t.Clusters...), ViaWaypointOf(others...))
	t.RecordOutcome("the local service, with its waypoint in "+a.Name+" gone", a.Client.HTTP(local),
		func(os traffic.Outcomes) string { return status(os, a) })
})

// WP-08
var GlobalServiceNeedsGlobalWaypoint = spec.Proves(behaviors.GlobalServiceNeedsGlobalWaypoint, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	waypoint := t.DeployWaypoint()
	echo.UseWaypoint(waypoint)
	echo.TraceWaypoints()
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

	t.ScaleWaypoint(a, waypoint, 0)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(others...))

	t.SetWaypointLocal(waypoint)
	t.Control(a.Client.HTTP(echo), EndAs(traffic.Reset))
	t.Each(others, func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

	t.ScaleWaypoint(a, waypoint, 1)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint())
})

// status names what became of a local service whose own waypoint is gone. It is empty when the
// outcomes are mixed, or none of those that close the service is among them.
func status(os traffic.Outcomes, home *spec.Cluster) string {
	answered := func(f func(traffic.Outcome) bool) int {
		return os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && f(o) })
	}
	all := answered(func(traffic.Outcome) bool { return true })
	closed := os.Count(func(o traffic.Outcome) bool {
		return o.Kind == traffic.Reset || o.Kind == traffic.Refused || o.Kind == traffic.Status && o.Code >= 500
	})
	switch {
	case answered(func(o traffic.Outcome) bool { return o.Cluster != home.Name }) > 0:
		return "served-remotely"
	case answered(func(o traffic.Outcome) bool { return len(o.Waypoints) == 0 }) > 0:
		return "bypassed"
	case all == len(os):
		return "stays-local"
	case closed == len(os):
		return "fails-closed"
	}
	return ""
}
