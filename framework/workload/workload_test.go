package workload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
)

func cluster(objects ...client.Object) *mesh.Cluster {
	return clusterThat(interceptor.Funcs{}, objects...)
}

// clusterThat reacts to requests.
func clusterThat(reacts interceptor.Funcs, objects ...client.Object) *mesh.Cluster {
	c := &mesh.Cluster{Name: "c1", Kubeconfig: "kc"}
	c.UseClients(mesh.Clients{Client: fake.NewClientBuilder().WithInterceptorFuncs(reacts).WithScheme(mesh.Scheme).WithObjects(objects...).
		WithStatusSubresource(&appsv1.Deployment{}, &corev1.Pod{}).
		// Waits select by these fields, which a real API server knows by itself.
		WithIndex(&appsv1.Deployment{}, metav1.ObjectNameField, func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&corev1.Pod{}, metav1.ObjectNameField, func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} }).
		Build()})
	return c
}

func echo() Echo {
	return Echo{Namespace: "ns", Name: "echo", Owner: "a-01", Image: "istio/app:1", Replicas: 2}
}

func parts(t *testing.T) (*corev1.ServiceAccount, *appsv1.Deployment) {
	t.Helper()
	objects := echo().Objects(&mesh.Cluster{Name: "c1"})
	if len(objects) != 2 {
		t.Fatalf("got %d objects, want a ServiceAccount and a Deployment", len(objects))
	}
	return objects[0].(*corev1.ServiceAccount), objects[1].(*appsv1.Deployment)
}

