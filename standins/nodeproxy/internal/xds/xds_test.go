package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
	ca "istio.io/api/security/v1alpha1"

	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
)

const typeA, typeB = "type.googleapis.com/a", "type.googleapis.com/b"

// istiod is a fake: each stream is handed to the test.
type istiod struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	ca.UnimplementedIstioCertificateServiceServer
	streams chan *stream
	signer  *proxytest.CA
	md      chan metadata.MD
}

type stream struct {
	discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	end chan error
}

func (i *istiod) DeltaAggregatedResources(s discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	st := &stream{s, make(chan error, 1)}
	i.streams <- st
	return <-st.end
}

func (i *istiod) CreateCertificate(ctx context.Context, r *ca.IstioCertificateRequest) (*ca.IstioCertificateResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	i.md <- md
	chain, err := i.signer.Sign(ctx, r.Metadata.Fields["ImpersonatedIdentity"].GetStringValue(), r.Csr)
	return &ca.IstioCertificateResponse{CertChain: chain}, err
}

// start serves over real TLS as istiod.test and gives a client connection to it.
func start(t *testing.T) (*istiod, *grpc.ClientConn, string) {
	t.Helper()
	signer := proxytest.NewCA()
	cert, key := signer.ServerPEM("istiod.test")
	kp, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &istiod{streams: make(chan *stream), signer: signer, md: make(chan metadata.MD, 10)}
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{kp}})))
	discovery.RegisterAggregatedDiscoveryServiceServer(g, i)
	ca.RegisterIstioCertificateServiceServer(g, i)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	dir := t.TempDir()
	root, token := filepath.Join(dir, "root.pem"), filepath.Join(dir, "token")
	os.WriteFile(root, signer.RootPEM(), 0o600)
	os.WriteFile(token, []byte("one\n"), 0o600)
	cc, err := Dial(
		"https://"+l.Addr().String(),
		"istiod.test",
		root,
		Token{Path: token, ClusterID: "c1"}.With(map[string]string{"X-Extra": "e"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return i, cc, token
}

func TestTokenAndCA(t *testing.T) {
	i, cc, token := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, want := range []string{"Bearer one", "Bearer two"} {
		c, err := identity.NewManager(ctx, identity.Istiod{Conn: cc}).Get(ctx, "spiffe://td/ns/a/sa/b")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.Chain); n != 2 {
			t.Fatalf("got a chain of %d, want 2", n)
		}
		if n := len(c.Roots); n != 1 {
			t.Fatalf("got %d roots, want 1", n)
		}
		md := <-i.md
		if diff := cmp.Diff([]string{want}, md.Get("authorization")); diff != "" {
			t.Fatalf("the token is read anew for each call (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c1", "e"}, []string{md.Get("clusterid")[0], md.Get("x-extra")[0]}); diff != "" {
			t.Fatalf("cluster and extra header (-want +got):\n%s", diff)
		}
		os.WriteFile(token, []byte("two"), 0o600)
	}
}

func TestServerVerified(t *testing.T) {
	_, cc, token := start(t)
	root := filepath.Join(t.TempDir(), "other.pem")
	os.WriteFile(root, proxytest.NewCA().RootPEM(), 0o600)
	for name, dial := range map[string]struct{ host, root string }{
		"other root": {"istiod.test", root},
		"other name": {"evil.test", filepath.Join(filepath.Dir(token), "root.pem")},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(cc.Target(), dial.host, dial.root, Token{Path: token})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err = ca.NewIstioCertificateServiceClient(c).CreateCertificate(ctx, &ca.IstioCertificateRequest{})
			if want := "x509"; !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func resource(name, version, typ string) *discovery.Resource {
	return &discovery.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: typ, Value: []byte(name + version)}}
}

func TestStream(t *testing.T) {
	i, cc, _ := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	held := map[string]string{}
	c := &Client{
		Conn: cc, Node: &core.Node{Id: "ztunnel~x"}, Types: []string{typeA, typeB}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Apply: func(typ string, r map[string][]byte, removed []string) map[string]error {
			bad := map[string]error{}
			for n, b := range r {
				if n == "bad" {
					bad[n] = errors.New("no good")
					continue
				}
				held[n] = string(b)
			}
			for _, n := range removed {
				delete(held, n)
			}
			return bad
		},
	}
	go c.Run(ctx)

	s := <-i.streams
	subscribed := func(s *stream, versions map[string]string) {
		t.Helper()
		for _, typ := range []string{typeA, typeB} {
			r, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{typ, "ztunnel~x"}, []string{r.TypeUrl, r.Node.GetId()}); diff != "" {
				t.Fatalf("type and node (-want +got):\n%s", diff)
			}
			if names := r.ResourceNamesSubscribe; len(names) != 0 {
				t.Fatalf("subscribed to %v, want all", names)
			}
			want := map[string]string{}
			if typ == typeA {
				want = versions
			}
			if !maps.Equal(r.InitialResourceVersions, want) {
				t.Fatalf("%s: initial versions %v, expected %v", typ, r.InitialResourceVersions, want)
			}
		}
	}
	say := func(s *stream, r *discovery.DeltaDiscoveryResponse) *discovery.DeltaDiscoveryRequest {
		t.Helper()
		if err := s.Send(r); err != nil {
			t.Fatal(err)
		}
		a, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{r.Nonce, r.TypeUrl}, []string{a.ResponseNonce, a.TypeUrl}); diff != "" {
			t.Fatalf("nonce and type of the answer (-want +got):\n%s", diff)
		}
		return a
	}
	subscribed(s, map[string]string{})
	if c.Ready() {
		t.Fatal("ready before anything came")
	}
	a := say(
		s,
		&discovery.DeltaDiscoveryResponse{
			TypeUrl:   typeA,
			Nonce:     "1",
			Resources: []*discovery.Resource{resource("x", "1", typeA), resource("bad", "1", typeA), resource("y", "1", typeA)},
		},
	)
	if got, want := a.GetErrorDetail().GetMessage(), "bad: no good"; !strings.Contains(got, want) {
		t.Fatalf("got NACK %q, want %q", got, want)
	}
	for n, want := range map[string]string{"x": "x1", "y": "y1"} {
		if held[n] != want {
			t.Fatalf("the good resources of a refused push must apply: got %s %q, want %q", n, held[n], want)
		}
	}
	a = say(s, &discovery.DeltaDiscoveryResponse{TypeUrl: typeA, Nonce: "2", Resources: []*discovery.Resource{resource("odd", "1", typeB)}})
	if a.ErrorDetail == nil {
		t.Fatalf("a resource of the wrong type is acknowledged: %v", a)
	}
	if held["odd"] != "" {
		t.Fatalf("a resource of the wrong type is held: %q", held["odd"])
	}
	if a = say(
		s,
		&discovery.DeltaDiscoveryResponse{
			TypeUrl:          typeA,
			Nonce:            "3",
			Resources:        []*discovery.Resource{resource("x", "2", typeA)},
			RemovedResources: []string{"y"},
		},
	); a.ErrorDetail != nil {
		t.Fatalf("got NACK %v, want ACK", a.ErrorDetail)
	}
	if c.Ready() {
		t.Fatal("ready with one type of two")
	}
	say(s, &discovery.DeltaDiscoveryResponse{TypeUrl: typeB, Nonce: "4"})
	if !c.Ready() { // set before the answer is sent
		t.Fatal("not ready")
	}

	s.end <- errors.New("istiod restarts")
	s = <-i.streams
	subscribed(s, map[string]string{"x": "2"})
	say(s, &discovery.DeltaDiscoveryResponse{TypeUrl: typeA, Nonce: "5", RemovedResources: []string{"x"}})
	if len(held) != 0 {
		t.Fatalf("got %v held, want nothing", held)
	}
	s.end <- nil
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"https://istiod.x.svc:15012": "istiod.x.svc:15012", "istiod.x.svc:15012": "istiod.x.svc:15012",
		"[2001:db8::1]:15012": "[2001:db8::1]:15012",
	} {
		t.Run(in, func(t *testing.T) {
			if got := Address(in); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
