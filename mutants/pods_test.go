package mutants

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

func podOf(app, name, owner string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: name,
		Labels: map[string]string{workload.LabelApp: app, workload.LabelOwner: owner}}}
}

// An update comes back as an event: it must not be written a second time, and no other pod be
// chosen.
func TestChoice(t *testing.T) {
	ch := choice{}
	one, two, other := podOf("a", "a-1", "lb-02"), podOf("a", "a-2", "lb-02"), podOf("b", "b-1", "lb-02")
	for _, c := range []struct {
		title string
		pod   *corev1.Pod
		want  verdict
	}{
		{"the first", one.DeepCopy(), update},
		{"the first, which somebody else has changed in between", one, update},
		{"the first, chosen", one, leave},
		{"the second", two, leave},
		{"the first of another", other, update},
		{"one of the fixture", podOf(fixture.Echo, "echo-1", fixture.Owner), leave},
	} {
		t.Run(c.title, func(t *testing.T) {
			if got := ch.pod(c.pod); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
	for app, want := range map[string]verdict{"a": update, fixture.Echo: leave, fixture.ClientB: leave, "": leave} {
		t.Run("service in front of "+app, func(t *testing.T) {
			s := service(nil)
			s.Spec.Selector = map[string]string{workload.LabelApp: app}
			if got := ch.only(s); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
			if got := ch.only(s); got != leave {
				t.Errorf("got %d for the second time, want %d", got, leave)
			}
		})
	}
}

func TestServicesAndPods(t *testing.T) {
	prefer := corev1.ServiceTrafficDistributionPreferClose
	for title, c := range map[string]struct {
		judge  func(*corev1.Service) verdict
		before corev1.ServiceSpec
		want   verdict
	}{
		"publish":           {publishNotReady, corev1.ServiceSpec{}, update},
		"published already": {publishNotReady, corev1.ServiceSpec{PublishNotReadyAddresses: true}, leave},
		"with a preference": {noDistribution, corev1.ServiceSpec{TrafficDistribution: &prefer}, update},
		"another target": {anotherTarget, corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Port: traffic.HTTP, TargetPort: intstr.FromInt32(traffic.HTTP)},
			{Port: traffic.TCP, TargetPort: intstr.FromInt32(traffic.TCP)}}}, update},
		"no TCP":             {anotherTarget, corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: traffic.HTTP}}}, leave},
		"without preference": {noDistribution, corev1.ServiceSpec{}, leave},
	} {
		t.Run(title, func(t *testing.T) {
			s := service(nil)
			s.Spec = c.before
			if got := c.judge(s); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if got := c.judge(s); got != leave {
				t.Errorf("got %d for the second time, want %d", got, leave)
			}
		})
	}
}

func TestRecreated(t *testing.T) {
	for title, c := range map[string]struct {
		meta metav1.ObjectMeta
		want verdict
	}{
		"of a spec":     {metav1.ObjectMeta{Labels: map[string]string{workload.LabelOwner: "lb-13"}}, update},
		"of the others": {metav1.ObjectMeta{Labels: map[string]string{workload.LabelOwner: fixture.Owner}}, leave},
		"of a waypoint": {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Gateway"}}}, leave},
	} {
		t.Run(title, func(t *testing.T) {
			d := &appsv1.Deployment{ObjectMeta: c.meta}
			if got := recreated(d); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if got := recreated(d); got != leave {
				t.Errorf("got %d for the second time, want %d", got, leave)
			}
		})
	}
}

func TestShowing(t *testing.T) {
	own := &workload.Certificate{Cert: "own", Key: "k"}
	d := &appsv1.Deployment{}
	if got := showing(own)(d); got != leave {
		t.Errorf("without a certificate: got %d, want %d", got, leave)
	}
	d.Spec.Template.Annotations = map[string]string{workload.AnnotationCertificate: "its", workload.AnnotationKey: "its"}
	for i, want := range []verdict{update, leave} {
		if got := showing(own)(d); got != want {
			t.Errorf("time %d: got %d, want %d", i+1, got, want)
		}
	}
	want := map[string]string{workload.AnnotationCertificate: "own", workload.AnnotationKey: "k"}
	if diff := cmp.Diff(want, d.Spec.Template.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

// Pods of cluster1 follow those of the same app in cluster2, and no others.
func TestNotReadyEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := func(p *corev1.Pod) *corev1.Pod {
			p.Status.Conditions = []corev1.PodCondition{{Type: workload.ReadinessGate, Status: corev1.ConditionFalse},
				{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
			return p
		}
		follows, stays := podOf("a", "a-1", "lb-05"), podOf("b", "b-1", "lb-05")
		follows.Status.Conditions = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
		one := &mesh.Cluster{Name: "c1"}
		one.UseClients(mesh.Clients{Client: fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(follows, stays).
			WithStatusSubresource(&corev1.Pod{}).
			WithIndex(&corev1.Pod{}, metav1.ObjectNameField, func(o client.Object) []string { return []string{o.GetName()} }).Build()})
		events, watches := watch.NewFake(), make(chan watch.Interface, 1)
		watches <- events
		two := fakeCluster(interceptor.Funcs{}, watches)
		undo, err := notReadyEither(t.Context(), &mesh.Fleet{Clusters: []*mesh.Cluster{one, two}})
		if err != nil {
			t.Fatal(err)
		}
		event := closed(podOf("a", "a-2", "lb-05"))
		event.ResourceVersion = "1001"
		events.Add(event)
		synctest.Wait()
		if err := undo(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		for _, c := range []struct {
			pod  *corev1.Pod
			want bool
		}{{follows, true}, {stays, false}} {
			var p corev1.Pod
			if err := one.Client().Get(t.Context(), client.ObjectKeyFromObject(c.pod), &p); err != nil {
				t.Fatal(err)
			}
			if got := gateClosed(&p); got != c.want {
				t.Errorf("%s: got closed %t, want %t", p.Name, got, c.want)
			}
		}
	})
}
