// Package state holds what istiod said: workloads, services and policies, and answers the questions
// the proxy asks of them.
package state

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
)

// Type URLs of the two resources a node proxy subscribes to.
const (
	AddressType       = "type.googleapis.com/istio.workload.Address"
	AuthorizationType = "type.googleapis.com/istio.security.Authorization"
)

type netAddr struct {
	network string
	ip      netip.Addr
}

type cidrVIP struct {
	network string
	prefix  netip.Prefix
	service *workloadapi.Service
}

type podName struct{ namespace, name string }

// Store is safe for concurrent use. Messages handed out are shared: read them only.
type Store struct {
	Network   string // NETWORK: addresses without another network's gateway are of this one
	ClusterID string // ISTIO_META_CLUSTER_ID

	mu        sync.RWMutex
	workloads map[string]*workloadapi.Workload // by uid
	byAddr    map[netAddr][]*workloadapi.Workload
	byPod     map[podName][]*workloadapi.Workload
	services  map[string]*workloadapi.Service // by namespace/hostname
	byVIP     map[netAddr][]*workloadapi.Service
	cidrs     []cidrVIP
	byHost    map[string][]*workloadapi.Service
	endpoints map[string]map[string]*workloadapi.Workload // service key, uid
	policies  map[string]*security.Authorization          // namespace/name
	changed   chan struct{}

	onLocal func(*workloadapi.Workload) // a workload came or changed
	onGone  func(*workloadapi.Workload)
}

// New makes an empty store.
func New(network, clusterID string) *Store {
	return &Store{
		Network:   network,
		ClusterID: clusterID,
		workloads: map[string]*workloadapi.Workload{},
		byAddr:    map[netAddr][]*workloadapi.Workload{},
		byPod:     map[podName][]*workloadapi.Workload{},
		services:  map[string]*workloadapi.Service{},
		byVIP:     map[netAddr][]*workloadapi.Service{},
		byHost:    map[string][]*workloadapi.Service{},
		endpoints: map[string]map[string]*workloadapi.Workload{},
		policies:  map[string]*security.Authorization{},
		changed:   make(chan struct{}),
	}
}

// OnWorkload sets what is called, outside of the lock, for every workload that comes, changes or
// goes.
func (s *Store) OnWorkload(come, gone func(*workloadapi.Workload)) { s.onLocal, s.onGone = come, gone }

// Changed is closed at the next change of anything.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// ServiceKey is a service's resource name: namespace/hostname.
func ServiceKey(v *workloadapi.Service) string { return v.GetNamespace() + "/" + v.GetHostname() }

