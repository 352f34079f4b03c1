// Package portforward opens connections into a pod through its API server (the port-forward
// subresource).
//
// Each pod has one connection to the API server, which stays open for the whole run and carries any
// number of streams. A call therefore costs a stream and not an exec, and the suite needs no route
// to the clusters' networks. client-go's own port-forwarder opens a local port instead.
package portforward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"ambient.test/conformance/framework/mesh"
)

// Pod opens connections into one pod. It is safe for concurrent use. When the API server has closed
// the connection, the next Dial opens another.
type Pod struct {
	Cluster         *mesh.Cluster
	Namespace, Name string

	mu   sync.Mutex
	conn httpstream.Connection
	ids  atomic.Int64
}

// Open prepares connections into a pod. It connects to nothing before the first Dial.
func Open(c *mesh.Cluster, namespace, name string) *Pod {
	return &Pod{Cluster: c, Namespace: namespace, Name: name}
}

// String names the pod as cluster/namespace/name.
func (p *Pod) String() string { return p.Cluster.Name + "/" + p.Namespace + "/" + p.Name }

// Dial connects to a port on the pod's loopback. Errors name the pod and the port. A refused port
// shows as an error of the first read, because the kubelet reports it on a stream of its own.
func (p *Pod) Dial(ctx context.Context, port int) (net.Conn, error) {
	c, err := p.connection(ctx)
	if err != nil {
		return nil, fmt.Errorf("port-forward to %s: %w", p, err)
	}
	s, err := p.stream(ctx, c, port)
	if err != nil && ctx.Err() == nil { // the connection was lost: try once more with a new one
		p.drop(c)
		if c, err = p.connection(ctx); err == nil {
			s, err = p.stream(ctx, c, port)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("port-forward to %s port %d: %w", p, port, err)
	}
	return s, nil
}

// Close ends the connection and all its streams.
func (p *Pod) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

// HTTP is a client whose every request goes to the pod; the host of the URL only names the port.
func (p *Pod) HTTP() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			_, ps, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			port, err := strconv.Atoi(ps)
			if err != nil {
				return nil, err
			}
			return p.Dial(ctx, port)
		}}}
}

