package state

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
)

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func apply(t *testing.T, s *Store, things ...any) {
	t.Helper()
	for typ, list := range map[string]map[string][]byte{AddressType: {}, AuthorizationType: {}} {
		for _, x := range things {
			var m proto.Message
			name, of := "", AddressType
			switch x := x.(type) {
			case *workloadapi.Workload:
				m, name = &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: x}}, x.Uid
			case *workloadapi.Service:
				m, name = &workloadapi.Address{Type: &workloadapi.Address_Service{Service: x}}, ServiceKey(x)
			case *security.Authorization:
				m, name, of = x, x.Namespace+"/"+x.Name, AuthorizationType
			}
			if of != typ {
				continue
			}
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			list[name] = b
		}
		if bad := s.Apply(typ, list, nil); len(bad) > 0 {
			t.Fatal(bad)
		}
	}
}

func pod(name, network, addr string, change ...func(*workloadapi.Workload)) *workloadapi.Workload {
	w := &workloadapi.Workload{
		Uid: "c//Pod/ns/" + name, Name: name, Namespace: "ns", Network: network, ClusterId: "c",
		Services: map[string]*workloadapi.PortList{"ns/svc.example": {Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}}}},
	}
	if addr != "" {
		w.Addresses = [][]byte{ip(addr)}
	}
	for _, c := range change {
		c(w)
	}
	return w
}

func svc(change ...func(*workloadapi.Service)) *workloadapi.Service {
	v := &workloadapi.Service{
		Name: "svc", Namespace: "ns", Hostname: "svc.example", Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}},
		Addresses: []*workloadapi.NetworkAddress{{Network: "n1", Address: ip("10.0.0.1")}},
	}
	for _, c := range change {
		c(v)
	}
	return v
}

func remote(name string, capacity uint32) *workloadapi.Workload {
	return pod(name, "n2", "", func(w *workloadapi.Workload) {
		w.Capacity = wrapperspb.UInt32(capacity)
		w.ClusterId = "c2"
		w.Locality = &workloadapi.Locality{Region: "r2"}
		w.NetworkGateway = &workloadapi.GatewayAddress{
			Destination: &workloadapi.GatewayAddress_Address{Address: &workloadapi.NetworkAddress{Network: "n2", Address: ip("10.89.0.1")}},
		}
	})
}

func in(region, zone string) func(*workloadapi.Workload) {
	return func(w *workloadapi.Workload) { w.Locality = &workloadapi.Locality{Region: region, Zone: zone} }
}

func unhealthy(w *workloadapi.Workload) { w.Status = workloadapi.WorkloadStatus_UNHEALTHY }

func lb(mode workloadapi.LoadBalancing_Mode, scopes ...workloadapi.LoadBalancing_Scope) func(*workloadapi.Service) {
	return func(v *workloadapi.Service) {
		v.LoadBalancing = &workloadapi.LoadBalancing{Mode: mode, RoutingPreference: scopes}
	}
}

const (
	failover = workloadapi.LoadBalancing_FAILOVER
	strict   = workloadapi.LoadBalancing_STRICT
	byNet    = workloadapi.LoadBalancing_NETWORK
	byRegion = workloadapi.LoadBalancing_REGION
	byZone   = workloadapi.LoadBalancing_ZONE
	byNode   = workloadapi.LoadBalancing_NODE
)

