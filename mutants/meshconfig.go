package mutants

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/internal/sleep"
)

func meshSetting(s istiod.MeshSetting) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		return istiod.ChangeMeshConfig(ctx, f.Clusters[0], s)
	}
}

// noScopes empties serviceScopeConfigs, which gives the label istio.io/global its meaning.
var noScopes = meshSetting(spec.ScopeRules())

// namespaceRule makes the services of labeled namespaces global.
var namespaceRule = meshSetting(spec.MoreScopeRules(
	spec.ScopeRule{Namespaces: spec.Labeled(workload.LabelGlobal, "true"), Scope: spec.GlobalScope}))

// meshConfig reads the ConfigMap of a cluster's mesh configuration.
func meshConfig(ctx context.Context, c *mesh.Cluster) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: istiod.Namespace, Name: istiod.ConfigMap(c.Revision)}}
	return cm, get(ctx, c, cm)
}

// onMeshConfig interferes with the mesh configuration of cluster1 whenever it is not as it was.
func onMeshConfig(ctx context.Context, c *mesh.Cluster, changed func(before, now *corev1.ConfigMap) verdict) (Undo, error) {
	before, err := meshConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	return interfere(ctx, c, &corev1.ConfigMapList{}, client.MatchingFields{metav1.ObjectNameField: before.Name},
		func(now *corev1.ConfigMap) verdict {
			if now.Namespace != before.Namespace || now.Data["mesh"] == before.Data["mesh"] {
				return leave
			}
			return changed(before, now)
		})
}

// keepMeshConfig lets a spec see that istiod has taken its change, and then takes it back.
func keepMeshConfig(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return onMeshConfig(ctx, f.Clusters[0], func(before, now *corev1.ConfigMap) verdict {
		sleep.For(ctx, 2*time.Second)
		now.Data["mesh"] = before.Data["mesh"]
		return update
	})
}

// copyMeshConfig gives cluster2 what a spec gives cluster1.
func copyMeshConfig(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	to, err := meshConfig(ctx, f.Clusters[1])
	if err != nil {
		return nil, err
	}
	write := func(ctx context.Context, config string) error {
		before := client.MergeFrom(to.DeepCopy())
		to.Data["mesh"] = config
		return f.Clusters[1].Client().Patch(ctx, to, before)
	}
	was := to.Data["mesh"]
	var failed error
	stop, err := onMeshConfig(ctx, f.Clusters[0], func(_, now *corev1.ConfigMap) verdict {
		failed = errors.Join(failed, write(context.WithoutCancel(ctx), now.Data["mesh"]))
		return leave
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(stop(ctx), failed, write(ctx, was)) }, nil
}
