package spec

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"istio.io/api/label"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/undo"
	"ambient.test/conformance/framework/workload"
)

// Object makes an object for one cluster.
type Object func(c *Cluster) client.Object

// Apply writes an object of the spec's own to the clusters and deletes it after the spec.
func (t *T) Apply(clusters Clusters, object Object) {
	t.change(func() {
		for _, c := range clusters {
			o := object(c)
			labels := o.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels[workload.LabelOwner] = t.owner()
			o.SetLabels(labels)
			if !own(o.GetNamespace()) {
				t.keep(c, o)
			} else {
				t.Cleanup(func(ctx context.Context) error { return deleted(ctx, c, o) })
			}
			t.NoError(apply.Objects(t.ctx, c.Cluster, o))
		}
	})
}

// ApplyEverywhere is [T.Apply] to all clusters.
func (t *T) ApplyEverywhere(object Object) { t.Apply(t.Clusters, object) }

// Delete removes an object from the clusters before the spec ends.
func (t *T) Delete(clusters Clusters, object Object) {
	t.change(func() {
		for _, c := range clusters {
			t.NoError(deleted(t.ctx, c, object(c)))
		}
	})
}

// DeleteEverywhere is [T.Delete] from all clusters.
func (t *T) DeleteEverywhere(object Object) { t.Delete(t.Clusters, object) }

func deleted(ctx context.Context, c *Cluster, o client.Object) error {
	if err := c.Cluster.Client().Delete(ctx, o); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: delete %s: %w", c.Name, client.ObjectKeyFromObject(o), err)
	}
	return nil
}

// SetLabel sets a label of an object in the clusters; an empty value removes it.
func (t *T) SetLabel(clusters Clusters, o client.Object, key, value string) {
	t.change(func() {
		for _, c := range clusters {
			t.NoError(apply.Label(t.ctx, c.Cluster, o, key, value))
		}
	})
}

// SetLabelTemporarily is [T.SetLabel] in one cluster; after the spec the label has its old value.
func (t *T) SetLabelTemporarily(c *Cluster, o client.Object, key, value string) {
	t.keep(c, o, undo.Field{"metadata", "labels", key})
	t.SetLabel(Clusters{c}, o, key, value)
}

// LabelNamespaceTemporarily is [T.SetLabelTemporarily] of a namespace in every cluster.
func (t *T) LabelNamespaceTemporarily(namespace, key, value string) {
	for _, c := range t.Clusters {
		t.SetLabelTemporarily(c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, key, value)
	}
}

// Service is a Service of the spec's own: an object of the same name in every cluster.
type Service struct {
	Namespace, Name string
	// App is the app label that it selects.
	App string

	t      *T
	scope  *string  // value of the global label as it is made; nil = none
	in     Clusters // clusters with pods; nil = all
	udp    int
	named  int
	https  bool
	labels map[string]map[string]string // by key and cluster, see answers.go
}

// ServiceOption changes a Service, or what it selects.
type ServiceOption func(*serviceOptions)

type serviceOptions struct {
	global, waypoint bool
	in               Clusters // clusters with pods; nil = all
	namespace, app   string
	scope            *string // value of the global label; nil = none
	udp, named       int
	pods             map[*Cluster]int32 // how many; else as many as the fleet's replicas
	gated            bool
	erring           Clusters // whose pods answer with errors
	spread           bool     // pods are on different nodes
	peer             bool     // the pods run the suite's own client and server
	tls              *workload.Certificate
}

// Global makes the Service global in every cluster from the start.
func Global(o *serviceOptions) { o.global = true }

// Scope gives the global label this value in every cluster from the start. It may be empty, or
// nonsense.
func Scope(value string) ServiceOption {
	return func(o *serviceOptions) { o.scope = &value }
}

// BehindWaypoint puts the Service behind the fixture's waypoint, with a trace of the waypoints that
// an answer came through.
func BehindWaypoint(o *serviceOptions) { o.waypoint = true }

// OnlyIn gives the Service pods in these clusters only. It is in every cluster all the same.
func OnlyIn(clusters ...*Cluster) ServiceOption {
	return func(o *serviceOptions) { o.in = clusters }
}

