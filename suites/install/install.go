// Package install proves what the documented installation promises, and that the networks under it are really apart.
package install

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

func init() {
	prove.Proves(behaviors.TwoPrimariesConverge, func(s *prove.Spec) {
		echo, local := s.Service("echo"), s.Service("local")
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) {
			_, err := eastwest.Find(s.Ctx, from.Cluster)
			s.Must(err)
			rows, err := istiod.RemoteClusters(s.Ctx, from.Cluster)
			s.Must(err)
			s.Holds(len(istiod.Unsynced(rows, s.Names())) == 0, "istiod of %s lists every cluster as synced %v", from.Name, istiod.Unsynced(rows, s.Names()))
			s.Then(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...))
			s.Twin(local.HTTP(from.Client, 40), expect.ReachOnly(from.Name))
		})
	})

	prove.Proves(behaviors.NetworkComesFromNamespaceLabel, func(s *prove.Spec) {
		a, others := s.One()
		echo := s.Service("echo")
		echo.Global(s.Sites...)
		both := func(from *prove.Site) { s.Twin(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...)) }
		s.Each(both)
		istioSystem := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: istiod.Namespace}}
		s.LabelFor(a, istioSystem, "topology.istio.io/network", "")
		// Calls that would cross may fail, or not be made: what becomes of them is nobody's promise. They do not arrive.
		s.Then(echo.HTTP(a.Client, 40), expect.AnswersOnly(a.Name))
		s.EachOf(others, func(from *prove.Site) { s.Then(echo.HTTP(from.Client, 40), expect.AnswersOnly(others.Names()...)) })
		s.Label([]*prove.Site{a}, istioSystem, "topology.istio.io/network", a.Network)
		s.Each(both)
	})

	prove.Proves(behaviors.OverlappingAddressesStayApart, func(s *prove.Spec) {
		a, b := s.Pair()
		one, two := s.Echo("one"), s.Echo("two")
		// The same virtual address for another service in the other cluster: each cluster's objects are made anew with the addresses swapped.
		ips := [2]string{}
		for i, v := range []*prove.Service{one, two} {
			var svc corev1.Service
			s.Must(a.Cluster.Client().Get(s.Ctx, client.ObjectKey{Namespace: v.Namespace, Name: v.Name}, &svc))
			ips[i] = svc.Spec.ClusterIP
		}
		for _, v := range []*prove.Service{one, two} {
			s.Delete([]*prove.Site{b}, workload.Service(v.Namespace, v.Name, "", ""))
		}
		for i, v := range []*prove.Service{one, two} {
			s.Apply([]*prove.Site{b}, func(*prove.Site) client.Object {
				svc := workload.Service(v.Namespace, v.Name, v.Name, "")
				svc.Spec.ClusterIP = ips[1-i]
				return svc
			})
		}
		one.Global(s.Sites...)
		two.Global(s.Sites...)
		s.Note("%s is %s in %s and %s in %s; %s the other way round", one.Name, ips[0], a.Name, ips[1], b.Name, two.Name)
		s.Each(func(from *prove.Site) {
			s.Then(one.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), named(one.Name)))
			s.Then(two.HTTP(from.Client, 40), expect.And(expect.ReachAll(s.Names()...), named(two.Name)))
			// Twin: an answer in the other's name would be noticed.
			os, err := from.Client.Do(s.Ctx, one.HTTP(from.Client, 10).Call)
			s.Must(err)
			mixed, _ := named(two.Name).Match(os)
			s.TwinHolds(!mixed, "an answer of %s is told from one of %s", one.Name, two.Name)
		})
	})

	prove.Proves(behaviors.NoDirectPathBetweenPods, func(s *prove.Spec) {
		s.Each(func(to *prove.Site) {
			var pods corev1.PodList
			s.Must(to.Cluster.Client().List(s.Ctx, &pods, client.InNamespace(prove.MeshNamespace), client.MatchingLabels{workload.LabelApp: prove.EchoApp}))
			for _, p := range pods.Items {
				url := fmt.Sprintf("http://%s:%d/", p.Status.PodIP, workload.HTTP)
				for _, from := range s.Sites {
					calls := prove.Calls{From: from.Plain, Call: traffic.Call{URL: url, Times: 3}}
					if from.Name == to.Name {
						s.Twin(calls, expect.Each("to come from the pod itself", func(o traffic.Outcome) bool {
							return o.Kind == traffic.Reached && o.Workload == p.Name && o.Cluster == to.Name
						}))
						continue
					}
					os, err := from.Plain.Do(context.WithoutCancel(s.Ctx), calls.Call)
					s.Must(err)
					s.Holds(os.Clusters()[to.Name] == 0, "%s to the address of pod %s of %s: not answered by it (%s)", calls.From.Name, p.Name, to.Name, os)
				}
			}
			var nodes corev1.NodeList
			s.Must(to.Cluster.Client().List(s.Ctx, &nodes))
			for _, n := range nodes.Items {
				for _, a := range n.Status.Addresses {
					if a.Type != corev1.NodeInternalIP {
						continue
					}
					for _, from := range s.Sites {
						kubelet := prove.Calls{From: from.Plain, Call: traffic.Call{URL: "https://" + a.Address + ":10250/", Times: 1}}
						os, err := from.Plain.Do(s.Ctx, kubelet.Call)
						s.Must(err)
						answered := os.Count(func(o traffic.Outcome) bool { return o.Kind == traffic.Status || o.Kind == traffic.TLSAlert }) > 0
						if from.Name == to.Name {
							s.TwinHolds(answered, "%s reaches its own node's kubelet (%s)", from.Plain.Name, os)
						} else {
							s.Holds(!answered, "%s does not reach the kubelet of %s at %s (%s)", from.Plain.Name, to.Name, a.Address, os)
						}
					}
				}
			}
		})
	})
}

func named(deployment string) expect.Expectation {
	return expect.Each("to come from a pod of "+deployment, func(o traffic.Outcome) bool { return strings.HasPrefix(o.Workload, deployment+"-") })
}
