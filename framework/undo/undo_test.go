package undo

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
)

const ours = "amc-plain"

func cluster(funcs interceptor.Funcs, objects ...client.Object) *mesh.Cluster {
	c := &mesh.Cluster{Name: "c1", Kubeconfig: "kc"}
	c.UseClients(mesh.Clients{
		Client: fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build(),
	})
	return c
}

func config(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio"}, Data: data}
}

func secret(data map[string][]byte, labels map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "remote", Labels: labels}, Data: data}
}

// noted writes a note, and reads it again as a later run does.
func noted(t *testing.T, c *mesh.Cluster, o client.Object, fields ...Field) *Note {
	t.Helper()
	if _, err := Write(t.Context(), c, ours, "cp-04", o, fields...); err != nil {
		t.Fatal(err)
	}
	return only(t, c)
}

func only(t *testing.T, c *mesh.Cluster) *Note {
	t.Helper()
	all, err := List(t.Context(), c, ours)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("got %d notes, want 1", len(all))
	}
	return all[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFieldsArePutBack(t *testing.T) {
	c := cluster(interceptor.Funcs{}, config(map[string]string{"mesh": "before"}))
	n := noted(t, c, config(nil), Field{"data"})
	now := config(map[string]string{"mesh": "changed", "more": "x"})
	now.Labels = map[string]string{"somebody": "else"}
	must(t, c.Client().Update(t.Context(), now))

	must(t, n.Undo(t.Context()))

	got := config(nil)
	must(t, c.Client().Get(t.Context(), client.ObjectKeyFromObject(got), got))
	if diff := cmp.Diff(map[string]string{"mesh": "before"}, got.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if got.Labels["somebody"] != "else" {
		t.Error("a field that no spec changes was put back, too")
	}
}

// A label that was not there goes again, and only it.
func TestLabelThatWasAbsent(t *testing.T) {
	key := "istio.io/use-waypoint"
	c := cluster(interceptor.Funcs{}, secret(nil, map[string]string{"kept": "yes"}))
	n := noted(t, c, secret(nil, nil), Field{"metadata", "labels", key})
	must(t, c.Client().Update(t.Context(), secret(nil, map[string]string{"kept": "yes", key: "waypoint"})))

	must(t, n.Undo(t.Context()))

	got := secret(nil, nil)
	must(t, c.Client().Get(t.Context(), client.ObjectKeyFromObject(got), got))
	if diff := cmp.Diff(map[string]string{"kept": "yes"}, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestWholeObject(t *testing.T) {
	before := secret(map[string][]byte{"east": []byte("kubeconfig")}, map[string]string{"istio/multiCluster": "true"})
	for name, change := range map[string]func(t *testing.T, c *mesh.Cluster){
		"deleted": func(t *testing.T, c *mesh.Cluster) { must(t, c.Client().Delete(t.Context(), secret(nil, nil))) },
		"changed": func(t *testing.T, c *mesh.Cluster) {
			must(t, c.Client().Update(t.Context(), secret(map[string][]byte{"west": []byte("wrong")}, nil)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(interceptor.Funcs{}, before.DeepCopy())
			n := noted(t, c, secret(nil, nil))
			change(t, c)

			must(t, n.Undo(t.Context()))

			got := secret(nil, nil)
			must(t, c.Client().Get(t.Context(), client.ObjectKeyFromObject(got), got))
			if diff := cmp.Diff(before.Data, got.Data); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Labels, got.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectThatWasAbsent(t *testing.T) {
	c := cluster(interceptor.Funcs{})
	n := noted(t, c, config(nil))
	must(t, c.Client().Create(t.Context(), config(nil)))

	must(t, n.Undo(t.Context()))

	if err := c.Client().Get(t.Context(), client.ObjectKeyFromObject(config(nil)), config(nil)); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want it to be gone", err)
	}
	must(t, n.Undo(t.Context())) // it is gone already
}

// The pods of a second gateway that a killed run left were still there when the next one looked at what the
// mesh runs.
func TestGatewayThatWasAbsentGoesWithItsPods(t *testing.T) {
	at := metav1.ObjectMeta{Namespace: "istio-system", Name: "second"}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace, Name: "second-1",
		Labels: map[string]string{gateway.GatewayNameLabelKey: at.Name}}}
	c := cluster(interceptor.Funcs{
		Delete: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if o.GetName() == at.Name {
				time.AfterFunc(50*time.Millisecond, func() { _ = w.Delete(context.WithoutCancel(ctx), pod.DeepCopy()) })
			}
			return w.Delete(ctx, o, opts...)
		}}, pod.DeepCopy())
	n := noted(t, c, &gateway.Gateway{ObjectMeta: at})
	must(t, c.Client().Create(t.Context(), &gateway.Gateway{ObjectMeta: at}))

	must(t, n.Undo(t.Context()))

	if err := c.Client().Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod of the gateway: got %v, want it to be gone", err)
	}
}

// What holds a token is a Secret; all else a suite may note that has no right to Secrets.
func TestNoteOfSecretIsSecret(t *testing.T) {
	c := cluster(interceptor.Funcs{}, secret(map[string][]byte{"east": []byte("token")}, nil), config(nil))
	if n := noted(t, c, secret(nil, nil)); !isSecret(n.object) {
		t.Errorf("the note of a Secret: got a %T, want a Secret", n.object)
	} else {
		must(t, n.Forget(t.Context()))
	}
	if n := noted(t, c, config(nil)); isSecret(n.object) {
		t.Error("the note of a ConfigMap is a Secret, which a suite may have no right to write")
	}
}

func isSecret(o client.Object) bool { _, is := o.(*corev1.Secret); return is }

// What was changed last is undone first.
func TestCompareVersions(t *testing.T) {
	for _, v := range []struct{ older, newer string }{{"9", "10"}, {"10", "11"}, {"99", "100"}} {
		if got := compareVersions(v.older, v.newer); got >= 0 {
			t.Errorf("%s and %s: got %d, want less than 0", v.older, v.newer, got)
		}
	}
}

// Without a note nothing may be changed; and where nobody may list notes there are none.
func TestRights(t *testing.T) {
	denied := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("denied"))
	c := cluster(interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return denied },
		List:   func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return denied },
	}, config(nil))
	if _, err := Write(t.Context(), c, ours, "cp-04", config(nil)); err == nil {
		t.Error("a note that cannot be written is no error")
	}
	all, err := List(t.Context(), c, ours)
	if err != nil {
		t.Errorf("list: %v", err)
	}
	if len(all) != 0 {
		t.Errorf("got %d notes, want none", len(all))
	}
}
