// Package gateway proves the east-west gateway as a security boundary. Every refusal stands beside
// a call by the same ways that is served.
package gateway

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	security "istio.io/api/security/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/eastwest"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/peer"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// GW-01
var GatewayDropsPlaintext = spec.Proves(behaviors.GatewayDropsPlaintext, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		spec.Each(t, []spec.Subject{
			gateway.ReceivesHTTP(false),
			gateway.ReceivesHTTP(true),
			gateway.Receives("HTTP/1.1", []byte("GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")),
			gateway.Receives("an h2c preface", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
			gateway.Receives("an HTTP/1.1 CONNECT", []byte("CONNECT "+host+":80 HTTP/1.1\r\nHost: "+host+":80\r\n\r\n")),
			gateway.Receives("random bytes", bytes.Repeat([]byte{0xa7, 0x00, 0x5b, 0xff}, 64)),
		}, func(s spec.Subject) { t.ExpectAlways(s, Closed()) })
	})
})

// GW-02
var GatewayRequiresClientCertificate = spec.Proves(behaviors.GatewayRequiresClientCertificate, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		t.ExpectAlways(gateway.CallsAs("a client without a certificate", nil, host), RefusedForCertificate())
	})
})

// GW-03
var GatewayRefusesForeignCA = spec.Proves(behaviors.GatewayRefusesForeignCA, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		forged, err := eastwest.Forged(gateway.ID, t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
		t.NoError(err)
		t.ExpectAlways(gateway.CallsAs("the same identity, signed by a stranger,", forged, host), RefusedForCertificate())
	})
})

// GW-04: names that begin as the mesh's does, too, since identities are compared by their
// beginning.
var GatewayRefusesForeignTrustDomain = spec.Proves(behaviors.GatewayRefusesForeignTrustDomain, func(t *spec.T) {
	refusesFlaws(t, eastwest.OfTrustDomain("another.example"), eastwest.OfTrustDomain(t.TrustDomain()+".example"),
		eastwest.OfTrustDomain(t.TrustDomain()+"x"))
})

// GW-05
var GatewayRefusesBadCertificates = spec.Proves(behaviors.GatewayRefusesBadCertificates, func(t *spec.T) {
	refusesFlaws(t, eastwest.Expired, eastwest.NotYetValid, eastwest.NameOnly, eastwest.DNSNameOnly, eastwest.NoSPIFFE)
})

// GW-06
var GatewaySpeaksTLS13Only = spec.Proves(behaviors.GatewaySpeaksTLS13Only, func(t *spec.T) {
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, host string) {
		newest := gateway.CallsSpeaking("TLS 1.3", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS13 }, host)
		t.Control(newest, ServedIn(c))
		older := gateway.CallsSpeaking("TLS 1.2", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, host)
		t.ExpectAlways(older, RefusedInHandshake())
	})
})

// GW-07: what is asked for is a global service, and a local one in front of pods that would answer.
var GatewayALPN = spec.Proves(behaviors.GatewayALPN, func(t *spec.T) {
	local := t.Service("outside", spec.OutsideMesh)
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		spec.Each(t, [][]string{{"http/1.1"}, nil}, func(offer []string) {
			asked := func(host string) spec.Subject {
				return gateway.Hears(fmt.Sprintf("ALPN %v and an HTTP/1.1 CONNECT to %s", offer, host), func(c *tls.Config) { c.NextProtos = offer },
					"CONNECT "+host+":80 HTTP/1.1\r\nHost: "+host+":80\r\n\r\nGET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			}
			outcome := ""
			t.RecordAnswers(asked(host), func(os traffic.Outcomes) string { outcome = withoutH2(os); return outcome })
			t.RecordAnswers(asked(local.Host()), func(os traffic.Outcomes) string {
				if os.Count(func(o traffic.Outcome) bool { return strings.Contains(o.Detail, "Cluster=") }) > 0 {
					return "relay"
				}
				return outcome
			})
		})
	})
})

