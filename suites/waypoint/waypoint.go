// Package waypoint proves what waypoints of one name do in several clusters.
package waypoint

import (
	"fmt"
	"time"

	"github.com/onsi/gomega/types"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
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

// WP-03: of another cluster when its own is gone. Who serves the request does not matter.
var WhichWaypointServes = spec.Proves(behaviors.WhichWaypointServes, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	waypoint := t.DeployWaypoint()
	echo.PutBehind(waypoint)
	all := AnsweredBy(t.Clusters...)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), all, ViaWaypointOf(c)) })

	for _, a := range t.Clusters {
		others := t.Clusters.Without(a)
		t.ScaleWaypoint(a, waypoint, 0)
		t.Expect(a.Client.HTTP(echo), all, ViaWaypointOf(others...))
		t.Each(others, func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), all, ViaWaypointOf(c)) })

		t.ScaleWaypoint(a, waypoint, 1)
		t.Expect(a.Client.HTTP(echo), all, ViaWaypointOf(a))
	}
})

// WP-04: in each cluster the Service names the waypoint that all have, one that does not exist, or
// one that only this cluster has. What each client sees is recorded, for one whom the policy
// forbids and for one whom it does not.
var WaypointsAreEverywhereOrNowhere = spec.Proves(behaviors.WaypointsAreEverywhereOrNowhere, func(t *spec.T) {
	a, others := t.Clusters.Split()
	shared, own := t.SharedWaypoint(), map[*spec.Cluster]string{}
	for _, c := range t.Clusters {
		own[c] = t.DeployWaypointOnlyIn(c)
	}
	named := func(word string, c *spec.Cluster) string {
		return map[string]string{"right": shared, "absent": t.Name("absent"), "other": own[c]}[word]
	}
	words := []string{"right", "absent", "other"}
	for _, here := range words {
		rows := map[string]*spec.Service{}
		for _, there := range words { // all changes first: a waypoint that takes one may drop a call
			rows[there] = t.Service(here+"-"+there, spec.Global)
			rows[there].TraceWaypoints()
			t.ApplyEverywhere(rows[there].Deny(t.Principal(fixture.ClientB)))
			rows[there].UseWaypointIn(spec.Clusters{a}, named(here, a))
			for _, c := range others {
				rows[there].UseWaypointIn(spec.Clusters{c}, named(there, c))
			}
		}
		spec.Each(t, words, func(there string) {
			t.EachCluster(func(c *spec.Cluster) {
				forbidden, allowed := c.ClientB.HTTP(rows[there]), c.Client.HTTP(rows[there])
				if here == "right" && there == "right" {
					t.Control(forbidden, HaveStatus(403))
					t.Control(allowed, AnsweredBy(t.Clusters...), ViaOneWaypoint())
					return
				}
				who := fmt.Sprintf("%s in %s, %s elsewhere, a client of %s whom the policy ", here, a.Name, there, c.Name)
				t.RecordOutcome(who+"forbids", forbidden, func(os traffic.Outcomes) string {
					return enforcement(os, c, rows[there].WaypointBound(c))
				}, NoneAfter(10*time.Second))
				t.RecordOutcome(who+"lets pass", allowed, func(os traffic.Outcomes) string { return service(os, t.Clusters) })
			})
		})
	}
})

// enforcement names what becomes of calls that a policy on the Service forbids. bound says whether
// the Service's status in the client's cluster promises a waypoint.
func enforcement(os traffic.Outcomes, client *spec.Cluster, bound bool) string {
	served := os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached })
	denied, _ := HaveStatus(403).Match(os)
	switch {
	case served > 0 && bound:
		return "bypassed"
	case denied:
		return "enforced"
	case served == 0:
		return "fails-closed"
	case served == os.Clusters()[client.Name]:
		return "open-locally"
	case served == len(os):
		return "open"
	case os.Count(func(o traffic.Outcome) bool { return o.Code == 403 }) == 0:
		return "open-in-part"
	}
	return ""
}

