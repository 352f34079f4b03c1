package mutants

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"istio.io/api/label"
	"istio.io/istio/pkg/config/constants"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/internal/sleep"
)

// publishNotReady makes a service lead to its pods whether they are ready or not.
func publishNotReady(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Spec.PublishNotReadyAddresses {
		return leave
	}
	s.Spec.PublishNotReadyAddresses = true
	return update
}

// noDistribution takes the preference from a service.
func noDistribution(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Spec.TrafficDistribution == nil {
		return leave
	}
	s.Spec.TrafficDistribution = nil
	return update
}

// chosen is the label of the one pod to which a service leads.
const chosen = "chosen"

// oneOfMany lets each service in cluster2 whose app has pods of its own lead to the first of them
// as soon as there is a second one. Before, a change of the service might cost a call.
func oneOfMany(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c, after, choose := f.Clusters[1], context.WithoutCancel(ctx), choice{}
	var failed []error
	stop, err := interfere(ctx, c, &corev1.PodList{}, ofSpecs, func(p *corev1.Pod) verdict {
		v := choose.pod(p)
		if app := p.Labels[workload.LabelApp]; choose[app] != "" && choose[app] != p.Name {
			failed = append(failed, choose.narrow(after, c, app))
		}
		return v
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(append(failed, stop(ctx))...) }, nil
}

// narrow lets the services of an app lead to its chosen pod.
func (ch choice) narrow(ctx context.Context, c *mesh.Cluster, app string) error {
	var services corev1.ServiceList
	if err := c.Client().List(ctx, &services, ofSpecs); err != nil {
		return err
	}
	var failed []error
	for i := range services.Items {
		s := &services.Items[i]
		if s.Spec.Selector[workload.LabelApp] == app && ch.only(s) == update {
			failed = append(failed, client.IgnoreNotFound(c.Client().Update(ctx, s)))
		}
	}
	return errors.Join(failed...)
}

// choice is the name of a pod, by its app.
type choice map[string]string

func (ch choice) pod(p *corev1.Pod) verdict {
	app := p.Labels[workload.LabelApp]
	if app == "" || p.Labels[workload.LabelOwner] == fixture.Owner {
		return leave
	}
	if ch[app] == "" {
		ch[app] = p.Name
	}
	if ch[app] != p.Name || p.Labels[chosen] != "" {
		return leave
	}
	p.Labels[chosen] = "true"
	return update
}

// only makes a service lead to the chosen pod. Those in front of the fixture's pods lead on to
// them.
func (choice) only(s *corev1.Service) verdict {
	switch s.Spec.Selector[workload.LabelApp] {
	case "", fixture.Echo, fixture.Client, fixture.ClientB, fixture.Plain:
		return leave
	}
	if s.Spec.Selector[chosen] != "" {
		return leave
	}
	s.Spec.Selector[chosen] = "true"
	return update
}

// notReadyEither makes the pods of a service in cluster1 not ready as soon as one of cluster2 is
// not.
func notReadyEither(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	after := context.WithoutCancel(ctx)
	var failed []error
	stop, err := interfere(ctx, f.Clusters[1], &corev1.PodList{}, ofSpecs, func(p *corev1.Pod) verdict {
		if gateClosed(p) {
			failed = append(failed, closeGates(after, f.Clusters[0], p.Labels[workload.LabelApp]))
		}
		return leave
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(append(failed, stop(ctx))...) }, nil
}

func gateClosed(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == workload.ReadinessGate && c.Status == corev1.ConditionFalse
	})
}

// closeGates makes the pods of an app that are ready not ready.
func closeGates(ctx context.Context, c *mesh.Cluster, app string) error {
	var pods corev1.PodList
	if err := c.Client().List(ctx, &pods, ofSpecs, client.MatchingLabels{workload.LabelApp: app}); err != nil {
		return err
	}
	var failed []error
	for i := range pods.Items {
		if p := &pods.Items[i]; !gateClosed(p) {
			failed = append(failed, workload.SetReady(ctx, c, p.Namespace, p.Name, false))
		}
	}
	return errors.Join(failed...)
}

// recreatePods lets every restart of a deployment of a spec in cluster2 begin with the end of all
// its pods.
func recreatePods(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[1], &appsv1.DeploymentList{}, ofSpecs, recreated)
}

func recreated(d *appsv1.Deployment) verdict {
	if d.Labels[workload.LabelOwner] == fixture.Owner || d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType ||
		len(d.OwnerReferences) > 0 { // istiod's, for a waypoint
		return leave
	}
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	return update
}

// anotherCertificate gives the servers of specs in cluster2 another certificate than theirs.
func anotherCertificate(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	x, err := workload.SelfSigned((&fixture.Fixture{Fleet: f}).Host("*"))
	if err != nil {
		return nil, err
	}
	return interfere(ctx, f.Clusters[1], &appsv1.DeploymentList{}, ofSpecs, showing(x))
}

func showing(x *workload.Certificate) func(*appsv1.Deployment) verdict {
	return func(d *appsv1.Deployment) verdict {
		a := d.Spec.Template.Annotations
		if a[workload.AnnotationCertificate] == "" || a[workload.AnnotationCertificate] == x.Cert {
			return leave
		}
		a[workload.AnnotationCertificate], a[workload.AnnotationKey] = x.Cert, x.Key
		return update
	}
}

