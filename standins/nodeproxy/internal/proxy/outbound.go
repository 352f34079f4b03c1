package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"ambient.test/conformance/standins/nodeproxy/internal/fault"
	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// outbound serves a connection the pod opened.
func (p *Pod) outbound(c net.Conn) {
	defer p.socketOpen(telemetry.Source)()
	client := netns.AddrPort(c.RemoteAddr())
	p.outboundTo(c.(*net.TCPConn), client, p.sockets.OriginalDst(c))
}

func (p *Pod) outboundTo(c *net.TCPConn, client, dst netip.AddrPort) {
	start := time.Now()
	refuse := func(err error) { p.Recorder.Refused(telemetry.Source, client, dst, err) }
	if dst.Addr().IsLoopback() && isOwnPort(dst.Port()) {
		refuse(errSelfCall)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, openTimeout)
	defer cancel()
	src, err := p.workload(ctx)
	if err != nil {
		refuse(err)
		return
	}
	r, err := p.route(ctx, src, client.Addr(), dst)
	if err != nil {
		refuse(err)
		return
	}
	if r.protocol == doubleHBONE && fault.Refuses() {
		refuse(errors.New("refused by a fault"))
		return
	}

	rec := &telemetry.Record{
		Reporter: telemetry.Source, Src: client, Dst: r.next, HBONE: r.authority, Start: start,
		Source: telemetry.PeerOf(src), Destination: telemetry.PeerOf(r.workload), Service: r.service, MutualTLS: r.protocol != plainTCP,
	}
	defer p.Open.add(&tracked{info: ConnectionInfo{
		Direction:   "outbound",
		Pod:         p.name(),
		Src:         client.String(),
		OriginalDst: dst.String(),
		ActualDst:   r.next.String(),
		Protocol:    r.protocol.String(),
	}})()
	if r.workload != nil {
		rec.Destination.Principal = state.Identity(r.workload)
	}
	if rec.MutualTLS {
		rec.Source.Principal = state.Identity(src)
	}
	if r.protocol != doubleHBONE { // behind a gateway the destination is known only when its answer is here
		p.Recorder.Opened(rec)
	}
	host := r.service.GetHostname()
	header := hbone.Request(src, client, host, hbone.Traceparent())
	key := hbone.NewKey(state.Identity(src), r.sans, client.Addr(), r.next)

	var up halfConn
	switch r.protocol {
	case plainTCP:
		up, err = p.dialPlain(ctx, r.next, netip.Addr{})
	case singleHBONE:
		var s *h2.Stream
		if s, _, _, err = p.pool.Connect(ctx, key, r.authority, header); err == nil {
			up = s
		}
	case doubleHBONE:
		var t *hbone.Tunnel
		var answer h2.Header
		var peer string
		if t, answer, peer, err = p.pool.Double(ctx, key, r.authority, r.finalSANs, p.Store.Network, header); err == nil {
			up = fault.Tunnel(t)
			if b, ok := hbone.ParseBaggage(answer[hbone.BaggageHeader]); ok {
				rec.Destination = derived(b, peer)
			}
		}
		p.Recorder.Opened(rec)
	}
	if err != nil {
		rec.Closed(err, flagOf(err))
		return
	}
	cancel()
	defer context.AfterFunc(p.ctx, func() { up.Close() })()
	err = both(c, up, rec)
	if err != nil && p.ctx.Err() != nil {
		err = errDrained
	}
	rec.Closed(err, telemetry.ConnectFailed)
}

var errDrained = errors.New("connection closed due to connection drain")

func (p *Pod) dialPlain(ctx context.Context, to netip.AddrPort, from netip.Addr) (halfConn, error) {
	c, err := p.sockets.Dial(ctx, to, from)
	if err != nil {
		return nil, connectError{err}
	}
	return c.(*net.TCPConn), nil
}

// connectError is a TCP connection that could not be had.
type connectError struct{ err error }

func (e connectError) Error() string {
	var no syscall.Errno
	if errors.As(e.err, &no) {
		return "connection failed: " + capital(no.Error())
	}
	return "connection failed: " + e.err.Error()
}

func (e connectError) Unwrap() error { return e.err }

func capital(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-32) + s[1:]
}

// derived is a peer as its baggage describes it; the identity is what TLS proved.
func derived(b hbone.Baggage, identity string) telemetry.Peer {
	return telemetry.Peer{
		Workload: b.Workload, CanonicalService: b.Service, CanonicalRevision: b.Version, Namespace: b.Namespace, Principal: identity,
		App: b.Workload, Version: b.Version, Cluster: b.Cluster, Region: b.Region, Zone: b.Zone, Pod: b.Workload,
	}
}
