// Package resilience proves what failures and restarts cost.
package resilience

import (
	"slices"
	"time"

	"github.com/onsi/gomega/types"
	security "istio.io/api/security/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// RES-01: measured on the real mesh, no short call is lost, with one replica and with two.
var GatewayRollingRestart = spec.Proves(behaviors.GatewayRollingRestart, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	t.ScaleGateway(b, 2)
	t.Given(a.Client.HTTP(far), AnsweredBy(b))

	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	seen := t.While(spec.GatewayRestarts(b), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), AtMost(1))

	t.ScaleGateway(b, 0) // that these calls went through the gateway shows when it is gone
	t.Control(across, EndAs(traffic.Reset, traffic.Refused, traffic.TimedOut))
	t.Control(own, AnsweredBy(b))
})

// RES-02: nobody promises that a dead gateway is passed by. A local half of the pods goes on
// serving.
var DeadGatewayDrawsTraffic = spec.Proves(behaviors.DeadGatewayDrawsTraffic, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	calls := a.Client.HTTP(echo)
	t.Control(calls, AnsweredBy(t.Clusters...))

	up := t.ScaleGateway(b, 0)
	for _, c := range []*spec.Cluster{a, b} {
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	}
	t.RecordOutcome("clients of "+a.Name, calls.Times(CallsForShares), func(os traffic.Outcomes) string {
		lost := os.Count(traffic.Lost)
		_, most := ShareRange(len(os), 1/float64(len(t.Clusters)))
		switch {
		case lost == 0:
			return "withdrawn"
		case lost <= most:
			return "share-fails"
		}
		return "beyond"
	}, NoneAfter(10*time.Second))

	up()
	t.Expect(calls, AnsweredBy(t.Clusters...))
})

// RES-03: what is lost is in the cluster of that ztunnel, while there is none. It answers lookups, too,
// and a datagram that it has lost costs far more than one call: a client asks again after 5 s, and all
// its calls to that name wait for the one answer. So the share is counted of calls by address.
var NodeProxyRestart = spec.Proves(behaviors.NodeProxyRestart, func(t *spec.T) {
	const grace = 10 * time.Second
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across := a.Client.Get(t.URL(a, far))
	type calls struct{ byAddress, byName traffic.Calls }
	within := func(c *spec.Cluster) calls { return calls{c.Client.Get(t.URL(c, local)), c.Client.HTTP(local)} }
	near, beside := within(a), within(b)
	t.Given(across, AnsweredBy(b))

	for _, at := range []struct {
		of          *spec.Cluster
		near, other calls
	}{{a, near, beside}, {b, beside, near}} {
		for _, event := range []struct {
			spec.Event
			budgets []types.GomegaMatcher
		}{
			{spec.ZtunnelRestarts(at.of), []types.GomegaMatcher{AtMost(10), NoneAfter(grace)}},
			{spec.ZtunnelIsKilled(at.of), []types.GomegaMatcher{NoneAfter(grace)}},
		} {
			seen := t.While(event.Grace(grace), across, near.byAddress, near.byName, beside.byAddress, beside.byName)

			t.Control(seen.Of(at.other.byAddress), NoneLost())
			t.Control(seen.Of(at.other.byName), NoneLost())
			for _, row := range []traffic.Calls{across, at.near.byAddress} {
				t.Expect(seen.Of(row), event.budgets...)
			}
			t.Expect(seen.Of(at.near.byName), NoneAfter(grace))
		}
	}
})

// RES-04
var NodeLoss = spec.Proves(behaviors.NodeLoss, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far := t.DeployEcho("far", spec.Global, spec.OnlyIn(b), spec.Pods(2, b), spec.OnSeveralNodes)
	local, lost := t.Service("local"), t.NodeBeside(b)
	t.ScaleGateway(b, 2)
	var gone, left []spec.Pod
	for _, p := range t.Pods(far, b) {
		if p.Node == lost {
			gone = append(gone, p)
		} else {
			left = append(left, p)
		}
	}
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	t.Given(spec.Seen("the number of its pods on "+lost, len(gone)), Exactly(1))
	t.Given(spec.GatewayNodes(b), OneOfSeveral(lost))
	t.Given(spec.IstiodNodes(b), OtherThan(lost))
	t.Given(across, FromPods(slices.Concat(gone, left)...))

	seen := t.While(t.NodeAbsent(b, lost, func() {
		spec.Each(t, gone, func(p spec.Pod) {
			t.Control(b.Client.Get(p.URL()), EndAs(traffic.TimedOut, traffic.Reset, traffic.Refused))
		})
		t.Expect(across, FromPods(left...))
		t.Expect(own, FromPods(left...))
	}), across, near)

	t.Control(seen.Of(near), NoneLost())
	t.ObserveLook(seen.Of(across))
	t.Expect(across, FromPods(slices.Concat(gone, left)...))
})

// RES-05: what is open outlives certificates, and each call across networks is opened anew within its
// tunnel. A ztunnel that could not renew them tries again ever more seldom, every 180 s at last.
var IstiodGoneLongerThanCertificates = spec.Proves(behaviors.IstiodGoneLongerThanCertificates, func(t *spec.T) {
	const life = 40 * time.Second
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	t.SetZtunnelEnv(a, "SECRET_TTL", life.String())
	t.Given(across, AnsweredBy(b))
	escapes := t.Escapes()

	seen := t.While(t.IstiodAbsent(a, func() {
		gone := time.Now()
		t.Expect(across, AnsweredBy(b)) // they are renewed at half of it
		t.WaitUntil(gone.Add(life))
		t.Expect(across, EndAs(traffic.Reset))
		t.ObserveLook(near)
	}), own)

	t.Control(seen.Of(own), NoneLost())
	t.ExpectWithin(3*time.Minute, across, AnsweredBy(b))
	for _, e := range escapes {
		t.Expect(e, NoneCounted())
	}
})

