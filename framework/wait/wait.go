// Package wait waits for objects of a cluster by watching them, and says at once why one is stuck.
//
// Each wait ends in one of three ways: the object is as wanted, a problem that cannot resolve
// itself has lasted longer than its patience (see stuck.go), or the budget is used up. The error
// then names cluster, object, reason and the next command to type. The budget is the deadline of
// the context; a context without one gets [Budget].
//
// The judging is ours, because no library does it: client-go and Helm wait until a timeout, and say
// only that it is over. A missing image or an unschedulable pod ends a wait here within seconds, by
// a table of reasons and of how long each may last.
package wait

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/sleep"
)

// Budget bounds a wait whose context has no deadline.
const Budget = 2 * time.Minute

// Error says why a wait gave up.
type Error struct {
	Cluster string
	Object  string        // what was waited for, for example "deployment istio-system/istiod"
	Reason  string        // what was seen last
	Waited  time.Duration // how long
	Next    string        // command to type next
	Problem *Problem      // the problem that ended the wait early; nil when the budget did
	cause   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s is not as wanted after %s: %s: run `%s`", e.Cluster, e.Object, e.Waited.Round(100*time.Millisecond),
		e.Reason, e.Next)
}

func (e *Error) Unwrap() error { return e.cause }

type sayKey struct{}

// Saying makes every wait under ctx call say with what it waits for and what is in its way. Each is
// reported once, as soon as it is known.
func Saying(ctx context.Context, say func(format string, args ...any)) context.Context {
	return context.WithValue(ctx, sayKey{}, say)
}

// Deployment waits until a deployment is rolled out: every replica is updated and available, and
// none of an older generation is left. The generation must be at least minGeneration.
func Deployment(ctx context.Context, c *mesh.Cluster, ns, name string, minGeneration int64) error {
	w := rollout(c, &appsv1.DeploymentList{}, "Deployment", ns, name)
	return w.until(ctx, judgeRollout("Deployment/"+name, minGeneration))
}

// DaemonSet waits until a daemon set is updated and available on every node it selects, at least
// one. The generation must be at least minGeneration.
func DaemonSet(ctx context.Context, c *mesh.Cluster, ns, name string, minGeneration int64) error {
	w := rollout(c, &appsv1.DaemonSetList{}, "DaemonSet", ns, name)
	return w.until(ctx, judgeRollout("DaemonSet/"+name, minGeneration))
}

// rollout watches a workload, the pods of its namespace and the warning events about them.
func rollout(c *mesh.Cluster, list client.ObjectList, kind, ns, name string) watcher {
	return watcher{client: c.Client(), cluster: c, object: fmt.Sprintf("%s %s/%s", strings.ToLower(kind), ns, name),
		next: fmt.Sprintf("-n %s describe %s %s", ns, strings.ToLower(kind), name),
		sources: []source{
			named(list, ns, name),
			{list: &corev1.PodList{}, opts: []client.ListOption{client.InNamespace(ns)}},
			{list: &corev1.EventList{}, opts: []client.ListOption{client.InNamespace(ns), client.MatchingFields{"type": corev1.EventTypeWarning}}},
		}}
}

// judgeRollout judges the one workload of source 0 with the pods of source 1 and the events of
// source 2.
func judgeRollout(owner string, minGeneration int64) func(*state) verdict {
	return func(s *state) verdict {
		for _, o := range s.objects[0] {
			if o.GetGeneration() < minGeneration {
				return verdict{seen: fmt.Sprintf("it is of generation %d, waiting for %d", o.GetGeneration(), minGeneration)}
			}
			done, seen, selector := rolledOut(o)
			if done {
				return verdict{done: true}
			}
			return verdict{seen: seen, problems: problemsOf(s.podsBy(1, selector), s.events(2), owner)}
		}
		return verdict{seen: "it does not exist"}
	}
}

// rolledOut reads the status of a Deployment or DaemonSet.
func rolledOut(o client.Object) (done bool, seen string, selector *metav1.LabelSelector) {
	switch w := o.(type) {
	case *appsv1.Deployment:
		want, s := int32(1), w.Status
		if w.Spec.Replicas != nil {
			want = *w.Spec.Replicas
		}
		done = s.ObservedGeneration >= w.Generation && s.UpdatedReplicas >= want && s.AvailableReplicas >= want && s.Replicas <= want
		seen = fmt.Sprintf("%d of %d replicas available, %d updated", s.AvailableReplicas, want, s.UpdatedReplicas)
		if s.Replicas > want {
			seen += fmt.Sprintf(", %d to go away", s.Replicas-want)
		}
		return done, seen, w.Spec.Selector
	case *appsv1.DaemonSet:
		s := w.Status
		done = s.ObservedGeneration >= w.Generation && s.DesiredNumberScheduled > 0 &&
			s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled
		return done, fmt.Sprintf("available on %d of %d nodes, updated on %d", s.NumberAvailable, s.DesiredNumberScheduled,
			s.UpdatedNumberScheduled), w.Spec.Selector
	}
	panic(fmt.Sprintf("rollout of a %T", o))
}

