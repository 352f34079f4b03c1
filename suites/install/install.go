// Package install proves what the documented installation promises, and that the networks under it
// are really apart.
package install

import (
	"time"

	"github.com/onsi/gomega"
	"istio.io/api/label"
	security "istio.io/api/security/v1"
	"istio.io/istio/pkg/config/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// INST-01
var TwoPrimariesConverge = spec.Proves(behaviors.TwoPrimariesConverge, func(t *spec.T) {
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(t.Gateways(c), OneProgrammed())
		t.Expect(spec.RemoteClusters(c), AllSynced(c, t.Clusters...))
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})
})

// INST-02
var NetworkComesFromNamespaceLabel = spec.Proves(behaviors.NetworkComesFromNamespaceLabel, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	joined := func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(joined)

	istioSystem := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: istiod.Namespace}}
	t.SetLabelTemporarily(a, istioSystem, label.TopologyNetwork.Name, "")

	// Cross-cluster calls may fail or stay local; no document says which. The only promise is that
	// none is answered by the other cluster.
	t.Expect(a.Client.HTTP(echo), AnsweredOnlyBy(a))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredOnlyBy(others...)) })

	t.SetLabel(spec.Clusters{a}, istioSystem, label.TopologyNetwork.Name, a.Network)
	t.EachCluster(joined)

	// On another network the cluster's gateway is of no use to the others, until it is on that one.
	moved := t.Name("network")
	t.SetLabel(spec.Clusters{a}, istioSystem, label.TopologyNetwork.Name, moved)
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredOnlyBy(others...)) })
	back := t.TakeFromGateways(a, spec.OnNetwork(moved))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })

	back()
	t.SetLabel(spec.Clusters{a}, istioSystem, label.TopologyNetwork.Name, a.Network)
	t.EachCluster(joined)
})

// INST-03: how many calls pass a waypoint by is luck.
var NodeProxyNetworkMatchesLabel = spec.Proves(behaviors.NodeProxyNetworkMatchesLabel, func(t *spec.T) {
	a, _ := t.Clusters.Pair()
	echo, behind := t.Service("echo", spec.Global), t.Service("behind", spec.Global, spec.BehindWaypoint)
	t.Expect(t.Preflight(), NothingFails())
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(behind), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

	restore := t.SetZtunnelEnv(a, "NETWORK", "")
	t.Expect(t.Preflight(), OnlyFails("ztunnel", a))
	for _, s := range []*spec.Service{behind, echo} {
		t.ObserveLook(a.Client.HTTP(s))
	}

	restore()
	t.Control(t.Preflight(), NothingFails())
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(behind), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })
})

// INST-04: the other clusters' clients lose the share of the cluster without the flag. No document
// says so, and it is recorded.
var FlagEnablesMultiNetwork = spec.Proves(behaviors.FlagEnablesMultiNetwork, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	class := spec.GatewayClass(constants.EastWestGatewayClassName)
	t.Delete(spec.Clusters{a}, class)
	t.Control(spec.Exists(a, class), IsTrue) // istiod makes it again
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })

	near, restore := a.Client.HTTP(local), func() {}
	seen := t.While(spec.Change("multi-network is off in "+a.Name, func() {
		restore = t.SetIstiodEnv(a, "AMBIENT_ENABLE_MULTI_NETWORK", "false")
		t.Expect(a.Client.HTTP(echo), AnsweredBy(a))
	}), near)
	t.Expect(seen.Of(near), NoneLost())
	t.Each(others, func(c *spec.Cluster) { t.ObserveLook(c.Client.HTTP(echo)) })
	t.Delete(spec.Clusters{a}, class)
	t.Expect(spec.Exists(a, class), IsFalse)

	restore()
	t.Expect(spec.Exists(a, class), IsTrue)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
})

// INST-10
var DefaultScopeRuleExists = spec.Proves(behaviors.DefaultScopeRuleExists, func(t *spec.T) {
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	joined := func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(func(c *spec.Cluster) {
		joined(c)
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})

	restore := t.SetMeshConfig(t.Clusters, spec.ScopeRules())
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })

	restore()
	t.EachCluster(joined)
})

// INST-12: two services swap their virtual addresses in the other cluster, in front of ztunnel and
// of a waypoint: waypoints once matched the address before the name (istio/istio#58512).
var OverlappingAddressesStayApart = spec.Proves(behaviors.OverlappingAddressesStayApart, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	one, two := t.DeployEcho("one"), t.DeployEcho("two")
	alias := t.ServiceFor("alias", two) // the control: a name whose answers come from two's pods
	t.ReplaceAddresses(b, map[*spec.Service]string{one: t.Address(a, two), two: t.Address(a, one)})
	for _, s := range []*spec.Service{one, two} {
		s.SetGlobal(t.Clusters...)
		s.TraceWaypoints()
	}
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(alias), AnsweredBy(c), FromPodsOf(two.App), gomega.Not(FromPodsOf(one.App)))
	})

	answersInItsName := func(more Matcher) {
		t.EachCluster(func(c *spec.Cluster) {
			spec.Each(t, []*spec.Service{one, two}, func(s *spec.Service) {
				t.Expect(c.Client.HTTP(s), AnsweredBy(t.Clusters...), FromPodsOf(s.App), more)
			})
		})
	}
	answersInItsName(WithoutWaypoint())
	for _, s := range []*spec.Service{one, two} {
		s.UseWaypoint(t.SharedWaypoint())
	}
	answersInItsName(ViaOneWaypoint())
})

