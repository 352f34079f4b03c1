package hbone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
)

// Failures a caller tells apart; each is in the chain of the errors of this package.
var (
	ErrTLS           = identity.ErrTLS
	ErrIdentity      = errors.New("no certificate")
	ErrNetworkPolicy = errors.New("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008")
	ErrH2            = errors.New("h2 failed")
	errDraining      = errors.New("pool draining")
)

// Certificates gives an identity's certificate.
type Certificates interface {
	Get(ctx context.Context, id string) (*identity.Certificate, error)
}

// Key is what connections are shared by: never between identities, expectations, source addresses
// or destinations.
type Key struct {
	Identity string
	SANs     string // joined with ","; order counts
	Src      netip.Addr
	Dst      netip.AddrPort
}

// NewKey makes a key.
func NewKey(id string, sans []string, src netip.Addr, dst netip.AddrPort) Key {
	return Key{id, strings.Join(sans, ","), src, dst}
}

func (k Key) sans() []string {
	if k.SANs == "" {
		return nil
	}
	return strings.Split(k.SANs, ",")
}

// Limits of a pool. Zero means ztunnel's default.
type Limits struct {
	Streams     int           // per connection, at most; default 100
	IdleTimeout time.Duration // a connection unused this long is closed; default 5 min
	H2          h2.Config
}

// Pool holds one pod's connections to other proxies.
type Pool struct {
	sockets netns.Sockets
	certs   Certificates
	limits  Limits
	ctx     context.Context
	cancel  context.CancelFunc

	mu    sync.Mutex
	hosts map[Key]*host
}

type host struct {
	conns   []*pooled
	dialing *attempt
}

type pooled struct {
	*h2.Conn
	peer string
}

type attempt struct {
	done chan struct{}
	err  error
}

// NewPool opens sockets by s until Close.
func NewPool(s netns.Sockets, certs Certificates, l Limits) *Pool {
	if l.Streams == 0 {
		l.Streams = 100
	}
	if l.IdleTimeout == 0 {
		l.IdleTimeout = 5 * time.Minute
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{sockets: s, certs: certs, limits: l, ctx: ctx, cancel: cancel, hosts: map[Key]*host{}}
	go p.sweep()
	return p
}

// sweep closes what nobody has used for long.
func (p *Pool) sweep() {
	t := time.NewTicker(p.limits.IdleTimeout / 4)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		p.mu.Lock()
		for _, h := range p.hosts {
			for _, c := range h.conns {
				if c.Idle() > p.limits.IdleTimeout {
					c.GoAway()
				}
			}
		}
		p.mu.Unlock()
	}
}

// Drain lets open tunnels finish and opens no more.
func (p *Pool) Drain() {
	p.cancel()
	p.each(func(c *pooled) { c.GoAway() })
}

// Close ends everything at once.
func (p *Pool) Close() {
	p.cancel()
	p.each(func(c *pooled) { c.Conn.Close() })
}

func (p *Pool) each(f func(*pooled)) {
	p.mu.Lock()
	var all []*pooled
	for _, h := range p.hosts {
		all = append(all, h.conns...)
	}
	p.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

// Connect opens a tunnel to authority through k's destination. peer is the identity the next hop
// proved.
func (p *Pool) Connect(ctx context.Context, k Key, authority string, h h2.Header) (s *h2.Stream, answer h2.Header, peer string, err error) {
	for range 3 { // a connection may go away between choosing and using it
		var c *pooled
		if c, err = p.conn(ctx, k); err != nil {
			return nil, nil, "", err
		}
		s, answer, err = c.Connect(ctx, authority, h)
		if err == nil {
			return s, answer, c.peer, nil
		}
		if !h2.Unprocessed(err) {
			break
		}
	}
	var status *h2.StatusError
	if !errors.As(err, &status) {
		err = fmt.Errorf("%w: %w", ErrH2, err)
	}
	return nil, nil, "", err
}

// conn finds or makes a connection with a stream reserved. However many ask at once, one handshake
// is under way per key.
func (p *Pool) conn(ctx context.Context, k Key) (*pooled, error) {
	for {
		p.mu.Lock()
		if p.ctx.Err() != nil {
			p.mu.Unlock()
			return nil, errDraining
		}
		h := p.hosts[k]
		if h == nil {
			h = &host{}
			p.hosts[k] = h
		}
		for _, c := range h.conns {
			if c.ReserveStream(p.limits.Streams) {
				p.mu.Unlock()
				return c, nil
			}
		}
		a := h.dialing
		if a == nil {
			a = &attempt{done: make(chan struct{})}
			h.dialing = a
			go p.dial(k, h, a) // not under the caller's context: others wait for it too
		}
		p.mu.Unlock()
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("no connection to %s yet: %w", k.Dst, context.Cause(ctx))
		}
	}
}

