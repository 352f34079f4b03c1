package eastwest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"ambient.test/conformance/framework/portforward"
)

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

// Tunnel is an open HBONE tunnel.
type Tunnel struct {
	net.Conn
	Peer  string // identity of the tunnel's other end
	close func()
}

// Lost says whether what carries the tunnel was lost. A tunnel carries another one, so this is
// asked from inside to outside, down to the connection that [portforward.Lost] knows.
func (t *Tunnel) Lost() error { return portforward.Lost(t.Conn) }

// Close ends the tunnel.
func (t *Tunnel) Close() error { err := t.Conn.Close(); t.close(); return err }

// Refusal is how a tunnel was refused: an HTTP status other than 200 answered the CONNECT, or the
// peer ended the connection, with or without an alert.
type Refusal struct {
	Hop    string // outer or inner; empty when the client could not tell
	Status int    // 0 when the connection was ended
	Err    error
	// Answered says that bytes came from behind the gateway before the refusal.
	Answered bool
}

func (r *Refusal) Error() string {
	if r.Status != 0 {
		return fmt.Sprintf("%s answered %d", strings.TrimSpace(r.Hop+" CONNECT"), r.Status)
	}
	return fmt.Sprintf("%s: %v", strings.TrimSpace(r.Hop+" tunnel"), r.Err)
}

func (r *Refusal) Unwrap() error { return r.Err }

// certificateAlerts are those with which a TLS server refuses a client's certificate or the lack of
// one: bad, unsupported, revoked, expired, unknown, of an unknown authority, not admitted, required
// (RFC 8446 section 6.2).
var certificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116}

// OfCertificate says that a connection was ended because of the client's certificate: by an alert
// that says so, or by closing without an answer.
func (r *Refusal) OfCertificate() bool {
	if r.Status != 0 {
		return false
	}
	text := fmt.Sprint(r.Err)
	if !strings.Contains(text, "remote error: tls:") {
		return true
	}
	return slices.ContainsFunc(certificateAlerts, func(a tls.AlertError) bool { return strings.Contains(text, a.Error()) })
}

// failed tells what the peer did from what broke on our side: the result is a *Refusal when the
// peer ended the connection, and another error when nothing was learned, such as a silence that ran
// into our own time limit or a lost connection to the API server.
func failed(hop string, c net.Conn, err error) error {
	var silent net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &silent) && silent.Timeout() {
		return fmt.Errorf("%s tunnel: no answer in time: %w", hop, err)
	}
	if lost := portforward.Lost(c); lost != nil {
		return fmt.Errorf("%s tunnel: %w", hop, lost)
	}
	return &Refusal{Hop: hop, Err: err}
}

func tunnel(ctx context.Context, hop string, c net.Conn, id *Identity, authority string, headers map[string]string) (*Tunnel, error) {
	t := &alertConn{Conn: tls.Client(c, WithCertificate(id))}
	hctx, cancel := context.WithTimeout(ctx, 3*quiet)
	defer cancel()
	if err := t.HandshakeContext(hctx); err != nil {
		defer func() { _ = c.Close() }()
		return nil, failed(hop, c, err)
	}
	cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(t)
	if err != nil {
		defer func() { _ = c.Close() }()
		return nil, failed(hop, c, t.cause(err))
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
	if !timer.Stop() {
		err = context.DeadlineExceeded
	}
	end := func() { stop(); _ = cc.Close(); _ = c.Close() }
	if err != nil {
		defer end()
		return nil, failed(hop, c, t.cause(err))
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

// Lost says whether what carries the tunnel was lost.
func (p *pipe) Lost() error { return portforward.Lost(p.raw) }

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
