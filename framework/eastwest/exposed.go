package eastwest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
)

// Shown is what a server behind a port that passes TLS on showed of itself.
type Shown struct {
	Way   string
	Chain []*x509.Certificate
	// Err says how the port refused, if it showed nothing.
	Err error
}

// String is for messages.
func (s Shown) String() string {
	if len(s.Chain) == 0 {
		return fmt.Sprintf("%s: no certificate: %v", s.Way, s.Err)
	}
	leaf := s.Chain[0]
	return fmt.Sprintf("%s: certificate of %s for %v %v", s.Way, leaf.Issuer, leaf.DNSNames, leaf.URIs)
}

// shownCertificate is a certificate in the text of the echo client.
var shownCertificate = regexp.MustCompile(`Response\d+=("-----BEGIN CERTIFICATE-----[^"]*")`)

// Handshake asks for a server by TLS at a gateway's address.
func (a Address) Handshake(ctx context.Context, serverName string) (Shown, error) {
	call := traffic.Call{URL: "tls://" + a.At, ServerName: serverName, Times: 1}
	os, err := a.From.Do(ctx, call)
	if err != nil {
		return Shown{}, err
	}
	shown := Shown{Way: a.String()}
	switch o := os[0]; o.Kind {
	case traffic.Refused, traffic.Reset, traffic.TLSAlert:
		shown.Err = errors.New(o.FirstLine())
	case traffic.Status, traffic.Reached: // the client's text of a handshake that succeeded
		for _, m := range shownCertificate.FindAllStringSubmatch(o.Detail, -1) {
			text, err := strconv.Unquote(m[1])
			if err != nil {
				return Shown{}, fmt.Errorf("%s: a certificate that cannot be read: %w", a, err)
			}
			block, _ := pem.Decode([]byte(text))
			if block == nil {
				return Shown{}, fmt.Errorf("%s: a certificate that is no PEM: %.100q", a, text)
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return Shown{}, fmt.Errorf("%s: %w", a, err)
			}
			shown.Chain = append(shown.Chain, c)
		}
	default: // timed out, no such host: nothing was learned
		return Shown{}, fmt.Errorf("%s: %s: %s", a, o.Kind, o.FirstLine())
	}
	return shown, nil
}

// Handshake is [Address.Handshake] with one pod behind it.
func (e *Endpoint) Handshake(ctx context.Context, port int, serverName string) (Shown, error) {
	raw, err := e.pod.Dial(ctx, port)
	if err != nil {
		return Shown{}, err
	}
	defer func() { _ = raw.Close() }()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: serverName, NextProtos: []string{"h2"}})
	hctx, cancel := context.WithTimeout(ctx, 3*quiet)
	defer cancel()
	shown := Shown{Way: e.String()}
	if err = c.HandshakeContext(hctx); err == nil {
		shown.Chain = c.ConnectionState().PeerCertificates
		return shown, nil
	}
	var refusal *Refusal
	if err = failed("", raw, err); errors.As(err, &refusal) {
		shown.Err = refusal
		return shown, nil
	}
	return Shown{}, err
}

// Proxy is who asks a control plane for its configuration.
type Proxy struct {
	// Cluster is where the token comes from, and Namespace that of its ServiceAccount.
	Cluster, Namespace string
	Domain             string // of the clusters
	Token              string // of the ServiceAccount; empty = none
	// CA and ServerName are the authority and the name that the control plane must show.
	CA, ServerName string
}

func (p Proxy) headers() map[string]string {
	h := map[string]string{"clusterid": p.Cluster}
	if p.Token != "" {
		h["authorization"] = "Bearer " + p.Token
	}
	return h
}

// Stream is how a control plane answered a proxy that opens a stream for its configuration.
type Stream struct {
	Way     string
	Code    codes.Code
	Message string
	// Err says why there was no answer of gRPC.
	Err error
}

