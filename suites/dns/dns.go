// Package dns proves what names and virtual addresses do across clusters.
package dns

import (
	"time"

	"github.com/onsi/gomega"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// DNS-02: nothing may leave the fleet for an address that is the other cluster's.
var RemoteOnlyServiceHasNoName = spec.Proves(behaviors.RemoteOnlyServiceHasNoName, func(t *spec.T) {
	recordWithoutService(t, func(spec.Clusters, *spec.Service) {})
})

// DNS-03: what a ServiceEntry of the same host does. That the Service does it is the control.
var ServiceEntryIsNoStub = spec.Proves(behaviors.ServiceEntryIsNoStub, func(t *spec.T) {
	recordWithoutService(t, func(in spec.Clusters, s *spec.Service) { t.Apply(in, s.Entry) })
})

// recordWithoutService records what becomes of calls to a service that only another cluster serves,
// once the client's has no Service for it but what is put in its place. No packet may leave the
// fleet for them: the other cluster's virtual address is nobody's here.
func recordWithoutService(t *spec.T, put func(in spec.Clusters, s *spec.Service)) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.OnlyIn(b))
	calls := a.Client.HTTP(echo)
	t.Control(calls, AnsweredBy(b))

	t.Delete(spec.Clusters{a}, echo.Object)
	put(spec.Clusters{a}, echo)
	escapes := t.Escapes()
	t.RecordOutcome("a client of "+a.Name, calls, func(os traffic.Outcomes) string {
		switch n := len(os); n {
		case os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.NoSuchHost }):
			return "no-address"
		case os.Count(traffic.Lost):
			return "no-endpoints"
		case os.Clusters()[b.Name]:
			return "works"
		}
		return ""
	}, NoneAfter(10*time.Second))
	for _, e := range escapes {
		t.Expect(e, NoneCounted())
	}
	t.Control(b.Client.HTTP(echo), AnsweredBy(b))
}

// DNS-01: what becomes of a name without a Service is DNS-02's. Here it only must not be answered
// while its neighbor, made in the same way, is.
var ServiceMustExistInClientCluster = spec.Proves(behaviors.ServiceMustExistInClientCluster, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.OnlyIn(b)) // in a: the Service without pods
	local := t.ServiceFor("local", echo)                      // the same, but not global
	t.Control(b.Client.HTTP(local), AnsweredBy(b))
	t.Control(a.Client.HTTP(local), EndAs(traffic.Reset, traffic.Refused))

	t.Expect(a.Client.HTTP(echo), AnsweredBy(b))
	t.Expect(b.Client.HTTP(echo), AnsweredBy(b))
})

// DNS-04: calls to the name show that its one address leads to all clusters.
var AnswersAreLocalAddresses = spec.Proves(behaviors.AnswersAreLocalAddresses, func(t *spec.T) {
	peers, echo := t.DeployPeers("peer"), t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		own := t.Addresses(c, echo)
		for _, other := range t.Clusters.Without(c) {
			t.Given(peers.Lookup(other, echo), gomega.Not(Resolves(own...)))
		}
		t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Expect(peers.Lookup(c, echo), Resolves(own...))
	})
})
