// Package scope proves which services are visible to other clusters.
package scope

import (
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// SCOPE-01
var GlobalLabelJoinsClusters = spec.Proves(behaviors.GlobalLabelJoinsClusters, func(t *spec.T) {
	echo := t.Service("echo")
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(c)) })

	echo.SetGlobal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
})

// SCOPE-02
var ServicesAreLocalByDefault = spec.Proves(behaviors.ServicesAreLocalByDefault, func(t *spec.T) {
	local, global := t.Service("local"), t.Service("global", spec.Global)

	// The control goes first: once the global neighbor is joined, the local one has had its chance, too.
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...)) })

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(local), AnsweredBy(c)) })
})

// SCOPE-03
var UnlabelingWithdrawsService = spec.Proves(behaviors.UnlabelingWithdrawsService, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })

	seen := t.While(spec.Change("the label is removed", func() {
		echo.SetLocal(t.Clusters...)
		t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
	}), t.HTTPFromEach(echo)...)

	// Two control planes withdraw the service in no promised order: a call that one of them still sends
	// may find the other's gateway closed. So losses are recorded and not judged.
	t.Observe("while the label was removed: %s", seen)
})

// SCOPE-04: each of the services becomes global in the end, so each could have been so before.
var OnlyTheLiteralTrueCounts = spec.Proves(behaviors.OnlyTheLiteralTrueCounts, func(t *spec.T) {
	right := t.Service("right", spec.Scope("true"))
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(right), AnsweredBy(t.Clusters...)) })

	var wrong []*spec.Service
	for word, value := range map[string]string{"upper": "True", "one": "1", "yes": "yes", "empty": ""} {
		wrong = append(wrong, t.Service(word, spec.Scope(value)))
	}
	spec.Each(t, wrong, func(echo *spec.Service) {
		t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
	})

	for _, echo := range wrong {
		echo.SetGlobal(t.Clusters...)
	}
	spec.Each(t, wrong, func(echo *spec.Service) {
		t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
	})
})

// labels says which clusters keep a service's label, and which lose it.
type labels struct {
	word               string
	labeled, unlabeled spec.Clusters
}

// SCOPE-07: the page and the meshes that were tried disagree about which cluster decides, so it is
// recorded. A call that is lost on the way is unsafe in either case.
var LocalScopeIsSourceOfTruth = spec.Proves(behaviors.LocalScopeIsSourceOfTruth, func(t *spec.T) {
	a, others := t.Clusters.Split()
	joined := func(echo *spec.Service) {
		echo.SetGlobal(t.Clusters...)
		t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
	}
	spec.Each(t, []labels{
		{"only-first", spec.Clusters{a}, others},
		{"not-first", others, spec.Clusters{a}},
		{"none", nil, t.Clusters},
	}, func(row labels) {
		echo := t.Service(row.word)
		joined(echo)
		echo.SetLocal(row.unlabeled...)
		t.Each(row.unlabeled, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
		t.Each(row.labeled, func(c *spec.Cluster) {
			t.RecordOutcome(c.Name+" keeps the label", c.Client.HTTP(echo), func(os traffic.Outcomes) string {
				return scope(os, row.labeled, t.Clusters)
			})
		})
	})
})

// SCOPE-17: SCOPE-07 behind a waypoint. In each direction, since the side that has the label matters.
var OneSidedLabelBehindWaypoint = spec.Proves(behaviors.OneSidedLabelBehindWaypoint, func(t *spec.T) {
	a, others := t.Clusters.Split()
	spec.Each(t, []labels{{"only-first", spec.Clusters{a}, others}, {"not-first", others, spec.Clusters{a}}}, func(row labels) {
		echo := t.Service(row.word, spec.Global, spec.BehindWaypoint)
		t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

		echo.SetLocal(row.unlabeled...)

		t.Each(row.unlabeled, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
		t.Each(row.labeled, func(c *spec.Cluster) {
			t.RecordOutcome(c.Name+" keeps the label", c.Client.HTTP(echo), func(os traffic.Outcomes) string {
				return scope(os, row.labeled, t.Clusters)
			}, NoneAfter(10*time.Second))
		})
	})
})

// scope names who answers a client in a cluster that has the label, while only some clusters have it.
func scope(os traffic.Outcomes, labeled, all spec.Clusters) string {
	if os.Count(traffic.Lost) > 0 {
		return "errors"
	}
	for name, clusters := range map[string]spec.Clusters{"intersection": labeled, "local-truth": all} {
		if ok, _ := AnsweredBy(clusters...).Match(os); ok {
			return name
		}
	}
	return ""
}

// SCOPE-09
var GatewayServesExactlyGlobalServices = spec.Proves(behaviors.GatewayServesExactlyGlobalServices, func(t *spec.T) {
	global, local := t.Service("global", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Control(gateway.Calls(global.Host()), ServedIn(c))
		t.Expect(gateway.Calls(local.Host()), RefusedByGateway())
	})

	global.SetLocal(t.Clusters...)
	local.SetGlobal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Expect(gateway.Calls(local.Host()), ServedIn(c))
		t.Expect(gateway.Calls(global.Host()), RefusedByGateway())
	})
})

// SCOPE-10
var GlobalWaypointAndLocalService = spec.Proves(behaviors.GlobalWaypointAndLocalService, func(t *spec.T) {
	local, global := t.Service("local", spec.BehindWaypoint), t.Service("global", spec.Global, spec.BehindWaypoint)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

	t.EachCluster(func(c *spec.Cluster) {
		t.RecordOutcome("a client of "+c.Name, c.Client.HTTP(local), func(os traffic.Outcomes) string {
			switch by := os.Clusters(); {
			case by[c.Name] == len(os):
				return "local"
			case len(by) > 1, by[c.Name] == 0 && len(by) > 0:
				return "served-remotely"
			}
			return ""
		})
	})
})

// SCOPE-11: a call that hangs ends after ten seconds or more; a busy machine may need one or two to refuse it.
var GlobalServiceWithoutPods = spec.Proves(behaviors.GlobalServiceWithoutPods, func(t *spec.T) {
	_, others := t.Clusters.Split()
	echo, full := t.DeployEcho("echo", spec.Global, spec.OnlyIn(others...)), t.Service("full", spec.Global)
	served := func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(others...)) }
	t.EachCluster(served)

	t.Each(others, func(c *spec.Cluster) { t.Scale(c, echo, 0) })
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo).Within(3*time.Second), EndAs(traffic.Reset, traffic.Refused))
		t.Control(c.Client.HTTP(full).Within(3*time.Second), AnsweredBy(t.Clusters...))
	})

	t.Each(others, func(c *spec.Cluster) { t.Scale(c, echo, 1) })
	t.EachCluster(served)
})

// SCOPE-13
var NamespacesAreTheSame = spec.Proves(behaviors.NamespacesAreTheSame, func(t *spec.T) {
	a, others := t.Clusters.Split()
	far := t.DeployEcho("echo", spec.Global, spec.InSecondNamespace, spec.OnlyIn(others...))
	near := t.Service("echo")
	t.Delete(others, near.Object) // only a has the name in this namespace, and only the others serve it in the second one
	near.SetGlobal(a)

	t.Control(a.Client.HTTP(far), AnsweredBy(others...), FromPodsOf(far.App))
	t.Expect(a.Client.HTTP(near), AnsweredBy(a), FromPodsOf(near.App))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(far), AnsweredBy(others...), FromPodsOf(far.App)) })

	t.Apply(others, near.Object)
	near.SetGlobal(others...)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(near), AnsweredBy(t.Clusters...), FromPodsOf(near.App)) })
})
