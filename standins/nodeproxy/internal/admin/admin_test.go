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
	if x := d.Workloads[0]; x.UID != w.Uid || x.Capacity != 3 || x.Status != "Healthy" || x.Protocol != "HBONE" ||
		x.NetworkGateway.Destination != "n2/10.89.0.1" {
		t.Errorf("%+v", x)
	}
	if x := d.Services[0]; x.Hostname != "svc.example" || x.Addresses[0] != "n1/10.0.0.1" || x.Ports["80"] != 8080 ||
		x.LoadBalancer.Mode != "Failover" ||
		x.LoadBalancer.RoutingPreferences[0] != "Network" ||
		x.Endpoints[w.Uid].Port[80] != 8080 ||
		x.SubjectAltNames[0] != v.SubjectAltNames[0] {
		t.Errorf("%+v", x)
	}
	if x := d.Policies[0]; x.Scope != "WorkloadSelector" || x.Action != "Deny" || x.Rules[0][0][0].Principals[0].Exact != "a" ||
		x.Rules[0][0][0].SourceIps[0] != "10.0.0.0/8" ||
		x.Rules[0][0][0].DestinationPorts[0] != 80 {
		t.Errorf("%+v", x)
	}
	if x := d.Certificates[0]; x.Identity != "spiffe://td/ns/ns/sa/sa" || x.State != "Available" || len(x.CertChain) != 2 ||
		len(x.RootCert) != 1 ||
		!strings.HasPrefix(x.CertChain[0].Pem, "-----BEGIN CERTIFICATE") {
		t.Errorf("%+v", x)
	}
	if x := d.WorkloadState["uid"]; x.State != "Up" || len(x.Connections.Inbound) != 1 || x.Connections.Inbound[0].Src != "10.1.1.1:5" {
		t.Errorf("%+v", x)
	}

	if r, err := http.Post(srv.URL+"/logging?level=debug", "", nil); err != nil || r.StatusCode != 200 || level.Level() != slog.LevelDebug {
		t.Error("log level not changed", err)
	}
	if r, err := http.Get(srv.URL + "/quitquitquit"); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Error("GET /quitquitquit", err)
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
		if err != nil || r.StatusCode != want {
			t.Fatal(r, err)
		}
		ok = true
	}
}