// INST-14: what crosses passes a gateway where there is no other path. The underlay is nobody's
// promise: where the networks are not apart, nothing can be told.
var NoDirectPathBetweenPods = spec.Proves(behaviors.NoDirectPathBetweenPods, func(t *spec.T) {
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	t.EachCluster(func(to *spec.Cluster) {
		for _, from := range t.OtherNetworks(to) {
			t.Given(t.PathsTo(from, to), NoPath())
		}
	})
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})
})

// INST-08: pods reach each other without a gateway there, so what crosses must be encrypted by the
// ztunnels alone.
var SingleNetworkIsUntested = spec.Proves(behaviors.SingleNetworkIsUntested, func(t *spec.T) {
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
		t.RecordOutcome("a client in "+c.Name, c.Client.HTTP(echo), func(os traffic.Outcomes) string {
			return reach(os, echo.App, c, t.Clusters)
		})

		os, counted := t.CallAndCount(c.Client.HTTP(echo).Times(40))
		t.Expect(counted.By(c).AsSource().FromWorkload(fixture.Client).To(echo), OnlyMutualTLS())
		for _, b := range t.Clusters.Without(c) {
			if crossed := os.Clusters()[b.Name]; crossed > 0 {
				t.Expect(counted.By(b).AsDestination().FromWorkload(fixture.Client).FromCluster(c).To(echo), AllMutualTLS(crossed))
			}
		}
	})
})

// reach names whom a client's calls to a global service reach on a network that all clusters share.
func reach(os traffic.Outcomes, app string, own *spec.Cluster, all spec.Clusters) string {
	answered := os.Clusters()
	elsewhere := len(answered) > min(1, answered[own.Name])
	switch lost := os.Count(traffic.Lost); {
	case os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && !o.FromPodOf(app) }) > 0:
		return "other-service"
	case lost > 0 && elsewhere:
		return "mixed"
	case lost > 0 && lost < len(os):
		return "no-path"
	case lost == 0 && len(answered) == len(all):
		return "direct"
	case lost == 0 && !elsewhere:
		return "local-only"
	}
	return ""
}

// INST-09: the remote cluster's istiod is the primary's, which reads policies of its own cluster
// only, so they stand in both.
var PrimaryRemoteIsUnsupported = spec.Proves(behaviors.PrimaryRemoteIsUnsupported, func(t *spec.T) {
	remote, primary := t.Clusters.Remote()
	local, strict := t.Service("local"), t.DeployEcho("strict")
	inRemote := t.DeployEcho("in-remote", spec.Global, spec.OnlyIn(remote))
	inPrimary := t.DeployEcho("in-primary", spec.Global, spec.OnlyIn(primary))
	t.Control(primary.Client.HTTP(local), AnsweredBy(primary))
	t.Control(primary.Plain.HTTP(strict), AnsweredBy(primary))

	t.ObserveLook(spec.Captured(remote, strict))

	open := "" // what becomes of plaintext while it is allowed
	for _, row := range []struct {
		who   string
		calls traffic.Calls
		by    *spec.Cluster
	}{
		{"plaintext within the remote cluster", remote.Plain.HTTP(strict), remote},
		{"calls within the remote cluster", remote.Client.HTTP(local), remote},
		{"calls from the remote cluster to the primary", remote.Client.HTTP(inPrimary), primary},
		{"calls from the primary to the remote cluster", primary.Client.HTTP(inRemote), remote},
	} {
		t.RecordOutcome(row.who, row.calls, func(os traffic.Outcomes) string {
			outcome := service(os, row.by)
			if row.calls.From == remote.Plain {
				open = outcome
			}
			return outcome
		})
	}
	t.ApplyEverywhere(strict.PodMutualTLS(security.PeerAuthentication_MutualTLS_STRICT))
	t.Control(primary.Plain.HTTP(strict), EndAs(traffic.Reset, traffic.Refused))
	t.RecordOutcome("the same with mutual TLS demanded", remote.Plain.HTTP(strict), func(os traffic.Outcomes) string {
		switch {
		case os.Count(traffic.Lost) < len(os):
			return "plaintext"
		case open == "fails": // for another reason
			return open
		}
		return "refused"
	}, NoneAfter(10*time.Second))
})

// service names whether calls are answered by the cluster that has the pods.
func service(os traffic.Outcomes, by *spec.Cluster) string {
	answered := os.Clusters()
	switch lost := os.Count(traffic.Lost); {
	case len(answered) > min(1, answered[by.Name]):
		return "other-cluster"
	case lost == 0:
		return "served"
	case lost < len(os):
		return "mixed"
	}
	return "fails"
}
