// Package netns makes sockets inside a pod's network namespace from a process that lives outside of
// it.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Mark is what istio-cni's rules know the node proxy's own packets by (PACKET_MARK).
const Mark = 1337

// DialTimeout bounds a TCP connect.
const DialTimeout = 10 * time.Second

// Sockets is one pod's view of the network. Pod is the real one; tests have their own.
type Sockets interface {
	// Listen listens on every address of the pod, or on host when it is given. transparent asks for
	// IP_TRANSPARENT, best effort.
	Listen(ctx context.Context, host string, port uint16, transparent bool) (net.Listener, error)
	// ListenPacket is Listen for UDP.
	ListenPacket(ctx context.Context, host string, port uint16) (net.PacketConn, error)
	// Dial connects over TCP; a valid from is the source address to take (spoofing it where need
	// be).
	Dial(ctx context.Context, to netip.AddrPort, from netip.Addr) (net.Conn, error)
	// DialUDP makes a UDP socket to an address.
	DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// OriginalDst is where the accepted connection was going before a REDIRECT rule took it.
	OriginalDst(net.Conn) netip.AddrPort
	// ID names the namespace: device and inode.
	ID() string
	// Close lets go of the namespace; sockets made in it live on.
	Close() error
}

// Pod is a real network namespace.
type Pod struct {
	file *os.File
	id   string
	IPv6 bool // make dual-stack listeners
}

// FromFD takes over the file descriptor of a network namespace.
func FromFD(fd int, ipv6 bool) (*Pod, error) {
	f := os.NewFile(uintptr(fd), "netns")
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("network namespace handed over by istio-cni: %w", err)
	}
	return &Pod{file: f, id: fmt.Sprintf("%d:%d", st.Dev, st.Ino), IPv6: ipv6}, nil
}

// Own is the namespace this process runs in.
func Own(ipv6 bool) (*Pod, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0) // the first thread (self) may be a pod's at the moment
	if err != nil {
		return nil, err
	}
	return FromFD(fd, ipv6)
}

// ID implements Sockets.
func (p *Pod) ID() string { return p.id }

// Close implements Sockets.
func (p *Pod) Close() error { return p.file.Close() }

// in runs f on a thread inside the namespace. A socket belongs to the namespace it was made in, for
// good.
func (p *Pod) in(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("own network namespace: %w", err)
			}
			defer unix.Close(own)
			rc, err := p.file.SyscallConn()
			if err != nil {
				return err
			}
			var in error
			if err := rc.Control(func(fd uintptr) { in = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
				return err
			}
			if in != nil {
				return fmt.Errorf("enter the pod's network namespace: %w (needs SYS_ADMIN)", in)
			}
			err = f()
			if unix.Setns(own, unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread() // otherwise the runtime ends the thread with this goroutine
			}
			return err
		}()
	}()
	return <-done
}

func control(opts ...func(fd int) error) func(string, string, syscall.RawConn) error {
	return func(_, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) {
			for _, o := range opts {
				err = errors.Join(err, o(int(fd)))
			}
		}); cerr != nil {
			return cerr
		}
		return err
	}
}

func mark(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, Mark); err != nil {
		return fmt.Errorf("SO_MARK: %w (needs NET_ADMIN)", err)
	}
	return nil
}

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

// transparent is best effort: without it the destination sees the node proxy's address, and nothing
// else changes.
func transparent(fd int) error {
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	return nil
}

// userTimeout gives a connection up after this long without acknowledged data, as ztunnel's
// defaults (keepalive 180 s + 9 probes of 15 s) do.
func userTimeout(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_USER_TIMEOUT, int((180*time.Second + 9*15*time.Second).Milliseconds()))
}

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 180 * time.Second, Interval: 15 * time.Second, Count: 9}

func (p *Pod) family(proto string) string {
	if p.IPv6 {
		return proto
	}
	return proto + "4"
}

func hostPort(host string, port uint16) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

// Listen implements Sockets.
func (p *Pod) Listen(ctx context.Context, host string, port uint16, transp bool) (l net.Listener, err error) {
	opts := []func(int) error{mark, reusePort}
	if transp {
		opts = append(opts, transparent)
	}
	lc := net.ListenConfig{Control: control(opts...), KeepAliveConfig: keepAlive}
	err = p.in(func() (e error) {
		l, e = lc.Listen(ctx, p.family("tcp"), hostPort(host, port))
		return e
	})
	if err != nil {
		return nil, fmt.Errorf("failed to bind to address %s: %w", hostPort(host, port), err)
	}
	return l, nil
}

// ListenPacket implements Sockets.
func (p *Pod) ListenPacket(ctx context.Context, host string, port uint16) (pc net.PacketConn, err error) {
	lc := net.ListenConfig{Control: control(mark, reusePort)}
	err = p.in(func() (e error) {
		pc, e = lc.ListenPacket(ctx, p.family("udp"), hostPort(host, port))
		return e
	})
	if err != nil {
		return nil, fmt.Errorf("failed to bind to address %s/udp: %w", hostPort(host, port), err)
	}
	return pc, nil
}

// Dial implements Sockets.
func (p *Pod) Dial(ctx context.Context, to netip.AddrPort, from netip.Addr) (c net.Conn, err error) {
	opts := []func(int) error{mark, userTimeout}
	d := net.Dialer{Timeout: DialTimeout, KeepAliveConfig: keepAlive}
	if from.IsValid() && from != to.Addr() && from.Is4() == to.Addr().Is4() {
		opts = append(opts, transparent)
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice(), Zone: from.Zone()}
	}
	d.Control = control(opts...)
	err = p.in(func() (e error) {
		c, e = d.DialContext(ctx, "tcp", to.String())
		return e
	})
	return c, err
}

// DialUDP implements Sockets.
func (p *Pod) DialUDP(ctx context.Context, to netip.AddrPort) (c net.Conn, err error) {
	d := net.Dialer{Control: control(mark)}
	err = p.in(func() (e error) {
		c, e = d.DialContext(ctx, "udp", to.String())
		return e
	})
	return c, err
}

// OriginalDst implements Sockets: SO_ORIGINAL_DST for IPv4, then IPv6, else the local address.
func (p *Pod) OriginalDst(c net.Conn) netip.AddrPort {
	local := AddrPort(c.LocalAddr())
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return local
	}
	rc, err := tc.SyscallConn()
	if err != nil {
		return local
	}
	found := local
	_ = rc.Control(func(fd uintptr) {
		if m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST); err == nil { // a sockaddr_in in the first 16 bytes
			b := m.Multiaddr
			found = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
			return
		}
		if m, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, unix.SO_ORIGINAL_DST); err == nil { // a sockaddr_in6 in front
			port := m.Addr.Port<<8 | m.Addr.Port>>8
			found = netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr).Unmap(), port)
		}
	})
	return found
}

// AddrPort is a socket address with IPv4 in its own form, not mapped into IPv6.
func AddrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// Preflight checks that sockets can be marked, which everything else rests on.
func (p *Pod) Preflight(ctx context.Context) error {
	l, err := p.ListenPacket(ctx, "127.0.0.1", 0)
	if err != nil {
		return err
	}
	return l.Close()
}