// service names what becomes of calls that no policy forbids.
func service(os traffic.Outcomes, clusters spec.Clusters) string {
	lost := os.Count(traffic.Lost)
	if all, _ := AnsweredBy(clusters...).Match(os); all {
		return "served"
	}
	switch lost {
	case 0: // one cluster may answer few calls by chance
		return ""
	case len(os):
		return "unserved"
	}
	return "partly-served"
}

// WP-05: for each connection of a TCP client a waypoint opens one of its own, so that they can be
// counted. The inner tunnel is what the server's ztunnel sees, the outer one what leaves the
// network.
var WaypointUsesDoubleHBONE = spec.Proves(behaviors.WaypointUsesDoubleHBONE, func(t *spec.T) {
	direct, behind := t.Service("direct", spec.Global), t.Service("behind", spec.Global)
	waypoint := t.DeployWaypoint()
	behind.UseWaypoint(waypoint)
	all := AnsweredBy(t.Clusters...)
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.TCP(direct), all)
		t.Expect(c.Client.TCP(behind), all)
	})

	const calls = 24
	for _, a := range t.Clusters {
		crossings := t.Crossings(a, waypoint)
		for _, x := range []struct {
			to      *spec.Service
			account string
			judge   spec.Judge
			outer   func(crossed int) int
		}{
			{direct, fixture.Client, t.Control, func(int) int { return 0 }},
			{behind, waypoint, t.Expect, func(crossed int) int { return crossed }},
		} {
			os, counted := t.CallAndCount(a.Client.TCP(x.to).Times(calls).Within(20 * time.Second))
			t.Given(spec.Seen("the calls that were counted", os), all)
			for _, b := range t.Clusters.Without(a) {
				x.judge(counted.By(b).AsDestination().FromAccount(t, x.account).To(x.to), AllMutualTLS(os.Clusters()[b.Name]))
			}
			x.judge(crossings, Exactly(x.outer(calls-os.Clusters()[a.Name])))
		}
	}
})

// WP-06: a policy, tokens, a route and a destination rule, each configured in one cluster only, in each
// direction.
var WaypointConfigurationIsNotSynced = spec.Proves(behaviors.WaypointConfigurationIsNotSynced, func(t *spec.T) {
	shared := t.SharedWaypoint()
	type way struct {
		kind                string
		object              func(*spec.Service) spec.Object
		calls               func(*spec.Cluster, *spec.Service) traffic.Calls
		configured, without types.GomegaMatcher // what a client sees that is under the configuration, or not
	}
	get := func(c *spec.Cluster, s *spec.Service) traffic.Calls { return c.Client.HTTP(s) }
	all := AnsweredBy(t.Clusters...)
	ways := []way{
		{"policy", func(s *spec.Service) spec.Object { return s.Deny(t.Principal(fixture.ClientB)) },
			func(c *spec.Cluster, s *spec.Service) traffic.Calls { return c.ClientB.HTTP(s) }, HaveStatus(403), all},
		{"tokens", (*spec.Service).Tokens,
			func(c *spec.Cluster, s *spec.Service) traffic.Calls {
				return get(c, s).Header("Authorization", "Bearer of.no.key")
			},
			HaveStatus(401), all},
		{"route", (*spec.Service).TraceRoute, get, ViaOneWaypoint(), WithoutWaypoint()},
		{"rule", func(s *spec.Service) spec.Object { return s.LocalityRule(spec.PreferCluster) }, get, FromOneCluster(), all},
	}
	for _, in := range t.Clusters {
		others, services := t.Clusters.Without(in), map[string]*spec.Service{}
		for _, w := range ways {
			services[w.kind] = t.Service(w.kind+"-in-"+in.Name, spec.Global)
			services[w.kind].UseWaypoint(shared)
		}
		// All changes come before all calls: a waypoint that takes one may drop a call.
		configure := func(in spec.Clusters) {
			for _, w := range ways {
				t.Apply(in, w.object(services[w.kind]))
			}
		}
		each := func(clusters spec.Clusters, f func(w way, c *spec.Cluster, calls traffic.Calls)) {
			spec.Each(t, ways, func(w way) {
				t.Each(clusters, func(c *spec.Cluster) { f(w, c, w.calls(c, services[w.kind])) })
			})
		}
		each(t.Clusters, func(w way, _ *spec.Cluster, calls traffic.Calls) { t.Control(calls, w.without) })

		configure(spec.Clusters{in})
		each(spec.Clusters{in}, func(w way, _ *spec.Cluster, calls traffic.Calls) { t.Expect(calls, w.configured) })
		each(others, func(w way, c *spec.Cluster, calls traffic.Calls) {
			t.RecordOutcome(fmt.Sprintf("%s only in %s, a client in %s", w.kind, in.Name, c.Name), calls,
				func(os traffic.Outcomes) string { return effect(os, in, w.configured, w.without) })
		})

		configure(others)
		each(t.Clusters, func(w way, _ *spec.Cluster, calls traffic.Calls) { t.Expect(calls, w.configured) })
	}
})

