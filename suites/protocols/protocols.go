// Package protocols proves that application protocols survive the double tunnel: against a service
// that only the other clusters serve, and against a local one as control.
package protocols

import (
	"fmt"
	"strings"
	"time"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/peer"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// TRF-01
var HTTP1CrossesClusters = spec.Proves(behaviors.HTTP1CrossesClusters, func(t *spec.T) {
	hereAndThere(t, func(judge spec.Judge, c *spec.Cluster, s *spec.Service, in spec.Clusters) {
		get := "GET / HTTP/1.1\r\nHost: " + s.Host() + "\r\n"
		post := "POST / HTTP/1.1\r\nHost: " + s.Host() + "\r\nContent-Type: application/x-www-form-urlencoded\r\n"
		const last, form = "Connection: close\r\n\r\n", "headers=x-form:arrived" // the server sends the header back
		big := strings.Repeat("h", 60<<10)
		for _, x := range []struct {
			name     string
			requests []string
			answers  int
			contains string
		}{
			{"a kept connection", []string{get + "\r\n", get + "\r\n", get + "\r\n", get + last}, 4, "HTTP/1.1 200 OK"},
			{"a chunked body with a trailer", []string{post + "Transfer-Encoding: chunked\r\nTrailer: X-After\r\n\r\n" +
				"8\r\nheaders=\r\ne\r\nx-form:arrived\r\n0\r\nX-After: said\r\n\r\n", get + last}, 2, "x-form: arrived"},
			{"100-continue", []string{
				post + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(form), form), get + last}, 2, "x-form: arrived"},
			{"HEAD", []string{"HEAD / HTTP/1.1\r\nHost: " + s.Host() + "\r\n\r\n", get + last}, 1, "HTTP/1.1 200 OK"},
		} {
			judge(c.Client.Written(s, x.requests...), AnsweredBy(in...), EachAnswer("to be right for "+x.name, func(o traffic.Outcome) bool {
				return strings.Count(o.Detail, "Hostname="+o.Workload) == x.answers && strings.Contains(o.Detail, x.contains)
			}))
		}
		judge(c.Client.HTTP(s).Header("X-Big", big), AnsweredBy(in...), EachAnswer("to have carried 60 KiB of header",
			func(o traffic.Outcome) bool { return o.Request.Get("X-Big") == big }))
		judge(c.Client.HTTP(s).Query("delay=3s").Within(15*time.Second), HaveStatus(200))
		judge(c.Client.HTTP(s).Query("codes=418"), HaveStatus(418)) // an error of the application comes through
	})
})

// TRF-02
var HTTP2AndGRPCCrossClusters = spec.Proves(behaviors.HTTP2AndGRPCCrossClusters, func(t *spec.T) {
	hereAndThere(t, func(judge spec.Judge, c *spec.Cluster, s *spec.Service, in spec.Clusters) {
		judge(c.Client.HTTP(s).HTTP2(), AnsweredBy(in...), EachAnswer("to have arrived as HTTP/2.0",
			func(o traffic.Outcome) bool { return o.Protocol == "HTTP/2.0" }))
		judge(c.Client.GRPC(s), AnsweredBy(in...))
		judge(c.Client.HTTP(s).HTTP2().Query("delay=3s").Within(15*time.Second), HaveStatus(200))
		// ztunnel balances connections, not requests: one channel stays with one pod.
		judge(c.Client.GRPC(s).OnOneConnection(500), FromOneOf(in...), FromOnePod())
		judge(c.Client.HTTP(s).HTTP2().OnOneConnection(200), FromOneOf(in...), FromOnePod())
	})
})

// TRF-04
var ServerFirstTCPCrossesClusters = spec.Proves(behaviors.ServerFirstTCPCrossesClusters, func(t *spec.T) {
	hereAndThere(t, func(judge spec.Judge, c *spec.Cluster, s *spec.Service, in spec.Clusters) {
		judge(c.Client.ServerFirst(s), AnsweredBy(in...))
	})
	// On the port whose server waits for the client, a client that waits for the banner waits in vain.
	local := t.Service("waits")
	t.EachCluster(func(c *spec.Cluster) {
		t.Control(c.Client.TCP(local).AwaitBanner().Within(time.Second).Times(2), EndAs(traffic.TimedOut))
	})
})

// TRF-05
var HalfCloseCrossesClusters = spec.Proves(behaviors.HalfCloseCrossesClusters, func(t *spec.T) {
	between(t, func(judge spec.Judge, c *spec.Cluster, peers *spec.Peers, to *spec.Service, from types.GomegaMatcher) {
		const up, down = 1 << 20, 1 << 10
		for _, serverFirst := range []bool{false, true} {
			judge(peers.Exchange(c, to, peer.Exchange{ServerFirst: serverFirst, Up: up, Down: down}), CarriedWhole(up, down), from)
		}
	})
})

