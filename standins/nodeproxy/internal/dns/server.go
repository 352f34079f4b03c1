package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

// TTL of answers of our own, seconds.
const TTL = 30

// Server answers one pod's queries.
type Server struct {
	Store     *state.Store
	Domain    string           // cluster domain, such as cluster.local
	Upstreams []netip.AddrPort // nameservers for everything else
	Sockets   netns.Sockets
	Client    func(context.Context) (*workloadapi.Workload, error) // the pod
	// Counted, when set, is told of each query, each forwarded one and each forwarded in vain.
	Counted func(client *workloadapi.Workload, what Event)
}

// Event is something counted.
type Event int

// Events.
const (
	Asked Event = iota
	Forwarded
	Failed
)

// Nameservers reads the servers of a resolv.conf.
func Nameservers(path string) ([]netip.AddrPort, error) {
	c, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, s := range c.Servers {
		if ip, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), 53))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s names no nameserver", path)
	}
	return out, nil
}

// Serve answers on pc and l until both are closed.
func (s *Server) Serve(pc net.PacketConn, l net.Listener) {
	if pc != nil {
		go (&dns.Server{PacketConn: pc, Handler: s}).ActivateAndServe() //nolint:errcheck // ends when pc is closed
	}
	if l != nil {
		go (&dns.Server{Listener: l, Handler: s}).ActivateAndServe() //nolint:errcheck // ends when l is closed
	}
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	m := s.Answer(ctx, q, tcp)
	if !tcp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

// Answer answers one query.
func (s *Server) Answer(ctx context.Context, q *dns.Msg, tcp bool) *dns.Msg {
	fail := func(code int) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return fail(dns.RcodeFormatError)
	}
	client, err := s.Client(ctx)
	if err != nil {
		return fail(dns.RcodeServerFailure)
	}
	s.count(client, Asked)
	question := q.Question[0]
	if question.Qclass == dns.ClassINET && (question.Qtype == dns.TypeA || question.Qtype == dns.TypeAAAA) {
		if m := s.local(q, client); m != nil {
			return m
		}
	}
	s.count(client, Forwarded)
	m, err := s.forward(ctx, q, tcp)
	if err != nil {
		s.count(client, Failed)
		return fail(dns.RcodeServerFailure)
	}
	return m
}

func (s *Server) count(w *workloadapi.Workload, e Event) {
	if s.Counted != nil {
		s.Counted(w, e)
	}
}

// local answers for a service istiod knows, nil for any other name.
func (s *Server) local(q *dns.Msg, client *workloadapi.Workload) *dns.Msg {
	question := q.Question[0]
	name := strings.ToLower(strings.TrimSuffix(question.Name, "."))
	for _, c := range candidates(name, client.Namespace, s.Domain) {
		v := s.find(c.host, client.Namespace)
		if v == nil {
			continue
		}
		if len(v.Addresses) == 0 && !strings.HasSuffix(v.Hostname, ".svc."+s.Domain) {
			return nil // no address of ours to give: a real name server may know it
		}
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		owner := question.Name
		if c.stripped != "" && !c.wildcard && c.stripped != name {
			owner = dns.Fqdn(c.stripped)
			m.Answer = append(m.Answer, &dns.CNAME{Hdr: header(question.Name, dns.TypeCNAME), Target: owner})
		}
		ips := s.addresses(v, client.Network, question.Qtype == dns.TypeA)
		rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
		for _, ip := range ips {
			if ip.Is4() {
				m.Answer = append(m.Answer, &dns.A{Hdr: header(owner, dns.TypeA), A: ip.AsSlice()})
			} else {
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(owner, dns.TypeAAAA), AAAA: ip.AsSlice()})
			}
		}
		return m
	}
	return nil
}

func header(name string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: TTL}
}

// find is the service of a hostname that the namespace may see.
func (s *Server) find(host, namespace string) *workloadapi.Service {
	v := s.Store.ServiceByHost(host, namespace)
	if v == nil || v.Visibility != workloadapi.Service_NAMESPACE || v.Namespace == namespace {
		return v
	}
	for _, v := range s.Store.ServicesByHost(host) {
		if v.Visibility != workloadapi.Service_NAMESPACE {
			return v
		}
	}
	return nil
}

// addresses are the VIPs of the client's network, or a headless service's endpoints. The client's
// is the one that istiod says, which NETWORK may differ from.
func (s *Server) addresses(v *workloadapi.Service, network string, v4 bool) []netip.Addr {
	var out []netip.Addr
	take := func(ip netip.Addr) {
		if ip = ip.Unmap(); ip.IsValid() && ip.Is4() == v4 {
			out = append(out, ip)
		}
	}
	for _, a := range v.Addresses {
		if a.Network == network && a.Length == nil {
			ip, _ := netip.AddrFromSlice(a.Address)
			take(ip)
		}
	}
	if len(v.Addresses) == 0 {
		for _, w := range s.Store.Endpoints(v) {
			if w.Status != workloadapi.WorkloadStatus_HEALTHY && v.LoadBalancing.GetHealthPolicy() != workloadapi.LoadBalancing_ALLOW_ALL {
				continue
			}
			for _, ip := range state.IPs(w) {
				take(ip)
			}
		}
	}
	return out
}

// forward asks the name servers in turn, from a socket of the pod.
func (s *Server) forward(ctx context.Context, q *dns.Msg, tcp bool) (*dns.Msg, error) {
	err := errors.New("no nameserver")
	for _, server := range s.Upstreams {
		var m *dns.Msg
		if m, err = s.exchange(ctx, server, q, tcp); err == nil {
			return m, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (s *Server) exchange(ctx context.Context, server netip.AddrPort, q *dns.Msg, tcp bool) (*dns.Msg, error) {
	ask := q.Copy()
	ask.Id = dns.Id()
	deadline := time.Now().Add(3 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	var c net.Conn
	var err error
	if tcp {
		c, err = s.Sockets.Dial(ctx, server, netip.Addr{})
	} else {
		c, err = s.Sockets.DialUDP(ctx, server)
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(deadline)
	dc := &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
	if err := dc.WriteMsg(ask); err != nil {
		return nil, err
	}
	for {
		m, err := dc.ReadMsg()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = fmt.Errorf("nameserver %s does not answer", server)
			}
			return nil, err
		}
		if m.Id == ask.Id { // anything else is late or forged
			m.Id = q.Id
			return m, nil
		}
	}
}
