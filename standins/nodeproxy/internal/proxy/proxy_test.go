package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crypto/tls"
	"log/slog"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
	"istio.io/istio/pkg/zdsapi"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

const wait = 10 * time.Second

// cluster is one node's proxy and what istiod told it.
type cluster struct {
	t      *testing.T
	shared *Shared
	log    *lines
}

// lines are access log lines as they are written.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

// find waits for a line that has all parts.
func (l *lines) find(t *testing.T, parts ...string) string {
	t.Helper()
	for deadline := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		l.mu.Lock()
		for _, line := range l.all {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
				l.mu.Unlock()
				return line
			}
		}
		all := strings.Join(l.all, "")
		l.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("no line with %q in\n%s", parts, all)
		}
	}
}

func newCluster(t *testing.T, ca *proxytest.CA, network, name string) *cluster {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &lines{}
	log := telemetry.NewLogger(l, "", slog.LevelInfo)
	s := &Shared{
		Store: state.New(network, name), Certs: identity.NewManager(ctx, ca), Log: log, ResponseBaggage: true, Open: NewTracker(),
		Recorder: &telemetry.Recorder{Metrics: telemetry.NewMetrics("test"), Access: log.With("target", "access")},
		Resolve:  func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no DNS in this test") },
	}
	go s.Open.Watch(ctx, s.Store)
	return &cluster{t, s, l}
}

func (c *cluster) apply(things ...any) {
	c.t.Helper()
	for _, x := range things {
		var m proto.Message
		name, of := "", state.AddressType
		switch x := x.(type) {
		case *workloadapi.Workload:
			m, name = &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: x}}, x.Uid
		case *workloadapi.Service:
			m, name = &workloadapi.Address{Type: &workloadapi.Address_Service{Service: x}}, state.ServiceKey(x)
		case *security.Authorization:
			m, name, of = x, x.Namespace+"/"+x.Name, state.AuthorizationType
		}
		b, err := proto.Marshal(m)
		if err != nil {
			c.t.Fatal(err)
		}
		if bad := c.shared.Store.Apply(of, map[string][]byte{name: b}, nil); len(bad) > 0 {
			c.t.Fatal(bad)
		}
	}
}

// pod starts a proxied pod and tells the cluster of it.
func (c *cluster) pod(name string, change ...func(*workloadapi.Workload)) (*Pod, *proxytest.Sockets, *workloadapi.Workload) {
	c.t.Helper()
	s := proxytest.NewSockets()
	w := c.workload(name, s.IP, change...)
	c.apply(w)
	p, err := Start(
		c.shared, &zdsapi.WorkloadInfo{Name: name, Namespace: "ns", ServiceAccount: name}, s, OutboundPort, PlaintextPort,
		HBONEPort,
	)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { p.Stop(0) })
	return p, s, w
}

func (c *cluster) workload(name string, ip netip.Addr, change ...func(*workloadapi.Workload)) *workloadapi.Workload {
	w := &workloadapi.Workload{
		Uid: c.shared.Store.ClusterID + "//Pod/ns/" + name, Name: name, Namespace: "ns", ServiceAccount: name, WorkloadName: name + "-deploy",
		CanonicalName: name, CanonicalRevision: "v1", Network: c.shared.Store.Network, ClusterId: c.shared.Store.ClusterID, TrustDomain: "td",
		Addresses: [][]byte{ip.AsSlice()}, TunnelProtocol: workloadapi.TunnelProtocol_HBONE,
	}
	for _, f := range change {
		f(w)
	}
	return w
}

func endpointOf(host string, port, target uint32) func(*workloadapi.Workload) {
	return func(w *workloadapi.Workload) {
		if w.Services == nil {
			w.Services = map[string]*workloadapi.PortList{}
		}
		w.Services["ns/"+host] = &workloadapi.PortList{Ports: []*workloadapi.Port{{ServicePort: port, TargetPort: target}}}
	}
}

func (c *cluster) service(host, vip string, port, target uint32) *workloadapi.Service {
	return &workloadapi.Service{
		Name:      strings.Split(host, ".")[0],
		Namespace: "ns",
		Hostname:  host,
		Ports:     []*workloadapi.Port{{ServicePort: port, TargetPort: target}},
		Addresses: []*workloadapi.NetworkAddress{{Network: c.shared.Store.Network, Address: netip.MustParseAddr(vip).AsSlice()}},
	}
}

// app answers each connection with serve on a port of the pod.
func app(t *testing.T, s *proxytest.Sockets, serve func(*net.TCPConn)) uint32 {
	t.Helper()
	l, err := net.Listen("tcp4", netip.AddrPortFrom(s.IP, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c.(*net.TCPConn)) }()
		}
	}()
	return uint32(l.Addr().(*net.TCPAddr).Port)
}

