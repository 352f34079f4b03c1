package spec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
)

// errNotOurs is why an event of nodes does not happen.
var errNotOurs = errors.New("the nodes are not the suite's to change")

// PowerCut ends everything on the nodes of a cluster at once. Once every pod of the cluster has started
// again and is ready something else is done, at that moment, and it is over.
func (t *T) PowerCut(c *Cluster, then func()) Event {
	return Event{Says: "the nodes of " + c.Name + " lose their power for a moment", Do: func(ctx context.Context) error {
		nodes, err := t.nodeNames(ctx, c)
		if err != nil {
			return err
		}
		begun := time.Now()
		if err := t.StopNodes(ctx, c.Cluster, nodes...); err != nil {
			return err
		}
		if err := t.StartNodes(ctx); err != nil {
			return err
		}
		if err := wait.Restarted(ctx, c.Cluster, begun); err != nil {
			return err
		}
		then()
		return nil
	}}
}

// NodeAbsent is a time without a node of a cluster, in which something else is done, once the cluster
// has noticed. It is over when every pod of the node has started again and is ready.
func (t *T) NodeAbsent(c *Cluster, node string, during func()) Event {
	var begun time.Time
	return Event{
		Says: fmt.Sprintf("node %s of %s is absent", node, c),
		Do: func(ctx context.Context) error {
			if t.StopNodes == nil {
				return errNotOurs
			}
			begun = time.Now()
			if err := t.StopNodes(ctx, c.Cluster, node); err != nil {
				return err
			}
			if err := wait.NodeLost(ctx, c.Cluster, node); err != nil {
				return err
			}
			during()
			return nil
		},
		Undo: func(ctx context.Context) error {
			if begun.IsZero() {
				return nil
			}
			if err := t.StartNodes(ctx); err != nil {
				return err
			}
			return wait.Restarted(ctx, c.Cluster, begun, client.MatchingFields{"spec.nodeName": node})
		},
	}
}

// NodeBeside is a node of a cluster on which its first client is not, one without an API server if there
// is.
func (t *T) NodeBeside(c *Cluster) string {
	var pod corev1.Pod
	at := c.Client.Pod
	t.NoError(c.Cluster.Client().Get(t.ctx, client.ObjectKey{Namespace: at.Namespace, Name: at.Name}, &pod))
	nodes, err := t.nodeNames(t.ctx, c)
	t.NoError(err)
	i := slices.IndexFunc(nodes, func(n string) bool { return n != pod.Spec.NodeName })
	if i < 0 {
		t.NoError(fmt.Errorf("%s: every node has the client %s: %v", c, at.Name, nodes))
	}
	return nodes[i]
}

// nodeNames are the names of a cluster's nodes, those without an API server first. The error says that the
// suite may not change them.
func (t *T) nodeNames(ctx context.Context, c *Cluster) (names []string, err error) {
	if t.StopNodes == nil {
		return nil, errNotOurs
	}
	var all corev1.NodeList
	if err := c.Cluster.Client().List(ctx, &all); err != nil {
		return nil, fmt.Errorf("%s: nodes: %w", c, err)
	}
	for _, n := range all.Items {
		if _, serves := n.Labels[controlPlane]; serves {
			names = append(names, n.Name)
		} else {
			names = slices.Insert(names, 0, n.Name)
		}
	}
	return names, nil
}

// controlPlane labels the nodes that run an API server.
const controlPlane = "node-role.kubernetes.io/control-plane"

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
