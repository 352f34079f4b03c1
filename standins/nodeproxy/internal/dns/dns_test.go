package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

func vip(network, ip string) *workloadapi.NetworkAddress {
	return &workloadapi.NetworkAddress{Network: network, Address: netip.MustParseAddr(ip).AsSlice()}
}

func store(t *testing.T) *state.Store {
	t.Helper()
	s := state.New("n1", "c")
	r := map[string][]byte{}
	put := func(v *workloadapi.Service) {
		b, err := proto.Marshal(&workloadapi.Address{Type: &workloadapi.Address_Service{Service: v}})
		if err != nil {
			t.Fatal(err)
		}
		r[state.ServiceKey(v)] = b
	}
	put(
		&workloadapi.Service{
			Name:      "echo",
			Namespace: "ns",
			Hostname:  "echo.ns.svc.cluster.local",
			Addresses: []*workloadapi.NetworkAddress{vip("n1", "10.0.0.1"), vip("n1", "2001:db8::1"), vip("n2", "10.9.9.9")},
		},
	)
	put(
		&workloadapi.Service{
			Name:      "far",
			Namespace: "ns",
			Hostname:  "far.ns.svc.cluster.local",
			Addresses: []*workloadapi.NetworkAddress{vip("n2", "10.0.0.2")},
		},
	)
	put(&workloadapi.Service{Name: "head", Namespace: "ns", Hostname: "head.ns.svc.cluster.local"})
	put(
		&workloadapi.Service{
			Name:      "ext",
			Namespace: "ns",
			Hostname:  "www.example.com",
			Addresses: []*workloadapi.NetworkAddress{vip("n1", "10.0.0.3")},
		},
	)
	put(
		&workloadapi.Service{
			Name:      "wild",
			Namespace: "ns",
			Hostname:  "*.wild.example",
			Addresses: []*workloadapi.NetworkAddress{vip("n1", "10.0.0.4")},
		},
	)
	put(&workloadapi.Service{Name: "dnsonly", Namespace: "ns", Hostname: "dnsonly.example"})
	put(
		&workloadapi.Service{
			Name:       "secret",
			Namespace:  "other",
			Hostname:   "secret.example",
			Visibility: workloadapi.Service_NAMESPACE,
			Addresses:  []*workloadapi.NetworkAddress{vip("n1", "10.0.0.5")},
		},
	)
	for i, status := range []workloadapi.WorkloadStatus{
		workloadapi.WorkloadStatus_HEALTHY, workloadapi.WorkloadStatus_HEALTHY, workloadapi.WorkloadStatus_UNHEALTHY,
	} {
		w := &workloadapi.Workload{
			Uid:       fmt.Sprint("w", i),
			Namespace: "ns",
			Network:   "n1",
			Status:    status,
			Addresses: [][]byte{{10, 1, 0, byte(i)}},
			Services:  map[string]*workloadapi.PortList{"ns/head.ns.svc.cluster.local": {}},
		}
		b, err := proto.Marshal(&workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: w}})
		if err != nil {
			t.Fatal(err)
		}
		r[w.Uid] = b
	}
	if bad := s.Apply(state.AddressType, r, nil); len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

func server(t *testing.T, namespace string, upstreams ...netip.AddrPort) *Server {
	return &Server{Store: store(t), Domain: "cluster.local", Upstreams: upstreams, Sockets: proxytest.NewSockets(),
		Client: func(context.Context) (*workloadapi.Workload, error) {
			return &workloadapi.Workload{Namespace: namespace, Network: "n1"}, nil
		}}
}

// upstream answers everything with 192.0.2.1, and over TCP with 192.0.2.2.
func upstream(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netns.AddrPort(pc.LocalAddr())
	l, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		ip := "192.0.2.1"
		if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
			ip = "192.0.2.2"
		}
		rr, _ := dns.NewRR(q.Question[0].Name + " 5 IN A " + ip)
		m.Answer = append(m.Answer, rr)
		if strings.HasPrefix(q.Question[0].Name, "big.") {
			for i := range 200 {
				rr, _ := dns.NewRR(fmt.Sprintf("%s 5 IN A 192.0.2.%d", q.Question[0].Name, i))
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})
	go (&dns.Server{PacketConn: pc, Handler: h}).ActivateAndServe()
	go (&dns.Server{Listener: l, Handler: h}).ActivateAndServe()
	t.Cleanup(func() { pc.Close(); l.Close() })
	return at
}