// greet says who called, then echoes until the caller half-closes, then says goodbye.
func greet(c *net.TCPConn) {
	fmt.Fprintf(c, "hello %s\n", netns.AddrPort(c.RemoteAddr()).Addr())
	io.Copy(c, c)
	io.WriteString(c, "bye")
}

// call sends data from the pod to dst and gives back all that comes.
func call(t *testing.T, s *proxytest.Sockets, dst string, data string) (string, error) {
	t.Helper()
	c, err := s.Capture(OutboundPort, s.IP, netip.MustParseAddrPort(dst))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(wait))
	go func() { io.WriteString(c, data); c.CloseWrite() }()
	b, err := io.ReadAll(c)
	return string(b), err
}

// answers fails t unless the call reaches a server whose answer begins with want.
func answers(t *testing.T, what string, s *proxytest.Sockets, dst, want string) {
	t.Helper()
	got, err := call(t, s, dst, "")
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !strings.HasPrefix(got, want) {
		t.Fatalf("%s: got %q, want it to begin with %q", what, got, want)
	}
}

func (c *cluster) metric(name string, labels map[string]string) (sum float64) {
	c.t.Helper()
	families, err := c.shared.Recorder.Metrics.Gatherer().Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if has(m, labels) {
				sum += m.Counter.GetValue()
			}
		}
	}
	return sum
}

func has(m *dto.Metric, labels map[string]string) bool {
	for k, v := range labels {
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == k && l.GetValue() == v }) {
			return false
		}
	}
	return true
}

func TestHBONE(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, _ := c.pod("client")
	_, server, w := c.pod("server")
	port := app(t, server, greet)
	endpointOf("svc.example", 80, port)(w)
	c.apply(w, c.service("svc.example", "10.0.0.1", 80, port))
	for _, dst := range []string{"10.0.0.1:80", fmt.Sprintf("%s:%d", server.IP, port)} {
		got, err := call(t, client, dst, "data")
		if err != nil {
			t.Fatalf("%s: %v", dst, err)
		}
		if want := fmt.Sprintf("hello %s\ndatabye", client.IP); got != want { // half-close passed on, the source's address kept
			t.Fatalf("%s: got %q, want %q", dst, got, want)
		}
	}
	if got, _ := call(t, client, "10.0.0.1:81", "data"); got != "" {
		t.Fatalf("a port the service does not have answered %q", got)
	}
	c.log.find(t, "connection failed", `direction="outbound"`, "no healthy upstream: 10.0.0.1:81")
	c.log.find(
		t,
		"\tinfo\taccess\tconnection complete\tsrc.addr="+client.IP.String()+":",
		`src.workload="client"`,
		`src.namespace="ns"`,
		`src.identity="spiffe://td/ns/ns/sa/client"`,
		fmt.Sprintf(
			"dst.addr=%s:15008 dst.hbone_addr=%s:%d", server.IP, server.IP, port,
		),
		`dst.service="svc.example"`,
		`dst.workload="server"`,
		`dst.identity="spiffe://td/ns/ns/sa/server"`,
		`direction="outbound"`,
		"bytes_sent=4",
		"bytes_recv=",
		`duration="`,
	)
	c.log.find(t, `direction="inbound"`, "bytes_recv=4", `src.identity="spiffe://td/ns/ns/sa/client"`)
	for _, reporter := range []string{"source", "destination"} {
		l := map[string]string{
			"reporter":                   reporter,
			"connection_security_policy": "mutual_tls",
			"response_flags":             "-",
			"source_workload":            "client-deploy",
			"destination_workload":       "server-deploy",
			"source_principal":           "spiffe://td/ns/ns/sa/client",
			"destination_principal":      "spiffe://td/ns/ns/sa/server",
			"destination_service":        "svc.example",
			"destination_cluster":        "c1",
			"request_protocol":           "tcp",
		}
		if reporter == "source" { // who addresses the pod meant no service; the destination can only guess which
			if n := c.metric(
				"istio_tcp_connections_opened_total",
				map[string]string{"reporter": "source", "destination_service": "unknown"},
			); n != 1 {
				t.Errorf("%v opened to no service", n)
			}
			delete(l, "destination_service")
		}
		if n := c.metric("istio_tcp_connections_opened_total", l); n != 2 {
			t.Errorf("%s: %v opened", reporter, n)
		}
		if n := c.metric("istio_tcp_received_bytes_total", l); n != 8 {
			t.Errorf("%s: %v bytes of requests", reporter, n)
		}
		if n, want := c.metric("istio_tcp_sent_bytes_total", l), float64(2*len(fmt.Sprintf("hello %s\ndatabye", client.IP))); n != want {
			t.Errorf("%s: %v bytes of responses, expected %v", reporter, n, want)
		}
	}
}