// Apply takes one delta response. It returns why resources were refused, by name; the others are in
// force.
func (s *Store) Apply(typeURL string, resources map[string][]byte, removed []string) map[string]error {
	rejected := map[string]error{}
	var came, gone []*workloadapi.Workload
	s.mu.Lock()
	for name, raw := range resources {
		switch typeURL {
		case AddressType:
			a := &workloadapi.Address{}
			if err := proto.Unmarshal(raw, a); err != nil {
				rejected[name] = err
				continue
			}
			switch {
			case a.GetWorkload() != nil:
				if err := checkWorkload(a.GetWorkload()); err != nil {
					rejected[name] = err
					continue
				}
				if old := s.workloads[a.GetWorkload().Uid]; old != nil {
					gone = append(gone, old)
				}
				s.putWorkload(a.GetWorkload())
				came = append(came, a.GetWorkload())
			case a.GetService() != nil:
				if err := checkService(a.GetService()); err != nil {
					rejected[name] = err
					continue
				}
				s.putService(a.GetService())
			default:
				rejected[name] = fmt.Errorf("neither a workload nor a service")
			}
		case AuthorizationType:
			p := &security.Authorization{}
			if err := proto.Unmarshal(raw, p); err != nil {
				rejected[name] = err
				continue
			}
			s.policies[p.Namespace+"/"+p.Name] = p
		default:
			rejected[name] = fmt.Errorf("unknown type %s", typeURL)
		}
	}
	for _, name := range removed {
		if typeURL == AuthorizationType {
			delete(s.policies, name)
		} else if w := s.workloads[name]; w != nil { // a removal does not say which kind it is of
			gone = append(gone, w)
			s.dropWorkload(w)
		} else if v := s.services[name]; v != nil {
			s.dropService(v)
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.onLocal != nil { // come before gone, so that an identity that stays is never dropped in between
		for _, w := range came {
			s.onLocal(w)
		}
		for _, w := range gone {
			s.onGone(w)
		}
	}
	return rejected
}

func checkWorkload(w *workloadapi.Workload) error {
	if w.Uid == "" {
		return fmt.Errorf("workload without uid")
	}
	for _, a := range w.Addresses {
		if _, ok := netip.AddrFromSlice(a); !ok {
			return fmt.Errorf("address of %d bytes", len(a))
		}
	}
	if w.TunnelProtocol == workloadapi.TunnelProtocol_LEGACY_ISTIO_MTLS {
		return fmt.Errorf("tunnel protocol LEGACY_ISTIO_MTLS is not supported")
	}
	return nil
}

func checkService(v *workloadapi.Service) error {
	if v.Hostname == "" {
		return fmt.Errorf("service without hostname")
	}
	for _, a := range v.Addresses {
		ip, ok := netip.AddrFromSlice(a.Address)
		if !ok {
			return fmt.Errorf("address of %d bytes", len(a.Address))
		}
		if a.Length != nil {
			if _, err := ip.Prefix(int(*a.Length)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) putWorkload(w *workloadapi.Workload) {
	if old := s.workloads[w.Uid]; old != nil {
		s.dropWorkload(old)
	}
	s.workloads[w.Uid] = w
	for _, ip := range IPs(w) {
		k := netAddr{w.Network, ip}
		s.byAddr[k] = append(s.byAddr[k], w)
	}
	p := podName{w.Namespace, w.Name}
	s.byPod[p] = append(s.byPod[p], w)
	for svc := range w.Services {
		if s.endpoints[svc] == nil {
			s.endpoints[svc] = map[string]*workloadapi.Workload{}
		}
		s.endpoints[svc][w.Uid] = w
	}
}

func (s *Store) dropWorkload(w *workloadapi.Workload) {
	delete(s.workloads, w.Uid)
	for _, ip := range IPs(w) {
		without(s.byAddr, netAddr{w.Network, ip}, w)
	}
	without(s.byPod, podName{w.Namespace, w.Name}, w)
	for svc := range w.Services {
		if delete(s.endpoints[svc], w.Uid); len(s.endpoints[svc]) == 0 {
			delete(s.endpoints, svc)
		}
	}
}

func (s *Store) putService(v *workloadapi.Service) {
	if old := s.services[ServiceKey(v)]; old != nil {
		s.dropService(old)
	}
	s.services[ServiceKey(v)] = v
	s.byHost[v.Hostname] = append(s.byHost[v.Hostname], v)
	for _, a := range v.Addresses {
		ip, _ := netip.AddrFromSlice(a.Address)
		ip = ip.Unmap()
		if a.Length != nil && int(*a.Length) < ip.BitLen() {
			p, _ := ip.Prefix(int(*a.Length))
			s.cidrs = append(s.cidrs, cidrVIP{a.Network, p, v})
			continue
		}
		k := netAddr{a.Network, ip}
		s.byVIP[k] = append(s.byVIP[k], v)
	}
}

func (s *Store) dropService(v *workloadapi.Service) {
	delete(s.services, ServiceKey(v))
	without(s.byHost, v.Hostname, v)
	for _, a := range v.Addresses {
		ip, _ := netip.AddrFromSlice(a.Address)
		without(s.byVIP, netAddr{a.Network, ip.Unmap()}, v)
	}
	kept := s.cidrs[:0]
	for _, c := range s.cidrs {
		if c.service != v {
			kept = append(kept, c)
		}
	}
	s.cidrs = kept
}

// without takes v out of m[k] without touching slices already handed out.
func without[K comparable, V comparable](m map[K][]V, k K, v V) {
	var kept []V
	for _, x := range m[k] {
		if x != v {
			kept = append(kept, x)
		}
	}
	if len(kept) == 0 {
		delete(m, k)
	} else {
		m[k] = kept
	}
}

// IPs are a workload's addresses.
func IPs(w *workloadapi.Workload) []netip.Addr {
	var ips []netip.Addr
	for _, a := range w.GetAddresses() {
		if ip, ok := netip.AddrFromSlice(a); ok {
			ips = append(ips, ip.Unmap())
		}
	}
	return ips
}

// Identity is a workload's SPIFFE id.
func Identity(w *workloadapi.Workload) string {
	td, sa := w.GetTrustDomain(), w.GetServiceAccount()
	if td == "" {
		td = "cluster.local"
	}
	if sa == "" {
		sa = "default"
	}
	return "spiffe://" + td + "/ns/" + w.GetNamespace() + "/sa/" + sa
}

// LocalPod is the workload istiod knows a pod of this node by, nil when it does not yet.
func (s *Store) LocalPod(namespace, name, serviceAccount string) *workloadapi.Workload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w := s.workloads[s.ClusterID+"//Pod/"+namespace+"/"+name]; w != nil {
		return w
	}
	for _, w := range s.byPod[podName{namespace, name}] {
		if w.ClusterId == s.ClusterID && (serviceAccount == "" || w.ServiceAccount == serviceAccount) {
			return w
		}
	}
	return nil
}

// Workload is the workload with an address in the own network. A pod of its own address wins over
// host-network pods, which share theirs.
func (s *Store) Workload(ip netip.Addr) *workloadapi.Workload { return s.WorkloadIn(s.Network, ip) }

// WorkloadIn is Workload for any network.
func (s *Store) WorkloadIn(network string, ip netip.Addr) *workloadapi.Workload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.workloadIn(network, ip)
}

func (s *Store) workloadIn(network string, ip netip.Addr) *workloadapi.Workload {
	all := s.byAddr[netAddr{network, ip}]
	for _, w := range all {
		if w.NetworkMode != workloadapi.NetworkMode_HOST_NETWORK {
			return w
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return nil // several host-network pods: nobody can say which is meant
}

// ServiceByVIP is the service with a VIP in the own network, as a caller of namespace sees it.
func (s *Store) ServiceByVIP(ip netip.Addr, namespace string) *workloadapi.Service {
	return s.ServiceIn(s.Network, ip, namespace)
}

// ServiceIn is ServiceByVIP for a VIP of any network.
func (s *Store) ServiceIn(network string, ip netip.Addr, namespace string) *workloadapi.Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.serviceIn(network, ip, namespace)
}

func (s *Store) serviceIn(network string, ip netip.Addr, namespace string) *workloadapi.Service {
	if v := best(s.byVIP[netAddr{network, ip}], namespace); v != nil {
		return v
	}
	var match []*workloadapi.Service
	bits := -1
	for _, c := range s.cidrs {
		if c.network != network || !c.prefix.Contains(ip) || c.prefix.Bits() < bits {
			continue
		}
		if c.prefix.Bits() > bits {
			match, bits = nil, c.prefix.Bits()
		}
		match = append(match, c.service)
	}
	return best(match, namespace)
}

// ServiceByHost is the service of a hostname, as a workload of namespace sees it.
func (s *Store) ServiceByHost(host, namespace string) *workloadapi.Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return best(s.byHost[host], namespace)
}

// ServicesByHost are all services of a hostname.
func (s *Store) ServicesByHost(host string) []*workloadapi.Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byHost[host]
}

// best prefers the caller's namespace, then the canonical service (the Kubernetes one), then the
// first by namespace.
func best(all []*workloadapi.Service, namespace string) *workloadapi.Service {
	var found *workloadapi.Service
	score := func(v *workloadapi.Service) int {
		switch {
		case v.Namespace == namespace:
			return 2
		case v.Canonical:
			return 1
		}
		return 0
	}
	for _, v := range all {
		if found == nil || score(v) > score(found) || score(v) == score(found) && v.Namespace < found.Namespace {
			found = v
		}
	}
	return found
}

// ServicesOf are the services a workload is an endpoint of.
func (s *Store) ServicesOf(w *workloadapi.Workload) []*workloadapi.Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*workloadapi.Service
	for k := range w.GetServices() {
		if v := s.services[k]; v != nil {
			out = append(out, v)
		}
	}
	return out
}

// Endpoints are a service's workloads, healthy or not.
func (s *Store) Endpoints(v *workloadapi.Service) []*workloadapi.Workload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*workloadapi.Workload, 0, len(s.endpoints[ServiceKey(v)]))
	for _, w := range s.endpoints[ServiceKey(v)] {
		out = append(out, w)
	}
	return out
}

// PoliciesFor are the policies that apply to a workload: of its namespace, of the mesh, and those
// it names. missing are names it has and istiod has not sent.
func (s *Store) PoliciesFor(w *workloadapi.Workload) (policies []*security.Authorization, missing []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.policies {
		if p.Scope == security.Scope_GLOBAL || p.Scope == security.Scope_NAMESPACE && p.Namespace == w.Namespace {
			policies = append(policies, p)
		}
	}
	for _, name := range w.AuthorizationPolicies {
		if p := s.policies[name]; p != nil {
			policies = append(policies, p)
		} else {
			missing = append(missing, name)
		}
	}
	return policies, missing
}

// All are copies of the three lists, for dumps.
func (s *Store) All() (w []*workloadapi.Workload, v []*workloadapi.Service, p []*security.Authorization) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, x := range s.workloads {
		w = append(w, x)
	}
	for _, x := range s.services {
		v = append(v, x)
	}
	for _, x := range s.policies {
		p = append(p, x)
	}
	return w, v, p
}

// HostOf is what follows the namespace in a service key.
func HostOf(serviceKey string) string {
	_, host, _ := strings.Cut(serviceKey, "/")
	return host
}
