// Package identity proves that identities and the policies that name them hold across clusters.
package identity

import (
	"slices"
	"time"

	security "istio.io/api/security/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/peer"
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

// ID-02: with and without a waypoint in front of the same pods. A waypoint keeps its connections to
// them, and a policy does not end those (F-04), so none may be made before the first policy.
var WaypointIdentityArrives = spec.Proves(behaviors.WaypointIdentityArrives, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	direct := t.ServiceFor("direct", echo, spec.Global)
	admit := func(account string) {
		t.ApplyEverywhere(echo.PodPolicy(security.AuthorizationPolicy_ALLOW, t.Principal(account)))
	}
	refused := EndAs(traffic.Status, traffic.Reset)

	admit(fixture.Client)
	echo.PutBehind(t.SharedWaypoint())
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), refused)
		t.Control(c.Client.HTTP(direct), AnsweredBy(t.Clusters...))
	})

	admit(fixture.Waypoint)
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint())
		t.Control(c.Client.HTTP(direct), refused)
	})
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

// ID-04
var PoliciesAreLocal = spec.Proves(behaviors.PoliciesAreLocal, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	deny := echo.PodPolicy(security.AuthorizationPolicy_DENY, t.Principal(fixture.ClientB))
	answered := func(c *spec.Cluster) { t.Control(c.ClientB.TCP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(answered)

	for _, in := range t.Clusters {
		others := t.Clusters.Without(in)
		t.Apply(spec.Clusters{in}, deny)
		t.EachCluster(func(c *spec.Cluster) {
			t.Expect(c.ClientB.TCP(echo), AnsweredUnless([]traffic.Kind{traffic.Reset}, others...))
			t.Control(c.Client.TCP(echo), AnsweredBy(t.Clusters...))
		})
		t.Delete(spec.Clusters{in}, deny)
		t.EachCluster(answered)
	}

	t.ApplyEverywhere(deny)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.ClientB.TCP(echo), EndAs(traffic.Reset)) })
})

// ID-05
var L7PolicyAcrossClusters = spec.Proves(behaviors.L7PolicyAcrossClusters, func(t *spec.T) {
	echo := t.Service("echo", spec.Global, spec.BehindWaypoint)
	type calls struct {
		allowed   traffic.Calls
		forbidden []traffic.Calls
	}
	of := func(c *spec.Cluster) calls {
		return calls{c.Client.HTTP(echo).Path("/ok"), []traffic.Calls{
			c.Client.HTTP(echo).Path("/no"), c.Client.HTTP(echo).Path("/ok").Post(), c.ClientB.HTTP(echo).Path("/ok"),
		}}
	}
	t.EachCluster(func(c *spec.Cluster) {
		for _, f := range of(c).forbidden {
			t.Control(f, AnsweredBy(t.Clusters...), ViaOneWaypoint())
		}
	})

	t.ApplyEverywhere(echo.AllowGet("/ok", t.Principal(fixture.Client)))

	t.EachCluster(func(c *spec.Cluster) {
		spec.Each(t, of(c).forbidden, func(f traffic.Calls) { t.Expect(f, HaveStatus(403)) })
		t.Expect(of(c).allowed, AnsweredBy(t.Clusters...), ViaOneWaypoint())
	})
})

// ID-06
var NamespaceSamenessOfIdentity = spec.Proves(behaviors.NamespaceSamenessOfIdentity, func(t *spec.T) {
	_, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.OnlyIn(b))
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.ClientB.TCP(echo), AnsweredBy(b)) })

	t.Apply(spec.Clusters{b}, echo.PodPolicy(security.AuthorizationPolicy_ALLOW, t.Principal(fixture.Client)))

	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.ClientB.TCP(echo), EndAs(traffic.Reset))
		t.Expect(c.Client.TCP(echo), AnsweredBy(b))
	})
})

// The modes of peer authentication.
const (
	strict     = security.PeerAuthentication_MutualTLS_STRICT
	permissive = security.PeerAuthentication_MutualTLS_PERMISSIVE
)

