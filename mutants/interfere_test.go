package mutants

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	networking "istio.io/api/networking/v1"
	istio "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/workload"
)

func inMesh(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: fixture.MeshNamespace, Name: name, Labels: map[string]string{workload.LabelGlobal: "true"},
	}}
}

// fakeCluster is a cluster whose lists have a resource version, as a watch needs it, and whose
// watches are given by watches, one after the other. What reaches them is up to the test.
func fakeCluster(funcs interceptor.Funcs, watches <-chan watch.Interface, objects ...client.Object) *mesh.Cluster {
	if funcs.List == nil {
		funcs.List = func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, l, opts...)
			l.SetResourceVersion("1000")
			return err
		}
	}
	funcs.Watch = func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
		return <-watches, nil
	}
	c := &mesh.Cluster{Name: "c1"}
	c.UseClients(mesh.Clients{
		Client: fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build(),
	})
	return c
}

func global(t *testing.T, c *mesh.Cluster, name string) bool {
	t.Helper()
	var s corev1.Service
	if err := c.Client().Get(t.Context(), client.ObjectKeyFromObject(inMesh(name)), &s); err != nil {
		t.Fatal(err)
	}
	return s.Labels[workload.LabelGlobal] != ""
}

// create creates a Service and returns it as its event would show it.
func create(t *testing.T, c *mesh.Cluster, name string) *corev1.Service {
	t.Helper()
	s := inMesh(name)
	if err := c.Client().Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInterfere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := watch.NewFake(), watch.NewFake()
		watches := make(chan watch.Interface, 2)
		watches <- first
		watches <- second
		c := fakeCluster(interceptor.Funcs{}, watches, inMesh("existing"))
		undo, err := interfere(t.Context(), c, &corev1.ServiceList{}, ofSpecs, removeGlobal)
		if err != nil {
			t.Fatal(err)
		}
		if global(t, c, "existing") {
			t.Error("what existed before is untouched")
		}
		first.Add(create(t, c, "new"))
		synctest.Wait()
		if global(t, c, "new") {
			t.Error("what was created later is untouched")
		}
		stale := create(t, c, "contested")
		stale.ResourceVersion = "7" // not the one it has now: somebody else has changed it in between
		first.Modify(stale)
		synctest.Wait()
		if !global(t, c, "contested") {
			t.Error("a stale object was written")
		}
		first.Stop() // as the server does now and then
		second.Add(create(t, c, "after the first watch"))
		synctest.Wait()
		if global(t, c, "after the first watch") {
			t.Error("what was created after the server ended the watch is untouched")
		}
		if err := undo(t.Context()); err != nil {
			t.Errorf("got %v, want no error: a conflict is none", err)
		}
		create(t, c, "after undo")
		synctest.Wait()
		if !global(t, c, "after undo") {
			t.Error("undo did not end the interference")
		}
	})
}

func TestInterfereRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watches := make(chan watch.Interface, 1)
		watches <- watch.NewFake()
		c := fakeCluster(interceptor.Funcs{}, watches, inMesh("s"))
		undo, err := interfere(t.Context(), c, &corev1.ServiceList{}, ofSpecs, func(*corev1.Service) verdict { return remove })
		if err != nil {
			t.Fatal(err)
		}
		err = c.Client().Get(t.Context(), client.ObjectKeyFromObject(inMesh("s")), &corev1.Service{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("got %v, want that it is gone", err)
		}
		if err := undo(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A mutant that does not interfere proves nothing: it must say so.
func TestInterfereFails(t *testing.T) {
	t.Run("cannot list", func(t *testing.T) {
		c := fakeCluster(interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", nil)
		}}, nil)
		_, err := interfere(t.Context(), c, &corev1.ServiceList{}, ofSpecs, removeGlobal)
		if !apierrors.IsForbidden(err) {
			t.Errorf("got %v, want the refusal", err)
		}
	})
	t.Run("cannot write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			watches := make(chan watch.Interface, 1)
			watches <- watch.NewFake()
			c := fakeCluster(interceptor.Funcs{Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error {
				return errors.New("no right")
			}}, watches, inMesh("s"))
			undo, err := interfere(t.Context(), c, &corev1.ServiceList{}, ofSpecs, removeGlobal)
			if err != nil {
				t.Fatal(err)
			}
			err = undo(t.Context())
			if want := "c1: interfere with *v1.Service: s: no right"; fmt.Sprint(err) != want {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	})
	t.Run("the watch cannot go on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := watch.NewFake()
			watches := make(chan watch.Interface, 1)
			watches <- w
			c := fakeCluster(interceptor.Funcs{}, watches)
			undo, err := interfere(t.Context(), c, &corev1.ServiceList{}, ofSpecs, removeGlobal)
			if err != nil {
				t.Fatal(err)
			}
			status := apierrors.NewResourceExpired("too old resource version").Status()
			w.Error(&status)
			synctest.Wait()
			if err := undo(t.Context()); !strings.Contains(fmt.Sprint(err), "too old resource version") {
				t.Errorf("got %v, want why the watch ended", err)
			}
		})
	})
}

