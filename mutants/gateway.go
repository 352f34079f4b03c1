package mutants

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	gotemplate "text/template"
	"time"

	"golang.org/x/sync/errgroup"
	"istio.io/api/label"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/framework/ztunnel"
	"ambient.test/conformance/internal/sleep"
)

// created makes objects in a cluster; undo deletes them and waits until their pods are gone.
func created(ctx context.Context, c *mesh.Cluster, objects ...client.Object) (Undo, error) {
	undo := func(ctx context.Context) error {
		var failed []error
		for _, o := range objects {
			failed = append(failed, client.IgnoreNotFound(c.Client().Delete(ctx, o, client.GracePeriodSeconds(0))))
		}
		for _, o := range objects {
			if pod, ok := o.(*corev1.Pod); ok {
				failed = append(failed, wait.Gone(ctx, c, &corev1.PodList{}, client.InNamespace(pod.Namespace),
					client.MatchingFields{metav1.ObjectNameField: pod.Name}))
			}
		}
		return errors.Join(failed...)
	}
	if err := apply.Objects(ctx, c, objects...); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

//go:embed impostor.yaml.tmpl
var impostorConfig string

// impostor puts an Envoy beside the east-west gateway of cluster2, as one more endpoint of its
// address, that does what a gateway must not do: it hands a port of istiod on, among others. It
// forwards double HBONE, so that everything that should work still works.
//
// If it is open, it hands on whatever a CONNECT names, too.
func impostor(istiodPort int, open bool) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		c := f.Clusters[1]
		real, err := eastwest.Deployment(ctx, c)
		if err != nil {
			return nil, err
		}
		id, err := eastwest.FromMesh(ctx, c, (&fixture.Fixture{Fleet: f}).TrustDomain(), fixture.MeshNamespace, "client")
		if err != nil {
			return nil, err
		}
		echo, err := workload.Pod(ctx, c, fixture.MeshNamespace, fixture.Echo)
		if err != nil {
			return nil, err
		}
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: real.Namespace, Name: real.Name}}
		control := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: istiod.Namespace, Name: istiod.Deployment(c.Revision)}}
		if err := errors.Join(get(ctx, c, service), get(ctx, c, control)); err != nil {
			return nil, err
		}
		pods, err := wait.Pods(ctx, c, real.Namespace, service.Spec.Selector, 1)
		if err != nil {
			return nil, err
		}
		others, err := eastwest.Find(ctx, f.Clusters[0], f.Clusters[0].EastWestClass())
		if err != nil {
			return nil, err
		}
		if len(others) == 0 || len(others[0].Addresses) == 0 {
			return nil, fmt.Errorf("%s: it has no east-west gateway with an address to hand calls on to: run `%s get gateways -A`",
				f.Clusters[0].Name, f.Clusters[0].Kubectl())
		}
		config, err := fill(impostorConfig, map[string]any{"Open": open, "Cluster": c.Name, "Onwards": others[0].Addresses[0],
			"Gateway": pods[0].Status.PodIP, "Istiod": control.Spec.ClusterIP, "Port": istiodPort,
			"Echo": echo.Status.PodIP, "Single": (&fixture.Fixture{Fleet: f}).Host("gw-08-echo") + ":80"})
		if err != nil {
			return nil, err
		}
		cert, key := id.PEM()
		return envoy(ctx, f, c, metav1.ObjectMeta{Namespace: real.Namespace, Name: "impostor", Labels: service.Spec.Selector}, real,
			map[string]string{"envoy.yaml": config, "tls.crt": cert, "tls.key": key}, eastwest.Port)
	}
}

// envoy runs the Envoy of the east-west gateway's image with a configuration and waits until it
// listens.
func envoy(ctx context.Context, f *mesh.Fleet, c *mesh.Cluster, meta metav1.ObjectMeta, like *appsv1.Deployment,
	files map[string]string, port int32) (Undo, error) {
	proxy := workload.EnvoyOf(f, like.Spec.Template.Spec)
	return ran(ctx, c,
		&corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "envoy", Image: proxy.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:      []string{proxy.Program, "-c", "/etc/mutant/envoy.yaml", "--disable-hot-restart", "--concurrency", "1"},
				VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/mutant"}},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1,
					ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}}},
			}},
			Volumes: []corev1.Volume{{
				Name:         "config",
				VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: meta.Name}},
			}},
		}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name}, StringData: files})
}