// ID-08: the policies name both modes, so that the mesh's own does not matter.
var StrictHoldsInBothClusters = spec.Proves(behaviors.StrictHoldsInBothClusters, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	for _, to := range []struct {
		mode  security.PeerAuthentication_MutualTLS_Mode
		judge spec.Judge
		want  func(*spec.Cluster) Matcher
	}{
		{permissive, t.Control, func(c *spec.Cluster) Matcher { return AnsweredBy(c) }},
		{strict, t.Expect, func(*spec.Cluster) Matcher { return EndAs(traffic.Reset) }},
		{permissive, t.Control, func(c *spec.Cluster) Matcher { return AnsweredBy(c) }},
	} {
		t.ApplyEverywhere(echo.PodMutualTLS(to.mode))
		t.EachCluster(func(c *spec.Cluster) {
			to.judge(c.Plain.HTTP(echo), to.want(c))
			t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		})
	}
})

// ID-13: who has a certificate keeps it, so a client and a server that start afterwards show what the
// new CA is good for.
var IntermediateRotation = spec.Proves(behaviors.IntermediateRotation, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, near := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.DeployEcho("near", spec.Global, spec.OnlyIn(a))
	across, back := a.Client.HTTP(far), b.Client.HTTP(near)
	t.Given(across, AnsweredBy(b))
	t.Given(back, AnsweredBy(a))
	ca := t.NewCA(a)
	t.Control(ca.Signs(), IsFalse)

	seen := t.While(ca.TakesOver(), across, back)

	t.Expect(seen.Of(across), NoneLost())
	t.Expect(seen.Of(back), NoneLost())
	t.Expect(t.DeployClient(a, "caller").HTTP(far), AnsweredBy(b))
	t.Expect(b.Client.HTTP(t.DeployEcho("called", spec.Global, spec.OnlyIn(a))), AnsweredBy(a))
	t.Expect(ca.Signs(), IsTrue)
})

// ID-21: in either order. What opens a port of the pods says nothing of the others.
var StrictReachesOpenedPods = spec.Proves(behaviors.StrictReachesOpenedPods, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global, spec.InSecondNamespace)
	opened := echo.PortMutualTLS(traffic.TCP, permissive)
	namespace := func(mode security.PeerAuthentication_MutualTLS_Mode) {
		t.ApplyEverywhere(t.MutualTLSOf(echo.Namespace, mode))
	}
	closed := func(judge spec.Judge) {
		t.EachCluster(func(c *spec.Cluster) {
			judge(c.Plain.HTTP(echo), EndAs(traffic.Reset))
			t.Control(c.Plain.TCP(echo), AnsweredBy(c))
			t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		})
	}

	namespace(strict)
	t.ApplyEverywhere(opened)
	closed(t.Control)

	t.DeleteEverywhere(opened)
	namespace(permissive)
	t.ApplyEverywhere(opened)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Plain.HTTP(echo), AnsweredBy(c)) })

	namespace(strict)
	closed(t.Expect)
})

// ID-10: the other cluster's gateway leads to pods of an account that the client's istiod has not
// announced.
var ClientVerifiesTheDestination = spec.Proves(behaviors.ClientVerifiesTheDestination, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, other := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.DeployEcho("other", spec.OnlyIn(b))
	across, own := a.Client.HTTP(far), b.Client.HTTP(far)
	t.Given(across, AnsweredBy(b), FromPodsOf(far.App))

	seen := t.While(t.IstiodAbsent(a, func() {
		t.Control(across, AnsweredBy(b), FromPodsOf(far.App))
		far.SelectIn(b, other)
		t.Control(own, AnsweredBy(b), FromPodsOf(other.App))
		t.Expect(across, EndAs(traffic.Reset))
	}), own)

	t.Control(seen.Of(own), NoneLost())
	t.Expect(across, AnsweredBy(b), FromPodsOf(other.App))
})

