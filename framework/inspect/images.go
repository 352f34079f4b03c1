package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
)

// Found is the source of an image that ran in a cluster before the suite came.
const Found = "found"

// Image is an image that a part of the mesh runs.
type Image struct {
	Part string // in the suite's table of images: pilot, install-cni, ztunnel, proxyv2
	mesh.ImageRef
}

// meshParts tell which part of the mesh a container is, by a label of its pod and by its name.
var meshParts = []struct{ part, label, value, container string }{
	{"pilot", "app", "istiod", "discovery"},
	{"install-cni", "k8s-app", "istio-cni-node", "install-cni"},
	{"ztunnel", "app", "ztunnel", "istio-proxy"},
	{"proxyv2", gateway.GatewayClassNameLabelKey, "", "istio-proxy"}, // the value is the class of gateways
}

// imagesOf are the images of the mesh's parts, each once, with the digest that the kubelet reports.
func imagesOf(gatewayClass string, pods []corev1.Pod, nodes []corev1.Node) []Image {
	var all []Image
	for _, part := range meshParts {
		for _, p := range pods {
			if p.Labels[part.label] != cmp.Or(part.value, gatewayClass) || p.Status.Phase != corev1.PodRunning {
				continue
			}
			for _, s := range p.Status.ContainerStatuses {
				if s.Name != part.container {
					continue
				}
				i := Image{part.part, mesh.ImageRef{Ref: ref(&p, s), Digest: digest(s, nodes), Source: Found}}
				if !slices.Contains(all, i) {
					all = append(all, i)
				}
			}
		}
	}
	return all
}

// ImageOf is the image that a container of a running pod runs, with the digest that the kubelet
// reports.
func ImageOf(ctx context.Context, r client.Reader, p *corev1.Pod, container string) (mesh.ImageRef, error) {
	var nodes corev1.NodeList
	if err := r.List(ctx, &nodes); err != nil {
		return mesh.ImageRef{}, fmt.Errorf("nodes: %w", err)
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == container {
			return mesh.ImageRef{Ref: ref(p, s), Digest: digest(s, nodes.Items), Source: Found}, nil
		}
	}
	return mesh.ImageRef{}, fmt.Errorf("pod %s/%s has no container %q that runs", p.Namespace, p.Name, container)
}

// ref is the reference in the pod's spec. The status may name another tag of the same image.
func ref(p *corev1.Pod, s corev1.ContainerStatus) string {
	for _, c := range p.Spec.Containers {
		if c.Name == s.Name && c.Image != "" {
			return c.Image
		}
	}
	return s.Image
}

// digest is the one under which a registry has the image. An image that came from no registry has
// only the ID of its configuration.
func digest(s corev1.ContainerStatus, nodes []corev1.Node) string {
	if _, d, ok := strings.Cut(s.ImageID, "@"); ok {
		return d
	}
	for _, n := range nodes {
		for _, i := range n.Status.Images {
			if !slices.Contains(i.Names, s.Image) {
				continue
			}
			for _, name := range i.Names {
				if _, d, ok := strings.Cut(name, "@"); ok {
					return d
				}
			}
		}
	}
	return s.ImageID
}

// running are the image IDs of all containers in istio-system, by "workload/container". Of several
// pods of one workload the newest counts; one that is being deleted does not.
func running(pods []corev1.Pod) map[string]string {
	newest := map[string]corev1.Pod{}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		name := workloadOf(&p)
		if old, seen := newest[name]; !seen || old.CreationTimestamp.Before(&p.CreationTimestamp) {
			newest[name] = p
		}
	}
	all := map[string]string{}
	for name, p := range newest {
		for _, s := range p.Status.ContainerStatuses {
			all[name+"/"+s.Name] = s.ImageID
		}
	}
	return all
}

// workloadOf is the name of the workload that a pod belongs to.
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
