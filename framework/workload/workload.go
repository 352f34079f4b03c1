// Package workload deploys Istio's echo application, which is server and client of the specs.
package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"istio.io/api/label"
	"istio.io/istio/pkg/config/constants"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/reports/api"
)

// Labels that Istio's API does not name.
const (
	// LabelOwner says who made an object: the fixture, or a behavior by its id in lower case.
	LabelOwner = api.Group + "/owner"
	LabelApp   = "app"
	// LabelGlobal is the label that the ambient profile's serviceScopeConfigs selects.
	LabelGlobal = "istio.io/global"
	// ReadinessGate is the condition without which a pod of a gated [Echo] is not ready.
	ReadinessGate = corev1.PodConditionType(api.Group + "/ready")
	// RestartedAt is the annotation of kubectl that makes a template a new one.
	RestartedAt = "kubectl.kubernetes.io/restartedAt"
)

// Namespace builds a namespace, in the mesh or outside it.
func Namespace(name, owner string, ambient bool) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{LabelOwner: owner}}}
	if ambient {
		n.Labels[label.IoIstioDataplaneMode.Name] = constants.DataplaneModeAmbient
	}
	return n
}

// Names of the container that runs the echo application, and of its port that speaks HTTP.
const Container, PortName = "echo", "http"

// Echo is a deployment of the echo application with a ServiceAccount of its own name.
type Echo struct {
	Namespace, Name string
	Owner           string // value of LabelOwner
	Image           string // reference of the app image
	Replicas        int32
	Node            string // on which the pods run; empty: any
	// Spread has as many pods as can be on nodes of their own.
	Spread bool
	// Gated gives the pods a [ReadinessGate], see [SetReady]. Deploy opens it; a pod that is made
	// later is not ready before somebody else does.
	Gated bool
	// Errors is the proxy that answers in the application's place, each request with status 503; nil
	// for the application itself.
	Errors *Envoy
	// Peer is the reference of the suite's own client and server, which runs in the application's place;
	// empty for the application itself.
	Peer string
	TLS  *Certificate // served on the port [traffic.HTTPS]; nil = none
}

// Objects returns the ServiceAccount and the Deployment for one cluster. The application answers
// with that cluster's name.
func (e Echo) Objects(c *mesh.Cluster) []client.Object {
	labels := map[string]string{LabelApp: e.Name, LabelOwner: e.Owner}
	meta := metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name, Labels: labels}
	grace := int64(2) // the application drains for a second; more only makes scaling slow
	d := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: &e.Replicas,
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelApp: e.Name}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			ServiceAccountName:            e.Name,
			NodeSelector:                  e.nodeSelector(),
			TopologySpreadConstraints:     e.spread(labels),
			ReadinessGates:                e.gates(),
			TerminationGracePeriodSeconds: &grace,
			SecurityContext:               restrictedPod(),
			Containers:                    []corev1.Container{e.container(c)},
		}},
	}}
	if e.TLS != nil {
		e.TLS.show(&d.Spec.Template)
	}
	return []client.Object{&corev1.ServiceAccount{ObjectMeta: meta}, d}
}

func (e Echo) container(c *mesh.Cluster) corev1.Container {
	switch {
	case e.Errors != nil:
		return e.erring(c)
	case e.Peer != "":
		return e.peer(c)
	}
	return e.application(c)
}

// peer serves the ports on which the application speaks HTTP and TCP.
func (e Echo) peer(c *mesh.Cluster) corev1.Container {
	x := e.application(c)
	x.Image = e.Peer
	x.Args = []string{"--cluster", c.Name, "--http", strconv.Itoa(traffic.HTTP), "--tcp", strconv.Itoa(traffic.TCP)}
	return x
}

