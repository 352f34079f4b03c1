package eastwest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
)

// authority is a mesh's CA of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a authority) identity(t *testing.T, account string) *Identity {
	t.Helper()
	leaf, key, err := sign(a.cert, a.key, spiffe("cluster.local", "ns", account), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{Certificate: tls.Certificate{Certificate: [][]byte{leaf, a.cert.Raw}, PrivateKey: key}, Roots: a.pool()}
}

// end is one end of HBONE: TLS that wants a certificate of the mesh, and CONNECT. Where to connect
// to an authority is known, its bytes go there; else the answer is 503.
type end struct {
	id     *Identity
	routes map[string]func() net.Conn
	seen   chan http.Header
	gone   chan struct{} // is closed when a client was refused and its connection closed
}

// serve takes one connection; it returns the client's side of it.
func (e end) serve(t *testing.T, mesh authority) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
			Certificates: []tls.Certificate{e.id.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: mesh.pool()})
		if err := s.Handshake(); err != nil {
			c.Close()
			if e.gone != nil {
				close(e.gone)
			}
			return
		}
		(&http2.Server{}).ServeConn(s, &http2.ServeConnOpts{Handler: http.HandlerFunc(e.connect)})
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (e end) connect(w http.ResponseWriter, r *http.Request) {
	dial := e.routes[r.Host]
	if r.Method != http.MethodConnect || dial == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if e.seen != nil {
		e.seen <- r.Header
	}
	up := dial()
	defer up.Close()
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	go io.Copy(up, r.Body)
	b := make([]byte, 4096)
	for {
		n, err := up.Read(b)
		if n > 0 {
			_, _ = w.Write(b[:n])
			_ = http.NewResponseController(w).Flush()
		}
		if err != nil {
			return
		}
	}
}

// app answers HTTP requests with its name, or with bytes that are no HTTP.
func app(answer string) func() net.Conn {
	return func() net.Conn {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				_, _ = io.WriteString(far, answer)
			}
		}()
		return near
	}
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestSingleTunnel(t *testing.T) {
	mesh := newAuthority(t)
	gateway := end{id: mesh.identity(t, "gateway"), seen: make(chan http.Header, 1), routes: map[string]func() net.Conn{"echo:80": app(hello)}}
	tun, err := tunnel(t.Context(), "outer", gateway.serve(t, mesh), mesh.identity(t, "client"), "echo:80", map[string]string{"x-test": "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	if tun.Peer != "spiffe://cluster.local/ns/ns/sa/gateway" {
		t.Errorf("peer %q", tun.Peer)
	}
	if h := <-gateway.seen; h.Get("x-test") != "1" {
		t.Errorf("headers %v", h)
	}
	code, body, raw, err := tun.Get("echo")
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]any{200, "hello", []byte(nil)}, []any{code, body, raw}); diff != "" {
		t.Errorf("code, body and raw answer (-want +got):\n%s", diff)
	}
}

