// Package identity proves that identities and the policies that name them hold across clusters.
package identity

import (
	security "istio.io/api/security/v1"
	typev1 "istio.io/api/type/v1beta1"
	istio "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// ID-01
var ClientIdentityArrives = spec.Proves(behaviors.ClientIdentityArrives, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.DeployEcho("echo", spec.Global)
	t.Control(a.ClientB.TCP(echo), AnsweredBy(t.Clusters...))

	allow := policy(t, echo, security.AuthorizationPolicy_ALLOW, t.Principal(fixture.Client))
	t.Apply(spec.Clusters{b}, allow)

	t.EachCluster(func(c *spec.Cluster) {
		t.Expect(c.ClientB.TCP(echo), AnsweredUnless([]traffic.Kind{traffic.Reset}, t.Clusters.Without(b)...))
		t.Control(c.Client.TCP(echo), AnsweredBy(t.Clusters...))
	})

	t.Delete(spec.Clusters{b}, allow)
	t.Control(a.ClientB.TCP(echo), AnsweredBy(t.Clusters...))
})

// ID-03
var DenyPoliciesHoldAcrossClusters = spec.Proves(behaviors.DenyPoliciesHoldAcrossClusters, func(t *spec.T) {
	echo := t.DeployEcho("echo", spec.Global)
	open := t.Service("open", spec.Global) // under no policy: the control by the same path
	answered := func(c *spec.Cluster) { t.Control(c.Client.TCP(echo), AnsweredBy(t.Clusters...)) }
	t.EachCluster(answered)

	for _, p := range []spec.Object{
		policy(t, echo, security.AuthorizationPolicy_DENY, "*"),
		policy(t, echo, security.AuthorizationPolicy_ALLOW), // nobody
	} {
		t.ApplyEverywhere(p)
		t.EachCluster(func(c *spec.Cluster) {
			t.Expect(c.Client.TCP(echo), EndAs(traffic.Reset))
			t.Control(c.Client.TCP(open), AnsweredBy(t.Clusters...))
		})
		t.DeleteEverywhere(p)
		t.EachCluster(answered)
	}
})

// ID-09
var CrossNetworkTrafficIsMutualTLS = spec.Proves(behaviors.CrossNetworkTrafficIsMutualTLS, func(t *spec.T) {
	a, b := t.Clusters.Pair()
	echo := t.Service("echo", spec.Global)
	t.Expect(a.Client.HTTP(echo), AnsweredBy(t.Clusters...))

	outcomes, counted := t.CallAndCount(a.Client.HTTP(echo).Times(60))
	t.Control(spec.Seen("the calls that were counted", outcomes), AnsweredBy(t.Clusters...))

	crossed := outcomes.Clusters()[b.Name]
	t.Expect(counted.By(b).AsDestination().FromWorkload(fixture.Client).FromCluster(a).To(echo), AllMutualTLS(crossed))
	t.Expect(counted.By(a).AsSource().FromWorkload(fixture.Client).To(echo), AllMutualTLS(len(outcomes)))

	// The counters can tell the difference: a client outside the mesh is counted as plaintext.
	_, plain := t.CallAndCount(a.Plain.HTTP(echo).Times(10))
	t.Control(plain.By(a).AsDestination().ToWorkload(fixture.Echo), NotMutualTLS(10))
})

// policy is an AuthorizationPolicy on the pods of a service for the principals; none selects nobody.
func policy(t *spec.T, echo *spec.Service, action security.AuthorizationPolicy_Action, principals ...string) spec.Object {
	var rules []*security.Rule
	if len(principals) > 0 {
		rules = []*security.Rule{{From: []*security.Rule_From{{Source: &security.Source{Principals: principals}}}}}
	}
	return func(*spec.Cluster) client.Object {
		return &istio.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: t.Name("policy")},
			Spec: security.AuthorizationPolicy{Action: action, Rules: rules,
				Selector: &typev1.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: echo.App}}},
		}
	}
}
