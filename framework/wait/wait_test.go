package wait

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
)

func pod(name string, status corev1.PodStatus) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name),
		Labels: map[string]string{"app": "a"}}, Status: status}
}

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Image: "reg/x:1",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
}

func ready() corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
}

func warning(about, reason, message string, at int64) *corev1.Event {
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: about + reason + fmt.Sprint(at)},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", UID: types.UID(about)},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.Unix(at, 0)}
}

func TestProblemOfPod(t *testing.T) {
	crashed := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: 2,
		State:                corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7, Reason: "Error"}}}}}
	for name, tt := range map[string]struct {
		status       corev1.PodStatus
		events       []*corev1.Event
		reason, says string
	}{
		"no room": {corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Message: "0/1 nodes are available: 1 Insufficient cpu."}}}, nil,
			"Unschedulable", "Insufficient cpu"},
		"first pull fails": {waiting("ErrImagePull", "no such host"), nil, "ImagePull", "no such host"},
		"pull backs off":   {waiting("ImagePullBackOff", "Back-off pulling image"), nil, "ImagePull", "Back-off"},
		"may not pull":     {waiting("ErrImageNeverPull", "not present with pull policy of Never"), nil, "ErrImageNeverPull", "reg/x:1"},
		"bad reference":    {waiting("InvalidImageName", "couldn't parse"), nil, "InvalidImageName", "couldn't parse"},
		"config map to come": {waiting("CreateContainerConfigError", `configmap "x" not found`), nil, "CreateContainerConfigError",
			`configmap "x"`},
		"crashes, runs now": {crashed, nil, "CrashLoop", "code 7"},
		"volume to come": {waiting("ContainerCreating", ""),
			[]*corev1.Event{warning("p", "FailedMount", `configmap "istio-ca-root-cert" not found`, 1)}, "FailedMount", "istio-ca-root-cert"},
		"probe fails": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c"}}},
			[]*corev1.Event{warning("p", "FailedMount", "old", 1), warning("p", "Unhealthy", "statuscode: 503", 2)}, "Unhealthy", "503"},
		"warning of another": {waiting("ContainerCreating", ""), []*corev1.Event{warning("q", "FailedMount", "not mine", 1)},
			"NotReady", "ContainerCreating"},
		"unknown warning": {waiting("ContainerCreating", ""), []*corev1.Event{warning("p", "Strange", "words", 1)}, "NotReady",
			"Strange: words"},
		"evicted": {corev1.PodStatus{Phase: corev1.PodFailed, Message: "The node was low on resource: memory."}, nil,
			"Evicted", "memory"},
		"nothing has happened": {corev1.PodStatus{}, nil, "NotReady", "no container"},
	} {
		t.Run(name, func(t *testing.T) {
			got := problemsOf([]*corev1.Pod{pod("p", tt.status)}, tt.events, "")
			if len(got) != 1 {
				t.Fatalf("got %v, want one problem", got)
			}
			if got[0].Reason != tt.reason {
				t.Fatalf("got %v, want reason %s", got[0], tt.reason)
			}
			if !strings.Contains(got[0].Message, tt.says) {
				t.Fatalf("got %v, want it to say %q", got[0], tt.says)
			}
			if _, known := patience[tt.reason]; !known {
				t.Errorf("no patience is set for %s", tt.reason)
			}
		})
	}
}

func TestProblemsOfOwner(t *testing.T) {
	refused := warning("", "FailedCreate", "exceeded quota", 1)
	refused.InvolvedObject = corev1.ObjectReference{Kind: "ReplicaSet", Namespace: "ns", Name: "web-5d4"}
	var reasons []string
	for _, p := range problemsOf(nil, []*corev1.Event{refused}, "Deployment/web") {
		reasons = append(reasons, p.Reason)
	}
	if diff := cmp.Diff([]string{"FailedCreate"}, reasons); diff != "" {
		t.Errorf("reasons of the refusal of web's ReplicaSet (-want +got):\n%s", diff)
	}
	if got := problemsOf(nil, []*corev1.Event{refused}, "Deployment/other"); len(got) != 0 {
		t.Errorf("got %v for a deployment whose ReplicaSet it is not", got)
	}
	leaving := pod("p", waiting("ErrImagePull", ""))
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if got := problemsOf([]*corev1.Pod{leaving, pod("q", ready())}, nil, ""); len(got) != 0 {
		t.Errorf("got %v, want nothing about a pod that leaves and one that is ready", got)
	}
}

