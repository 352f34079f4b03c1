// Package relay carries ADS streams between Envoy and pilot-agent, rewriting resources on their way
// to Envoy. Versions, nonces and everything that Envoy says pass as they are, so that what Envoy
// acknowledges or rejects is Envoy's own word.
package relay

import (
	"context"
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"ambient.test/conformance/standins/envoyrelay/internal/rewrite"
)

// maxMessage bounds one push; istiod's can be far above gRPC's default of 4 MiB.
const maxMessage = 256 << 20

// Server relays every stream it gets to the agent.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	agent discovery.AggregatedDiscoveryServiceClient
	log   func(format string, args ...any)

	mu   sync.Mutex
	done map[string]int
}

// New makes a gRPC server that relays to the agent listening at a Unix socket. The agent may come,
// go and come back: each of Envoy's streams is one to the agent.
func New(agentSocket string, log func(format string, args ...any)) (*grpc.Server, *Server, error) {
	cc, err := grpc.NewClient(
		"unix:"+agentSocket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, nil, err
	}
	s := &Server{agent: discovery.NewAggregatedDiscoveryServiceClient(cc), log: log, done: map[string]int{}}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	discovery.RegisterAggregatedDiscoveryServiceServer(g, s)
	return g, s, nil
}

// Counts is how often each rewrite was made.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]int{}
	for k, v := range s.done {
		m[k] = v
	}
	return m
}

// DeltaAggregatedResources is what waypoints and gateways use.
func (s *Server) DeltaAggregatedResources(envoy discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	ctx, cancel := context.WithCancel(envoy.Context())
	defer cancel()
	agent, err := s.agent.DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	return carry(
		cancel,
		envoy,
		agent,
		func(q *discovery.DeltaDiscoveryRequest) { s.rejected(q.TypeUrl, q.ErrorDetail) },
		func(p *discovery.DeltaDiscoveryResponse) {
			for _, r := range p.Resources {
				s.rewrite(r.Resource, r.Name)
			}
		},
	)
}

// StreamAggregatedResources is the state of the world.
func (s *Server) StreamAggregatedResources(envoy discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	ctx, cancel := context.WithCancel(envoy.Context())
	defer cancel()
	agent, err := s.agent.StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	return carry(
		cancel,
		envoy,
		agent,
		func(q *discovery.DiscoveryRequest) { s.rejected(q.TypeUrl, q.ErrorDetail) },
		func(p *discovery.DiscoveryResponse) {
			for _, r := range p.Resources {
				s.rewrite(r, p.TypeUrl)
			}
		},
	)
}

// carry moves requests up and responses down until either side ends.
func carry[Q, P any](cancel func(), envoy interface {
	Recv() (*Q, error)
	Send(*P) error
}, agent interface {
	Recv() (*P, error)
	Send(*Q) error
	CloseSend() error
}, up func(*Q), down func(*P)) error {
	go func() {
		for {
			q, err := envoy.Recv()
			if err != nil {
				cancel()
				return
			}
			up(q)
			if agent.Send(q) != nil { // the reason comes out of agent.Recv below
				return
			}
		}
	}()
	for {
		p, err := agent.Recv()
		if err != nil {
			return err
		}
		down(p)
		if err := envoy.Send(p); err != nil {
			return err
		}
	}
}

func (s *Server) rejected(typeURL string, detail *rpc.Status) {
	if detail != nil {
		s.log("Envoy REJECTED a push of %s: %s", typeURL, detail.Message)
	}
}

func (s *Server) rewrite(a *anypb.Any, name string) {
	did, err := rewrite.Resource(a)
	if err != nil {
		s.log("%s passes as it is: %v", name, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range did {
		if s.done[d]++; s.done[d] == 1 {
			s.log("%s (first in %s; said once)", d, name)
		}
	}
}
