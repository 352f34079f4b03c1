// Package balancing proves how requests spread over clusters without a waypoint.
package balancing

import (
	"slices"
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// LB-01
var RequestsSpreadOverClusters = spec.Proves(behaviors.RequestsSpreadOverClusters, func(t *spec.T) {
	echo := t.Service("echo")
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.TCP(echo), AnsweredBy(c)) })

	echo.SetGlobal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Expect(c.Client.TCP(echo), AnsweredBy(t.Clusters...))
	})
})

// LB-02: of a client's calls to another cluster, and to its own.
var WeightFollowsEndpointCounts = spec.Proves(behaviors.WeightFollowsEndpointCounts, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.OnlyIn(a, b), spec.Pods(1, a, b))
	clients := spec.Clusters{a, b}
	t.Each(clients, func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(echo), InProportion(map[*spec.Cluster]int{a: 1, b: 1}))
	})

	t.Scale(b, echo, 3)

	t.Each(clients, func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo), InProportion(map[*spec.Cluster]int{a: 1, b: 3}))
	})
})

// LB-03: two services of two namespaces at the same time, since Istio once mixed up two authorities
// on one pooled connection (istio/istio#58630).
var RemoteServesWithoutLocalEndpoints = spec.Proves(behaviors.RemoteServesWithoutLocalEndpoints, func(t *spec.T) {
	const grace = 10 * time.Second
	a, others := t.Clusters.Split()
	one, two := t.DeployEcho("one", spec.Global), t.DeployEcho("two", spec.Global, spec.InSecondNamespace)
	services := []*spec.Service{one, two}
	both := func(f func(c *spec.Cluster, s *spec.Service)) {
		t.EachCluster(func(c *spec.Cluster) { spec.Each(t, services, func(s *spec.Service) { f(c, s) }) })
	}
	both(func(c *spec.Cluster, s *spec.Service) {
		t.Given(c.Client.HTTP(s), AnsweredBy(t.Clusters...), FromPodsOf(s.App))
	})

	seen := t.While(spec.Change("the pods of "+a.Name+" go", func() {
		spec.Each(t, services, func(s *spec.Service) { t.Scale(a, s, 0) })
	}).Grace(grace), append(t.HTTPFromEach(one), t.HTTPFromEach(two)...)...)
	both(func(c *spec.Cluster, s *spec.Service) {
		t.Expect(seen.Of(c.Client.HTTP(s)), NoneAfter(grace))
		t.Expect(seen.Answers(c.Client.HTTP(s)), FromPodsOf(s.App))
		t.Expect(c.Client.HTTP(s), AnsweredBy(others...), FromPodsOf(s.App))
	})

	t.Each(others, func(c *spec.Cluster) { t.Scale(c, one, 0) })
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(one), EndAs(traffic.Reset, traffic.Refused))
		t.Control(c.Client.HTTP(two), AnsweredBy(others...))
	})

	t.EachCluster(func(c *spec.Cluster) { t.Scale(c, one, 1) })
	t.Scale(a, two, 1)
	both(func(c *spec.Cluster, s *spec.Service) {
		t.Expect(c.Client.HTTP(s), AnsweredBy(t.Clusters...), FromPodsOf(s.App))
	})
})

// LB-04: the pod runs on and would answer. One of several is left out, and so are all.
var LocalNotReadyPodsAreLeftOut = spec.Proves(behaviors.LocalNotReadyPodsAreLeftOut, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.DeployEcho("echo", spec.Global, spec.WithReadinessGates, spec.Pods(2, a))
	local := t.ServiceFor("local", echo)
	pods := t.Pods(echo, a)
	one, rest := pods[0], pods[1:]
	t.Control(a.Client.HTTP(local), FromPods(pods...))
	t.Control(a.Client.HTTP(echo), AnsweredBy(t.Clusters...))

	t.SetReady(false, one)
	t.Expect(a.Client.HTTP(local), FromPods(rest...))
	t.Control(a.Client.Get(one.URL()), FromPods(one))

	t.SetReady(false, rest...)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(others...))
	spec.Each(t, pods, func(p spec.Pod) { t.Control(a.Client.Get(p.URL()), FromPods(p)) })

	t.SetReady(true, pods...)
	t.Expect(a.Client.HTTP(local), FromPods(pods...))
	t.Control(a.Client.HTTP(echo), AnsweredBy(t.Clusters...))
})

// LB-05: three pods of one cluster are not ready, and one of the client's is. That cluster's own
// clients know better.
var RemoteNotReadyPodsDrawTraffic = spec.Proves(behaviors.RemoteNotReadyPodsDrawTraffic, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	const share = 3.0 / 4
	echo := t.DeployEcho("echo", spec.Global, spec.WithReadinessGates, spec.OnlyIn(a, b), spec.Pods(1, a), spec.Pods(3, b))
	pods, calls := t.Pods(echo, b), a.Client.HTTP(echo)
	t.Control(calls, AnsweredBy(a, b))

	t.SetReady(false, pods...)
	t.RecordOutcome("a client of "+a.Name, calls.Times(CallsForShares), func(os traffic.Outcomes) string { return failing(os, share) })
	t.Control(b.Client.HTTP(echo), AnsweredBy(a))
	spec.Each(t, pods, func(p spec.Pod) { t.Control(b.Client.Get(p.URL()), FromPods(p)) })

	t.SetReady(true, pods...)
	t.Control(calls, AnsweredBy(a, b))
})

