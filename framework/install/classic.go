package install

import (
	"fmt"
	"maps"
	"slices"

	"istio.io/api/annotation"
	istionetworking "istio.io/api/networking/v1"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

// IstiodGateway is the name of the classic gateway by which clusters without an istiod reach one.
const IstiodGateway = "istio-istiodgateway"

// IstiodPorts are the ports that a classic gateway passes on, of proxies and of webhooks, and the
// ports of istiod's Service that they lead to.
var IstiodPorts = map[uint32]uint32{istiod.DiscoveryPort: istiod.DiscoveryPort, istiod.WebhookPort: 443}

// classicGateway is the chart of an east-west gateway as meshes of sidecars have it: the gateway
// that the documents install so that clusters without an istiod of their own reach one. Its pod is
// an injected Envoy, labeled istio=<name>.
func classicGateway(f *mesh.Fleet, c *mesh.Cluster, name string) chart {
	values := map[string]any{
		"networkGateway":  c.Network,
		"labels":          map[string]any{"app": name, "istio": name},
		"autoscaling":     map[string]any{"enabled": false},
		"imagePullPolicy": "IfNotPresent",
		"resources":       small("64Mi"),
		// Nobody needs its connections once it goes.
		"terminationGracePeriodSeconds": 1,
	}
	if c.Revision != "" {
		values["revision"] = c.Revision
	}
	if f.PodSecurity != "" {
		values["securityContext"] = map[string]any{"seccompProfile": map[string]any{"type": string(corev1.SeccompProfileTypeRuntimeDefault)}}
	}
	return chart{release: name, path: "gateway", values: values}
}

// ClassicGateway renders the objects of an east-west gateway as meshes of sidecars have it, for a
// namespace of one cluster. chartsDir is the folder manifests/charts of Istio's module.
func ClassicGateway(f *mesh.Fleet, c *mesh.Cluster, chartsDir, namespace, name string) ([]client.Object, error) {
	return objects(chartsDir, namespace, classicGateway(f, c, name))
}

// ProxyOf renders the objects of a proxy without a Service whose only control plane is at an
// address (host:port) and shows a certificate of this name.
func ProxyOf(f *mesh.Fleet, c *mesh.Cluster, chartsDir, namespace, name, address, shows string) ([]client.Object, error) {
	ch := classicGateway(f, c, name)
	delete(ch.values, "networkGateway")
	ch.values["service"] = map[string]any{"type": "None"}
	ch.values["podAnnotations"] = map[string]any{annotation.ProxyConfig.Name: "discoveryAddress: " + address}
	ch.values["env"] = map[string]any{"ISTIOD_SAN": shows}
	return objects(chartsDir, namespace, ch)
}

// objects are those of a chart.
func objects(chartsDir, namespace string, c chart) ([]client.Object, error) {
	text, err := render(chartsDir, namespace, c)
	if err != nil {
		return nil, err
	}
	return manifest([]byte(text))
}

// ExposeIstiod are the objects by which a classic gateway passes TLS on to a Service of istiod,
// whatever the server name: what Istio's sample expose-istiod.yaml has. Ports are those of the
// gateway, and which of the Service each leads to.
func ExposeIstiod(namespace, name, selected, host string, ports map[uint32]uint32) []client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	g := &networking.Gateway{ObjectMeta: meta, Spec: istionetworking.Gateway{Selector: map[string]string{"istio": selected}}}
	v := &networking.VirtualService{ObjectMeta: meta, Spec: istionetworking.VirtualService{Hosts: []string{"*"}, Gateways: []string{name}}}
	for _, at := range slices.Sorted(maps.Keys(ports)) {
		g.Spec.Servers = append(g.Spec.Servers, &istionetworking.Server{
			Port:  &istionetworking.Port{Number: at, Protocol: "TLS", Name: fmt.Sprintf("tls-%d", at)},
			Tls:   &istionetworking.ServerTLSSettings{Mode: istionetworking.ServerTLSSettings_PASSTHROUGH},
			Hosts: []string{"*"},
		})
		v.Spec.Tls = append(v.Spec.Tls, &istionetworking.TLSRoute{
			Match: []*istionetworking.TLSMatchAttributes{{Port: at, SniHosts: []string{"*"}}},
			Route: []*istionetworking.RouteDestination{{Destination: &istionetworking.Destination{
				Host: host, Port: &istionetworking.PortSelector{Number: ports[at]},
			}}},
		})
	}
	return []client.Object{g, v}
}
