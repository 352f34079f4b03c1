package mutants

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"istio.io/api/label"
	security "istio.io/client-go/pkg/apis/security/v1"
	"istio.io/istio/pkg/config/constants"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/remotesecret"
	"ambient.test/conformance/internal/sleep"
)

// keepRemoteSecrets writes the remote secrets of cluster1 again and again as they were.
func keepRemoteSecrets(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	secrets, err := remotesecret.All(ctx, c)
	if err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var failed error
	var done sync.WaitGroup
	done.Go(func() {
		for sleep.For(background, 100*time.Millisecond) {
			for i := range secrets {
				if err := remotesecret.Put(background, c, &secrets[i]); err != nil && background.Err() == nil {
					failed = err
				}
			}
		}
	})
	return func(context.Context) error {
		stop()
		done.Wait()
		return failed
	}, nil
}

// remoteSecrets are the remote secrets of a cluster as they were, to tell new ones from.
func remoteSecrets(ctx context.Context, c *mesh.Cluster) (map[types.UID]corev1.Secret, error) {
	all, err := remotesecret.All(ctx, c)
	if err != nil {
		return nil, err
	}
	known := map[types.UID]corev1.Secret{}
	for _, s := range all {
		known[s.UID] = s
	}
	return known, nil
}

// changed says that a remote secret is new, or has another content.
func changed(known map[types.UID]corev1.Secret, s *corev1.Secret) bool {
	before, ok := known[s.UID]
	return !ok || !maps.EqualFunc(before.Data, s.Data, bytes.Equal)
}

// ofIstiod selects the namespace of remote secrets and these alone.
var ofIstiod = &client.ListOptions{Namespace: istiod.Namespace,
	LabelSelector: labels.SelectorFromSet(labels.Set{remotesecret.Label: "true"})}

// dropNewRemoteSecret deletes the first remote secret of cluster1 that is another one. The next one
// stays: what a spec restores must remain.
func dropNewRemoteSecret(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	known, err := remoteSecrets(ctx, c)
	if err != nil {
		return nil, err
	}
	dropped := false
	stop, err := interfere(ctx, c, &corev1.SecretList{}, ofIstiod, func(s *corev1.Secret) verdict {
		if dropped || !changed(known, s) {
			return leave
		}
		dropped = true
		return remove
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return errors.Join(stop(ctx), restoreRemoteSecrets(ctx, f, slices.Collect(maps.Values(known))))
	}, nil
}

// noIstiodAfterUpdates ends the pods of cluster1's istiod once its remote secrets have changed some
// times.
func noIstiodAfterUpdates(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	const most = 5
	c, changes := f.Clusters[0], 0
	return interfere(ctx, c, &corev1.SecretList{}, ofIstiod, func(*corev1.Secret) verdict {
		if changes++; changes == most {
			if err := c.Client().DeleteAllOf(context.WithoutCancel(ctx), &corev1.Pod{}, client.InNamespace(istiod.Namespace),
				client.MatchingLabels{"app": "istiod"}); err != nil {
				changes = 0
			}
		}
		return leave
	})
}

// labelRemoteSecrets gives Secrets of cluster1 that are named as its remote secrets the label of
// these.
func labelRemoteSecrets(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	secrets, err := remotesecret.All(ctx, c)
	if err != nil {
		return nil, err
	}
	return interfere(ctx, c, &corev1.SecretList{}, client.InNamespace(istiod.Namespace), func(s *corev1.Secret) verdict {
		if s.Labels[remotesecret.Label] != "" || !slices.ContainsFunc(secrets, func(x corev1.Secret) bool { return x.Name == s.Name }) {
			return leave
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[remotesecret.Label] = "true"
		return update
	})
}

// correctRemoteSecrets gives remote secrets of cluster1 their kubeconfigs back. Those that are
// deleted stay so.
func correctRemoteSecrets(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	secrets, err := remotesecret.All(ctx, c)
	if err != nil {
		return nil, err
	}
	return interfere(ctx, c, &corev1.SecretList{}, ofIstiod, func(s *corev1.Secret) verdict {
		for _, before := range secrets {
			if before.Name == s.Name && !maps.EqualFunc(before.Data, s.Data, bytes.Equal) {
				s.Data = before.Data
				return update
			}
		}
		return leave
	})
}

// noGatewayWithoutIstiod scales the gateway of cluster2 to zero once istiod of cluster1 has no
// pods.
func noGatewayWithoutIstiod(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	a, b := f.Clusters[0], f.Clusters[1]
	d, err := eastwest.Deployment(ctx, b)
	if err != nil {
		return nil, err
	}
	return wheneverWithoutPods(ctx, a, client.ObjectKey{Namespace: istiod.Namespace, Name: istiod.Deployment(a.Revision)},
		func(ctx context.Context) (Undo, error) { return scaled(ctx, b, d.Namespace, d.Name) })
}

// noGatewayAfterRemoval scales the gateway of cluster2 to zero while cluster1 has a remote secret
// less.
func noGatewayAfterRemoval(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	a, b := f.Clusters[0], f.Clusters[1]
	d, err := eastwest.Deployment(ctx, b)
	if err != nil {
		return nil, err
	}
	known, err := remotesecret.All(ctx, a)
	if err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var undo Undo
	var failed []error
	restore := func(ctx context.Context) {
		if undo != nil {
			failed, undo = append(failed, undo(ctx)), nil
		}
	}
	var done sync.WaitGroup
	done.Go(func() {
		for sleep.For(background, 100*time.Millisecond) {
			now, err := remotesecret.All(background, a)
			switch {
			case err != nil: // the next look may work
			case len(now) == len(known):
				restore(context.WithoutCancel(ctx))
			case undo == nil:
				undo, err = scaled(context.WithoutCancel(ctx), b, d.Namespace, d.Name)
				failed = append(failed, err)
			}
		}
	})
	return func(ctx context.Context) error {
		stop()
		done.Wait()
		restore(ctx)
		return errors.Join(failed...)
	}, nil
}

// uncaptureNew takes pods that a cluster gets from now on out of the mesh.
func uncaptureNew(cluster int) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		mode, since := label.IoIstioDataplaneMode.Name, time.Now()
		return interfere(ctx, f.Clusters[cluster], &corev1.PodList{}, ofSpecs, func(p *corev1.Pod) verdict {
			if p.CreationTimestamp.Time.Before(since) || p.Labels[mode] != "" {
				return leave
			}
			p.Labels[mode] = constants.DataplaneModeNone
			return update
		})
	}
}

// noMutualTLSAfterRotation deletes PeerAuthentications of specs in cluster1 once one of its remote
// secrets is another one.
func noMutualTLSAfterRotation(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	known, err := remoteSecrets(ctx, c)
	if err != nil {
		return nil, err
	}
	rotated := make(chan struct{})
	var once sync.Once
	stopWatch, err := interfere(ctx, c, &corev1.SecretList{}, ofIstiod, func(s *corev1.Secret) verdict {
		if changed(known, s) {
			once.Do(func() { close(rotated) })
		}
		return leave
	})
	if err != nil {
		return nil, err
	}
	stop, err := interfere(ctx, c, &security.PeerAuthenticationList{}, ofSpecs, func(*security.PeerAuthentication) verdict {
		select {
		case <-rotated:
			return remove
		default:
			return leave
		}
	})
	if err != nil {
		return nil, errors.Join(err, stopWatch(ctx))
	}
	return func(ctx context.Context) error { return errors.Join(stop(ctx), stopWatch(ctx)) }, nil
}