// What comes instead of HTTP is kept: it may be an alert.
func TestNoHTTPInTheTunnel(t *testing.T) {
	mesh := newAuthority(t)
	gateway := end{id: mesh.identity(t, "gateway"), routes: map[string]func() net.Conn{"echo:80": app("\x15\x03\x03\x00\x02\x02\x32")}}
	tun, err := tunnel(t.Context(), "outer", gateway.serve(t, mesh), mesh.identity(t, "client"), "echo:80", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	code, _, raw, err := tun.Get("echo")
	if err == nil {
		t.Error("an answer that is no HTTP is no error")
	}
	if diff := cmp.Diff([]any{0, "\x15\x03\x03\x00\x02\x02\x32"}, []any{code, string(raw)}); diff != "" {
		t.Errorf("code and raw answer (-want +got):\n%s", diff)
	}
}

func TestTunnelInTunnel(t *testing.T) {
	mesh := newAuthority(t)
	pod := end{id: mesh.identity(t, "echo"), routes: map[string]func() net.Conn{"echo:80": app(hello)}}
	gateway := end{id: mesh.identity(t, "gateway"), routes: map[string]func() net.Conn{"echo:80": func() net.Conn {
		return pod.serve(t,
			mesh)
	}}}
	outer, err := tunnel(t.Context(), "outer", gateway.serve(t, mesh), mesh.identity(t, "client"), "echo:80", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	inner, err := tunnel(t.Context(), "inner", outer, mesh.identity(t, "client"), "echo:80", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	code, body, _, err := inner.Get("echo")
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]any{200, "hello"}, []any{code, body}); diff != "" {
		t.Errorf("code and body (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(inner.Peer, "/sa/echo") {
		t.Errorf("got peer %q, want the echo's account", inner.Peer)
	}
}

func TestRefusals(t *testing.T) {
	mesh := newAuthority(t)
	client := mesh.identity(t, "client")
	forged, err := Forged(client, "cluster.local", "ns", "client")
	if err != nil {
		t.Fatal(err)
	}
	stranger := newAuthority(t)
	for name, c := range map[string]struct {
		gateway   *Identity
		client    *Identity
		authority string
		status    int
		says      string
	}{
		"unknown name":           {mesh.identity(t, "gateway"), client, "nobody:80", 503, "outer CONNECT answered 503"},
		"no certificate":         {mesh.identity(t, "gateway"), nil, "echo:80", 0, "certificate required"},
		"forged certificate":     {mesh.identity(t, "gateway"), forged, "echo:80", 0, "unknown certificate authority"},
		"gateway of a stranger":  {stranger.identity(t, "gateway"), client, "echo:80", 0, "certificate signed by unknown authority"},
		"not the mesh's own end": {mesh.identity(t, "gateway"), stranger.identity(t, "client"), "echo:80", 0, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			gateway := end{id: c.gateway, routes: map[string]func() net.Conn{"echo:80": app(hello)}}
			tun, err := tunnel(ctx, "outer", gateway.serve(t, mesh), c.client, c.authority, nil)
			var no *Refusal
			if tun != nil {
				t.Errorf("got the tunnel %v, want none", tun)
			}
			if !errors.As(err, &no) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if diff := cmp.Diff([]any{c.status, "outer"}, []any{no.Status, no.Hop}); diff != "" {
				t.Errorf("status and hop (-want +got):\n%s", diff)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// carrier is a connection whose carrier may have been lost.
type carrier struct {
	net.Conn
	lost error
}

func (c carrier) Lost() error { return c.lost }

// A tunnel that ends because what carries it was lost is no refusal, in whichever tunnel this is
// noticed.
func TestLostCarrier(t *testing.T) {
	mesh := newAuthority(t)
	gone := errors.New("the API server closed the connection")
	pod := end{id: mesh.identity(t, "echo")} // it knows no route: 503
	// With stranger as its CA, the pod ends the inner handshake.
	stranger := newAuthority(t)
	gateway := end{id: mesh.identity(t, "gateway"), routes: map[string]func() net.Conn{"echo:80": func() net.Conn {
		return pod.serve(t, stranger)
	}}}
	for name, lost := range map[string]error{"the pod ended it": nil, "the carrier was lost": gone} {
		t.Run(name, func(t *testing.T) {
			outer, err := tunnel(t.Context(), "outer", carrier{gateway.serve(t, mesh), lost}, mesh.identity(t, "client"), "echo:80", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer outer.Close()
			_, err = tunnel(t.Context(), "inner", outer, mesh.identity(t, "client"), "echo:80", nil)
			if lost != nil && !errors.Is(err, lost) {
				t.Errorf("got %v, want %v", err, lost)
			}
			var refusal *Refusal
			if got := errors.As(err, &refusal); got != (lost == nil) {
				t.Errorf("got a refusal: %t (%v)", got, err)
			}
		})
	}
}

// The alert comes before the client has written anything, and then the connection is closed:
// writing fails, and the refusal is still told.
func TestRefusedBeforeTheFirstWrite(t *testing.T) {
	mesh := newAuthority(t)
	forged, err := Forged(mesh.identity(t, "client"), "cluster.local", "ns", "client")
	if err != nil {
		t.Fatal(err)
	}
	gateway := end{id: mesh.identity(t, "gateway"), gone: make(chan struct{})}
	c := &alertConn{Conn: tls.Client(gateway.serve(t, mesh), forged.config())}
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-gateway.gone
	for err == nil { // the first write is answered by the reset that makes the next one fail
		_, err = c.Write([]byte("hello"))
	}
	if why := c.cause(err); !strings.Contains(why.Error(), "unknown certificate authority") {
		t.Errorf("%v", why)
	}
}

// The forged certificate claims the very identity of the real one.
func TestForgedNamesTheSame(t *testing.T) {
	mesh := newAuthority(t)
	real := mesh.identity(t, "client")
	forged, err := Forged(real, "cluster.local", "ns", "client")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []*Identity{real, forged} {
		leaf, err := x509.ParseCertificate(id.Certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		got := Peer(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
		if want := "spiffe://cluster.local/ns/ns/sa/client"; got != want {
			t.Errorf("got peer %q, want %q", got, want)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: mesh.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if (err == nil) != (id == real) {
			t.Errorf("verified by the mesh's root: %v", err)
		}
	}
}

// Whether somebody behind the gateway has spoken tells what was exposed, however the tunnel ended.
func TestRefusedInsideATunnel(t *testing.T) {
	mesh := newAuthority(t)
	stranger := newAuthority(t)
	for name, c := range map[string]struct {
		behind   func() net.Conn
		answered bool
	}{
		"nobody is there": {func() net.Conn {
			near, far := net.Pipe()
			far.Close()
			return near
		}, false},
		"a server of plaintext": {func() net.Conn {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				_, _ = far.Read(make([]byte, 1))
				_, _ = io.WriteString(far, "HTTP/1.1 400 Bad Request\r\n\r\n")
			}()
			return near
		}, true},
		"a ztunnel that refuses the certificate": {func() net.Conn {
			return end{id: mesh.identity(t, "echo")}.serve(t, stranger)
		}, true},
		"a ztunnel that refuses the CONNECT": {func() net.Conn { return end{id: mesh.identity(t, "echo")}.serve(t, mesh) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			gateway := end{id: mesh.identity(t, "gateway"), routes: map[string]func() net.Conn{"echo:80": c.behind}}
			outer, err := tunnel(t.Context(), "outer", gateway.serve(t, mesh), mesh.identity(t, "client"), "echo:80", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = nest(t.Context(), outer, mesh.identity(t, "client"), "echo:80")
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if refusal.Answered != c.answered {
				t.Errorf("%v: got answered %t, want %t", refusal, refusal.Answered, c.answered)
			}
		})
	}
}

// A minted certificate is one of the mesh's but for its flaw.
func TestMint(t *testing.T) {
	mesh := newAuthority(t)
	folder := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(mesh.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "c1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca-cert.pem": {Type: "CERTIFICATE", Bytes: mesh.cert.Raw}, "ca-key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(folder, "c1", name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		flaw  Flaw
		peer  string
		valid bool
	}{
		"none":                 {Flawless, "spiffe://cluster.local/ns/ns/sa/client", true},
		"expired":              {Expired, "spiffe://cluster.local/ns/ns/sa/client", false},
		"not yet valid":        {NotYetValid, "spiffe://cluster.local/ns/ns/sa/client", false},
		"name only":            {NameOnly, "", true},
		"DNS name only":        {DNSNameOnly, "", true},
		"no SPIFFE":            {NoSPIFFE, "https://cluster.local/ns/ns/sa/client", true},
		"another trust domain": {OfTrustDomain("td.example"), "spiffe://td.example/ns/ns/sa/client", true},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := Mint(mesh.identity(t, "client"), folder, "c1", "cluster.local", "ns", "client", c.flaw)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(id.Certificate.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := Peer(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}); got != c.peer {
				t.Errorf("got peer %q, want %q", got, c.peer)
			}
			if err := leaf.CheckSignatureFrom(mesh.cert); err != nil {
				t.Errorf("not signed by the mesh's CA: %v", err)
			}
			_, err = leaf.Verify(x509.VerifyOptions{Roots: mesh.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			if (err == nil) != c.valid {
				t.Errorf("got %v, want valid %t", err, c.valid)
			}
		})
	}
	_, err = Mint(nil, folder, "c2", "cluster.local", "ns", "client", Expired)
	if !strings.Contains(fmt.Sprint(err), "the CA of c2") {
		t.Errorf("got %v, want an error that names the cluster without a CA", err)
	}
}

func TestOddRequest(t *testing.T) {
	connect := Fields(":method", "CONNECT", ":authority", "echo:80")
	for name, c := range map[string]struct {
		odd    Odd
		status int
		ends   string // how it ended without a status
	}{
		"of HTTP":                     {Odd{Fields: connect}, 503, ""},
		"GET":                         {Odd{Fields: Fields(":method", "GET", ":scheme", "https", ":path", "/", ":authority", "echo")}, 503, ""},
		"headers over several frames": {Odd{Fields: append(connect, Many(100, 500)...)}, 503, ""},
		"too many headers":            {Odd{Fields: append(connect, Many(10_000, 200)...)}, 0, "PROTOCOL_ERROR"},
		"a window that is too large": {Odd{Fields: connect, Settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 31}}}, 0,
			"FLOW_CONTROL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			mesh := newAuthority(t)
			gateway := end{id: mesh.identity(t, "gateway")}
			conn := &alertConn{Conn: tls.Client(gateway.serve(t, mesh), mesh.identity(t, "client").config())}
			status, err := conn.request(c.odd)
			if status != c.status {
				t.Errorf("got status %d (%v), want %d", status, err, c.status)
			}
			if c.ends == "" && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if c.ends != "" && !strings.Contains(fmt.Sprint(err), c.ends) {
				t.Errorf("got %v, want %q", err, c.ends)
			}
		})
	}
}