// effect names what a configuration in one cluster does to a client of another one. It is empty
// when the outcomes are mixed.
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
		s.PutBehind(waypoint)
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
	echo.PutBehind(waypoint)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

	t.ScaleWaypoint(a, waypoint, 0)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(others...))

	t.SetWaypointLocal(waypoint)
	t.Control(a.Client.HTTP(echo), EndAs(traffic.Reset))
	t.Each(others, func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

	t.ScaleWaypoint(a, waypoint, 1)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint())
})

// WP-09
var LabelOnGatewayReachesService = spec.Proves(behaviors.LabelOnGatewayReachesService, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	waypoint := t.DeployWaypoint()
	t.SetWaypointLocal(waypoint)
	echo.PutBehind(waypoint)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })
	t.ScaleWaypoint(a, waypoint, 0)
	t.Control(a.Client.HTTP(echo), EndAs(traffic.Reset))

	takenOver := func() { t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(others...)) }
	t.LabelWaypointGateway(waypoint, workload.LabelGlobal, "true")
	takenOver()
	t.LabelWaypointGateway(waypoint, "changed", "true") // istiod writes the Service once more
	takenOver()

	t.LabelWaypointGateway(waypoint, workload.LabelGlobal, "")
	t.Control(a.Client.HTTP(echo), EndAs(traffic.Reset))
})

// WP-11
var CrossNamespaceWaypoint = spec.Proves(behaviors.CrossNamespaceWaypoint, func(t *spec.T) {
	a, others := t.Clusters.Split()
	local, global := t.Service("local"), t.Service("global", spec.Global)
	local.TraceWaypoints()
	global.TraceWaypoints()
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...), WithoutWaypoint()) })
	served := func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(local), AnsweredBy(c), ViaWaypointOf(c))
		t.Expect(c.Client.HTTP(global), AnsweredBy(t.Clusters...), ViaOneWaypoint())
	}

	waypoint := t.DeployWaypointInSecondNamespace()
	local.UseWaypointOfSecondNamespace(waypoint)
	global.UseWaypointOfSecondNamespace(waypoint)
	t.EachCluster(served)

	t.AdmitToWaypoint(a, waypoint, gateway.NamespacesFromSame)
	t.Expect(a.Client.HTTP(local), AnsweredBy(a), WithoutWaypoint())
	t.ObserveLook(a.Client.HTTP(global))
	t.Each(others, served)

	t.AdmitToWaypoint(a, waypoint, gateway.NamespacesFromAll)
	t.EachCluster(served)
})