// String is for messages.
func (s Stream) String() string {
	if s.Err != nil {
		return fmt.Sprintf("%s: no answer of gRPC: %v", s.Way, s.Err)
	}
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s", s.Way, s.Code, s.Message))
}

var (
	grpcStatus  = regexp.MustCompile(`ResponseHeader=Grpc-Status:(\d+)`)
	grpcMessage = regexp.MustCompile(`ResponseHeader=Grpc-Message:(.*)`)
)

// Discover opens a stream at a gateway's address. The echo client sends no message on it, and a
// control plane that takes the proxy waits for one: only a refusal is an answer, and silence tells
// nothing.
func (a Address) Discover(ctx context.Context, p Proxy) (Stream, error) {
	headers := p.headers()
	headers["content-type"], headers["te"] = "application/grpc", "trailers"
	const method = discovery.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName
	os, err := a.From.Do(ctx, traffic.Call{URL: "https://" + a.At + method,
		Method: http.MethodPost, HTTP2: true, Headers: headers, CA: p.CA, ServerName: p.ServerName, Times: 1})
	if err != nil {
		return Stream{}, err
	}
	s := Stream{Way: a.String()}
	o := os[0]
	m := grpcStatus.FindStringSubmatch(o.Detail)
	switch {
	case m != nil:
		code, _ := strconv.Atoi(m[1]) // the expression admits digits only
		s.Code = codes.Code(code)
		if m := grpcMessage.FindStringSubmatch(o.Detail); m != nil {
			s.Message = strings.TrimSpace(m[1])
		}
	case o.Kind == traffic.TimedOut, o.Kind == traffic.NoSuchHost:
		return Stream{}, fmt.Errorf("%s: %s: %s", a, o.Kind, o.FirstLine())
	default:
		s.Err = fmt.Errorf("%s: %s", o.Kind, o.FirstLine())
	}
	return s, nil
}

// clusterType is what every proxy asks for first.
const clusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

// Discover is [Address.Discover] with one pod behind it, as a proxy does it: it asks for its
// clusters, and an answer without any is none.
func (e *Endpoint) Discover(ctx context.Context, port int, p Proxy) (Stream, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(p.CA)) {
		return Stream{}, errors.New("the mesh's root is no certificate")
	}
	raw, err := e.pod.Dial(ctx, port)
	if err != nil {
		return Stream{}, err
	}
	defer func() { _ = raw.Close() }()
	first := make(chan net.Conn, 1)
	first <- raw
	cc, err := grpc.NewClient("passthrough:///"+e.pod.Name,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: p.ServerName})),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return nil, errors.New("the connection was closed")
			}
		}))
	if err != nil {
		return Stream{}, err
	}
	defer func() { _ = cc.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for k, v := range p.headers() {
		ctx = metadata.AppendToOutgoingContext(ctx, k, v)
	}
	s := Stream{Way: e.String()}
	answer, err := ask(ctx, cc, p)
	switch {
	case err == nil && len(answer.Resources) == 0:
		s.Err = errors.New("an answer without a cluster")
	case err == nil:
		s.Message = fmt.Sprintf("%d clusters", len(answer.Resources))
	case portforward.Lost(raw) != nil:
		return Stream{}, portforward.Lost(raw)
	default:
		said, _ := status.FromError(err)
		s.Code, s.Message = said.Code(), said.Message()
	}
	return s, nil
}

func ask(ctx context.Context, cc *grpc.ClientConn, p Proxy) (*discovery.DiscoveryResponse, error) {
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(cc).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	node := fmt.Sprintf("router~127.0.0.1~amc.%[1]s~%[1]s.svc.%[2]s", p.Namespace, p.Domain)
	// An error of Send is only that the stream has ended; Recv says why.
	_ = stream.Send(&discovery.DiscoveryRequest{Node: &core.Node{Id: node}, TypeUrl: clusterType})
	return stream.Recv()
}
