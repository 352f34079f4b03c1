package hbone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
)

const idClient, idServer, idGateway = "spiffe://td/ns/a/sa/client", "spiffe://td/ns/a/sa/server", "spiffe://td/ns/gw/sa/gateway"

type world struct {
	t     *testing.T
	ca    *proxytest.CA
	certs *identity.Manager
}

func newWorld(t *testing.T) *world {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ca := proxytest.NewCA()
	return &world{t, ca, identity.NewManager(ctx, ca)}
}

// listen serves HBONE as id; it gives the address and counts connections.
func (w *world) listen(id string, h h2.Handler) (netip.AddrPort, *atomic.Int64) {
	w.t.Helper()
	cert, err := w.certs.Get(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	var n atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			go func() {
				t := tls.Server(c, cert.Server())
				if t.Handshake() != nil {
					c.Close()
					return
				}
				s, err := h2.Server(t, h2.Config{}, h)
				if err == nil {
					w.t.Cleanup(func() { s.Close() })
				}
			}()
		}
	}()
	return netns.AddrPort(l.Addr()), &n
}

func echo(s *h2.Stream, r *h2.Request) {
	s.Respond(200, h2.Header{BaggageHeader: "service.name=" + r.Authority}, false)
	io.Copy(s, s)
	s.CloseWrite()
	s.Close()
}

func (w *world) pool(l Limits) (*Pool, *proxytest.Sockets) {
	s := proxytest.NewSockets()
	p := NewPool(s, w.certs, l)
	w.t.Cleanup(p.Close)
	return p, s
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return c
}

func TestOneHandshakeForManyFirstRequests(t *testing.T) {
	w := newWorld(t)
	at, conns := w.listen(idServer, echo)
	p, _ := w.pool(Limits{})
	key := NewKey(idClient, []string{idServer}, netip.MustParseAddr("10.0.0.1"), at)
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			s, answer, peer, err := p.Connect(ctx(t), key, "x:1", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if peer != idServer {
				t.Errorf("got peer %s, want %s", peer, idServer)
			}
			if got, want := answer[BaggageHeader], "service.name=x:1"; got != want {
				t.Errorf("got baggage %q, want %q", got, want)
			}
			go func() { io.WriteString(s, "hello"); s.CloseWrite() }()
			if b, err := io.ReadAll(s); err != nil {
				t.Error(err)
			} else if string(b) != "hello" {
				t.Errorf("got %q, want hello", b)
			}
		})
	}
	wg.Wait()
	if n := conns.Load(); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

func TestKeysAreKeptApart(t *testing.T) {
	w := newWorld(t)
	at, conns := w.listen(idServer, echo)
	p, _ := w.pool(Limits{})
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for _, k := range []Key{
		NewKey(idClient, []string{idServer}, a, at), NewKey(idClient, []string{idServer}, a, at), // the same
		NewKey(idClient, []string{idServer}, b, at),
		NewKey(idClient, []string{idServer, idGateway}, a, at),
		NewKey(idGateway, []string{idServer}, a, at),
	} {
		s, _, _, err := p.Connect(ctx(t), k, "x:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if n := conns.Load(); n != 4 {
		t.Fatalf("%d connections for 4 keys", n)
	}
}

func TestStreamLimitOpensAnother(t *testing.T) {
	w := newWorld(t)
	at, conns := w.listen(idServer, echo)
	p, _ := w.pool(Limits{Streams: 2})
	key := NewKey(idClient, []string{idServer}, netip.Addr{}, at)
	for range 5 {
		if _, _, _, err := p.Connect(ctx(t), key, "x:1", nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Fatalf("%d connections for 5 streams, 2 each", n)
	}
}

func TestIdleClosedAndGoneReplaced(t *testing.T) {
	w := newWorld(t)
	at, conns := w.listen(idServer, echo)
	p, _ := w.pool(Limits{IdleTimeout: 40 * time.Millisecond})
	key := NewKey(idClient, []string{idServer}, netip.Addr{}, at)
	for i := range 2 {
		s, _, _, err := p.Connect(ctx(t), key, "x:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := conns.Load(); n != int64(i+1) {
			t.Fatalf("round %d: %d connections", i, n)
		}
		s.CloseWrite()
		io.Copy(io.Discard, s)
		s.Close()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			p.mu.Lock()
			left := len(p.hosts)
			p.mu.Unlock()
			if left == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("idle connection kept")
			}
		}
	}
}

