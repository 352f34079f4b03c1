package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

// protocol is how the next hop is spoken to.
type protocol int

const (
	plainTCP protocol = iota
	singleHBONE
	doubleHBONE
)

func (p protocol) String() string { return [...]string{"TCP", "HBONE", "DOUBLEHBONE"}[p] }

// route is where an outbound connection goes and what it expects to find there.
type route struct {
	protocol  protocol
	next      netip.AddrPort        // TCP destination: the pod, a waypoint or a gateway
	workload  *workloadapi.Workload // what next belongs to; nil for passthrough
	service   *workloadapi.Service  // what the client meant; nil when it meant no service
	authority string                // of the CONNECT; "" for plain TCP
	sans      []string              // who the next hop may be
	finalSANs []string              // double HBONE: who the inner tunnel's end may be
}

// route decides about a connection from src (whose address is client) to dst.
//
// As in ztunnel, two networks are asked: the proxy's own (NETWORK) for what the client named and
// whether a waypoint stands before it, the client's, as istiod says it, for where it is. They are
// one unless NETWORK or the label of istio-system is wrong; then waypoints are passed by, and other
// networks not reached.
func (s *Shared) route(ctx context.Context, src *workloadapi.Workload, client netip.Addr, dst netip.AddrPort) (*route, error) {
	var svc *workloadapi.Service
	if s.Store.Workload(dst.Addr()) == nil {
		svc = s.Store.ServiceByVIP(dst.Addr(), src.Namespace)
	}
	if svc != nil {
		wp, err := s.Store.ServiceWaypoint(src, svc, dst.Addr())
		if err != nil {
			return nil, err
		}
		if wp != nil {
			if wp.Workload.Network != src.Network {
				return s.throughGateway(ctx, src, wp, svc, dst)
			}
			return s.toWaypoint(ctx, wp, svc, dst)
		}
	}

	up := s.upstream(src, dst)
	switch {
	case up != nil:
	case svc != nil && svc.LoadBalancing.GetMode() != workloadapi.LoadBalancing_PASSTHROUGH:
		return nil, fmt.Errorf("no healthy upstream: %s", dst)
	default:
		return &route{protocol: plainTCP, next: dst}, nil
	}
	if up.Workload.Network != src.Network {
		if svc == nil {
			return nil, fmt.Errorf("no service for target address: %s", dst)
		}
		return s.throughGateway(ctx, src, up, svc, dst)
	}
	// A waypoint of the pod itself is for those who address the pod, and not for the waypoint.
	if svc == nil && up.Workload.Waypoint != nil && !s.isWaypointOf(up.Workload, src, client) {
		wp, err := s.Store.WorkloadWaypoint(src, up.Workload, dst.Addr())
		if err != nil {
			return nil, err
		}
		return s.toWaypoint(ctx, wp, up.Service, dst)
	}
	if !up.Addr.Addr().IsValid() {
		ip, err := s.address(ctx, up.Workload)
		if err != nil {
			return nil, err
		}
		up.Addr = netip.AddrPortFrom(ip, up.Addr.Port())
	}
	r := &route{next: up.Addr, workload: up.Workload, service: up.Service, sans: up.SANs()}
	if up.Workload.TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
		r.protocol, r.authority, r.next = singleHBONE, up.Addr.String(), netip.AddrPortFrom(up.Addr.Addr(), HBONEPort)
	}
	return r, nil
}

// upstream finds the workload behind an address in the network of src; nil when there is none, or
// the client's own choice is to be kept.
func (s *Shared) upstream(src *workloadapi.Workload, dst netip.AddrPort) *state.Upstream {
	if w := s.Store.WorkloadIn(src.Network, dst.Addr()); w != nil {
		return &state.Upstream{Workload: w, Addr: dst}
	}
	v := s.Store.ServiceIn(src.Network, dst.Addr(), src.Namespace)
	if v == nil || v.LoadBalancing.GetMode() == workloadapi.LoadBalancing_PASSTHROUGH {
		return nil
	}
	return s.Store.Choose(src, v, dst.Port(), dst.Addr())
}

// toWaypoint keeps the address the client used: what it means is for the waypoint to say.
func (s *Shared) toWaypoint(ctx context.Context, wp *state.Upstream, svc *workloadapi.Service, dst netip.AddrPort) (*route, error) {
	next, err := s.reachable(ctx, wp)
	if err != nil {
		return nil, err
	}
	return &route{protocol: singleHBONE, next: next, workload: wp.Workload, service: svc, authority: dst.String(), sans: wp.SANs()}, nil
}