// within bounds a wait: shortly if it is meant to fail.
func within(t *testing.T, fails bool) context.Context {
	t.Helper()
	d := 10 * time.Second
	if fails {
		d = 500 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestEchoObjects(t *testing.T) {
	account, d := parts(t)
	labels := map[string]string{LabelApp: "echo", LabelOwner: "a-01"}
	for what, got := range map[string]map[string]string{
		"ServiceAccount": account.Labels, "Deployment": d.Labels, "pod": d.Spec.Template.Labels,
	} {
		t.Run(what, func(t *testing.T) {
			if diff := cmp.Diff(labels, got); diff != "" {
				t.Errorf("labels of the %s (-want +got):\n%s", what, diff)
			}
		})
	}
	// Without the owner: it may change, a selector may not.
	if diff := cmp.Diff(map[string]string{LabelApp: "echo"}, d.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	if got := d.Spec.Template.Spec.ServiceAccountName; got != account.Name {
		t.Errorf("got ServiceAccount %q, want %q", got, account.Name)
	}
	if got := *d.Spec.Replicas; got != 2 {
		t.Errorf("got %d replicas, want 2", got)
	}
	c := d.Spec.Template.Spec.Containers[0]
	if c.Image != "istio/app:1" {
		t.Errorf("got image %q, want istio/app:1", c.Image)
	}
	i := slices.Index(c.Args, "--cluster")
	if i < 0 {
		t.Fatalf("got arguments %q, want an application that answers with the cluster's name", c.Args)
	}
	if got := c.Args[i+1]; got != "c1" {
		t.Errorf("the application answers with cluster %q, want c1", got)
	}
}

// with is the pod of an echo.
func with(e Echo) corev1.PodTemplateSpec {
	return e.Objects(&mesh.Cluster{Name: "c1"})[1].(*appsv1.Deployment).Spec.Template
}

// What answers with errors names itself, as the application does.
func TestErrors(t *testing.T) {
	c := with(Echo{Image: "istio/app:1", Errors: &Envoy{"istio/proxyv2:1", "/bin/envoy"}}).Spec.Containers[0]
	if c.Image != "istio/proxyv2:1" {
		t.Errorf("got image %s, want that of the proxy", c.Image)
	}
	if c.Command[0] != "/bin/envoy" {
		t.Errorf("got command %q, want the proxy", c.Command)
	}
	var config struct {
		Static struct {
			Listeners []struct {
				Address struct {
					Socket struct {
						Port int `json:"port_value"`
					} `json:"socket_address"`
				} `json:"address"`
			} `json:"listeners"`
		} `json:"static_resources"`
	}
	if err := yaml.Unmarshal([]byte(erring), &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Static.Listeners[0].Address.Socket.Port; got != traffic.HTTP {
		t.Errorf("it listens on %d, and Services lead to %d", got, traffic.HTTP)
	}
	env := map[string]string{}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	if got, want := env["ANSWER"], "Cluster=c1\nHostname=$(POD)\n"; got != want {
		t.Errorf("it answers %q, want %q", got, want)
	}
}

// The files of a certificate are where the application looks for them, and hold what its pod's
// annotations say.
func TestTLS(t *testing.T) {
	x, err := SelfSigned("*.ns.svc.cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(x.Cert), []byte(x.Key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "s.ns.svc.cluster.local"}); err != nil {
		t.Error(err)
	}
	pod := with(Echo{TLS: x})
	files := map[string]string{}
	for _, f := range pod.Spec.Volumes[0].DownwardAPI.Items {
		_, name, _ := strings.Cut(strings.TrimSuffix(f.FieldRef.FieldPath, "']"), "['")
		files[pod.Spec.Containers[0].VolumeMounts[0].MountPath+"/"+f.Path] = pod.Annotations[name]
	}
	for flag, want := range map[string]string{"--crt": x.Cert, "--key": x.Key} {
		args := pod.Spec.Containers[0].Args
		if got := files[args[slices.Index(args, flag)+1]]; got != want {
			t.Errorf("%s: got %q, want %q", flag, got, want)
		}
	}
}

// The echo must run wherever the owner of a cluster allows pods at all.
func TestEchoIsRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	for title, c := range map[string]struct {
		change  func(*corev1.PodSpec)
		allowed bool
	}{
		"as it is":            {func(*corev1.PodSpec) {}, true},
		"without its context": {func(s *corev1.PodSpec) { s.SecurityContext = nil }, false}, // the check itself can fail
		"with errors":         {func(s *corev1.PodSpec) { s.Containers[0] = with(Echo{Errors: &Envoy{}}).Spec.Containers[0] }, true},
		"with TLS":            {func(s *corev1.PodSpec) { *s = with(Echo{TLS: &Certificate{}}).Spec }, true},
	} {
		t.Run(title, func(t *testing.T) {
			_, d := parts(t)
			pod := &d.Spec.Template
			c.change(&pod.Spec)
			got := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
			if got.Allowed != c.allowed {
				t.Errorf("got allowed %t, want %t: %s", got.Allowed, c.allowed, got.ForbiddenDetail())
			}
		})
	}
}

// Every port of a Service leads to a port on which the echo listens.
func TestService(t *testing.T) {
	s := Service("ns", "svc", "echo", "a-01")
	if diff := cmp.Diff(map[string]string{LabelOwner: "a-01"}, s.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{LabelApp: "echo"}, s.Spec.Selector); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	_, d := parts(t)
	var listens []int32
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		listens = append(listens, p.ContainerPort)
	}
	type port struct {
		Protocol string
		Port     int32
		Target   intstr.IntOrString
	}
	got := map[string]port{}
	for _, p := range s.Spec.Ports {
		got[p.Name] = port{*p.AppProtocol, p.Port, p.TargetPort}
		if !slices.Contains(listens, p.TargetPort.IntVal) {
			t.Errorf("port %s leads to %d, and the echo listens on %v", p.Name, p.TargetPort.IntVal, listens)
		}
	}
	want := map[string]port{
		"http":      {"http", 80, intstr.FromInt32(traffic.HTTP)},
		"tcp":       {"tcp", traffic.TCP, intstr.FromInt32(traffic.TCP)},
		"tcp-first": {"tcp", traffic.ServerFirst, intstr.FromInt32(traffic.ServerFirst)},
		"grpc":      {"grpc", traffic.GRPC, intstr.FromInt32(traffic.GRPC)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestNamespace(t *testing.T) {
	for title, c := range map[string]struct {
		ambient bool
		want    map[string]string
	}{
		"in the mesh":      {true, map[string]string{LabelOwner: "fixture", "istio.io/dataplane-mode": "ambient"}},
		"outside the mesh": {false, map[string]string{LabelOwner: "fixture"}},
	} {
		t.Run(title, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Namespace("ns", "fixture", c.ambient).Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}

// deployed is the echo with a status of this many replicas.
func deployed(t *testing.T, replicas int32) *appsv1.Deployment {
	t.Helper()
	_, d := parts(t)
	d.Status = appsv1.DeploymentStatus{Replicas: replicas, UpdatedReplicas: replicas, AvailableReplicas: replicas}
	return d
}

func pod(name string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{LabelApp: "echo"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: ready},
		}},
	}
}

func TestScale(t *testing.T) {
	other := pod("another-app", corev1.ConditionTrue)
	other.Labels = map[string]string{LabelApp: "other"}
	for title, c := range map[string]struct {
		replicas int32
		objects  []client.Object
		fails    string
	}{
		"up, and all are available": {2, []client.Object{deployed(t, 2)}, ""},
		"up, and one is missing":    {2, []client.Object{deployed(t, 1)}, "1 of 2 replicas available"},
		"down, and one stays":       {1, []client.Object{deployed(t, 2)}, "1 to go away"},
		"to zero, and all are gone": {0, []client.Object{deployed(t, 0), other}, ""},
		"to zero, and one lingers":  {0, []client.Object{deployed(t, 0), pod("lingering", corev1.ConditionTrue)}, "still there: ns/lingering"},
		"what does not exist":       {1, nil, "c1: scale ns/echo to 1: "},
	} {
		t.Run(title, func(t *testing.T) {
			c1 := cluster(c.objects...)
			err := Scale(within(t, c.fails != ""), c1, "ns", "echo", c.replicas)
			if c.fails == "" && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if !strings.Contains(fmt.Sprint(err), c.fails) {
				t.Errorf("got %v, want an error that says %q", err, c.fails)
			}
			if len(c.objects) == 0 {
				return
			}
			var d appsv1.Deployment
			if err := c1.Client().Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "echo"}, &d); err != nil {
				t.Fatal(err)
			}
			if *d.Spec.Replicas != c.replicas {
				t.Errorf("got %d replicas asked for, want %d", *d.Spec.Replicas, c.replicas)
			}
		})
	}
}

// A restart is over when new pods serve and every old one is gone: an event that did not take place
// would cost nothing, too.
func TestRestart(t *testing.T) {
	replaces := func(ctx context.Context, w client.WithWatch) error {
		if err := w.Delete(ctx, withUID("old")); err != nil {
			return err
		}
		return w.Create(ctx, withUID("new"))
	}
	for title, c := range map[string]struct {
		objects []client.Object
		reacts  func(context.Context, client.WithWatch) error // to the patch
		fails   string
	}{
		"the pod is replaced": {[]client.Object{deployed(t, 2), withUID("old")}, replaces, ""},
		"the old pod stays": {[]client.Object{deployed(t, 2), withUID("old")},
			func(context.Context, client.WithWatch) error { return nil }, "still there: ns/old"},
		"new pods do not come": {[]client.Object{deployed(t, 1), withUID("old")}, replaces, "1 of 2 replicas available"},
		"it has no pods":       {[]client.Object{deployed(t, 2)}, replaces, "restart *v1.Deployment ns/echo: it has no pods"},
		"it does not exist":    {[]client.Object{withUID("old")}, replaces, "restart *v1.Deployment ns/echo: "},
	} {
		t.Run(title, func(t *testing.T) {
			c1 := clusterThat(interceptor.Funcs{Patch: func(ctx context.Context, w client.WithWatch, o client.Object, p client.Patch,
				opts ...client.PatchOption) error {
				if err := w.Patch(ctx, o, p, opts...); err != nil {
					return err
				}
				return c.reacts(ctx, w)
			}}, c.objects...)
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "echo"}}
			err := Restart(within(t, c.fails != ""), c1, d)
			if c.fails != "" {
				if !strings.Contains(fmt.Sprint(err), c.fails) {
					t.Errorf("got %v, want an error that says %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Spec.Template.Annotations[RestartedAt] == "" {
				t.Errorf("got annotations %v, want a new template", d.Spec.Template.Annotations)
			}
		})
	}
}

func TestKill(t *testing.T) {
	for title, c := range map[string]struct {
		kill func(context.Context, *mesh.Cluster, client.Object) error
		want []string
	}{
		"all": {Kill, []string{"a", "b"}},
		"one": {KillOne, []string{"a"}},
	} {
		t.Run(title, func(t *testing.T) {
			var killed []string
			c1 := clusterThat(interceptor.Funcs{Delete: func(ctx context.Context, w client.WithWatch, o client.Object,
				opts ...client.DeleteOption) error {
				var set client.DeleteOptions
				if set.ApplyOptions(opts); set.GracePeriodSeconds == nil || *set.GracePeriodSeconds != 0 {
					t.Errorf("%s: got options %+v, want no time to drain", o.GetName(), set)
				}
				killed = append(killed, o.GetName())
				if err := w.Delete(ctx, o); err != nil {
					return err
				}
				next := pod("next-"+o.GetName(), corev1.ConditionTrue)
				next.UID = types.UID(next.Name)
				return w.Create(ctx, next)
			}}, deployed(t, 2), withUID("a"), withUID("b"))
			if err := c.kill(within(t, false), c1, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "echo"}}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, killed); diff != "" {
				t.Errorf("killed (-want +got):\n%s", diff)
			}
		})
	}
}

