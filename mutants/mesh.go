package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	"istio.io/api/label"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/install"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/remotesecret"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/framework/ztunnel"
	"ambient.test/conformance/internal/sleep"
)

func get(ctx context.Context, c *mesh.Cluster, o client.Object) error {
	if err := c.Client().Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return fmt.Errorf("%s: %T %s: %w", c.Name, o, client.ObjectKeyFromObject(o), err)
	}
	return nil
}

// scaled scales a Deployment to zero; undo restores its replicas.
func scaled(ctx context.Context, c *mesh.Cluster, namespace, name string) (Undo, error) {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = namespace, name
	if err := get(ctx, c, d); err != nil {
		return nil, err
	}
	had := int32(1)
	if d.Spec.Replicas != nil {
		had = *d.Spec.Replicas
	}
	if had == 0 {
		return nil, fmt.Errorf("%s: %s/%s has no replicas already: restore the mesh first", c.Name, namespace, name)
	}
	undo := func(ctx context.Context) error { return workload.Scale(ctx, c, namespace, name, had) }
	if err := workload.Scale(ctx, c, namespace, name, 0); err != nil {
		return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}

func noGateway(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	d, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	return scaled(ctx, c, d.Namespace, d.Name)
}

// recreateGateway lets a restart of the gateway of cluster2 begin with the end of all its pods.
func recreateGateway(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	d, err := eastwest.Deployment(ctx, c)
	if err != nil {
		return nil, err
	}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return nil, fmt.Errorf("%s: %s has the strategy %s already: restore the mesh first", c.Name, client.ObjectKeyFromObject(d),
			d.Spec.Strategy.Type)
	}
	set := func(ctx context.Context, s appsv1.DeploymentStrategy) error {
		b, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/strategy", "value": s}})
		if err != nil {
			return err
		}
		if err := c.Client().Patch(ctx, d.DeepCopy(), client.RawPatch(types.JSONPatchType, b)); err != nil {
			return fmt.Errorf("%s: strategy of %s: %w", c.Name, client.ObjectKeyFromObject(d), err)
		}
		return nil
	}
	return func(ctx context.Context) error { return set(ctx, d.Spec.Strategy) },
		set(ctx, appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType})
}

// forgetOnRestart deletes the remote secrets of cluster1 once its istiod is restarted, so that the
// new one knows no other cluster.
func forgetOnRestart(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return forgetOnceRestarted(ctx, f, func(*appsv1.Deployment) bool { return true }, 0)
}

// forgetAfterRestart deletes the remote secrets of cluster1 some time after its istiod has
// restarted.
func forgetAfterRestart(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	const later = 8 * time.Second
	return forgetOnceRestarted(ctx, f, func(d *appsv1.Deployment) bool {
		s := d.Status
		return s.ObservedGeneration >= d.Generation && s.Replicas == s.UpdatedReplicas && s.ReadyReplicas == s.Replicas
	}, later)
}

func forgetOnceRestarted(ctx context.Context, f *mesh.Fleet, restarted func(*appsv1.Deployment) bool, later time.Duration) (Undo, error) {
	c := f.Clusters[0]
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = istiod.Namespace, istiod.Deployment(c.Revision)
	if err := get(ctx, c, d); err != nil {
		return nil, err
	}
	var secrets Undo
	var forgetting errgroup.Group
	begun := false
	stop, err := interfere(ctx, c, &appsv1.DeploymentList{}, client.MatchingFields{metav1.ObjectNameField: d.Name},
		func(o *appsv1.Deployment) verdict {
			anew := o.Spec.Template.Annotations[workload.RestartedAt] != d.Spec.Template.Annotations[workload.RestartedAt]
			if o.Namespace == d.Namespace && anew && !begun && restarted(o) {
				begun = true
				forgetting.Go(func() (err error) {
					after := context.WithoutCancel(ctx)
					sleep.For(after, later)
					secrets, err = noRemoteSecret(after, f)
					return err
				})
			}
			return leave
		})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := errors.Join(stop(ctx), forgetting.Wait()); err != nil {
			return err
		}
		if secrets == nil {
			return nil
		}
		return secrets(ctx)
	}, nil
}

// istiodComesBack gives istiod of cluster1 its replicas back as soon as they were taken away.
func istiodComesBack(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c, had := f.Clusters[0], &appsv1.Deployment{}
	had.Namespace, had.Name = istiod.Namespace, istiod.Deployment(c.Revision)
	if err := get(ctx, c, had); err != nil {
		return nil, err
	}
	return wheneverWithoutPods(ctx, c, client.ObjectKeyFromObject(had), func(ctx context.Context) (Undo, error) {
		// Whoever took them away waits until they are gone, too.
		pods := client.MatchingLabels(had.Spec.Selector.MatchLabels)
		if err := wait.Gone(ctx, c, &corev1.PodList{}, client.InNamespace(had.Namespace), pods); err != nil {
			return nil, err
		}
		sleep.For(ctx, time.Second/2)
		return nil, setReplicas(ctx, c, had, *had.Spec.Replicas)
	})
}