// The server closes its side at once; what the client sends afterwards still arrives.
func TestServerHalfClosesFirst(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, _ := c.pod("client")
	_, server, _ := c.pod("server")
	got := make(chan string, 1)
	port := app(t, server, func(c *net.TCPConn) {
		io.WriteString(c, "first")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	conn, err := client.Capture(OutboundPort, client.IP, netip.AddrPortFrom(server.IP, uint16(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	if b, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	} else if string(b) != "first" {
		t.Fatalf("got %q, want first", b)
	}
	io.WriteString(conn, "then this")
	conn.CloseWrite()
	if b := <-got; b != "then this" {
		t.Fatalf("server read %q", b)
	}
	c.log.find(t, `direction="outbound"`, "bytes_sent=9 bytes_recv=5")
}

func TestPlaintextAndStrict(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, server, w := c.pod("server")
	port := app(t, server, greet)
	from := netip.MustParseAddr("127.3.0.1")
	knock := func() (string, error) {
		conn, err := server.Capture(PlaintextPort, from, netip.AddrPortFrom(server.IP, uint16(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(wait))
		conn.CloseWrite()
		b, err := io.ReadAll(conn)
		return string(b), err
	}
	if got, err := knock(); err != nil {
		t.Fatal(err)
	} else if want := "hello 127.3.0.1\nbye"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	c.apply(strict())
	w.AuthorizationPolicies = []string{"istio-system/istio_converted_static_strict"}
	c.apply(w)
	if got, _ := knock(); got != "" {
		t.Fatalf("plaintext answered %q under STRICT", got)
	}
	c.log.find(t, `direction="inbound"`, "explicitly denied by: istio-system/istio_converted_static_strict")
	if n := c.metric(
		"istio_tcp_connections_failed_total",
		map[string]string{"response_flags": "DENY", "reporter": "destination", "connection_security_policy": "unknown"},
	); n != 1 {
		t.Errorf("%v failed with DENY", n)
	}
	_, client, _ := c.pod("client")
	answers(t, "HBONE under STRICT", client, fmt.Sprintf("%s:%d", server.IP, port), "hello")
	if loop, err := server.Capture(PlaintextPort, from, netip.AddrPortFrom(server.IP, HBONEPort)); err == nil {
		loop.SetDeadline(time.Now().Add(wait))
		io.ReadAll(loop)
		loop.Close()
	}
	c.log.find(t, "attempted recursive call to ourselves")
}

func strict() *security.Authorization {
	present := []*security.StringMatch{{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}}
	return &security.Authorization{
		Name:      "istio_converted_static_strict",
		Namespace: "istio-system",
		Scope:     security.Scope_WORKLOAD_SELECTOR,
		Action:    security.Action_DENY,
		Groups:    []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{NotPrincipals: present}}}}}},
	}
}

func denyClient() *security.Authorization {
	return &security.Authorization{
		Name:      "no-client",
		Namespace: "ns",
		Scope:     security.Scope_NAMESPACE,
		Action:    security.Action_DENY,
		Groups: []*security.Group{
			{
				Rules: []*security.Rules{
					{
						Matches: []*security.Match{
							{Principals: []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: "td/ns/ns/sa/client"}}}},
						},
					},
				},
			},
		},
	}
}

