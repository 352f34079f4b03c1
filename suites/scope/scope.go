// Package scope proves which services are visible to other clusters.
package scope

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
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

	// The control goes first: once the global neighbor is joined, the local one has had its chance,
	// too.
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

	// Two control planes withdraw the service in no promised order: a call that one of them still
	// sends may find the other's gateway closed. So losses are recorded and not judged.
	t.Observe("while the label was removed: %s", seen)
})

// SCOPE-04: each of the services becomes global in the end, so each could have been so before. That
// the last one made is global tells that those before it have been read.
var OnlyTheLiteralTrueCounts = spec.Proves(behaviors.OnlyTheLiteralTrueCounts, func(t *spec.T) {
	var wrong []*spec.Service
	for word, value := range map[string]string{"upper": "True", "one": "1", "yes": "yes", "empty": ""} {
		wrong = append(wrong, t.Service(word, spec.Scope(value)))
	}
	right := t.Service("right", spec.Scope("true"))
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(right), AnsweredBy(t.Clusters...)) })
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

// SCOPE-05: every cluster has the label on the namespace, and none on the service.
var NamespaceLabelDoesNothingByDefault = spec.Proves(behaviors.NamespaceLabelDoesNothingByDefault, func(t *spec.T) {
	echo, global := t.DeployEcho("echo", spec.InSecondNamespace), t.Service("global", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(echo), AnsweredBy(c))
		t.Control(c.Client.HTTP(global), AnsweredBy(t.Clusters...))
	})

	t.LabelNamespaceTemporarily(echo.Namespace, workload.LabelGlobal, "true")
	t.EachCluster(func(c *spec.Cluster) {
		t.RecordOutcome("a client of "+c.Name, c.Client.HTTP(echo), func(os traffic.Outcomes) string {
			return reach(os, c, t.Clusters)
		}, NoneAfter(10*time.Second))
	})

	t.SetMeshConfig(t.Clusters, spec.MoreScopeRules(
		spec.ScopeRule{Namespaces: spec.Labeled(workload.LabelGlobal, "true"), Scope: spec.GlobalScope}))
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
})

// reach names whom a client reaches behind a service that may be global or local.
func reach(os traffic.Outcomes, own *spec.Cluster, all spec.Clusters) string {
	if os.Count(traffic.Lost) > 0 {
		return "one-sided-errors"
	}
	for name, clusters := range map[string]spec.Clusters{"local": {own}, "global": all} {
		if ok, _ := AnsweredBy(clusters...).Match(os); ok {
			return name
		}
	}
	return ""
}

// chosen is the label by which rules of specs choose services.
const chosen = "chosen"

// SCOPE-06: the rules choose by labels of the spec's own, beside the rules of the mesh.
var ScopeRulesCombine = spec.Proves(behaviors.ScopeRulesCombine, func(t *spec.T) {
	unlabeled := t.DeployEcho("unlabeled", spec.InSecondNamespace)
	there, here, either := t.ServiceFor("there", unlabeled, spec.InSecondNamespace), t.Service("here"), t.Service("any")
	there.SetLabel(t.Clusters, chosen, "both")
	here.SetLabel(t.Clusters, chosen, "both")
	either.SetLabel(t.Clusters, chosen, "either")
	services := []*spec.Service{unlabeled, there, here, either}
	scopes := func(judge spec.Judge, global ...*spec.Service) {
		spec.Each(t, services, func(s *spec.Service) {
			t.EachCluster(func(c *spec.Cluster) {
				if slices.Contains(global, s) {
					judge(c.Client.HTTP(s), AnsweredBy(t.Clusters...))
				} else {
					judge(c.Client.HTTP(s), AnsweredBy(c))
				}
			})
		})
	}
	scopes(t.Control)

	both, in := spec.Labeled(chosen, "both"), func(s *spec.Service) *metav1.LabelSelector {
		return spec.Labeled(corev1.LabelMetadataName, s.Namespace)
	}
	local := spec.ScopeRule{Services: spec.Labeled(chosen, "either"), Scope: spec.LocalScope}
	global := spec.ScopeRule{Services: spec.Labeled(chosen, "either"), Scope: spec.GlobalScope}
	undo := t.SetMeshConfig(t.Clusters, spec.MoreScopeRules(local, global, local,
		spec.ScopeRule{Namespaces: in(there), Services: both, Scope: spec.GlobalScope}))
	scopes(t.Expect, there, either)

	undo()
	t.SetMeshConfig(t.Clusters, spec.MoreScopeRules(local,
		spec.ScopeRule{Namespaces: in(here), Services: both, Scope: spec.GlobalScope},
		spec.ScopeRule{Namespaces: in(there), Services: spec.Unlabeled(chosen), Scope: spec.GlobalScope}))
	scopes(t.Expect, here, unlabeled)
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
			}, NoneAfter(10*time.Second))
		})
	})
})