func (p *Pool) dial(k Key, h *host, a *attempt) {
	ctx, cancel := context.WithTimeout(p.ctx, netns.DialTimeout+5*time.Second)
	defer cancel()
	c, err := p.handshake(ctx, k)
	p.mu.Lock()
	h.dialing = nil
	a.err = err
	if err == nil {
		if p.ctx.Err() != nil {
			a.err = errDraining
			defer c.Close()
		} else {
			h.conns = append(h.conns, c)
		}
	}
	if len(h.conns) == 0 && p.hosts[k] == h {
		delete(p.hosts, k)
	}
	close(a.done)
	p.mu.Unlock()
	if err != nil {
		return
	}
	<-c.Done()
	p.mu.Lock()
	for i, x := range h.conns {
		if x == c {
			h.conns = append(h.conns[:i:i], h.conns[i+1:]...)
			break
		}
	}
	if len(h.conns) == 0 && h.dialing == nil && p.hosts[k] == h {
		delete(p.hosts, k)
	}
	p.mu.Unlock()
}

func (p *Pool) handshake(ctx context.Context, k Key) (*pooled, error) {
	cert, err := p.certs.Get(ctx, k.Identity)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	nc, err := p.sockets.Dial(ctx, k.Dst, netip.Addr{})
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || timedOut(err) {
			return nil, fmt.Errorf("%w: %w", ErrNetworkPolicy, err)
		}
		return nil, fmt.Errorf("connection failed: %w", err)
	}
	t := tls.Client(nc, cert.Client(k.sans()))
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	c, err := h2.Client(t, p.limits.H2)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrH2, err)
	}
	return &pooled{c, identity.Peer(t.ConnectionState())}, nil
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// Tunnel is a stream inside a stream, with the inner connection that is its alone.
type Tunnel struct {
	*h2.Stream
	inner *h2.Conn
}

// Close ends the tunnel and its connection, giving the last frames a moment to leave.
func (t *Tunnel) Close() error {
	err := t.Stream.Close()
	t.inner.GoAway()
	time.AfterFunc(lingers, func() { t.inner.Close() })
	return err
}

// lingers is how long the end of a tunnel may take to reach the other end.
const lingers = 5 * time.Second

// outer is the outer stream of a tunnel. To reset it would have the gateway throw away what it has not
// yet handed on.
type outer struct{ *h2.Stream }

// Close closes this direction, and the stream once the other end has closed the other one.
func (o outer) Close() error {
	if err := o.CloseWrite(); err != nil {
		return o.Stream.Close()
	}
	_ = o.SetReadDeadline(time.Now().Add(lingers))
	go func() {
		_, _ = io.Copy(io.Discard, o.Stream)
		o.Stream.Close()
	}()
	return nil
}

// Double opens a tunnel to authority (a service's host and port) in another network: k's
// destination is that network's gateway, which passes the inner, end-to-end encrypted connection on
// to something that must show one of sans. The inner connection is not pooled: otherwise only one
// workload of the other network would ever be reached.
func (p *Pool) Double(
	ctx context.Context,
	k Key,
	authority string,
	sans []string,
	network string,
	h h2.Header,
) (t *Tunnel, answer h2.Header, peer string, err error) {
	stream, _, _, err := p.Connect(ctx, k, authority, h)
	if err != nil {
		return nil, nil, "", err
	}
	cert, err := p.certs.Get(ctx, k.Identity)
	if err != nil {
		stream.Close()
		return nil, nil, "", fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	tc := tls.Client(outer{stream}, cert.Client(sans))
	if err := tc.HandshakeContext(ctx); err != nil {
		stream.Close()
		return nil, nil, "", fmt.Errorf("%w: inner: %w", ErrTLS, err)
	}
	inner, err := h2.Client(tc, p.limits.H2)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%w: inner: %w", ErrH2, err)
	}
	in := maps.Clone(h)
	in[ForwardedNetworkHeader] = network
	inner.ReserveStream(1)
	s, answer, err := inner.Connect(ctx, authority, in)
	if err != nil {
		inner.Close()
		var status *h2.StatusError
		if !errors.As(err, &status) {
			err = fmt.Errorf("%w: inner: %w", ErrH2, err)
		}
		return nil, nil, "", err
	}
	return &Tunnel{s, inner}, answer, identity.Peer(tc.ConnectionState()), nil
}
