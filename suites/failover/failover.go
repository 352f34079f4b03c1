// Package failover proves locality failover with waypoints, as the failover page describes it.
package failover

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1"
	istio "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
)

func init() {
	prove.Proves(behaviors.WaypointPrefersLocalCluster, func(s *prove.Spec) {
		echo := s.Service("echo")
		behind(s, echo)
		s.Each(func(from *prove.Site) {
			s.Twin(echo.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce(from.Name)))
		})
		rule := preferCluster(s, echo)
		s.Apply(s.Sites, rule)
		s.Each(func(from *prove.Site) {
			s.Then(echo.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossOnce(from.Name)))
		})
		s.Delete(s.Sites, rule(nil))
		s.Each(func(from *prove.Site) { s.Twin(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...)) })
	})

	prove.Proves(behaviors.WaypointFailsOverToRemoteCluster, func(s *prove.Spec) {
		a, others := s.One()
		echo := s.Echo("echo")
		behind(s, echo)
		s.Apply(s.Sites, preferCluster(s, echo))
		s.Each(func(from *prove.Site) {
			s.Twin(echo.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossOnce(from.Name)))
		})
		s.Scale(a, "echo", 0)
		s.Then(echo.HTTP(a.Client, 40), expect.And(expect.ReachAll(others.Names()...), expect.CrossOnce(a.Name)))
		s.EachOf(others, func(from *prove.Site) {
			s.Then(echo.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossOnce(from.Name)))
		})
	})

	prove.Proves(behaviors.WaypointFailsBackToLocalCluster, func(s *prove.Spec) {
		a, others := s.One()
		echo := s.Echo("echo")
		behind(s, echo)
		s.Apply(s.Sites, preferCluster(s, echo))
		s.Scale(a, "echo", 0)
		s.Twin(echo.HTTP(a.Client, 40), expect.And(expect.ReachAll(others.Names()...), expect.CrossOnce(a.Name)))
		s.Scale(a, "echo", 1)
		s.Each(func(from *prove.Site) {
			s.Then(echo.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossOnce(from.Name)))
		})
	})
}

// behind is the page's set-up: the service and its waypoint are global, in every cluster, and each waypoint signs its answers.
func behind(s *prove.Spec, echo *prove.Service) {
	echo.Behind(s.StandingWaypoints())
	echo.Fingerprint(s.Sites)
	echo.Global(s.Sites...)
}

// preferCluster is the DestinationRule of the failover page.
func preferCluster(s *prove.Spec, echo *prove.Service) func(*prove.Site) client.Object {
	return func(*prove.Site) client.Object {
		return &istio.DestinationRule{
			ObjectMeta: metav1.ObjectMeta{Namespace: echo.Namespace, Name: s.Name("prefer-cluster")},
			Spec: networking.DestinationRule{Host: echo.Host(), TrafficPolicy: &networking.TrafficPolicy{
				OutlierDetection: &networking.OutlierDetection{Consecutive_5XxErrors: wrapperspb.UInt32(1), Interval: durationpb.New(time.Second), BaseEjectionTime: durationpb.New(time.Minute)},
				LoadBalancer: &networking.LoadBalancerSettings{
					LbPolicy:          &networking.LoadBalancerSettings_Simple{Simple: networking.LoadBalancerSettings_ROUND_ROBIN},
					LocalityLbSetting: &networking.LocalityLoadBalancerSetting{FailoverPriority: []string{"topology.istio.io/cluster"}},
				},
			}},
		}
	}
}