// anotherPort leads one more port of the east-west gateway's Service in cluster2 to the one that
// tells the gateway's health.
func anotherPort(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	d, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	const name = "mutant"
	ports := func(ctx context.Context, change func([]corev1.ServicePort) []corev1.ServicePort) error {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name}}
		if err := get(ctx, c, s); err != nil {
			return err
		}
		before := client.MergeFrom(s.DeepCopy())
		s.Spec.Ports = change(s.Spec.Ports)
		return c.Client().Patch(ctx, s, before)
	}
	return func(ctx context.Context) error {
			return ports(ctx, func(all []corev1.ServicePort) []corev1.ServicePort {
				return slices.DeleteFunc(all, func(p corev1.ServicePort) bool { return p.Name == name })
			})
		}, ports(ctx, func(all []corev1.ServicePort) []corev1.ServicePort {
			return append(all, corev1.ServicePort{Name: name, Port: 15443, TargetPort: intstr.FromInt32(eastwest.HealthPort)})
		})
}

//go:embed leaker.yaml.tmpl
var leakerConfig string

// leaker runs an Envoy in cluster1 that tries to leave the fleet, past the gateway and in
// plaintext, to an address that belongs to nobody (RFC 5737).
func leaker(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return says(ctx, f, "198.51.100.1", 80, "/")
}

// talker runs an Envoy in cluster1 that tells the east-west gateway of cluster2 in plaintext what
// GW-16 calls.
func talker(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	found, err := eastwest.Find(ctx, c, c.EastWestClass())
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || len(found[0].Addresses) == 0 {
		return nil, fmt.Errorf("%s: it has no east-west gateway with an address: run `%s get gateways -A`", c.Name, c.Kubectl())
	}
	return says(ctx, f, found[0].Addresses[0], eastwest.Port, "/gw-16-path")
}

// says runs an Envoy in cluster1 that asks for a path in plaintext, once a second.
func says(ctx context.Context, f *mesh.Fleet, to string, port int, path string) (Undo, error) {
	c := f.Clusters[0]
	real, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	config, err := fill(leakerConfig, map[string]any{"Port": traffic.HTTP, "To": to, "ToPort": port, "Path": path})
	if err != nil {
		return nil, err
	}
	meta := metav1.ObjectMeta{Namespace: real.Namespace, Name: "leaker"}
	return envoy(ctx, f, c, meta, real, map[string]string{"envoy.yaml": config}, traffic.HTTP)
}

// cutter puts an Envoy in front of the fixture's echo server of cluster2 that ends every connection
// after two seconds, and leads the services of TRF specs to it.
func cutter(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	echo, err := workload.Pod(ctx, f.Clusters[1], fixture.MeshNamespace, fixture.Echo)
	if err != nil {
		return nil, err
	}
	return front{app: "cutter", Server: echo.Status.PodIP, Ports: []int32{traffic.HTTP, traffic.GRPC}, Longest: "2s",
		leads: func(s *corev1.Service) bool { return strings.HasPrefix(s.Labels[workload.LabelOwner], "trf-") },
	}.stand(ctx, f)
}

// beforePeers puts an Envoy in front of a spec's peers in cluster2, and leads the services to it that
// the other clusters call.
func beforePeers(spec string, x front) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		peers := spec + "-peer"
		x.app, x.Ports = "before-"+peers, []int32{traffic.TCP}
		x.Server = (&fixture.Fixture{Fleet: f}).Host(peers)
		x.leads = func(s *corev1.Service) bool { return s.Spec.Selector[workload.LabelApp] == peers && s.Name != peers }
		return x.stand(ctx, f)
	}
}

//go:embed front.yaml.tmpl
var frontConfig string

// front is an Envoy in cluster2 that stands before a server. Its exported fields are those of its
// configuration.
type front struct {
	app     string
	Server  string // name or address
	Ports   []int32
	Longest string                     // how long it hands a connection on; empty = for good
	Most    int                        // how many it carries at once; 0 = all
	leads   func(*corev1.Service) bool // which services it is put behind
}

func (x front) stand(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	config, err := fill(frontConfig, x)
	if err != nil {
		return nil, err
	}
	real, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	meta := metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: x.app, Labels: map[string]string{workload.LabelApp: x.app}}
	undo, err := envoy(ctx, f, c, meta, real, map[string]string{"envoy.yaml": config}, x.Ports[0])
	if err != nil {
		return nil, err
	}
	leading, err := interfereWithServices(1, func(s *corev1.Service) verdict {
		if s.Spec.Selector[workload.LabelApp] == x.app || !x.leads(s) {
			return leave
		}
		s.Spec.Selector[workload.LabelApp] = x.app
		return update
	})(ctx, f)
	if err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return all([]Undo{leading, undo}), nil
}

// falseServer runs a server in cluster1 that stands behind the services of one of the fixture's and
// answers in the name of cluster2.
func falseServer(namespace, app string) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		pod := echoPod(workload.Echo{Namespace: namespace, Name: app, Owner: "mutant", Image: f.Images["app"].Ref}, f.Clusters[1])
		pod.Name = "false-server"
		return ran(ctx, f.Clusters[0], pod)
	}
}