// withoutH2 names what becomes of a client that does not speak HTTP/2.
func withoutH2(os traffic.Outcomes) string {
	says := func(prefix string) func(traffic.Outcome) bool {
		return func(o traffic.Outcome) bool { return o.Kind == traffic.Other && strings.HasPrefix(o.Detail, prefix) }
	}
	for name, is := range map[string]func(traffic.Outcome) bool{
		"closed":    func(o traffic.Outcome) bool { return o.Kind == traffic.Reset },
		"silent":    func(o traffic.Outcome) bool { return o.Kind == traffic.TimedOut },
		"tunnel":    says("HTTP/1.1 2"),
		"forbidden": func(o traffic.Outcome) bool { return says("HTTP/1.1 4")(o) || says("HTTP/1.1 5")(o) },
	} {
		if os.Count(is) == len(os) {
			return name
		}
	}
	return ""
}

// GW-08
var GatewayRefusesSingleHBONE = spec.Proves(behaviors.GatewayRefusesSingleHBONE, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		t.ExpectAlways(gateway.SingleCalls(host), NotAnswered())
	})
})

// GW-13: every name and port that control plane and API server have, each in its own protocol.
var IstiodIsNotReachableThroughGateway = spec.Proves(behaviors.IstiodIsNotReachableThroughGateway, func(t *spec.T) {
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, _ string) {
		refuses(t, gateway, t.ControlPlanePorts(c))
	})
})

// GW-09: one in front of pods outside the mesh, too, which answer whoever reaches them.
var GatewayRefusesLocalServices = spec.Proves(behaviors.GatewayRefusesLocalServices, func(t *spec.T) {
	local, outside := t.Service("local"), t.Service("outside", spec.OutsideMesh)
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, _ string) {
		refuses(t, gateway, slices.Concat(local.Destinations(), outside.Destinations()))
	})

	local.SetGlobal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) { t.Control(t.Gateway(c).Calls(local.Host()), ServedIn(c)) })
})

// GW-10
var GatewayRefusesAddresses = spec.Proves(behaviors.GatewayRefusesAddresses, func(t *spec.T) {
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, _ string) {
		t.Control(c.Plain.Get(t.PlainServer(c)), AnsweredBy(c)) // one of these addresses, from inside
		refuses(t, gateway, t.Behind(gateway))
	})
})

// GW-11
var GatewayAndVirtualAddresses = spec.Proves(behaviors.GatewayAndVirtualAddresses, func(t *spec.T) {
	local, global := t.Service("local"), t.Service("global", spec.Global)
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, _ string) {
		t.Control(gateway.Calls(global.Host()), ServedIn(c))
		t.ExpectAlways(gateway.Asked(t.VirtualAddress(c, local)), NotExposed())
		t.ExpectAlways(gateway.Asked(t.VirtualAddress(c, global)), NotAnswered())
	})
})

// GW-12
var GatewayRefusesUnknownNames = spec.Proves(behaviors.GatewayRefusesUnknownNames, func(t *spec.T) {
	const udp, nobodys = fixture.UDPPort, 81
	known := t.Service("known", spec.Global, spec.WithUDP)
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, _ string) {
		t.Control(gateway.Calls(known.Host()), ServedIn(c))
		refuses(t, gateway, []spec.Destination{
			spec.To(t.Host(t.Name("nobody")), 80, eastwest.HBONE, "no such Service"),
			spec.To(t.HostIn("amc-nowhere", known.Name), 80, eastwest.HBONE, "no such namespace"),
			spec.To(strings.TrimSuffix(known.Host(), t.Domain())+"another.example", 80, eastwest.HBONE, "another domain"),
			spec.To(known.Host(), nobodys, eastwest.HBONE, "no such port"),
			spec.To(known.Host(), traffic.HTTP, eastwest.HBONE, "a port of the pods, not of the Service"),
			spec.To(known.Host(), udp, eastwest.HBONE, "a UDP port"),
			spec.To(known.Host(), udp, eastwest.HTTP, "a UDP port"),
		})
	})
})