func TestChoose(t *testing.T) {
	src := pod("src", "n1", "10.1.0.99", in("r1", "z1"))
	src.Services = nil
	for _, tc := range []struct {
		name string
		v    *workloadapi.Service
		ws   []*workloadapi.Workload
		want []string // names that must all be chosen in 400 draws, and no other
	}{
		{"all healthy", svc(), []*workloadapi.Workload{pod("a", "n1", "10.1.0.1"), pod("b", "n1", "10.1.0.2")}, []string{"a", "b"}},
		{"unhealthy left out", svc(), []*workloadapi.Workload{pod("a", "n1", "10.1.0.1", unhealthy), pod("b", "n1", "10.1.0.2")}, []string{"b"}},
		{"allow all", svc(func(v *workloadapi.Service) {
			v.LoadBalancing = &workloadapi.LoadBalancing{HealthPolicy: workloadapi.LoadBalancing_ALLOW_ALL}
		}), []*workloadapi.Workload{pod("a", "n1", "10.1.0.1", unhealthy), pod("b", "n1", "10.1.0.2")}, []string{"a", "b"}},
		{"remote counts", svc(), []*workloadapi.Workload{pod("a", "n1", "10.1.0.1"), remote("r", 1)}, []string{"a", "r"}},
		{"remote without capacity", svc(), []*workloadapi.Workload{pod("a", "n1", "10.1.0.1"), remote("r", 0)}, []string{"a"}},
		{"no gateway, no address", svc(), []*workloadapi.Workload{pod("a", "n2", "")}, nil},
		{
			"own network's gateway entry", svc(),
			[]*workloadapi.Workload{func() *workloadapi.Workload { r := remote("r", 5); r.Network = "n1"; return r }()}, nil,
		},
		{
			"network first: local wins over matching region", svc(lb(failover, byNet, byRegion)),
			[]*workloadapi.Workload{
				pod("a", "n1", "10.1.0.1", in("r9", "")), func() *workloadapi.Workload { r := remote("r", 5); in("r1", "")(r); return r }(),
			},
			[]string{"a"},
		},
		{
			"network first: remotes by region", svc(lb(failover, byNet, byRegion)),
			[]*workloadapi.Workload{remote("far", 5), func() *workloadapi.Workload { r := remote("near", 1); in("r1", "")(r); return r }()},
			[]string{"near"},
		},
		{
			"network first: failover to remote", svc(lb(failover, byNet)),
			[]*workloadapi.Workload{pod("a", "n1", "10.1.0.1", unhealthy), remote("r", 1)}, []string{"r"},
		},
		{
			"failover by zone", svc(lb(failover, byRegion, byZone)),
			[]*workloadapi.Workload{
				pod("a", "n1", "10.1.0.1", in("r1", "z2")), pod("b", "n1", "10.1.0.2", in("r1", "z1")),
				pod("c", "n1", "10.1.0.3", in("r2", "z1")),
			},
			[]string{"b"},
		},
		{
			"failover takes what there is", svc(lb(failover, byRegion, byZone)),
			[]*workloadapi.Workload{pod("c", "n1", "10.1.0.3", in("r2", "z1"))}, []string{"c"},
		},
		{"strict takes nothing less", svc(lb(strict, byRegion)), []*workloadapi.Workload{pod("c", "n1", "10.1.0.3", in("r2", "z1"))}, nil},
		{
			"strict node", svc(lb(strict, byNode)),
			[]*workloadapi.Workload{pod("a", "n1", "10.1.0.1", func(w *workloadapi.Workload) { w.Node = "x" }), pod("b", "n1", "10.1.0.2")},
			[]string{"b"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New("n1", "c")
			apply(t, s, src, tc.v)
			for _, w := range tc.ws {
				apply(t, s, w)
			}
			seen := map[string]bool{}
			for range 400 {
				if u := s.Choose(src, tc.v, 80, netip.Addr{}); u != nil {
					seen[u.Workload.Name] = true
					if u.Addr.IsValid() && u.Addr.Port() != 8080 {
						t.Errorf("port %d", u.Addr.Port())
					}
				}
			}
			for _, n := range tc.want {
				if !seen[n] {
					t.Errorf("%s never chosen", n)
				}
				delete(seen, n)
			}
			if len(seen) > 0 {
				t.Errorf("chosen besides: %v", seen)
			}
		})
	}
}

func TestCapacityIsWeight(t *testing.T) {
	s := New("n1", "c")
	src := pod("src", "n1", "10.1.0.99")
	src.Services = nil
	v := svc()
	apply(t, s, src, v, pod("a", "n1", "10.1.0.1"), remote("r", 3))
	n := 0
	for range 4000 {
		if s.Choose(src, v, 80, netip.Addr{}).Workload.Name == "r" {
			n++
		}
	}
	if n < 2800 || n > 3200 { // 3000, sd 27
		t.Fatalf("%d of 4000 for 3/4 of the capacity", n)
	}
}

