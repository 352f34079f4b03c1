// Package waypoint proves what waypoints of one name do in several clusters.
package waypoint

import (
	"context"
	"slices"
	"strings"

	security "istio.io/api/security/v1"
	typev1 "istio.io/api/type/v1beta1"
	istio "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

func init() {
	prove.Proves(behaviors.WaypointsOfOneNameServeEverywhere, func(s *prove.Spec) {
		global, local, none := s.Service("global"), s.Service("local"), s.Service("none")
		waypoint := s.StandingWaypoints()
		for _, v := range []*prove.Service{global, local, none} {
			v.Fingerprint(s.Sites)
		}
		global.Global(s.Sites...)
		global.Behind(waypoint)
		local.Behind(waypoint)
		s.Each(func(from *prove.Site) {
			s.Then(global.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce()))
			s.Then(local.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossOnce(from.Name)))
			s.Twin(none.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossNone()))
		})
		global.Label(s.Sites, workload.LabelWaypoint, "")
		s.Each(func(from *prove.Site) {
			s.Twin(global.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossNone()))
		})
	})

	prove.Proves(behaviors.PolicyAppliesExactlyOnce, func(s *prove.Spec) {
		echo := s.Service("echo")
		echo.Behind(s.StandingWaypoints())
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) {
			s.Twin(echo.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossNone()))
		})
		echo.Fingerprint(s.Sites)
		s.Each(func(from *prove.Site) {
			os := s.Then(echo.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce(from.Name)))
			for _, to := range s.Sites {
				n := os.Count(func(o traffic.Outcome) bool { return o.Cluster == to.Name })
				s.Holds(n > 0, "%s to %s: %d answers, each marked once", from.Name, to.Name, n)
			}
		})
	})

	prove.Proves(behaviors.WaypointConfigurationIsNotSynced, func(s *prove.Spec) {
		a, b := s.Pair()
		echo := s.Service("echo")
		echo.Behind(s.StandingWaypoints())
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) { s.Twin(echo.HTTP(from.ClientB, 40), expect.ReachAll(s.Names()...)) })
		deny := denyClientB(s, echo)
		s.Apply([]*prove.Site{b}, deny)
		s.Then(echo.HTTP(b.ClientB, 20), expect.Answer(403)) // where it is configured, it applies
		see(s, "client-b in "+a.Name+", where no policy is", echo.HTTP(a.ClientB, 40), func(os traffic.Outcomes) string { return effect(os, s.Others(b).Names(), s.Names()) })
		s.Apply(s.Others(b), deny)
		s.Each(func(from *prove.Site) {
			s.Then(echo.HTTP(from.ClientB, 20), expect.Answer(403))
			s.Twin(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...))
		})
	})

	prove.Proves(behaviors.ServiceBehindGlobalWaypoint, func(s *prove.Spec) {
		a, others := s.One()
		local, global := s.Service("local"), s.Service("global")
		waypoint := s.OwnWaypoint(true)
		for _, v := range []*prove.Service{local, global} {
			v.Behind(waypoint)
			v.Fingerprint(s.Sites)
		}
		global.Global(s.Sites...)
		s.Each(func(from *prove.Site) {
			s.Then(local.HTTP(from.Client, 40), expect.And(expect.ReachOnly(from.Name), expect.CrossOnce(from.Name)))
			s.Twin(global.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce(from.Name)))
		})
		s.ScaleWaypoint(a, waypoint, 0)
		s.Twin(global.HTTP(a.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossEach(others.Names()...)))
		see(s, "the local service, with its waypoint in "+a.Name+" gone", local.HTTP(a.Client, 40), func(os traffic.Outcomes) string { return fate(os, a.Name) })
	})

	prove.Proves(behaviors.GlobalServiceNeedsGlobalWaypoint, func(s *prove.Spec) {
		a, others := s.One()
		echo := s.Service("echo")
		waypoint := s.OwnWaypoint(true)
		echo.Behind(waypoint)
		echo.Fingerprint(s.Sites)
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) {
			s.Then(echo.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce(from.Name)))
		})
		s.ScaleWaypoint(a, waypoint, 0)
		s.Then(echo.HTTP(a.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossEach(others.Names()...)))
		s.Label(s.Sites, prove.WaypointService(waypoint), workload.LabelGlobal, "")
		s.Twin(echo.HTTP(a.Client, 10), expect.Fail(traffic.Reset))
		s.EachOf(others, func(from *prove.Site) {
			s.Twin(echo.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce(from.Name)))
		})
		s.ScaleWaypoint(a, waypoint, 1)
		s.Then(echo.HTTP(a.Client, 40), expect.And(expect.ReachAll(s.Names()...), expect.CrossOnce(a.Name)))
	})
}

// see waits for an outcome that the catalog names: a limitation is about what stays, not about what passes while a change arrives.
func see(s *prove.Spec, who string, calls prove.Calls, name func(traffic.Outcomes) string) {
	var outcome string
	s.Eventually(who+": an outcome that the catalog names", func(ctx context.Context) (string, error) {
		os, err := calls.From.Do(ctx, calls.Call)
		if err != nil {
			return "", err
		}
		if outcome = name(os); !strings.HasPrefix(outcome, mixed) {
			s.Note("%s: %s", who, os)
			return "", nil
		}
		return outcome, nil
	})
	s.Saw(outcome)
}

// denyClientB is an L7 policy on the service that refuses ServiceAccount client-b.
func denyClientB(s *prove.Spec, v *prove.Service) func(*prove.Site) client.Object {
	return func(*prove.Site) client.Object {
		return &istio.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: v.Namespace, Name: s.Name("deny")},
			Spec: security.AuthorizationPolicy{Action: security.AuthorizationPolicy_DENY,
				Rules:      []*security.Rule{{From: []*security.Rule_From{{Source: &security.Source{Principals: []string{"cluster.local/ns/" + prove.MeshNamespace + "/sa/client-b"}}}}}},
				TargetRefs: []*typev1.PolicyTargetReference{{Kind: "Service", Name: v.Name}}},
		}
	}
}

// mixed begins the name of what is none of the named outcomes.
const mixed = "mixed: "

// effect names what a policy that only one cluster has did to a client of another that it forbids; free are all the clusters without it.
func effect(os traffic.Outcomes, free, all []string) string {
	denied := func(o traffic.Outcome) bool { return o.Code == 403 }
	reached := func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && slices.Contains(free, o.Cluster) }
	switch n := os.Count(denied); {
	case n == len(os):
		return "everywhere"
	case n == 0 && expect.ReachAll(all...).Fault(os) == "":
		return "client-side"
	case n > 0 && os.Count(func(o traffic.Outcome) bool { return denied(o) || reached(o) }) == len(os):
		return "server-side"
	}
	return mixed + os.String()
}

// fate names what became of a local service whose own waypoint is gone.
func fate(os traffic.Outcomes, home string) string {
	count := func(f func(traffic.Outcome) bool) int { return os.Count(f) }
	reached := func(o traffic.Outcome) bool { return o.Kind == traffic.Reached && o.Code == 200 }
	switch {
	case count(func(o traffic.Outcome) bool { return reached(o) && o.Cluster != home }) > 0:
		return "served-remotely"
	case count(func(o traffic.Outcome) bool { return reached(o) && len(o.Crossed) == 0 }) > 0:
		return "bypassed"
	case count(reached) == len(os):
		return "stays-local"
	case count(reached) == 0:
		return "fails-closed"
	}
	return mixed + os.String()
}