func withUID(name string) *corev1.Pod {
	p := pod(name, corev1.ConditionTrue)
	p.UID = types.UID(name)
	return p
}

func TestPod(t *testing.T) {
	now := metav1.Now()
	leaving := pod("a-leaving", corev1.ConditionTrue)
	leaving.DeletionTimestamp, leaving.Finalizers = &now, []string{"example.com/wait"}
	for title, c := range map[string]struct {
		pods  []client.Object
		want  string
		fails string
	}{
		"one":               {[]client.Object{pod("b", corev1.ConditionTrue)}, "b", ""},
		"one is on its way": {[]client.Object{leaving, pod("b", corev1.ConditionTrue)}, "b", ""},
		"none is ready":     {[]client.Object{pod("b", corev1.ConditionFalse)}, "", "0 ready of 1"},
		"none":              {nil, "", "0 ready of 0"},
	} {
		t.Run(title, func(t *testing.T) {
			got, err := Pod(within(t, c.fails != ""), cluster(c.pods...), "ns", "echo")
			if c.fails != "" {
				if !strings.Contains(fmt.Sprint(err), c.fails) {
					t.Errorf("got %v, want an error that says %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != c.want {
				t.Errorf("got pod %q, want %q", got.Name, c.want)
			}
		})
	}
}

func TestDeploy(t *testing.T) {
	c := cluster(deployed(t, 2))
	if err := echo().Deploy(within(t, false), c); err != nil {
		t.Fatal(err)
	}
	var account corev1.ServiceAccount
	if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "echo"}, &account); err != nil {
		t.Error(err)
	}
	err := echo().Deploy(within(t, true), cluster(deployed(t, 1)))
	if !strings.Contains(fmt.Sprint(err), "1 of 2 replicas available") {
		t.Errorf("got %v, want to wait for the second replica", err)
	}
}

