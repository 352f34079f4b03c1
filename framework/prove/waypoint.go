package prove

import (
	"context"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
)

// StandingWaypoint is the waypoint that stands in every cluster for specs that do not change it. Its Service is global.
const StandingWaypoint = "waypoint"

// Waypoint is the Gateway that `istioctl waypoint apply --for service` makes.
func Waypoint(namespace, name, owner string) *gateway.Gateway {
	return &gateway.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"istio.io/waypoint-for": "service", workload.LabelOwner: owner}},
		Spec:       gateway.GatewaySpec{GatewayClassName: "istio-waypoint", Listeners: []gateway.Listener{{Name: "mesh", Port: 15008, Protocol: "HBONE"}}},
	}
}

// raise applies a waypoint in every cluster, marks its Service global if asked, and waits until it serves.
func raise(ctx context.Context, sites []*Site, name, owner string, global bool) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, at := range sites {
		g.Go(func() error {
			if err := apply.Objects(ctx, at.Cluster, Waypoint(MeshNamespace, name, owner)); err != nil {
				return err
			}
			if _, err := wait.Gateway(ctx, at.Cluster, MeshNamespace, name); err != nil {
				return err
			}
			if global {
				if err := label(ctx, at, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: MeshNamespace, Name: name}}, workload.LabelGlobal, "true"); err != nil {
					return err
				}
			}
			return wait.Deployment(ctx, at.Cluster, MeshNamespace, name, 0)
		})
	}
	return g.Wait()
}

// StandingWaypoints makes sure that the standing waypoint is up in every cluster; the first spec that asks pays for it.
func (s *Spec) StandingWaypoints() string {
	s.World.waypoints.Lock()
	defer s.World.waypoints.Unlock()
	if !s.World.waypointsUp {
		s.Must(raise(s.Ctx, s.Sites, StandingWaypoint, "standing", true))
		s.World.waypointsUp = true
	}
	s.Changed()
	return StandingWaypoint
}

// OwnWaypoint raises a waypoint of the spec's own in every cluster.
func (s *Spec) OwnWaypoint(global bool) string {
	name := s.Name("waypoint")
	for _, at := range s.Sites {
		s.Cleanup(func(ctx context.Context) error { return deleted(ctx, at, Waypoint(MeshNamespace, name, "")) })
	}
	s.Must(raise(s.Ctx, s.Sites, name, strings.ToLower(s.Behavior.ID), global))
	s.Changed()
	return name
}

// ScaleWaypoint sets the replicas of a waypoint of the spec's own in one cluster and waits for it.
// Istiod owns the Deployment but not its replicas, so they stay as set.
func (s *Spec) ScaleWaypoint(at *Site, name string, replicas int32) {
	s.Must(workload.Scale(s.Ctx, at.Cluster, MeshNamespace, name, replicas))
	s.Changed()
}

// WaypointService is the Service object of a waypoint.
func WaypointService(name string) client.Object {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: MeshNamespace, Name: name}}
}

// WaypointDeployment is the Deployment of a waypoint.
func WaypointDeployment(name string) client.Object {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: MeshNamespace, Name: name}}
}

// Fingerprint adds an HTTPRoute for the service in the given clusters that adds the cluster's name to every answer: who crossed a waypoint, where, and how often.
func (v *Service) Fingerprint(sites []*Site) {
	kind, group, port := gateway.Kind("Service"), gateway.Group(""), gateway.PortNumber(80)
	v.spec.Apply(sites, func(at *Site) client.Object {
		return &gateway.HTTPRoute{
			ObjectMeta: metav1.ObjectMeta{Namespace: v.Namespace, Name: v.Name},
			Spec: gateway.HTTPRouteSpec{
				CommonRouteSpec: gateway.CommonRouteSpec{ParentRefs: []gateway.ParentReference{{Group: &group, Kind: &kind, Name: gateway.ObjectName(v.Name), Port: &port}}},
				Rules: []gateway.HTTPRouteRule{{
					Filters: []gateway.HTTPRouteFilter{{Type: gateway.HTTPRouteFilterResponseHeaderModifier,
						ResponseHeaderModifier: &gateway.HTTPHeaderFilter{Add: []gateway.HTTPHeader{{Name: gateway.HTTPHeaderName(traffic.WaypointHeader), Value: at.Name}}}}},
					BackendRefs: []gateway.HTTPBackendRef{{BackendRef: gateway.BackendRef{BackendObjectReference: gateway.BackendObjectReference{Group: &group, Kind: &kind, Name: gateway.ObjectName(v.Name), Port: &port}}}},
				}},
			},
		}
	})
}
