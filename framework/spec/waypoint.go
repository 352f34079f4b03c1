package spec

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"istio.io/api/label"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/envoy"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
)

// SharedWaypoint makes sure that the fixture's waypoint serves in every cluster and returns its
// name. Its Service is global. No spec may change it.
func (t *T) SharedWaypoint() (name string) {
	t.change(func() {
		var err error
		name, err = t.Fixture.SharedWaypoint(t.ctx)
		t.NoError(err)
	})
	return name
}

// DeployWaypoint creates a waypoint of the spec's own in every cluster and makes its Service
// global.
func (t *T) DeployWaypoint() string {
	return t.deployWaypoint(t.Clusters, "waypoint", fixture.WaypointGateway)
}

// DeployWaypointOnlyIn is [T.DeployWaypoint] in one cluster, under a name that the others do not
// have.
func (t *T) DeployWaypointOnlyIn(c *Cluster) string {
	return t.deployWaypoint(Clusters{c}, "waypoint-of-"+c.Name, fixture.WaypointGateway)
}

// DeployWaypointInSecondNamespace is [T.DeployWaypoint] in the fixture's second namespace. It
// admits the services of all namespaces.
func (t *T) DeployWaypointInSecondNamespace() string {
	return t.deployWaypoint(t.Clusters, "waypoint", inSecondNamespace(gateway.NamespacesFromAll))
}

// AdmitToWaypoint says from which namespaces services may use the waypoint of the second namespace,
// in one cluster.
func (t *T) AdmitToWaypoint(c *Cluster, name string, from gateway.FromNamespaces) {
	t.change(func() { t.NoError(apply.Objects(t.ctx, c.Cluster, inSecondNamespace(from)(c, name, t.owner()))) })
}

func inSecondNamespace(from gateway.FromNamespaces) makeWaypoint {
	return func(c *Cluster, name, owner string) *gateway.Gateway {
		g := fixture.WaypointGateway(c, name, owner)
		g.Namespace = fixture.MeshNamespaceB
		g.Spec.Listeners[0].AllowedRoutes = &gateway.AllowedRoutes{Namespaces: &gateway.RouteNamespaces{From: &from}}
		return g
	}
}

type makeWaypoint func(c *Cluster, name, owner string) *gateway.Gateway

func (t *T) deployWaypoint(in Clusters, word string, make makeWaypoint) string {
	name := t.Name(word)
	for _, c := range in {
		t.Cleanup(func(ctx context.Context) error { return deleted(ctx, c, make(c, name, "")) })
	}
	t.change(func() {
		t.Each(in, func(c *Cluster) {
			g := make(c, name, t.owner())
			// A spec that runs again must not take its first waypoint's Service for that of the new one.
			t.NoError(wait.Gone(t.ctx, c.Cluster, &corev1.ServiceList{}, client.InNamespace(g.Namespace),
				client.MatchingLabels{gateway.GatewayNameLabelKey: name}))
			t.NoError(fixture.CreateWaypoint(t.ctx, c, g))
		})
	})
	return name
}

// UseWaypointTemporarily puts the namespace of the specs behind a waypoint in every cluster until
// the spec ends, and so the services of all specs.
func (t *T) UseWaypointTemporarily(name string) {
	t.LabelNamespaceTemporarily(fixture.MeshNamespace, label.IoIstioUseWaypoint.Name, name)
}

// SetWaypointLocal removes the global label of a waypoint's Service in every cluster.
func (t *T) SetWaypointLocal(name string) {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: name}}
	t.SetLabel(t.Clusters, o, workload.LabelGlobal, "")
}

// LabelWaypointGateway sets a label of a waypoint's Gateway in every cluster; an empty value
// removes it.
func (t *T) LabelWaypointGateway(name, key, value string) {
	t.SetLabel(t.Clusters, &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: name}}, key, value)
}

// ScaleWaypoint sets the replicas of a waypoint of the spec's own in one cluster and waits. istiod
// owns the Deployment but not its replicas, so they stay as set.
func (t *T) ScaleWaypoint(c *Cluster, name string, replicas int32) {
	t.change(func() { t.NoError(workload.Scale(t.ctx, c.Cluster, fixture.MeshNamespace, name, replicas)) })
}

// Crossings counts from now on the tunnels that a waypoint of the spec's own in one cluster opens
// to other networks: to hosts that are none of its cluster's pods in the specs' namespace.
func (t *T) Crossings(c *Cluster, waypoint string) Crossings {
	t.Still()
	x := Crossings{cluster: c, waypoint: waypoint}
	var err error
	x.before, err = x.read(t.ctx)
	t.NoError(err)
	return x
}

// Crossings are tunnels of one waypoint. They are a [Subject] whose value is an int.
type Crossings struct {
	cluster  *Cluster
	waypoint string
	before   int
}