// answer turns a message into text: code and records.
func answer(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	var rrs []string
	for _, r := range m.Answer {
		switch r := r.(type) {
		case *dns.A:
			rrs = append(rrs, r.Hdr.Name+" A "+r.A.String())
		case *dns.AAAA:
			rrs = append(rrs, r.Hdr.Name+" AAAA "+r.AAAA.String())
		case *dns.CNAME:
			out = append(out, r.Hdr.Name+" CNAME "+r.Target)
		}
	}
	slices.Sort(rrs)
	return strings.Join(append(out, rrs...), "; ")
}

func TestAnswers(t *testing.T) {
	up := upstream(t)
	for _, tc := range []struct {
		from, name string
		qtype      uint16
		want       string
	}{
		{"ns", "echo", dns.TypeA, "NOERROR; echo. A 10.0.0.1"},
		{"ns", "ECHO.Ns", dns.TypeA, "NOERROR; ECHO.Ns. A 10.0.0.1"},
		{"ns", "echo.ns.svc", dns.TypeA, "NOERROR; echo.ns.svc. A 10.0.0.1"},
		{"ns", "echo.ns.svc.cluster.local", dns.TypeA, "NOERROR; echo.ns.svc.cluster.local. A 10.0.0.1"},
		{"ns", "echo.ns.svc.cluster.local", dns.TypeAAAA, "NOERROR; echo.ns.svc.cluster.local. AAAA 2001:db8::1"},
		{"other", "echo", dns.TypeA, "NOERROR; echo. A 192.0.2.1"}, // not of the client's namespace: forwarded
		{"other", "echo.ns", dns.TypeA, "NOERROR; echo.ns. A 10.0.0.1"},
		{"ns", "far", dns.TypeA, "NOERROR"},                // only another network has a VIP for it
		{"ns", "www.example.com", dns.TypeAAAA, "NOERROR"}, // known, not of that family
		{"ns", "head", dns.TypeA, "NOERROR; head. A 10.1.0.0; head. A 10.1.0.1"},
		{"ns", "www.example.com", dns.TypeA, "NOERROR; www.example.com. A 10.0.0.3"},
		{
			"ns", "www.example.com.ns.svc.cluster.local", dns.TypeA,
			"NOERROR; www.example.com.ns.svc.cluster.local. CNAME www.example.com.; www.example.com. A 10.0.0.3",
		},
		{
			"ns", "www.example.com.cluster.local", dns.TypeA,
			"NOERROR; www.example.com.cluster.local. CNAME www.example.com.; www.example.com. A 10.0.0.3",
		},
		{"ns", "a.wild.example", dns.TypeA, "NOERROR; a.wild.example. A 10.0.0.4"},
		{"ns", "a.b.wild.example", dns.TypeA, "NOERROR; a.b.wild.example. A 10.0.0.4"},
		{"ns", "wild.example", dns.TypeA, "NOERROR; wild.example. A 192.0.2.1"},
		{"ns", "a.wild.example.svc.cluster.local", dns.TypeA, "NOERROR; a.wild.example.svc.cluster.local. A 10.0.0.4"},
		{"ns", "dnsonly.example", dns.TypeA, "NOERROR; dnsonly.example. A 192.0.2.1"},
		{"ns", "secret.example", dns.TypeA, "NOERROR; secret.example. A 192.0.2.1"},
		{"other", "secret.example", dns.TypeA, "NOERROR; secret.example. A 10.0.0.5"},
		{"ns", "unknown.test", dns.TypeA, "NOERROR; unknown.test. A 192.0.2.1"},
		{"ns", "echo", dns.TypeMX, "NOERROR; echo. A 192.0.2.1"}, // only addresses are ours
	} {
		t.Run(tc.from+" "+tc.name+" "+dns.TypeToString[tc.qtype], func(t *testing.T) {
			q := new(dns.Msg).SetQuestion(dns.Fqdn(tc.name), tc.qtype)
			m := server(t, tc.from, up).Answer(context.Background(), q, false)
			if m.Id != q.Id {
				t.Errorf("got id %d, want %d", m.Id, q.Id)
			}
			// the owner of an answer is what was asked, a wildcard's included
			if got := answer(m); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
			for _, r := range m.Answer {
				if r.Header().Ttl > TTL {
					t.Errorf("got TTL %d, want at most %d", r.Header().Ttl, TTL)
				}
			}
		})
	}
}