func TestPorts(t *testing.T) {
	s := New("n1", "c")
	src := pod("src", "n1", "10.1.0.99")
	named := svc(func(v *workloadapi.Service) { v.Ports = []*workloadapi.Port{{ServicePort: 80}} })
	other := pod("a", "n1", "10.1.0.1")
	other.Services["ns/svc.example"].Ports[0].TargetPort = 9999
	without := pod("b", "n1", "10.1.0.2")
	without.Services["ns/svc.example"].Ports = nil
	src.Services = nil
	apply(t, s, src, named, other, without)
	for range 50 {
		if u := s.Choose(src, named, 80, netip.Addr{}); u == nil {
			t.Fatal("got no endpoint")
		} else if want := "10.1.0.1:9999"; u.Addr.String() != want {
			t.Fatalf("got %s, want %s: a named port is the endpoint's own", u.Addr, want)
		}
	}
	if u := s.Choose(src, named, 81, netip.Addr{}); u != nil {
		t.Fatal("a port the service does not have")
	}
	// A gateway of another network stands for pods whose number of the port is theirs to know.
	remote := pod("r", "n2", "", func(w *workloadapi.Workload) {
		w.NetworkGateway = &workloadapi.GatewayAddress{HboneMtlsPort: 15008}
		w.Services["ns/svc.example"].Ports[0].TargetPort = 0
	})
	s = New("n1", "c")
	apply(t, s, src, named, remote)
	if u := s.Choose(src, named, 80, netip.Addr{}); u == nil || u.Workload.Name != "r" {
		t.Fatalf("got %v, want the gateway's, by the name of the port", u)
	}
}

func TestLookups(t *testing.T) {
	s := New("n1", "c")
	otherNet := svc(func(v *workloadapi.Service) { v.Addresses[0].Network = "n2" })
	length := uint32(16)
	wide := svc(func(v *workloadapi.Service) {
		v.Hostname, v.Namespace = "wide", "w"
		v.Addresses = []*workloadapi.NetworkAddress{{Network: "n1", Address: ip("10.50.0.0"), Length: &length}}
	})
	apply(t, s, otherNet, wide)
	if s.ServiceByVIP(netip.MustParseAddr("10.0.0.1"), "ns") != nil {
		t.Fatal("another network's VIP is not ours")
	}
	if v := s.ServiceByVIP(netip.MustParseAddr("10.50.3.4"), "ns"); v == nil {
		t.Fatal("CIDR VIP: got no service")
	} else if v.Hostname != "wide" {
		t.Fatalf("CIDR VIP: got %s, want wide", v.Hostname)
	}
	// The same VIP in several namespaces: the caller's own, else the canonical one.
	mk := func(ns string, canonical bool) *workloadapi.Service {
		return svc(func(v *workloadapi.Service) { v.Namespace, v.Canonical = ns, canonical })
	}
	apply(t, s, mk("x", false), mk("y", true), mk("z", false))
	for caller, want := range map[string]string{"x": "x", "z": "z", "other": "y"} {
		t.Run(caller, func(t *testing.T) {
			if v := s.ServiceByVIP(netip.MustParseAddr("10.0.0.1"), caller); v.GetNamespace() != want {
				t.Errorf("got %s, want %s", v.GetNamespace(), want)
			}
		})
	}
	s.Apply(AddressType, nil, []string{"y/svc.example", "w/wide"})
	if v := s.ServiceByVIP(netip.MustParseAddr("10.0.0.1"), "other"); v.GetNamespace() != "x" {
		t.Fatal("removed service still found")
	}
	if s.ServiceByVIP(netip.MustParseAddr("10.50.3.4"), "ns") != nil {
		t.Fatal("removed CIDR still found")
	}

	a := pod("a", "n1", "10.1.0.1")
	host := pod("h", "n1", "10.1.0.1", func(w *workloadapi.Workload) { w.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK })
	apply(t, s, a, host, pod("elsewhere", "n2", "10.1.0.1"))
	if w := s.Workload(netip.MustParseAddr("10.1.0.1")); w.GetName() != "a" {
		t.Fatalf("got %v, want pod a", w)
	}
	s.Apply(AddressType, nil, []string{a.Uid})
	if w := s.Workload(netip.MustParseAddr("10.1.0.1")); w.GetName() != "h" {
		t.Fatalf("got %v, want pod h, which is left", w)
	}
	if w := s.LocalPod("ns", "h", ""); w == nil {
		t.Fatal("own pod: got none")
	} else if w.Uid != host.Uid {
		t.Fatalf("own pod: got %s, want %s", w.Uid, host.Uid)
	}
}