func (e Echo) application(c *mesh.Cluster) corev1.Container {
	return corev1.Container{
		SecurityContext: restrictedContainer(),
		Name:            Container, Image: e.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Args: []string{"--cluster", c.Name, "--version", "v1", "--port", strconv.Itoa(traffic.HTTP), "--grpc", strconv.Itoa(traffic.GRPC),
			"--tcp", strconv.Itoa(traffic.TCP), "--tcp", strconv.Itoa(traffic.ServerFirst), "--server-first",
			strconv.Itoa(traffic.ServerFirst), "--log_output_level", "all:error"},
		Env: []corev1.EnvVar{{Name: "NAMESPACE", Value: e.Namespace}},
		Ports: []corev1.ContainerPort{{Name: PortName, ContainerPort: traffic.HTTP}, {ContainerPort: traffic.GRPC}, {ContainerPort: traffic.TCP},
			{ContainerPort: traffic.ServerFirst}},
		// The application answers on its TCP port only once all its servers are up.
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 3,
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(traffic.HTTP)}}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m"),
			corev1.ResourceMemory: resource.MustParse("24Mi")}},
	}
}

func (e Echo) spread(labels map[string]string) []corev1.TopologySpreadConstraint {
	if !e.Spread {
		return nil
	}
	return []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
		LabelSelector: &metav1.LabelSelector{MatchLabels: labels}}}
}

func (e Echo) nodeSelector() map[string]string {
	if e.Node == "" {
		return nil
	}
	return map[string]string{corev1.LabelHostname: e.Node}
}

func (e Echo) gates() []corev1.PodReadinessGate {
	if !e.Gated {
		return nil
	}
	return []corev1.PodReadinessGate{{ConditionType: ReadinessGate}}
}

// The echo asks for nothing that Pod Security's level "restricted" forbids, so that it runs
// wherever the owner of a cluster allows pods at all.
func restrictedPod() *corev1.PodSecurityContext {
	yes, user := true, int64(1338)
	return &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func restrictedContainer() *corev1.SecurityContext {
	no := false
	return &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
}

// Deploy applies the echo to a cluster and waits until its pods are ready.
func (e Echo) Deploy(ctx context.Context, c *mesh.Cluster) error {
	if err := apply.Objects(ctx, c, e.Objects(c)...); err != nil {
		return err
	}
	if e.Gated {
		if err := e.openGates(ctx, c); err != nil {
			return err
		}
	}
	return wait.Deployment(ctx, c, e.Namespace, e.Name, 0)
}

// openGates opens the gates of all pods as soon as they exist.
func (e Echo) openGates(ctx context.Context, c *mesh.Cluster) error {
	if err := wait.Object(ctx, c, &appsv1.DeploymentList{}, e.Namespace, e.Name, func(d *appsv1.Deployment, exists bool) (bool, string) {
		if !exists {
			return false, "it does not exist"
		}
		return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= e.Replicas,
			fmt.Sprintf("%d of %d pods have been made", d.Status.UpdatedReplicas, e.Replicas)
	}); err != nil {
		return err
	}
	var pods corev1.PodList
	if err := c.Client().List(ctx, &pods, client.InNamespace(e.Namespace), client.MatchingLabels{LabelApp: e.Name}); err != nil {
		return fmt.Errorf("%s: pods of %s/%s: %w", c.Name, e.Namespace, e.Name, err)
	}
	for i := range pods.Items {
		if err := setGate(ctx, c, &pods.Items[i], true); err != nil {
			return err
		}
	}
	return nil
}

// SetReady makes a pod of a gated [Echo] ready, or not ready, and waits until it is. The pod runs
// on and answers whoever calls it. Unlike a probe that fails, the gate does not flap, and it acts
// at once.
func SetReady(ctx context.Context, c *mesh.Cluster, namespace, name string, ready bool) error {
	if err := setGate(ctx, c, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}, ready); err != nil {
		return err
	}
	if ready {
		return wait.Pod(ctx, c, namespace, name)
	}
	return wait.PodRunsUnready(ctx, c, namespace, name)
}

func setGate(ctx context.Context, c *mesh.Cluster, pod *corev1.Pod, open bool) error {
	status := map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[open]
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.PodCondition{
		{Type: ReadinessGate, Status: status, Reason: "Conformance", LastTransitionTime: metav1.Now()}}}})
	if err != nil {
		return err
	}
	// Conditions merge by their types: those of the kubelet stay.
	if err := c.Client().Status().Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return fmt.Errorf("%s: readiness gate of pod %s: %w", c.Name, client.ObjectKeyFromObject(pod), err)
	}
	return nil
}

