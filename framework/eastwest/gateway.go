package eastwest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/wait"
)

// Port is the port on which a gateway accepts HBONE.
const Port = 15008

// quiet is how long a peer may stay silent before it counts as silent.
const quiet = 2 * time.Second

// Gateway is a cluster's east-west gateway.
type Gateway struct {
	Cluster *mesh.Cluster
	pod     *portforward.Pod
}

// ErrNoPod says that a cluster has no pod of an east-west gateway, ready or not.
var ErrNoPod = errors.New("no pod of an east-west gateway (class " + inspect.EastWestClass + ")")

// Find waits for the cluster's east-west gateway to be ready and returns it. If it has no pod at
// all, the error is ErrNoPod.
func Find(ctx context.Context, c *mesh.Cluster) (*Gateway, error) {
	gws, err := c.Kube().CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: gateway.GatewayClassNameLabelKey + "=" +
		inspect.EastWestClass})
	if err != nil {
		return nil, fmt.Errorf("%s: look for the east-west gateway: %w", c.Name, err)
	}
	if len(gws.Items) == 0 {
		return nil, fmt.Errorf("%s: %w: run `kubectl --kubeconfig %s get gateways -A`", c.Name, ErrNoPod, c.Kubeconfig)
	}
	p := gws.Items[0]
	ready, err := wait.Pods(ctx, c, p.Namespace, map[string]string{gateway.GatewayNameLabelKey: p.Labels[gateway.GatewayNameLabelKey]}, 1)
	if err != nil {
		return nil, err
	}
	return &Gateway{c, portforward.Open(c, ready[0].Namespace, ready[0].Name)}, nil
}

// Close ends the connection into the pod.
func (g *Gateway) Close() { g.pod.Close() }

// closing is how long a gateway may take to close a connection that it refuses. Envoy sends its
// alert at once, but delays the close by a second, and by more on a busy machine.
const closing = 10 * time.Second

// Reply is what came back for raw bytes.
type Reply struct {
	Bytes []byte
	// LeftOpen says that the gateway did not close the connection within ten seconds.
	LeftOpen bool
}

// String is for messages.
func (r Reply) String() string {
	if r.LeftOpen {
		return fmt.Sprintf("%d bytes %x, connection left open", len(r.Bytes), r.Bytes)
	}
	return fmt.Sprintf("%d bytes %x, then closed", len(r.Bytes), r.Bytes)
}

// Send writes bytes to the gateway's port and reads until the gateway closes.
func (g *Gateway) Send(ctx context.Context, payload []byte) (Reply, error) {
	c, err := g.pod.Dial(ctx, Port)
	if err != nil {
		return Reply{}, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(payload); err != nil {
		return Reply{}, err
	}
	_ = c.SetDeadline(time.Now().Add(closing))
	got, err := io.ReadAll(c)
	var timeout net.Error
	return Reply{got, errors.As(err, &timeout) && timeout.Timeout()}, nil
}

// Shake makes a TLS handshake and reads once, because TLS 1.3 reports a refused certificate only
// then. The error is what the gateway said; nil means that it served.
func (g *Gateway) Shake(ctx context.Context, conf *tls.Config) error {
	c, err := g.pod.Dial(ctx, Port)
	if err != nil {
		return err
	}
	t := &alertConn{Conn: tls.Client(c, conf)}
	defer func() { _ = t.Close() }()
	_ = c.SetDeadline(time.Now().Add(3 * quiet))
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	// Speak HTTP/2 first: Envoy answers only then. One that refuses the certificate sends an alert
	// instead.
	if _, err := io.WriteString(t, http2.ClientPreface); err != nil {
		return t.cause(err)
	}
	if err := http2.NewFramer(t, nil).WriteSettings(); err != nil {
		return t.cause(err)
	}
	f, err := http2.NewFramer(nil, t).ReadFrame()
	if err != nil {
		return err
	}
	if _, ok := f.(*http2.SettingsFrame); !ok {
		return fmt.Errorf("the gateway answered with a frame of type %s instead of SETTINGS", f.Header().Type)
	}
	return nil
}

// alertConn is a TLS connection that keeps the alert with which the peer ended it. A TLS 1.3 server
// refuses a certificate after the client's handshake is over. The client may be writing by then,
// and the write may fail on the closed connection before the alert is read.
type alertConn struct {
	*tls.Conn
	alert atomic.Pointer[net.OpError]
}

func (c *alertConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" { // crypto/tls's name of an alert
		c.alert.Store(op)
	}
	return n, err
}

func (c *alertConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		_, _ = c.Read(make([]byte, 1))
	}
	return n, err
}

// cause returns the peer's alert if there was one, else err.
func (c *alertConn) cause(err error) error {
	if alert := c.alert.Load(); alert != nil {
		return alert
	}
	return err
}