func TestFailuresAreToldApart(t *testing.T) {
	w := newWorld(t)
	at, _ := w.listen(idServer, func(s *h2.Stream, _ *h2.Request) { s.Respond(401, nil, true); s.Close() })
	p, _ := w.pool(Limits{})
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	for _, tc := range []struct {
		key  Key
		is   error
		text string
	}{
		{NewKey(idClient, []string{idGateway}, netip.Addr{}, at), ErrTLS, "expected SAN"},
		{NewKey(idClient, nil, netip.Addr{}, at), ErrTLS, "expected SAN"},
		{NewKey(idClient, []string{idServer}, netip.Addr{}, dead), nil, "refused"},
		{NewKey(idClient, []string{idServer}, netip.Addr{}, at), nil, "http status: 401 Unauthorized"},
		{
			NewKey("spiffe://other/ns/a/sa/b", []string{idServer}, netip.Addr{}, at), ErrH2, "certificate",
		}, // refused by the server after the handshake
	} {
		t.Run(tc.text, func(t *testing.T) {
			_, _, _, err := p.Connect(ctx(t), tc.key, "x:1", nil)
			if !strings.Contains(fmt.Sprint(err), tc.text) {
				t.Errorf("got %v, want it to say %q", err, tc.text)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("got %v, want %v", err, tc.is)
			}
		})
	}
	w.ca.SetFail(errors.New("CA is away"))
	if _, _, _, err := p.Connect(
		ctx(t),
		NewKey("spiffe://td/ns/new/sa/new", []string{idServer}, netip.Addr{}, at),
		"x:1",
		nil,
	); !errors.Is(
		err,
		ErrIdentity,
	) {
		t.Error(err)
	}
}

// gateway passes the bytes of any CONNECT on to one address, unread.
func (w *world) gateway(to netip.AddrPort, streams *sync.Map) netip.AddrPort {
	at, _ := w.listen(idGateway, func(s *h2.Stream, r *h2.Request) {
		streams.Store(s, r)
		c, err := net.Dial("tcp", to.String())
		if err != nil {
			s.Respond(503, nil, true)
			s.Close()
			return
		}
		s.Respond(200, nil, false)
		go func() { io.Copy(c, s); c.(*net.TCPConn).CloseWrite() }()
		io.Copy(s, c)
		s.CloseWrite()
		s.Close()
		c.Close()
	})
	return at
}

func TestDouble(t *testing.T) {
	w := newWorld(t)
	var inner sync.Map
	backend, conns := w.listen(idServer, func(s *h2.Stream, r *h2.Request) { inner.Store(s, r); echo(s, r) })
	var outer sync.Map
	gw := w.gateway(backend, &outer)
	p, sockets := w.pool(Limits{})
	key := NewKey(idClient, []string{idGateway}, netip.Addr{}, gw)
	h := Request(
		&workloadapi.Workload{Name: "c", WorkloadName: "c", Namespace: "a"}, netip.MustParseAddrPort("10.0.0.1:5"), "svc.example",
		"00-1-2-00",
	)
	for i := range 3 {
		tun, answer, peer, err := p.Double(ctx(t), key, "svc.example:80", []string{idServer}, "n1", h)
		if err != nil {
			t.Fatal(err)
		}
		if peer != idServer {
			t.Fatalf("got peer %s, want %s", peer, idServer)
		}
		if got, want := answer[BaggageHeader], "service.name=svc.example:80"; got != want {
			t.Fatalf("got baggage %q, want %q", got, want)
		}
		data := strings.Repeat("x", 3<<20)
		go func() { io.WriteString(tun, data); tun.CloseWrite() }()
		if b, err := io.ReadAll(tun); err != nil {
			t.Fatal(err)
		} else if string(b) != data {
			t.Fatalf("got %d other bytes back than the %d sent", len(b), len(data))
		}
		tun.Close()
		if n := conns.Load(); n != int64(i+1) {
			t.Fatalf("inner connections are shared: %d for %d tunnels", n, i+1)
		}
	}
	if n := sockets.Dials.Load(); n != 1 {
		t.Fatalf("the outer connection is pooled: %d dials", n)
	}
	outer.Range(func(_, v any) bool {
		r := v.(*h2.Request)
		if want := "svc.example:80"; r.Authority != want {
			t.Errorf("outer: got authority %q, want %q", r.Authority, want)
		}
		if got := r.Header[ForwardedNetworkHeader]; got != "" {
			t.Errorf("outer: got network %q, want none", got)
		}
		if r.Header[BaggageHeader] == "" {
			t.Errorf("outer: no baggage in %+v", r)
		}
		return true
	})
	inner.Range(func(_, v any) bool {
		r := v.(*h2.Request)
		want := []string{"svc.example:80", "n1", `for="10.0.0.1:5";host=svc.example`}
		if diff := cmp.Diff(want, []string{r.Authority, r.Header[ForwardedNetworkHeader], r.Header[ForwardedHeader]}); diff != "" {
			t.Errorf("inner: authority, network and forwarded (-want +got):\n%s", diff)
		}
		return true
	})

	if _, _, _, err := p.Double(ctx(t), key, "svc.example:80", nil, "n1", h); !errors.Is(err, ErrTLS) {
		t.Errorf("without an expectation of the far end nothing may match: %v", err)
	}
	if _, _, _, err := p.Double(ctx(t), key, "svc.example:80", []string{idGateway}, "n1", h); !errors.Is(err, ErrTLS) {
		t.Errorf("the gateway's own identity is not the far end's: %v", err)
	}
}

