// Package install proves what the documented installation promises, and that the networks under it
// are really apart.
package install

import (
	"fmt"
	"time"

	"github.com/onsi/gomega"
	"istio.io/api/label"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
)

// INST-01
var TwoPrimariesConverge = spec.Proves(behaviors.TwoPrimariesConverge, func(t *spec.T) {
	echo, local := t.Service("echo", spec.Global), t.Service("local")
	t.EachCluster(func(c *spec.Cluster) {
		t.Given(spec.HasGatewayPod(c), IsTrue)
		t.Expect(spec.RemoteClusters(c), Knows(t.Clusters...))
		t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...))
		t.Control(c.Client.HTTP(local), AnsweredBy(c))
	})
})

// INST-02
var NetworkComesFromNamespaceLabel = spec.Proves(behaviors.NetworkComesFromNamespaceLabel, func(t *spec.T) {
	a, others := t.Clusters.Split()
	echo := t.Service("echo", spec.Global)
	joined := func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(joined)

	istioSystem := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: istiod.Namespace}}
	t.SetLabelTemporarily(a, istioSystem, label.TopologyNetwork.Name, "")

	// Cross-cluster calls may fail or stay local; no document says which. The only promise is that none
	// is answered by the other cluster.
	t.Expect(a.Client.HTTP(echo), AnsweredOnlyBy(a))
	t.Each(others, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredOnlyBy(others...)) })

	t.SetLabel(spec.Clusters{a}, istioSystem, label.TopologyNetwork.Name, a.Network)
	t.EachCluster(joined)
})

// INST-12: two services swap their virtual addresses in the other cluster.
var OverlappingAddressesStayApart = spec.Proves(behaviors.OverlappingAddressesStayApart, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	one, two := t.DeployEcho("one"), t.DeployEcho("two")
	t.ReplaceAddresses(b, map[*spec.Service]string{one: t.Address(a, two), two: t.Address(a, one)})
	one.SetGlobal(t.Clusters...)
	two.SetGlobal(t.Clusters...)

	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.Client.HTTP(one), AnsweredBy(t.Clusters...), FromPodsOf(one.App))
		t.Expect(c.Client.HTTP(two), AnsweredBy(t.Clusters...), FromPodsOf(two.App))
		// An answer in the other's name would be noticed.
		t.Control(c.Client.HTTP(one), gomega.Not(FromPodsOf(two.App)))
	})
})

// INST-14
var NoDirectPathBetweenPods = spec.Proves(behaviors.NoDirectPathBetweenPods, func(t *spec.T) {
	t.EachCluster(func(to *spec.Cluster) {
		for _, pod := range t.EchoPods(to) {
			url := fmt.Sprintf("http://%s:%d/", pod.Status.PodIP, traffic.HTTP)
			t.Control(to.Plain.Get(url).Times(3), FromPod(to, pod.Name))
			t.Each(t.Clusters.Without(to), func(from *spec.Cluster) {
				t.ExpectAlways(from.Plain.Get(url).Times(3).Within(time.Second), NotAnsweredBy(to))
			})
		}
		for _, address := range t.NodeAddresses(to) {
			kubelet := "https://" + address + ":10250/"
			t.Control(to.Plain.Get(kubelet), SomethingAnswers())
			t.Each(t.Clusters.Without(to), func(from *spec.Cluster) {
				t.ExpectAlways(from.Plain.Get(kubelet).Within(time.Second), NothingAnswers())
			})
		}
	})
})