func TestStartedSince(t *testing.T) {
	since := time.Date(2026, 11, 28, 12, 0, 0, 700_000_000, time.UTC)
	at := func(d time.Duration) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{
			StartedAt: metav1.NewTime(since.Add(d).Truncate(time.Second))}}}
	}
	for name, x := range map[string]struct {
		statuses []corev1.ContainerStatus
		want     bool
	}{
		"both later":                     {[]corev1.ContainerStatus{at(time.Second), at(time.Minute)}, true},
		"in the same second":             {[]corev1.ContainerStatus{at(0), at(time.Second)}, true},
		"one is older":                   {[]corev1.ContainerStatus{at(-2 * time.Second), at(time.Minute)}, false},
		"one does not run":               {[]corev1.ContainerStatus{{}, at(time.Minute)}, false},
		"of one nothing is said":         {[]corev1.ContainerStatus{at(time.Minute)}, false},
		"nothing is said of any of them": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 2)}, Status: corev1.PodStatus{ContainerStatuses: x.statuses}}
			if got := startedSince(p, since); got != x.want {
				t.Errorf("got %t, want %t", got, x.want)
			}
		})
	}
}

func TestRolledOut(t *testing.T) {
	two := int32(2)
	deployment := func(observed int64, replicas, updated, available int32) client.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: appsv1.DeploymentSpec{Replicas: &two},
			Status: appsv1.DeploymentStatus{ObservedGeneration: observed, Replicas: replicas, UpdatedReplicas: updated,
				AvailableReplicas: available}}
	}
	daemonSet := func(observed int64, desired, updated, available int32) client.Object {
		return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Generation: 3},
			Status: appsv1.DaemonSetStatus{ObservedGeneration: observed, DesiredNumberScheduled: desired, UpdatedNumberScheduled: updated,
				NumberAvailable: available}}
	}
	for name, tt := range map[string]struct {
		o    client.Object
		done bool
	}{
		"deployment is out":                   {deployment(3, 2, 2, 2), true},
		"its status is of an older one":       {deployment(2, 2, 2, 2), false},
		"an old replica is still there":       {deployment(3, 3, 2, 2), false},
		"one is not available":                {deployment(3, 2, 2, 1), false},
		"available, but of the old":           {deployment(3, 2, 1, 2), false},
		"daemon set is out":                   {daemonSet(3, 1, 1, 1), true},
		"daemon set meant for no node":        {daemonSet(3, 0, 0, 0), false},
		"daemon set updated, not available":   {daemonSet(3, 1, 1, 0), false},
		"daemon set of an older generation":   {daemonSet(2, 1, 1, 1), false},
		"daemon set available, but not newer": {daemonSet(3, 1, 0, 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			if done, seen, _ := rolledOut(tt.o); done != tt.done {
				t.Errorf("got done %t, want %t (%s)", done, tt.done, seen)
			}
		})
	}
}

func TestJudgeGateway(t *testing.T) {
	conditions := func(accepted, programmed metav1.ConditionStatus, generation int64) []metav1.Condition {
		return []metav1.Condition{{Type: "Accepted", Status: accepted, Reason: "A", ObservedGeneration: generation},
			{Type: "Programmed", Status: programmed, Reason: "AddressNotAssigned", ObservedGeneration: generation}}
	}
	gw := func(addresses int, c ...metav1.Condition) *gateway.Gateway {
		return &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Name: "g", Generation: 2},
			Status: gateway.GatewayStatus{Conditions: c, Addresses: make([]gateway.GatewayStatusAddress, addresses)}}
	}
	leaving := pod("p", ready())
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	for name, tt := range map[string]struct {
		gw   *gateway.Gateway
		pod  *corev1.Pod
		done bool
		seen string
	}{
		"serves":            {gw(1, conditions("True", "True", 2)...), pod("p", ready()), true, ""},
		"nobody watches it": {gw(0), nil, false, "is the GatewayClass there"},
		"of the last spec":  {gw(1, conditions("True", "True", 1)...), pod("p", ready()), false, "not Accepted"},
		"no load balancer": {gw(0, conditions("True", "False", 2)...), pod("p", ready()), false,
			"AddressNotAssigned: ); its LoadBalancer service has no address yet"},
		"no address":     {gw(0, conditions("True", "True", 2)...), pod("p", ready()), false, "no address"},
		"pod not ready":  {gw(1, conditions("True", "True", 2)...), pod("p", corev1.PodStatus{}), false, "no pod of it is ready"},
		"pod on its way": {gw(1, conditions("True", "True", 2)...), leaving, false, "no pod of it is ready"},
		"does not exist": {nil, nil, false, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			st := &state{objects: make([]map[types.NamespacedName]client.Object, 4)}
			for i := range st.objects {
				st.take(change{source: i, isReset: true})
			}
			if tt.gw != nil {
				st.take(change{source: 0, set: tt.gw})
			}
			if tt.pod != nil {
				st.take(change{source: 1, set: tt.pod})
			}
			st.take(change{source: 3, set: &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}})
			_, v := judgeGateway(st)
			if v.done != tt.done {
				t.Errorf("got done %t, want %t", v.done, tt.done)
			}
			if !strings.Contains(v.seen, tt.seen) {
				t.Errorf("got seen %q, want %q in it", v.seen, tt.seen)
			}
		})
	}
}