// Pods waits until at least n pods match the labels and all of them are ready, and returns them.
// Pods that are being deleted do not count.
func Pods(ctx context.Context, c *mesh.Cluster, ns string, match map[string]string, n int) ([]corev1.Pod, error) {
	selector := labels.SelectorFromSet(match).String()
	w := watcher{client: c.Client(), cluster: c, object: fmt.Sprintf("pods %s/{%s}", ns, selector),
		next: fmt.Sprintf("-n %s describe pods -l %s", ns, selector),
		sources: []source{
			{list: &corev1.PodList{}, opts: []client.ListOption{client.InNamespace(ns), client.MatchingLabels(match)}},
			{list: &corev1.EventList{}, opts: []client.ListOption{client.InNamespace(ns), client.MatchingFields{"type": corev1.EventTypeWarning}}},
		}}
	var ready []corev1.Pod
	err := w.until(ctx, func(s *state) verdict {
		ready = ready[:0]
		alive := 0
		pods := s.podsBy(0, nil)
		for _, p := range pods {
			if p.DeletionTimestamp != nil {
				continue
			}
			alive++
			if podReady(p) {
				ready = append(ready, *p)
			}
		}
		return verdict{done: alive >= n && len(ready) == alive, seen: fmt.Sprintf("%d ready of %d, wanted %d", len(ready), alive, n),
			problems: problemsOf(pods, s.events(1), "")}
	})
	return ready, err
}

// Restarted waits until every container of the pods that the options select has started since a
// moment, and the pods are ready; at least one is. Pods that have ended, or are being deleted, do not
// count. After a node's reboot the API server tells of pods as they were before, until their kubelet
// has looked.
func Restarted(ctx context.Context, c *mesh.Cluster, since time.Time, opts ...client.ListOption) error {
	w := watcher{client: c.Client(), cluster: c, object: "pods that were restarted", next: "get pods -A",
		sources: []source{{list: &corev1.PodList{}, opts: opts}}}
	return w.until(ctx, func(s *state) verdict {
		var old []string
		pods := s.podsBy(0, nil)
		for _, p := range pods {
			if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && !(podReady(p) && startedSince(p, since)) {
				old = append(old, p.Namespace+"/"+p.Name)
			}
		}
		return verdict{done: len(pods) > 0 && len(old) == 0,
			seen: fmt.Sprintf("%d of %d pods have not started since, or are not ready: %s", len(old), len(pods), strings.Join(old, ", "))}
	})
}

// startedSince says that all containers of a pod have. The API tells seconds.
func startedSince(p *corev1.Pod, since time.Time) bool {
	return len(p.Status.ContainerStatuses) == len(p.Spec.Containers) &&
		!slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.State.Running == nil || s.State.Running.StartedAt.Time.Before(since.Truncate(time.Second))
		})
}

// Gateway waits until a Gateway is accepted and programmed in its newest generation, has an address
// and a ready pod. It returns the Gateway.
func Gateway(ctx context.Context, c *mesh.Cluster, ns, name string) (*gateway.Gateway, error) {
	w := watcher{client: c.Client(), cluster: c, object: fmt.Sprintf("gateway %s/%s", ns, name),
		next: fmt.Sprintf("-n %s describe gateways.gateway.networking.k8s.io %s", ns, name),
		sources: []source{
			named(&gateway.GatewayList{}, ns, name),
			{list: &corev1.PodList{}, opts: []client.ListOption{client.InNamespace(ns), client.MatchingLabels{gateway.GatewayNameLabelKey: name}}},
			{list: &corev1.EventList{}, opts: []client.ListOption{client.InNamespace(ns), client.MatchingFields{"type": corev1.EventTypeWarning}}},
			{list: &corev1.ServiceList{}, opts: []client.ListOption{client.InNamespace(ns),
				client.MatchingLabels{gateway.GatewayNameLabelKey: name}}},
		}}
	var gw *gateway.Gateway
	err := w.until(ctx, func(s *state) (v verdict) {
		gw, v = judgeGateway(s)
		return v
	})
	return gw, err
}

