// Package eastwest speaks to east-west gateways: with raw bytes, TLS, HBONE and double HBONE, and
// with certificates of the mesh or of another CA.
//
// A gateway is reached in two ways, and a promise must hold on both. One is the address of its
// status, from a client of another network: the way of real traffic. The other is each ready pod
// behind that address, through the API server: there the suite sees every byte and every TLS alert
// itself, and no pod is left out.
package eastwest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	ca "istio.io/api/security/v1alpha1"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/wait"
)

// Identity is a certificate with its key, and the roots that its holder trusts.
type Identity struct {
	Certificate tls.Certificate
	Roots       *x509.CertPool

	speaks func(*tls.Config) // changes how its holder speaks TLS; nil = as proxies do
}

// Speaking is the same identity, whose holder speaks TLS in another way.
func (id *Identity) Speaking(change func(*tls.Config)) *Identity {
	return &Identity{id.Certificate, id.Roots, change}
}

// tokenSeconds is how long a token lives, and a certificate for it.
const tokenSeconds = int64(3600)

// Token is a token of a ServiceAccount with which a proxy shows itself to istiod: of audience
// istio-ca.
func Token(ctx context.Context, c *mesh.Cluster, namespace, account string) (string, error) {
	seconds := tokenSeconds
	token, err := c.Kube().CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account,
		&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{Audiences: []string{"istio-ca"}, ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("%s: token of ServiceAccount %s/%s: %w", c.Name, namespace, account, err)
	}
	return token.Status.Token, nil
}

// Root is what workloads of a namespace trust, as PEM and parsed.
func Root(ctx context.Context, c *mesh.Cluster, namespace string) (string, *x509.CertPool, error) {
	const name = "istio-ca-root-cert"
	cm, err := c.Kube().CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("%s: the mesh's root for namespace %s: %w", c.Name, namespace, err)
	}
	text, roots := cm.Data["root-cert.pem"], x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(text)) {
		return "", nil, fmt.Errorf("%s: ConfigMap %s/%s holds no certificate", c.Name, namespace, name)
	}
	return text, roots, nil
}

// FromMesh gets a certificate for a ServiceAccount from the cluster's istiod, as a proxy does: with
// a token of audience istio-ca and a signing request. It needs the right to create tokens for that
// ServiceAccount, but no CA key.
func FromMesh(ctx context.Context, c *mesh.Cluster, trustDomain, namespace, account string) (*Identity, error) {
	fault := func(err error) error {
		return fmt.Errorf("%s: certificate for %s/%s from istiod: %w", c.Name, namespace, account, err)
	}
	token, err := Token(ctx, c, namespace, account)
	if err != nil {
		return nil, fault(err)
	}
	_, roots, err := Root(ctx, c, namespace)
	if err != nil {
		return nil, fault(err)
	}
	pods, err := wait.Pods(ctx, c, "istio-system", map[string]string{"app": "istiod"}, 1)
	if err != nil {
		return nil, fault(err)
	}
	pod := portforward.Open(c, "istio-system", pods[0].Name)
	defer pod.Close()
	cc, err := grpc.NewClient("passthrough:///istiod",
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "istiod.istio-system.svc"})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pod.Dial(ctx, 15012) }))
	if err != nil {
		return nil, fault(err)
	}
	defer func() { _ = cc.Close() }()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{URIs: []*url.URL{spiffe(trustDomain, namespace, account)}}, key)
	if err != nil {
		return nil, fault(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	resp, err := ca.NewIstioCertificateServiceClient(cc).CreateCertificate(
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token, "clusterid", c.Name),
		&ca.IstioCertificateRequest{Csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
			ValidityDuration: tokenSeconds}, grpc.WaitForReady(true))
	if err != nil {
		return nil, fault(err)
	}
	chain := resp.CertChain
	if len(chain) < 2 {
		return nil, fault(fmt.Errorf("a chain of %d certificates", len(chain)))
	}
	cert := tls.Certificate{PrivateKey: key}
	for _, p := range chain[:len(chain)-1] {
		for rest := []byte(p); ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			cert.Certificate = append(cert.Certificate, b.Bytes)
		}
	}
	return &Identity{Certificate: cert, Roots: roots}, nil
}

