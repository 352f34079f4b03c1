package spec

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/undo"
	"ambient.test/conformance/framework/wait"
)

// addressesAnnotation asks MetalLB, which serves the load balancers of a fleet of ours, for
// addresses.
const addressesAnnotation = "metallb.io/loadBalancerIPs"

// MoveGateway gives the east-west gateway of a cluster other addresses, and waits until its status
// has them. back gives it those it had; the end of the spec does so at the latest.
func (t *T) MoveGateway(c *Cluster) (back func()) {
	keys := t.gatewayKeys(c)
	if len(keys) != 1 || c.Kind == nil {
		t.NoError(fmt.Errorf("%s: want one east-west gateway, on load balancers of ours, found %d", c.Name, len(keys)))
	}
	var g gateway.Gateway
	t.NoError(c.Cluster.Client().Get(t.ctx, keys[0], &g))
	was := addressesOf(&g)
	var now []string
	for _, pool := range strings.Split(c.Kind.GatewayPool, ",") {
		first, last, _ := strings.Cut(pool, "-")
		if slices.Contains(was, last) {
			last = first
		}
		now = append(now, last)
	}
	ask := func(addresses []string) func(*gateway.Gateway) {
		return func(g *gateway.Gateway) {
			if g.Spec.Infrastructure == nil {
				g.Spec.Infrastructure = &gateway.GatewayInfrastructure{}
			}
			if g.Spec.Infrastructure.Annotations == nil {
				g.Spec.Infrastructure.Annotations = map[gateway.AnnotationKey]gateway.AnnotationValue{}
			}
			g.Spec.Infrastructure.Annotations[addressesAnnotation] = gateway.AnnotationValue(strings.Join(addresses, ","))
		}
	}
	arrived := func(ctx context.Context, want []string) error {
		return wait.Object(ctx, c.Cluster, &gateway.GatewayList{}, keys[0].Namespace, keys[0].Name,
			func(g *gateway.Gateway, exists bool) (bool, string) {
				return exists && slices.Equal(addressesOf(g), want), fmt.Sprintf("it has the addresses %v, not %v", addressesOf(g), want)
			})
	}
	var before *kept
	t.change(func() {
		before = t.changeGateway(c, keys[0], ask(now), undo.Field{"spec", "infrastructure"})
		before.undo = func(ctx context.Context) error {
			// Without the wish it keeps what it has.
			if err := c.Cluster.Client().Get(ctx, keys[0], &g); err != nil {
				return fmt.Errorf("%s: gateway %s: %w", c.Name, keys[0], err)
			}
			asked := client.MergeFrom(g.DeepCopy())
			ask(was)(&g)
			if err := c.Cluster.Client().Patch(ctx, &g, asked); err != nil {
				return fmt.Errorf("%s: gateway %s: %w", c.Name, keys[0], err)
			}
			if err := arrived(ctx, was); err != nil {
				return err
			}
			return before.note.Undo(ctx)
		}
		t.NoError(arrived(t.ctx, now))
	})
	t.Observe("the gateway of %s moved from %s to %s", c.Name, strings.Join(was, ", "), strings.Join(now, ", "))
	return t.restoring(before)
}

// addressesOf are those that a Gateway's status has, sorted.
func addressesOf(g *gateway.Gateway) (all []string) {
	for _, a := range g.Status.Addresses {
		all = append(all, a.Value)
	}
	slices.Sort(all)
	return all
}
