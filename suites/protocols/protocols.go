// Package protocols proves that application protocols survive the double tunnel.
package protocols

import (
	"strings"
	"time"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// TRF-01
var HTTP1CrossesClusters = spec.Proves(behaviors.HTTP1CrossesClusters, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	big := strings.Repeat("h", 60<<10)
	carried := EachAnswer("to have carried 60 KiB of header", func(o traffic.Outcome) bool { return o.Request.Get("X-Big") == big })
	byServer := EachAnswer("to come from an echo server", func(o traffic.Outcome) bool { return o.Kind == traffic.Reached })
	t.EachCluster(func(c *spec.Cluster) {
		all := AnsweredBy(t.Clusters...)
		t.Expect(c.Client.HTTP(echo), all, arrivedAs("HTTP/1.1"))
		t.Expect(c.Client.HTTP(echo).Post(), all)
		t.Expect(c.Client.HTTP(echo).Header("X-Big", big), all, carried)
		t.Expect(c.Client.HTTP(echo).Query("delay=300ms"), all)
		// An error of the application is its own: it must come through, and not become a failure of the mesh.
		t.Control(c.Client.HTTP(echo).Query("codes=418").Times(SpreadOver(len(t.Clusters))), HaveStatus(418), byServer)
	})
})

// TRF-02
var HTTP2AndGRPCCrossClusters = spec.Proves(behaviors.HTTP2AndGRPCCrossClusters, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo).HTTP2(), AnsweredBy(t.Clusters...), arrivedAs("HTTP/2.0"))
		t.Expect(c.Client.GRPC(echo), AnsweredBy(t.Clusters...))
		// ztunnel balances connections, not requests: one channel stays with one pod.
		t.Control(c.Client.GRPC(echo).OnOneConnection(500), FromOnePod())
		t.Control(c.Client.HTTP(echo).HTTP2().OnOneConnection(200), FromOnePod())
	})
})

// TRF-04
var ServerFirstTCPCrossesClusters = spec.Proves(behaviors.ServerFirstTCPCrossesClusters, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	soon := EachAnswer("to come within a second", func(o traffic.Outcome) bool { return o.Took < time.Second })
	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.ServerFirst(echo), AnsweredBy(t.Clusters...), soon)
		// On the port whose server waits for the client, a client that waits for the banner waits in vain.
		t.Control(c.Client.TCP(echo).AwaitBanner().Within(time.Second).Times(2), EndAs(traffic.TimedOut))
	})
}, spec.Serial)

func arrivedAs(protocol string) Matcher {
	return EachAnswer("to have arrived as "+protocol, func(o traffic.Outcome) bool { return o.Protocol == protocol })
}
