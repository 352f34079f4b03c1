// Package identity proves that identities and the policies that name them hold across clusters.
package identity

import (
	"context"
	"fmt"

	security "istio.io/api/security/v1"
	typev1 "istio.io/api/type/v1beta1"
	istio "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/ztunnel"
)

func init() {
	prove.Proves(behaviors.ClientIdentityArrives, func(s *prove.Spec) {
		a, b := s.Pair()
		echo := s.Echo("echo")
		echo.Global(s.Sites...)
		s.Twin(echo.TCP(a.ClientB, 40), expect.ReachAll(s.Names()...))
		allow := policy(s, "echo", security.AuthorizationPolicy_ALLOW, "cluster.local/ns/"+prove.MeshNamespace+"/sa/client")
		s.Apply([]*prove.Site{b}, allow)
		s.Each(func(from *prove.Site) { // the other clusters have no policy
			s.Then(echo.TCP(from.ClientB, 40), expect.ReachedOr(s.Others(b).Names(), traffic.Reset))
		})
		s.Each(func(from *prove.Site) { s.Twin(echo.TCP(from.Client, 40), expect.ReachAll(s.Names()...)) })
		s.Delete([]*prove.Site{b}, allow(b))
		s.Twin(echo.TCP(a.ClientB, 40), expect.ReachAll(s.Names()...))
	})

	prove.Proves(behaviors.DenyPoliciesHoldAcrossClusters, func(s *prove.Spec) {
		echo := s.Echo("echo")
		other := s.Service("open") // the standing echo, under no policy: the control by the same path
		echo.Global(s.Sites...)
		other.Global(s.Sites...)
		s.Each(func(from *prove.Site) { s.Twin(echo.TCP(from.Client, 40), expect.ReachAll(s.Names()...)) })
		for _, p := range []func(*prove.Site) client.Object{
			policy(s, "echo", security.AuthorizationPolicy_DENY, "*"),
			policy(s, "echo", security.AuthorizationPolicy_ALLOW),
		} {
			s.Apply(s.Sites, p)
			s.Each(func(from *prove.Site) {
				s.Then(echo.TCP(from.Client, 20), expect.Fail(traffic.Reset))
				s.Twin(other.TCP(from.Client, 40), expect.ReachAll(s.Names()...))
			})
			s.Delete(s.Sites, p(nil))
			s.Each(func(from *prove.Site) { s.Twin(echo.TCP(from.Client, 40), expect.ReachAll(s.Names()...)) })
		}
	})

	prove.Proves(behaviors.CrossNetworkTrafficIsMutualTLS, func(s *prove.Spec) {
		echo := s.Service("echo")
		echo.Global(s.Sites...)
		a, b := s.Pair()
		s.Then(echo.HTTP(a.Client, 40), expect.ReachAll(s.Names()...))
		read := func() map[string]ztunnel.Counters {
			now := map[string]ztunnel.Counters{}
			for _, at := range s.Sites {
				c, err := ztunnel.Opened(s.Ctx, at.Cluster)
				s.Must(err)
				now[at.Name] = c
			}
			return now
		}
		before := read()
		calls := echo.HTTP(a.Client, 60)
		os, err := calls.From.Do(s.Ctx, calls.Call)
		s.Must(err)
		crossed := os.Clusters()[b.Name]
		s.TwinHolds(crossed > 0 && os.Clusters()[a.Name] > 0, "%d of %d calls crossed to %s, %d stayed", crossed, calls.Call.Times, b.Name, os.Clusters()[a.Name])
		s.Eventually(fmt.Sprintf("%s's ztunnel to count %d connections of the client of %s, all mutual_tls", b.Name, crossed, a.Name), func(ctx context.Context) (string, error) {
			now := read()
			q := ztunnel.Query{"reporter": "destination", "source_workload": "client", "source_cluster": a.Name, "destination_service": echo.Host()}
			tls := now[b.Name].Since(before[b.Name], q.With("connection_security_policy", "mutual_tls"))
			all := now[b.Name].Since(before[b.Name], q)
			if int(tls) != crossed || all != tls {
				return fmt.Sprintf("%v mutual_tls of %v", tls, all), nil
			}
			return "", nil
		})
		s.Eventually(fmt.Sprintf("%s's ztunnel to count %d connections of its client, all mutual_tls", a.Name, calls.Call.Times), func(ctx context.Context) (string, error) {
			now := read()
			q := ztunnel.Query{"reporter": "source", "source_workload": "client", "destination_service": echo.Host()}
			tls := now[a.Name].Since(before[a.Name], q.With("connection_security_policy", "mutual_tls"))
			all := now[a.Name].Since(before[a.Name], q)
			if int(tls) != calls.Call.Times || all != tls {
				return fmt.Sprintf("%v mutual_tls of %v", tls, all), nil
			}
			return "", nil
		})
		// Twin: a client outside the mesh is counted as plaintext by the same counters, so they do tell the difference.
		before = read()
		plain := echo.HTTP(a.Plain, 10)
		_, err = plain.From.Do(s.Ctx, plain.Call)
		s.Must(err)
		s.TwinEventually(fmt.Sprintf("%s's ztunnel to count 10 connections from outside the mesh as not mutual_tls", a.Name), func(ctx context.Context) (string, error) {
			now := read()
			n := now[a.Name].Since(before[a.Name], ztunnel.Query{"reporter": "destination", "connection_security_policy": "unknown", "destination_workload": prove.EchoApp})
			if n < 10 {
				return fmt.Sprintf("%v", n), nil
			}
			return "", nil
		})
	})
}

// policy is an AuthorizationPolicy on the spec's own echo for the principals; none given selects nobody.
func policy(s *prove.Spec, word string, action security.AuthorizationPolicy_Action, principals ...string) func(*prove.Site) client.Object {
	var rules []*security.Rule
	if len(principals) > 0 {
		rules = []*security.Rule{{From: []*security.Rule_From{{Source: &security.Source{Principals: principals}}}}}
	}
	return func(*prove.Site) client.Object {
		return &istio.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: prove.MeshNamespace, Name: s.Name("policy")},
			Spec:       security.AuthorizationPolicy{Action: action, Rules: rules, Selector: &typev1.WorkloadSelector{MatchLabels: map[string]string{"app": s.Name(word)}}},
		}
	}
}