// Service builds a Service that selects echo pods by their app label. It is the same in every
// cluster (namespace sameness). It has an address of each family that the cluster has.
func Service(namespace, name, app, owner string) *corev1.Service {
	http, tcp, grpc, policy := "http", "tcp", "grpc", corev1.IPFamilyPolicyPreferDualStack
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{LabelOwner: owner}},
		Spec: corev1.ServiceSpec{Selector: map[string]string{LabelApp: app}, IPFamilyPolicy: &policy, Ports: []corev1.ServicePort{
			{Name: "http", AppProtocol: &http, Port: 80, TargetPort: intstr.FromInt32(traffic.HTTP)},
			{Name: "tcp", AppProtocol: &tcp, Port: traffic.TCP, TargetPort: intstr.FromInt32(traffic.TCP)},
			{Name: "tcp-first", AppProtocol: &tcp, Port: traffic.ServerFirst, TargetPort: intstr.FromInt32(traffic.ServerFirst)},
			{Name: "grpc", AppProtocol: &grpc, Port: traffic.GRPC, TargetPort: intstr.FromInt32(traffic.GRPC)},
		}},
	}
}

// Scale sets the replicas of a deployment and waits until exactly this many pods exist and are
// ready.
func Scale(ctx context.Context, c *mesh.Cluster, namespace, name string, replicas int32) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)))
	if err := c.Client().Patch(ctx, d, patch); err != nil {
		return fmt.Errorf("%s: scale %s/%s to %d: %w", c.Name, namespace, name, replicas, err)
	}
	if replicas == 0 {
		return wait.Gone(ctx, c, &corev1.PodList{}, client.InNamespace(namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels))
	}
	return wait.Deployment(ctx, c, namespace, name, d.Generation)
}

