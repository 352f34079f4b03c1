package state

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"istio.io/istio/pkg/workloadapi"
)

// HBONEPort is where HBONE is served, unless a gateway address says otherwise.
const HBONEPort = 15008

// Upstream is a chosen endpoint.
type Upstream struct {
	Workload *workloadapi.Workload
	Service  *workloadapi.Service // nil when the workload was addressed itself
	Addr     netip.AddrPort       // pod IP and target port; not valid for a workload behind another network's gateway
}

// SANs are the identities the upstream may show: its own and its service's.
func (u *Upstream) SANs() []string {
	return append([]string{Identity(u.Workload)}, u.Service.GetSubjectAltNames()...)
}

// Choose picks an endpoint of v for a connection from src to v's port: healthy, reachable, best by
// routing preference, then by chance in proportion to capacity. A remote network's pods are one
// workload of their number as capacity. It returns nil when there is none.
func (s *Store) Choose(src *workloadapi.Workload, v *workloadapi.Service, port uint16, want netip.Addr) *Upstream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.choose(src, v, port, want, false)
}

func (s *Store) choose(src *workloadapi.Workload, v *workloadapi.Service, port uint16, want netip.Addr, toWaypoint bool) *Upstream {
	target, known := portOf(v.Ports, port)
	if !known && !toWaypoint {
		return nil
	}
	var fit []*workloadapi.Workload
	for _, w := range s.endpoints[ServiceKey(v)] {
		if w.Status != workloadapi.WorkloadStatus_HEALTHY && v.LoadBalancing.GetHealthPolicy() != workloadapi.LoadBalancing_ALLOW_ALL {
			continue
		}
		// istiod gives a gateway also to workloads of the own network; only another network's is of
		// use.
		if len(w.Addresses) == 0 && w.Hostname == "" && (w.Network == src.Network || w.NetworkGateway == nil) {
			continue
		}
		// A port without a target leads by its name: a pod has the number, a gateway of another network
		// has the port and no number, and is asked by the port of the service.
		_, ok := portOf(w.Services[ServiceKey(v)].GetPorts(), port)
		if toWaypoint && !known && w.ApplicationTunnel == nil || !toWaypoint && target == 0 && !ok {
			continue
		}
		fit = append(fit, w)
	}
	w := weighted(preferred(fit, src, v.LoadBalancing))
	if w == nil {
		return nil
	}
	if own, ok := portOf(w.Services[ServiceKey(v)].GetPorts(), port); ok && own != 0 {
		target = own
	} else if target == 0 && w.ApplicationTunnel != nil {
		target = port
	}
	u := &Upstream{Workload: w, Service: v}
	if ip, ok := pickIP(w, want); ok {
		u.Addr = netip.AddrPortFrom(ip, target)
	}
	return u
}

// portOf finds a service port's target port; 0 is a named port that differs between endpoints.
func portOf(ports []*workloadapi.Port, port uint16) (target uint16, ok bool) {
	for _, p := range ports {
		if p.ServicePort == uint32(port) {
			return uint16(p.TargetPort), true
		}
	}
	return 0, false
}

// pickIP takes an address of the family that was asked for, else any.
func pickIP(w *workloadapi.Workload, like netip.Addr) (netip.Addr, bool) {
	ips := IPs(w)
	for _, ip := range ips {
		if like.IsValid() && ip.Is4() == like.Is4() {
			return ip, true
		}
	}
	if len(ips) > 0 {
		return ips[0], true
	}
	return netip.Addr{}, false
}

// preferred keeps the endpoints that match the longest part of the routing preference; in STRICT
// mode only those that match all of it.
func preferred(all []*workloadapi.Workload, src *workloadapi.Workload, lb *workloadapi.LoadBalancing) []*workloadapi.Workload {
	strict := lb.GetMode() == workloadapi.LoadBalancing_STRICT
	if !strict && lb.GetMode() != workloadapi.LoadBalancing_FAILOVER {
		return all
	}
	best, kept := -1, []*workloadapi.Workload(nil)
	for _, w := range all {
		r, full := rank(w, src, lb.RoutingPreference)
		if strict && !full {
			continue
		}
		if r > best {
			best, kept = r, nil
		}
		if r == best {
			kept = append(kept, w)
		}
	}
	return kept
}

