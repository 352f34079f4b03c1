package spec

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/preflight"
	"ambient.test/conformance/framework/undo"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/framework/ztunnel"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// RemoteClusters are the clusters that a cluster's control plane knows, as `istioctl
// remote-clusters` lists them; a []istiod.RemoteCluster.
func RemoteClusters(c *Cluster) Subject {
	return Probe("istiod of "+c.Name+": remote clusters", func(ctx context.Context) (any, error) {
		return istiod.RemoteClusters(ctx, c.Cluster)
	})
}

// IstiodStarts counts from now on how often containers of a cluster's istiods start again, and its pods
// once more if none of those of before is left. Pods that come beside them, and one of several that goes,
// are an autoscaler's or a node's matter. It is a [Subject] whose value is an int64.
func (t *T) IstiodStarts(c *Cluster) Subject {
	read := func(ctx context.Context) (starts map[types.UID]int64, err error) {
		pods, err := c.Cluster.Kube().CoreV1().Pods(istiod.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
		if err != nil {
			return nil, fmt.Errorf("%s: pods of istiod: %w", c.Name, err)
		}
		starts = map[types.UID]int64{}
		for _, p := range pods.Items {
			for _, s := range p.Status.ContainerStatuses {
				starts[p.UID] += int64(s.RestartCount)
			}
		}
		return starts, nil
	}
	before, err := read(t.ctx)
	t.NoError(err)
	return Probe("starts of istiod in "+c.Name, func(ctx context.Context) (any, error) {
		now, err := read(ctx)
		if err != nil {
			return nil, err
		}
		n, left := int64(0), 0
		for pod, starts := range before {
			if again, there := now[pod]; there {
				left++
				n += again - starts
			}
		}
		if left == 0 {
			n = int64(len(before))
		}
		return n, nil
	})
}

// spoken is what the ports of istiod speak; all others are TLS.
var spoken = map[int32]eastwest.Protocol{
	15010: eastwest.H2C,  // xDS without TLS
	15014: eastwest.HTTP, // metrics, version
	8080:  eastwest.HTTP, // debug
}

// ControlPlaneServices are the Services in front of a cluster's istiods, whatever they are called.
func (t *T) ControlPlaneServices(c *Cluster) (all []*corev1.Service) {
	var services corev1.ServiceList
	t.NoError(c.Cluster.Client().List(t.ctx, &services, client.InNamespace(istiod.Namespace)))
	for i, s := range services.Items {
		if s.Spec.Selector["app"] == "istiod" {
			all = append(all, &services.Items[i])
		}
	}
	if len(all) == 0 {
		t.NoError(fmt.Errorf("%s: no Service of %s selects istiod: run `%s -n %s get services`",
			c.Name, istiod.Namespace, c.Kubectl(), istiod.Namespace))
	}
	return all
}

// IstiodVersion is the port of istiod's first Service that tells its version, by name.
func (t *T) IstiodVersion(c *Cluster) Destination {
	s := t.ControlPlaneServices(c)[0]
	return To(t.HostIn(s.Namespace, s.Name), 15014, eastwest.HTTP, "version of istiod")
}

// ControlPlanePorts are the ports of every Service in front of istiod, under its name and its
// address, and of the API server.
func (t *T) ControlPlanePorts(c *Cluster) (all []Destination) {
	for _, s := range t.ControlPlaneServices(c) {
		for _, p := range s.Spec.Ports {
			protocol, ok := spoken[p.Port]
			if !ok {
				protocol = eastwest.TLS
			}
			for _, host := range []string{fmt.Sprintf("%s.%s.svc.%s", s.Name, s.Namespace, t.Domain()), s.Spec.ClusterIP} {
				if host == corev1.ClusterIPNone {
					continue
				}
				all = append(all, To(host, int(p.Port), protocol, "Service "+s.Name))
			}
		}
	}
	return append(all, To(t.HostIn("default", "kubernetes"), 443, eastwest.TLS, "the API server"))
}

// SetIstiodEnv restarts a cluster's istiod with another value of an environment variable, and
// waits. restore gives it the old one; the end of the spec does so at the latest.
func (t *T) SetIstiodEnv(c *Cluster, name, value string) (restore func()) {
	before := t.keep(c, istiodOf(c), undo.Field{"spec", "template"})
	t.change(func() {
		_, err := workload.ChangeTemplate(t.ctx, c.Cluster, istiodOf(c), workload.Env("discovery", name, value))
		t.NoError(err)
	})
	return t.restoring(before)
}

// SetZtunnelEnv sets an environment variable of a cluster's ztunnel, and waits until new pods run
// with it. restore gives it its old value; the end of the spec does so at the latest.
func (t *T) SetZtunnelEnv(c *Cluster, name, value string) (restore func()) {
	var before *kept
	t.change(func() {
		t.NoError(onNodes(c, ztunnel.Selector, func(ctx context.Context, cluster *mesh.Cluster, o client.Object) error {
			before = t.keep(c, o, undo.Field{"spec", "template"})
			_, err := workload.ChangeTemplate(ctx, cluster, o, workload.Env("istio-proxy", name, value))
			return err
		})(t.ctx))
	})
	return t.restoring(before)
}

// Preflight is what the suite itself finds wrong with the fleet before it runs: a list of the checks
// that fail, each with why.
func (t *T) Preflight() Subject {
	return Probe("the checks before a run", func(ctx context.Context) (any, error) {
		failed := []string{}
		rows, _ := preflight.Fleet(ctx, t.Fleet, preflight.Options{Namespaces: fixture.Namespaces}) // the rows have its error
		for _, r := range rows {
			if r.Status == v1alpha2.CheckFail {
				failed = append(failed, r.Name+": "+r.Detail)
			}
		}
		return failed, ctx.Err()
	})
}

// GatewayClass is one of Istio's classes, which istiod creates.
func GatewayClass(name string) Object {
	return func(*Cluster) client.Object { return &gateway.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: name}} }
}

// Exists is true while the cluster has the object.
func Exists(c *Cluster, object Object) Subject {
	o := object(c)
	return Probe(fmt.Sprintf("%s: %T %s exists", c.Name, o, o.GetName()), func(ctx context.Context) (any, error) {
		err := c.Cluster.Client().Get(ctx, client.ObjectKeyFromObject(o), o)
		return err == nil, client.IgnoreNotFound(err)
	})
}