func TestPolicyRefusesAndCuts(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, _ := c.pod("client")
	_, other, _ := c.pod("other")
	_, server, _ := c.pod("server")
	port := app(t, server, greet)
	dst := netip.AddrPortFrom(server.IP, uint16(port))
	open := func(s *proxytest.Sockets) *net.TCPConn {
		conn, err := s.Capture(OutboundPort, s.IP, dst)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(wait))
		if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	theirs, kept := open(client), open(other)
	known := map[string]int{}
	for _, o := range c.shared.Open.All() {
		known[o.Direction]++
	}
	for _, direction := range []string{"inbound", "outbound"} {
		if n := known[direction]; n != 2 {
			t.Fatalf("%s connections known: got %d, want 2", direction, n)
		}
	}
	c.apply(denyClient())
	if _, err := io.ReadAll(theirs); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("an open connection that is now denied goes on")
	}
	c.log.find(t, `direction="inbound"`, `src.workload="client"`, "connection closed due to policy change")
	io.WriteString(kept, "x")
	kept.CloseWrite()
	if b, err := io.ReadAll(kept); err != nil {
		t.Fatalf("a connection that is not denied was cut: %v", err)
	} else if !strings.HasSuffix(string(b), "xbye") {
		t.Fatalf("a connection that is not denied was cut: got %q, want xbye at the end", b)
	}
	if got, _ := call(t, client, dst.String(), "data"); got != "" {
		t.Fatalf("denied, and answered %q", got)
	}
	c.log.find(t, `direction="outbound"`, `error="http status: 401 Unauthorized"`)
	c.log.find(t, `direction="inbound"`, "connection closed due to policy rejection: explicitly denied by: ns/no-client")
	if n := c.metric("istio_tcp_connections_failed_total", map[string]string{"response_flags": "CONNECT", "reporter": "source"}); n < 1 {
		t.Errorf("%v failed with CONNECT at the source", n)
	}
	if n := c.metric("istio_tcp_connections_failed_total", map[string]string{"response_flags": "DENY", "reporter": "destination"}); n != 2 {
		t.Errorf("%v failed with DENY at the destination, expected the cut one and the refused one", n)
	}
	answers(t, "control", other, dst.String(), "hello")
}

func TestUncapturedAndUnknownDestinations(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, _ := c.pod("client")
	plain := proxytest.NewSockets()
	port := app(t, plain, greet)
	dst := fmt.Sprintf("%s:%d", plain.IP, port)
	answers(t, "unknown address", client, dst, "hello")
	c.apply(c.workload("plain", plain.IP, func(w *workloadapi.Workload) { w.TunnelProtocol = workloadapi.TunnelProtocol_NONE }))
	answers(t, "pod without HBONE", client, dst, "hello")
	if n := c.metric(
		"istio_tcp_connections_opened_total",
		map[string]string{"connection_security_policy": "unknown", "reporter": "source", "destination_workload": "plain-deploy"},
	); n != 1 {
		t.Errorf("got %v connections opened, want 1", n)
	}
	// Nobody listens: the client sees its connection end, the log says why.
	if got, _ := call(t, client, plain.IP.String()+":1", ""); got != "" {
		t.Fatalf("got %q from a closed port, want nothing", got)
	}
	c.log.find(t, plain.IP.String()+":1", "connection failed: Connection refused")
	// Somebody other than the pod expected answers on the pod's HBONE port.
	_, _, iw := c.pod(
		"impostor",
		func(w *workloadapi.Workload) { w.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK },
	) // so that its address is another's for others
	c.apply(c.workload("expected", state.IPs(iw)[0]))
	if got, _ := call(t, client, netip.AddrPortFrom(state.IPs(iw)[0], 80).String(), "x"); got != "" {
		t.Fatalf("got %q from an impostor, want nothing", got)
	}
	c.log.find(
		t,
		`dst.workload="expected"`,
		"did not present the expected SAN (spiffe://td/ns/ns/sa/expected), got spiffe://td/ns/ns/sa/impostor",
	)
}

func TestSourceMustBeKnown(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, w := c.pod("client")
	plain := proxytest.NewSockets()
	dst := fmt.Sprintf("%s:%d", plain.IP, app(t, plain, greet))
	c.shared.Store.Apply(state.AddressType, nil, []string{w.Uid})
	done := make(chan string, 1)
	go func() { got, _ := call(t, client, dst, ""); done <- got }()
	select {
	case got := <-done:
		t.Fatalf("answered %q without knowing the source", got)
	case <-time.After(50 * time.Millisecond):
	}
	c.apply(w) // istiod is late, not silent: the connection goes on
	if got := <-done; !strings.HasPrefix(got, "hello") {
		t.Fatalf("got %q, want hello", got)
	}
}

// waypoint is an HBONE server that answers each CONNECT with its authority and headers.
func (c *cluster) waypoint(name string) (*workloadapi.Workload, *sync.Map) {
	c.t.Helper()
	s := proxytest.NewSockets()
	w := c.workload(
		name, s.IP, endpointOf(name+".example", HBONEPort, HBONEPort),
		func(w *workloadapi.Workload) { w.TunnelProtocol = workloadapi.TunnelProtocol_NONE },
	)
	seen := &sync.Map{}
	serveHBONE(c.t, c.shared.Certs, state.Identity(w), netip.AddrPortFrom(s.IP, HBONEPort), func(st *h2.Stream, r *h2.Request) {
		seen.Store(r.Authority, r)
		st.Respond(200, nil, false)
		io.WriteString(st, name+" "+r.Authority)
		st.CloseWrite()
		io.Copy(io.Discard, st)
		st.Close()
	})
	c.apply(w, c.service(name+".example", "10.0.0.200", HBONEPort, HBONEPort))
	return w, seen
}

