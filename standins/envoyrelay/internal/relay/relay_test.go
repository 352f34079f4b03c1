package relay

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	udpa "github.com/cncf/xds/go/udpa/type/v1"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"ambient.test/conformance/standins/envoyrelay/internal/rewrite"
)

// agent is a pilot-agent that pushes one cluster on a stream and keeps what it hears.
type agent struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	push  *anypb.Any
	heard chan *discovery.DeltaDiscoveryRequest
}

func (a *agent) DeltaAggregatedResources(s discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	for first := true; ; first = false {
		q, err := s.Recv()
		if err != nil {
			return err
		}
		a.heard <- q
		if first {
			if err := s.Send(
				&discovery.DeltaDiscoveryResponse{
					TypeUrl:           rewrite.ClusterType,
					Nonce:             "n1",
					SystemVersionInfo: "v1",
					Resources:         []*discovery.Resource{{Name: "c", Version: "7", Resource: a.push}},
				},
			); err != nil {
				return err
			}
		}
	}
}

func (a *agent) StreamAggregatedResources(s discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	return s.Send(&discovery.DiscoveryResponse{TypeUrl: rewrite.ClusterType, VersionInfo: "v1", Nonce: "n1", Resources: []*anypb.Any{a.push}})
}

func listen(t *testing.T, path string, g *grpc.Server) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
}

type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) printf(f string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(f, a...))
}

func (l *log) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.lines {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// start brings up an agent and a relay, and returns Envoy's client to the relay.
func start(t *testing.T, l *log) (*agent, *Server, discovery.AggregatedDiscoveryServiceClient, context.Context, func()) {
	dir := t.TempDir()
	inner, _ := anypb.New(&udpa.TypedStruct{TypeUrl: "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange"})
	push, _ := anypb.New(&cluster.Cluster{Name: "c", Filters: []*cluster.Filter{{Name: "mx", TypedConfig: inner}}})
	a := &agent{push: push, heard: make(chan *discovery.DeltaDiscoveryRequest, 8)}
	ag := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(ag, a)
	listen(t, filepath.Join(dir, "XDS"), ag)
	g, s, err := New(filepath.Join(dir, "XDS"), l.printf)
	if err != nil {
		t.Fatal(err)
	}
	listen(t, filepath.Join(dir, "relay"), g)
	cc, err := grpc.NewClient("unix:"+filepath.Join(dir, "relay"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return a, s, discovery.NewAggregatedDiscoveryServiceClient(cc), ctx, ag.Stop
}

func TestDelta(t *testing.T) {
	l := &log{}
	a, s, envoy, ctx, _ := start(t, l)
	for round := 1; round <= 2; round++ {
		st, err := envoy.DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		first := &discovery.DeltaDiscoveryRequest{
			TypeUrl:                 rewrite.ClusterType,
			ResourceNamesSubscribe:  []string{"*"},
			InitialResourceVersions: map[string]string{"c": "6"},
		}
		if err := st.Send(first); err != nil {
			t.Fatal(err)
		}
		if q := <-a.heard; !proto.Equal(q, first) {
			t.Errorf("the agent heard %v", q)
		}
		p, err := st.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var c cluster.Cluster
		if err := proto.Unmarshal(p.Resources[0].Resource.Value, &c); err != nil {
			t.Errorf("Envoy got %v: %v", p, err)
		}
		if len(c.Filters) != 0 {
			t.Errorf("Envoy got filters %v, want none", c.Filters)
		}
		if diff := cmp.Diff([]string{"n1", "7", "v1"}, []string{p.Nonce, p.Resources[0].Version, p.SystemVersionInfo}); diff != "" {
			t.Errorf("nonce and versions for Envoy (-want +got):\n%s", diff)
		}
		nack := &discovery.DeltaDiscoveryRequest{
			TypeUrl:       rewrite.ClusterType,
			ResponseNonce: "n1",
			ErrorDetail:   &rpc.Status{Code: 13, Message: "never heard of it"},
		}
		if err := st.Send(nack); err != nil {
			t.Fatal(err)
		}
		if q := <-a.heard; !proto.Equal(q, nack) {
			t.Errorf("the agent heard %v instead of Envoy's rejection", q)
		}
		if n := l.count("REJECTED"); n != round {
			t.Errorf("%d rejections in the log after %d", n, round)
		}
	}
	const what = "cluster filter envoy.tcp.metadataexchange.config.MetadataExchange removed"
	if n := l.count(what); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	if n := s.Counts()[what]; n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
}

func TestStateOfTheWorld(t *testing.T) {
	_, _, envoy, ctx, _ := start(t, &log{})
	st, err := envoy.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Send(&discovery.DiscoveryRequest{TypeUrl: rewrite.ClusterType}); err != nil {
		t.Fatal(err)
	}
	p, err := st.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var c cluster.Cluster
	if err := proto.Unmarshal(p.Resources[0].Value, &c); err != nil {
		t.Errorf("Envoy got %v: %v", p, err)
	}
	if len(c.Filters) != 0 {
		t.Errorf("Envoy got filters %v, want none", c.Filters)
	}
	if p.VersionInfo != "v1" {
		t.Errorf("Envoy got version %q, want v1", p.VersionInfo)
	}
}

// When the agent goes, Envoy's stream ends, so that Envoy asks again; it must not hang on a relay
// that has nothing to say.
func TestAgentGoes(t *testing.T) {
	a, _, envoy, ctx, stop := start(t, &log{})
	st, err := envoy.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: rewrite.ClusterType}); err != nil {
		t.Fatal(err)
	}
	<-a.heard
	if _, err := st.Recv(); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := st.Recv(); err == nil {
		t.Error("the stream went on")
	}
	if err := ctx.Err(); err != nil {
		t.Errorf("the stream ended with the test's own time: %v", err)
	}
}