// GW-14
var GatewaySurvivesOddRequests = spec.Proves(behaviors.GatewaySurvivesOddRequests, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		authority := host + ":80"
		get := eastwest.Fields(":method", "GET", ":scheme", "https", ":path", "/", ":authority", authority)
		connect := eastwest.Fields(":method", "CONNECT", ":authority", authority)
		spec.Each(t, []eastwest.Odd{
			{Says: "GET", Fields: get},
			{Says: "POST", Fields: eastwest.Fields(":method", "POST", ":scheme", "https", ":path", "/", ":authority", authority)},
			{Says: "CONNECT of an unknown protocol", Fields: slices.Concat(connect, get[1:3], eastwest.Fields(":protocol", "odd"))},
			{Says: "CONNECT of nothing", Fields: connect[:1]},
			{Says: "a request without a method", Fields: get[1:]},
			{Says: "CONNECT with ten thousand headers", Fields: slices.Concat(connect, eastwest.Many(10_000, 1))},
			{Says: "CONNECT with a header of a megabyte", Fields: slices.Concat(connect, eastwest.Many(1, 1<<20))},
			{Says: "a window larger than HTTP/2 has", Fields: connect, Settings: setting(http2.SettingInitialWindowSize, 1<<31)},
			{Says: "frames smaller than HTTP/2 has", Fields: connect, Settings: setting(http2.SettingMaxFrameSize, 1)},
		}, func(odd eastwest.Odd) { t.ExpectAlways(gateway.Requests(odd), RefusedByGateway()) })
	})
})

func setting(id http2.SettingID, value uint32) []http2.Setting {
	return []http2.Setting{{ID: id, Val: value}}
}

// GW-15
var GatewayOpensTwoPorts = spec.Proves(behaviors.GatewayOpensTwoPorts, func(t *spec.T) {
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, _ string) {
		t.ExpectAlways(gateway.OpenPorts(), NoneOpenBut(eastwest.Port, eastwest.HealthPort))
		spec.Each(t, gateway.Health("/healthz/ready"), func(health traffic.Calls) { t.Control(health, HaveStatus(http.StatusOK)) })
		spec.Each(t, []string{"/", "/stats", "/config_dump", "/clusters", "/server_info", "/debug"}, func(path string) {
			spec.Each(t, gateway.Health(path), func(other traffic.Calls) { t.ExpectAlways(other, HaveStatus(http.StatusNotFound)) })
		})
	})
})

// GW-16: a client outside the mesh that says the same without TLS shows that it would be seen.
// Other specs may say what they like, so this one runs alone.
var NamesAreNotSeenFromOutside = spec.Proves(behaviors.NamesAreNotSeenFromOutside, func(t *spec.T) {
	direct, behind := t.Service("direct", spec.Global), t.Service("behind", spec.Global, spec.BehindWaypoint)
	names, identities := t.Name(""), "spiffe://"+t.TrustDomain()+"/ns/"
	path := "/" + names + "path"
	seen := t.Sightings(names, identities)
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(c.Client.HTTP(direct).Path(path), AnsweredBy(t.Clusters...))
		t.Given(c.Client.HTTP(behind).Path(path), AnsweredBy(t.Clusters...), ViaOneWaypoint())
	})
	t.Still()
	for _, packets := range seen {
		t.Expect(packets, NoneCounted())
	}
	t.Still()

	t.EachCluster(func(c *spec.Cluster) {
		spec.Each(t, t.Gateway(c).InPlaintext(path+"?"+identities), func(calls traffic.Calls) {
			t.Control(calls, EndAs(traffic.Reset, traffic.TLSAlert, traffic.Other))
		})
	})
	for _, packets := range seen {
		t.Control(packets, SomeCounted())
	}
}, spec.Serial)

// GW-17: beside a policy on the pods that admits the waypoint alone, and without one.
var ForgedSourceHeader = spec.Proves(behaviors.ForgedSourceHeader, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	direct := t.ServiceFor("direct", echo, spec.Global)
	pods := echo.PodPolicy(security.AuthorizationPolicy_ALLOW, t.Principal(fixture.Waypoint))
	t.ApplyEverywhere(pods)
	echo.PutBehind(t.SharedWaypoint())
	probe := func(rest func(gateway *spec.Gateway)) {
		t.EachCluster(func(c *spec.Cluster) {
			gateway := t.Gateway(c)
			t.Control(gateway.Calls(echo.Host()), Forbidden())
			rest(gateway)
			t.Control(c.ClientB.HTTP(echo), AnsweredBy(t.Clusters...), ViaOneWaypoint())
		})
	}
	forged := func(gateway *spec.Gateway) spec.Subject {
		return gateway.CallsWithHeader("x-istio-source", "waypoint", echo.Host())
	}
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Control(gateway.Calls(echo.Host()), Served())
		t.Control(gateway.Calls(direct.Host()), NotAnswered())
	})

	t.ApplyEverywhere(echo.Deny(t.Principal(fixture.Client)))
	probe(func(gateway *spec.Gateway) {
		t.RecordAnswers(forged(gateway), func(os traffic.Outcomes) string { return bypass(os, "no-identity") })
	})

	t.DeleteEverywhere(pods)
	t.EachCluster(func(c *spec.Cluster) { t.Control(t.Gateway(c).Calls(direct.Host()), ServedIn(c)) })
	probe(func(gateway *spec.Gateway) {
		t.RecordAnswers(forged(gateway), func(os traffic.Outcomes) string { return bypass(os, "bypassed") })
	})
})

// bypass names what becomes of calls that a policy of a waypoint forbids; answered is the name for
// one that the application answers.
func bypass(os traffic.Outcomes, answered string) string {
	if os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Reached }) > 0 {
		return answered
	}
	return "enforced"
}

// GW-18
var InnerTunnelAuthenticatesToo = spec.Proves(behaviors.InnerTunnelAuthenticatesToo, func(t *spec.T) {
	besideServed(t, func(_ *spec.Cluster, gateway *spec.Gateway, host string) {
		forged, err := eastwest.Forged(gateway.ID, t.TrustDomain(), fixture.MeshNamespace, fixture.Client)
		t.NoError(err)
		t.ExpectAlways(gateway.CallsInside("a client without a certificate", nil, host), RefusedInside())
		t.ExpectAlways(gateway.CallsInside("the same identity, signed by a stranger,", forged, host), RefusedInside())
	})
})

// GW-20
var GatewayServesDoubleHBONE = spec.Proves(behaviors.GatewayServesDoubleHBONE, func(t *spec.T) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Expect(gateway.Calls(echo.Host()), ServedIn(c))
		t.Control(gateway.Calls(t.Host("nobody")), RefusedByGateway())
	})
})

// GW-21: to pods outside the mesh. What becomes of TLS for pods in it is observed: the gateway has
// only their HBONE port (docs/findings.md, F-14). The port of the mesh beside it keeps its rules.
var TLSPassthroughListener = spec.Proves(behaviors.TLSPassthroughListener, func(t *spec.T) {
	_, b := t.Clusters.Pair()
	echo, shown := t.Service("echo", spec.Global), t.Certificate()
	serving := func(word string, options ...spec.ServiceOption) *spec.Service {
		return t.DeployEcho(word, append(options, spec.OnlyIn(b), spec.WithTLS(shown))...)
	}
	inside, outside, unrouted := serving("inside"), serving("outside", spec.OutsideMesh), serving("unrouted", spec.OutsideMesh)
	passthrough := t.PassTLS(b)
	t.Control(passthrough.AtAddress(outside.Host()), ShowsNothing())

	passthrough.Route(inside)
	passthrough.Route(outside)
	t.Expect(passthrough.Handshakes(outside.Host()), ShowsCertificate(spec.Trusting(shown), outside.Host()))
	t.Expect(passthrough.Handshakes(unrouted.Host()), ShowsNothing())
	t.ObserveLook(passthrough.Handshakes(inside.Host()))

	meshed := t.Gateway(b)
	t.Control(meshed.Calls(echo.Host()), ServedIn(b))
	t.Expect(meshed.CallsAs("a client without a certificate", nil, echo.Host()), RefusedForCertificate())
	spec.Each(t, inside.Destinations(), func(d spec.Destination) { t.Expect(meshed.Asked(d), NotExposed()) })
})