// podsReady is a watcher over the pods of a fake cluster.
func podsReady(c client.WithWatch) (*watcher, func(*state) verdict) {
	w := &watcher{client: c, cluster: &mesh.Cluster{Name: "c1", Kubeconfig: "kc"}, object: "pods", next: "get pods",
		sources: []source{{list: &corev1.PodList{}}}}
	return w, func(s *state) verdict {
		pods := s.podsBy(0, nil)
		return verdict{done: len(pods) > 0 && podReady(pods[0]), seen: fmt.Sprintf("%d pods", len(pods)), problems: problemsOf(pods, nil, "")}
	}
}

type said struct {
	sync.Mutex
	lines []string
}

func (s *said) say(format string, args ...any) {
	s.Lock()
	defer s.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *said) count(part string) (n int) {
	s.Lock()
	defer s.Unlock()
	for _, l := range s.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

func TestUntilSeesChange(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p",
		waiting("ErrImagePull", "no such host"))).WithInterceptorFuncs(interceptor.Funcs{
		Watch: func(ctx context.Context, c client.WithWatch, l client.ObjectList, _ ...client.ListOption) (kwatch.Interface, error) {
			w, err := c.Watch(ctx, l)
			go func() { // the pod is replaced while it is watched
				_ = c.Delete(ctx, pod("p", ready()))
				_ = c.Create(ctx, pod("p", ready()))
			}()
			return w, err
		},
	}).Build()
	w, judge := podsReady(c)
	var heard said
	ctx, cancel := context.WithTimeout(Saying(t.Context(), heard.say), 10*time.Second)
	defer cancel()
	if err := w.until(ctx, judge); err != nil {
		t.Fatal(err)
	}
	if n := heard.count("no such host"); n != 1 {
		t.Errorf("the reason was said %d times, want once: %q", n, heard.lines)
	}
}

func TestUntilGivesUpAtOnce(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p", waiting("ErrImageNeverPull", "not present"))).Build()
	w, judge := podsReady(c)
	err := w.until(t.Context(), judge)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an Error", err)
	}
	if e.Problem == nil {
		t.Fatalf("got %+v, want to give up because of a problem", e)
	}
	if want := "ErrImageNeverPull"; e.Problem.Reason != want {
		t.Errorf("got %+v, want to give up because of %s", e, want)
	}
	if want := 5 * time.Second; e.Waited > want {
		t.Errorf("waited %s, want to give up at once, within %s", e.Waited, want)
	}
	for _, part := range []string{"c1: pods", "pod ns/p: ErrImageNeverPull", "not present", "`kubectl --kubeconfig kc -n ns describe pod p`"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
}

func TestUntilHasPatience(t *testing.T) {
	patience["Test"] = 30 * time.Millisecond
	t.Cleanup(func() { delete(patience, "Test") })
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p", waiting("Test", "for a while"))).Build()
	w, judge := podsReady(c)
	begin := time.Now()
	err := w.until(t.Context(), judge)
	if err == nil {
		t.Error("got no failure")
	}
	if waited, want := time.Since(begin), 30*time.Millisecond; waited < want {
		t.Errorf("failed after %s, want it not before its patience of %s", waited, want)
	}
}

func TestUntilBudget(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p", waiting("ContainerCreating", ""))).Build()
	w, judge := podsReady(c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := w.until(ctx, judge)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if want := "ContainerCreating"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want what was seen last, %s", err, want)
	}
}

func TestUntilRefused(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithInterceptorFuncs(interceptor.Funcs{List: func(context.Context,
		client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no rights"))
	}}).Build()
	w, judge := podsReady(c)
	err := w.until(t.Context(), judge)
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want the refusal at once", err)
	}
	if want := "cannot be watched"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
}