// WithCertificate returns the TLS configuration of a client of the mesh. With a nil id the client
// has no certificate.
func WithCertificate(id *Identity) *tls.Config {
	if id == nil {
		return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true}
	}
	return id.config()
}

// Tunnel is an open HBONE tunnel.
type Tunnel struct {
	net.Conn
	Peer  string // identity of the tunnel's other end
	close func()
}

// Close ends the tunnel.
func (t *Tunnel) Close() error { err := t.Conn.Close(); t.close(); return err }

// Refusal is an HTTP status other than 200 that answered a CONNECT, or a tunnel that was closed
// instead of answered.
type Refusal struct {
	Hop    string // outer or inner
	Status int    // 0 when the connection was closed
	Err    error
}

func (r *Refusal) Error() string {
	if r.Status != 0 {
		return fmt.Sprintf("%s CONNECT answered %d", r.Hop, r.Status)
	}
	return fmt.Sprintf("%s tunnel: %v", r.Hop, r.Err)
}

func (r *Refusal) Unwrap() error { return r.Err }

// Single opens one HBONE tunnel to authority (host:port), as a client inside the gateway's network
// would.
func (g *Gateway) Single(ctx context.Context, id *Identity, authority string, headers map[string]string) (*Tunnel, error) {
	c, err := g.pod.Dial(ctx, Port)
	if err != nil {
		return nil, err
	}
	return tunnel(ctx, "outer", c, id, authority, headers)
}

// Double opens an HBONE tunnel to authority and a second one inside it, as a ztunnel of another
// network does.
func (g *Gateway) Double(ctx context.Context, outer, inner *Identity, authority string) (*Tunnel, error) {
	o, err := g.Single(ctx, outer, authority, nil)
	if err != nil {
		return nil, err
	}
	in, err := tunnel(ctx, "inner", o, inner, authority, map[string]string{"X-Forwarded-Network": "amc"})
	if err != nil {
		_ = o.Close()
		return nil, err
	}
	return in, nil
}

func tunnel(ctx context.Context, hop string, c net.Conn, id *Identity, authority string, headers map[string]string) (*Tunnel, error) {
	t := &alertConn{Conn: tls.Client(c, id.config())}
	hctx, cancel := context.WithTimeout(ctx, 3*quiet)
	defer cancel()
	if err := t.HandshakeContext(hctx); err != nil {
		_ = c.Close()
		return nil, &Refusal{Hop: hop, Err: err}
	}
	cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(t)
	if err != nil {
		_ = c.Close()
		return nil, &Refusal{Hop: hop, Err: t.cause(err)}
	}
	pr, pw := io.Pipe()
	rctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	timer := time.AfterFunc(3*quiet, stop)
	h := http.Header{}
	for k, v := range headers {
		h.Set(k, v)
	}
	resp, err := cc.RoundTrip((&http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: authority},
		Host: authority, Header: h, Body: pr, ContentLength: -1}).WithContext(rctx))
	if !timer.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	end := func() { stop(); _ = cc.Close(); _ = c.Close() }
	if err != nil {
		end()
		return nil, &Refusal{Hop: hop, Err: t.cause(err)}
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		end()
		return nil, &Refusal{Hop: hop, Status: resp.StatusCode}
	}
	return &Tunnel{Conn: &pipe{r: resp.Body, w: pw, raw: c}, Peer: Peer(t.ConnectionState()), close: end}, nil
}

// pipe makes a CONNECT stream a net.Conn.
type pipe struct {
	r   io.ReadCloser
	w   *io.PipeWriter
	raw net.Conn
}

// Read hides the error types of HTTP/2. Otherwise the inner HTTP/2 connection would take an error
// of the outer stream for its own.
func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.New(err.Error())
	}
	return n, err
}
func (p *pipe) Write(b []byte) (int, error)       { return p.w.Write(b) }
func (p *pipe) Close() error                      { _ = p.r.Close(); return p.w.Close() }
func (p *pipe) LocalAddr() net.Addr               { return p.raw.LocalAddr() }
func (p *pipe) RemoteAddr() net.Addr              { return p.raw.RemoteAddr() }
func (p *pipe) SetDeadline(t time.Time) error     { return p.raw.SetDeadline(t) }
func (p *pipe) SetReadDeadline(t time.Time) error { return p.raw.SetDeadline(t) }
func (*pipe) SetWriteDeadline(time.Time) error    { return nil }

// Get sends one HTTP/1.1 request through a tunnel and reads the answer. If the answer was not HTTP,
// raw holds its bytes.
func (t *Tunnel) Get(host string) (code int, body string, raw []byte, err error) {
	if _, err := fmt.Fprintf(t, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return 0, "", nil, err
	}
	_ = t.SetDeadline(time.Now().Add(3 * quiet))
	var seen strings.Builder
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(t, &seen)), nil)
	if err != nil {
		return 0, "", []byte(seen.String()), err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), nil, err
}