// GW-22
var ListenersAreValidated = spec.Proves(behaviors.ListenersAreValidated, func(t *spec.T) {
	at, mode := t.Service("at"), gatewayapi.TLSModePassthrough
	passthrough := &gatewayapi.ListenerTLSConfig{Mode: &mode}
	t.EachCluster(func(c *spec.Cluster) {
		right := spec.Listener{Word: "right", Says: "nothing changed", Change: func(*gatewayapi.Listener) {}}
		t.Control(t.GatewayWith(c, right, at), ListenerAccepted())
		spec.Each(t, []spec.Listener{
			{Word: "http", Says: "protocol HTTP", Change: func(l *gatewayapi.Listener) { l.Protocol, l.TLS = gatewayapi.HTTPProtocolType, nil }},
			{Word: "tcp", Says: "protocol TCP", Change: func(l *gatewayapi.Listener) { l.Protocol, l.TLS = gatewayapi.TCPProtocolType, nil }},
			{Word: "port", Says: "another port", Change: func(l *gatewayapi.Listener) { l.Port++ }},
			{Word: "passed", Says: "TLS passed through", Change: func(l *gatewayapi.Listener) { l.TLS = passthrough }},
		}, func(wrong spec.Listener) { t.Expect(t.GatewayWith(c, wrong, at), ListenerRefused("HBONE")) })
	})
})

// GW-24
var GatewayDiscoveryConditions = spec.Proves(behaviors.GatewayDiscoveryConditions, func(t *spec.T) {
	_, b := t.Clusters.Pair()
	others := t.Clusters.Without(b)
	echo := t.Service("echo", spec.Global)
	joined := func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(joined)

	for _, lack := range []spec.GatewayLack{spec.WithoutNetwork, spec.OfOtherClass, spec.WithoutAddress, spec.WithoutTermination} {
		restore := t.TakeFromGateways(b, lack)
		t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(others...), NoneAfter(10*time.Second)) })
		joined(b)

		restore()
		t.EachCluster(joined)
	}
})

// GW-26: what is open may stay open as long as the gateway's pods live, so each move has a client that
// has not called before.
var GatewayAddressMayChange = spec.Proves(behaviors.GatewayAddressMayChange, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	far := t.DeployEcho("far", spec.Global, spec.OnlyIn(b))
	own, first, second := b.Client.HTTP(far), t.DeployClient(a, "first").HTTP(far), t.DeployClient(a, "second").HTTP(far)
	t.Given(a.Client.HTTP(far), AnsweredBy(b))

	back := t.MoveGateway(b)
	t.Expect(first, AnsweredBy(b))

	seen := t.While(t.IstiodAbsent(a, func() {
		back()
		t.Control(second, EndAs(traffic.Reset, traffic.Refused, traffic.TimedOut))
	}), own)
	t.Control(seen.Of(own), NoneLost())
	t.Expect(second, AnsweredBy(b))
})

// GW-27: a client of the spec's own, so that no tunnel of it is open yet. Tunnels of others would be
// counted, too, so this spec runs alone.
var OuterTunnelIsReused = spec.Proves(behaviors.OuterTunnelIsReused, func(t *spec.T) {
	const many = 60
	a, b := t.Clusters.Pair()
	far := t.DeployEcho("far", spec.Global, spec.OnlyIn(b))
	t.Given(a.Client.HTTP(far), AnsweredBy(b))
	caller := t.DeployClient(a, "caller")
	tunnels := t.Tunnels(b)

	answers, opened := t.CallAndCount(caller.HTTP(far).Times(many))

	t.Given(spec.Seen("the calls that were counted", answers), AnsweredBy(b))
	t.Expect(opened.By(b).AsDestination().FromWorkload(t.Name("caller")).To(far), AllMutualTLS(many))
	t.Expect(tunnels, CountedAtMost(many/10))
	t.Control(tunnels, SomeCounted())
}, spec.Serial)

// GW-28
var ManyConcurrentStreams = spec.Proves(behaviors.ManyConcurrentStreams, func(t *spec.T) {
	const many, bytes = 250, 1 << 10
	peers := t.DeployPeers("peer")
	t.EachCluster(func(c *spec.Cluster) {
		others := t.Clusters.Without(c)
		remote := t.ServiceFor("not-in-"+c.Name, peers.Service, spec.Global, spec.OnlyIn(others...))
		x := peer.Exchange{Up: bytes, Down: bytes}
		t.Given(peers.Exchange(c, remote, x), CarriedWhole(bytes, bytes), ServedFrom(others...))
		t.Expect(t.Once(peers.Together(c, remote, many, x)), CarriedWhole(bytes, bytes), ServedFrom(others...))
		t.Control(t.Once(peers.Together(c, peers.Service, many, x)), CarriedWhole(bytes, bytes), ServedFrom(c))
	})
})