func TestMovedPodLeavesNothingBehind(t *testing.T) {
	s := New("n1", "c")
	v := svc()
	apply(t, s, v, pod("a", "n1", "10.1.0.1"))
	apply(t, s, pod("a", "n1", "10.1.0.2", func(w *workloadapi.Workload) { w.Services = nil }))
	if w := s.Workload(netip.MustParseAddr("10.1.0.1")); w != nil {
		t.Fatalf("old address kept: got %v", w)
	}
	if e := s.Endpoints(v); len(e) != 0 {
		t.Fatalf("old endpoint kept: got %v", e)
	}
}

func TestRejects(t *testing.T) {
	s := New("n1", "c")
	good, _ := proto.Marshal(&workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: pod("a", "n1", "10.1.0.1")}})
	bad, _ := proto.Marshal(
		&workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: &workloadapi.Workload{Uid: "x", Addresses: [][]byte{{1}}}}},
	)
	r := s.Apply(AddressType, map[string][]byte{"good": good, "bad": bad, "junk": {0xff}, "empty": {}}, nil)
	if len(r) != 3 {
		t.Fatalf("got %v, want three refused", r)
	}
	if err := r["good"]; err != nil {
		t.Fatalf("the good one is refused: %v", err)
	}
	if s.Workload(netip.MustParseAddr("10.1.0.1")) == nil {
		t.Fatal("the good one must be in force")
	}
}

func TestHolders(t *testing.T) {
	s := New("n1", "c")
	n := map[string]int{}
	s.OnWorkload(func(w *workloadapi.Workload) { n[w.ServiceAccount]++ }, func(w *workloadapi.Workload) { n[w.ServiceAccount]-- })
	sa := func(x string) func(*workloadapi.Workload) {
		return func(w *workloadapi.Workload) { w.ServiceAccount = x }
	}
	apply(t, s, pod("a", "n1", "10.1.0.1", sa("one")))
	apply(t, s, pod("a", "n1", "10.1.0.1", sa("two")))
	apply(t, s, pod("a", "n1", "10.1.0.1", sa("two")))
	if n["one"] != 0 {
		t.Fatalf("got %d of one, want 0", n["one"])
	}
	if n["two"] != 1 {
		t.Fatalf("got %d of two, want 1", n["two"])
	}
	s.Apply(AddressType, nil, []string{"c//Pod/ns/a"})
	if n["two"] != 0 {
		t.Fatalf("got %d of two, want 0: its pod is gone", n["two"])
	}
}

func TestPoliciesFor(t *testing.T) {
	s := New("n1", "c")
	p := func(ns, name string, scope security.Scope) *security.Authorization {
		return &security.Authorization{Namespace: ns, Name: name, Scope: scope}
	}
	apply(
		t, s, p("ns", "mine", security.Scope_NAMESPACE), p("other", "theirs", security.Scope_NAMESPACE),
		p("root", "all", security.Scope_GLOBAL), p("root", "strict", security.Scope_WORKLOAD_SELECTOR),
		p("ns", "unselected", security.Scope_WORKLOAD_SELECTOR),
	)
	w := pod("a", "n1", "10.1.0.1", func(w *workloadapi.Workload) { w.AuthorizationPolicies = []string{"root/strict", "ns/unknown"} })
	got, missing := s.PoliciesFor(w)
	var names []string
	for _, x := range got {
		names = append(names, x.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"all", "mine", "strict"}, names); diff != "" {
		t.Fatalf("policies (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ns/unknown"}, missing); diff != "" {
		t.Fatalf("missing (-want +got):\n%s", diff)
	}
}