// A watch that the server ends, or a list that fails once, must not end the wait.
func TestUntilStartsOver(t *testing.T) {
	var lists int
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p",
		waiting("ContainerCreating", ""))).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
			lists++
			switch lists {
			case 1:
				return errors.New("connection refused")
			case 2:
				return c.List(ctx, l, o...)
			}
			l.(*corev1.PodList).Items = []corev1.Pod{*pod("p", ready())}
			return nil
		},
		Watch: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) (kwatch.Interface, error) {
			w, err := c.Watch(ctx, l)
			if err == nil {
				w.Stop()
			}
			return w, err
		},
	}).Build()
	w, judge := podsReady(c)
	if err := w.until(t.Context(), judge); err != nil {
		t.Error(err)
	}
}

// A wait often follows a write: its list must not be one that the server has kept from before.
func TestUntilListsConsistently(t *testing.T) {
	versions := make(chan string, 1)
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p", ready())).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			o := &client.ListOptions{}
			o.ApplyOptions(opts)
			versions <- o.AsListOptions().ResourceVersion
			return c.List(ctx, l)
		},
	}).Build()
	w, judge := podsReady(c)
	if err := w.until(t.Context(), judge); err != nil {
		t.Fatal(err)
	}
	if got := <-versions; got != "" {
		t.Errorf("got a list as of resource version %q, want the newest state", got)
	}
}

// A watch that is too old makes the reflector list again.
func TestUntilWatchExpires(t *testing.T) {
	var watches int
	c := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(pod("p", waiting("ContainerCreating", ""))).
		WithInterceptorFuncs(interceptor.Funcs{
			Watch: func(ctx context.Context, c client.WithWatch, l client.ObjectList, _ ...client.ListOption) (kwatch.Interface, error) {
				if watches++; watches > 1 {
					return c.Watch(ctx, l)
				}
				if err := c.Delete(ctx, pod("p", ready())); err != nil {
					return nil, err
				}
				if err := c.Create(ctx, pod("p", ready())); err != nil {
					return nil, err
				}
				w := kwatch.NewFakeWithOptions(kwatch.FakeOptions{ChannelSize: 1})
				status := apierrors.NewResourceExpired("too old").Status()
				w.Error(&status)
				return w, nil
			},
		}).Build()
	w, judge := podsReady(c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.until(ctx, judge); err != nil {
		t.Error(err)
	}
}

// late is a mapper that knows no kind before it was asked some times.
type late struct {
	meta.RESTMapper
	asked, after int
}

func (m *late) RESTMapping(k schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	if m.asked++; m.asked <= m.after {
		return nil, &meta.NoKindMatchError{GroupKind: k, SearchedVersions: versions}
	}
	return &meta.RESTMapping{}, nil
}

// A definition is served once the API server also tells of it, which may come later.
func TestEstablished(t *testing.T) {
	crd := func(status apiext.ConditionStatus) *apiext.CustomResourceDefinition {
		return &apiext.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: "things.example.org"},
			Spec: apiext.CustomResourceDefinitionSpec{Group: "example.org",
				Names: apiext.CustomResourceDefinitionNames{Plural: "things", Kind: "Thing"}},
			Status: apiext.CustomResourceDefinitionStatus{Conditions: []apiext.CustomResourceDefinitionCondition{
				{Type: apiext.Established, Status: status}}},
		}
	}
	for name, c := range map[string]struct {
		status apiext.ConditionStatus
		after  int // looks
		want   string
	}{
		"served":          {apiext.ConditionTrue, 0, ""},
		"told later":      {apiext.ConditionTrue, 2, ""},
		"never told":      {apiext.ConditionTrue, 1 << 30, "Thing.example.org is established, and cannot be used"},
		"not established": {apiext.ConditionFalse, 0, "not established: things.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &late{after: c.after}
			cluster := &mesh.Cluster{Name: "c1", Kubeconfig: "kc"}
			cluster.UseClients(mesh.Clients{Client: fake.NewClientBuilder().WithScheme(mesh.Scheme).WithRESTMapper(m).
				WithObjects(crd(c.status)).WithStatusSubresource(crd(c.status)).Build()})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := Established(ctx, cluster, "things.example.org")
			if c.want == "" && err != nil || c.want != "" && !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.want == "" && m.asked != c.after+1 {
				t.Errorf("it was asked %d times, want %d", m.asked, c.after+1)
			}
		})
	}
}