// LB-11: the fault was that what one service publishes was given to all that prefer what is close.
var NotReadyAddressesDoNotLeak = spec.Proves(behaviors.NotReadyAddressesDoNotLeak, func(t *spec.T) {
	a, _ := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.WithReadinessGates, spec.Pods(2, a))
	published, pods := t.ServiceFor("published", echo), t.Pods(echo, a)
	t.ApplyEverywhere(echo.PreferClose)
	t.ApplyEverywhere(published.PublishNotReady)
	t.Given(a.Client.HTTP(echo), FromPods(pods...))

	t.SetReady(false, pods[0])
	t.Control(a.Client.HTTP(published), FromPods(pods...))
	t.RecordOutcome("a client of "+a.Name, a.Client.HTTP(echo), func(os traffic.Outcomes) string {
		from := func(p spec.Pod) int {
			return os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && o.Workload == p.Name })
		}
		switch {
		case from(pods[0]) > 0:
			return "leaked"
		case from(pods[1]) == len(os):
			return "contained"
		}
		return ""
	}, NoneAfter(10*time.Second))
})

// failing names how many calls fail, beside the share of them that the pods would draw if they were
// ready.
func failing(os traffic.Outcomes, share float64) string {
	low, high := ShareRange(len(os), share)
	switch lost := os.Count(traffic.Lost); {
	case lost == 0:
		return "left-out"
	case lost < low:
		return "fewer"
	case lost <= high:
		return "fails"
	}
	return "beyond"
}

// LB-06: the pods are those of another network. The calls are in turn and the only ones: calls at the
// same time leave the waypoint with connections to several pods, and then it is luck who answers.
var RemoteEndpointIsPinnedBehindWaypoint = spec.Proves(behaviors.RemoteEndpointIsPinnedBehindWaypoint, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.BehindWaypoint, spec.OnlyIn(b), spec.Pods(3, b))
	direct := t.ServiceFor("direct", echo, spec.Global)

	var byPod map[string]int
	t.RecordOutcome("a client of "+a.Name, a.Client.HTTP(echo).InTurn(), func(os traffic.Outcomes) string {
		byPod = os.Workloads()
		if os.Count(traffic.Lost) > 0 {
			return "errors"
		}
		if through, _ := ViaOneWaypoint().Match(os); !through || os.Clusters()[b.Name] < len(os) {
			return ""
		}
		if len(byPod) == 1 {
			return "pinned"
		}
		return "spread"
	}, NoneAfter(10*time.Second))
	t.Observe("calls by pod: %v", byPod)

	t.Control(a.Client.HTTP(direct), FromPods(t.Pods(echo, b)...), WithoutWaypoint())
})

// LB-07: the client's network is preferred while a pod there is ready, however many the others
// have.
var TrafficDistributionKeepsTrafficInTheNetwork = spec.Proves(behaviors.TrafficDistributionKeepsTrafficInTheNetwork, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.DeployEcho("echo", spec.Global, spec.WithReadinessGates, spec.Pods(1, a), spec.Pods(2, others...))
	pods := t.Pods(echo, a)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })

	t.ApplyEverywhere(echo.PreferClose)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })

	t.SetReady(false, pods...)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(others...))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })

	t.SetReady(true, pods...)
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })

	t.ApplyEverywhere(echo.Object) // as it was
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
})

// LB-13: the pods of the other cluster, and there are no others.
var ChurnLosesNoRequests = spec.Proves(behaviors.ChurnLosesNoRequests, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, near := t.DeployEcho("far", spec.Global, spec.OnlyIn(b), spec.Pods(3, b)), t.Service("near")
	across, own, local := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(near)
	t.Given(across, AnsweredBy(b))

	seen := t.While(spec.PodsReplaced(b, far, 3), across, own, local)

	t.Expect(seen.Of(across), AtMost(1))
	t.Control(seen.Of(own), AtMost(1))
	t.Control(seen.Of(local), NoneLost())
	t.Expect(across, FromPods(t.Pods(far, b)...)) // the new ones
}, spec.Serial)

// LB-15: each call without a waypoint is a connection of its own to a pod. A waypoint keeps those it
// has, and sends requests on them, also to a pod that is no longer ready: that is luck (LB-06), and
// recorded.
var NotReadyPodsAreLeftOut = spec.Proves(behaviors.NotReadyPodsAreLeftOut, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	direct := t.DeployEcho("direct", spec.Global, spec.WithReadinessGates, spec.OnlyIn(b), spec.Pods(3, b))
	behind := t.ServiceFor("behind", direct, spec.Global, spec.BehindWaypoint)
	pods, across, through := t.Pods(direct, b), a.Client.HTTP(direct), a.Client.HTTP(behind)
	t.Control(across, FromPods(pods...))
	t.Control(through, AnsweredBy(b), ViaOneWaypoint())

	for _, ready := range pods[:2] {
		others := slices.DeleteFunc(slices.Clone(pods), func(p spec.Pod) bool { return p == ready })
		t.SetReady(true, ready)
		t.SetReady(false, others...)
		t.Expect(across, FromPods(ready))
		answers, err := a.Client.Do(t.Context(), through.Times(24).Call)
		t.NoError(err)
		t.Observe("through the waypoint of %s %d of %d requests were answered by pods that are not ready", a, answers.Count(
			func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && o.Workload != ready.Name }), len(answers))
		t.Control(b.Client.HTTP(direct), FromPods(ready))
		spec.Each(t, others, func(p spec.Pod) { t.Control(b.Client.Get(p.URL()), FromPods(p)) })
	}

	t.SetReady(true, pods...)
	t.Control(across, FromPods(pods...))
})
