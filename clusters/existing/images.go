package existing

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/ztunnel"
)

// Found is the source of an image that ran before we came.
const Found = "found"

// running is an image that a part of the mesh runs.
type running struct {
	name string // in the suite's table of images: pilot, install-cni, ztunnel, proxyv2
	mesh.ImageRef
}

// meshParts say which image the container of a pod is, by a label of the pod and the container's name.
var meshParts = []struct{ name, label, value, container string }{
	{"pilot", "app", "istiod", "discovery"},
	{"install-cni", "k8s-app", "istio-cni-node", "install-cni"},
	{"ztunnel", "app", "ztunnel", "istio-proxy"},
	{"proxyv2", gatewayClassLabel, GatewayClass, "istio-proxy"},
}

// imagesOf are the images of the mesh's parts, each once, with the digest that the kubelet says it runs.
func imagesOf(pods []corev1.Pod, nodes []corev1.Node) []running {
	var all []running
	for _, part := range meshParts {
		for _, p := range pods {
			if p.Labels[part.label] != part.value || p.Status.Phase != corev1.PodRunning {
				continue
			}
			for _, s := range p.Status.ContainerStatuses {
				if s.Name != part.container {
					continue
				}
				r := running{part.name, mesh.ImageRef{Ref: ref(&p, s), Digest: digest(s, nodes), Source: Found}}
				if !slices.Contains(all, r) {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// ref is the reference in the pod's spec: the status may name another tag of the same image.
func ref(p *corev1.Pod, s corev1.ContainerStatus) string {
	for _, c := range p.Spec.Containers {
		if c.Name == s.Name && c.Image != "" {
			return c.Image
		}
	}
	return s.Image
}

// digest is the one under which a registry has the image; an image that came from no registry has only the id of its configuration.
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

// images are those of all clusters by name. Where parts differ, the first (a stand-in goes before the real one, so that it is never overlooked) has the plain
// name and each further one says in which cluster it runs.
func images(found []finding) map[string]mesh.ImageRef {
	all := map[string]mesh.ImageRef{}
	for _, standIns := range []bool{true, false} {
		for _, x := range found {
			for _, r := range x.images {
				if (r.StandIn != "") != standIns {
					continue
				}
				key := r.name
				for n := 1; all[key] != (mesh.ImageRef{}) && all[key] != r.ImageRef; n++ {
					if key = r.name + "@" + x.cluster.Name; n > 1 {
						key = fmt.Sprintf("%s@%s.%d", r.name, x.cluster.Name, n)
					}
				}
				all[key] = r.ImageRef
			}
		}
	}
	return all
}

// StandIns asks the proxies of all clusters themselves whether they stand in for Istio's, and says what they are, by the name of the image whose place they take.
// An image's name says nothing: a stand-in answers to the same one.
func StandIns(ctx context.Context, f *mesh.Fleet) (map[string]string, error) {
	each := make([][]standIn, len(f.Clusters))
	all, ctx := errgroup.WithContext(ctx)
	for i, c := range f.Clusters {
		all.Go(func() (err error) {
			if err = c.Connect(); err == nil {
				each[i], err = standIns(ctx, c)
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, some := range each {
		for _, x := range some {
			found[x.image] = x.what
		}
	}
	return found, nil
}

// standIn is a proxy that is not Istio's.
type standIn struct {
	image string // in whose place it is
	pod   corev1.Pod
	what  string
}

// standIns finds them in one cluster.
func standIns(ctx context.Context, c *mesh.Cluster) (found []standIn, err error) {
	for _, q := range []struct {
		image, port, path string
		where             []client.ListOption
		judge             func(answer []byte) string
	}{
		{"ztunnel", "15020", "/metrics", []client.ListOption{client.InNamespace(ztunnel.Namespace), client.MatchingLabels{"app": "ztunnel"}}, judgeZtunnel},
		{"proxyv2", "15000", "/config_dump?mask=bootstrap", []client.ListOption{client.MatchingLabels{gatewayClassLabel: GatewayClass}}, judgeProxy},
	} {
		var pods corev1.PodList
		if err := c.Client().List(ctx, &pods, q.where...); err != nil {
			return nil, fmt.Errorf("list pods of %s: %w", q.image, err)
		}
		for _, p := range pods.Items {
			if p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil {
				continue
			}
			answer, err := ask(ctx, c, &p, q.port, q.path)
			if err != nil {
				return nil, fmt.Errorf("pod %s/%s cannot be asked whether it is a real %s: %w: give the right to forward ports there, see `amc rbac --help`", p.Namespace, p.Name, q.image, err)
			}
			if what := q.judge(answer); what != "" {
				found = append(found, standIn{q.image, p, what})
			}
		}
	}
	return found, nil
}

// mark notes on the images that a cluster runs which of them are stand-ins.
func (f *finding) mark(found []standIn) {
	for _, x := range found {
		for i := range f.images {
			for _, s := range x.pod.Status.ContainerStatuses {
				if f.images[i].name == x.image && f.images[i].Ref == ref(&x.pod, s) {
					f.images[i].StandIn = x.what
				}
			}
		}
	}
}

var ourZtunnel = regexp.MustCompile(`(?m)^istio_build\{[^}]*tag="nodeproxy"`)

// judgeZtunnel reads the metrics of a node proxy: ours calls itself nodeproxy.
func judgeZtunnel(metrics []byte) string {
	if ourZtunnel.Match(metrics) {
		return "the suite's node proxy, which speaks ztunnel's protocols"
	}
	return ""
}

// judgeProxy reads Envoy's bootstrap, in which it lists its extensions: Istio's build has some that upstream Envoy lacks.
func judgeProxy(bootstrap []byte) string {
	if strings.Contains(string(bootstrap), "metadata_exchange") || strings.Contains(string(bootstrap), "metadataexchange") {
		return ""
	}
	return "an Envoy without Istio's extensions"
}

func ask(ctx context.Context, c *mesh.Cluster, p *corev1.Pod, port, path string) ([]byte, error) {
	way := portforward.Open(c, p.Namespace, p.Name)
	defer way.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod:"+port+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := way.HTTP().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

var release = regexp.MustCompile(`^v?(\d+\.\d+\.\d+)`)
var development = regexp.MustCompile(`^(\d+\.\d+-alpha\.[0-9a-f]+)`)

// AppImage is where Istio itself publishes its echo application for a version of istiod: a release, or a development build.
func AppImage(istio string) string {
	if m := development.FindStringSubmatch(istio); m != nil {
		return "gcr.io/istio-testing/app:" + m[1]
	}
	if m := release.FindStringSubmatch(istio); m != nil {
		return "docker.io/istio/app:" + m[1]
	}
	return "docker.io/istio/app:latest"
}
