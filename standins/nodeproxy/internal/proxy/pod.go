package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/zdsapi"

	"ambient.test/conformance/standins/nodeproxy/internal/dns"
	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// Pod proxies one pod.
type Pod struct {
	*Shared
	info    *zdsapi.WorkloadInfo
	sockets netns.Sockets
	pool    *hbone.Pool

	ctx       context.Context // ends when open connections must
	kill      context.CancelFunc
	listeners []interface{ Close() error }

	mu       sync.Mutex
	stopping bool
	servers  map[*h2.Conn]struct{}
	active   sync.WaitGroup
}

// Start makes the pod's sockets, on the ports named or on all, and serves them. On an error sockets
// stays the caller's; otherwise it is closed by Stop.
func Start(s *Shared, info *zdsapi.WorkloadInfo, sockets netns.Sockets, only ...uint16) (*Pod, error) {
	p := &Pod{Shared: s, info: info, sockets: sockets, pool: hbone.NewPool(sockets, s.Certs, s.Limits), servers: map[*h2.Conn]struct{}{}}
	p.ctx, p.kill = context.WithCancel(context.Background())
	err := p.listen(only)
	if err != nil {
		p.closeListeners()
		p.pool.Close()
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *Pod) listen(only []uint16) error {
	serve := map[uint16]func(net.Conn){OutboundPort: p.outbound, PlaintextPort: p.plaintext, HBONEPort: p.inbound}
	if len(only) == 0 {
		only = []uint16{OutboundPort, PlaintextPort, HBONEPort, DNSPort}
	}
	for _, port := range only {
		if port == DNSPort {
			if err := p.listenDNS(); err != nil {
				return err
			}
			continue
		}
		l, err := p.sockets.Listen(p.ctx, "", port, port != OutboundPort)
		if err != nil {
			return err
		}
		p.listeners = append(p.listeners, l)
		go p.accept(l, serve[port])
	}
	return nil
}

func (p *Pod) listenDNS() error {
	if len(p.Nameservers) == 0 {
		return nil
	}
	srv := &dns.Server{Store: p.Store, Domain: p.Domain, Upstreams: p.Nameservers, Sockets: p.sockets, Client: p.workload, Counted: p.countDNS}
	hosts := []string{"127.0.0.1"}
	if p.IPv6 {
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		pc, err := p.sockets.ListenPacket(p.ctx, host, DNSPort)
		var l net.Listener
		if err == nil {
			p.listeners = append(p.listeners, pc)
			if l, err = p.sockets.Listen(p.ctx, host, DNSPort, false); err == nil {
				p.listeners = append(p.listeners, l)
			}
		}
		if err != nil {
			if host == "::1" && errors.Is(err, syscall.EADDRNOTAVAIL) {
				continue // a pod without IPv6
			}
			return err
		}
		srv.Serve(pc, l)
	}
	return nil
}

func (p *Pod) countDNS(w *workloadapi.Workload, e dns.Event) {
	m := p.Recorder.Metrics
	vec := map[dns.Event]interface{ Inc() }{
		dns.Asked:     m.DNSRequests.WithLabelValues(w.WorkloadName, w.Namespace),
		dns.Forwarded: m.DNSUpstream.WithLabelValues(w.WorkloadName, w.Namespace),
		dns.Failed:    m.DNSFailures.WithLabelValues(w.WorkloadName, w.Namespace),
	}
	vec[e].Inc()
}

func (p *Pod) accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.Log.Error("accept", "pod", p.name(), "error", err)
			select { // out of descriptors, most likely
			case <-time.After(50 * time.Millisecond):
			case <-p.ctx.Done():
				return
			}
			continue
		}
		p.mu.Lock()
		if p.stopping {
			p.mu.Unlock()
			c.Close()
			return
		}
		p.active.Add(1)
		p.mu.Unlock()
		go func() {
			defer p.active.Done()
			defer c.Close()
			defer context.AfterFunc(p.ctx, func() { c.Close() })()
			serve(c)
		}()
	}
}

func (p *Pod) name() string { return p.info.Namespace + "/" + p.info.Name }

// workload is this pod as istiod describes it.
func (p *Pod) workload(ctx context.Context) (*workloadapi.Workload, error) {
	if w := p.waitFor(ctx, p.now); w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("failed to fetch information about local workload: %s", p.name())
}

func (p *Pod) now() *workloadapi.Workload {
	return p.Store.LocalPod(p.info.Namespace, p.info.Name, p.info.ServiceAccount)
}

func (p *Pod) socketOpen(r telemetry.Reporter) func() {
	g := p.Recorder.Metrics.SocketsOpen.WithLabelValues(string(r))
	g.Inc()
	return g.Dec
}

// serving tracks an inbound HTTP/2 connection, so that it hears of a drain; false when one has
// begun.
func (p *Pod) serving(c *h2.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers[c] = struct{}{}
	return !p.stopping
}

func (p *Pod) served(c *h2.Conn) {
	p.mu.Lock()
	delete(p.servers, c)
	p.mu.Unlock()
}

func (p *Pod) closeListeners() {
	for _, l := range p.listeners {
		l.Close()
	}
}

// Stop closes the listeners at once, tells peers to open nothing more, and ends open connections
// after grace.
func (p *Pod) Stop(grace time.Duration) {
	p.mu.Lock()
	p.stopping = true
	var conns []*h2.Conn
	for c := range p.servers {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	p.closeListeners()
	if grace > 0 {
		p.pool.Drain()
		for _, c := range conns {
			c.GoAway()
		}
		done := make(chan struct{})
		go func() { p.active.Wait(); close(done) }()
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			p.Log.Warn("connections still open at the end of the drain are cut", "pod", p.name())
		}
	}
	p.kill()
	p.pool.Close()
	p.active.Wait()
	p.sockets.Close()
}
