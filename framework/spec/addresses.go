package spec

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/workload"
)

// Address is the virtual address of a Service in one cluster.
func (t *T) Address(c *Cluster, s *Service) string {
	var got corev1.Service
	t.NoError(c.Cluster.Client().Get(t.ctx, client.ObjectKey{Namespace: fixture.MeshNamespace, Name: s.Name}, &got))
	return got.Spec.ClusterIP
}

// ReplaceAddresses gives Services other virtual addresses in one cluster. An address cannot be
// changed, so the objects are deleted and made anew: all of them first, since they may swap.
func (t *T) ReplaceAddresses(c *Cluster, addresses map[*Service]string) {
	for s := range addresses {
		t.Delete(Clusters{c}, s.Object)
	}
	for s, address := range addresses {
		t.Apply(Clusters{c}, func(c *Cluster) client.Object {
			o := s.Object(c).(*corev1.Service)
			o.Spec.ClusterIP = address
			return o
		})
		t.Observe("%s has address %s in %s", s.Name, address, c.Name)
	}
}

// EchoPods are the pods of the fixture's echo server in one cluster.
func (t *T) EchoPods(c *Cluster) []corev1.Pod {
	var pods corev1.PodList
	t.NoError(c.Cluster.Client().List(t.ctx, &pods, client.InNamespace(fixture.MeshNamespace),
		client.MatchingLabels{workload.LabelApp: fixture.Echo}))
	return pods.Items
}

// NodeAddresses are the internal addresses of a cluster's nodes.
func (t *T) NodeAddresses(c *Cluster) (addresses []string) {
	var nodes corev1.NodeList
	t.NoError(c.Cluster.Client().List(t.ctx, &nodes))
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				addresses = append(addresses, a.Address)
			}
		}
	}
	return addresses
}