// What the client sends last arrives, also when the server has closed its direction first: the outer
// stream ends in order, so that a gateway hands on what it still has.
func TestDoubleEndsInOrder(t *testing.T) {
	w := newWorld(t)
	received := make(chan int64, 1)
	backend, _ := w.listen(idServer, func(s *h2.Stream, _ *h2.Request) {
		s.Respond(200, nil, false)
		s.CloseWrite()
		n, _ := io.Copy(io.Discard, s)
		received <- n
	})
	ended := make(chan error, 1)
	gw, _ := w.listen(idGateway, func(s *h2.Stream, _ *h2.Request) {
		c, err := net.Dial("tcp", backend.String())
		if err != nil {
			t.Error(err)
			return
		}
		s.Respond(200, nil, false)
		go func() { io.Copy(s, c); s.CloseWrite() }()
		_, err = io.Copy(c, s)
		c.(*net.TCPConn).CloseWrite()
		ended <- err
	})
	p, _ := w.pool(Limits{})
	tun, _, _, err := p.Double(
		ctx(t), NewKey(idClient, []string{idGateway}, netip.Addr{}, gw), "svc.example:80", []string{idServer}, "n1", h2.Header{},
	)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, tun)
	const n = 1 << 20
	tun.Write(make([]byte, n))
	tun.CloseWrite()
	tun.Close()
	if err := <-ended; err != nil {
		t.Errorf("the outer stream did not end in order: %v", err)
	}
	if got := <-received; got != n {
		t.Errorf("%d of %d bytes arrived", got, n)
	}
}

// When the outer tunnel is reset, the inner connection ends: it must not take the outer's stream
// error for one of its own streams and go on reading it for ever.
func TestOuterResetDoesNotSpin(t *testing.T) {
	w := newWorld(t)
	backend, _ := w.listen(idServer, func(s *h2.Stream, _ *h2.Request) { s.Respond(200, nil, false) })
	var outer sync.Map
	gw := w.gateway(backend, &outer)
	p, _ := w.pool(Limits{})
	var tunnels []*Tunnel
	for range 4 {
		tun, _, _, err := p.Double(
			ctx(t), NewKey(idClient, []string{idGateway}, netip.Addr{}, gw), "svc.example:80", []string{idServer}, "n1", h2.Header{},
		)
		if err != nil {
			t.Fatal(err)
		}
		tunnels = append(tunnels, tun)
	}
	outer.Range(func(k, _ any) bool { k.(*h2.Stream).Reset(http2.ErrCodeInternal); return true })
	for _, tun := range tunnels {
		_, err := tun.Read(make([]byte, 1))
		var foreign http2.StreamError
		if err == nil {
			t.Fatal("got no error")
		}
		if errors.As(err, &foreign) {
			t.Fatalf("%T %v is the library's own error", err, err)
		}
		select {
		case <-tun.inner.Done():
		case <-time.After(5 * time.Second):
			t.Fatal("the inner connection lives on without its outer tunnel")
		}
	}
	before := cpuSeconds()
	time.Sleep(300 * time.Millisecond)
	if used := cpuSeconds() - before; used > 0.2 {
		t.Fatalf("%.2f s of CPU in 0.3 s of nothing to do", used)
	}
}

func cpuSeconds() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