func serveHBONE(t *testing.T, certs hbone.Certificates, id string, at netip.AddrPort, h h2.Handler) {
	t.Helper()
	cert, err := certs.Get(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				tc := tls.Server(c, cert.Server())
				if tc.Handshake() != nil {
					c.Close()
					return
				}
				if s, err := h2.Server(tc, h2.Config{}, h); err == nil {
					t.Cleanup(func() { s.Close() })
				}
			}()
		}
	}()
}

func at(host string) *workloadapi.GatewayAddress {
	return &workloadapi.GatewayAddress{
		Destination:   &workloadapi.GatewayAddress_Hostname{Hostname: &workloadapi.NamespacedHostname{Namespace: "ns", Hostname: host}},
		HboneMtlsPort: HBONEPort,
	}
}

func TestWaypoints(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, _ := c.pod("client")
	_, server, w := c.pod("server")
	port := app(t, server, greet)
	_, seen := c.waypoint("waypoint")
	v := c.service("svc.example", "10.0.0.1", 80, port)
	v.Waypoint = at("waypoint.example")
	endpointOf("svc.example", 80, port)(w)
	c.apply(v, w)
	if got, err := call(t, client, "10.0.0.1:80", ""); err != nil {
		t.Fatalf("service waypoint: %v", err)
	} else if want := "waypoint 10.0.0.1:80"; got != want {
		t.Fatalf("service waypoint: got %q, want %q", got, want)
	}
	r, _ := seen.Load("10.0.0.1:80")
	h := r.(*h2.Request).Header
	if want := "k8s.deployment.name=client-deploy"; !strings.Contains(h["baggage"], want) {
		t.Errorf("got baggage %q, want %q in it", h["baggage"], want)
	}
	if want := ";host=svc.example"; !strings.HasSuffix(h["forwarded"], want) {
		t.Errorf("got forwarded %q, want %q at the end", h["forwarded"], want)
	}
	if n := len(h["traceparent"]); n != 55 {
		t.Errorf("got traceparent %q of %d, want 55", h["traceparent"], n)
	}
	if got := h["x-forwarded-network"]; got != "" {
		t.Errorf("got x-forwarded-network %q, want none", got)
	}
	direct := fmt.Sprintf("%s:%d", server.IP, port)
	answers(t, "the pod itself is not behind the service's waypoint", client, direct, "hello")
	w.Waypoint = at("waypoint.example")
	c.apply(w)
	if got, err := call(t, client, direct, ""); err != nil {
		t.Fatalf("workload waypoint: %v", err)
	} else if want := "waypoint " + direct; got != want {
		t.Fatalf("workload waypoint: got %q, want %q", got, want)
	}
	// From the waypoint itself the pod is reached without a detour: same identity and address.
	_, wpPod, _ := c.pod("wp2", endpointOf("waypoint2.example", HBONEPort, HBONEPort))
	c.apply(c.service("waypoint2.example", "10.0.0.201", HBONEPort, HBONEPort))
	w.Waypoint = at("waypoint2.example")
	c.apply(w)
	answers(t, "from the waypoint", wpPod, direct, "hello")
	v.Waypoint = at("missing.example")
	c.apply(v)
	if got, _ := call(t, client, "10.0.0.1:80", ""); got != "" {
		t.Fatalf("a waypoint that is not there was bypassed: %q", got)
	}
	c.log.find(t, "unknown waypoint: ns/missing.example")
}

