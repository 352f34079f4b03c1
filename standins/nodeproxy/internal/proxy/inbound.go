package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/rbac"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// inbound serves an HBONE connection to the pod.
func (p *Pod) inbound(c net.Conn) {
	defer p.socketOpen(telemetry.Destination)()
	src, dst := netns.AddrPort(c.RemoteAddr()), netns.AddrPort(c.LocalAddr())
	refuse := func(err error) { p.Recorder.Refused(telemetry.Destination, src, dst, err) }

	ctx, cancel := context.WithTimeout(p.ctx, openTimeout)
	defer cancel()
	w, err := p.workload(ctx)
	if err != nil {
		refuse(err)
		return
	}
	cert, err := p.Certs.Get(ctx, state.Identity(w))
	if err != nil {
		refuse(err)
		return
	}
	t := tls.Server(c, cert.Server())
	if err := t.HandshakeContext(ctx); err != nil {
		refuse(fmt.Errorf("%w: tls handshake error: %w", hbone.ErrTLS, err))
		return
	}
	peer := identity.Peer(t.ConnectionState())
	conn, err := h2.Server(t, p.H2, func(s *h2.Stream, r *h2.Request) { p.serve(s, r, src, dst, peer) })
	if err != nil {
		refuse(err)
		return
	}
	if !p.serving(conn) {
		conn.GoAway()
	}
	<-conn.Done()
	p.served(conn)
}

// serve answers one CONNECT.
func (p *Pod) serve(s *h2.Stream, r *h2.Request, src, dst netip.AddrPort, peer string) {
	defer s.Close()
	start := time.Now()
	early := func(status int, err error) {
		p.Recorder.Refused(telemetry.Destination, src, dst, err)
		_ = s.Respond(status, nil, true)
	}
	if !r.IsConnect() {
		early(400, fmt.Errorf("expected method CONNECT, got %s", r.Method))
		return
	}
	to, ok := hbone.ParseAuthority(r.Authority)
	if !ok {
		early(400, fmt.Errorf("invalid CONNECT address %s", r.Authority))
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, openTimeout)
	defer cancel()
	w, err := p.workload(ctx)
	if err != nil {
		early(503, err)
		return
	}
	if err := p.mayReach(w, dst.Addr(), to); err != nil {
		early(400, err)
		return
	}
	target, svc, tunnel, err := p.target(w, dst.Addr(), to)
	if err != nil {
		early(503, err)
		return
	}

	rec := &telemetry.Record{
		Reporter: telemetry.Destination, Src: src, Dst: dst, HBONE: r.Authority, Start: start, MutualTLS: true,
		Destination: telemetry.PeerOf(w), Service: svc,
	}
	rec.Destination.Principal = state.Identity(w)
	if svc == nil {
		rec.Service = guessService(p.Store.ServicesOf(w), w, target.Port(), hbone.ForwardedHost(r.Header[hbone.ForwardedHeader]))
	}
	rec.Source = p.sourceOf(src.Addr(), peer, r.Header)
	p.Recorder.Opened(rec)

	served, done, err := p.admit(rbac.Connection{Identity: peer, Src: src.Addr(), Dst: target}, ConnectionInfo{
		Direction: "inbound", Pod: p.name(), Src: src.String(), OriginalDst: dst.String(), ActualDst: target.String(), Protocol: "HBONE",
	})
	if err != nil {
		rec.Closed(err, telemetry.Denied)
		_ = s.Respond(401, nil, true)
		return
	}
	defer done()

	from := src.Addr()
	if tunnel && p.LocalhostTunnel {
		from = netip.Addr{}
		target = netip.AddrPortFrom(loopback(target.Addr()), target.Port())
	}
	up, err := p.dialPlain(ctx, target, from)
	if err != nil {
		rec.Closed(err, telemetry.ConnectFailed)
		_ = s.Respond(503, nil, true)
		return
	}
	if tunnel {
		if _, err = up.Write(proxyHeader(src, p.tunnelTarget(w, dst, to), peer)); err != nil {
			rec.Closed(err, telemetry.ConnectFailed)
			up.Close()
			_ = s.Respond(503, nil, true)
			return
		}
	}
	cancel()
	header := h2.Header{}
	if p.ResponseBaggage {
		header[hbone.BaggageHeader] = hbone.BaggageOf(w)
	}
	if err := s.Respond(200, header, false); err != nil {
		rec.Closed(err, telemetry.ConnectFailed)
		up.Close()
		return
	}
	p.join(served, s, up, rec)
}