// TRF-06: the client trusts the certificate that the application shows, and no other.
var ApplicationTLSIsEndToEnd = spec.Proves(behaviors.ApplicationTLSIsEndToEnd, func(t *spec.T) {
	own, another := t.Certificate(), t.Certificate()
	t.EachCluster(func(c *spec.Cluster) {
		others := t.Clusters.Without(c)
		local := t.DeployEcho("in-"+c.Name, spec.OnlyIn(c), spec.WithTLS(own))
		remote := t.DeployEcho("not-in-"+c.Name, spec.Global, spec.OnlyIn(others...), spec.WithTLS(own))
		t.Control(c.Client.HTTPS(local, own.Cert), AnsweredBy(c))
		t.Expect(c.Client.HTTPS(remote, own.Cert), AnsweredBy(others...))
		t.Control(c.Client.HTTPS(remote, another.Cert), EachAnswer("to show a certificate that the client does not trust",
			func(o traffic.Outcome) bool {
				return strings.Contains(o.Detail, "certificate signed by unknown authority")
			}))
	})
})

// TRF-07: the same service by TCP is the control.
var UDPIsNotCaptured = spec.Proves(behaviors.UDPIsNotCaptured, func(t *spec.T) {
	const bytes = 1 << 10
	peers := t.DeployPeers("peer")
	escapes := t.Escapes()
	t.EachCluster(func(c *spec.Cluster) {
		others := t.Clusters.Without(c)
		local := t.ServiceFor("in-"+c.Name, peers.Service, spec.OnlyIn(c), spec.WithUDP)
		remote := t.ServiceFor("not-in-"+c.Name, peers.Service, spec.Global, spec.OnlyIn(others...), spec.WithUDP)
		t.Control(peers.Datagrams(c, local), AnsweredBy(c))
		t.Control(peers.Exchange(c, remote, peer.Exchange{Up: bytes, Down: bytes}), CarriedWhole(bytes, bytes), ServedFrom(others...))
		t.RecordOutcome("datagrams of a client in "+c.Name, peers.Datagrams(c, remote), func(os traffic.Outcomes) string {
			switch by := os.Clusters(); {
			case len(by) == 0:
				return "local-only"
			case by[c.Name] == 0:
				return "leaves"
			}
			return ""
		})
	})
	for _, e := range escapes {
		t.Expect(e, NoneCounted())
	}
})

// TRF-08
var LargePayloads = spec.Proves(behaviors.LargePayloads, func(t *spec.T) {
	between(t, func(judge spec.Judge, c *spec.Cluster, peers *spec.Peers, to *spec.Service, from types.GomegaMatcher) {
		judge(peers.Exchange(c, to, peer.Exchange{Up: 1, Down: 1}), CarriedWhole(1, 1), from)
		for _, x := range []peer.Exchange{
			{Up: 64 << 20, Down: 64 << 20},
			{Up: 10_000, Down: 10_000, Write: 1},
		} {
			judge(t.Once(peers.Exchange(c, to, x)), CarriedWhole(x.Up, x.Down), from)
		}
	})
})

// TRF-09: what is written to a connection that leads nowhere is lost without a word, so all of it must
// arrive in the end. The gateway that a connection passes through can end it: that is the control.
var LongLivedConnections = spec.Proves(behaviors.LongLivedConnections, func(t *spec.T) {
	const life, lasting = 40 * time.Second, 75 * time.Second // a gateway drains what it replaces for 45 s
	a, b := t.Clusters.Pair()
	peers, local := t.DeployPeers("peer"), t.Service("local")
	far := t.ServiceFor("far", peers.Service, spec.Global, spec.OnlyIn(b))
	t.EachCluster(func(c *spec.Cluster) { t.SetZtunnelEnv(c, "SECRET_TTL", life.String()) })
	t.Given(peers.Exchange(a, far, peer.Exchange{Up: 1, Down: 1}), CarriedWhole(1, 1), ServedFrom(b))

	begun := time.Now()
	open := peers.Connect(a, far, lasting)
	t.Control(open, StaysOpen())
	other := t.Service("other", spec.Global)
	t.Control(a.Client.HTTP(other), AnsweredBy(t.Clusters...))
	t.RemoteSecret(a, b).Rotate()
	t.RemoteSecret(b, a).Rotate()
	near := a.Client.HTTP(local)
	seen := t.While(spec.AtOnce(spec.IstiodRestarts(a), spec.IstiodRestarts(b)), near)
	t.Control(seen.Of(near), NoneLost())
	t.WaitUntil(begun.Add(life)) // certificates are renewed at half of their life
	t.ExpectWithin(lasting, open, CarriedWhole(spec.Beats(lasting), 1), ServedFrom(b))

	cut := peers.Connect(a, far, lasting)
	t.Control(cut, StaysOpen())
	t.ScaleGateway(b, 0)
	t.Control(cut, CutOff())
})