func TestInboundRefusals(t *testing.T) {
	ca := proxytest.NewCA()
	c := newCluster(t, ca, "n1", "c1")
	_, client, _ := c.pod("client")
	_, server, w := c.pod("server")
	port := app(t, server, greet)
	endpointOf("svc.example", 80, port)(w)
	c.apply(w, c.service("svc.example", "10.0.0.1", 80, port))
	pool := hbone.NewPool(client, c.shared.Certs, hbone.Limits{})
	t.Cleanup(pool.Close)
	key := hbone.NewKey("spiffe://td/ns/ns/sa/client", []string{state.Identity(w)}, client.IP, netip.AddrPortFrom(server.IP, HBONEPort))
	for authority, want := range map[string]string{
		fmt.Sprintf("%s:%d", server.IP, port): "",
		"svc.example:80":                      "", // what a gateway passes on
		"svc.example:81":                      "503",
		"other.example:80":                    "503",
		"10.9.9.9:80":                         "400",
		"nonsense":                            "400",
		fmt.Sprintf("%s:1", server.IP):        "503",
		fmt.Sprintf("%s:15001", server.IP):    "503",
	} {
		t.Run(authority, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			s, answer, peer, err := pool.Connect(ctx, key, authority, nil)
			cancel()
			if want == "" {
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				if want := state.Identity(w); peer != want {
					t.Errorf("got peer %s, want %s", peer, want)
					return
				}
				if want := "server-deploy"; !strings.Contains(answer["baggage"], want) {
					t.Errorf("got baggage %q, want %q in it", answer["baggage"], want)
					return
				}
				s.Close()
				return
			}
			var status *h2.StatusError
			if !errors.As(err, &status) {
				t.Errorf("got %v, want a status", err)
			} else if got := fmt.Sprint(status.Code); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	c.log.find(t, "ip mismatch: "+server.IP.String()+" != 10.9.9.9")

	raw, err := net.Dial("tcp4", netip.AddrPortFrom(server.IP, HBONEPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(wait))
	io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
	if b, _ := io.ReadAll(raw); strings.Contains(string(b), "HTTP") {
		t.Errorf("plaintext on the HBONE port answered %q", b)
	}
	c.log.find(t, "tls handshake error")
}

// Two networks with the same addresses, joined by a gateway that passes bytes on.
func TestDoubleHBONE(t *testing.T) {
	ca := proxytest.NewCA()
	one, two := newCluster(t, ca, "n1", "c1"), newCluster(t, ca, "n2", "c2")
	_, client, _ := one.pod("client")
	_, server, w := two.pod("server")
	port := app(t, server, greet)
	endpointOf("svc.example", 80, port)(w)
	two.apply(w, two.service("svc.example", "10.0.0.1", 80, port))

	gw := proxytest.NewSockets()
	serveHBONE(
		t,
		one.shared.Certs,
		"spiffe://td/ns/istio-system/sa/gateway",
		netip.AddrPortFrom(gw.IP, HBONEPort),
		func(s *h2.Stream, r *h2.Request) {
			c, err := gw.Dial(context.Background(), netip.AddrPortFrom(server.IP, HBONEPort), netip.Addr{})
			if err != nil || r.Authority != "svc.example:80" {
				s.Respond(503, nil, true)
				s.Close()
				return
			}
			s.Respond(200, nil, false)
			go func() { io.Copy(c, s); c.(*net.TCPConn).CloseWrite() }()
			io.Copy(s, c)
			s.CloseWrite()
			s.Close()
		},
	)
	v := one.service("svc.example", "10.0.0.1", 80, 8080)
	v.SubjectAltNames = []string{state.Identity(w)}
	address := &workloadapi.GatewayAddress{
		Destination:   &workloadapi.GatewayAddress_Address{Address: &workloadapi.NetworkAddress{Network: "n2", Address: gw.IP.AsSlice()}},
		HboneMtlsPort: HBONEPort,
	}
	split := &workloadapi.Workload{
		Uid:            "n2/SplitHorizonWorkload/x",
		Name:           "split",
		Namespace:      "ns",
		Network:        "n2",
		ClusterId:      "c2",
		TunnelProtocol: workloadapi.TunnelProtocol_HBONE,
		NetworkGateway: address,
	}
	endpointOf("svc.example", 80, 8080)(split)
	gateway := &workloadapi.Workload{
		Uid:            "NetworkGateway/n2/x",
		Name:           "gw",
		Namespace:      "istio-system",
		ServiceAccount: "gateway",
		TrustDomain:    "td",
		Network:        "n2",
		ClusterId:      "Kubernetes",
		Addresses:      [][]byte{gw.IP.AsSlice()},
	}
	one.apply(v, split)
	if got, _ := call(t, client, "10.0.0.1:80", ""); got != "" {
		t.Fatalf("a gateway that is not known answered %q", got)
	}
	one.apply(gateway)
	big := strings.Repeat("0123456789", 200_000)
	for range 3 {
		got, err := call(t, client, "10.0.0.1:80", big)
		if err != nil {
			t.Fatalf("%d bytes back: %v", len(got), err)
		}
		if !strings.HasPrefix(got, "hello "+gw.IP.String()) {
			t.Fatalf("got %.40q, want hello from %s", got, gw.IP)
		}
		if !strings.HasSuffix(got, big+"bye") {
			t.Fatalf("got %d bytes, want all %d that were sent at the end", len(got), len(big))
		}
	}
	one.log.find(
		t,
		`direction="outbound"`,
		"dst.addr="+gw.IP.String()+":15008 dst.hbone_addr=svc.example:80",
		`dst.workload="server-deploy"`,
		`dst.cluster="c2"`,
		`dst.identity="spiffe://td/ns/ns/sa/server"`,
	)
	two.log.find(t, `direction="inbound"`, `src.workload="client-deploy"`, `src.cluster="c1"`, `src.identity="spiffe://td/ns/ns/sa/client"`)
	ends := map[string]string{
		"source_cluster":             "c1",
		"destination_cluster":        "c2",
		"connection_security_policy": "mutual_tls",
		"response_flags":             "-",
		"source_workload":            "client-deploy",
		"destination_workload":       "server-deploy",
	}
	a, b := one.metric("istio_tcp_sent_bytes_total", ends), two.metric("istio_tcp_sent_bytes_total", ends)
	if a != b {
		t.Errorf("bytes differ between the ends: %v and %v", a, b)
	}
	if a < 6_000_000 {
		t.Errorf("got %v bytes, want at least 6000000", a)
	}
	if n := two.metric("istio_tcp_connections_opened_total", ends); n != 3 {
		t.Errorf("%v opened at the destination", n)
	}

	v.SubjectAltNames = []string{"spiffe://td/ns/ns/sa/somebody-else"}
	one.apply(v)
	if got, _ := call(t, client, "10.0.0.1:80", ""); got != "" {
		t.Fatalf("an unexpected workload behind the gateway answered %q", got)
	}
	if n := one.metric(
		"istio_tcp_connections_failed_total",
		map[string]string{"response_flags": "TLS_FAILURE", "reporter": "source", "destination_workload": "unknown"},
	); n != 1 {
		t.Errorf("%v failed with TLS_FAILURE", n)
	}
	v.SubjectAltNames = []string{state.Identity(w)}
	one.apply(v)
	two.apply(denyClient())
	if got, _ := call(t, client, "10.0.0.1:80", ""); got != "" {
		t.Fatalf("denied in the other network, and answered %q", got)
	}
	one.log.find(t, `dst.hbone_addr=svc.example:80`, "401 Unauthorized")

	// The gateway by DNS name.
	split.NetworkGateway, gateway.Addresses, gateway.Hostname, gateway.Namespace = at("gw.example"), nil, "gw.example", "ns"
	gateway.Uid = "NetworkGateway/n2/gw.example"
	gateway2 := proto.Clone(gateway).(*workloadapi.Workload)
	one.shared.Store.Apply(state.AddressType, nil, []string{"NetworkGateway/n2/x"})
	one.apply(split, gateway2)
	two.shared.Store.Apply(state.AuthorizationType, nil, []string{"ns/no-client"})
	one.shared.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "gw.example" {
			return nil, errors.New("asked for " + host)
		}
		return []netip.Addr{gw.IP}, nil
	}
	if got, _ := call(t, client, "10.0.0.1:80", ""); got != "" {
		t.Fatalf("the gateway's identity is ns/gateway now and it shows istio-system/gateway: answered %q", got)
	}
	gateway2 = proto.Clone(gateway2).(*workloadapi.Workload)
	gateway2.Namespace = "istio-system"
	split = proto.Clone(split).(*workloadapi.Workload)
	split.NetworkGateway.GetHostname().Namespace = "istio-system"
	one.apply(split, gateway2)
	answers(t, "gateway by name", client, "10.0.0.1:80", "hello")
}

func TestApplicationTunnel(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	c.shared.LocalhostTunnel = false // the pod's own loopback address is everybody's here
	_, client, _ := c.pod("client")
	_, server, w := c.pod("server")
	head := make(chan []byte, 1)
	port := app(t, server, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		head <- all
	})
	w.ApplicationTunnel = &workloadapi.ApplicationTunnel{Protocol: workloadapi.ApplicationTunnel_PROXY, Port: port}
	c.apply(w)
	if _, err := call(t, client, server.IP.String()+":4242", "payload"); err != nil {
		t.Fatal(err)
	}
	b := <-head
	id := "spiffe://td/ns/ns/sa/client"
	preface := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, byte(12+3+len(id)))
	if diff := cmp.Diff(preface, b[:16]); diff != "" {
		t.Fatalf("signature, version, family and length (-want +got):\n%s", diff)
	}
	if src, _ := netip.AddrFromSlice(b[16:20]); src != client.IP {
		t.Fatalf("source %s", src)
	}
	if dst, _ := netip.AddrFromSlice(b[20:24]); dst != server.IP {
		t.Fatalf("got target %s, want %s", dst, server.IP)
	}
	if port := int(b[26])<<8 | int(b[27]); port != 4242 {
		t.Fatalf("got port %d, want 4242", port)
	}
	if b[28] != 0xD0 {
		t.Fatalf("got type %#x, want 0xd0", b[28])
	}
	if diff := cmp.Diff(id+"payload", string(b[31:])); diff != "" {
		t.Fatalf("identity and payload (-want +got):\n%s", diff)
	}
}