func TestGateways(t *testing.T) {
	s := New("n1", "c")
	src := pod("src", "n1", "10.1.0.99")
	wpSvc := svc(func(v *workloadapi.Service) {
		v.Hostname, v.Name = "waypoint.example", "waypoint"
		v.Ports = []*workloadapi.Port{{ServicePort: 15008, TargetPort: 15008}}
		v.SubjectAltNames = []string{"spiffe://td/ns/ns/sa/waypoint"}
	})
	wp := pod("wp", "n1", "10.1.0.50", func(w *workloadapi.Workload) {
		w.Services = map[string]*workloadapi.PortList{
			"ns/waypoint.example": {Ports: []*workloadapi.Port{{ServicePort: 15008, TargetPort: 15008}}},
		}
	})
	named := pod("named", "n2", "", func(w *workloadapi.Workload) { w.Hostname, w.Services = "gw.example", nil })
	byHost := func(h string) *workloadapi.GatewayAddress {
		return &workloadapi.GatewayAddress{
			Destination: &workloadapi.GatewayAddress_Hostname{Hostname: &workloadapi.NamespacedHostname{Namespace: "ns", Hostname: h}},
		}
	}
	apply(t, s, src, wpSvc, wp, named)
	v := svc(func(v *workloadapi.Service) { v.Waypoint = byHost("waypoint.example") })
	u, err := s.ServiceWaypoint(src, v, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "10.1.0.50:15008"; u.Addr.String() != want {
		t.Fatalf("got %s, want %s", u.Addr, want)
	}
	for _, want := range []string{"spiffe://td/ns/ns/sa/waypoint", Identity(wp)} {
		if !slices.Contains(u.SANs(), want) {
			t.Fatalf("got %q, want %s among them", u.SANs(), want)
		}
	}
	if u, err := s.ServiceWaypoint(src, svc(), netip.Addr{}); err != nil {
		t.Fatalf("no waypoint is no error: got %v", err)
	} else if u != nil {
		t.Fatalf("got %v, want no waypoint", u)
	}
	if _, err := s.ServiceWaypoint(src, svc(func(v *workloadapi.Service) { v.Waypoint = byHost("gone.example") }), netip.Addr{}); err == nil {
		t.Fatal("an unknown waypoint must not be bypassed")
	}
	apply(t, s, pod("wp", "n1", "10.1.0.50", unhealthy, func(w *workloadapi.Workload) { w.Services = wp.Services }))
	if _, err := s.ServiceWaypoint(src, v, netip.Addr{}); err == nil {
		t.Fatal("a waypoint without endpoint must not be bypassed")
	}
	u, err = s.Gateway(src, byHost("gw.example"), netip.Addr{}, "network gateway")
	if err != nil {
		t.Fatal(err)
	}
	if u.Workload.Name != "named" {
		t.Fatalf("got %s, want named", u.Workload.Name)
	}
	if port := u.Addr.Port(); port != 15008 {
		t.Fatalf("got port %d, want 15008", port)
	}
	if addr := u.Addr.Addr(); addr.IsValid() {
		t.Fatalf("got address %s, want none: it has a name", addr)
	}
	// Weighted: each in proportion, none of weight 0.
	v.WeightedWaypoints = []*workloadapi.WeightedWaypoint{
		{Destination: byHost("gw.example"), Weight: 1},
		{Destination: byHost("gone.example"), Weight: 0},
	}
	for range 50 {
		if u, err := s.ServiceWaypoint(src, v, netip.Addr{}); err != nil {
			t.Fatal(err)
		} else if u.Workload.Name != "named" {
			t.Fatalf("got %s, want named", u.Workload.Name)
		}
	}
}