// InSecondNamespace puts the Service, and its pods, into the fixture's second namespace of the
// mesh.
func InSecondNamespace(o *serviceOptions) { o.namespace = fixture.MeshNamespaceB }

// OutsideMesh puts the Service in front of the fixture's pods outside the mesh.
func OutsideMesh(o *serviceOptions) { o.namespace, o.app = fixture.PlainNamespace, fixture.Plain }

// InFrontOf puts the Service in front of another workload of the fixture: each of its clients is a
// server, too.
func InFrontOf(app string) ServiceOption {
	return func(o *serviceOptions) { o.app = app }
}

// WithUDP adds a UDP port, [fixture.UDPPort], that leads to the port of the pods on which they speak HTTP
// over TCP.
func WithUDP(o *serviceOptions) { o.udp = fixture.UDPPort }

// WithNamedPort adds a port that leads to the port of the pods on which they speak HTTP, by the name
// of that. A number that [fixture.EveryPort] does not have cuts connections of the specs beside.
func WithNamedPort(port int) ServiceOption {
	return func(o *serviceOptions) { o.named = port }
}

// Pods gives the Service this many pods in these clusters. In others it has as many as the fleet
// has of everything.
func Pods(n int32, in ...*Cluster) ServiceOption {
	return func(o *serviceOptions) {
		if o.pods == nil {
			o.pods = map[*Cluster]int32{}
		}
		for _, c := range in {
			o.pods[c] = n
		}
	}
}

// WithReadinessGates lets [T.SetReady] decide over the readiness of the Service's pods.
func WithReadinessGates(o *serviceOptions) { o.gated = true }

// OnSeveralNodes puts the Service's pods on different nodes.
func OnSeveralNodes(o *serviceOptions) { o.spread = true }

// ErringIn lets the Service's pods in these clusters answer every HTTP request with status 503.
func ErringIn(clusters ...*Cluster) ServiceOption {
	return func(o *serviceOptions) { o.erring = clusters }
}

// WithTLS lets the Service's pods serve HTTPS, too, with this certificate.
func WithTLS(x *workload.Certificate) ServiceOption {
	return func(o *serviceOptions) { o.tls = x }
}

func resolve(options []ServiceOption) (o serviceOptions) {
	o.namespace, o.app = fixture.MeshNamespace, fixture.Echo
	for _, f := range options {
		f(&o)
	}
	return o
}

// Service creates a Service that selects the fixture's echo in every cluster; its scope is local
// unless an option says otherwise.
func (t *T) Service(word string, options ...ServiceOption) *Service {
	o := resolve(options)
	return t.service(word, o.app, o)
}

// ServiceFor creates a Service that selects the pods of another one.
func (t *T) ServiceFor(word string, of *Service, options ...ServiceOption) *Service {
	return t.service(word, of.App, resolve(options))
}

func (t *T) service(word, app string, o serviceOptions) *Service {
	s := &Service{Namespace: o.namespace, Name: t.Name(word), App: app, t: t, scope: o.scope, in: o.in, udp: o.udp, named: o.named,
		https: o.tls != nil}
	s.noteLabel(t.Clusters, workload.LabelGlobal, "")
	t.ApplyEverywhere(s.Object)
	if o.waypoint {
		s.PutBehind(t.SharedWaypoint())
	}
	if o.global {
		s.SetGlobal(t.Clusters...)
	}
	return s
}

// DeployEcho deploys an echo server of the spec's own with its Service, and waits for its pods.
func (t *T) DeployEcho(word string, options ...ServiceOption) *Service {
	o := resolve(options)
	if o.in == nil {
		o.in = t.Clusters
	}
	e := workload.Echo{Namespace: o.namespace, Name: t.Name(word), Owner: t.owner(), Image: t.AppImage(), Gated: o.gated, TLS: o.tls,
		Spread: o.spread}
	if o.peer {
		e.Peer = t.PeerImage()
	}
	for _, c := range o.in {
		for _, object := range e.Objects(c.Cluster) {
			t.Cleanup(func(ctx context.Context) error { return deleted(ctx, c, object) })
		}
	}
	t.Each(o.in, func(c *Cluster) {
		e := e
		e.Replicas = cmp.Or(o.pods[c], t.Fleet.Replicas, 1)
		if slices.Contains(o.erring, c) {
			gateway, err := eastwest.Pod(t.ctx, c.Cluster)
			t.NoError(err)
			proxy := workload.EnvoyOf(t.Fleet, gateway.Spec)
			e.Errors = &proxy
		}
		t.NoError(e.Deploy(t.ctx, c.Cluster))
	})
	o.in = nil // where the Service has no pods, none exist
	return t.service(word, e.Name, o)
}