// ID-09: from each cluster to each other, from ztunnel to ztunnel and through waypoints, and no pod
// sends anything past the gateways. INST-14 tries just that, so this spec runs alone. What a client
// in the mesh says to a server outside it is plaintext, and shows that the counters can tell.
var CrossNetworkTrafficIsMutualTLS = spec.Proves(behaviors.CrossNetworkTrafficIsMutualTLS, func(t *spec.T) {
	echo, behind := t.Service("echo", spec.Global), t.Service("behind", spec.Global, spec.BehindWaypoint)
	escapes := t.Escapes()
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
	})

	const calls = 40
	for _, a := range t.Clusters {
		waypoints := t.Counts() // from before the first call: a waypoint keeps its connections
		t.Given(a.Client.HTTP(behind), AnsweredBy(t.Clusters...), ViaOneWaypoint())
		direct, counted := t.CallAndCount(a.Client.HTTP(echo).Times(calls))
		t.Given(spec.Seen("the calls that were counted", direct), AnsweredBy(t.Clusters...))
		t.Expect(counted.By(a).AsSource().FromWorkload(fixture.Client).To(echo), AllMutualTLS(calls))
		for _, b := range t.Clusters.Without(a) {
			crossed := direct.Clusters()[b.Name]
			t.Expect(counted.By(b).AsDestination().FromWorkload(fixture.Client).FromCluster(a).To(echo), AllMutualTLS(crossed))
			t.Given(waypoints.By(b).AsDestination().FromAccount(t, t.SharedWaypoint()).To(behind), OnlyMutualTLS())
			t.Expect(waypoints.By(b).AsDestination().ToPodsOf(behind), OnlyMutualTLS())
		}

		_, plain := t.CallAndCount(a.Client.Get(t.PlainServer(a)).Times(10))
		t.Control(plain.By(a).AsSource().FromWorkload(fixture.Client).ToWorkload(fixture.Plain), NotMutualTLS(10))
	}
	for _, e := range escapes {
		t.Expect(e, NoneCounted())
	}
}, spec.Serial)

// ID-22: that the policy beside the pods of another service is in force tells that what came before
// it has been read.
var RootPolicyWithSelector = spec.Proves(behaviors.RootPolicyWithSelector, func(t *spec.T) {
	chosen, other, beside := t.DeployEcho("chosen", spec.InSecondNamespace), t.DeployEcho("other", spec.InSecondNamespace),
		t.DeployEcho("beside", spec.InSecondNamespace)
	t.ApplyEverywhere(t.MutualTLSOf(chosen.Namespace, permissive))
	t.EachCluster(func(c *spec.Cluster) {
		spec.Each(t, []*spec.Service{chosen, other, beside}, func(s *spec.Service) { t.Control(c.Plain.HTTP(s), AnsweredBy(c)) })
	})

	fromRoot := chosen.MutualTLSFromRoot(strict)
	t.ApplyEverywhere(fromRoot)
	t.ApplyEverywhere(beside.PodMutualTLS(strict))
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Plain.HTTP(beside), EndAs(traffic.Reset))
		t.Expect(c.Plain.HTTP(other), AnsweredBy(c))
		t.RecordOutcome("plaintext in "+c.Name+" to pods that it selects", c.Plain.HTTP(chosen), func(os traffic.Outcomes) string {
			switch os.Count(traffic.Lost) {
			case 0:
				return "ignored"
			case len(os):
				return "enforced"
			}
			return ""
		})
	})

	t.DeleteEverywhere(fromRoot)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Plain.HTTP(chosen), AnsweredBy(c)) })
})

// ID-23
var NamespacePolicyReachesOpenConnections = spec.Proves(behaviors.NamespacePolicyReachesOpenConnections, func(t *spec.T) {
	endsOpenConnections(t, func(_ *spec.Service, principal string) spec.Object { return t.NamespaceDeny(principal) })
})

// ID-24
var PodPolicyReachesOpenConnections = spec.Proves(behaviors.PodPolicyReachesOpenConnections, func(t *spec.T) {
	endsOpenConnections(t, func(servers *spec.Service, principal string) spec.Object {
		return servers.PodPolicy(security.AuthorizationPolicy_DENY, principal)
	})
})