// kubelet lets the readiness of pods, whose containers are ready or not, follow their gates.
func kubelet(containers corev1.ConditionStatus) interceptor.Funcs {
	return interceptor.Funcs{SubResourcePatch: func(ctx context.Context, w client.Client, sub string, o client.Object, p client.Patch,
		opts ...client.SubResourcePatchOption) error {
		if err := w.SubResource(sub).Patch(ctx, o, p, opts...); err != nil {
			return err
		}
		pod := o.(*corev1.Pod)
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
		for _, c := range pod.Status.Conditions {
			if c.Type == ReadinessGate {
				ready.Status = c.Status
			}
		}
		pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
		pod.Status.Conditions = append(pod.Status.Conditions, ready, corev1.PodCondition{Type: corev1.ContainersReady, Status: containers})
		return w.SubResource(sub).Update(ctx, pod)
	}}
}

// A pod counts as not ready only while it would answer: what has crashed would prove nothing.
func TestSetReady(t *testing.T) {
	for title, c := range map[string]struct {
		ready   bool
		reacts  interceptor.Funcs
		objects []client.Object
		fails   string
	}{
		"not ready":   {false, kubelet(corev1.ConditionTrue), []client.Object{pod("a", corev1.ConditionTrue)}, ""},
		"ready again": {true, kubelet(corev1.ConditionTrue), []client.Object{pod("a", corev1.ConditionFalse)}, ""},
		"not ready, and its server is": {false, kubelet(corev1.ConditionFalse), []client.Object{pod("a", corev1.ConditionTrue)},
			"neither are its"},
		"not ready, and nobody looks":     {false, interceptor.Funcs{}, []client.Object{pod("a", corev1.ConditionTrue)}, "it is still ready"},
		"ready again, and nobody looks":   {true, interceptor.Funcs{}, []client.Object{pod("a", corev1.ConditionFalse)}, "not ready"},
		"a pod that does not exist there": {false, interceptor.Funcs{}, nil, "c1: readiness gate of pod ns/a: "},
	} {
		t.Run(title, func(t *testing.T) {
			c1 := clusterThat(c.reacts, c.objects...)
			err := SetReady(within(t, c.fails != ""), c1, "ns", "a", c.ready)
			if c.fails == "" && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if !strings.Contains(fmt.Sprint(err), c.fails) {
				t.Errorf("got %v, want an error that says %q", err, c.fails)
			}
		})
	}
}

