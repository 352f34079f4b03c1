// Package xds keeps a delta xDS stream to istiod open and feeds what it brings to a handler.
package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Handler applies one response and tells which resources it refuses; the others stay in force.
type Handler func(typeURL string, resources map[string][]byte, removed []string) map[string]error

// Client keeps what it holds over a disconnect, and on reconnecting tells istiod the versions, so
// that only what changed is sent again.
type Client struct {
	Conn  grpc.ClientConnInterface
	Node  *core.Node
	Types []string
	Apply Handler
	Log   *slog.Logger
	// Message and Ended, when set, are told of each response and of each end of a stream, for
	// metrics.
	Message func(typeURL string)
	Ended   func(reason string)

	versions map[string]map[string]string // type, resource name
	acked    map[string]bool
	ready    atomic.Bool
}

// Ready tells that a first response of every type has been acknowledged.
func (c *Client) Ready() bool { return c.ready.Load() }

// Run keeps the stream up until ctx ends; it dials again with a back-off from 10 ms to 15 s.
func (c *Client) Run(ctx context.Context) {
	c.versions, c.acked = map[string]map[string]string{}, map[string]bool{}
	for _, t := range c.Types {
		c.versions[t] = map[string]string{}
	}
	wait := 10 * time.Millisecond
	for ctx.Err() == nil {
		got, err := c.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		if got {
			wait = 10 * time.Millisecond
		}
		reason := "error"
		if ended(err) {
			reason = "complete"
		}
		if c.Ended != nil {
			c.Ended(reason)
		}
		c.Log.Warn("xDS stream ended", "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(wait*2, 15*time.Second)
	}
}

// ended tells a normal end of the stream (istiod limits a connection's age) from a failure.
func ended(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	s := status.Convert(err)
	return s.Code() == codes.Canceled || s.Code() == codes.Unavailable && strings.Contains(s.Message(), "max_age")
}

func (c *Client) stream(parent context.Context) (got bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	s, err := discovery.NewAggregatedDiscoveryServiceClient(c.Conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range c.Types {
		if err := s.Send(&discovery.DeltaDiscoveryRequest{Node: c.Node, TypeUrl: t, InitialResourceVersions: c.versions[t]}); err != nil {
			return false, err
		}
	}
	for {
		r, err := s.Recv()
		if err != nil {
			return got, err
		}
		got = true
		if c.Message != nil {
			c.Message(r.TypeUrl)
		}
		if err := s.Send(c.take(r)); err != nil {
			return got, err
		}
	}
}

// take applies a response and makes its ACK or NACK.
func (c *Client) take(r *discovery.DeltaDiscoveryResponse) *discovery.DeltaDiscoveryRequest {
	raw := make(map[string][]byte, len(r.Resources))
	refused := map[string]error{}
	for _, x := range r.Resources {
		if got := x.GetResource().GetTypeUrl(); got != r.TypeUrl {
			refused[x.Name] = fmt.Errorf("type %q in a response of %q", got, r.TypeUrl)
			continue
		}
		raw[x.Name] = x.Resource.Value
	}
	maps.Copy(refused, c.Apply(r.TypeUrl, raw, r.RemovedResources))
	held := c.versions[r.TypeUrl]
	if held == nil {
		held = map[string]string{}
		c.versions[r.TypeUrl] = held
	}
	for _, x := range r.Resources {
		if refused[x.Name] == nil {
			held[x.Name] = x.Version
		}
	}
	for _, n := range r.RemovedResources {
		delete(held, n)
	}
	answer := &discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
	if len(refused) > 0 {
		var why []string
		for _, n := range slices.Sorted(maps.Keys(refused)) {
			why = append(why, fmt.Sprintf("%s: %v", n, refused[n]))
		}
		answer.ErrorDetail = &rpc.Status{Code: int32(codes.InvalidArgument), Message: strings.Join(why, "; ")}
		c.Log.Error("refused resources from istiod", "type", r.TypeUrl, "why", answer.ErrorDetail.Message)
		return answer
	}
	c.acked[r.TypeUrl] = true
	if len(c.acked) >= len(c.Types) {
		c.ready.Store(true)
	}
	return answer
}
