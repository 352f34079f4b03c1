package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
)

// When istiod says that pods are in another network than NETWORK, as after the label of
// istio-system is gone, ztunnel still finds endpoints, passes waypoints by, and does not cross
// networks. What a spec sees of a broken mesh must be the same here.
func TestTwoNetworksDisagree(t *testing.T) {
	ca := proxytest.NewCA()
	c := newCluster(t, ca, "n1", "c1")
	vip := netip.MustParseAddrPort("10.110.0.1:80")
	unlabeled := func(w *workloadapi.Workload) { w.Network = "" }
	client := c.workload("client", netip.MustParseAddr("10.10.0.2"), unlabeled)
	local := c.workload("echo", netip.MustParseAddr("10.10.0.3"), unlabeled, endpointOf("echo.ns.svc.cluster.local", 80, 8080))
	svc := c.service("echo.ns.svc.cluster.local", "10.110.0.1", 80, 8080)
	svc.Addresses[0].Network = ""
	svc.Waypoint = &workloadapi.GatewayAddress{
		Destination: &workloadapi.GatewayAddress_Hostname{
			Hostname: &workloadapi.NamespacedHostname{Namespace: "ns", Hostname: "waypoint.ns.svc.cluster.local"},
		},
	}
	c.apply(client, local, svc)
	r, err := c.shared.route(t.Context(), client, netip.MustParseAddr("10.10.0.2"), vip)
	if err != nil {
		t.Fatal(err)
	}
	if r.protocol != singleHBONE {
		t.Fatalf("got %+v, want HBONE to the pod itself", r)
	}
	if want := "10.10.0.3:8080"; r.authority != want {
		t.Fatalf("got %q, want the pod itself, %s, the waypoint passed by", r.authority, want)
	}
	far := c.workload(
		"far",
		netip.MustParseAddr("10.10.0.9"),
		endpointOf("echo.ns.svc.cluster.local", 80, 8080),
		func(w *workloadapi.Workload) {
			w.Network, w.Addresses = "n2", nil
			w.NetworkGateway = &workloadapi.GatewayAddress{
				Destination: &workloadapi.GatewayAddress_Address{Address: &workloadapi.NetworkAddress{Network: "n2", Address: []byte{10, 89, 0, 1}}},
			}
		},
	)
	local.Status = workloadapi.WorkloadStatus_UNHEALTHY
	c.apply(far, local)
	r, err = c.shared.route(t.Context(), client, netip.MustParseAddr("10.10.0.2"), vip)
	if want := "no service for target address"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %+v, %v, want %q", r, err, want)
	}
	// With the label, all is one network again: the waypoint is asked for, and is not there.
	svc.Addresses[0].Network, client.Network = "n1", "n1"
	c.apply(client, svc)
	r, err = c.shared.route(t.Context(), client, netip.MustParseAddr("10.10.0.2"), vip)
	if want := "unknown waypoint"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %+v, %v, want %q: a waypoint that is not there is never passed by", r, err, want)
	}
}