// foreignCA gives cluster1 a CA of a root of its own as soon as the one it has changes. What has
// certificates of that root by then gets others when it is undone.
func foreignCA(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	foreign, _, err := install.ForeignCA(c.Name)
	if err != nil {
		return nil, err
	}
	had := &corev1.Secret{}
	had.Namespace, had.Name = foreign.Namespace, foreign.Name
	if err := get(ctx, c, had); err != nil {
		return nil, err
	}
	is := func(s, other *corev1.Secret) bool { return maps.EqualFunc(s.Data, other.Data, bytes.Equal) }
	given := false
	named := client.MatchingFields{metav1.ObjectNameField: had.Name}
	stop, err := interfere(ctx, c, &corev1.SecretList{}, named, func(s *corev1.Secret) verdict {
		if s.Namespace != had.Namespace || is(s, had) || is(s, foreign) {
			return leave
		}
		given, s.Data = true, foreign.Data
		return update
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := stop(ctx); err != nil || !given {
			return err
		}
		d, err := eastwest.Deployment(ctx, c)
		if err != nil {
			return err
		}
		proxies := &appsv1.DaemonSet{}
		proxies.Namespace, proxies.Name = ztunnel.Namespace, "ztunnel"
		return errors.Join(workload.Restart(ctx, c, d), workload.Restart(ctx, c, proxies))
	}, nil
}

func noIstiod(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return scaled(ctx, f.Clusters[0], istiod.Namespace, istiod.Deployment(f.Clusters[0].Revision))
}

// noRemoteSecret deletes all remote secrets of cluster1. Undo creates them again and waits until
// istiod has synced with the clusters.
func noRemoteSecret(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	secrets, err := remotesecret.All(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s: it has no remote secret already: restore the mesh first", c.Name)
	}
	undo := func(ctx context.Context) error { return restoreRemoteSecrets(ctx, f, secrets) }
	for _, s := range secrets {
		if err := remotesecret.Delete(ctx, c, &s); err != nil {
			return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
	}
	return undo, nil
}

// restoreRemoteSecrets writes remote secrets of cluster1 as they were, and waits until a new istiod has
// synced with the clusters.
func restoreRemoteSecrets(ctx context.Context, f *mesh.Fleet, secrets []corev1.Secret) error {
	c := f.Clusters[0]
	for i := range secrets {
		if err := remotesecret.Put(ctx, c, &secrets[i]); err != nil {
			return err
		}
	}
	return fixture.IstiodAnew(ctx, c, f.Names())
}

func noNetworkLabel(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	ns := func() *corev1.Namespace { n := &corev1.Namespace{}; n.Name = istiod.Namespace; return n }
	before := ns()
	if err := get(ctx, c, before); err != nil {
		return nil, err
	}
	set := func(ctx context.Context, network string) error {
		return apply.Label(ctx, c, ns(), label.TopologyNetwork.Name, network)
	}
	return func(ctx context.Context) error { return set(ctx, before.Labels[label.TopologyNetwork.Name]) }, set(ctx, "")
}

func istiodEnv(name, value string) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		d := &appsv1.Deployment{}
		d.Namespace, d.Name = istiod.Namespace, istiod.Deployment(f.Clusters[0].Revision)
		return workload.ChangeTemplate(ctx, f.Clusters[0], d, workload.Env("discovery", name, value))
	}
}

func ztunnelEnv(name, value string) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		d := &appsv1.DaemonSet{}
		d.Namespace, d.Name = ztunnel.Namespace, "ztunnel"
		return workload.ChangeTemplate(ctx, f.Clusters[0], d, workload.Env("istio-proxy", name, value))
	}
}

// faultyZtunnel lets cluster1 run an image of the stand-in for ztunnel that has a fault.
func faultyZtunnel(image, fault string) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		d := &appsv1.DaemonSet{}
		d.Namespace, d.Name = ztunnel.Namespace, "ztunnel"
		return workload.ChangeTemplate(ctx, f.Clusters[0], d, func(t *corev1.PodTemplateSpec) error {
			t.Spec.Containers[0].Image = image
			return workload.Env("istio-proxy", "AMC_FAULT", fault)(t)
		})
	}
}

// noOp restarts istiod and ztunnel as other mutants do, by a variable that means nothing.
func noOp(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	undoIstiod, err := istiodEnv("AMC_NOTHING", "true")(ctx, f)
	if err != nil {
		return nil, err
	}
	undoZtunnel, err := ztunnelEnv("AMC_NOTHING", "true")(ctx, f)
	if err != nil {
		return nil, errors.Join(err, undoIstiod(context.WithoutCancel(ctx)))
	}
	return func(ctx context.Context) error { return errors.Join(undoZtunnel(ctx), undoIstiod(ctx)) }, nil
}
