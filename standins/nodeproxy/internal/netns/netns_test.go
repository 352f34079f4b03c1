package netns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// another makes a network namespace with its loopback up; the test is skipped where that is not
// allowed.
func another(t *testing.T) *Pod {
	t.Helper()
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{-1, err}
			return
		}
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err == nil {
			ifr, _ := unix.NewIfreq("lo")
			ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
			err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
			unix.Close(s)
		}
		if err != nil {
			done <- result{-1, err}
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		done <- result{fd, err}
	}()
	r := <-done
	if errors.Is(r.err, unix.EPERM) || errors.Is(r.err, unix.EACCES) {
		t.Skip("needs the right to make a network namespace (root)")
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	p, err := FromFD(r.fd, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestSocketsBelongToTheNamespace(t *testing.T) {
	ctx := context.Background()
	p := another(t)
	own, err := Own(false)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if p.ID() == own.ID() {
		t.Fatal("same namespace")
	}
	if err := p.Preflight(ctx); err != nil {
		t.Skip(err)
	}
	l, err := p.Listen(ctx, "", 15001, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	again, err := p.Listen(ctx, "", 15001, true) // as a second node proxy does during a restart
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	at := netip.MustParseAddrPort("127.0.0.1:15001")
	if c, err := own.Dial(ctx, at, netip.Addr{}); err == nil {
		c.Close()
		t.Fatal("reached from outside of the namespace")
	}
	from := netip.MustParseAddr("127.0.0.77")
	c, err := p.Dial(ctx, at, from)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := AddrPort(s.RemoteAddr()).Addr(); got != from {
		t.Errorf("source %s", got)
	}
	if got := p.OriginalDst(s); got != at {
		t.Errorf("original destination %s without a redirect", got)
	}
	rc, err := s.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) {
		if m, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err != nil {
			t.Error(err)
		} else if m != Mark {
			t.Errorf("got mark %d, want %d", m, Mark)
		}
	})
	go c.Write([]byte("x"))
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// An address that is nobody's can be taken as source. The way back is for istio-cni's rules,
	// which are not here: so the connect only waits.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if c, err := p.Dial(short, at, netip.MustParseAddr("10.9.8.7")); err == nil {
		c.Close()
	} else if errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("spoofed source: got %v", err)
	} else if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("spoofed source: got %v, want no answer in time", err)
	}
}