// GW-29: services that differ in their pods or in their port. The same calls one after the other
// are the control.
var RightServiceUnderConcurrency = spec.Proves(behaviors.RightServiceUnderConcurrency, func(t *spec.T) {
	apps := []string{fixture.Echo, fixture.Client, fixture.ClientB}
	services := map[string]*spec.Service{}
	for _, app := range apps {
		services[app] = t.Service(app, spec.Global, spec.InFrontOf(app))
	}
	var kinds []traffic.Calls
	var from []string
	t.EachCluster(func(c *spec.Cluster) {
		spec.Each(t, apps, func(app string) { t.Given(c.Client.HTTP(services[app]), AnsweredBy(t.Clusters...)) })
	})
	for _, c := range t.Clusters {
		for _, app := range apps {
			kinds, from = append(kinds, c.Client.HTTP(services[app]), c.Client.TCP(services[app])), append(from, app, app)
		}
	}
	for i, seen := range t.Burst(kinds...) {
		t.Expect(seen, AnsweredBy(t.Clusters...), FromPodsOf(from[i]))
	}
	t.EachCluster(func(c *spec.Cluster) {
		spec.Each(t, apps, func(app string) { t.Control(c.Client.HTTP(services[app]), FromPodsOf(app)) })
	})
})

// GW-30: calls run all the time, so that gateways and waypoints ask for endpoints between the
// changes. Forty changes in a few seconds would cost the neighbors calls, so this spec runs alone.
var LabelsMayToggle = spec.Proves(behaviors.LabelsMayToggle, func(t *spec.T) {
	direct, behind := t.Service("direct"), t.Service("behind", spec.BehindWaypoint)
	serve := func(judge spec.Judge, by func(*spec.Cluster) spec.Clusters) {
		t.EachCluster(func(c *spec.Cluster) {
			judge(c.Client.HTTP(direct), AnsweredBy(by(c)...))
			judge(c.Client.HTTP(behind), AnsweredBy(by(c)...), ViaOneWaypoint())
		})
	}
	own := func(c *spec.Cluster) spec.Clusters { return spec.Clusters{c} }
	serve(t.Control, own)

	t.Together(
		func() { t.While(direct.Toggles(20), t.HTTPFromEach(direct)...) },
		func() { t.While(behind.Toggles(20), t.HTTPFromEach(behind)...) })
	for _, s := range []*spec.Service{direct, behind} {
		s.SetGlobal(t.Clusters...)
	}
	serve(t.Expect, func(*spec.Cluster) spec.Clusters { return t.Clusters })

	for _, s := range []*spec.Service{direct, behind} {
		s.SetLocal(t.Clusters...)
	}
	serve(t.Expect, own)
}, spec.Serial)

// GW-31: each cluster has endpoints of the service in the others, and none of its own.
var GatewayDoesNotForwardOnwards = spec.Proves(behaviors.GatewayDoesNotForwardOnwards, func(t *spec.T) {
	t.EachCluster(func(c *spec.Cluster) {
		others := t.OtherNetworks(c)
		far := t.Service("without-"+c.Name, spec.Global, spec.OnlyIn(others...))
		t.Given(c.Client.HTTP(far), AnsweredBy(others...))
		t.Each(others, func(o *spec.Cluster) { t.Control(t.Gateway(o).Calls(far.Host()), ServedIn(o)) })

		t.Expect(t.Gateway(c).Calls(far.Host()), RefusedByGateway())
	})
})