// judgeGateway judges the one Gateway of source 0 with the pods, events and services of sources 1
// to 3.
func judgeGateway(s *state) (gw *gateway.Gateway, v verdict) {
	for _, o := range s.objects[0] {
		gw = o.(*gateway.Gateway)
	}
	if gw == nil {
		return nil, verdict{seen: "it does not exist"}
	}
	pods := s.podsBy(1, nil)
	v.problems = problemsOf(pods, s.events(2), "Deployment/"+gw.Name)
	for _, want := range []gateway.GatewayConditionType{gateway.GatewayConditionAccepted, gateway.GatewayConditionProgrammed} {
		cond := meta.FindStatusCondition(gw.Status.Conditions, string(want))
		if cond != nil && cond.Status == metav1.ConditionTrue && cond.ObservedGeneration >= gw.Generation {
			continue
		}
		v.seen = fmt.Sprintf("it is not %s", want)
		if cond != nil {
			v.seen += fmt.Sprintf(" (%s: %s)", cond.Reason, oneLine(cond.Message))
		} else {
			v.seen += " (no controller has set the condition: is the GatewayClass there?)"
		}
		for _, o := range s.objects[3] {
			if svc := o.(*corev1.Service); svc.Spec.Type == corev1.ServiceTypeLoadBalancer && len(svc.Status.LoadBalancer.Ingress) == 0 {
				v.seen += "; its LoadBalancer service has no address yet"
			}
		}
		return gw, v
	}
	if len(gw.Status.Addresses) == 0 {
		v.seen = "it has no address"
		return gw, v
	}
	v.done = slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return podReady(p) && p.DeletionTimestamp == nil })
	if !v.done {
		v.seen = "it is programmed, but no pod of it is ready"
	}
	return gw, v
}

// Established waits until every named CustomResourceDefinition is served.
func Established(ctx context.Context, c *mesh.Cluster, names ...string) error {
	w := watcher{client: c.Client(), cluster: c, object: "custom resource definitions", next: "get crd",
		sources: []source{{list: &apiext.CustomResourceDefinitionList{}}}}
	var kinds []schema.GroupKind
	if err := w.until(ctx, func(s *state) verdict {
		missing := slices.Clone(names)
		kinds = nil
		for _, o := range s.objects[0] {
			crd := o.(*apiext.CustomResourceDefinition)
			if i := slices.Index(missing, crd.Name); i >= 0 && established(crd) {
				missing = slices.Delete(missing, i, i+1)
				kinds = append(kinds, schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind})
			}
		}
		return verdict{done: len(missing) == 0, seen: "not established: " + strings.Join(missing, ", ")}
	}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, discovered)
	defer cancel()
	for _, k := range kinds {
		for {
			_, err := c.Client().RESTMapper().RESTMapping(k)
			if err == nil {
				break
			}
			if !meta.IsNoMatchError(err) || !sleep.For(ctx, 100*time.Millisecond) {
				return fmt.Errorf("%s: %s is established, and cannot be used: %w: run `%s get crd`", c.Name, k, err, c.Kubectl())
			}
		}
	}
	return nil
}

// discovered is how long an API server may take to tell of what is established, which a busy one does
// not at once.
const discovered = 30 * time.Second

func established(crd *apiext.CustomResourceDefinition) bool {
	return slices.ContainsFunc(crd.Status.Conditions, func(c apiext.CustomResourceDefinitionCondition) bool {
		return c.Type == apiext.Established && c.Status == apiext.ConditionTrue
	})
}

// Object waits until judge accepts the named object, whose type is that of list's items. While the
// object does not exist, judge gets nil. seen goes into the error: it says what is missing.
func Object[T client.Object](ctx context.Context, c *mesh.Cluster, list client.ObjectList, ns, name string,
	judge func(o T, exists bool) (done bool, seen string)) error {
	what := strings.ToLower(strings.TrimSuffix(typeName(list), "List"))
	where := name
	next := fmt.Sprintf("get %s %s -o yaml", what, name)
	if ns != "" {
		where, next = ns+"/"+name, "-n "+ns+" "+next
	}
	w := watcher{client: c.Client(), cluster: c, object: what + " " + where, next: next, sources: []source{named(list, ns, name)}}
	return w.until(ctx, func(s *state) verdict {
		var v verdict
		for _, o := range s.objects[0] {
			v.done, v.seen = judge(o.(T), true)
			return v
		}
		var none T
		v.done, v.seen = judge(none, false)
		return v
	})
}

