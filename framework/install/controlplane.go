package install

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

// Info is what a report says about one cluster's control plane. It is read from the cluster, not from what was asked for.
type Info struct {
	Kubernetes   string            `json:"kubernetes"`       // version of the API server
	Kernel       string            `json:"kernel"`           // of the first node
	Arch         string            `json:"arch"`             // of the first node
	Runtime      string            `json:"containerRuntime"` // of the first node
	Nodes        int               `json:"nodes"`
	Istio        string            `json:"istio"`        // istiod's own word
	GatewayAPI   string            `json:"gatewayAPI"`   // bundle version of the CRDs, with the channel; empty if there are none
	IstiodEnv    map[string]string `json:"istiodEnv"`    // environment with literal values: the feature flags
	MeshConfig   map[string]any    `json:"meshConfig"`   // of the config map istio
	Images       map[string]string `json:"images"`       // "workload/container" in istio-system -> the digest that its newest pod runs
	TrustDomain  string            `json:"trustDomain"`  // of the mesh config, default cluster.local
	NetworkLabel string            `json:"networkLabel"` // of the namespace istio-system
}

// ControlPlane reads what a cluster's control plane is made of. It changes nothing and works on clusters of any provider.
func ControlPlane(ctx context.Context, c *mesh.Cluster) (*Info, error) {
	fail := func(err error) (*Info, error) { return nil, fmt.Errorf("%s: control plane: %w", c.Name, err) }
	if err := c.Connect(); err != nil {
		return nil, err
	}
	i := &Info{IstiodEnv: map[string]string{}, Images: map[string]string{}}
	v, err := c.Kube().Discovery().ServerVersion()
	if err != nil {
		return fail(err)
	}
	i.Kubernetes = v.GitVersion
	var nodes corev1.NodeList
	if err := c.Client().List(ctx, &nodes); err != nil {
		return fail(err)
	}
	if i.Nodes = len(nodes.Items); i.Nodes > 0 {
		n := nodes.Items[0].Status.NodeInfo
		i.Kernel, i.Arch, i.Runtime = n.KernelVersion, n.Architecture, n.ContainerRuntimeVersion
	}
	if i.Istio, err = istiod.Version(ctx, c); err != nil {
		return nil, err
	}
	var crd apiext.CustomResourceDefinition
	if err := client.IgnoreNotFound(c.Client().Get(ctx, client.ObjectKey{Name: "gateways.gateway.networking.k8s.io"}, &crd)); err != nil {
		return fail(err)
	}
	i.GatewayAPI = strings.TrimSpace(crd.Annotations[bundleVersion] + " " + crd.Annotations["gateway.networking.k8s.io/channel"])
	var ds appsv1.DeploymentList
	if err := c.Client().List(ctx, &ds, client.InNamespace(namespace), client.MatchingLabels{"app": "istiod"}); err != nil {
		return fail(err)
	}
	for _, d := range ds.Items {
		for _, container := range d.Spec.Template.Spec.Containers {
			for _, e := range container.Env {
				if e.ValueFrom == nil {
					i.IstiodEnv[e.Name] = e.Value
				}
			}
		}
	}
	var cm corev1.ConfigMap
	if err := c.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: "istio"}, &cm); err != nil {
		return fail(err)
	}
	if err := yaml.Unmarshal([]byte(cm.Data["mesh"]), &i.MeshConfig); err != nil {
		return fail(fmt.Errorf("mesh config: %w", err))
	}
	i.TrustDomain = "cluster.local"
	if t, ok := i.MeshConfig["trustDomain"].(string); ok && t != "" {
		i.TrustDomain = t
	}
	var ns corev1.Namespace
	if err := c.Client().Get(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil {
		return fail(err)
	}
	i.NetworkLabel = ns.Labels[networkLabel]
	var pods corev1.PodList
	if err := c.Client().List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return fail(err)
	}
	newest := map[string]corev1.Pod{}
	for _, p := range pods.Items {
		name := workloadOf(&p)
		if old, seen := newest[name]; !seen || old.CreationTimestamp.Before(&p.CreationTimestamp) {
			newest[name] = p
		}
	}
	for name, p := range newest {
		for _, s := range p.Status.ContainerStatuses {
			i.Images[name+"/"+s.Name] = s.ImageID
		}
	}
	return i, nil
}

// workloadOf is the name of what a pod belongs to.
func workloadOf(p *corev1.Pod) string {
	if len(p.OwnerReferences) == 0 {
		return p.Name
	}
	o := p.OwnerReferences[0]
	if hash := p.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
		return strings.TrimSuffix(o.Name, "-"+hash)
	}
	return o.Name
}