// join copies until the end, or until served says that the connection may not go on.
func (p *Pod) join(served context.Context, client, up halfConn, rec *telemetry.Record) {
	stop := context.AfterFunc(served, func() { client.Close(); up.Close() })
	err := both(client, up, rec)
	if !stop() && err != nil { // cut, and not just after its end
		err = context.Cause(served)
		if errors.Is(err, context.Canceled) {
			err = errDrained
		}
	}
	rec.Closed(err, flagOf(err))
}

// admit applies the policies of the pod. The context it returns ends when a later policy forbids
// the connection.
func (p *Pod) admit(c rbac.Connection, info ConnectionInfo) (served context.Context, done func(), err error) {
	w := p.now()
	if w == nil {
		return nil, nil, fmt.Errorf("failed to fetch information about local workload: %s", p.name())
	}
	served, cut := context.WithCancelCause(p.ctx)
	// tracked first, checked next: a policy that comes in between is seen by one of the two
	remove := p.Open.add(&tracked{conn: c, workload: p.now, cut: cut, info: info})
	done = func() { remove(); cut(nil) }
	policies, missing := p.Store.PoliciesFor(w)
	for _, name := range missing {
		p.Log.Warn("policy of a workload is not known", "policy", name, "pod", p.name())
	}
	v := rbac.Evaluate(policies, c, func(policy string, would rbac.Verdict) {
		p.Log.Info("dry-run policy matched", "policy", policy, "allow", would.Allowed, "pod", p.name(), "src.identity", c.Identity)
	})
	if !v.Allowed {
		done()
		return nil, nil, &deniedError{why: v.Reason}
	}
	return served, done, nil
}

// mayReach refuses a CONNECT for somebody else's address. Allowed are: a host name, the pod's own
// address, anything for a pod with an application tunnel, and an address whose waypoint this pod
// is.
func (p *Pod) mayReach(w *workloadapi.Workload, self netip.Addr, to hbone.Authority) error {
	if to.Host != "" || to.Addr == self || w.ApplicationTunnel != nil {
		return nil
	}
	var waypoint *workloadapi.GatewayAddress
	if t := p.Store.Workload(to.Addr); t != nil {
		waypoint = t.Waypoint
	} else if v := p.Store.ServiceByVIP(to.Addr, ""); v != nil {
		waypoint = v.Waypoint
	}
	for _, e := range p.waypointEndpoints(waypoint) {
		if e.Uid == w.Uid {
			return nil
		}
	}
	return fmt.Errorf("ip mismatch: %s != %s", self, to.Addr)
}

// target is where a CONNECT ends: always the pod's own address, at the port asked for, or the one a
// service's port stands for.
func (p *Pod) target(
	w *workloadapi.Workload,
	self netip.Addr,
	to hbone.Authority,
) (t netip.AddrPort, v *workloadapi.Service, tunnel bool, err error) {
	port := to.Port
	if to.Host != "" {
		if v = p.Store.ServiceByHost(to.Host, w.Namespace); v == nil {
			return t, nil, false, fmt.Errorf("no service or workload for hostname: %s", to.Host)
		}
		port = 0
		for _, ports := range [][]*workloadapi.Port{w.Services[state.ServiceKey(v)].GetPorts(), v.Ports} {
			for _, x := range ports {
				if port == 0 && x.ServicePort == uint32(to.Port) {
					port = uint16(x.TargetPort)
				}
			}
		}
		if port == 0 {
			return t, nil, false, fmt.Errorf("requested service %s:%d found, but cannot resolve port", to.Host, to.Port)
		}
	}
	if isOwnPort(port) {
		return t, nil, false, errSelfCall
	}
	if a := w.ApplicationTunnel; a != nil {
		if a.Port != 0 {
			port = uint16(a.Port)
		}
		tunnel = a.Protocol == workloadapi.ApplicationTunnel_PROXY
	}
	return netip.AddrPortFrom(self, port), v, tunnel, nil
}