// endsOpenConnections denies one of two clients that are connected to the same pods.
func endsOpenConnections(t *spec.T, deny func(servers *spec.Service, principal string) spec.Object) {
	servers, denied, other := t.DeployPeers("peer"), t.DeployPeers("denied"), t.DeployPeers("other")
	var ways []way
	for _, c := range t.Clusters {
		others := t.Clusters.Without(c)
		remote := t.ServiceFor("not-in-"+c.Name, servers.Service, spec.Global, spec.OnlyIn(others...))
		ways = append(ways, way{c, remote, others}, way{c, servers.Service, spec.Clusters{c}})
	}
	policy := deny(servers.Service, t.Principal(denied.App))
	cuts(t, denied, other, ways, func() { t.ApplyEverywhere(policy) }, func() { t.DeleteEverywhere(policy) })
}

// ID-25: within each cluster, since no plaintext reaches another one.
var StrictReachesOpenConnections = spec.Proves(behaviors.StrictReachesOpenConnections, func(t *spec.T) {
	servers, outside, inside := t.DeployPeers("peer"), t.DeployPeers("outside", spec.OutsideMesh), t.DeployPeers("inside")
	var ways []way
	for _, c := range t.Clusters {
		ways = append(ways, way{c, servers.Service, spec.Clusters{c}})
	}
	allow := func() { t.ApplyEverywhere(servers.PodMutualTLS(permissive)) }
	allow()
	cuts(t, outside, inside, ways, func() { t.ApplyEverywhere(servers.PodMutualTLS(strict)) }, allow)
})

// ID-26: the waypoint has connections to all pods when the policy comes.
var PodPolicyReachesWaypointConnections = spec.Proves(behaviors.PodPolicyReachesWaypointConnections, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	direct := t.ServiceFor("direct", echo, spec.Global)
	echo.PutBehind(t.SharedWaypoint())
	through := func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) }
	t.EachCluster(through)

	allow := echo.PodPolicy(security.AuthorizationPolicy_ALLOW, t.Principal(fixture.Client))
	t.ApplyEverywhere(allow)
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), EndAs(traffic.Status, traffic.Reset))
		t.Control(c.Client.HTTP(direct), AnsweredBy(t.Clusters...))
		t.Control(c.ClientB.HTTP(direct), EndAs(traffic.Reset))
	})

	t.DeleteEverywhere(allow)
	t.EachCluster(through)
})

// way is from the clients of a cluster to the pods of a Service, by which clusters it is served.
type way struct {
	from *spec.Cluster
	to   *spec.Service
	by   spec.Clusters
}

// cuts forbids what one of two clients that are connected to the same pods does, and allows it again.
func cuts(t *spec.T, denied, other *spec.Peers, ways []way, forbid, allow func()) {
	const lasting, spared = 90 * time.Second, 60 * time.Second // longer than until the others have ended
	hello := peer.Exchange{Up: 1, Down: 1}
	served := func(w way) {
		for _, p := range []*spec.Peers{denied, other} {
			t.Control(p.Exchange(w.from, w.to, hello), CarriedWhole(1, 1), ServedFrom(w.by...))
		}
	}
	spec.Each(t, ways, served)

	type connection struct {
		way
		*spec.Connection
	}
	var end, stay []connection
	begun := time.Now()
	for _, w := range ways {
		end = append(end, connection{w, denied.Connect(w.from, w.to, lasting)})
		stay = append(stay, connection{w, other.Connect(w.from, w.to, spared)})
	}
	open := func(c connection) { t.Control(c.Connection, StaysOpen()) }
	spec.Each(t, slices.Concat(end, stay), open)

	forbid()
	spec.Each(t, end, func(c connection) { t.Expect(c.Connection, CutOff(), ServedFrom(c.by...)) })
	spec.Each(t, ways, func(w way) { t.Control(denied.Exchange(w.from, w.to, hello), RefusedByReset()) })
	spec.Each(t, stay, open)

	allow()
	spec.Each(t, ways, served)
	t.WaitUntil(begun.Add(spared))
	spec.Each(t, stay, func(c connection) { t.Control(c.Connection, CarriedWhole(spec.Beats(spared), 1), ServedFrom(c.by...)) })
}