// rank counts the preferences w matches, up to the first it does not. NETWORK in first place is not
// such a stop: an endpoint of another network is compared by the scopes that follow, and stays
// behind every endpoint of the own network.
func rank(w, src *workloadapi.Workload, preference []workloadapi.LoadBalancing_Scope) (n int, full bool) {
	same := func(scope workloadapi.LoadBalancing_Scope) bool {
		a, b := src, w
		switch scope {
		case workloadapi.LoadBalancing_REGION:
			return a.Locality.GetRegion() == b.Locality.GetRegion()
		case workloadapi.LoadBalancing_ZONE:
			return a.Locality.GetZone() == b.Locality.GetZone()
		case workloadapi.LoadBalancing_SUBZONE:
			return a.Locality.GetSubzone() == b.Locality.GetSubzone()
		case workloadapi.LoadBalancing_NODE:
			return a.Node == b.Node
		case workloadapi.LoadBalancing_CLUSTER:
			return a.ClusterId == b.ClusterId
		case workloadapi.LoadBalancing_NETWORK:
			return a.Network == b.Network
		}
		return false
	}
	bonus := 0
	for i, scope := range preference {
		ok := same(scope)
		if i == 0 && scope == workloadapi.LoadBalancing_NETWORK {
			if !ok {
				continue
			}
			bonus = len(preference) - 1
		}
		if !ok {
			break
		}
		n++
	}
	return n + bonus, n == len(preference)
}

func weighted(all []*workloadapi.Workload) *workloadapi.Workload {
	var sum uint64
	weight := func(w *workloadapi.Workload) uint64 {
		if w.Capacity == nil {
			return 1
		}
		return uint64(w.Capacity.Value)
	}
	for _, w := range all {
		sum += weight(w)
	}
	if sum == 0 {
		return nil
	}
	at := rand.Uint64N(sum)
	for _, w := range all {
		if at < weight(w) {
			return w
		}
		at -= weight(w)
	}
	return nil
}

// ServiceWaypoint is a waypoint endpoint for a connection to service v, nil when v has none. With
// weighted waypoints one is drawn for each call. A waypoint that is named and not found is an
// error, never bypassed.
func (s *Store) ServiceWaypoint(src *workloadapi.Workload, v *workloadapi.Service, want netip.Addr) (*Upstream, error) {
	g := v.Waypoint
	if len(v.WeightedWaypoints) > 0 {
		var sum uint64
		for _, w := range v.WeightedWaypoints {
			sum += uint64(w.Weight)
		}
		if sum > 0 {
			at := rand.Uint64N(sum)
			for _, w := range v.WeightedWaypoints {
				if at < uint64(w.Weight) {
					g = w.Destination
					break
				}
				at -= uint64(w.Weight)
			}
		}
	}
	return s.Gateway(src, g, want, "waypoint")
}

// WorkloadWaypoint is ServiceWaypoint for a workload that was addressed itself.
func (s *Store) WorkloadWaypoint(src, w *workloadapi.Workload, want netip.Addr) (*Upstream, error) {
	return s.Gateway(src, w.Waypoint, want, "waypoint")
}

// Gateway finds a workload behind a gateway address; kind names it in errors. A nil address gives
// nil.
func (s *Store) Gateway(src *workloadapi.Workload, g *workloadapi.GatewayAddress, want netip.Addr, kind string) (*Upstream, error) {
	if g == nil {
		return nil, nil
	}
	port := uint16(g.HboneMtlsPort)
	if port == 0 {
		port = HBONEPort
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var v *workloadapi.Service
	if h := g.GetHostname(); h != nil {
		if v = s.services[h.Namespace+"/"+h.Hostname]; v == nil {
			for _, w := range s.workloads { // a gateway with a DNS name for address is a workload of that hostname
				if w.Hostname == h.Hostname && w.Namespace == h.Namespace {
					return &Upstream{Workload: w, Addr: netip.AddrPortFrom(netip.Addr{}, port)}, nil
				}
			}
			return nil, fmt.Errorf("unknown %s: %s/%s", kind, h.Namespace, h.Hostname)
		}
	} else if a := g.GetAddress(); a != nil {
		ip, ok := netip.AddrFromSlice(a.Address)
		if !ok {
			return nil, fmt.Errorf("unknown %s: address of %d bytes", kind, len(a.Address))
		}
		ip = ip.Unmap()
		at := a.Network
		if w := s.workloadIn(at, ip); w != nil {
			return &Upstream{Workload: w, Addr: netip.AddrPortFrom(ip, port)}, nil
		}
		if v = s.serviceIn(at, ip, ""); v == nil {
			return nil, fmt.Errorf("unknown %s: %s/%s", kind, at, ip)
		}
	} else {
		return nil, fmt.Errorf("unknown %s: no destination", kind)
	}
	u := s.choose(src, v, port, want, true)
	if u == nil {
		return nil, fmt.Errorf("no healthy upstream: %s %s has no endpoint", kind, ServiceKey(v))
	}
	return u, nil
}
