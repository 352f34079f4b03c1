package eastwest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
)

const istiosClass = "istio-east-west"

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "gateways", Name: name, Labels: map[string]string{}}
}

// east is a cluster with a gateway at 10.0.0.1, two pods behind it of which one is ready, and a pod
// that only carries the label of the class.
func east(change func(*gateway.Gateway, *corev1.Service)) *mesh.Cluster {
	g := &gateway.Gateway{ObjectMeta: named("ew"), Spec: gateway.GatewaySpec{GatewayClassName: istiosClass},
		Status: gateway.GatewayStatus{Addresses: []gateway.GatewayStatusAddress{{Value: "10.0.0.1"}}}}
	s := &corev1.Service{ObjectMeta: named("ew")}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.0.1"}}
	if change != nil {
		change(g, s)
	}
	endpoint := func(pod string, ready bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod}}
	}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: named("ew-1"),
		Endpoints: []discoveryv1.Endpoint{endpoint("one", true), endpoint("two", false)}}
	slice.Labels[discoveryv1.LabelServiceName] = "ew"
	// The slice of the other IP family.
	again := &discoveryv1.EndpointSlice{ObjectMeta: named("ew-2"), Endpoints: []discoveryv1.Endpoint{endpoint("one", true)}}
	again.Labels[discoveryv1.LabelServiceName] = "ew"
	decoy := &corev1.Pod{ObjectMeta: named("a-decoy")}
	decoy.Labels[gateway.GatewayClassNameLabelKey] = istiosClass
	c := &mesh.Cluster{Name: "east"}
	c.UseClients(mesh.Clients{Client: fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects([]client.Object{g, s, slice, again, decoy,
		&corev1.Pod{ObjectMeta: named("one")}, &corev1.Pod{ObjectMeta: named("two")}}...).Build()})
	return c
}

// Only what stands behind an address of a Gateway is one, whatever labels a pod carries.
func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*gateway.Gateway, *corev1.Service)
		class  string
		want   map[string][]string // endpoints by gateway
	}{
		"load balancer": {nil, istiosClass, map[string][]string{"gateways/ew": {"pod one"}}},
		"cluster IP": {func(_ *gateway.Gateway, s *corev1.Service) {
			s.Status, s.Spec.ClusterIPs = corev1.ServiceStatus{}, []string{"10.0.0.1"}
		}, istiosClass, map[string][]string{"gateways/ew": {"pod one"}}},
		"host name of the Service": {func(g *gateway.Gateway, _ *corev1.Service) {
			g.Status.Addresses[0].Value = "ew.gateways.svc.corp.example"
		}, istiosClass, map[string][]string{"gateways/ew": {"pod one"}}},
		"address of nobody": {func(g *gateway.Gateway, _ *corev1.Service) { g.Status.Addresses[0].Value = "10.0.0.2" },
			istiosClass, map[string][]string{"gateways/ew": nil}},
		"vendor's class": {func(g *gateway.Gateway, _ *corev1.Service) { g.Spec.GatewayClassName = "vendor" },
			"vendor", map[string][]string{"gateways/ew": {"pod one"}}},
		"another class": {nil, "vendor", map[string][]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Find(t.Context(), east(c.change), c.class)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for _, g := range found {
				got[g.String()] = nil
				for _, e := range g.Endpoints {
					got[g.String()] = append(got[g.String()], e.String())
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("endpoints (-want +got):\n%s", d)
			}
		})
	}
}
