package spec

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/internal/sleep"
)

// GatewayRestarts is a rolling restart of a cluster's east-west gateway. It is over when the old pods
// have drained and are gone.
func GatewayRestarts(c *Cluster) Event {
	return Event{Says: "the east-west gateway of " + c.Name + " restarts", Do: func(ctx context.Context) error {
		d, err := eastwest.Deployment(ctx, c.Cluster)
		if err != nil {
			return err
		}
		return workload.Restart(ctx, c.Cluster, d)
	}}
}

// IstiodRestarts is a rolling restart of a cluster's istiod.
func IstiodRestarts(c *Cluster) Event {
	return Event{Says: "istiod of " + c.Name + " restarts", Do: func(ctx context.Context) error {
		return workload.Restart(ctx, c.Cluster, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: istiod.Namespace, Name: istiod.Deployment(c.Revision)}})
	}}
}

// IstiodAbsent is a time without the istiod of a cluster, in which something else is done. It is over
// when as many pods as before are ready and have synced with all clusters.
func (t *T) IstiodAbsent(c *Cluster, during func()) Event {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: istiod.Namespace, Name: istiod.Deployment(c.Revision)}}
	t.NoError(c.Cluster.Client().Get(t.ctx, client.ObjectKeyFromObject(d), d))
	before := replicas(d)
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
			if err := workload.Scale(ctx, c.Cluster, d.Namespace, d.Name, before); err != nil {
				return err
			}
			return istiod.WaitSynced(ctx, c.Cluster, t.Clusters.Names())
		},
	}
}

// replicas are how many pods a Deployment wants.
func replicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// RemoteTimeout waits for as long as the istiods of these clusters give a cluster to synchronize, until
// they call it timed out.
func (t *T) RemoteTimeout(clusters ...*Cluster) {
	longest := time.Duration(0)
	for _, c := range clusters {
		limit, err := istiod.RemoteTimeout(t.ctx, c.Cluster)
		t.NoError(err)
		longest = max(longest, limit)
	}
	sleep.For(t.ctx, longest)
}

// ScaleGateway sets the replicas of a cluster's east-west gateway and waits. After the spec it has as
// many as before, and they are ready. istiod owns the Deployment but not its replicas.
func (t *T) ScaleGateway(c *Cluster, pods int32) {
	d, err := eastwest.Deployment(t.ctx, c.Cluster)
	t.NoError(err)
	before := replicas(d)
	t.Cleanup(func(ctx context.Context) error { return workload.Scale(ctx, c.Cluster, d.Namespace, d.Name, before) })
	t.NoError(workload.Scale(t.ctx, c.Cluster, d.Namespace, d.Name, pods))
	t.Changed()
}
