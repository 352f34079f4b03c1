package spec

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"istio.io/api/annotation"
	"istio.io/istio/pkg/config/constants"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// Pod is a pod of a Service.
type Pod struct {
	Cluster         *Cluster
	Namespace, Name string
	IP, Node        string
}

// String is the pod's name, by which it answers.
func (p Pod) String() string { return p.Name }

// URL leads to the pod itself, past the Service.
func (p Pod) URL() string {
	return "http://" + net.JoinHostPort(p.IP, strconv.Itoa(traffic.HTTP)) + "/"
}

// Pods are the pods of a Service in some clusters, by name.
func (t *T) Pods(s *Service, in ...*Cluster) (all []Pod) {
	for _, c := range in {
		var pods corev1.PodList
		t.NoError(c.Cluster.Client().List(t.ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{workload.LabelApp: s.App}))
		slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil {
				all = append(all, Pod{c, p.Namespace, p.Name, p.Status.PodIP, p.Spec.NodeName})
			}
		}
	}
	return all
}

// GatewayNodes are the nodes of a cluster that have pods of its east-west gateways; a list of names.
func GatewayNodes(c *Cluster) Subject { return nodesOf("east-west gateways", c, eastwest.Pods) }

// IstiodNodes are the nodes of a cluster that have pods of istiod; a list of names.
func IstiodNodes(c *Cluster) Subject { return nodesOf("istiod", c, istiod.Pods) }

func nodesOf(what string, c *Cluster, list func(context.Context, *mesh.Cluster) ([]corev1.Pod, error)) Subject {
	return Probe("nodes of "+c.Name+" with pods of "+what, func(ctx context.Context) (any, error) {
		pods, err := list(ctx, c.Cluster)
		nodes := map[string]bool{}
		for _, p := range pods {
			nodes[p.Spec.NodeName] = true
		}
		return slices.Sorted(maps.Keys(nodes)), err
	})
}

// Captured says how many pods of a Service istio-cni has captured in a cluster; a string.
func Captured(c *Cluster, s *Service) Subject {
	return Probe("captured pods of "+s.Name+" in "+c.Name, func(ctx context.Context) (any, error) {
		var pods corev1.PodList
		err := c.Cluster.Client().List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{workload.LabelApp: s.App})
		captured := 0
		for _, p := range pods.Items {
			if p.Annotations[annotation.AmbientRedirection.Name] == constants.AmbientRedirectionEnabled {
				captured++
			}
		}
		return fmt.Sprintf("%d of %d", captured, len(pods.Items)), err
	})
}

// SetReady makes pods ready, or not ready, and waits until they are. They run on, and answer
// whoever calls them. They must be of a Service [WithReadinessGates], whose pods go with the spec.
func (t *T) SetReady(ready bool, pods ...Pod) {
	t.change(func() {
		Each(t, pods, func(p Pod) {
			t.NoError(workload.SetReady(t.ctx, p.Cluster.Cluster, p.Namespace, p.Name, ready))
		})
	})
}

// PodsReplaced is a rolling restart of a Service's pods in one cluster, several times, each until
// every old pod is gone. The Service must come from DeployEcho.
func PodsReplaced(c *Cluster, s *Service, times int) Event {
	return Event{Says: fmt.Sprintf("the pods of %s are replaced %d times in %s", s.Name, times, c), Do: func(ctx context.Context) error {
		for range times {
			if err := workload.Restart(ctx, c.Cluster, deployment(s.Namespace, s.App)); err != nil {
				return err
			}
		}
		return nil
	}}
}
