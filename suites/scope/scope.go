// Package scope proves which services are visible to other clusters.
package scope

import (
	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
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

	lost := t.While(func() {
		echo.SetLocal(t.Clusters...)
		t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c)) })
	}, t.CallsFromEach(echo)...)

	// Two control planes withdraw the service in no promised order: a call that one of them still sends
	// may find the other's gateway closed. So losses are recorded and not judged.
	t.Observe("while the label was removed: %s", lost)
})

// SCOPE-07
var LocalScopeIsSourceOfTruth = spec.Proves(behaviors.LocalScopeIsSourceOfTruth, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo")
	all := func(*spec.Cluster) spec.Clusters { return t.Clusters }
	them := func(*spec.Cluster) spec.Clusters { return others }
	self := func(c *spec.Cluster) spec.Clusters { return spec.Clusters{c} }

	for _, row := range []struct {
		globalInA, globalInOthers bool
		answersA, answersOthers   func(client *spec.Cluster) spec.Clusters
		judge                     spec.Judge
	}{
		{true, true, all, all, t.Control},   // joined
		{true, false, self, self, t.Expect}, // only a's label
		{true, true, all, all, t.Control},   // joined again, so that the next row is a change
		{false, true, self, them, t.Expect}, // the others stay joined among themselves
		{true, true, all, all, t.Control},
		{false, false, self, self, t.Expect}, // no label at all
	} {
		echo.SetScope(row.globalInA, a)
		echo.SetScope(row.globalInOthers, others...)
		row.judge(a.Client.HTTP(echo), AnsweredBy(row.answersA(a)...))
		t.Each(others, func(c *spec.Cluster) { row.judge(c.Client.HTTP(echo), AnsweredBy(row.answersOthers(c)...)) })
	}
})

// SCOPE-09
var GatewayServesExactlyGlobalServices = spec.Proves(behaviors.GatewayServesExactlyGlobalServices, func(t *spec.T) {
	global, local := t.Service("global", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Control(gateway.Chains(), ChainFor(global.Host()))
		t.Control(gateway.Calls(global.Host()), ServedIn(c))
		t.Expect(gateway.Chains(), NoChainFor(local.Host()))
		t.Expect(gateway.Calls(local.Host()), RefusedByGateway())
	})

	global.SetLocal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Expect(gateway.Chains(), NoChainFor(global.Host()))
		t.Expect(gateway.Calls(global.Host()), RefusedByGateway())
	})
})