// RES-13
var PowerCut = spec.Proves(behaviors.PowerCut, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, near, plain := a.Client.HTTP(far), a.Client.HTTP(local), strict(t, far, b)
	t.Given(across, AnsweredBy(b))

	seen := t.While(t.PowerCut(b, func() { t.ExpectAlways(plain, EndAs(traffic.Reset)) }), across, near)

	t.Control(seen.Of(near), NoneLost())
	t.Expect(across, AnsweredBy(b))
	t.Expect(b.Client.HTTP(far), AnsweredBy(b))
	t.ObserveLook(seen.Of(across))
})

// RES-14
var ReplacedSandbox = spec.Proves(behaviors.ReplacedSandbox, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, near, plain := a.Client.HTTP(far), b.Client.HTTP(local), strict(t, far, b)
	t.Given(across, AnsweredBy(b))

	refused := spec.Unanswered(plain, traffic.Reset, traffic.Refused, traffic.TimedOut)
	seen := t.While(t.SandboxesReplaced(b, far), across, near, refused)

	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(refused), NoneLost())
	t.ExpectAlways(plain, EndAs(traffic.Reset))
	t.Expect(across, AnsweredBy(b))
	t.Expect(b.Client.HTTP(far), AnsweredBy(b))
})

// strict lets the pods of a service refuse plaintext in one cluster, after it was answered. It returns
// the calls in plaintext.
func strict(t *spec.T, s *spec.Service, in *spec.Cluster) (plain traffic.Calls) {
	plain = in.Plain.HTTP(s)
	t.Apply(spec.Clusters{in}, s.PodMutualTLS(security.PeerAuthentication_MutualTLS_PERMISSIVE))
	t.Control(plain, AnsweredBy(in))
	t.Apply(spec.Clusters{in}, s.PodMutualTLS(security.PeerAuthentication_MutualTLS_STRICT))
	t.Given(plain, EndAs(traffic.Reset))
	return plain
}

// RES-06
var WaypointRestart = spec.Proves(behaviors.WaypointRestart, func(t *spec.T) {
	const grace = 10 * time.Second
	local, remotes := t.Clusters.Split()
	echo, direct := t.Service("echo", spec.Global), t.Service("direct", spec.Global)
	waypoint := t.DeployWaypoint()
	echo.PutBehind(waypoint)
	through, rows := local.Client.HTTP(echo), append(t.HTTPFromEach(echo), t.HTTPFromEach(direct)...)
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(c))
		t.Given(c.Client.HTTP(direct), AnsweredBy(t.Clusters...))
	})

	for _, event := range []spec.Event{spec.WaypointRestarts(local, waypoint), spec.WaypointIsKilled(local, waypoint)} {
		seen := t.While(event.Grace(grace), rows...)

		t.Each(remotes, func(c *spec.Cluster) { t.Control(seen.Of(c.Client.HTTP(echo)), NoneLost()) })
		t.EachCluster(func(c *spec.Cluster) { t.Control(seen.Of(c.Client.HTTP(direct)), NoneLost()) })
		t.Expect(seen.Of(through), NoneAfter(grace))
		t.Expect(seen.Answers(through), ViaOneWaypoint())
		t.Expect(through, AnsweredBy(t.Clusters...), ViaWaypointOf(local))
	}

	t.EachCluster(func(c *spec.Cluster) { t.ScaleWaypoint(c, waypoint, 0) })
	t.Control(through, EndAs(traffic.Reset))
})

// RES-07: a pod that is captured refuses plaintext under STRICT. One that cannot start while
// istio-cni is away starts later, which costs nothing: the old ones serve until then.
var NewPodsDuringCNIRestart = spec.Proves(behaviors.NewPodsDuringCNIRestart, func(t *spec.T) {
	a, _ := t.Clusters.Pair()
	echo := t.DeployEcho("echo")
	captured, plain := a.Client.HTTP(echo), strict(t, echo, a)

	refused := spec.Unanswered(plain, traffic.Reset, traffic.Refused)
	seen := t.While(spec.AtOnce(spec.CNIRestarts(a), spec.PodsReplaced(a, echo, 3)), captured, refused)

	t.Control(seen.Of(captured), NoneLost())
	t.Expect(seen.Of(refused), NoneLost())
	t.Expect(plain, EndAs(traffic.Reset))
})

// RES-08: what prefers the close ones needs no other network while one of them is ready.
var Partition = spec.Proves(behaviors.Partition, func(t *spec.T) {
	const healed = 30 * time.Second
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	near, both := t.Service("near", spec.Global), t.Service("both", spec.Global)
	t.ApplyEverywhere(near.PreferClose)
	across, own, mixed := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(both)
	t.Given(across, AnsweredBy(b))
	t.Given(mixed, AnsweredBy(t.Clusters...))
	alone := append(t.HTTPFromEach(local), t.HTTPFromEach(near)...)

	seen := t.While(t.CutOff(b, func() {
		t.Control(across, EndAs(traffic.TimedOut, traffic.Reset, traffic.Refused))
	}).Grace(healed), append(alone, own, mixed, across)...)

	for _, row := range alone {
		t.Expect(seen.Of(row), NoneLost())
	}
	t.Control(seen.Of(own), NoneLost())
	t.Expect(seen.Of(across), NoneAfter(healed))
	t.Expect(across, AnsweredBy(b))
	t.Expect(mixed, AnsweredBy(t.Clusters...))
	t.ObserveLook(seen.Of(mixed))
})