func fill(text string, values any) (string, error) {
	t, err := gotemplate.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, values)
	return b.String(), err
}

// absence is how long mutants keep pods away.
const absence = 20 * time.Second

// setReplicas sets the replicas of a Deployment, if it is still there.
func setReplicas(ctx context.Context, c *mesh.Cluster, d *appsv1.Deployment, n int32) error {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n))
	return client.IgnoreNotFound(c.Client().Patch(ctx, d.DeepCopy(), patch))
}

// takeAway takes the pods of a Deployment away at once, without a time to drain.
func takeAway(ctx context.Context, c *mesh.Cluster, d *appsv1.Deployment) error {
	return errors.Join(setReplicas(ctx, c, d, 0), c.Client().DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(d.Namespace),
		client.MatchingLabels(d.Spec.Selector.MatchLabels), client.GracePeriodSeconds(0)))
}

// keepAway takes the pods of a Deployment away at once, without a time to drain, and gives it its
// replicas back after the absence. Who waits for back waits for that.
func keepAway(ctx context.Context, c *mesh.Cluster, d *appsv1.Deployment, back *errgroup.Group) {
	d = d.DeepCopy()
	back.Go(func() error {
		after := context.WithoutCancel(ctx)
		err := takeAway(after, c, d)
		sleep.For(after, absence)
		return errors.Join(err, setReplicas(after, c, d, *d.Spec.Replicas))
	})
}

// slowWaypoint keeps the pods of a waypoint of cluster1 away once it has lost those it had.
// Meanwhile no waypoint of cluster2 can take over, since its Service is local.
func slowWaypoint(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	local, err := interfereWithServices(1, removeGlobalFromWaypoint)(ctx, f)
	if err != nil {
		return nil, err
	}
	served := map[string]bool{}
	var back errgroup.Group
	stop, err := interfere(ctx, c, &appsv1.DeploymentList{}, ofSpecs, func(d *appsv1.Deployment) verdict {
		if d.Labels[gateway.GatewayNameLabelKey] == "" || d.Status.ReadyReplicas > 0 || !served[d.Name] {
			served[d.Name] = served[d.Name] || d.Status.ReadyReplicas > 0
			return leave
		}
		served[d.Name] = false
		keepAway(ctx, c, d, &back)
		return leave
	})
	if err != nil {
		return nil, errors.Join(err, local(ctx))
	}
	return func(ctx context.Context) error {
		return errors.Join(back.Wait(), stop(ctx), local(ctx))
	}, nil
}