// Restart replaces the pods of a Deployment or a DaemonSet, as `kubectl rollout restart` does, and
// waits until new ones serve and every old one is gone.
func Restart(ctx context.Context, c *mesh.Cluster, o client.Object) error {
	fault := func(err error) error {
		return fmt.Errorf("%s: restart %T %s: %w", c.Name, o, client.ObjectKeyFromObject(o), err)
	}
	if err := c.Client().Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return fault(err)
	}
	match, ready := rollout(o)
	old, err := podsOf(ctx, c, o.GetNamespace(), match)
	if err != nil {
		return fault(err)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(
		`{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, RestartedAt, time.Now().Format(time.RFC3339Nano))))
	if err := c.Client().Patch(ctx, o, patch); err != nil {
		return fault(err)
	}
	if err := ready(ctx, c, o.GetNamespace(), o.GetName(), o.GetGeneration()); err != nil {
		return err
	}
	return old.gone(ctx)
}

// Kill ends all pods of a Deployment or a DaemonSet at once, without a time to drain, and waits until
// as many as before are ready.
func Kill(ctx context.Context, c *mesh.Cluster, o client.Object) error {
	return kill(ctx, c, o, math.MaxInt)
}

// KillOne is [Kill] of one of the pods.
func KillOne(ctx context.Context, c *mesh.Cluster, o client.Object) error { return kill(ctx, c, o, 1) }

func kill(ctx context.Context, c *mesh.Cluster, o client.Object, most int) error {
	fault := func(err error) error {
		return fmt.Errorf("%s: kill the pods of %T %s: %w", c.Name, o, client.ObjectKeyFromObject(o), err)
	}
	if err := c.Client().Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return fault(err)
	}
	match, _ := rollout(o)
	old, err := podsOf(ctx, c, o.GetNamespace(), match)
	if err != nil {
		return fault(err)
	}
	before := len(old.pods)
	old.pods = old.pods[:min(most, len(old.pods))]
	for _, p := range old.pods {
		if err := c.Client().Delete(ctx, &p, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fault(err)
		}
	}
	if err := old.gone(ctx); err != nil {
		return err
	}
	// The status of what owns them still counts the old ones for a moment.
	_, err = wait.Pods(ctx, c, o.GetNamespace(), match, before)
	return err
}

// rollout is which pods are those of a Deployment or a DaemonSet, and what waits for them.
func rollout(o client.Object) (match map[string]string,
	ready func(ctx context.Context, c *mesh.Cluster, namespace, name string, minGeneration int64) error) {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return o.Spec.Selector.MatchLabels, wait.Deployment
	case *appsv1.DaemonSet:
		return o.Spec.Selector.MatchLabels, wait.DaemonSet
	}
	panic(fmt.Sprintf("authoring mistake: %T has no pods that are rolled out", o))
}

// pods are those of a workload at some moment.
type pods struct {
	cluster *mesh.Cluster
	of      []client.ListOption
	pods    []corev1.Pod
}

func podsOf(ctx context.Context, c *mesh.Cluster, namespace string, match map[string]string) (*pods, error) {
	p := &pods{cluster: c, of: []client.ListOption{client.InNamespace(namespace), client.MatchingLabels(match)}}
	var list corev1.PodList
	if err := c.Client().List(ctx, &list, p.of...); err != nil {
		return nil, err
	}
	if p.pods = list.Items; len(p.pods) == 0 {
		return nil, fmt.Errorf("it has no pods: run `%s -n %s describe pods`", c.Kubectl(), namespace)
	}
	return p, nil
}

// gone waits until none of them is left.
func (p *pods) gone(ctx context.Context) error {
	return wait.None(ctx, p.cluster, "new pods instead of the old ones", &corev1.PodList{}, func(o client.Object) bool {
		return slices.ContainsFunc(p.pods, func(old corev1.Pod) bool { return old.UID == o.GetUID() })
	}, p.of...)
}

// ChangeTemplate changes the pod template of a Deployment or a DaemonSet and waits for the rollout.
// undo restores the old template and waits, too. What fails half way is undone.
func ChangeTemplate(ctx context.Context, c *mesh.Cluster, o client.Object,
	change func(*corev1.PodTemplateSpec) error) (undo func(context.Context) error, err error) {
	fault := func(err error) error {
		return fmt.Errorf("%s: pod template of %T %s: %w", c.Name, o, client.ObjectKeyFromObject(o), err)
	}
	if err := c.Client().Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return nil, fault(err)
	}
	var t *corev1.PodTemplateSpec
	ready := wait.Deployment
	switch o := o.(type) {
	case *appsv1.Deployment:
		t = &o.Spec.Template
	case *appsv1.DaemonSet:
		t, ready = &o.Spec.Template, wait.DaemonSet
	}
	before := t.DeepCopy()
	if err := change(t); err != nil {
		return nil, fault(err)
	}
	set := func(ctx context.Context, t *corev1.PodTemplateSpec) error {
		b, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/template", "value": t}})
		if err != nil {
			return fault(err)
		}
		if err := c.Client().Patch(ctx, o, client.RawPatch(types.JSONPatchType, b)); err != nil {
			return fault(err)
		}
		return ready(ctx, c, o.GetNamespace(), o.GetName(), o.GetGeneration())
	}
	undo = func(ctx context.Context) error { return set(ctx, before) }
	if err := set(ctx, t.DeepCopy()); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

// Env sets an environment variable of a container, for [ChangeTemplate]. That it has this value
// already is an error: nothing would change.
func Env(container, name, value string) func(*corev1.PodTemplateSpec) error {
	return func(t *corev1.PodTemplateSpec) error {
		for i := range t.Spec.Containers {
			c := &t.Spec.Containers[i]
			if c.Name != container {
				continue
			}
			for j := range c.Env {
				if c.Env[j].Name == name {
					if c.Env[j].Value == value && c.Env[j].ValueFrom == nil {
						return fmt.Errorf("%s is %q already: restore the mesh first", name, value)
					}
					c.Env[j] = corev1.EnvVar{Name: name, Value: value}
					return nil
				}
			}
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
			return nil
		}
		return fmt.Errorf("there is no container %s", container)
	}
}

// Pod waits for a ready pod of a deployment of the suite and returns it.
func Pod(ctx context.Context, c *mesh.Cluster, namespace, app string) (*corev1.Pod, error) {
	pods, err := wait.Pods(ctx, c, namespace, map[string]string{LabelApp: app}, 1)
	if err != nil {
		return nil, err
	}
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			return &pods[i], nil
		}
	}
	return nil, fmt.Errorf("%s: no live pod of %s/%s", c.Name, namespace, app)
}
