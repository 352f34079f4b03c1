package spec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// Address is the virtual address of a Service in one cluster, the first one if it has several.
func (t *T) Address(c *Cluster, s *Service) string { return t.Addresses(c, s)[0] }

// Addresses are the virtual addresses of a Service in one cluster, one of each family.
func (t *T) Addresses(c *Cluster, s *Service) []string {
	var got corev1.Service
	t.NoError(c.Cluster.Client().Get(t.ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, &got))
	return got.Spec.ClusterIPs
}

// URL calls the Service's HTTP port by its virtual address in one cluster, without its name.
func (t *T) URL(c *Cluster, s *Service) string {
	return "http://" + net.JoinHostPort(t.Address(c, s), "80") + "/"
}

// ReplaceAddresses gives Services other virtual addresses in one cluster. An address cannot be
// changed, so the objects are deleted and made anew: all of them first, since they may swap.
func (t *T) ReplaceAddresses(c *Cluster, addresses map[*Service]string) {
	for s := range addresses {
		t.Delete(Clusters{c}, s.Object)
	}
	for s, address := range addresses {
		t.Apply(Clusters{c}, func(c *Cluster) client.Object {
			o := s.Object(c).(*corev1.Service)
			o.Spec.ClusterIP = address
			return o
		})
		t.Observe("%s has address %s in %s", s.Name, address, c.Name)
	}
}

// probed is how many pods, and how many nodes, of a cluster a look for paths tries.
const probed = 3

// PathsTo are connections from a pod outside the mesh to pods and nodes of another cluster, by
// their own addresses; a list of [traffic.Path].
func (t *T) PathsTo(from, to *Cluster) Subject {
	targets := t.targets(from, to)
	return Probe(fmt.Sprintf("%s to pods and nodes of %s", from.Plain.Name, to.Name), func(ctx context.Context) (any, error) {
		paths, errs := make([]traffic.Path, len(targets)), make([]error, len(targets))
		var all sync.WaitGroup
		for i, x := range targets {
			all.Go(func() {
				os, err := from.Plain.Do(ctx, from.Plain.Get(x.url).Within(time.Second).Call)
				if errs[i] = err; err == nil {
					paths[i] = traffic.Path{To: x.name, Cluster: to.Name, Node: x.node, Outcome: os[0]}
				}
			})
		}
		all.Wait()
		return paths, errors.Join(errs...)
	})
}

type target struct {
	name, url string
	address   string
	node      bool
}

// targets are addresses of a cluster that a client of another one may find a path to. Addresses
// that the client's own cluster uses, too, tell nothing unless the answer names its cluster.
func (t *T) targets(from, to *Cluster) (all []target) {
	own := map[string]bool{}
	for _, n := range t.nodes(from) {
		own[n.url] = true
	}
	for _, n := range t.nodes(to) {
		if !own[n.url] && len(all) < probed {
			all = append(all, n)
		}
	}
	var pods corev1.PodList
	t.NoError(to.Cluster.Client().List(t.ctx, &pods, client.InNamespace(fixture.PlainNamespace), client.Limit(probed)))
	for _, p := range pods.Items {
		for _, ip := range p.Status.PodIPs {
			all = append(all, target{"pod " + p.Name, "http://" + net.JoinHostPort(ip.IP, strconv.Itoa(traffic.HTTP)) + "/", ip.IP, false})
		}
	}
	return all
}

// nodes are the kubelets of a cluster.
func (t *T) nodes(c *Cluster) (all []target) {
	var nodes corev1.NodeList
	t.NoError(c.Cluster.Client().List(t.ctx, &nodes))
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				all = append(all, target{"node " + n.Name, "https://" + net.JoinHostPort(a.Address, "10250") + "/", a.Address, true})
			}
		}
	}
	return all
}

// PlainServer is the URL of an echo server outside the mesh, in one cluster.
func (t *T) PlainServer(c *Cluster) string {
	pod, err := workload.Pod(t.ctx, c.Cluster, fixture.PlainNamespace, fixture.Plain)
	t.NoError(err)
	return "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(traffic.HTTP)) + "/"
}