func (p *Pod) connection(ctx context.Context) (httpstream.Connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		select {
		case <-p.conn.CloseChan():
			p.conn = nil
		default:
			return p.conn, nil
		}
	}
	rt, up, err := spdy.RoundTripperFor(p.Cluster.REST())
	if err != nil {
		return nil, err
	}
	u := p.Cluster.Kube().CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("portforward").URL()
	type result struct {
		c   httpstream.Connection
		err error
	}
	ch := make(chan result, 1)
	go func() {
		c, _, err := spdy.NewDialerForStreaming(up, &http.Client{Transport: rt}, http.MethodPost, u).Dial(portforward.PortForwardProtocolV1Name)
		ch <- result{c, err}
	}()
	select {
	case r := <-ch:
		p.conn = r.c
		return r.c, r.err
	case <-ctx.Done():
		go func() { // nobody uses the connection that may still come
			if r := <-ch; r.c != nil {
				_ = r.c.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func (p *Pod) drop(c httpstream.Connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == c {
		_ = c.Close()
		p.conn = nil
	}
}

func (p *Pod) stream(ctx context.Context, c httpstream.Connection, port int) (net.Conn, error) {
	h := http.Header{}
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	h.Set(corev1.PortHeader, strconv.Itoa(port))
	h.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(p.ids.Add(1), 10))
	es, err := p.create(ctx, c, h)
	if err != nil {
		return nil, err
	}
	_ = es.Close() // only the kubelet writes on the error stream
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	ds, err := p.create(ctx, c, h)
	if err != nil {
		c.RemoveStreams(es)
		return nil, err
	}
	s := &conn{Stream: ds, where: fmt.Sprintf("%s:%d", p, port), done: func() { c.RemoveStreams(es, ds) }, failed: make(chan struct{}),
		apiServer: c.CloseChan()}
	go func() {
		defer close(s.failed)
		if b, err := io.ReadAll(es); err == nil && len(b) > 0 {
			s.why = errors.New(string(b))
			// When a peer answers and then resets, the kubelet reports the failure while the answer is
			// still on its way: the reader gets the answer first. The reset then wakes a reader that
			// still waits.
			time.AfterFunc(250*time.Millisecond, func() { _ = ds.Reset() })
		}
	}()
	return s, nil
}

// create creates a stream. Left alone, a connection that is lost just now would make it wait 30
// seconds for the server's reply.
func (p *Pod) create(ctx context.Context, c httpstream.Connection, h http.Header) (httpstream.Stream, error) {
	type result struct {
		s   httpstream.Stream
		err error
	}
	ch := make(chan result, 1)
	h = h.Clone()
	go func() {
		s, err := c.CreateStream(h)
		ch <- result{s, err}
	}()
	select {
	case r := <-ch:
		return r.s, r.err
	case <-c.CloseChan():
		return nil, errors.New("the connection to the API server was lost")
	case <-ctx.Done():
		go func() { // nobody uses the stream that may still come, and a connection that gives none is dead
			if r := <-ch; r.err != nil {
				p.drop(c)
			} else {
				_ = r.s.Reset()
				c.RemoveStreams(r.s)
			}
		}()
		return nil, ctx.Err()
	}
}

// conn is one port-forward stream as a net.Conn. SPDY streams have no deadlines: a timer resets the
// stream instead.
type conn struct {
	httpstream.Stream
	where  string
	done   func()
	once   sync.Once
	failed chan struct{}
	why    error

	apiServer <-chan bool // is closed when the connection to the API server is lost

	mu       sync.Mutex
	timer    *time.Timer
	deadline bool
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	if err == nil {
		return n, nil
	}
	c.mu.Lock()
	late := c.deadline
	c.mu.Unlock()
	if late {
		return n, timeout{c.where}
	}
	select {
	case <-c.failed:
		if c.why != nil {
			return n, c.why
		}
	case <-time.After(afterEnd): // the reason comes on another stream
	}
	return n, err
}

// afterEnd is how much later than the end of a stream its reason may come.
const afterEnd = 50 * time.Millisecond

func (c *conn) Close() error {
	c.once.Do(func() { _ = c.Reset(); c.done() })
	return nil
}

// Lost says whether a connection of [Pod.Dial], or one that it carries, ended on our side: its
// deadline passed, the API server's connection was lost, or the kubelet reports that it could not
// reach the port. It is nil if the pod's side may have ended it, and for other connections.
func Lost(c net.Conn) error {
	if c, ok := c.(interface{ Lost() error }); ok {
		return c.Lost()
	}
	return nil
}

// Lost is [Lost] of this connection.
func (c *conn) Lost() error {
	c.mu.Lock()
	late := c.deadline
	c.mu.Unlock()
	if late {
		return timeout{c.where}
	}
	select {
	case <-c.failed:
		if c.why != nil && strings.Contains(c.why.Error(), "failed to connect") {
			return fmt.Errorf("port-forward to %s: %w", c.where, c.why)
		}
	default:
	}
	select {
	case <-c.apiServer:
		return fmt.Errorf("port-forward to %s: the connection to the API server was lost", c.where)
	case <-time.After(afterEnd): // an API server that goes resets its streams before
	}
	return nil
}

// CloseWrite half-closes the connection, as net.TCPConn does.
func (c *conn) CloseWrite() error { return c.Stream.Close() }

func (c *conn) LocalAddr() net.Addr               { return addr("port-forward") }
func (c *conn) RemoteAddr() net.Addr              { return addr(c.where) }
func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error  { return nil }

func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if !t.IsZero() {
		c.timer = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			c.deadline = true
			c.mu.Unlock()
			_ = c.Reset()
		})
	}
	return nil
}

type addr string

func (addr) Network() string  { return "port-forward" }
func (a addr) String() string { return string(a) }

type timeout struct{ where string }

func (t timeout) Error() string { return t.where + ": i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }
