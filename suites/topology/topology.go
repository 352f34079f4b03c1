// Package topology proves what holds for more gateways, networks and clusters than two of each.
package topology

import (
	"fmt"
	"slices"
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// TOP-01: the last cluster is removed from the others. What it knows of them does not matter.
var ThreeClusters = spec.Proves(behaviors.ThreeClusters, func(t *spec.T) {
	_, b := t.Clusters.Pair()
	last, rest := t.Clusters.Last()
	others := t.Clusters.Without(b)
	echo, local := t.DeployEcho("echo", spec.Global, spec.Pods(2, b), spec.Pods(1, others...)), t.Service("local")
	pods := map[*spec.Cluster]int{b: 2}
	for _, c := range others {
		pods[c] = 1
	}
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(t.Gateways(c), OneProgrammed())
		t.Expect(spec.RemoteClusters(c), AllSynced(c, t.Clusters...))
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Expect(c.Client.HTTP(echo), InProportion(pods))
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})

	secrets := t.RemoteSecretsOf(last)
	secrets.Delete()
	t.Each(rest, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(rest...)) })
	t.Control(last.Client.HTTP(echo), AnsweredBy(t.Clusters...))

	secrets.Add()
	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
})

// TOP-02: services with pods in one cluster show which ways there are, one with pods in all shows who
// is chosen.
var TwoClustersOnOneNetwork = spec.Proves(behaviors.TwoClustersOnOneNetwork, func(t *spec.T) {
	local, everywhere := t.Service("local"), t.Service("everywhere", spec.Global)
	record := func(c *spec.Cluster, s *spec.Service, by spec.Clusters) {
		who := fmt.Sprintf("a client in %s on %s, pods in %s on %s", c.Name, c.Network, by.Names(), by.Networks())
		t.RecordOutcome(who, c.Client.HTTP(s), func(os traffic.Outcomes) string { return served(os, s.App, by) })
	}
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
		record(c, everywhere, t.Clusters)
	})
	for _, b := range t.Clusters {
		far, others := t.Service("only-in-"+b.Name, spec.Global, spec.OnlyIn(b)), t.Clusters.Without(b)
		t.Control(b.Client.HTTP(far), AnsweredBy(b))
		t.Each(others, func(a *spec.Cluster) { record(a, far, spec.Clusters{b}) })
		for _, a := range others {
			os, counted := t.CallAndCount(a.Client.HTTP(far).Times(24))
			t.Expect(counted.By(b).AsDestination().FromAccount(t, fixture.Client).To(far), AllMutualTLS(os.Clusters()[b.Name]))
		}
	}
})

// served names what becomes of calls to a service that has pods in some clusters.
func served(os traffic.Outcomes, app string, by spec.Clusters) string {
	lost := os.Count(traffic.Lost)
	stranger := func(o traffic.Outcome) bool {
		return o.Kind == traffic.Reached && !(o.FromPodOf(app) && slices.Contains(by.Names(), o.Cluster))
	}
	switch {
	case os.Count(stranger) > 0:
		return "stranger"
	case lost == len(os):
		return "fails"
	case lost > 0:
		return "partly-served"
	case len(os.Clusters()) < len(by):
		return "served-by-some"
	}
	return "served"
}

// TOP-04: measured on the real mesh, a gateway that is killed costs no call that begins 5 s later.
var ReplicatedGateway = spec.Proves(behaviors.ReplicatedGateway, func(t *spec.T) {
	const grace = 5 * time.Second
	a, b := t.Clusters.Pair()
	far, local := t.DeployEcho("far", spec.Global, spec.OnlyIn(b)), t.Service("local")
	across, own, near := a.Client.HTTP(far), b.Client.HTTP(far), a.Client.HTTP(local)
	t.ScaleGateway(b, 2)
	t.Given(t.Gateways(b), Replicas(2))
	t.Expect(t.Gateway(b).Calls(far.Host()), ServedIn(b))
	t.Given(across, AnsweredBy(b))

	seen := t.While(spec.GatewayReplicaIsKilled(b).Grace(grace), across, own, near)

	t.Control(seen.Of(own), NoneLost())
	t.Control(seen.Of(near), NoneLost())
	t.Expect(seen.Of(across), NoneAfter(grace))

	t.ScaleGateway(b, 0) // that these calls went through the gateway shows when it is gone
	t.Control(across, EndAs(traffic.Reset, traffic.Refused, traffic.TimedOut))
	t.Control(own, AnsweredBy(b))
})

// TOP-03: nobody is sent to a gateway without a network, as if it were deleted.
var SeveralGatewaysInOneNetwork = spec.Proves(behaviors.SeveralGatewaysInOneNetwork, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far := t.DeployEcho("far", spec.Global, spec.OnlyIn(b))
	across, own := a.Client.HTTP(far), b.Client.HTTP(far)
	t.Given(across, AnsweredBy(b))

	gateways := t.AddGateway(b)
	use := func(lost string, of ...string) func(traffic.Outcomes) string {
		return func(os traffic.Outcomes) string {
			used := gateways.Used()
			switch {
			case os.Count(traffic.Lost) > 0:
				return lost
			case len(used) == 1 && slices.Contains(of, used[0]):
				return "one"
			case len(used) == len(gateways.Names()):
				return "all"
			}
			return ""
		}
	}
	t.RecordOutcome("a client of "+a.Name+", with all gateways", across, use("", gateways.Names()...))
	for _, name := range gateways.Names() {
		restore := gateways.Only(name)
		t.RecordOutcome("a client of "+a.Name+", with "+name+" only", across, use("errors", name), NoneAfter(10*time.Second))
		t.Control(own, AnsweredBy(b))
		restore()
	}
	t.Control(across, AnsweredBy(b))
})

// TOP-05: each cluster that stays calls a service of the others that stay.
var ClustersComeAndGo = spec.Proves(behaviors.ClustersComeAndGo, func(t *spec.T) {
	last, rest := t.Clusters.Last()
	echo, secrets := t.Service("echo", spec.Global), t.RemoteSecretsOf(last)
	var rows []spec.Row
	for _, c := range rest {
		others := rest.Without(c)
		row := c.Client.HTTP(t.Service("far-from-"+c.Name, spec.Global, spec.OnlyIn(others...)))
		t.Given(row, AnsweredBy(others...))
		rows = append(rows, row)
	}
	for _, x := range []struct {
		says   string
		change func()
		serve  spec.Clusters
	}{
		{"removed from the others", secrets.Delete, rest},
		{"added to the others", secrets.Add, t.Clusters},
	} {
		seen := t.While(spec.Change(last.Name+" is "+x.says, x.change), rows...)

		for _, row := range rows {
			t.Expect(seen.Of(row), NoneLost())
		}
		t.Each(rest, func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(x.serve...)) })
	}
})
