package spec

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/fixture"
)

// Listener is how the listener of an east-west gateway is changed.
type Listener struct {
	Word   string // for names
	Says   string
	Change func(*gateway.Listener)
}

// GatewayWith applies a copy of a cluster's east-west gateway with its listener changed, and
// returns the conditions of that listener; a list of [metav1.Condition]. The copy names a Service
// as its address, so that nobody deploys pods for it, and has no network, so that nobody calls it.
func (t *T) GatewayWith(c *Cluster, l Listener, at *Service) Subject {
	var real gateway.Gateway
	t.NoError(c.Cluster.Client().Get(t.ctx, t.gatewayKeys(c)[0], &real))
	kind := gateway.HostnameAddressType
	key := client.ObjectKey{Namespace: fixture.MeshNamespace, Name: t.Name(l.Word)}
	t.Apply(Clusters{c}, func(*Cluster) client.Object {
		g := &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Spec: *real.Spec.DeepCopy()}
		g.Spec.Addresses = []gateway.GatewaySpecAddress{{Type: &kind, Value: at.Host()}}
		g.Spec.Listeners = g.Spec.Listeners[:1]
		l.Change(&g.Spec.Listeners[0])
		return g
	})
	return Probe("conditions of a listener in "+c.Name+" with "+l.Says, func(ctx context.Context) (any, error) {
		var g gateway.Gateway
		if err := c.Cluster.Client().Get(ctx, key, &g); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		var conditions []metav1.Condition
		for _, s := range g.Status.Listeners {
			conditions = append(conditions, s.Conditions...)
		}
		return conditions, nil
	})
}