// SCOPE-17: SCOPE-07 behind a waypoint. In each direction, since the side that has the label
// matters. The label is given and never taken: a waypoint keeps its connections, and calls on those
// to a cluster that serves no longer are still answered.
var OneSidedLabelBehindWaypoint = spec.Proves(behaviors.OneSidedLabelBehindWaypoint, func(t *spec.T) {
	a, others := t.Clusters.Split()
	spec.Each(t, []labels{{"only-first", spec.Clusters{a}, others}, {"not-first", others, spec.Clusters{a}}}, func(row labels) {
		echo := t.Service(row.word, spec.BehindWaypoint)
		t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(c), ViaOneWaypoint()) })

		echo.SetGlobal(row.labeled...)
		later := t.Service(row.word+"-later", spec.Global, spec.BehindWaypoint) // joined when the label of the other has been read
		t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(later), AnsweredBy(t.Clusters...), ViaOneWaypoint()) })

		t.Each(row.unlabeled, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
		t.Each(row.labeled, func(c *spec.Cluster) {
			t.RecordOutcome(c.Name+" has the label", c.Client.HTTP(echo), func(os traffic.Outcomes) string {
				return scope(os, row.labeled, t.Clusters)
			}, NoneAfter(10*time.Second))
		})
	})
})

// scope names who answers a client in a cluster that has the label, while only some clusters have
// it.
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

// SCOPE-08: the rule of one cluster looks for a label of the spec's own, those of the others for
// the one of the mesh.
var RulesMustBeUniform = spec.Proves(behaviors.RulesMustBeUniform, func(t *spec.T) {
	a, others := t.Clusters.Split()
	both, theirs, own := t.Service("both", spec.Global), t.Service("theirs", spec.Global), t.Service("own")
	both.SetLabel(t.Clusters, chosen, "yes")
	own.SetLabel(t.Clusters, chosen, "yes")
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(theirs), AnsweredBy(t.Clusters...))
		t.Control(c.Client.HTTP(own), AnsweredBy(c))
	})

	t.SetMeshConfig(spec.Clusters{a}, spec.ScopeRules(spec.ScopeRule{Services: spec.Labeled(chosen, "yes"), Scope: spec.GlobalScope}))

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(both), AnsweredBy(t.Clusters...)) })
	record := func(echo *spec.Service, matched, unmatched spec.Clusters) {
		t.Each(unmatched, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
		t.Each(matched, func(c *spec.Cluster) {
			t.RecordOutcome("the rules of "+c.Name+" match", c.Client.HTTP(echo), func(os traffic.Outcomes) string {
				return scope(os, matched, t.Clusters)
			}, NoneAfter(10*time.Second))
		})
	}
	t.Together(func() { record(own, spec.Clusters{a}, others) }, func() { record(theirs, others, spec.Clusters{a}) })
})

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

// SCOPE-11: a call that hangs ends after ten seconds or more; a busy machine may need one or two to
// refuse it.
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