// GW-36: a service that becomes global after istiod's shows that the label has arrived.
var LabeledIstiodIsExposed = spec.Proves(behaviors.LabeledIstiodIsExposed, func(t *spec.T) {
	c, _ := t.Clusters.Split()
	gateway, version, later := t.Gateway(c), t.IstiodVersion(c), t.Service("later")
	t.Control(gateway.Asked(version), NotExposed())

	for _, s := range t.ControlPlaneServices(c) {
		t.SetLabelTemporarily(c, s, workload.LabelGlobal, "true")
	}
	later.SetGlobal(t.Clusters...)
	t.Given(gateway.Calls(later.Host()), ServedIn(c))

	outcome := ""
	t.RecordAnswers(gateway.Asked(version), func(os traffic.Outcomes) string { outcome = exposure(os); return outcome })
	t.RecordAnswers(gateway.AskedBy("a client without a certificate", nil, version), func(os traffic.Outcomes) string {
		if exposure(os) == "closed" {
			return outcome
		}
		return "anybody"
	})

	for _, s := range t.ControlPlaneServices(c) {
		t.SetLabel(spec.Clusters{c}, s, workload.LabelGlobal, "")
	}
	t.Expect(gateway.Asked(version), NotExposed())
})

// exposure names whether something behind a gateway answers.
func exposure(os traffic.Outcomes) string {
	answered := os.Count(func(o traffic.Outcome) bool {
		return o.Kind == traffic.Reached || o.Kind == traffic.Status || o.Kind == traffic.Other
	})
	switch answered {
	case len(os):
		return "exposed"
	case 0:
		return "closed"
	}
	return ""
}

// refusesFlaws shows a gateway certificates of the mesh's CA that are not as they should be, beside
// one that is.
func refusesFlaws(t *spec.T, flaws ...eastwest.Flaw) {
	besideServed(t, func(c *spec.Cluster, gateway *spec.Gateway, host string) {
		calls := func(f eastwest.Flaw) spec.Subject {
			return gateway.CallsAs("a certificate "+f.Says, t.Mint(gateway, f), host)
		}
		t.Control(calls(eastwest.Flawless), ServedIn(c))
		spec.Each(t, flaws, func(f eastwest.Flaw) { t.ExpectAlways(calls(f), RefusedForCertificate()) })
	})
}

// refuses asks a gateway, with a certificate of the mesh, for what it must not carry.
func refuses(t *spec.T, gateway *spec.Gateway, destinations []spec.Destination) {
	spec.Each(t, destinations, func(d spec.Destination) { t.ExpectAlways(gateway.Asked(d), NotExposed()) })
}

// besideServed makes attempts at the gateways of each cluster between two calls by the same ways
// that are served.
func besideServed(t *spec.T, attempts func(c *spec.Cluster, gateway *spec.Gateway, host string)) {
	echo := t.Service("echo", spec.Global)
	t.EachCluster(func(c *spec.Cluster) {
		gateway := t.Gateway(c)
		t.Control(gateway.Calls(echo.Host()), ServedIn(c))
		attempts(c, gateway, echo.Host())
		t.Control(gateway.Calls(echo.Host()), ServedIn(c))
	})
}

// GW-35: a policy on a Service is for waypoints. The calls go through the gateway twice over: to
// the only waypoint that is left, and from there to the pods of all clusters.
var GatewayAppliesNoServicePolicy = spec.Proves(behaviors.GatewayAppliesNoServicePolicy, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	waypoint := t.DeployWaypoint()
	echo.PutBehind(waypoint)
	t.ScaleWaypoint(a, waypoint, 0)
	allowed, forbidden := a.Client.HTTP(echo).Path("/ok"), a.Client.HTTP(echo).Path("/no")
	for _, calls := range []traffic.Calls{allowed, forbidden} {
		t.Control(calls, AnsweredBy(t.Clusters...), ViaWaypointOf(others...))
	}

	t.ApplyEverywhere(echo.AllowGet("/ok", t.Principal(fixture.Client)))

	t.Together( // a gateway that refuses all that is under a policy breaks both, and the promise is what counts
		func() { t.Control(forbidden, HaveStatus(403)) },
		func() { t.Expect(allowed, AnsweredBy(t.Clusters...), ViaWaypointOf(others...)) },
	)
	t.Each(others, func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(echo).Path("/ok"), AnsweredBy(t.Clusters...), ViaWaypointOf(c))
	})
})
