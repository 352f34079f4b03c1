package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/istioctl/pkg/writer/ztunnel/configdump"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
	"istio.io/istio/pkg/zdsapi"

	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/proxy"
	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

// What istioctl reads must be there, and no key.
func TestDumpAsIstioctlReadsIt(t *testing.T) {
	s := state.New("n1", "c1")
	gw := &workloadapi.GatewayAddress{
		Destination: &workloadapi.GatewayAddress_Address{Address: &workloadapi.NetworkAddress{Network: "n2", Address: []byte{10, 89, 0, 1}}},
	}
	v := &workloadapi.Service{
		Name:            "svc",
		Namespace:       "ns",
		Hostname:        "svc.example",
		Ports:           []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}},
		SubjectAltNames: []string{"spiffe://td/ns/ns/sa/sa"},
		Addresses:       []*workloadapi.NetworkAddress{{Network: "n1", Address: []byte{10, 0, 0, 1}}},
		LoadBalancing: &workloadapi.LoadBalancing{
			Mode:              workloadapi.LoadBalancing_FAILOVER,
			RoutingPreference: []workloadapi.LoadBalancing_Scope{workloadapi.LoadBalancing_NETWORK},
		},
	}
	w := &workloadapi.Workload{
		Uid:            "n2/SplitHorizonWorkload/x",
		Name:           "x",
		Namespace:      "ns",
		Network:        "n2",
		ClusterId:      "c2",
		Capacity:       wrapperspb.UInt32(3),
		TunnelProtocol: workloadapi.TunnelProtocol_HBONE,
		NetworkGateway: gw,
		Services:       map[string]*workloadapi.PortList{"ns/svc.example": {Ports: v.Ports}},
	}
	p := &security.Authorization{
		Name:      "p",
		Namespace: "ns",
		Scope:     security.Scope_WORKLOAD_SELECTOR,
		Action:    security.Action_DENY,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{
			{
				Principals: []*security.StringMatch{
					{MatchType: &security.StringMatch_Exact{Exact: "a"}},
				},
				SourceIps:        []*security.Address{{Address: []byte{10, 0, 0, 0}, Length: 8}},
				DestinationPorts: []uint32{80},
			},
		}}}}},
	}
	raw := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s.Apply(
		state.AddressType,
		map[string][]byte{
			"s": raw(&workloadapi.Address{Type: &workloadapi.Address_Service{Service: v}}),
			"w": raw(&workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: w}}),
		},
		nil,
	)
	s.Apply(state.AuthorizationType, map[string][]byte{"p": raw(p)}, nil)
	certs := identity.NewManager(t.Context(), proxytest.NewCA())
	if _, err := certs.Get(context.Background(), "spiffe://td/ns/ns/sa/sa"); err != nil {
		t.Fatal(err)
	}
	pods := map[string]proxy.PodState{"uid": {Info: &zdsapi.WorkloadInfo{Name: "pod", Namespace: "ns"}, State: "Up"}}
	open := []proxy.ConnectionInfo{
		{Direction: "inbound", Pod: "ns/pod", Src: netip.MustParseAddrPort("10.1.1.1:5").String(), Protocol: "HBONE"},
	}

	level := new(slog.LevelVar)
	srv := httptest.NewServer(Admin(func() any { return Dump(s, certs.All(), pods, open) }, level, func() {}))
	defer srv.Close()
	r, err := http.Get(srv.URL + "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var text json.RawMessage
	d := &configdump.ZtunnelDump{}
	if err := json.NewDecoder(r.Body).Decode(&text); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "PRIVATE") {
		t.Fatal("a key is in the dump")
	}
	x := d.Workloads[0]
	got := []any{x.UID, x.Capacity, x.Status, x.Protocol, x.NetworkGateway.Destination}
	if diff := cmp.Diff([]any{w.Uid, uint32(3), "Healthy", "HBONE", "n2/10.89.0.1"}, got); diff != "" {
		t.Errorf("workload (-want +got):\n%s", diff)
	}
	service := d.Services[0]
	got = []any{service.Hostname, service.Addresses[0], service.Ports["80"], service.LoadBalancer.Mode,
		service.LoadBalancer.RoutingPreferences[0], int(service.Endpoints[w.Uid].Port[80]), service.SubjectAltNames[0]}
	if diff := cmp.Diff([]any{"svc.example", "n1/10.0.0.1", 8080, "Failover", "Network", 8080, v.SubjectAltNames[0]}, got); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
	policy := d.Policies[0]
	rule := policy.Rules[0][0][0]
	got = []any{policy.Scope, policy.Action, rule.Principals[0].Exact, rule.SourceIps[0], int(rule.DestinationPorts[0])}
	if diff := cmp.Diff([]any{"WorkloadSelector", "Deny", "a", "10.0.0.0/8", 80}, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	certificate := d.Certificates[0]
	got = []any{certificate.Identity, certificate.State, len(certificate.CertChain), len(certificate.RootCert)}
	if diff := cmp.Diff([]any{"spiffe://td/ns/ns/sa/sa", "Available", 2, 1}, got); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	if pem := certificate.CertChain[0].Pem; !strings.HasPrefix(pem, "-----BEGIN CERTIFICATE") {
		t.Errorf("got %q, want a certificate", pem)
	}
	up := d.WorkloadState["uid"]
	if up.State != "Up" {
		t.Errorf("got state %q, want Up", up.State)
	}
	if n := len(up.Connections.Inbound); n != 1 {
		t.Fatalf("got %d inbound connections, want 1", n)
	}
	if src := up.Connections.Inbound[0].Src; src != "10.1.1.1:5" {
		t.Errorf("got source %q, want 10.1.1.1:5", src)
	}

	if r, err := http.Post(srv.URL+"/logging?level=debug", "", nil); err != nil {
		t.Error(err)
	} else if r.StatusCode != 200 {
		t.Errorf("POST /logging: got %d, want 200", r.StatusCode)
	}
	if level.Level() != slog.LevelDebug {
		t.Errorf("got log level %s, want %s", level.Level(), slog.LevelDebug)
	}
	if r, err := http.Get(srv.URL + "/quitquitquit"); err != nil {
		t.Error(err)
	} else if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET /quitquitquit: got %d, want %d", r.StatusCode, http.StatusMethodNotAllowed)
	}
}

func TestReady(t *testing.T) {
	ok := false
	srv := httptest.NewServer(
		Ready(map[string]func() bool{"state manager": func() bool { return true }, "workload proxy manager": func() bool { return ok }}),
	)
	defer srv.Close()
	for _, want := range []int{500, 200} {
		r, err := http.Get(srv.URL + "/healthz/ready")
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != want {
			t.Fatalf("got %d, want %d", r.StatusCode, want)
		}
		ok = true
	}
}