// Pod waits until the named pod is ready.
func Pod(ctx context.Context, c *mesh.Cluster, ns, name string) error {
	return Object(ctx, c, &corev1.PodList{}, ns, name, func(p *corev1.Pod, exists bool) (bool, string) {
		if !exists {
			return false, "it does not exist"
		}
		return podReady(p), "phase " + string(p.Status.Phase) + ", not ready"
	})
}

// PodRunsUnready waits until the named pod is not ready although all its containers are.
func PodRunsUnready(ctx context.Context, c *mesh.Cluster, ns, name string) error {
	return Object(ctx, c, &corev1.PodList{}, ns, name, func(p *corev1.Pod, exists bool) (bool, string) {
		switch {
		case !exists:
			return false, "it does not exist"
		case podReady(p):
			return false, "it is still ready"
		}
		return podHas(p, corev1.ContainersReady), "it is not ready, and neither are its containers"
	})
}

// NodeLost waits until a cluster knows that a node does not answer.
func NodeLost(ctx context.Context, c *mesh.Cluster, name string) error {
	return Object(ctx, c, &corev1.NodeList{}, "", name, func(n *corev1.Node, exists bool) (bool, string) {
		if !exists {
			return true, ""
		}
		i := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
		return i >= 0 && n.Status.Conditions[i].Status != corev1.ConditionTrue, "it is ready"
	})
}

// Gone waits until no object of the type of list's items matches the options.
func Gone(ctx context.Context, c *mesh.Cluster, list client.ObjectList, opts ...client.ListOption) error {
	what := strings.ToLower(strings.TrimSuffix(typeName(list), "List"))
	return None(ctx, c, "removal of "+what+"s", list, func(client.Object) bool { return true }, opts...)
}

// None waits until the predicate is holds for no object that matches the options. The objects are
// of the type of list's items; what names the wanted state in the error.
func None(ctx context.Context, c *mesh.Cluster, what string, list client.ObjectList, is func(client.Object) bool,
	opts ...client.ListOption) error {
	w := watcher{client: c.Client(), cluster: c, object: what,
		next: "get " + strings.ToLower(strings.TrimSuffix(typeName(list), "List")) + " -A", sources: []source{{list: list, opts: opts}}}
	return w.until(ctx, func(s *state) verdict {
		var left []string
		for _, o := range s.objects[0] {
			if is(o) {
				left = append(left, lingering(o))
			}
		}
		slices.Sort(left)
		return verdict{done: len(left) == 0, seen: "still there: " + strings.Join(left, ", ")}
	})
}

// lingering names an object and what may keep it from going away.
func lingering(o client.Object) string {
	n := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
	if len(o.GetFinalizers()) > 0 {
		n += " (finalizers " + strings.Join(o.GetFinalizers(), ", ") + ")"
	}
	if ns, ok := o.(*corev1.Namespace); ok {
		for _, cond := range ns.Status.Conditions {
			if cond.Status == corev1.ConditionTrue && strings.HasPrefix(string(cond.Type), "Namespace") {
				n += " (" + oneLine(cond.Message) + ")"
			}
		}
	}
	return n
}

func named(list client.ObjectList, ns, name string) source {
	opts := []client.ListOption{client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", name)}}
	if ns != "" {
		opts = append(opts, client.InNamespace(ns))
	}
	return source{list: list, opts: opts}
}

func typeName(o any) string {
	s := fmt.Sprintf("%T", o)
	return s[strings.LastIndex(s, ".")+1:]
}

// lastWords fetches the end of the log of the container that crashed.
func lastWords(ctx context.Context, c *mesh.Cluster, p *Problem) string {
	if p == nil || p.Reason != "CrashLoop" || p.pod == nil || c.Connect() != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	lines := int64(5)
	for _, previous := range []bool{true, false} {
		r, err := c.Kube().CoreV1().Pods(p.pod.Namespace).GetLogs(p.pod.Name,
			&corev1.PodLogOptions{Container: p.container, Previous: previous, TailLines: &lines}).Stream(ctx)
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(r, 4096))
		_ = r.Close()
		if len(b) > 0 {
			return "; its last words: " + oneLine(string(b))
		}
	}
	return ""
}

// Give returns ctx bounded by d, unless it is bounded already.
func Give(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, errBudget)
}

var errBudget = errors.New("the budget is used up")