func TestDeployGated(t *testing.T) {
	e := echo()
	e.Gated = true
	c := clusterThat(kubelet(corev1.ConditionTrue), deployed(t, 2), pod("a", corev1.ConditionFalse), pod("b", corev1.ConditionFalse))
	if err := e.Deploy(within(t, false), c); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		var p corev1.Pod
		if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, &p); err != nil {
			t.Fatal(err)
		}
		gate := func(c corev1.PodCondition) bool { return c.Type == ReadinessGate && c.Status == corev1.ConditionTrue }
		if !slices.ContainsFunc(p.Status.Conditions, gate) {
			t.Errorf("pod %s: got conditions %v, want an open gate", name, p.Status.Conditions)
		}
	}
	var d appsv1.Deployment
	if err := c.Client().Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "echo"}, &d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]corev1.PodReadinessGate{{ConditionType: ReadinessGate}}, d.Spec.Template.Spec.ReadinessGates); diff != "" {
		t.Errorf("gates of the pods (-want +got):\n%s", diff)
	}
	if err := e.Deploy(within(t, true), cluster(deployed(t, 1))); !strings.Contains(fmt.Sprint(err), "1 of 2 pods have been made") {
		t.Errorf("got %v, want to wait for the second pod", err)
	}
}

func TestEnv(t *testing.T) {
	template := func() *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "discovery",
			Env: []corev1.EnvVar{{Name: "A", Value: "true"}}}}}}
	}
	for _, c := range []struct{ container, name, value, fails string }{
		{"discovery", "A", "false", ""},
		{"discovery", "B", "x", ""},
		{"discovery", "A", "true", "already"},
		{"other", "A", "x", "no container other"},
	} {
		t.Run(c.container+" "+c.name+"="+c.value, func(t *testing.T) {
			spec := template()
			err := Env(c.container, c.name, c.value)(spec)
			if c.fails != "" {
				if !strings.Contains(fmt.Sprint(err), c.fails) {
					t.Errorf("got %v, want %q", err, c.fails)
				}
				return
			}
			got := spec.Spec.Containers[0].Env
			if err != nil {
				t.Fatal(err)
			}
			if want := (corev1.EnvVar{Name: c.name, Value: c.value}); !slices.Contains(got, want) {
				t.Errorf("got %v, want %v in it", got, want)
			}
		})
	}
}