// The gateway of cluster2 restarts by Recreate, and afterwards as before.
func TestRecreateGateway(t *testing.T) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "eastwest",
		Labels: map[string]string{gateway.GatewayClassNameLabelKey: "istio-east-west"}}}
	d.Spec.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	c := fakeCluster(interceptor.Funcs{}, nil, d)
	strategy := func() appsv1.DeploymentStrategyType {
		t.Helper()
		var now appsv1.Deployment
		if err := c.Client().Get(t.Context(), client.ObjectKeyFromObject(d), &now); err != nil {
			t.Fatal(err)
		}
		return now.Spec.Strategy.Type
	}
	f := &mesh.Fleet{Clusters: []*mesh.Cluster{{Name: "c0"}, c}}
	undo, err := recreateGateway(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strategy(), appsv1.RecreateDeploymentStrategyType; got != want {
		t.Errorf("got strategy %s, want %s", got, want)
	}
	if _, err := recreateGateway(t.Context(), f); !strings.Contains(fmt.Sprint(err), "restore the mesh first") {
		t.Errorf("a second time: got %v, want a refusal", err)
	}
	if err := undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := strategy(), appsv1.RollingUpdateDeploymentStrategyType; got != want {
		t.Errorf("undone: got strategy %s, want %s", got, want)
	}
}

// What cluster1 has and cluster2 has not is served by both, until it is undone.
func TestCopyServices(t *testing.T) {
	watches := make(chan watch.Interface, 1)
	watches <- watch.NewFake()
	here := inMesh("only-here")
	here.Spec.Selector = map[string]string{workload.LabelApp: fixture.Echo}
	from, to := fakeCluster(interceptor.Funcs{}, watches, here), fakeCluster(interceptor.Funcs{}, nil)
	undo, err := copyServices(t.Context(), &mesh.Fleet{Clusters: []*mesh.Cluster{from, to}})
	if err != nil {
		t.Fatal(err)
	}
	if !global(t, to, "only-here") {
		t.Error("it is not served where it did not exist")
	}
	if err := undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	var s corev1.Service
	if err := to.Client().Get(t.Context(), client.ObjectKeyFromObject(here), &s); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want the copy to be gone", err)
	}
}

func TestExposeAPIServer(t *testing.T) {
	const host = "kubernetes.default.svc.cluster.local"
	v := &istio.VirtualService{Spec: networking.VirtualService{Tls: []*networking.TLSRoute{{Route: []*networking.RouteDestination{
		{Destination: &networking.Destination{Host: "istiod.istio-system.svc.cluster.local", Port: &networking.PortSelector{Number: 15012}}},
	}}}}}
	if got := toAPIServer(v, host); got != update {
		t.Errorf("got verdict %d for what exposes istiod, want %d", got, update)
	}
	if to := v.Spec.Tls[0].Route[0].Destination; to.Host != host || to.Port.Number != 443 {
		t.Errorf("it leads to %v, want port 443 of %s", to, host)
	}
	if got := toAPIServer(v, host); got != leave {
		t.Errorf("got verdict %d for what leads there already, want %d", got, leave)
	}
}
