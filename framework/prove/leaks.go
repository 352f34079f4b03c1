package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/workload"
)

// madeBy selects what the specs of these behaviors make. Others are left alone: somebody else may be running them.
func madeBy(ids []string) string {
	return workload.LabelOwner + " in (" + strings.ToLower(strings.Join(ids, ",")) + ")"
}

const networkLabel = "topology.istio.io/network"

// Sweep removes what specs of these behaviors left in an earlier run that was killed, and names it. In clusters of ours it also gives istio-system its network label
// back, which a spec takes away for a while; in others that is left to their owners.
func Sweep(ctx context.Context, f *mesh.Fleet, ids []string) ([]string, error) {
	return everywhere(ctx, f, func(ctx context.Context, c *mesh.Cluster) ([]string, error) {
		var gone []string
		for _, ns := range []string{MeshNamespace, PlainNamespace} {
			some, err := apply.Sweep(ctx, c, ns, madeBy(ids))
			gone = append(gone, some...)
			if err != nil {
				return gone, err
			}
		}
		wrong, err := mislabeled(ctx, c)
		if err != nil || wrong == "" || f.Provider != mesh.ProviderKind {
			return gone, err
		}
		return append(gone, wrong), label(ctx, &Site{Cluster: c}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: istiod.Namespace}}, networkLabel, c.Network)
	})
}

// Leaks names what specs of these behaviors have left behind, empty when all is clean.
func Leaks(ctx context.Context, f *mesh.Fleet, ids []string) ([]string, error) {
	return everywhere(ctx, f, func(ctx context.Context, c *mesh.Cluster) ([]string, error) {
		var left []string
		for _, ns := range []string{MeshNamespace, PlainNamespace} {
			objects, err := apply.Left(ctx, c, ns, madeBy(ids))
			if err != nil {
				return left, err
			}
			for i := range objects {
				left = append(left, c.Name+": "+apply.Title(&objects[i]))
			}
		}
		wrong, err := mislabeled(ctx, c)
		if wrong != "" {
			left = append(left, wrong)
		}
		return left, err
	})
}

// mislabeled says how the network label of the control plane's namespace differs from the fleet file.
func mislabeled(ctx context.Context, c *mesh.Cluster) (string, error) {
	ns, err := c.Kube().CoreV1().Namespaces().Get(ctx, istiod.Namespace, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("%s: namespace %s: %w", c.Name, istiod.Namespace, err)
	}
	if is := ns.Labels[networkLabel]; is != c.Network {
		return fmt.Sprintf("%s: label %s of namespace %s was %q, the fleet file says %q", c.Name, networkLabel, istiod.Namespace, is, c.Network), nil
	}
	return "", nil
}

// everywhere asks all clusters side by side; the answers are sorted.
func everywhere(ctx context.Context, f *mesh.Fleet, ask func(context.Context, *mesh.Cluster) ([]string, error)) ([]string, error) {
	var mu sync.Mutex
	var all []string
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range f.Clusters {
		g.Go(func() error {
			if err := c.Connect(); err != nil {
				return err
			}
			some, err := ask(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, some...)
			return err
		})
	}
	err := g.Wait()
	slices.Sort(all)
	return all, err
}