// DeployClient deploys a client of the spec's own in one cluster, waits for its pod and opens the
// stream to it.
func (t *T) DeployClient(c *Cluster, word string) *traffic.Client {
	return t.DeployClientIn(fixture.MeshNamespace, c, word)
}

// DeployClientIn is [T.DeployClient] in another namespace of the specs.
func (t *T) DeployClientIn(namespace string, c *Cluster, word string) (made *traffic.Client) {
	t.change(func() { made = t.deployClient(c, namespace, word) })
	return made
}

// tunnelClient is a client of the spec's own outside the mesh, one in each cluster, that opens
// tunnels.
//
// The application keeps the connections of every double tunnel, and once a gateway resets one of
// them it spins until it ends: its HTTP/2 client takes the end of the outer stream for that of an
// inner one, and reads on. So it ends with the spec; in the fixture's client it took a core from
// all specs after it. A pod outside the mesh changes nothing that anybody waits for.
func (t *T) tunnelClient(c *Cluster) *traffic.Client {
	t.mu.Lock()
	deploy := t.tunnelClients[c.Name]
	if deploy == nil {
		deploy = sync.OnceValue(func() *traffic.Client { return t.deployClient(c, fixture.PlainNamespace, "tunnels") })
		if t.tunnelClients == nil {
			t.tunnelClients = map[string]func() *traffic.Client{}
		}
		t.tunnelClients[c.Name] = deploy
	}
	t.mu.Unlock()
	return deploy()
}

func (t *T) deployClient(c *Cluster, namespace, word string) *traffic.Client {
	e := workload.Echo{Namespace: namespace, Name: t.Name(word), Owner: t.owner(), Image: t.AppImage(), Replicas: 1}
	for _, object := range e.Objects(c.Cluster) {
		t.Cleanup(func(ctx context.Context) error { return deleted(ctx, c, object) })
	}
	t.NoError(e.Deploy(t.ctx, c.Cluster))
	pod, err := workload.Pod(t.ctx, c.Cluster, e.Namespace, e.Name)
	t.NoError(err)
	made, err := traffic.Dial(portforward.Open(c.Cluster, e.Namespace, pod.Name), e.Name)
	t.NoError(err)
	t.Cleanup(func(context.Context) error { made.Close(); return nil })
	return made
}

// Object is the Service as it is made, for one cluster.
func (s *Service) Object(c *Cluster) client.Object {
	app := s.App
	if s.in != nil && !slices.Contains(s.in, c) {
		app += "-elsewhere"
	}
	o := workload.Service(s.Namespace, s.Name, app, s.t.owner())
	if s.scope != nil {
		o.Labels[workload.LabelGlobal] = *s.scope
	}
	if s.udp != 0 {
		o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{Name: "udp", Protocol: corev1.ProtocolUDP, Port: int32(s.udp),
			TargetPort: intstr.FromInt32(traffic.HTTP)})
	}
	if s.named != 0 {
		protocol := "http"
		o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{Name: "by-name", AppProtocol: &protocol, Port: int32(s.named),
			TargetPort: intstr.FromString(workload.PortName)})
	}
	if s.https {
		protocol := "https"
		o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{Name: protocol, AppProtocol: &protocol, Port: 443,
			TargetPort: intstr.FromInt32(traffic.HTTPS)})
	}
	return o
}

// Certificate makes one that an application may show under the name of any Service of the specs.
func (t *T) Certificate() *workload.Certificate {
	var names []string
	for _, namespace := range fixture.Namespaces {
		names = append(names, t.HostIn(namespace, "*"))
	}
	x, err := workload.SelfSigned(names...)
	t.NoError(err)
	return x
}