func TestHeaders(t *testing.T) {
	w := &workloadapi.Workload{
		ClusterId:         "c1",
		Namespace:         "ns",
		WorkloadName:      "echo",
		WorkloadType:      workloadapi.WorkloadType_DEPLOYMENT,
		CanonicalName:     "echo",
		CanonicalRevision: "v1",
		Locality:          &workloadapi.Locality{Region: "r", Zone: "z"},
	}
	v := BaggageOf(w)
	want := "k8s.cluster.name=c1,k8s.namespace.name=ns,k8s.deployment.name=echo,service.name=echo,service.version=v1," +
		"cloud.region=r,cloud.availability_zone=z"
	if diff := cmp.Diff(want, v); diff != "" {
		t.Fatalf("baggage (-want +got):\n%s", diff)
	}
	if b, ok := ParseBaggage(v); !ok {
		t.Fatalf("%q is no baggage", v)
	} else if diff := cmp.Diff(Baggage{"c1", "ns", "echo", "echo", "v1", "r", "z"}, b); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if b, ok := ParseBaggage("x=y, k8s.pod.name=p;prop"); !ok {
		t.Fatal("it is no baggage")
	} else if diff := cmp.Diff(Baggage{Workload: "p"}, b); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if _, ok := ParseBaggage(""); ok {
		t.Fatal("nothing is nothing")
	}
	six := netip.MustParseAddrPort("[2001:db8::1]:5")
	f := Forwarded(six, "")
	if want := `for="[2001:db8::1]:5"`; f != want {
		t.Fatalf("got %s, want %s", f, want)
	}
	if host := ForwardedHost(f); host != "" {
		t.Fatalf("got host %q, want none", host)
	}
	if got, want := ForwardedHost(`for="10.0.0.1:5";Host="a.b"`), "a.b"; got != want {
		t.Fatalf("got host %q, want %q", got, want)
	}
	a, b := Traceparent(), Traceparent()
	if want := regexp.MustCompile("^00-.{49}-00$"); !want.MatchString(a) {
		t.Fatalf("got %q, want %s", a, want)
	}
	if a == b {
		t.Fatalf("got %q twice", a)
	}
}

func TestParseAuthority(t *testing.T) {
	for in, want := range map[string]Authority{
		"10.0.0.1:80":         {Addr: netip.MustParseAddr("10.0.0.1"), Port: 80},
		"[2001:db8::1]:80":    {Addr: netip.MustParseAddr("2001:db8::1"), Port: 80},
		"[::ffff:10.0.0.1]:1": {Addr: netip.MustParseAddr("10.0.0.1"), Port: 1},
		"svc.example:65535":   {Host: "svc.example", Port: 65535},
	} {
		t.Run(in, func(t *testing.T) {
			if got, ok := ParseAuthority(in); !ok {
				t.Errorf("%s is no authority", in)
			} else if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for _, bad := range []string{
		"", "x", "x:", ":80", "x:0", "x:65536", "2001:db8::1:80", "[fe80::1%eth0]:80", "http://x:80", "a@b:80", "x:-1", "x:80:80",
	} {
		t.Run(bad, func(t *testing.T) {
			if a, ok := ParseAuthority(bad); ok {
				t.Errorf("%q taken for %+v", bad, a)
			}
		})
	}
}

func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"10.0.0.1:80", "[::1]:80", "host.example:80", "[::1%x]:1", "::", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := ParseAuthority(s)
		if !ok {
			return
		}
		if a.Port == 0 {
			t.Fatalf("%q: %+v has no port", s, a)
		}
		if a.Addr.IsValid() == (a.Host != "") {
			t.Fatalf("%q: %+v has not either an address or a host", s, a)
		}
		if a.Addr.Is4In6() {
			t.Fatalf("%q: %+v is an IPv4 address in IPv6", s, a)
		}
		again := net.JoinHostPort(a.Host, "1")
		if a.Addr.IsValid() {
			again = netip.AddrPortFrom(a.Addr, 1).String()
		}
		b, ok := ParseAuthority(again)
		if !ok {
			t.Fatalf("%q is read as %+v, which is written %q and cannot be read", s, a, again)
		}
		if b.Host != a.Host {
			t.Fatalf("%q is read as %+v, which is written %q and read as %+v", s, a, again, b)
		}
		if b.Addr != a.Addr {
			t.Fatalf("%q is read as %+v, which is written %q and read as %+v", s, a, again, b)
		}
	})
}

func FuzzBaggage(f *testing.F) {
	f.Add("k8s.cluster.name=c1,k8s.namespace.name=ns,k8s.deployment.name=echo", `for="1.2.3.4:5";host=x`)
	f.Fuzz(func(t *testing.T, baggage, forwarded string) {
		if b, ok := ParseBaggage(baggage); !ok && b != (Baggage{}) {
			t.Fatalf("%q: got %+v, want nothing of what cannot be read", baggage, b)
		}
		if h := ForwardedHost(forwarded); len(h) > len(forwarded) {
			t.Fatalf("got host %q, want no more than there is in %q", h, forwarded)
		}
	})
}