func TestDrain(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	_, client, _ := c.pod("client")
	p, server, _ := c.pod("server")
	port := app(t, server, greet)
	conn, err := client.Capture(OutboundPort, client.IP, netip.AddrPortFrom(server.IP, uint16(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	io.ReadFull(conn, make([]byte, 5))
	stopped := make(chan struct{})
	go func() { p.Stop(wait); close(stopped) }()
	for { // listeners close at once
		x, err := net.Dial("tcp4", netip.AddrPortFrom(server.IP, HBONEPort).String())
		if err != nil {
			break
		}
		x.Close()
	}
	io.WriteString(conn, "still served")
	conn.CloseWrite()
	if b, err := io.ReadAll(conn); err != nil {
		t.Fatalf("an open connection must end in its own time: %v", err)
	} else if !strings.HasSuffix(string(b), "still servedbye") {
		t.Fatalf("an open connection must end in its own time: got %q", b)
	}
	select {
	case <-stopped:
	case <-time.After(wait):
		t.Fatal("the drain waits for nothing")
	}
	if !server.Closed.Load() {
		t.Fatal("the namespace is still held")
	}
}

func TestManager(t *testing.T) {
	c := newCluster(t, proxytest.NewCA(), "n1", "c1")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	spaces := map[int]*proxytest.Sockets{}
	var busy error
	m := NewManager(ctx, c.shared, func(fd int) (netns.Sockets, error) {
		s := proxytest.NewSockets()
		s.ListenErr = busy
		if old := spaces[fd]; old != nil {
			s.Name, s.IP = old.Name, old.IP // the same namespace, opened again
		} else {
			spaces[fd] = s
		}
		return s, nil
	})
	t.Cleanup(func() { m.Shutdown(0) })
	info := &zdsapi.WorkloadInfo{Name: "p", Namespace: "ns", ServiceAccount: "sa"}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	listening := func(fd int) bool {
		x, err := net.Dial("tcp4", netip.AddrPortFrom(spaces[fd].IP, OutboundPort).String())
		if err == nil {
			x.Close()
		}
		return err == nil
	}
	proxied := func(when string, served map[int]bool, ready bool) {
		t.Helper()
		for fd, want := range served {
			if got := listening(fd); got != want {
				t.Fatalf("%s: pod in namespace %d is proxied: %t, want %t", when, fd, got, want)
			}
		}
		if got := m.Ready(); got != ready {
			t.Fatalf("%s: ready: %t, want %t", when, got, ready)
		}
	}
	m.Start()
	ok(m.Add("a", info, 1))
	ok(m.Add("b", info, 2))
	if m.Ready() {
		t.Fatal("ready before the snapshot is complete")
	}
	ok(m.SnapshotSent())
	proxied("after the snapshot", map[int]bool{1: true, 2: true}, true)
	if err := m.SnapshotSent(); err == nil {
		t.Fatal("a second snapshot")
	}
	if err := m.Keep("a"); err == nil {
		t.Fatal("Keep after the snapshot")
	}
	ok(m.Add("a", info, 1)) // again: nothing changes
	ok(m.Add("b", info, 3)) // another namespace: started anew
	proxied("a pod in a new namespace", map[int]bool{2: false, 3: true}, true)
	ok(m.Del("nobody"))

	// The agent restarts: it keeps a, says nothing of b.
	m.Lost()
	proxied("pods must stay proxied without the agent", map[int]bool{1: true, 3: true}, false)
	m.Start()
	ok(m.Keep("a"))
	ok(m.Keep("b"))
	ok(m.Del("b")) // before the snapshot is complete: only taken off it
	if !listening(3) {
		t.Fatal("deleted too early")
	}
	ok(m.SnapshotSent())
	proxied("the snapshot decides", map[int]bool{1: true, 3: false}, true)

	// An older node proxy still holds the ports.
	busy = fmt.Errorf("bind: %w", syscall.EADDRINUSE)
	if err := m.Add("c", info, 4); err == nil {
		t.Fatal("a pod that cannot be proxied is no success")
	}
	if m.Ready() {
		t.Fatal("ready with a pod that cannot be proxied")
	}
	busy = nil
	ok(m.Add("c", info, 4)) // the agent tries again
	proxied("the second try", map[int]bool{4: true}, true)
	ok(m.Del("a"))
	if listening(1) {
		t.Fatal("deleted and still served")
	}
}
