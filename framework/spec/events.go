package spec

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/workload"
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

// ScaleGateway sets the replicas of a cluster's east-west gateway and waits. After the spec it has as
// many as before, and they are ready. istiod owns the Deployment but not its replicas.
func (t *T) ScaleGateway(c *Cluster, replicas int32) {
	d, err := eastwest.Deployment(t.ctx, c.Cluster)
	t.NoError(err)
	before := int32(1)
	if d.Spec.Replicas != nil {
		before = *d.Spec.Replicas
	}
	t.Cleanup(func(ctx context.Context) error { return workload.Scale(ctx, c.Cluster, d.Namespace, d.Name, before) })
	t.NoError(workload.Scale(t.ctx, c.Cluster, d.Namespace, d.Name, replicas))
	t.Changed()
}
