// Package proxy is a pod's proxy: it captures what the pod sends, serves what it is sent, and keeps
// istio-cni's pods proxied.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// Ports in a pod.
const (
	OutboundPort  = 15001
	PlaintextPort = 15006
	HBONEPort     = state.HBONEPort
	DNSPort       = 15053
	SocksPort     = 15080
)

// own are ports of the proxy itself: reaching them through the proxy would be a loop.
var own = []uint16{OutboundPort, PlaintextPort, HBONEPort, SocksPort}

// workloadWait is how long a connection waits for istiod to name the pod it belongs to.
const workloadWait = 5 * time.Second

// openTimeout bounds everything between accepting a connection and the tunnel being open.
const openTimeout = 20 * time.Second

var errSelfCall = errors.New("attempted recursive call to ourselves")

// Shared is what all pods' proxies of this node use.
type Shared struct {
	Store           *state.Store
	Certs           hbone.Certificates
	Recorder        *telemetry.Recorder
	Log             *slog.Logger
	Resolve         func(ctx context.Context, host string) ([]netip.Addr, error) // for gateways and workloads known by DNS name
	Nameservers     []netip.AddrPort                                             // empty: no DNS capture
	Domain          string
	Drain           time.Duration // how long open connections may go on after Stop; default 25 s
	ResponseBaggage bool          // tell clients about the workload they reached
	LocalhostTunnel bool          // application tunnels are reached on the loopback address
	IPv6            bool
	H2              h2.Config
	Limits          hbone.Limits

	Open *Tracker
}

func isOwnPort(p uint16) bool { return slices.Contains(own, p) }

// waitFor polls get at each change of the store.
func (s *Shared) waitFor(ctx context.Context, get func() *workloadapi.Workload) *workloadapi.Workload {
	ctx, cancel := context.WithTimeout(ctx, workloadWait)
	defer cancel()
	for {
		changed := s.Store.Changed()
		if w := get(); w != nil {
			return w
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// flagOf says what kind of failure err is.
func flagOf(err error) telemetry.Flag {
	var denied *deniedError
	switch {
	case err == nil:
		return telemetry.NoFlag
	case errors.As(err, &denied):
		return telemetry.Denied
	case errors.Is(err, hbone.ErrTLS):
		return telemetry.TLSFailed
	case errors.Is(err, hbone.ErrNetworkPolicy):
		return telemetry.NetworkPolicy
	case errors.Is(err, hbone.ErrIdentity):
		return telemetry.IdentityError
	case errors.Is(err, hbone.ErrH2):
		return telemetry.H2Failed
	}
	return telemetry.ConnectFailed
}

type deniedError struct {
	late bool
	why  string
}

func (e *deniedError) Error() string {
	if e.late {
		return "connection closed due to policy change"
	}
	return fmt.Sprintf("connection closed due to policy rejection: %s", e.why)
}