// TRF-17: a connection within the cluster passes no gateway. It runs alone, for where the promise is
// broken every spec's connections through the gateways are cut.
var PortsOfOtherServices = spec.Proves(behaviors.PortsOfOtherServices, func(t *spec.T) {
	const port, lasting = 8123, 75 * time.Second // no Service has this one; a gateway drains for 45 s
	a, b := t.Clusters.Pair()
	peers := t.DeployPeers("peer")
	far, near := t.ServiceFor("far", peers.Service, spec.Global, spec.OnlyIn(b)), t.ServiceFor("near", peers.Service)
	t.Given(peers.Exchange(a, far, peer.Exchange{Up: 1, Down: 1}), CarriedWhole(1, 1), ServedFrom(b))

	across, within := peers.Connect(a, far, lasting), peers.Connect(a, near, lasting)
	t.Control(across, StaysOpen())
	other := t.Service("other", spec.Global, spec.WithNamedPort(port))
	t.Control(a.Client.Get(fmt.Sprintf("http://%s:%d/", other.Host(), port)), AnsweredBy(t.Clusters...))
	t.ExpectWithin(lasting, across, CarriedWhole(spec.Beats(lasting), 1), ServedFrom(b))
	t.Control(within, CarriedWhole(spec.Beats(lasting), 1), ServedFrom(a))
}, spec.Serial)

// TRF-15
var AbortsPropagate = spec.Proves(behaviors.AbortsPropagate, func(t *spec.T) {
	between(t, func(judge spec.Judge, c *spec.Cluster, peers *spec.Peers, to *spec.Service, from types.GomegaMatcher) {
		judge(peers.Exchange(c, to, peer.Exchange{ServerFirst: true, Down: much, ResetAfter: some}), BrokenOff(promptly), from)
		judge(peers.Exchange(c, to, peer.Exchange{Up: much, ResetAfter: some}), BrokenOff(promptly), from)
		judge(peers.Download(c, to, much, some), BrokenOff(promptly), from)
	})
})

// What an end that resets a connection in the middle is sent: more than all buffers between the ends
// hold, so that the other end is sending when it has to notice.
const much, some, promptly = 64 << 20, 1 << 20, 2 * time.Second

// TRF-16: the waypoint is the spec's own, for what is lost stays in it. Beside other specs a neighbor's
// change could have cost a transfer.
var AbortsPropagateThroughWaypoints = spec.Proves(behaviors.AbortsPropagateThroughWaypoints, func(t *spec.T) {
	const many = 24
	waypoint, peers := t.DeployWaypoint(), t.DeployPeers("peer")
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(peers.Download(c, peers.Service, some, 0), CarriedWhole(0, some), ServedFrom(c))
		t.Control(t.Once(peers.Download(c, peers.Service, much, some).Times(many)), BrokenOff(promptly), ServedFrom(c))
		others := t.Clusters.Without(c)
		through := func(to *spec.Service, from types.GomegaMatcher) {
			to.UseWaypoint(waypoint)
			t.Control(peers.Download(c, to, some, 0), CarriedWhole(0, some), from)
			t.Expect(t.Once(peers.Download(c, to, much, some).Times(many)), BrokenOff(promptly), from)
			t.Expect(peers.Download(c, to, some, 0), CarriedWhole(0, some), from) // nobody else is held up
		}
		through(t.ServiceFor("not-in-"+c.Name, peers.Service, spec.Global, spec.OnlyIn(others...)), ServedFrom(others...))
		through(t.ServiceFor("in-"+c.Name, peers.Service, spec.OnlyIn(c)), ServedFrom(c))
	})
}, spec.Serial)

// between judges connections between peers: as expectations to servers in the other clusters only, as
// controls to one that is local.
func between(t *spec.T, connections func(judge spec.Judge, c *spec.Cluster, p *spec.Peers, to *spec.Service, from types.GomegaMatcher)) {
	peers := t.DeployPeers("peer")
	t.EachCluster(func(c *spec.Cluster) {
		others := t.Clusters.Without(c)
		remote := t.ServiceFor("not-in-"+c.Name, peers.Service, spec.Global, spec.OnlyIn(others...))
		connections(t.Control, c, peers, peers.Service, ServedFrom(c))
		connections(t.Expect, c, peers, remote, ServedFrom(others...))
	})
}

// hereAndThere judges calls of each cluster's client: as expectations to a service that has pods in
// the other clusters only, as controls to one that is local.
func hereAndThere(t *spec.T, calls func(judge spec.Judge, c *spec.Cluster, s *spec.Service, in spec.Clusters)) {
	t.EachCluster(func(c *spec.Cluster) {
		others := t.Clusters.Without(c)
		local, remote := t.Service("in-"+c.Name), t.DeployEcho("not-in-"+c.Name, spec.Global, spec.OnlyIn(others...))
		t.Together(
			func() { calls(t.Expect, c, remote, others) },
			func() { calls(t.Control, c, local, spec.Clusters{c}) },
		)
	})
}