func TestOverTheWire(t *testing.T) {
	up := upstream(t)
	s := server(t, "ns", up)
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close(); l.Close() })
	s.Serve(pc, l)
	ask := func(network, name string) *dns.Msg {
		m, _, err := (&dns.Client{Net: network}).Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), pc.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct{ network, name, want string }{
		{"udp", "echo", "NOERROR; echo. A 10.0.0.1"},
		{"tcp", "echo", "NOERROR; echo. A 10.0.0.1"},
		{"tcp", "x.test", "NOERROR; x.test. A 192.0.2.2"}, // forwarded over TCP
	} {
		t.Run(c.name+" over "+c.network, func(t *testing.T) {
			if got := answer(ask(c.network, c.name)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if m := ask("udp", "big.test"); !m.Truncated {
		t.Error("an answer larger than UDP allows must say so")
	}
	m := ask("tcp", "big.test")
	if m.Truncated {
		t.Error("over TCP: truncated")
	}
	if n := len(m.Answer); n != 201 {
		t.Errorf("over TCP: got %d records, want 201", n)
	}
}

func TestFailures(t *testing.T) {
	q := new(dns.Msg).SetQuestion("x.test.", dns.TypeA)
	dead := server(t, "ns", netip.MustParseAddrPort("127.0.0.1:1"))
	if m := dead.Answer(context.Background(), q, true); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("no name server answers: got %q, want SERVFAIL", answer(m))
	}
	alive := server(t, "ns", netip.MustParseAddrPort("127.0.0.1:1"), upstream(t))
	if m := alive.Answer(context.Background(), q, true); answer(m) != "NOERROR; x.test. A 192.0.2.2" {
		t.Errorf("the second name server is not asked: %s", answer(m))
	}
	unknown := server(t, "ns")
	unknown.Client = func(context.Context) (*workloadapi.Workload, error) { return nil, errors.New("who") }
	if m := unknown.Answer(context.Background(), q, false); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("the client is not known: got %q, want SERVFAIL", answer(m))
	}
}

func FuzzCandidates(f *testing.F) {
	f.Add("echo", "ns", "cluster.local")
	f.Add("a.b.c.svc.cluster.local", "b", "cluster.local")
	f.Add("...", "", "")
	f.Fuzz(func(t *testing.T, name, namespace, domain string) {
		seen := map[string]bool{}
		for i, c := range candidates(name, namespace, domain) {
			if c.host == "" {
				t.Fatalf("candidate %d is empty", i)
			}
			if seen[c.host] {
				t.Fatalf("candidate %d %q stands twice", i, c.host)
			}
			seen[c.host] = true
			if i == 0 && name != "" && c.host != name {
				t.Fatalf("the name itself comes first, not %q", c.host)
			}
		}
	})
}

// The VIPs are those of the network in which istiod says the client is: when that differs from
// NETWORK, ztunnel answers so, too, and then passes the call by.
func TestNetworkIsTheClients(t *testing.T) {
	s := server(t, "ns")
	s.Client = func(context.Context) (*workloadapi.Workload, error) {
		return &workloadapi.Workload{Namespace: "ns", Network: "n2"}, nil
	}
	q := new(dns.Msg).SetQuestion("echo.ns.svc.cluster.local.", dns.TypeA)
	m := s.Answer(t.Context(), q, false)
	if len(m.Answer) != 1 {
		t.Fatalf("got %v, want one answer", m)
	}
	if got := m.Answer[0].(*dns.A).A.String(); got != "10.9.9.9" {
		t.Errorf("got %s, want 10.9.9.9", got)
	}
}