// sourceOf describes who connected. An address means something only in the own network: what came
// through a gateway is known by its baggage.
func (p *Pod) sourceOf(ip netip.Addr, peer string, h h2.Header) telemetry.Peer {
	b, _ := hbone.ParseBaggage(h[hbone.BaggageHeader])
	network := h[hbone.ForwardedNetworkHeader]
	if network == "" || strings.EqualFold(network, p.Store.Network) {
		if w := p.Store.Workload(ip); w != nil {
			s := telemetry.PeerOf(w)
			s.Principal = peer
			return s
		}
	}
	return derived(b, peer)
}

// plaintext serves a connection that came without HBONE: to the pod, if policies let one without
// identity in.
func (p *Pod) plaintext(c net.Conn) {
	defer p.socketOpen(telemetry.Destination)()
	start := time.Now()
	src, dst := netns.AddrPort(c.RemoteAddr()), p.sockets.OriginalDst(c)
	refuse := func(err error) { p.Recorder.Refused(telemetry.Destination, src, dst, err) }
	if isOwnPort(dst.Port()) {
		refuse(errSelfCall)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, openTimeout)
	defer cancel()
	w, err := p.workload(ctx)
	if err != nil {
		refuse(err)
		return
	}
	rec := &telemetry.Record{
		Reporter: telemetry.Destination, Src: src, Dst: dst, Start: start,
		Source: telemetry.PeerOf(p.Store.Workload(src.Addr())), Destination: telemetry.PeerOf(w),
		Service: guessService(p.Store.ServicesOf(w), w, dst.Port(), ""),
	}
	rec.Destination.Principal = state.Identity(w)
	p.Recorder.Opened(rec)
	served, done, err := p.admit(rbac.Connection{Src: src.Addr(), Dst: dst}, ConnectionInfo{
		Direction: "inbound", Pod: p.name(), Src: src.String(), OriginalDst: dst.String(), ActualDst: dst.String(), Protocol: "TCP",
	})
	if err != nil {
		rec.Closed(err, telemetry.Denied)
		return
	}
	defer done()
	up, err := p.dialPlain(ctx, dst, src.Addr())
	if err != nil {
		rec.Closed(err, telemetry.ConnectFailed)
		return
	}
	cancel()
	p.join(served, c.(*net.TCPConn), up, rec)
}

func loopback(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// tunnelTarget is what an application tunnel is told of: the VIP in the own network for a service,
// else the address asked for.
func (p *Pod) tunnelTarget(w *workloadapi.Workload, dst netip.AddrPort, to hbone.Authority) netip.AddrPort {
	if to.Host == "" {
		return netip.AddrPortFrom(to.Addr, to.Port)
	}
	if v := p.Store.ServiceByHost(to.Host, w.Namespace); v != nil {
		for _, a := range v.Addresses {
			if ip, ok := netip.AddrFromSlice(a.Address); ok && a.Network == p.Store.Network {
				return netip.AddrPortFrom(ip.Unmap(), to.Port)
			}
		}
	}
	return netip.AddrPortFrom(dst.Addr(), to.Port)
}

// proxyHeader is a PROXY protocol v2 header with the peer's identity as TLV 0xD0.
func proxyHeader(src, dst netip.AddrPort, identity string) []byte {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21")
	var body []byte
	if src.Addr().Is4() && dst.Addr().Is4() {
		b = append(b, 0x11)
	} else {
		b = append(b, 0x21)
		s, d := src.Addr().As16(), dst.Addr().As16()
		src, dst = netip.AddrPortFrom(netip.AddrFrom16(s), src.Port()), netip.AddrPortFrom(netip.AddrFrom16(d), dst.Port())
	}
	body = append(append(body, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	body = append(body, byte(src.Port()>>8), byte(src.Port()), byte(dst.Port()>>8), byte(dst.Port()))
	if identity != "" {
		body = append(body, 0xD0, byte(len(identity)>>8), byte(len(identity)))
		body = append(body, identity...)
	}
	b = append(b, byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}