// Host is the Service's full name.
func (s *Service) Host() string { return s.t.HostIn(s.Namespace, s.Name) }

// SetLabel sets a label of the Service in the clusters; an empty value removes it.
func (s *Service) SetLabel(clusters Clusters, key, value string) {
	s.noteLabel(clusters, key, value)
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	s.t.SetLabel(clusters, o, key, value)
}

// SetGlobal makes the Service global in the clusters.
func (s *Service) SetGlobal(clusters ...*Cluster) { s.SetLabel(clusters, workload.LabelGlobal, "true") }

// SetLocal removes the global label in the clusters.
func (s *Service) SetLocal(clusters ...*Cluster) { s.SetLabel(clusters, workload.LabelGlobal, "") }

// SetScope makes the Service global or local in the clusters.
func (s *Service) SetScope(global bool, clusters ...*Cluster) {
	if global {
		s.SetGlobal(clusters...)
	} else {
		s.SetLocal(clusters...)
	}
}

// SelectIn lets the Service of one cluster select the pods of another one.
func (s *Service) SelectIn(c *Cluster, of *Service) {
	s.t.change(func() {
		o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"selector":{%q:%q}}}`, workload.LabelApp, of.App))
		if err := c.Cluster.Client().Patch(s.t.ctx, o, patch); err != nil {
			s.t.NoError(fmt.Errorf("%s: the selector of %s: %w", c, s.Name, err))
		}
	})
}

// RetargetIn leads a port of the Service to another port of its pods in one cluster.
func (s *Service) RetargetIn(c *Cluster, port, target int32) {
	s.changePort(c, port, func(p *corev1.ServicePort) { p.TargetPort = intstr.FromInt32(target) })
}

// RenumberIn gives a port of the Service another number in one cluster.
func (s *Service) RenumberIn(c *Cluster, port, number int32) {
	s.changePort(c, port, func(p *corev1.ServicePort) { p.Port = number })
}

func (s *Service) changePort(c *Cluster, port int32, change func(*corev1.ServicePort)) {
	s.t.change(func() {
		var o corev1.Service
		s.t.NoError(c.Cluster.Client().Get(s.t.ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, &o))
		i := slices.IndexFunc(o.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
		if i < 0 {
			panic(fmt.Sprintf("authoring mistake: %s has no port %d", s.Name, port))
		}
		change(&o.Spec.Ports[i])
		if err := c.Cluster.Client().Update(s.t.ctx, &o); err != nil {
			s.t.NoError(fmt.Errorf("%s: ports of %s: %w", c, s.Name, err))
		}
	})
}

// UseWaypoint puts the Service behind a waypoint of its namespace in every cluster; without a name
// it takes it from behind one.
func (s *Service) UseWaypoint(name string) { s.UseWaypointIn(s.t.Clusters, name) }

// UseWaypointIn is [Service.UseWaypoint] in some clusters.
func (s *Service) UseWaypointIn(clusters Clusters, name string) {
	s.SetLabel(clusters, label.IoIstioUseWaypoint.Name, name)
}

// UseWaypointOfSecondNamespace puts the Service behind a waypoint of the fixture's second namespace
// in every cluster.
func (s *Service) UseWaypointOfSecondNamespace(name string) {
	s.SetLabel(s.t.Clusters, label.IoIstioUseWaypointNamespace.Name, fixture.MeshNamespaceB)
	s.UseWaypoint(name)
}

// WaypointBound reports whether the Service's status in a cluster says that a waypoint serves it
// there.
func (s *Service) WaypointBound(c *Cluster) bool {
	var got corev1.Service
	s.t.NoError(c.Cluster.Client().Get(s.t.ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, &got))
	return meta.IsStatusConditionTrue(got.Status.Conditions, "istio.io/WaypointBound")
}

// Scale sets how many pods the Service has in one cluster, and waits until they are ready or gone.
// The Service must come from DeployEcho.
func (t *T) Scale(c *Cluster, s *Service, replicas int32) {
	t.change(func() { t.NoError(workload.Scale(t.ctx, c.Cluster, s.Namespace, s.App, replicas)) })
}
