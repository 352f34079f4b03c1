// Package failover proves locality failover with waypoints, as the failover page describes it.
package failover

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	istio "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	. "ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
)

// FO-01
var WaypointPrefersLocalCluster = spec.Proves(behaviors.WaypointPrefersLocalCluster, func(t *spec.T) {
	echo := t.Service("echo", spec.Global, spec.BehindWaypoint)
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...), ViaWaypointOf(c)) })

	t.ApplyEverywhere(preferCluster(t, echo))

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c), ViaWaypointOf(c)) })

	t.DeleteEverywhere(preferCluster(t, echo))
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
})

// FO-02
var WaypointFailsOverToRemoteCluster = spec.Proves(behaviors.WaypointFailsOverToRemoteCluster, func(t *spec.T) {
	local, remotes := t.Clusters.Split()
	echo := t.DeployEcho("echo", spec.Global, spec.BehindWaypoint)
	t.ApplyEverywhere(preferCluster(t, echo))
	t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(c), ViaWaypointOf(c)) })

	t.Scale(local, echo, 0)

	t.Expect(local.Client.HTTP(echo), AnsweredBy(remotes...), ViaWaypointOf(local))
	t.Each(remotes, func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c), ViaWaypointOf(c)) })
})

// FO-03
var WaypointFailsBackToLocalCluster = spec.Proves(behaviors.WaypointFailsBackToLocalCluster, func(t *spec.T) {
	local, remotes := t.Clusters.Split()
	echo := t.DeployEcho("echo", spec.Global, spec.BehindWaypoint)
	t.ApplyEverywhere(preferCluster(t, echo))
	t.Scale(local, echo, 0)
	t.Control(local.Client.HTTP(echo), AnsweredBy(remotes...), ViaWaypointOf(local))

	t.Scale(local, echo, 1)

	t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(c), ViaWaypointOf(c)) })
})

// preferCluster is the DestinationRule of the failover page.
func preferCluster(t *spec.T, echo *spec.Service) spec.Object {
	return func(*spec.Cluster) client.Object {
		return &istio.DestinationRule{
			ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: t.Name("prefer-cluster")},
			Spec: networking.DestinationRule{Host: echo.Host(), TrafficPolicy: &networking.TrafficPolicy{
				OutlierDetection: &networking.OutlierDetection{
					Consecutive_5XxErrors: wrapperspb.UInt32(1),
					Interval:              durationpb.New(time.Second),
					BaseEjectionTime:      durationpb.New(time.Minute),
				},
				LoadBalancer: &networking.LoadBalancerSettings{
					LbPolicy:          &networking.LoadBalancerSettings_Simple{Simple: networking.LoadBalancerSettings_ROUND_ROBIN},
					LocalityLbSetting: &networking.LocalityLoadBalancerSetting{FailoverPriority: []string{label.TopologyCluster.Name}},
				},
			}},
		}
	}
}