// loseAllReplicas keeps the pods of the gateway of cluster2 away once it has lost one of several.
func loseAllReplicas(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	d, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	several, lost := false, false
	var back errgroup.Group
	stop, err := interfere(ctx, c, &appsv1.DeploymentList{}, client.InNamespace(d.Namespace), func(o *appsv1.Deployment) verdict {
		if o.Name != d.Name || lost || *o.Spec.Replicas < 2 {
			return leave
		}
		several = several || o.Status.ReadyReplicas > 1
		if lost = several && o.Status.ReadyReplicas < *o.Spec.Replicas; lost {
			keepAway(ctx, c, o, &back)
		}
		return leave
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return errors.Join(back.Wait(), stop(ctx), workload.Scale(ctx, c, d.Namespace, d.Name, *d.Spec.Replicas))
	}, nil
}

// noIstiodAfterMove ends istiod of cluster1 once somebody asks for other addresses of the gateway of
// cluster2.
func noIstiodAfterMove(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	a, b := f.Clusters[0], f.Clusters[1]
	d, err := eastwest.Deployment(ctx, b)
	if err != nil {
		return nil, err
	}
	var had *gateway.GatewayInfrastructure
	var undo Undo
	var failed error
	seen := false
	stop, err := interfere(ctx, b, &gateway.GatewayList{}, client.InNamespace(d.Namespace), func(g *gateway.Gateway) verdict {
		switch now := g.Spec.Infrastructure; {
		case g.Name != d.Labels[gateway.GatewayNameLabelKey]:
		case !seen:
			had, seen = now, true
		case undo == nil && !equality.Semantic.DeepEqual(had, now):
			// It is asked for and not there yet: istiod must be gone before it could tell.
			o, after := &appsv1.Deployment{}, context.WithoutCancel(ctx)
			o.Namespace, o.Name = istiod.Namespace, istiod.Deployment(a.Revision)
			if failed = get(after, a, o); failed != nil {
				return leave
			}
			undo = func(ctx context.Context) error { return workload.Scale(ctx, a, o.Namespace, o.Name, *o.Spec.Replicas) }
			failed = takeAway(after, a, o)
		}
		return leave
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := errors.Join(stop(ctx), failed); err != nil || undo == nil {
			return err
		}
		return undo(ctx)
	}, nil
}

// noSecondGateway scales the gateways beside the one that cluster2 has to 0 once that one has no
// network. They go with the spec that added them.
func noSecondGateway(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	own, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	var failed []error
	stop, err := interfere(ctx, c, &gateway.GatewayList{}, client.InNamespace(own.Namespace), func(g *gateway.Gateway) verdict {
		if g.Name != own.Labels[gateway.GatewayNameLabelKey] || g.Labels[label.TopologyNetwork.Name] != "" {
			return leave
		}
		all, err := eastwest.Deployments(ctx, c)
		failed = append(failed, err)
		for _, d := range all {
			if d.Name != own.Name {
				failed = append(failed, setReplicas(context.WithoutCancel(ctx), c, &d, 0))
			}
		}
		return leave
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(append(failed, stop(ctx))...) }, nil
}

// noGatewayOnceGlobal keeps the pods of the gateway of cluster2 away once a service there becomes
// global.
func noGatewayOnceGlobal(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	d, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	away := false
	var back errgroup.Group
	stop, err := interfere(ctx, c, &corev1.ServiceList{}, ofSpecs, onceGlobal(func(*corev1.Service) verdict {
		if !away {
			keepAway(ctx, c, d, &back)
		}
		away = true
		return leave
	}))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return errors.Join(back.Wait(), stop(ctx), workload.Scale(ctx, c, d.Namespace, d.Name, *d.Spec.Replicas))
	}, nil
}

// strangeEndpoint puts a pod of the echo application behind the gateway of cluster2, which speaks
// plain TCP on its port.
func strangeEndpoint(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	d, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name}}
	if err := get(ctx, c, service); err != nil {
		return nil, err
	}
	pod := echoPod(workload.Echo{Namespace: d.Namespace, Name: "strange", Owner: "mutant", Image: f.Images["app"].Ref}, c)
	pod.Labels, pod.Spec.ServiceAccountName = service.Spec.Selector, ""
	app := &pod.Spec.Containers[0]
	app.Args = append(app.Args, "--tcp", strconv.Itoa(eastwest.Port))
	return ran(ctx, c, pod)
}

// echoPod is a pod of the echo application, which answers with the name of that cluster.
func echoPod(e workload.Echo, names *mesh.Cluster) *corev1.Pod {
	pod := &corev1.Pod{}
	for _, o := range e.Objects(names) {
		if d, ok := o.(*appsv1.Deployment); ok {
			pod.ObjectMeta, pod.Spec = d.Spec.Template.ObjectMeta, d.Spec.Template.Spec
		}
	}
	pod.Namespace, pod.Name = e.Namespace, e.Name
	return pod
}

// ran makes a pod in a cluster, after what it needs, and waits until it is ready.
func ran(ctx context.Context, c *mesh.Cluster, pod *corev1.Pod, needs ...client.Object) (Undo, error) {
	undo, err := created(ctx, c, append(needs, pod)...)
	if err != nil {
		return nil, err
	}
	if err := wait.Pod(ctx, c, pod.Namespace, pod.Name); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

// withoutZtunnel keeps the nodes of cluster1 without a ztunnel for the absence, once it has
// restarted.
func withoutZtunnel(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	const nowhere = "amc-mutant" // a label that no node has
	c, begun, gone := f.Clusters[0], time.Now(), false
	var back errgroup.Group
	stop, err := interfere(ctx, c, &appsv1.DaemonSetList{}, client.InNamespace(ztunnel.Namespace), func(d *appsv1.DaemonSet) verdict {
		at, err := time.Parse(time.RFC3339Nano, d.Spec.Template.Annotations[workload.RestartedAt])
		if err != nil || at.Before(begun) || gone || d.Name != "ztunnel" {
			return leave
		}
		gone = true
		if d.Spec.Template.Spec.NodeSelector == nil {
			d.Spec.Template.Spec.NodeSelector = map[string]string{}
		}
		d.Spec.Template.Spec.NodeSelector[nowhere] = "true"
		o, again := d.DeepCopy(), client.RawPatch(types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"template":{"spec":{"nodeSelector":{%q:null}}}}}`, nowhere))
		back.Go(func() error {
			after := context.WithoutCancel(ctx)
			sleep.For(after, absence)
			if err := c.Client().Patch(after, o, again); err != nil {
				return err
			}
			return wait.DaemonSet(after, c, o.Namespace, o.Name, o.Generation)
		})
		return update
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(back.Wait(), stop(ctx)) }, nil
}
