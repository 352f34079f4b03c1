// Package failover proves locality failover with waypoints, as the failover page describes it.
package failover

import (
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// FO-01
var WaypointPrefersLocalCluster = spec.Proves(behaviors.WaypointPrefersLocalCluster, func(t *spec.T) {
	echo := t.Service("echo", spec.Global, spec.BehindWaypoint)
	mixed := func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) }
	// The control keeps the outlier detection, which by itself prefers the client's region.
	t.ApplyEverywhere(echo.LocalityRule(spec.NoPreference))
	t.EachCluster(mixed)

	t.ApplyEverywhere(echo.LocalityRule(spec.PreferCluster))
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c), ViaOneWaypoint()) })

	t.ApplyEverywhere(echo.LocalityRule(spec.NoPreference))
	t.EachCluster(mixed)
})

// FO-02
var WaypointFailsOverToRemoteCluster = spec.Proves(behaviors.WaypointFailsOverToRemoteCluster, func(t *spec.T) {
	local, remotes := t.Clusters.Split()
	echo := preferred(t)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(c), ViaOneWaypoint()) })

	t.Scale(local, echo, 0)

	t.Expect(local.Client.HTTP(echo), AnsweredBy(remotes...), ViaWaypointOf(local), NoneAfter(10*time.Second))
	t.Each(remotes, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c), ViaOneWaypoint()) })
})

// FO-03
var WaypointFailsBackToLocalCluster = spec.Proves(behaviors.WaypointFailsBackToLocalCluster, func(t *spec.T) {
	local, remotes := t.Clusters.Split()
	echo := preferred(t)
	t.Scale(local, echo, 0)
	t.Control(local.Client.HTTP(echo), AnsweredBy(remotes...), ViaOneWaypoint())

	t.Scale(local, echo, 1)

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c), ViaOneWaypoint()) })
})

// FO-04: the only pod of the client's cluster answers with errors. What the page's own rule makes
// of it is observed.
var OutlierDetectionEjects = spec.Proves(behaviors.OutlierDetectionEjects, func(t *spec.T) {
	local, remotes := t.Clusters.Split()
	echo := t.DeployEcho("echo", spec.Global, spec.BehindWaypoint, spec.Pods(1, local), spec.ErringIn(local))
	calls := local.Client.HTTP(echo)
	others := func(judge spec.Judge) {
		t.Each(remotes, func(c *spec.Cluster) { judge(c.Client.HTTP(echo), AnsweredBy(c), ViaOneWaypoint()) })
	}
	t.ApplyEverywhere(echo.OutlierRule(spec.PreferCluster, nil))
	t.Control(calls, AnsweredOnlyBy(t.Clusters...), EachAnswer("of "+local.Name+", and no other, to be an error",
		func(o traffic.Outcome) bool { return (o.Code == 503) == (o.Cluster == local.Name) }))

	t.ApplyEverywhere(echo.LocalityRule(spec.PreferCluster))
	others(t.Given)
	t.ObserveLook(calls)

	t.ApplyEverywhere(echo.OutlierRule(spec.PreferCluster, spec.AnyErrorOfAll))
	t.Expect(calls, AnsweredBy(remotes...), ViaWaypointOf(local))
	others(t.Control)
})

// FO-05: nobody is left to ask. One of several errors, and it is left out, is FO-04's.
var AllEndpointsEjected = spec.Proves(behaviors.AllEndpointsEjected, func(t *spec.T) {
	a, _ := t.Clusters.Pair()
	good := t.Service("good", spec.Global, spec.BehindWaypoint)
	echo := t.DeployEcho("echo", spec.Global, spec.BehindWaypoint, spec.ErringIn(t.Clusters...))
	t.Control(a.Client.HTTP(echo), AnsweredOnlyBy(t.Clusters...))

	t.ApplyEverywhere(echo.OutlierRule(spec.PreferCluster, spec.AnyErrorOfAll))
	t.ApplyEverywhere(good.OutlierRule(spec.PreferCluster, spec.AnyErrorOfAll))
	t.RecordOutcome("a client of "+a.Name, a.Client.HTTP(echo), func(os traffic.Outcomes) string {
		asked := func(code int) int {
			return os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && o.Code == code })
		}
		switch erring := asked(503); {
		case asked(200) > 0:
			return "answered"
		case erring == 0:
			return "nobody"
		case erring == len(os):
			return "all"
		}
		return "some"
	}, NoneAfter(10*time.Second))
	t.Control(a.Client.HTTP(good), AnsweredBy(a))
})

// FO-06: how many calls are lost meanwhile no source says; it is recorded.
var RemoteWaypointTakesOver = spec.Proves(behaviors.RemoteWaypointTakesOver, func(t *spec.T) {
	const grace = 10 * time.Second
	local, remotes := t.Clusters.Split()
	echo, direct := t.Service("echo", spec.Global), t.Service("direct", spec.Global)
	waypoint := t.DeployWaypoint()
	echo.PutBehind(waypoint)
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(c))
		t.Given(c.Client.HTTP(direct), AnsweredBy(t.Clusters...))
	})

	seen := t.While(spec.Change("the waypoint of "+local.Name+" goes", func() { t.ScaleWaypoint(local, waypoint, 0) }).Grace(grace),
		append(t.HTTPFromEach(echo), t.HTTPFromEach(direct)...)...)

	t.EachCluster(func(c *spec.Cluster) { t.Control(seen.Of(c.Client.HTTP(direct)), NoneLost()) })
	t.Each(remotes, func(c *spec.Cluster) { t.Control(seen.Of(c.Client.HTTP(echo)), NoneLost()) })
	t.Expect(seen.Of(local.Client.HTTP(echo)), NoneAfter(grace))
	t.Expect(seen.Answers(local.Client.HTTP(echo)), ViaOneWaypoint())
	t.Expect(local.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(remotes...))
})

// preferred is a global service behind the waypoint that prefers the waypoint's cluster.
func preferred(t *spec.T) *spec.Service {
	echo := t.DeployEcho("echo", spec.Global, spec.BehindWaypoint)
	t.ApplyEverywhere(echo.LocalityRule(spec.PreferCluster))
	return echo
}