// withoutGatewayNoLocalPods lets global services of cluster1 select nothing once the gateway of
// cluster2 has no pods.
func withoutGatewayNoLocalPods(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	a, b := f.Clusters[0], f.Clusters[1]
	d, err := eastwest.Deployment(ctx, b)
	if err != nil {
		return nil, err
	}
	return wheneverWithoutPods(ctx, b, client.ObjectKeyFromObject(d), func(ctx context.Context) (Undo, error) {
		return interfere(ctx, a, &corev1.ServiceList{}, ofSpecs, selectNothing)
	})
}

// nothing is an app that no pod has.
const nothing = "nothing"

func selectNothing(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Labels[workload.LabelGlobal] == "" || s.Spec.Selector[workload.LabelApp] == nothing {
		return leave
	}
	s.Spec.Selector = map[string]string{workload.LabelApp: nothing}
	return update
}

// uncaptureDuringCNIRestart takes pods out of the mesh that cluster1 gets once its istio-cni has
// restarted.
func uncaptureDuringCNIRestart(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	begun := time.Now()
	restarted := make(chan struct{})
	var once sync.Once
	stopWatch, err := interfere(ctx, c, &appsv1.DaemonSetList{}, client.MatchingLabels{"k8s-app": "istio-cni-node"},
		func(o *appsv1.DaemonSet) verdict {
			at, err := time.Parse(time.RFC3339Nano, o.Spec.Template.Annotations[workload.RestartedAt])
			if err == nil && at.After(begun) {
				once.Do(func() { close(restarted) })
			}
			return leave
		})
	if err != nil {
		return nil, err
	}
	stop, err := interfere(ctx, c, &corev1.PodList{}, ofSpecs, func(p *corev1.Pod) verdict {
		select {
		case <-restarted:
		default:
			return leave
		}
		// In the second of the restart there are pods from before.
		if time.Since(p.CreationTimestamp.Time) > time.Second || p.Labels[label.IoIstioDataplaneMode.Name] != "" {
			return leave
		}
		p.Labels[label.IoIstioDataplaneMode.Name] = constants.DataplaneModeNone
		return update
	})
	if err != nil {
		return nil, errors.Join(err, stopWatch(ctx))
	}
	return func(ctx context.Context) error { return errors.Join(stop(ctx), stopWatch(ctx)) }, nil
}

// secondAddress puts the name of a service into the hosts files of an app in cluster1, with an address
// of documentation networks.
func secondAddress(app, service string) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		name := (&fixture.Fixture{Fleet: f}).Host(service)
		return interfere(ctx, f.Clusters[0], &appsv1.DeploymentList{}, ofSpecs, func(d *appsv1.Deployment) verdict {
			pod := &d.Spec.Template.Spec
			if d.Name != app || len(pod.HostAliases) > 0 {
				return leave
			}
			pod.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{name}}}
			return update
		})
	}
}

// uncaptureRestarted takes pods of specs in cluster2 out of the mesh whose containers have been started
// again. It asks again and again: while the nodes have no power there is nobody to watch.
func uncaptureRestarted(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		for sleep.For(background, 100*time.Millisecond) {
			var pods corev1.PodList
			if err := c.Client().List(background, &pods, ofSpecs); err != nil {
				continue
			}
			for _, p := range pods.Items {
				if p.Labels[workload.LabelOwner] != fixture.Owner && restarted(&p) {
					p.Labels[label.IoIstioDataplaneMode.Name] = constants.DataplaneModeNone
					_ = c.Client().Update(background, &p) // else at the next look
				}
			}
		}
	})
	return func(context.Context) error { stop(); done.Wait(); return nil }, nil
}

// restarted says that a pod that nothing takes out of the mesh has containers that started again.
func restarted(p *corev1.Pod) bool {
	return p.Labels[label.IoIstioDataplaneMode.Name] == "" &&
		slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 })
}

// captureOutsiders takes the fixture's namespace that is outside the mesh into it, in cluster1.
func captureOutsiders(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	set := func(ctx context.Context, mode string) error {
		return apply.Label(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fixture.PlainNamespace}},
			label.IoIstioDataplaneMode.Name, mode)
	}
	return func(ctx context.Context) error { return set(ctx, "") }, set(ctx, constants.DataplaneModeAmbient)
}

// anotherTarget leads the TCP port of a service to the one on which its pods speak first.
func anotherTarget(s *corev1.Service) verdict { return retarget(s, traffic.TCP, traffic.ServerFirst) }

// firstTarget is the other way round.
func firstTarget(s *corev1.Service) verdict { return retarget(s, traffic.ServerFirst, traffic.TCP) }

// retarget leads the TCP port of a service to another port of its pods.
func retarget(s *corev1.Service, from, to int32) verdict {
	for i, p := range s.Spec.Ports {
		if p.Port == traffic.TCP && p.TargetPort.IntVal == from {
			s.Spec.Ports[i].TargetPort = intstr.FromInt32(to)
			return update
		}
	}
	return leave
}
