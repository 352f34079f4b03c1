package spec

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"istio.io/api/label"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/undo"
	"ambient.test/conformance/framework/wait"
)

// GatewayLack is something that an east-west gateway needs to count, taken from it.
type GatewayLack struct {
	// Says completes "a gateway ...".
	Says string

	take func(g *gateway.Gateway, nobody string)
	// address says that the status must have no address either. istiod never takes one away.
	address bool
}

// What an east-west gateway needs to count. Without its class or address nobody manages the
// gateway, and its pods stay as they are.
var (
	WithoutNetwork = GatewayLack{Says: "without a network", take: func(g *gateway.Gateway, _ string) {
		delete(g.Labels, label.TopologyNetwork.Name)
	}}
	OfOtherClass = GatewayLack{Says: "of another class", take: func(g *gateway.Gateway, nobody string) {
		g.Spec.GatewayClassName = gateway.ObjectName(nobody)
	}}
	WithoutAddress = GatewayLack{Says: "without an address", address: true, take: func(g *gateway.Gateway, nobody string) {
		kind := gateway.HostnameAddressType
		g.Spec.Addresses = []gateway.GatewaySpecAddress{{Type: &kind, Value: nobody}}
	}}
	WithoutTermination = GatewayLack{Says: "without a listener that ends HBONE", take: func(g *gateway.Gateway, _ string) {
		mode := gateway.TLSModePassthrough
		for i := range g.Spec.Listeners {
			g.Spec.Listeners[i].TLS = &gateway.ListenerTLSConfig{Mode: &mode}
		}
	}}
)

// OnNetwork takes its network from a gateway and puts it on another one.
func OnNetwork(name string) GatewayLack {
	return GatewayLack{Says: "on network " + name, take: func(g *gateway.Gateway, _ string) { g.Labels[label.TopologyNetwork.Name] = name }}
}

// TakeFromGateways takes something from each east-west gateway of a cluster. restore gives it back,
// and waits until the gateways are programmed and their pods rolled out; the end of the spec does
// so at the latest.
func (t *T) TakeFromGateways(c *Cluster, l GatewayLack) (restore func()) {
	keys := t.gatewayKeys(c)
	var before []*kept
	t.change(func() {
		for _, key := range keys {
			before = append(before, t.take(c, key, l))
		}
		t.Observe("the gateways of %s are now such %s", c.Name, l.Says)
	})
	return t.restoring(before...)
}

// take changes one gateway. What is returned gives back what was taken.
func (t *T) take(c *Cluster, key client.ObjectKey, l GatewayLack) *kept {
	deployments, err := eastwest.Deployments(t.ctx, c.Cluster)
	t.NoError(err)
	own := slices.DeleteFunc(deployments, func(d appsv1.Deployment) bool {
		return d.Namespace != key.Namespace || d.Labels[gateway.GatewayNameLabelKey] != key.Name
	})
	before := t.changeGateway(c, key, func(g *gateway.Gateway) { l.take(g, t.Name("nobody")) },
		undo.Field{"metadata", "labels"}, undo.Field{"spec"})
	before.undo = func(ctx context.Context) error {
		err := before.note.Undo(ctx)
		for _, d := range own {
			// The controller writes the pods' network a little after the Gateway's status.
			network := d.Spec.Template.Labels[label.TopologyNetwork.Name]
			asBefore := func(now *appsv1.Deployment, exists bool) (bool, string) {
				return exists && now.Spec.Template.Labels[label.TopologyNetwork.Name] == network, "its pods are not on network " + network
			}
			err = errors.Join(err, wait.Object(ctx, c.Cluster, &appsv1.DeploymentList{}, d.Namespace, d.Name, asBefore),
				wait.Deployment(ctx, c.Cluster, d.Namespace, d.Name, 0))
		}
		return err
	}
	if l.address {
		t.NoError(t.forgetAddresses(c, key))
	}
	return before
}

// gatewayKeys are a cluster's east-west gateways, at least one.
func (t *T) gatewayKeys(c *Cluster) (keys []client.ObjectKey) {
	all, err := inspect.Gateways(t.ctx, c.Cluster.Client(), c.EastWestClass())
	t.NoError(err)
	if len(all) == 0 {
		t.NoError(fmt.Errorf("%s: there is no east-west gateway: run `%s get gateways -A`", c.Name, c.Kubectl()))
	}
	for _, x := range all {
		keys = append(keys, client.ObjectKey{Namespace: x.Namespace, Name: x.Name})
	}
	return keys
}

// changeGateway changes a Gateway of the mesh, in fields that are as before after the spec.
func (t *T) changeGateway(c *Cluster, key client.ObjectKey, change func(*gateway.Gateway), fields ...undo.Field) *kept {
	g := &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	before := t.keep(c, g, fields...)
	t.NoError(c.Cluster.Client().Get(t.ctx, key, g))
	was := client.MergeFrom(g.DeepCopy())
	change(g)
	if err := c.Cluster.Client().Patch(t.ctx, g, was); err != nil {
		t.NoError(fmt.Errorf("%s: gateway %s: %w", c.Name, key, err))
	}
	return before
}

// forgetAddresses takes the addresses out of a Gateway's status, once its controller has written
// that they cannot be used.
func (t *T) forgetAddresses(c *Cluster, key client.ObjectKey) error {
	var now *gateway.Gateway
	seen := func(g *gateway.Gateway, exists bool) (bool, string) {
		if now = g; !exists {
			return false, "it does not exist"
		}
		p := meta.FindStatusCondition(g.Status.Conditions, string(gateway.GatewayConditionProgrammed))
		return p != nil && p.ObservedGeneration >= g.Generation, "its controller has not seen the change"
	}
	if err := wait.Object(t.ctx, c.Cluster, &gateway.GatewayList{}, key.Namespace, key.Name, seen); err != nil {
		return err
	}
	was := client.MergeFrom(now.DeepCopy())
	now.Status.Addresses = nil
	if err := c.Cluster.Client().Status().Patch(t.ctx, now, was); err != nil {
		return fmt.Errorf("%s: status of gateway %s: %w", c.Name, key, err)
	}
	return nil
}
