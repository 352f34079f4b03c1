package spec

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
)

// errNotOurs is why an event of nodes does not happen.
var errNotOurs = errors.New("the nodes are not the suite's to change")

// PowerCut ends everything on the nodes of a cluster at once. It is over when every pod of the
// cluster has started again and is ready.
func (t *T) PowerCut(c *Cluster) Event {
	return Event{Says: "the nodes of " + c.Name + " lose their power for a moment", Do: func(ctx context.Context) error {
		if t.Fixture.PowerCut == nil {
			return errNotOurs
		}
		begun := time.Now()
		if err := t.Fixture.PowerCut(ctx, c.Cluster); err != nil {
			return err
		}
		return wait.Restarted(ctx, c.Cluster, begun)
	}}
}

// SandboxesReplaced kills the sandboxes of a Service's pods in one cluster, so that each pod gets
// other namespaces and addresses and stays what it is. It is over when all of them are ready again.
func (t *T) SandboxesReplaced(c *Cluster, s *Service) Event {
	return Event{Says: fmt.Sprintf("the sandboxes of %s are replaced in %s", s.Name, c), Do: func(ctx context.Context) error {
		if t.KillSandbox == nil {
			return errNotOurs
		}
		opts := []client.ListOption{client.InNamespace(s.Namespace), client.MatchingLabels{workload.LabelApp: s.App}}
		var pods corev1.PodList
		if err := c.Cluster.Client().List(ctx, &pods, opts...); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		begun := time.Now()
		for _, p := range pods.Items {
			if err := t.KillSandbox(ctx, c.Cluster, p.Spec.NodeName, string(p.UID)); err != nil {
				return err
			}
		}
		return wait.Restarted(ctx, c.Cluster, begun, opts...)
	}}
}