// throughGateway goes to another network. up is the endpoint there, or the waypoint before it; both
// tunnels name the service.
func (s *Shared) throughGateway(
	ctx context.Context,
	src *workloadapi.Workload,
	up *state.Upstream,
	svc *workloadapi.Service,
	dst netip.AddrPort,
) (*route, error) {
	if up.Workload.NetworkGateway == nil {
		return nil, fmt.Errorf(
			"no valid routing destination for workload: %s of network %s has no network gateway", up.Workload.Uid, up.Workload.Network,
		)
	}
	gw, err := s.Store.Gateway(src, up.Workload.NetworkGateway, dst.Addr(), "network gateway")
	if err != nil {
		return nil, err
	}
	next, err := s.reachable(ctx, gw)
	if err != nil {
		return nil, err
	}
	return &route{
		protocol: doubleHBONE, next: next, workload: gw.Workload, service: svc,
		authority: net.JoinHostPort(svc.Hostname, strconv.Itoa(int(dst.Port()))),
		sans:      gw.SANs(), finalSANs: up.Service.GetSubjectAltNames(),
	}, nil
}

func (s *Shared) reachable(ctx context.Context, up *state.Upstream) (netip.AddrPort, error) {
	if up.Addr.Addr().IsValid() {
		return up.Addr, nil
	}
	ip, err := s.address(ctx, up.Workload)
	return netip.AddrPortFrom(ip, up.Addr.Port()), err
}

// address is a workload's address; one known by DNS name only is looked up.
func (s *Shared) address(ctx context.Context, w *workloadapi.Workload) (netip.Addr, error) {
	if ips := state.IPs(w); len(ips) > 0 {
		return ips[0], nil
	}
	if w.Hostname == "" {
		return netip.Addr{}, fmt.Errorf("no valid routing destination for workload: %s has no address", w.Uid)
	}
	ips, err := s.Resolve(ctx, w.Hostname)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("no ip addresses were resolved for workload %s: %w", w.Uid, err)
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() || s.IPv6 {
			return ip.Unmap(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no ip addresses were resolved for workload %s", w.Uid)
}

// isWaypointOf tells whether a connection comes from the workload's own waypoint: by identity and
// by address.
func (s *Shared) isWaypointOf(w, src *workloadapi.Workload, client netip.Addr) bool {
	for _, e := range s.waypointEndpoints(w.Waypoint) {
		if state.Identity(e) == state.Identity(src) && slices.Contains(state.IPs(e), client) {
			return true
		}
	}
	return false
}

// waypointEndpoints are all workloads behind a waypoint's address.
func (s *Shared) waypointEndpoints(g *workloadapi.GatewayAddress) []*workloadapi.Workload {
	var v *workloadapi.Service
	if h := g.GetHostname(); h != nil {
		v = s.Store.ServiceByHost(h.Hostname, h.Namespace)
	} else if a := g.GetAddress(); a != nil {
		ip, ok := netip.AddrFromSlice(a.Address)
		if !ok {
			return nil
		}
		if w := s.Store.WorkloadIn(a.Network, ip.Unmap()); w != nil {
			return []*workloadapi.Workload{w}
		}
		v = s.Store.ServiceByVIP(ip.Unmap(), "")
	}
	if v == nil {
		return nil
	}
	return s.Store.Endpoints(v)
}

// guessService says which of a workload's services a connection to one of its ports meant: the one
// the client named, else the first by name that maps to the port; nil when none does.
func guessService(all []*workloadapi.Service, w *workloadapi.Workload, port uint16, host string) *workloadapi.Service {
	slices.SortFunc(all, func(a, b *workloadapi.Service) int { return strings.Compare(a.Hostname, b.Hostname) })
	maps := func(ports []*workloadapi.Port) bool {
		return slices.ContainsFunc(ports, func(p *workloadapi.Port) bool { return p.TargetPort == uint32(port) })
	}
	for _, v := range all {
		if v.Hostname == host {
			return v
		}
	}
	for _, v := range all {
		if maps(v.Ports) || maps(w.Services[state.ServiceKey(v)].GetPorts()) {
			return v
		}
	}
	return nil
}
