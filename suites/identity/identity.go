// Package identity proves that identities and the policies that name them hold across clusters.
package identity

import (
	security "istio.io/api/security/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// ID-01
var ClientIdentityArrives = spec.Proves(behaviors.ClientIdentityArrives, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global)
	t.Control(a.ClientB.TCP(echo), AnsweredBy(t.Clusters...))

	allow := echo.PodPolicy(security.AuthorizationPolicy_ALLOW, t.Principal(fixture.Client))
	t.Apply(spec.Clusters{b}, allow)

	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.ClientB.TCP(echo), AnsweredUnless([]traffic.Kind{traffic.Reset}, t.Clusters.Without(b)...))
		t.Control(c.Client.TCP(echo), AnsweredBy(t.Clusters...))
	})

	t.Delete(spec.Clusters{b}, allow)
	t.Control(a.ClientB.TCP(echo), AnsweredBy(t.Clusters...))
})

// ID-03
var DenyPoliciesHoldAcrossClusters = spec.Proves(behaviors.DenyPoliciesHoldAcrossClusters, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	open := t.Service("open", spec.Global) // under no policy: the control by the same path
	answered := func(c *spec.Cluster) { t.Control(c.Client.TCP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(answered)

	for _, p := range []spec.Object{
		echo.PodPolicy(security.AuthorizationPolicy_DENY, "*"),
		echo.PodPolicy(security.AuthorizationPolicy_ALLOW), // nobody
	} {
		t.ApplyEverywhere(p)
		t.EachCluster(func(c *spec.Cluster) {
			t.Expect(c.Client.TCP(echo), EndAs(traffic.Reset))
			t.Control(c.Client.TCP(open), AnsweredBy(t.Clusters...))
		})
		t.DeleteEverywhere(p)
		t.EachCluster(answered)
	}
})

// ID-09: from each cluster to each other, from ztunnel to ztunnel and through waypoints, and no pod sends
// anything past the gateways. INST-14 tries just that, so this spec runs alone. What a client in the mesh
// says to a server outside it is plaintext, and shows that the counters can tell.
var CrossNetworkTrafficIsMutualTLS = spec.Proves(behaviors.CrossNetworkTrafficIsMutualTLS, func(t *spec.T) {
	echo, behind := t.Service("echo", spec.Global), t.Service("behind", spec.Global, spec.BehindWaypoint)
	escapes := t.Escapes()
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Given(c.Client.HTTP(behind), AnsweredBy(t.Clusters...), ViaOneWaypoint())
	})

	const calls = 40
	for _, a := range t.Clusters {
		direct, counted := t.CallAndCount(a.Client.HTTP(echo).Times(calls))
		t.Given(spec.Seen("the calls that were counted", direct), AnsweredBy(t.Clusters...))
		t.Expect(counted.By(a).AsSource().FromWorkload(fixture.Client).To(echo), AllMutualTLS(calls))
		through, waypoints := t.CallAndCount(a.Client.HTTP(behind).Times(calls))
		t.Given(spec.Seen("the calls through the waypoint", through), AnsweredBy(t.Clusters...))
		for _, b := range t.Clusters.Without(a) {
			crossed := direct.Clusters()[b.Name]
			t.Expect(counted.By(b).AsDestination().FromWorkload(fixture.Client).FromCluster(a).To(echo), AllMutualTLS(crossed))
			t.Expect(waypoints.By(b).AsDestination().To(behind), OnlyMutualTLS())
		}

		_, plain := t.CallAndCount(a.Client.Get(t.PlainServer(a)).Times(10))
		t.Control(plain.By(a).AsSource().FromWorkload(fixture.Client).ToWorkload(fixture.Plain), NotMutualTLS(10))
	}
	for _, e := range escapes {
		t.Expect(e, NoPackets())
	}
}, spec.Serial)
