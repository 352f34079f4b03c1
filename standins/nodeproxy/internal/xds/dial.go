package xds

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Address takes the scheme off an istiod address.
func Address(a string) string {
	if u, err := url.Parse(a); err == nil && u.Host != "" {
		return u.Host
	}
	return a
}

// Token authenticates calls with a ServiceAccount token that is read anew for each of them: kubelet
// rotates it.
type Token struct {
	Path      string
	ClusterID string
	Headers   map[string]string
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t Token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	b, err := os.ReadFile(t.Path)
	if err != nil {
		return nil, fmt.Errorf("ServiceAccount token: %w", err)
	}
	md := map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(b)), "clusterid": t.ClusterID}
	for k, v := range t.Headers {
		md[strings.ToLower(k)] = v
	}
	return md, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (Token) RequireTransportSecurity() bool { return true }

// Dial makes a connection to istiod, verified by the roots in rootFile (read anew at each
// handshake: they rotate) and by the DNS name of the address or, when given, hostname.
func Dial(address, hostname, rootFile string, token Token) (*grpc.ClientConn, error) {
	address = Address(address)
	name := hostname
	if name == "" {
		name, _, _ = strings.Cut(address, ":")
	}
	check := func(cs tls.ConnectionState) error {
		pem, err := os.ReadFile(rootFile)
		if err != nil {
			return err
		}
		roots, chain := x509.NewCertPool(), x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", rootFile)
		}
		if len(cs.PeerCertificates) == 0 {
			return fmt.Errorf("%s showed no certificate", address)
		}
		for _, c := range cs.PeerCertificates[1:] {
			chain.AddCert(c)
		}
		_, err = cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: chain})
		return err
	}
	return grpc.NewClient(
		address,
		grpc.WithTransportCredentials(
			credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: true, VerifyConnection: check}),
		),
		grpc.WithPerRPCCredentials(token),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(200<<20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(
			grpc.ConnectParams{
				MinConnectTimeout: 5 * time.Second,
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 15 * time.Second},
			},
		),
	)
}

// With is the token with more headers on each call.
func (t Token) With(headers map[string]string) Token {
	t.Headers = headers
	return t
}