// Forged has the same names as a mesh identity, signed by a CA that the mesh does not know. The
// holder trusts the mesh's roots.
func Forged(like *Identity, trustDomain, namespace, account string) (*Identity, error) {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	caTmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"a stranger"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, caTmpl, caTmpl, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	leaf, key, err := sign(caTmpl, caKey, spiffe(trustDomain, namespace, account), now)
	if err != nil {
		return nil, err
	}
	return &Identity{Certificate: tls.Certificate{Certificate: [][]byte{leaf, caDER}, PrivateKey: key}, Roots: like.Roots}, nil
}

// Flaw is what is wrong with a certificate of the mesh's CA, such that istiod would not sign it.
type Flaw struct {
	Says   string // completes "a certificate ..."
	change func(*x509.Certificate)
}

// Flaws of certificates. The times are far enough for clocks that differ.
var (
	Flawless = Flaw{"without a flaw", func(*x509.Certificate) {}}
	Expired  = Flaw{"that has expired", func(c *x509.Certificate) {
		c.NotAfter = c.NotBefore.Add(-time.Hour)
		c.NotBefore = c.NotAfter.Add(-time.Hour)
	}}
	NotYetValid = Flaw{"that is not yet valid", func(c *x509.Certificate) {
		c.NotBefore = c.NotAfter.Add(time.Hour)
		c.NotAfter = c.NotBefore.Add(time.Hour)
	}}
	NameOnly = Flaw{"with its identity as common name only", func(c *x509.Certificate) {
		c.Subject.CommonName, c.URIs = c.URIs[0].String(), nil
	}}
	DNSNameOnly = Flaw{"with a DNS name only", func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{c.URIs[0].Host}, nil }}
	NoSPIFFE    = Flaw{"whose URI is not of SPIFFE", func(c *x509.Certificate) { c.URIs[0].Scheme = "https" }}
)

// OfTrustDomain is the flaw of an identity of another trust domain.
func OfTrustDomain(name string) Flaw {
	return Flaw{"of trust domain " + name, func(c *x509.Certificate) { c.URIs[0].Host = name }}
}

// Mint makes a certificate for a ServiceAccount with the CA of one cluster of ours, from the folder
// of the mesh's CAs. The holder trusts the roots of another identity.
func Mint(like *Identity, folder, cluster, trustDomain, namespace, account string, flaw Flaw) (*Identity, error) {
	dir := filepath.Join(folder, cluster)
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca-cert.pem"), filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		return nil, fmt.Errorf("certificate %s: the CA of %s: %w", flaw.Says, cluster, err)
	}
	signer, ok := ca.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("certificate %s: the CA's key in %s cannot sign", flaw.Says, dir)
	}
	leaf, key, err := sign(ca.Leaf, signer, spiffe(trustDomain, namespace, account), time.Now(), flaw)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", flaw.Says, err)
	}
	chain := append([][]byte{leaf}, ca.Certificate...)
	return &Identity{Certificate: tls.Certificate{Certificate: chain, PrivateKey: key}, Roots: like.Roots}, nil
}

func sign(parent *x509.Certificate, parentKey crypto.Signer, id *url.URL, now time.Time, flaws ...Flaw) ([]byte, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		URIs: []*url.URL{id}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	for _, f := range flaws {
		f.change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	return der, key, err
}

func spiffe(trustDomain, namespace, account string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/ns/" + namespace + "/sa/" + account}
}

// config is the client side of HBONE's TLS: version 1.3, ALPN h2, no server name. The peer's
// certificate must chain to the mesh's roots.
func (id *Identity) config() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		// Not Certificates: of those Go sends only one that the server says it accepts. A forged
		// certificate would silently become no certificate.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Certificate, nil },
		InsecureSkipVerify:   true, // the names in these certificates are SPIFFE identities: the chain is checked below
		VerifyConnection: func(cs tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: id.Roots, Intermediates: between,
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		}}
	if id.speaks != nil {
		id.speaks(config)
	}
	return config
}

// PEM encodes the certificate with its chain, and the key.
func (id *Identity) PEM() (cert, key string) {
	var b strings.Builder
	for _, der := range id.Certificate.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a builder does not fail
	}
	der, err := x509.MarshalPKCS8PrivateKey(id.Certificate.PrivateKey)
	if err != nil {
		panic(err) // a key that was made here
	}
	return b.String(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Peer returns the SPIFFE identity that a peer showed; empty without one.
func Peer(cs tls.ConnectionState) string {
	if len(cs.PeerCertificates) == 0 || len(cs.PeerCertificates[0].URIs) == 0 {
		return ""
	}
	return strings.TrimSpace(cs.PeerCertificates[0].URIs[0].String())
}