// String says what is counted, and where.
func (x Crossings) String() string {
	return fmt.Sprintf("tunnels that waypoint %s of %s has opened to other networks", x.waypoint, x.cluster)
}

// Look reads the counters of the waypoint's pods.
func (x Crossings) Look(ctx context.Context, _ int) (any, error) {
	now, err := x.read(ctx)
	return now - x.before, err
}

func (x Crossings) read(ctx context.Context) (n int, err error) {
	sent, err := envoy.Sent(ctx, x.cluster.Cluster, fixture.MeshNamespace, gateway.GatewayNameLabelKey+"="+x.waypoint)
	if err != nil {
		return 0, err
	}
	var pods corev1.PodList
	if err := x.cluster.Cluster.Client().List(ctx, &pods, client.InNamespace(fixture.MeshNamespace)); err != nil {
		return 0, err
	}
	own := map[string]bool{}
	for _, p := range pods.Items {
		for _, ip := range p.Status.PodIPs {
			own[ip.IP] = true
		}
	}
	for host, requests := range sent {
		ip, port, err := net.SplitHostPort(host)
		if err != nil {
			return 0, err
		}
		if port == strconv.Itoa(eastwest.Port) && !own[ip] {
			n += requests
		}
	}
	return n, nil
}

// PutBehind puts the Service behind a waypoint of its namespace in every cluster, with a trace of
// the waypoints that an answer came through.
func (s *Service) PutBehind(waypoint string) {
	s.UseWaypoint(waypoint)
	s.TraceWaypoints()
}

// TraceWaypoints makes visible which waypoints an answer came through: an HTTPRoute in every
// cluster adds the cluster's name to each answer, see [traffic.WaypointHeader].
func (s *Service) TraceWaypoints() { s.t.ApplyEverywhere(s.TraceRoute()) }

// TraceRoute is the HTTPRoute of [Service.TraceWaypoints].
func (s *Service) TraceRoute() Object { return s.Route(func(*gateway.HTTPRouteRule) {}) }

// Route is [Service.TraceRoute] with its rule changed.
func (s *Service) Route(change func(rule *gateway.HTTPRouteRule)) Object {
	kind, group, port := gateway.Kind("Service"), gateway.Group(""), gateway.PortNumber(80)
	self := gateway.BackendObjectReference{Group: &group, Kind: &kind, Name: gateway.ObjectName(s.Name), Port: &port}
	return func(c *Cluster) client.Object {
		mark := gateway.HTTPHeader{Name: gateway.HTTPHeaderName(traffic.WaypointHeader), Value: c.Name}
		r := &gateway.HTTPRoute{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name},
			Spec: gateway.HTTPRouteSpec{
				CommonRouteSpec: gateway.CommonRouteSpec{ParentRefs: []gateway.ParentReference{
					{Group: &group, Kind: &kind, Name: gateway.ObjectName(s.Name), Port: &port},
				}},
				Rules: []gateway.HTTPRouteRule{{
					Filters: []gateway.HTTPRouteFilter{{
						Type:                   gateway.HTTPRouteFilterResponseHeaderModifier,
						ResponseHeaderModifier: &gateway.HTTPHeaderFilter{Add: []gateway.HTTPHeader{mark}},
					}},
					BackendRefs: []gateway.HTTPBackendRef{{BackendRef: gateway.BackendRef{BackendObjectReference: self}}},
				}},
			},
		}
		change(&r.Spec.Rules[0])
		return r
	}
}

// Timeout gives the requests of a rule a time.
func Timeout(d gateway.Duration) func(*gateway.HTTPRouteRule) {
	return func(r *gateway.HTTPRouteRule) { r.Timeouts = &gateway.HTTPRouteTimeouts{Request: &d} }
}

// Mirror sends the requests of a rule to another Service, too.
func Mirror(to *Service) func(*gateway.HTTPRouteRule) {
	port := gateway.PortNumber(80)
	return func(r *gateway.HTTPRouteRule) {
		r.Filters = append(r.Filters, gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterRequestMirror,
			RequestMirror: &gateway.HTTPRequestMirrorFilter{
				BackendRef: gateway.BackendObjectReference{Name: gateway.ObjectName(to.Name), Port: &port}}})
	}
}

// Redirect answers the requests of a rule with a status that sends the client to another path.
func Redirect(status int, path string) func(*gateway.HTTPRouteRule) {
	return func(r *gateway.HTTPRouteRule) {
		r.BackendRefs = nil
		r.Filters = append(r.Filters, gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterRequestRedirect,
			RequestRedirect: &gateway.HTTPRequestRedirectFilter{StatusCode: &status,
				Path: &gateway.HTTPPathModifier{Type: gateway.FullPathHTTPPathModifier, ReplaceFullPath: &path}}})
	}
}
