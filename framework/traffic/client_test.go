package traffic

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"istio.io/istio/pkg/test/echo/proto"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
)

// slowEcho is a client pod whose calls take a while. It remembers how many ran at the same time.
type slowEcho struct {
	proto.UnimplementedEchoTestServiceServer
	mu        sync.Mutex
	now, most int
}

func (s *slowEcho) ForwardEcho(context.Context, *proto.ForwardEchoRequest) (*proto.ForwardEchoResponse, error) {
	s.count(1)
	defer s.count(-1)
	time.Sleep(20 * time.Millisecond)
	return &proto.ForwardEchoResponse{Output: []string{"[0] StatusCode=200"}}, nil
}

func (s *slowEcho) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += n
	s.most = max(s.most, s.now)
}

// Specs that run side by side share a client.
func TestCallsAtTheSameTime(t *testing.T) {
	pod, server, listener := &slowEcho{}, grpc.NewServer(), bufconn.Listen(1<<16)
	proto.RegisterEchoTestServiceServer(server, pod)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	cc, err := grpc.NewClient("passthrough:///pod", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(&portforward.Pod{Cluster: &mesh.Cluster{Name: "a"}}, "client", cc)

	var specs sync.WaitGroup
	for range 3 {
		specs.Go(func() {
			os, err := c.Do(t.Context(), Call{URL: "http://echo/", Times: 12})
			if err != nil {
				t.Error(err)
			}
			if len(os) != 12 {
				t.Errorf("got %d outcomes, want 12", len(os))
			}
		})
	}
	specs.Wait()
	if pod.most != Parallel {
		t.Errorf("at most %d calls ran at the same time, want %d", pod.most, Parallel)
	}

	pod.most = 0
	to := Calls{From: c, Call: Call{URL: "http://echo/"}}.InTurn()
	if _, err := to.Look(t.Context(), 3); err != nil {
		t.Error(err)
	}
	if _, err := to.Spread(t.Context(), 3, 3*time.Millisecond); err != nil { // a call takes longer than a third
		t.Error(err)
	}
	if pod.most != 1 {
		t.Errorf("%d of the calls in turn ran at the same time, want 1", pod.most)
	}

	// Whoever waits for a slot gives up with the spec.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if os, err := c.Do(ctx, Call{URL: "http://echo/", Times: 12}); err == nil {
		t.Errorf("got %s of a canceled spec, want an error", os)
	}
}
