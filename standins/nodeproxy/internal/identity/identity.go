// Package identity keeps one certificate per workload identity, signed by the mesh's CA, and builds
// the TLS configurations of HBONE from it.
package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// CA signs certificate requests on behalf of identities. The answer is PEM: leaf first, roots last.
type CA interface {
	Sign(ctx context.Context, identity, csrPEM string) ([]string, error)
}

// Certificate is a signed identity.
type Certificate struct {
	Identity string
	TLS      tls.Certificate
	Leaf     *x509.Certificate
	Chain    []*x509.Certificate // leaf and intermediates
	Roots    []*x509.Certificate
	pool     *x509.CertPool
}

// renewAt is the middle of its life.
func (c *Certificate) renewAt() time.Time {
	return c.Leaf.NotBefore.Add(c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 2)
}

const (
	firstBackOff = time.Second
	maxBackOff   = 150 * time.Second
)

// Manager fetches certificates ahead of need, renews them at half their life off the hot path, and
// keeps a valid one in use while the CA fails. Each identity has one fetcher: any number of callers
// wait for one request to the CA.
type Manager struct {
	// Failed, when set before the first use, is told of each request to the CA that failed and when
	// the next is made.
	Failed func(id string, err error, again time.Duration)

	ca  CA
	ctx context.Context

	mu      sync.Mutex
	entries map[string]*entry

	// for tests
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

type entry struct {
	refs   int // workloads on this node
	cert   *Certificate
	err    error
	ready  chan struct{} // closed at the first result of the attempt under way
	cancel context.CancelFunc
}

// NewManager works until ctx ends.
func NewManager(ctx context.Context, ca CA) *Manager {
	return &Manager{ca: ca, ctx: ctx, entries: map[string]*entry{}, now: time.Now, after: time.After}
}

// Hold fetches an identity's certificate ahead of need and keeps it renewed until as many Drops.
func (m *Manager) Hold(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entryLocked(id).refs++
}

// Drop forgets the certificate with the identity's last holder.
func (m *Manager) Drop(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil {
		return
	}
	if e.refs--; e.refs <= 0 {
		e.cancel()
		delete(m.entries, id)
	}
}

func (m *Manager) entryLocked(id string) *entry {
	e := m.entries[id]
	if e == nil {
		ctx, cancel := context.WithCancel(m.ctx)
		e = &entry{ready: make(chan struct{}), cancel: cancel}
		m.entries[id] = e
		go m.keep(ctx, id, e)
	}
	return e
}

// Get returns the identity's certificate: at once when it is held, else when the CA has answered or
// ctx ends. While the CA fails, callers get its last error instead of waiting through the back-off.
func (m *Manager) Get(ctx context.Context, id string) (*Certificate, error) {
	for {
		m.mu.Lock()
		e := m.entryLocked(id)
		cert, err, ready := e.cert, e.err, e.ready
		m.mu.Unlock()
		if cert != nil && m.now().Before(cert.Leaf.NotAfter) {
			return cert, nil
		}
		if cert != nil && err == nil {
			err = fmt.Errorf("expired at %s and not renewed", cert.Leaf.NotAfter.Format(time.RFC3339))
		}
		if err != nil {
			return nil, fmt.Errorf("identity error: certificate for %s: %w", id, err)
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("identity error: no certificate for %s yet: %w", id, ctx.Err())
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		}
	}
}

// keep is an identity's fetcher.
func (m *Manager) keep(ctx context.Context, id string, e *entry) {
	wait := firstBackOff
	first := true
	for ctx.Err() == nil {
		cert, err := m.fetch(ctx, id)
		m.mu.Lock()
		var next time.Duration
		if err == nil {
			e.cert, e.err = cert, nil
			wait = firstBackOff
			next = max(cert.renewAt().Sub(m.now()), time.Second)
		} else {
			e.err = err
			next, wait = wait, min(wait*2, maxBackOff)
		}
		if first {
			close(e.ready)
			first = false
		}
		m.mu.Unlock()
		if err != nil && m.Failed != nil && ctx.Err() == nil {
			m.Failed(id, err, next)
		}
		select {
		case <-m.after(next):
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	if first {
		e.err = ctx.Err()
		close(e.ready)
	}
	m.mu.Unlock()
}

func (m *Manager) fetch(ctx context.Context, id string) (*Certificate, error) {
	uri, err := url.Parse(id)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(
		rand.Reader, &x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA256, URIs: []*url.URL{uri}}, key,
	)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	chain, err := m.ca.Sign(ctx, id, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})))
	if err != nil {
		return nil, err
	}
	return parse(id, chain, key)
}

