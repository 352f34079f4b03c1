package install

import (
	"context"
	"fmt"

	"istio.io/api/label"
	istiosecurity "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	"istio.io/istio/pkg/config/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
)

// Names that `istioctl create-remote-secret` uses.
const (
	readerAccount = "istio-reader-service-account"
	readerToken   = readerAccount + "-istio-remote-secret-token"
)

// EastWestGateway is the name of the Gateway, Deployment and Service through which a network is
// entered.
const EastWestGateway = "istio-eastwestgateway"

// eastWest is the gateway that the documented install makes. In a fleet with replicas or several
// nodes, a ConfigMap before it says how many pods it has, and on which nodes.
func eastWest(f *mesh.Fleet, c *mesh.Cluster) []client.Object {
	terminate := gateway.TLSModeTerminate
	g := &gateway.Gateway{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: EastWestGateway, Labels: map[string]string{label.TopologyNetwork.Name: c.Network},
		},
		Spec: gateway.GatewaySpec{GatewayClassName: constants.EastWestGatewayClassName, Listeners: []gateway.Listener{{
			Name: "mesh", Port: 15008, Protocol: "HBONE",
			TLS: &gateway.ListenerTLSConfig{Mode: &terminate, Options: map[gateway.AnnotationKey]gateway.AnnotationValue{
				"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}},
		}}},
	}
	if c.Revision != "" {
		g.Labels[label.IoIstioRev.Name] = c.Revision
	}
	spec := map[string]any{}
	if f.Replicas > 0 {
		spec["replicas"] = f.Replicas
	}
	if len(c.Kind.Nodes) > 1 {
		spec["template"] = map[string]any{"spec": onNodes(c.Kind.Nodes[0], gateway.GatewayNameLabelKey, EastWestGateway)}
	}
	if len(spec) == 0 {
		return []client.Object{g}
	}
	deployment, err := yaml.Marshal(map[string]any{"spec": spec})
	if err != nil {
		panic(fmt.Sprintf("authoring mistake: %v", err)) // nothing in it depends on the fleet's content
	}
	options := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: EastWestGateway},
		Data:       map[string]string{"deployment": string(deployment)},
	}
	g.Spec.Infrastructure = &gateway.GatewayInfrastructure{
		ParametersRef: &gateway.LocalParametersReference{Kind: "ConfigMap", Name: options.Name},
	}
	return []client.Object{options, g}
}

// strict is the policy with which a mesh accepts mutual TLS alone.
func strict() *security.PeerAuthentication {
	return &security.PeerAuthentication{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"},
		Spec: istiosecurity.PeerAuthentication{
			Mtls: &istiosecurity.PeerAuthentication_MutualTLS{Mode: istiosecurity.PeerAuthentication_MutualTLS_STRICT},
		},
	}
}

// readerCredentials makes or finds the token with which the istiods of other clusters read this
// cluster, and returns it with the API server's CA. The ServiceAccount comes with Istio's base
// chart. Neither value may be logged.
func readerCredentials(ctx context.Context, c *mesh.Cluster) (token, ca []byte, err error) {
	if err := apply.Objects(ctx, c, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: readerToken,
			Annotations: map[string]string{corev1.ServiceAccountNameKey: readerAccount},
		},
		Type: corev1.SecretTypeServiceAccountToken,
	}); err != nil {
		return nil, nil, err
	}
	err = wait.Object(ctx, c, &corev1.SecretList{}, namespace, readerToken, func(s *corev1.Secret, exists bool) (bool, string) {
		if !exists {
			return false, "it does not exist"
		}
		token, ca = s.Data[corev1.ServiceAccountTokenKey], s.Data[corev1.ServiceAccountRootCAKey]
		return len(token) > 0 && len(ca) > 0, "Kubernetes has not put a token into it yet"
	})
	return token, ca, err
}

// addresses are the Gateway's addresses as Istio uses them.
func addresses(gw *gateway.Gateway) []string {
	var out []string
	for _, a := range gw.Status.Addresses {
		out = append(out, a.Value)
	}
	return out
}
