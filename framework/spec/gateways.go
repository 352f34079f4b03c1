package spec

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/envoy"
	"ambient.test/conformance/framework/wait"
)

// Gateways are all east-west gateways of one cluster.
type Gateways struct {
	t       *T
	cluster *Cluster
	keys    []client.ObjectKey
	sent    []int // to pods, when last read
}

// AddGateway adds a copy of an east-west gateway that a cluster has, waits until it is programmed,
// and returns all that the cluster has then. The copy is gone after the spec.
func (t *T) AddGateway(c *Cluster) *Gateways {
	var one gateway.Gateway
	keys := t.gatewayKeys(c)
	t.NoError(c.Cluster.Client().Get(t.ctx, keys[0], &one))
	added := client.ObjectKey{Namespace: one.Namespace, Name: t.Name("gateway")}
	t.Apply(Clusters{c}, func(*Cluster) client.Object {
		return &gateway.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: added.Namespace, Name: added.Name, Labels: one.Labels},
			Spec:       *one.Spec.DeepCopy(),
		}
	})
	programmed := func(g *gateway.Gateway, exists bool) (bool, string) {
		return exists && len(addressesOf(g)) > 0 && meta.IsStatusConditionTrue(g.Status.Conditions, string(gateway.GatewayConditionProgrammed)),
			"it is not programmed, or has no address"
	}
	t.NoError(wait.Object(t.ctx, c.Cluster, &gateway.GatewayList{}, added.Namespace, added.Name, programmed))
	t.Changed()
	g := &Gateways{t: t, cluster: c, keys: append(keys, added)}
	t.NoError(g.read(t.ctx))
	return g
}

// tunnelPort is how the address of a pod of the mesh ends.
var tunnelPort = ":" + strconv.Itoa(eastwest.Port)

// Used returns which of the gateways have handed connections on to pods since this was last asked.
func (g *Gateways) Used() (names []string) {
	before := g.sent
	g.t.NoError(g.read(g.t.ctx))
	for i, n := range g.sent {
		if n > before[i] {
			names = append(names, g.keys[i].Name)
		}
	}
	return names
}

// read counts what the ready pods of each gateway have sent. Those that come and go are left out: of
// them nothing is learned.
func (g *Gateways) read(ctx context.Context) error {
	g.sent = nil
	for _, key := range g.keys {
		var pods corev1.PodList
		if err := g.cluster.Cluster.Client().List(ctx, &pods, client.InNamespace(key.Namespace),
			client.MatchingLabels{gateway.GatewayNameLabelKey: key.Name}); err != nil {
			return fmt.Errorf("%s: pods of %s: %w", g.cluster, key.Name, err)
		}
		sent, err := envoy.SentBy(ctx, g.cluster.Cluster, slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool {
			return p.DeletionTimestamp != nil || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
		}))
		if err != nil {
			return err
		}
		n := 0
		for host, requests := range sent {
			if strings.HasSuffix(host, tunnelPort) { // else probes of its own health
				n += requests
			}
		}
		g.sent = append(g.sent, n)
	}
	return nil
}

// Names are the gateways' names.
func (g *Gateways) Names() (all []string) {
	for _, key := range g.keys {
		all = append(all, key.Name)
	}
	return all
}

// Only takes the network from all gateways but one. restore gives it back; the end of the spec does
// so at the latest.
func (g *Gateways) Only(name string) (restore func()) {
	var before []*kept
	g.t.change(func() {
		for _, key := range g.keys {
			if key.Name != name {
				before = append(before, g.t.take(g.cluster, key, WithoutNetwork))
			}
		}
	})
	return g.t.restoring(before...)
}
