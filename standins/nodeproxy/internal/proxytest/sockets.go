package proxytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"ambient.test/conformance/standins/nodeproxy/internal/netns"
)

// Sockets is a pod whose address is one of 127.0.0.0/8, so that pods have the same ports without a
// namespace or root.
type Sockets struct {
	IP    netip.Addr
	Name  string
	Dials atomic.Int64
	// ListenErr, when set, fails every Listen.
	ListenErr error

	mu     sync.Mutex
	orig   map[netip.AddrPort]netip.AddrPort // client address -> where it was going
	Closed atomic.Bool
}

var _ netns.Sockets = (*Sockets)(nil)

// nextPod begins elsewhere in each process: all have the same ports, and go test runs packages side
// by side.
var nextPod = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(uint32(os.Getpid()) * 4099)
	return &n
}()

// NewSockets makes a pod of its own address, in 127.64.0.0/10.
func NewSockets() *Sockets {
	n := nextPod.Add(1)
	ip := netip.AddrFrom4([4]byte{127, 64 | byte(n>>16)&63, byte(n >> 8), byte(n)})
	return &Sockets{IP: ip, Name: fmt.Sprintf("pod%d", n), orig: map[netip.AddrPort]netip.AddrPort{}}
}

// Listen implements netns.Sockets.
func (s *Sockets) Listen(ctx context.Context, _ string, port uint16, _ bool) (net.Listener, error) {
	if s.ListenErr != nil {
		return nil, s.ListenErr
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp4", netip.AddrPortFrom(s.IP, port).String())
}

// ListenPacket implements netns.Sockets.
func (s *Sockets) ListenPacket(ctx context.Context, _ string, port uint16) (net.PacketConn, error) {
	return (&net.ListenConfig{}).ListenPacket(ctx, "udp4", netip.AddrPortFrom(s.IP, port).String())
}

// Dial implements netns.Sockets. Only loopback addresses are reached.
func (s *Sockets) Dial(ctx context.Context, to netip.AddrPort, from netip.Addr) (net.Conn, error) {
	s.Dials.Add(1)
	if !to.Addr().IsLoopback() {
		return nil, errors.New("test dials " + to.String())
	}
	if !from.IsValid() || from == to.Addr() {
		from = s.IP
	}
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}).DialContext(ctx, "tcp4", to.String())
}

// DialUDP implements netns.Sockets.
func (s *Sockets) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "udp4", to.String())
}

// OriginalDst implements netns.Sockets with what Capture noted.
func (s *Sockets) OriginalDst(c net.Conn) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.orig[netns.AddrPort(c.RemoteAddr())]; ok {
		return d
	}
	return netns.AddrPort(c.LocalAddr())
}

// Capture connects to the pod's own listener at port as if a rule had redirected a connection for
// dst there.
func (s *Sockets) Capture(port uint16, from netip.Addr, dst netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: from.AsSlice()}) // a free source port, noted before the connection is there
	if err != nil {
		return nil, err
	}
	src := netns.AddrPort(l.Addr())
	l.Close()
	s.mu.Lock()
	s.orig[src] = dst
	s.mu.Unlock()
	d.LocalAddr = net.TCPAddrFromAddrPort(src)
	c, err := d.Dial("tcp4", netip.AddrPortFrom(s.IP, port).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// ID implements netns.Sockets.
func (s *Sockets) ID() string { return s.Name }

// Close implements netns.Sockets.
func (s *Sockets) Close() error { s.Closed.Store(true); return nil }
