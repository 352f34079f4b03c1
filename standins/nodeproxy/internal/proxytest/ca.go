// Package proxytest has what tests of the node proxy need: a CA, and a pod's sockets on loopback
// addresses.
package proxytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// CA is a root, an intermediate under it, and a signer with faults to order. It implements
// identity.CA.
type CA struct {
	Root, Inter       *x509.Certificate
	RootKey, InterKey *ecdsa.PrivateKey

	Life  time.Duration // of what it signs; default 1 h
	Calls atomic.Int64

	mu   sync.Mutex
	Fail error         // answer to every request while set
	Hold chan struct{} // when set, requests wait for it to be closed
	As   string        // sign this identity instead
}

// NewCA makes one.
func NewCA() *CA {
	c := &CA{}
	c.Root, c.RootKey = make509(
		&x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		nil, nil,
	)
	c.Inter, c.InterKey = make509(
		&x509.Certificate{
			Subject:               pkix.Name{CommonName: "intermediate"},
			IsCA:                  true,
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageCertSign,
		},
		c.Root,
		c.RootKey,
	)
	return c
}

var serial atomic.Int64

func make509(t, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t.SerialNumber = big.NewInt(serial.Add(1))
	if t.NotBefore.IsZero() {
		t.NotBefore, t.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(24*time.Hour)
	}
	if parent == nil {
		parent, parentKey = t, k
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, k.Public(), parentKey)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c, k
}

// SetFail makes requests fail with err, or work again with nil.
func (c *CA) SetFail(err error) { c.mu.Lock(); c.Fail = err; c.mu.Unlock() }

// Sign implements identity.CA.
func (c *CA) Sign(ctx context.Context, identity, csrPEM string) ([]string, error) {
	c.Calls.Add(1)
	c.mu.Lock()
	hold, fail, life := c.Hold, c.Fail, c.Life
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	b, _ := pem.Decode([]byte(csrPEM))
	if b == nil {
		return nil, errors.New("no PEM")
	}
	r, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return nil, err
	}
	if err := r.CheckSignature(); err != nil {
		return nil, err
	}
	if len(r.URIs) != 1 || r.URIs[0].String() != identity || r.Subject.CommonName != "" {
		return nil, errors.New("the request must carry the identity as its one URI, and no name")
	}
	if c.As != "" {
		u := *r.URIs[0]
		u.Path = c.As
		r.URIs[0] = &u
	}
	if life == 0 {
		life = time.Hour
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), URIs: r.URIs, NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.Inter, r.PublicKey, c.InterKey)
	if err != nil {
		return nil, err
	}
	enc := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return []string{enc(der), enc(c.Inter.Raw), enc(c.Root.Raw)}, nil
}

// ServerPEM is a certificate and key for a TLS server of a DNS name, signed by the root.
func (c *CA) ServerPEM(name string) (cert, key []byte) {
	x, k := make509(
		&x509.Certificate{
			DNSNames:    []string{name},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		c.Root,
		c.RootKey,
	)
	kd, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kd})
}

// RootPEM is the root certificate.
func (c *CA) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Root.Raw})
}
