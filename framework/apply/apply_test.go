package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ambient.test/conformance/framework/mesh"
)

const owner = "example.com/owner"

func service(name string, labels map[string]string, changes ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels}}
	for _, change := range changes {
		change(s)
	}
	return s
}

// cluster is a cluster that holds these objects. The fakes of the two clients do not share them, so
// each gets its own copy.
func cluster(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *mesh.Cluster {
	t.Helper()
	kinds := map[schema.GroupVersionResource]string{}
	for _, k := range Kinds {
		kinds[k] = k.Resource + "List"
	}
	var all []runtime.Object
	for _, o := range objects {
		u, err := Unstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, all...)
	dynamic.PrependReactor("list", "telemetries", func(a k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(a.GetResource().GroupResource(), "")
	})
	dynamic.PrependReactor("list", "*", func(a k8stesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == "forbidden" {
			return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", nil)
		}
		return false, nil, nil
	})
	c := &mesh.Cluster{Name: "c1"}
	c.UseClients(mesh.Clients{
		Dynamic: dynamic,
		Client:  fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build(),
	})
	return c
}

func read(t *testing.T, c *mesh.Cluster, name string) *corev1.Service {
	t.Helper()
	var s corev1.Service
	if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestObjects(t *testing.T) {
	c := cluster(t, interceptor.Funcs{})
	s := service("s", map[string]string{"a": "1"}, func(s *corev1.Service) {
		s.Spec.Selector = map[string]string{"app": "echo"}
	})
	for range 2 { // the second time changes nothing
		if err := Objects(t.Context(), c, s); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, c, "s")
	if d := cmp.Diff(s.Labels, got.Labels); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
	if d := cmp.Diff(s.Spec.Selector, got.Spec.Selector); d != "" {
		t.Errorf("selector (-want +got):\n%s", d)
	}
	if s.ResourceVersion != "" {
		t.Errorf("the caller's object has got resource version %q", s.ResourceVersion)
	}
	s.Labels = map[string]string{"b": "2"}
	if err := Objects(t.Context(), c, s); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Labels, read(t, c, "s").Labels); d != "" {
		t.Errorf("a label that is no longer applied stays (-want +got):\n%s", d)
	}
}

func TestObjectsEndAtTheFirstError(t *testing.T) {
	var applied int
	c := cluster(t, interceptor.Funcs{Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
		applied++
		return errors.New("quota exceeded")
	}})
	err := Objects(t.Context(), c, service("s", nil), service("t", nil))
	if want := "c1: apply Service ns/s: quota exceeded"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if applied != 1 {
		t.Errorf("got %d objects applied, want an end after the first", applied)
	}
}

func TestUnstructured(t *testing.T) {
	got, err := Unstructured(service("s", nil, func(s *corev1.Service) {
		s.ResourceVersion, s.CreationTimestamp = "7", metav1.Now()
		s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.0.0.1"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"namespace": "ns", "name": "s"}, "spec": map[string]any{},
	}
	if d := cmp.Diff(want, got.Object); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestLabel(t *testing.T) {
	for title, c := range map[string]struct {
		value string
		want  map[string]string
	}{
		"set":    {"yes", map[string]string{"a": "1", "b": "yes"}},
		"change": {"no", map[string]string{"a": "1", "b": "no"}},
		"remove": {"", map[string]string{"a": "1"}},
	} {
		t.Run(title, func(t *testing.T) {
			c1 := cluster(t, interceptor.Funcs{}, service("s", map[string]string{"a": "1", "b": "old"}))
			handle := service("s", nil)
			if err := Label(t.Context(), c1, handle, "b", c.value); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, read(t, c1, "s").Labels); d != "" {
				t.Errorf("labels (-want +got):\n%s", d)
			}
			if handle.Labels != nil {
				t.Errorf("the caller's object has got labels %v", handle.Labels)
			}
		})
	}
	err := Label(t.Context(), cluster(t, interceptor.Funcs{}), service("s", nil), "b", "yes")
	if !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want that the object does not exist", err)
	}
	if !strings.Contains(fmt.Sprint(err), `c1: label ns/s with b="yes": `) {
		t.Errorf("got %v, want an error that names cluster, object and label", err)
	}
}

// leftovers are what Left must list, and what it must leave out.
func leftovers() []client.Object {
	mine := map[string]string{owner: "a-01"}
	now := metav1.Now()
	return []client.Object{
		service("mine", mine),
		service("of-another-spec", map[string]string{owner: "b-01"}),
		service("without-owner", nil),
		service("of-a-gateway", mine, func(s *corev1.Service) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Gateway", Name: "g", UID: "1"}}
		}),
		service("on-its-way", mine, func(s *corev1.Service) { s.DeletionTimestamp, s.Finalizers = &now, []string{"example.com/wait"} }),
		service("elsewhere", mine, func(s *corev1.Service) { s.Namespace = "other" }),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "no-kind-of-specs", Labels: mine}},
	}
}

func TestLeft(t *testing.T) {
	left, err := Left(t.Context(), cluster(t, interceptor.Funcs{}, leftovers()...), "ns", owner+" in (a-01)")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range left {
		got = append(got, Title(&left[i]))
	}
	if d := cmp.Diff([]string{"Service ns/mine", "Service ns/on-its-way"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	_, err = Left(t.Context(), cluster(t, interceptor.Funcs{}), "forbidden", owner)
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want that the list is forbidden", err)
	}
}

func TestSweep(t *testing.T) {
	c := cluster(t, interceptor.Funcs{}, leftovers()...)
	got, err := Sweep(t.Context(), c, "ns", owner+" in (a-01)")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"c1: Service ns/mine"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var left corev1.ServiceList
	if err := c.Client().List(t.Context(), &left, client.InNamespace("ns")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range left.Items {
		names = append(names, s.Name)
	}
	if d := cmp.Diff([]string{"of-a-gateway", "of-another-spec", "on-its-way", "without-owner"}, names); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
}

// An object that cannot be deleted must not keep the others from it.
func TestSweepGoesOn(t *testing.T) {
	mine := map[string]string{owner: "a-01"}
	c := cluster(t, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			switch o.GetName() {
			case "stuck":
				return errors.New("no right")
			case "vanished":
				return apierrors.NewNotFound(schema.GroupResource{Resource: "services"}, o.GetName())
			}
			return c.Delete(ctx, o, opts...)
		},
	}, service("free", mine), service("stuck", mine), service("vanished", mine))
	got, err := Sweep(t.Context(), c, "ns", owner)
	if want := "c1: delete Service ns/stuck: no right"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if d := cmp.Diff([]string{"c1: Service ns/free", "c1: Service ns/vanished"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTitle(t *testing.T) {
	for want, namespace := range map[string]string{"Gateway ns/g": "ns", "Gateway g": ""} {
		t.Run(want, func(t *testing.T) {
			var o unstructured.Unstructured
			o.SetKind("Gateway")
			o.SetNamespace(namespace)
			o.SetName("g")
			if got := Title(&o); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
