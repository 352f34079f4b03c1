package spec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/peer"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/internal/sleep"
)

// Peers are pods of a spec's own in every cluster, each a client and a server of the suite's own.
// The Service of them is local.
type Peers struct {
	*Service
	all peer.Peers
}

// DeployPeers deploys them and waits for them.
func (t *T) DeployPeers(word string, options ...ServiceOption) *Peers {
	if !slices.Contains(t.Behavior.Needs, behaviors.PeerImage) {
		panic("authoring mistake: what deploys peers needs " + string(behaviors.PeerImage))
	}
	if t.PeerImage() == "" {
		t.NoError(errors.New("the fleet file names no image peer, as one of an older amc: run `amc down` and `amc up`"))
	}
	p := &Peers{Service: t.DeployEcho(word, append(options, func(o *serviceOptions) { o.peer = true })...)}
	for _, pod := range t.Pods(p.Service, t.Clusters...) {
		forward := portforward.Open(pod.Cluster.Cluster, pod.Namespace, pod.Name)
		t.Cleanup(func(context.Context) error { forward.Close(); return nil })
		p.all = append(p.all, peer.Dial(forward))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peers = append(t.peers, p.all...)
	return p
}

// client is one of a cluster's peers.
func (p *Peers) client(c *Cluster) *peer.Peer {
	i := slices.IndexFunc(p.all, func(x *peer.Peer) bool { return x.Cluster == c.Name })
	if i < 0 {
		p.t.NoError(fmt.Errorf("%s: it has no pods of %s", c.Name, p.Name))
	}
	return p.all[i]
}

// allPeers are the spec's peers of all names: each may be the server.
func (t *T) allPeers() peer.Peers {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.peers)
}

// Exchange are exchanges of a cluster's peer with a Service in front of peers.
func (p *Peers) Exchange(c *Cluster, to *Service, x peer.Exchange) PeerConnections {
	address := net.JoinHostPort(to.Host(), strconv.Itoa(traffic.TCP))
	return p.connections(c, address, func(ctx context.Context) (peer.Ends, error) {
		return p.t.allPeers().Exchange(ctx, p.client(c), address, x)
	})
}

// Connection is one that stays open while a spec changes something. The value is what became of it, a
// list of one [peer.Ends].
type Connection struct {
	says  string
	ended chan struct{}
	ends  peer.Ends // when ended is closed
	err   error
}

// Connect opens a connection of a cluster's peer to a Service in front of peers. The client sends a byte
// five times a second for so long, then the server answers with one and closes.
func (p *Peers) Connect(c *Cluster, to *Service, lasting time.Duration) *Connection {
	address := net.JoinHostPort(to.Host(), strconv.Itoa(traffic.TCP))
	made := &Connection{says: fmt.Sprintf("the open connection %s in %s -> %s", p.Name, c, address), ended: make(chan struct{})}
	ctx, client, all := p.t.ctx, p.client(c), p.t.allPeers()
	go func() {
		defer close(made.ended)
		made.ends, made.err = all.Exchange(ctx, client, address,
			peer.Exchange{Up: Beats(lasting), Down: 1, Write: 1, Pause: int(beat.Milliseconds())})
	}()
	return made
}

// beat is the time between two bytes of a [Connection].
const beat = 200 * time.Millisecond

// Beats are the bytes that the client of a [Connection] sends.
func Beats(lasting time.Duration) int64 { return int64(lasting / beat) }

// String says who is connected to whom.
func (c *Connection) String() string { return c.says }

// Look tells whether the connection has ended, and how. The error means that the pods could not be
// driven.
func (c *Connection) Look(context.Context, int) (any, error) {
	select {
	case <-c.ended:
		return []peer.Ends{c.ends}, c.err
	default:
		return []peer.Ends{{Client: peer.End{How: peer.Open}}}, nil
	}
}

