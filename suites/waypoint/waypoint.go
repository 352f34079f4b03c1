// Package waypoint proves what waypoints of one name do in several clusters.
package waypoint

import (
	"slices"

	"github.com/onsi/gomega"
	security "istio.io/api/security/v1"
	typev1 "istio.io/api/type/v1beta1"
	istio "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// WP-02
var PolicyAppliesExactlyOnce = spec.Proves(behaviors.PolicyAppliesExactlyOnce, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	echo.UseWaypoint(t.SharedWaypoint())
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), WithoutWaypoint()) })

	echo.TraceWaypoints()

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(c)) })
})

// WP-06
var WaypointConfigurationIsNotSynced = spec.Proves(behaviors.WaypointConfigurationIsNotSynced, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.Service("echo", spec.Global)
	echo.UseWaypoint(t.SharedWaypoint())
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.ClientB.HTTP(echo), AnsweredBy(t.Clusters...)) })

	t.Apply(spec.Clusters{b}, denyClientB(t, echo))

	t.Expect(b.ClientB.HTTP(echo), HaveStatus(403)) // where it is configured, it applies
	t.RecordOutcome("client-b in "+a.Name+", where no policy is", a.ClientB.HTTP(echo),
		func(os traffic.Outcomes) string { return effect(os, t.Clusters.Without(b), t.Clusters) })

	t.Apply(t.Clusters.Without(b), denyClientB(t, echo))
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.ClientB.HTTP(echo), HaveStatus(403))
		t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
	})
})

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
		t.Expect(c.Client.HTTP(local), AnsweredBy(c), ViaWaypointOf(c))
		t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...), ViaWaypointOf(c))
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
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(c)) })

	t.ScaleWaypoint(a, waypoint, 0)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(others...))

	t.SetWaypointLocal(waypoint)
	t.Control(a.Client.HTTP(echo), EndAs(traffic.Reset))
	t.Each(others, func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(c)) })

	t.ScaleWaypoint(a, waypoint, 1)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(a))
})

// denyClientB is an L7 policy on the service that refuses ServiceAccount client-b.
func denyClientB(t *spec.T, echo *spec.Service) spec.Object {
	clientB := &security.Source{Principals: []string{t.Principal(fixture.ClientB)}}
	return func(*spec.Cluster) client.Object {
		return &istio.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: t.Name("deny")},
			Spec: security.AuthorizationPolicy{
				Action:     security.AuthorizationPolicy_DENY,
				Rules:      []*security.Rule{{From: []*security.Rule_From{{Source: clientB}}}},
				TargetRefs: []*typev1.PolicyTargetReference{{Kind: "Service", Name: echo.Name}},
			},
		}
	}
}

// effect names what a policy that only some clusters have did to a client that it forbids; free are
// the clusters without it. It is empty when the outcomes are mixed.
func effect(os traffic.Outcomes, free, all spec.Clusters) string {
	denied := os.Count(func(o traffic.Outcome) bool { return o.Code == 403 })
	reached := os.Count(func(o traffic.Outcome) bool {
		return o.Code != 403 && o.Kind == traffic.Reached && slices.Contains(free.Names(), o.Cluster)
	})
	everybody, _ := gomega.SatisfyAll(AnsweredBy(all...)).Match(os)
	switch {
	case denied == len(os):
		return "everywhere"
	case denied == 0 && everybody:
		return "client-side"
	case denied > 0 && denied+reached == len(os):
		return "server-side"
	}
	return ""
}

// status names what became of a local service whose own waypoint is gone. It is empty when the
// outcomes are mixed.
func status(os traffic.Outcomes, home *spec.Cluster) string {
	answered := func(f func(traffic.Outcome) bool) int {
		return os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && o.Code == 200 && f(o) })
	}
	all := answered(func(traffic.Outcome) bool { return true })
	switch {
	case answered(func(o traffic.Outcome) bool { return o.Cluster != home.Name }) > 0:
		return "served-remotely"
	case answered(func(o traffic.Outcome) bool { return len(o.Waypoints) == 0 }) > 0:
		return "bypassed"
	case all == len(os):
		return "stays-local"
	case all == 0:
		return "fails-closed"
	}
	return ""
}
