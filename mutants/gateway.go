package mutants

import (
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	gotemplate "text/template"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
)

// Namespace holds the objects that mutants need. Its name sorts before istio-system, so that a
// search for the east-west gateway finds the impostor first.
const Namespace = "amc-mutant"

// own creates objects in the namespace of the mutants; undo deletes the namespace with all of them.
func own(ctx context.Context, c *mesh.Cluster, objects ...client.Object) (Undo, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	undo := func(ctx context.Context) error {
		if err := client.IgnoreNotFound(c.Client().Delete(ctx, ns)); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		return wait.None(ctx, c, "namespace "+Namespace, &corev1.NamespaceList{}, func(o client.Object) bool { return o.GetName() == Namespace })
	}
	if err := apply.Objects(ctx, c, append([]client.Object{ns}, objects...)...); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

//go:embed impostor.yaml.tmpl
var impostorConfig string

// impostor puts an Envoy in front of the east-west gateway of cluster2 that does what a gateway
// must not do. It forwards double HBONE, so that everything that should work still works.
func impostor(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	real, err := eastWest(ctx, c)
	if err != nil {
		return nil, err
	}
	id, err := eastwest.FromMesh(ctx, c, (&fixture.Fixture{Fleet: f}).TrustDomain(), fixture.MeshNamespace, "client")
	if err != nil {
		return nil, err
	}
	cert, key, err := pems(id)
	if err != nil {
		return nil, err
	}
	echo, err := workload.Pod(ctx, c, fixture.MeshNamespace, fixture.Echo)
	if err != nil {
		return nil, err
	}
	vip := func(namespace, name string) (string, error) {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		err := get(ctx, c, s)
		return s.Spec.ClusterIP, err
	}
	gateway, gerr := vip(real.Namespace, real.Name)
	control, cerr := vip(istiod.Namespace, istiod.Deployment(c.Revision))
	if err := errors.Join(gerr, cerr); err != nil {
		return nil, err
	}
	config, err := fill(impostorConfig, map[string]string{"Gateway": gateway, "Istiod": control, "Echo": echo.Status.PodIP,
		"Single": (&fixture.Fixture{Fleet: f}).Host("gw-08-echo") + ":80"})
	if err != nil {
		return nil, err
	}
	envoy := "/usr/local/bin/envoy"
	if f.Images["proxyv2"].StandIn != "" {
		envoy += ".real" // the first is the relay
	}
	labels := map[string]string{gatewayapi.GatewayClassNameLabelKey: inspect.EastWestClass, gatewayapi.GatewayNameLabelKey: "impostor"}
	meta := metav1.ObjectMeta{Namespace: Namespace, Name: "impostor", Labels: labels}
	undo, err := own(ctx, c,
		&corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"envoy.yaml": config, "tls.crt": cert, "tls.key": key}},
		&corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "envoy", Image: real.Spec.Template.Spec.Containers[0].Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:      []string{envoy, "-c", "/etc/impostor/envoy.yaml", "--disable-hot-restart", "--concurrency", "1"},
				VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/impostor"}},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1,
					ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(eastwest.Port)}}},
			}},
			Volumes: []corev1.Volume{{
				Name:         "config",
				VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "impostor"}},
			}},
		}})
	if err != nil {
		return nil, err
	}
	if _, err := wait.Pods(ctx, c, Namespace, labels, 1); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

func fill(text string, values any) (string, error) {
	t, err := gotemplate.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, values)
	return b.String(), err
}

// pems encodes an identity: its certificate with the chain, and its key.
func pems(id *eastwest.Identity) (cert, key string, err error) {
	var b strings.Builder
	for _, der := range id.Certificate.Certificate {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return "", "", err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(id.Certificate.PrivateKey)
	if err != nil {
		return "", "", err
	}
	return b.String(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// nat makes the kubelet of cluster1 answer, in cluster1, on the node address of cluster2. To a pod
// this looks like a path between the networks, which must not exist.
func nat(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	address := func(c *mesh.Cluster) (string, error) {
		var nodes corev1.NodeList
		if err := c.Client().List(ctx, &nodes); err != nil {
			return "", fmt.Errorf("%s: %w", c.Name, err)
		}
		for _, n := range nodes.Items {
			for _, a := range n.Status.Addresses {
				if a.Type == corev1.NodeInternalIP {
					return a.Address, nil
				}
			}
		}
		return "", fmt.Errorf("%s: no node has an address", c.Name)
	}
	here, herr := address(f.Clusters[0])
	there, terr := address(f.Clusters[1])
	if err := errors.Join(herr, terr); err != nil {
		return nil, err
	}
	const kubelet = 10250
	name, port := "kubelet", int32(kubelet)
	meta := metav1.ObjectMeta{Namespace: Namespace, Name: name}
	slice := meta
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	return own(ctx, f.Clusters[0],
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ExternalIPs: []string{there},
			Ports: []corev1.ServicePort{{Name: name, Port: port, TargetPort: intstr.FromInt32(port)}}}},
		&discoveryv1.EndpointSlice{ObjectMeta: slice, AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{here}}}, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}}})
}