// WP-16: at services whose pods are in the other clusters only. The pods of one that is called
// again are in all, and those of one cluster fail.
var TrafficPoliciesReachRemoteEndpoints = spec.Proves(behaviors.TrafficPoliciesReachRemoteEndpoints, func(t *spec.T) {
	type answered struct {
		word   string
		policy func(*spec.Service) spec.Object
		query  string
		status int
	}
	behind := func(s *spec.Service) *spec.Service { s.UseWaypoint(t.SharedWaypoint()); return s }
	erring, others := t.Clusters.Split()
	retried := behind(t.DeployEcho("retried", spec.Global, spec.ErringIn(erring)))
	t.EachCluster(func(c *spec.Cluster) {
		far := t.Clusters.Without(c)
		t.Control(c.Client.HTTP(retried), AnsweredOnlyBy(t.Clusters...), WithoutWaypoint())
		spec.Each(t, []answered{
			{"timeout", func(s *spec.Service) spec.Object { return s.Route(spec.Timeout("500ms")) }, "delay=2s", 504},
			{"redirect", func(s *spec.Service) spec.Object { return s.Route(spec.Redirect(302, "/moved")) }, "", 302},
			{"fault", func(s *spec.Service) spec.Object { return s.Virtual(spec.Abort(418)) }, "", 418},
		}, func(x answered) {
			s := behind(t.Service(x.word+"-of-"+c.Name, spec.Global, spec.OnlyIn(far...)))
			t.Control(c.Client.HTTP(s).Query(x.query), AnsweredBy(far...))
			t.ApplyEverywhere(x.policy(s))
			t.Expect(c.Client.HTTP(s).Query(x.query), HaveStatus(x.status))
		})
	})

	t.ApplyEverywhere(retried.Virtual(spec.Retries))
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(retried), AnsweredBy(others...), ViaOneWaypoint()) })

	for _, c := range t.Clusters {
		far := t.Clusters.Without(c)
		s := behind(t.Service("mirrored-of-"+c.Name, spec.Global, spec.OnlyIn(far...)))
		mirror := t.DeployEcho("mirror-of-"+c.Name, spec.Global, spec.OnlyIn(far...))
		counted := t.Counts()
		t.Control(c.Client.HTTP(s), AnsweredBy(far...), WithoutWaypoint())
		t.Each(far, func(o *spec.Cluster) {
			t.Control(counted.By(o).AsDestination().ToWorkload(mirror.App), AllMutualTLS(0))
		})
		t.ApplyEverywhere(s.Route(spec.Mirror(mirror)))
		t.Expect(c.Client.HTTP(s), AnsweredBy(far...), ViaOneWaypoint())
		t.Each(far, func(o *spec.Cluster) { t.Expect(counted.By(o).AsDestination().ToWorkload(mirror.App), OnlyMutualTLS()) })
	}
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

// WP-14: the label of the namespace puts all that is in it behind the waypoint, so this spec runs
// alone.
var OptingOutOfWaypoints = spec.Proves(behaviors.OptingOutOfWaypoints, func(t *spec.T) {
	in, out := t.Service("in", spec.Global), t.Service("out", spec.Global)
	in.TraceWaypoints()
	out.TraceWaypoints()
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(in), AnsweredBy(t.Clusters...), WithoutWaypoint()) })

	t.UseWaypointTemporarily(t.SharedWaypoint())
	out.UseWaypoint("none")
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(in), AnsweredBy(t.Clusters...), ViaOneWaypoint())
		t.Expect(c.Client.HTTP(out), AnsweredBy(t.Clusters...), WithoutWaypoint())
	})

	out.UseWaypoint("")
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(out), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })
}, spec.Serial)

// WP-17: the policy on the class holds for all waypoints of a cluster, so this spec runs alone.
var PolicyTargets = spec.Proves(behaviors.PolicyTargets, func(t *spec.T) {
	echo, forbidden := t.Service("echo", spec.Global), t.Principal(fixture.ClientB)
	waypoint := t.DeployWaypoint()
	echo.PutBehind(waypoint)
	served := func(by func(*spec.Cluster) *traffic.Client) {
		t.EachCluster(func(c *spec.Cluster) { t.Control(by(c).HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })
	}
	for _, policy := range []spec.Object{t.DenyAtWaypoint(waypoint, forbidden), echo.Deny(forbidden), t.DenyAtAllWaypoints(forbidden)} {
		served(func(c *spec.Cluster) *traffic.Client { return c.ClientB })

		t.ApplyEverywhere(policy)
		t.EachCluster(func(c *spec.Cluster) { t.Expect(c.ClientB.HTTP(echo), HaveStatus(403)) })
		served(func(c *spec.Cluster) *traffic.Client { return c.Client })
		t.DeleteEverywhere(policy)
	}
})