// parse checks the CA's answer: the roots are the last element, and the leaf must carry the
// identity asked for and our key.
func parse(id string, chain []string, key *ecdsa.PrivateKey) (*Certificate, error) {
	if len(chain) < 2 {
		return nil, fmt.Errorf("the CA answered %d certificates, expected a leaf and a root", len(chain))
	}
	certs, err := decode(strings.Join(chain[:len(chain)-1], "\n"))
	if err != nil {
		return nil, err
	}
	roots, err := decode(chain[len(chain)-1])
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 || len(roots) == 0 {
		return nil, errors.New("the CA answered no leaf or no root")
	}
	if got := SPIFFE(certs[0]); got != id {
		return nil, fmt.Errorf("the CA signed %q instead of %q", got, id)
	}
	if pub, ok := certs[0].PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("the CA signed a key that is not ours")
	}
	c := &Certificate{Identity: id, Leaf: certs[0], Chain: certs, Roots: roots, pool: x509.NewCertPool()}
	for _, r := range roots {
		c.pool.AddCert(r)
	}
	c.TLS = tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, x := range certs {
		c.TLS.Certificate = append(c.TLS.Certificate, x.Raw)
	}
	return c, nil
}

func decode(pems string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := []byte(pems); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out, nil
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
}

// Dump is what /config_dump shows of an identity: certificates, never keys.
type Dump struct {
	Identity string
	Cert     *Certificate // nil when there is none yet
	Err      error
}

// All lists the identities held, in order.
func (m *Manager) All() []Dump {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Dump
	for id, e := range m.entries {
		out = append(out, Dump{id, e.cert, e.err})
	}
	slices.SortFunc(out, func(a, b Dump) int { return strings.Compare(a.Identity, b.Identity) })
	return out
}

// SPIFFE is a certificate's identity: its one URI of the form spiffe://<trust
// domain>/ns/<ns>/sa/<sa>, "" without.
func SPIFFE(c *x509.Certificate) string {
	for _, u := range c.URIs {
		if id := u.String(); Valid(id) {
			return id
		}
	}
	return ""
}

// Valid tells whether id has exactly the form spiffe://<trust domain>/ns/<namespace>/sa/<service
// account>.
func Valid(id string) bool {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	p := strings.Split(rest, "/")
	return ok && len(p) == 5 && p[0] != "" && p[1] == "ns" && p[2] != "" && p[3] == "sa" && p[4] != ""
}

// TrustDomain is an identity's trust domain.
func TrustDomain(id string) string {
	td, _, _ := strings.Cut(strings.TrimPrefix(id, "spiffe://"), "/")
	return td
}

// ErrTLS marks a handshake that failed.
var ErrTLS = errors.New("tls error")

func base(c *Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{c.TLS},
		NextProtos:             []string{"h2"},
		SessionTicketsDisabled: true,
	}
}

func verify(c *Certificate, peer []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(peer) == 0 {
		return errors.New("peer sent no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, i := range peer[1:] {
		intermediates.AddCert(i)
	}
	_, err := peer[0].Verify(x509.VerifyOptions{Roots: c.pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// Client is the TLS configuration to reach a peer that must show one of sans. No sans match
// nothing. There is no SNI and no resumption.
func (c *Certificate) Client(sans []string) *tls.Config {
	t := base(c)
	t.InsecureSkipVerify = true // host names mean nothing in the mesh; VerifyConnection checks chain and identity
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verify(c, cs.PeerCertificates, x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
		for _, u := range cs.PeerCertificates[0].URIs {
			if slices.Contains(sans, u.String()) {
				return nil
			}
		}
		return fmt.Errorf(
			"identity verification error: peer did not present the expected SAN (%s), got %s", strings.Join(sans, ","),
			SPIFFE(cs.PeerCertificates[0]),
		)
	}
	return t
}

// Server is the TLS configuration of an HBONE listener: a client certificate of the own trust
// domain is required.
func (c *Certificate) Server() *tls.Config {
	t := base(c)
	t.ClientAuth = tls.RequireAnyClientCert
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verify(c, cs.PeerCertificates, x509.ExtKeyUsageClientAuth); err != nil {
			return err
		}
		for _, u := range cs.PeerCertificates[0].URIs {
			if id := u.String(); Valid(id) && TrustDomain(id) == TrustDomain(c.Identity) {
				return nil
			}
		}
		return fmt.Errorf("peer %q is not of trust domain %s", SPIFFE(cs.PeerCertificates[0]), TrustDomain(c.Identity))
	}
	return t
}

// Peer is who the other side of a handshake proved to be.
func Peer(cs tls.ConnectionState) string {
	if len(cs.PeerCertificates) == 0 {
		return ""
	}
	return SPIFFE(cs.PeerCertificates[0])
}
