// Package cleanup proves what leaving the mesh leaves behind.
package cleanup

import (
	"github.com/onsi/gomega/types"
	"istio.io/api/label"
	security "istio.io/api/security/v1"
	"istio.io/istio/pkg/config/constants"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
)

// CLN-03: a client whose namespace has left is one outside the mesh: it reaches local pods only, in
// plaintext. It changes a namespace that others use, so it runs alone.
var UnenrollingIsLocal = spec.Proves(behaviors.UnenrollingIsLocal, func(t *spec.T) {
	a, _ := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global, spec.Pods(1, t.Clusters...))
	own, rest := t.DeployClientIn(fixture.MeshNamespaceB, a, "client").HTTP(echo), t.HTTPFromEach(echo)
	t.ApplyEverywhere(echo.PodMutualTLS(security.PeerAuthentication_MutualTLS_PERMISSIVE)) // whatever the mesh's mode
	t.Given(own, AnsweredBy(t.Clusters...))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fixture.MeshNamespaceB}}

	seen := t.While(spec.Change("a namespace of "+a.Name+" leaves the mesh", func() {
		t.SetLabelTemporarily(a, namespace, label.IoIstioDataplaneMode.Name, "")
		t.Expect(own, AnsweredBy(a))
	}), rest...)

	for _, row := range rest {
		t.Expect(seen.Of(row), NoneLost())
	}
	_, plain := t.CallAndCount(own.Times(10))
	t.Expect(plain.By(a).AsDestination().ToWorkload(echo.App), NotMutualTLS(10))

	t.SetLabel(spec.Clusters{a}, namespace, label.IoIstioDataplaneMode.Name, constants.DataplaneModeAmbient)
	t.Control(own, AnsweredBy(t.Clusters...))
}, spec.Serial)

// CLN-04: the gateway alone, and a cluster that stays, leave what is known.
var RemovingAClusterLeavesNothing = spec.Proves(behaviors.RemovingAClusterLeavesNothing, func(t *spec.T) {
	gone, others := t.Clusters.Last()
	echo := t.Service("echo", spec.Global)
	known := func(judge spec.Judge, want types.GomegaMatcher) {
		t.Each(others, func(c *spec.Cluster) { judge(spec.KnownOf(gone, c), want) })
	}
	calls := func(judge spec.Judge, by spec.Clusters) {
		t.Each(others, func(c *spec.Cluster) { judge(c.Client.HTTP(echo), AnsweredBy(by...)) })
	}
	calls(t.Control, t.Clusters)
	secrets := t.RemoteSecretsOf(gone)
	restore := t.ScaleGateway(gone, 0)
	known(t.Control, SomeCounted())

	secrets.Delete()
	known(t.Expect, NoneCounted())
	calls(t.Expect, others)
	t.Each(others, func(c *spec.Cluster) { t.Control(spec.KnownOf(c, c), SomeCounted()) })

	secrets.Add()
	restore()
	known(t.Control, SomeCounted())
	calls(t.Control, t.Clusters)
})
