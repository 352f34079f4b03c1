package spec

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/undo"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/framework/ztunnel"
	"ambient.test/conformance/internal/sleep"
)

// GatewayRestarts is a rolling restart of a cluster's east-west gateway. It is over when the old
// pods have drained and are gone.
func GatewayRestarts(c *Cluster) Event {
	return Event{Says: "the east-west gateway of " + c.Name + " restarts", Do: func(ctx context.Context) error {
		d, err := eastwest.Deployment(ctx, c.Cluster)
		if err != nil {
			return err
		}
		return workload.Restart(ctx, c.Cluster, d)
	}}
}

// GatewayReplicaIsKilled ends one pod of a cluster's east-west gateway without a time to drain. It
// is over when as many pods as before serve.
func GatewayReplicaIsKilled(c *Cluster) Event {
	return Event{Says: "a replica of the east-west gateway of " + c.Name + " is killed", Sudden: true, Do: func(ctx context.Context) error {
		d, err := eastwest.Deployment(ctx, c.Cluster)
		if err != nil {
			return err
		}
		return workload.KillOne(ctx, c.Cluster, d)
	}}
}

// WaypointRestarts is a rolling restart of a waypoint of the spec's own in one cluster. It is over
// when the old pods have drained and are gone.
func WaypointRestarts(c *Cluster, name string) Event {
	return Event{Says: "the waypoint of " + c.Name + " restarts", Do: func(ctx context.Context) error {
		return workload.Restart(ctx, c.Cluster, deployment(fixture.MeshNamespace, name))
	}}
}

// WaypointIsKilled ends a waypoint of the spec's own in one cluster without a time to drain. It is
// over when as many pods as before serve.
func WaypointIsKilled(c *Cluster, name string) Event {
	return Event{Says: "the waypoint of " + c.Name + " is killed", Sudden: true, Do: func(ctx context.Context) error {
		return workload.Kill(ctx, c.Cluster, deployment(fixture.MeshNamespace, name))
	}}
}

// IstiodRestarts is a rolling restart of a cluster's istiod.
func IstiodRestarts(c *Cluster) Event {
	return Event{Says: "istiod of " + c.Name + " restarts", Do: func(ctx context.Context) error {
		return workload.Restart(ctx, c.Cluster, istiodOf(c))
	}}
}

// istiodAnew restarts a cluster's istiod and waits until it has synced with all clusters.
func (t *T) istiodAnew(ctx context.Context, c *Cluster) error {
	return fixture.IstiodAnew(ctx, c.Cluster, t.Clusters.Names())
}

// CNIRestarts is a rolling restart of a cluster's istio-cni, whose pod goes before the new one
// comes.
func CNIRestarts(c *Cluster) Event {
	return Event{Says: "istio-cni of " + c.Name + " restarts", Do: onNodes(c, istioCNI, workload.Restart)}
}

// ZtunnelRestarts is a rolling restart of a cluster's ztunnel. It is over when the old pods have
// drained and are gone.
func ZtunnelRestarts(c *Cluster) Event {
	return Event{Says: "ztunnel of " + c.Name + " restarts", Do: onNodes(c, ztunnel.Selector, workload.Restart)}
}

// ZtunnelIsKilled ends every ztunnel of a cluster without a time to drain. It is over when new ones
// are ready.
func ZtunnelIsKilled(c *Cluster) Event {
	return Event{Says: "ztunnel of " + c.Name + " is killed", Do: onNodes(c, ztunnel.Selector, workload.Kill)}
}

// istioCNI selects istio-cni's pods and DaemonSet in Istio's chart.
const istioCNI = "k8s-app=istio-cni-node"

// onNodes does something to the one DaemonSet of a cluster whose pods a selector finds.
func onNodes(c *Cluster, selector string, do func(context.Context, *mesh.Cluster, client.Object) error) func(context.Context) error {
	return func(ctx context.Context) error {
		match, err := labels.Parse(selector)
		if err != nil {
			return err
		}
		var all appsv1.DaemonSetList
		if err := c.Cluster.Client().List(ctx, &all); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		all.Items = slices.DeleteFunc(all.Items, func(d appsv1.DaemonSet) bool { return !match.Matches(labels.Set(d.Spec.Template.Labels)) })
		if len(all.Items) != 1 {
			return fmt.Errorf("%s: want one DaemonSet of pods with %s, found %d: run `%s get daemonsets -A`",
				c.Name, selector, len(all.Items), c.Kubectl())
		}
		return do(ctx, c.Cluster, &all.Items[0])
	}
}

// AtOnce are several events that begin together. It is over when all are.
func AtOnce(events ...Event) Event {
	var says []string
	var undos []func(context.Context) error
	for _, e := range events {
		says = append(says, e.Says)
		if e.Undo != nil {
			undos = append(undos, e.Undo)
		}
	}
	together := Event{Says: strings.Join(says, ", and "), Do: func(ctx context.Context) error {
		var all sync.WaitGroup
		errs := make([]error, len(events))
		for i, e := range events {
			all.Go(func() { errs[i] = e.Do(ctx) })
		}
		all.Wait()
		return errors.Join(errs...)
	}}
	if len(undos) > 0 { // else it ends by itself
		together.Undo = func(ctx context.Context) (err error) {
			for _, undo := range undos {
				err = errors.Join(err, undo(ctx))
			}
			return err
		}
	}
	return together
}

// IstiodAbsent is a time without the istiod of a cluster, in which something else is done. It is
// over when as many pods as before are ready and have synced with all clusters.
func (t *T) IstiodAbsent(c *Cluster, during func()) Event {
	d := istiodOf(c)
	before := t.keep(c, d, undo.Field{"spec", "replicas"})
	return Event{
		Says: "istiod of " + c.Name + " is absent",
		Do: func(ctx context.Context) error {
			if err := workload.Scale(ctx, c.Cluster, d.Namespace, d.Name, 0); err != nil {
				return err
			}
			during()
			return nil
		},
		Undo: func(ctx context.Context) error {
			if err := before.restore(ctx); err != nil {
				return err
			}
			return istiod.WaitSynced(ctx, c.Cluster, t.Clusters.Names())
		},
	}
}