// Answer is the result of one request through a gateway.
type Answer struct {
	// Refusal says that no tunnel was opened; then nothing else is set.
	Refusal *Refusal
	// Peer is the identity at the tunnel's other end.
	Peer string
	// Code and Body are the HTTP answer. If there is none, Raw holds the bytes that came, and Err says
	// why.
	Code int
	Body string
	Raw  []byte
	Err  error
}

// String is for messages.
func (a Answer) String() string {
	switch {
	case a.Refusal != nil:
		return a.Refusal.Error()
	case a.Code == 0:
		return fmt.Sprintf("tunnel to %s, then no HTTP answer but %d bytes %x: %v", a.Peer, len(a.Raw), a.Raw, a.Err)
	}
	return fmt.Sprintf("tunnel to %s, then status %d, body %.120q", a.Peer, a.Code, a.Body)
}

// CallDouble makes one HTTP request to host's port 80 by double HBONE, as a ztunnel of another
// network does. A refusal is an answer; the error means that nothing was learned.
func (g *Gateway) CallDouble(ctx context.Context, id *Identity, host string) (Answer, error) {
	t, err := g.Double(ctx, id, id, host+":80")
	return get(t, err, host)
}

// CallSingle makes one HTTP request to host's port 80 by single HBONE, as a ztunnel of the
// gateway's own network would.
func (g *Gateway) CallSingle(ctx context.Context, id *Identity, host string) (Answer, error) {
	t, err := g.Single(ctx, id, host+":80", nil)
	return get(t, err, host)
}

func get(t *Tunnel, err error, host string) (Answer, error) {
	return through(t, err, func(a *Answer) { a.Code, a.Body, a.Raw, a.Err = t.Get(host) })
}

// through makes one attempt in a tunnel that may have been refused, and closes it.
func through(t *Tunnel, err error, attempt func(*Answer)) (Answer, error) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return Answer{Refusal: refusal}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = t.Close() }()
	a := Answer{Peer: t.Peer}
	attempt(&a)
	return a, nil
}

// ShakeThrough opens a single tunnel to authority (host:port) and tries a TLS handshake in it: Err
// is nil when something behind the gateway answered with TLS.
func (g *Gateway) ShakeThrough(ctx context.Context, id *Identity, authority string) (Answer, error) {
	t, err := g.Single(ctx, id, authority, nil)
	return through(t, err, func(a *Answer) {
		conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
		a.Err = tls.Client(t, conf).HandshakeContext(ctx)
	})
}

// Chains lists the authorities (host:port) that the gateway serves, which are those that its
// internal listener has a filter chain for. The gateway's cluster list is no measure: it keeps
// services that were withdrawn.
func (g *Gateway) Chains(ctx context.Context) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway:15000/config_dump?resource=dynamic_listeners", nil)
	if err != nil {
		return nil, err
	}
	resp, err := g.pod.HTTP().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: config dump of the east-west gateway: %w", g.Cluster.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	chains, err := servedBy(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: config dump of the east-west gateway: %w", g.Cluster.Name, err)
	}
	return chains, nil
}

// servedBy reads the chains of the internal listener from a dump. Only its active version counts: a
// draining one stays in the dump while it has connections, and a warming one serves nobody yet.
func servedBy(dump io.Reader) ([]string, error) {
	var found struct {
		Configs []struct {
			Name   string `json:"name"`
			Active struct {
				Listener map[string]any `json:"listener"`
			} `json:"active_state"`
		} `json:"configs"`
	}
	if err := json.NewDecoder(dump).Decode(&found); err != nil {
		return nil, err
	}
	var chains []string
	for _, c := range found.Configs {
		if c.Name != "main_internal" {
			continue
		}
		each(c.Active.Listener["filter_chain_matcher"], func(m map[string]any) {
			if exact, ok := m["exact_match_map"].(map[string]any); ok {
				if entries, ok := exact["map"].(map[string]any); ok {
					chains = slices.AppendSeq(chains, maps.Keys(entries))
				}
			}
		})
	}
	slices.Sort(chains)
	return chains, nil
}

// each calls f for every object in a JSON value.
func each(v any, f func(map[string]any)) {
	switch x := v.(type) {
	case map[string]any:
		f(x)
		for _, y := range x {
			each(y, f)
		}
	case []any:
		for _, y := range x {
			each(y, f)
		}
	}
}

// HasPod reports whether a cluster has a ready pod of its east-west gateway.
func HasPod(ctx context.Context, c *mesh.Cluster) (bool, error) {
	g, err := Find(ctx, c)
	if errors.Is(err, ErrNoPod) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	g.Close()
	return true, nil
}

// Handshake is the result of a TLS handshake with a gateway; Err is nil when it succeeded.
type Handshake struct{ Err error }

// String is for messages.
func (h Handshake) String() string {
	if h.Err == nil {
		return "served"
	}
	return h.Err.Error()
}