// SCOPE-13: that a service made later is global tells that the one before it has been read.
var NamespacesAreTheSame = spec.Proves(behaviors.NamespacesAreTheSame, func(t *spec.T) {
	a, others := t.Clusters.Split()
	far := t.DeployEcho("echo", spec.Global, spec.InSecondNamespace, spec.OnlyIn(others...))
	near := t.Service("echo")
	t.Delete(others, near.Object) // only a has the name in this namespace, and only the others serve it in the second one
	near.SetGlobal(a)
	later := t.Service("later", spec.Global)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(later), AnsweredBy(t.Clusters...)) })

	t.Control(a.Client.HTTP(far), AnsweredBy(others...), FromPodsOf(far.App))
	t.Expect(a.Client.HTTP(near), AnsweredBy(a), FromPodsOf(near.App))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(far), AnsweredBy(others...), FromPodsOf(far.App)) })

	t.Apply(others, near.Object)
	near.SetGlobal(others...)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(near), AnsweredBy(t.Clusters...), FromPodsOf(near.App)) })
})

// SCOPE-14: the pods are elsewhere, so what hides the service in one cluster takes no pods from it.
var DiscoverySelectorsHideNamespaces = spec.Proves(behaviors.DiscoverySelectorsHideNamespaces, func(t *spec.T) {
	a, others := t.Clusters.Split()
	far := t.DeployEcho("far", spec.Global, spec.InSecondNamespace, spec.OnlyIn(others...))
	shown := t.Service("shown", spec.Global)
	served := func(c *spec.Cluster) { t.Control(c.Client.HTTP(far), AnsweredBy(others...)) }
	t.EachCluster(served)

	undo := t.SetMeshConfig(spec.Clusters{a}, spec.HiddenNamespace(far.Namespace))

	t.Expect(a.Client.HTTP(far).Within(3*time.Second), EndAs(traffic.Reset, traffic.Refused))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(far), AnsweredBy(others...)) })
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(shown), AnsweredBy(t.Clusters...)) })

	undo()
	t.EachCluster(served)
})

// SCOPE-12
var PortsMustMatch = spec.Proves(behaviors.PortsMustMatch, func(t *spec.T) {
	const moved = fixture.OtherPort
	_, b := t.Clusters.Pair()
	far := t.DeployEcho("far", spec.Global, spec.OnlyIn(b))
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.TCP(far), AnsweredBy(b), FromPort(traffic.TCP)) })

	far.RetargetIn(b, traffic.TCP, traffic.ServerFirst)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.TCP(far), AnsweredBy(b), FromPort(traffic.ServerFirst)) })

	far.RenumberIn(b, 80, moved)
	t.Control(b.Client.Get(fmt.Sprintf("http://%s:%d/", far.Host(), moved)), AnsweredBy(b))
	t.Each(t.Clusters.Without(b), func(c *spec.Cluster) { t.ObserveLook(c.Client.HTTP(far)) })
})

// SCOPE-18
var BecomingGlobalUnderTraffic = spec.Proves(behaviors.BecomingGlobalUnderTraffic, func(t *spec.T) {
	const grace = 10 * time.Second
	services := []*spec.Service{t.Service("direct"), t.Service("behind", spec.BehindWaypoint)}
	rows := append(t.HTTPFromEach(services[0]), t.HTTPFromEach(services[1])...)
	each := func(f func(c *spec.Cluster, s *spec.Service)) {
		t.EachCluster(func(c *spec.Cluster) { spec.Each(t, services, func(s *spec.Service) { f(c, s) }) })
	}
	each(func(c *spec.Cluster, s *spec.Service) { t.Control(c.Client.HTTP(s), AnsweredBy(c)) })

	seen := t.While(spec.Change("services become global", func() {
		spec.Each(t, services, func(s *spec.Service) { s.SetGlobal(t.Clusters...) })
	}).Grace(grace), rows...)
	each(func(c *spec.Cluster, s *spec.Service) {
		t.Expect(seen.Of(c.Client.HTTP(s)), NoneAfter(grace))
		t.Expect(c.Client.HTTP(s), AnsweredBy(t.Clusters...))
	})
})