// CutOff is a time in which a cluster and the other networks exchange no packet, and something else
// is done.
func (t *T) CutOff(c *Cluster, during func()) Event {
	return t.cut(c.Name+" and the other networks exchange no packet", c, 0, during)
}

// APIServerCutOff is a time in which no other network reaches the API server of a cluster, and
// something else is done. Traffic between the networks goes on.
func (t *T) APIServerCutOff(c *Cluster, during func()) Event {
	server, err := url.Parse(c.APIServer)
	t.NoError(err)
	port, err := strconv.Atoi(server.Port())
	t.NoError(err)
	return t.cut("no other network reaches the API server of "+c.Name, c, port, during)
}

func (t *T) cut(says string, c *Cluster, port int, during func()) Event {
	healed := func(context.Context) error { return nil }
	return Event{
		Says: says,
		Do: func(ctx context.Context) (err error) {
			if t.Cut == nil {
				return errNotOurs
			}
			if healed, err = t.Cut(ctx, c.Cluster, port); err != nil {
				return err
			}
			during()
			return nil
		},
		Undo: func(ctx context.Context) error { return healed(ctx) },
	}
}

// apart is more than istiod waits for further changes before it acts on one.
const apart = 300 * time.Millisecond

// Toggles lets the global label of the Service come and go, by turns in each cluster, so that each
// has it while others do not, and the other way round.
func (s *Service) Toggles(times int) Event {
	return Change(fmt.Sprintf("%s is labeled and unlabeled %d times", s.Name, times), func() {
		for i := range times {
			s.SetScope(i/len(s.t.Clusters)%2 == 0, s.t.Clusters[i%len(s.t.Clusters)])
			sleep.For(s.t.ctx, apart)
		}
	})
}

// deployment is one that is read, restarted or changed by its name.
func deployment(namespace, name string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// istiodOf is that of a cluster's istiod.
func istiodOf(c *Cluster) *appsv1.Deployment {
	return deployment(istiod.Namespace, istiod.Deployment(c.Revision))
}

// WaitUntil lets time pass until a moment.
func (t *T) WaitUntil(at time.Time) { sleep.For(t.ctx, time.Until(at)) }

// RemoteTimeout waits for as long as the istiods of these clusters give a cluster to synchronize,
// until they call it timed out.
func (t *T) RemoteTimeout(clusters ...*Cluster) {
	longest := time.Duration(0)
	for _, c := range clusters {
		limit, err := istiod.RemoteTimeout(t.ctx, c.Cluster)
		t.NoError(err)
		longest = max(longest, limit)
	}
	sleep.For(t.ctx, longest)
}

// ScaleGateway sets the replicas of a cluster's east-west gateway and waits. restore gives it as
// many as before, and waits until they are ready; the end of the spec does so at the latest. istiod
// owns the Deployment but not its replicas, unless the Gateway's parameters name them.
func (t *T) ScaleGateway(c *Cluster, pods int32) (restore func()) {
	d, err := eastwest.Deployment(t.ctx, c.Cluster)
	t.NoError(err)
	before := []*kept{t.keep(c, d, undo.Field{"spec", "replicas"})}
	parameters := t.gatewayParameters(c, d, pods)
	if parameters != nil {
		before = append(before, t.keep(c, parameters, undo.Field{"data", parametersOfDeployment}))
	}
	t.change(func() {
		if parameters != nil {
			t.NoError(apply.Objects(t.ctx, c.Cluster, parameters))
		}
		t.NoError(workload.Scale(t.ctx, c.Cluster, d.Namespace, d.Name, pods))
	})
	return t.restoring(before...)
}

// parametersOfDeployment is the key of a Gateway's parameters under which istiod finds what to change
// of the Deployment.
const parametersOfDeployment = "deployment"

// gatewayParameters are the parameters of a gateway with other replicas; nil if they name none.
func (t *T) gatewayParameters(c *Cluster, d *appsv1.Deployment, replicas int32) *corev1.ConfigMap {
	var g gateway.Gateway
	t.NoError(c.Cluster.Client().Get(t.ctx, client.ObjectKey{Namespace: d.Namespace, Name: d.Labels[gateway.GatewayNameLabelKey]}, &g))
	if g.Spec.Infrastructure == nil || g.Spec.Infrastructure.ParametersRef == nil {
		return nil
	}
	var had corev1.ConfigMap
	t.NoError(c.Cluster.Client().Get(t.ctx, client.ObjectKey{Namespace: d.Namespace, Name: g.Spec.Infrastructure.ParametersRef.Name}, &had))
	text, err := withReplicas(had.Data[parametersOfDeployment], replicas)
	t.NoError(err)
	if text == "" {
		return nil
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: had.Namespace, Name: had.Name},
		Data: map[string]string{parametersOfDeployment: text}}
}

// withReplicas is what is to change of a Deployment, with other replicas; empty if it names none.
func withReplicas(text string, replicas int32) (string, error) {
	var changes map[string]any
	if err := yaml.Unmarshal([]byte(text), &changes); err != nil {
		return "", err
	}
	if _, named, _ := unstructured.NestedFieldNoCopy(changes, "spec", "replicas"); !named {
		return "", nil
	}
	if err := unstructured.SetNestedField(changes, int64(replicas), "spec", "replicas"); err != nil {
		return "", err
	}
	with, err := yaml.Marshal(changes)
	return string(with), err
}