// Together are this many exchanges at each look, all of which are open before any of them sends.
func (p *Peers) Together(c *Cluster, to *Service, count int, x peer.Exchange) Subject {
	address := net.JoinHostPort(to.Host(), strconv.Itoa(traffic.TCP))
	return Probe(fmt.Sprintf("%d times at once %s in %s -> %s", count, p.Name, c, address), func(ctx context.Context) (any, error) {
		return p.all.Together(ctx, p.client(c), address, count, x)
	})
}

// Download are bodies of this many bytes that a cluster's peer gets by HTTP from a Service in front
// of them; the client resets the connection after some of them, 0 = not at all.
func (p *Peers) Download(c *Cluster, from *Service, size, resetAfter int64) PeerConnections {
	address := net.JoinHostPort(from.Host(), "80")
	return p.connections(c, address, func(ctx context.Context) (peer.Ends, error) {
		return p.all.Download(ctx, p.client(c), address, size, resetAfter)
	})
}

func (p *Peers) connections(c *Cluster, to string, one func(context.Context) (peer.Ends, error)) PeerConnections {
	return PeerConnections{says: fmt.Sprintf("%s in %s -> %s", p.Name, c, to), one: one, times: 1}
}

// PeerConnections are a subject: each look makes one or some anew. The value is []peer.Ends.
type PeerConnections struct {
	says  string
	one   func(context.Context) (peer.Ends, error)
	times int
}

// Times lets each look make this many connections, a few at a time.
func (c PeerConnections) Times(n int) PeerConnections { c.times = n; return c }

// String says who connects to whom.
func (c PeerConnections) String() string { return c.says }

// atOnce is how many connections of one look are there at the same time.
const atOnce = 8

// Look makes the connections. The error means that nothing was learned.
func (c PeerConnections) Look(ctx context.Context, _ int) (any, error) {
	all := make([]peer.Ends, c.times)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range all {
		g.Go(func() (err error) { all[i], err = c.one(ctx); return err })
	}
	return all, g.Wait()
}

// Lookup is a cluster's peer that looks up the name of a Service. The value is [peer.Addresses].
func (p *Peers) Lookup(c *Cluster, s *Service) Subject {
	return Probe(fmt.Sprintf("%s in %s looks up %s", p.Name, c, s.Host()), func(ctx context.Context) (any, error) {
		return p.client(c).Lookup(ctx, s.Host())
	})
}

// Datagrams are questions by UDP of a cluster's peer to a Service in front of them, on a port that it
// has [WithUDP].
func (p *Peers) Datagrams(c *Cluster, to *Service) Sampler {
	address := net.JoinHostPort(to.Host(), strconv.Itoa(to.udp))
	return datagrams{fmt.Sprintf("datagrams of %s in %s -> %s", p.Name, c, address), p.client(c), address}
}

type datagrams struct {
	says string
	from *peer.Peer
	to   string
}

// String says who asks whom.
func (d datagrams) String() string { return d.says }

// Look asks n times.
func (d datagrams) Look(ctx context.Context, n int) (any, error) { return d.Spread(ctx, n, 0) }

// Spread asks n times, evenly over a time.
func (d datagrams) Spread(ctx context.Context, n int, over time.Duration) (traffic.Outcomes, error) {
	os := make(traffic.Outcomes, n)
	g, asking := errgroup.WithContext(ctx)
	for i := range os {
		if !sleep.For(asking, over/time.Duration(n)) {
			break
		}
		g.Go(func() error {
			ends, err := d.from.Datagram(asking, d.to)
			if os[i] = (traffic.Outcome{Kind: traffic.Reached, Cluster: ends.Server.Cluster, Workload: ends.Server.Pod}); ends.Failed != "" {
				os[i] = traffic.Outcome{Kind: traffic.TimedOut, Detail: ends.Failed}
			}
			return err
		})
	}
	return os, errors.Join(g.Wait(), ctx.Err())
}
