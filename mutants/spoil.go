package mutants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	istio "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/workload"
)

// verdict is what becomes of an object that has appeared or changed.
type verdict int

const (
	leave  verdict = iota
	update         // as the judge has changed it
	remove
)

// ofSpecs are the objects in the namespace of the specs.
const ofSpecs = client.InNamespace(fixture.MeshNamespace)

// spoil watches objects of one type in a cluster, and spoils each as soon as it appears or changes. Undo ends that; what specs made, they remove.
func spoil[T client.Object](c *mesh.Cluster, list client.ObjectList, which client.ListOption, judge func(T) verdict) (Undo, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w, err := c.Client().Watch(ctx, list, which)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: watch %T: %w", c.Name, list, err)
	}
	var failed []error
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for ctx.Err() == nil {
			for e := range w.ResultChan() {
				o, ok := e.Object.(T)
				if !ok || e.Type == watch.Deleted || o.GetDeletionTimestamp() != nil {
					continue
				}
				var err error
				switch judge(o) {
				case update:
					err = c.Client().Update(ctx, o)
				case remove:
					err = c.Client().Delete(ctx, o)
				}
				// An object that has changed meanwhile comes again as an event of its own.
				if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
					failed = append(failed, fmt.Errorf("%s: spoil %T %s: %w", c.Name, o, o.GetName(), err))
				}
			}
			w.Stop()
			if w, err = c.Client().Watch(ctx, list, which); err != nil {
				if ctx.Err() == nil {
					failed = append(failed, err)
				}
				return
			}
		}
		w.Stop()
	}()
	return func(context.Context) error {
		cancel()
		done.Wait()
		return errors.Join(failed...)
	}, nil
}

// ofWaypoint says whether a Service is the one that istiod makes for a waypoint.
func ofWaypoint(s *corev1.Service) bool {
	return s.Labels["gateway.networking.k8s.io/gateway-name"] != ""
}

func spoilServices(cluster int, judge func(*corev1.Service) verdict) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		c := f.Clusters[cluster]
		undo, err := spoil(c, &corev1.ServiceList{}, ofSpecs, judge)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return errors.Join(undo(ctx), globalWaypoint(ctx, c)) }, nil
	}
}

// globalWaypoint gives the standing waypoint's Service its label back, where there is one.
func globalWaypoint(ctx context.Context, c *mesh.Cluster) error {
	s := &corev1.Service{}
	s.Namespace, s.Name = fixture.MeshNamespace, fixture.Waypoint
	return client.IgnoreNotFound(patch(ctx, c, s, map[string]any{"metadata": map[string]any{"labels": map[string]any{workload.LabelGlobal: "true"}}}))
}

func removeGlobal(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Labels[workload.LabelGlobal] == "" {
		return leave
	}
	delete(s.Labels, workload.LabelGlobal)
	return update
}

// allGlobal labels the services of specs in every cluster; a spec that takes the label away finds it there again.
func allGlobal(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	var undo []Undo
	all := func(ctx context.Context) (err error) {
		for _, u := range undo {
			err = errors.Join(err, u(ctx))
		}
		return err
	}
	for i := range f.Clusters {
		u, err := spoilServices(i, addGlobal)(ctx, f)
		if err != nil {
			return nil, errors.Join(err, all(context.WithoutCancel(ctx)))
		}
		undo = append(undo, u)
	}
	return all, nil
}

func addGlobal(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Labels[workload.LabelGlobal] != "" || s.Labels[workload.LabelOwner] == "standing" {
		return leave
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[workload.LabelGlobal] = "true"
	return update
}

func removeGlobalFromWaypoint(s *corev1.Service) verdict {
	if !ofWaypoint(s) || s.Labels[workload.LabelGlobal] == "" {
		return leave
	}
	delete(s.Labels, workload.LabelGlobal)
	return update
}

const renamed = "renamed"

func renameWaypoint(s *corev1.Service) verdict {
	if w := s.Labels[workload.LabelWaypoint]; w == "" || w == renamed {
		return leave
	}
	s.Labels[workload.LabelWaypoint] = renamed
	return update
}

func noRoutes(_ context.Context, f *mesh.Fleet) (Undo, error) {
	return spoil(f.Clusters[1], &gateway.HTTPRouteList{}, ofSpecs, func(*gateway.HTTPRoute) verdict { return remove })
}

func noPolicies(_ context.Context, f *mesh.Fleet) (Undo, error) {
	return spoil(f.Clusters[1], &security.AuthorizationPolicyList{}, ofSpecs, func(*security.AuthorizationPolicy) verdict { return remove })
}

// keepNetworkLabel gives istio-system of cluster1 its network back when a spec takes it away: a mesh that has its network from elsewhere looks like that.
func keepNetworkLabel(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	ns := &corev1.Namespace{}
	ns.Name = istiod.Namespace
	if err := get(ctx, c, ns); err != nil {
		return nil, err
	}
	if ns.Labels[networkLabel] == "" {
		return nil, fmt.Errorf("%s: %s has no network already: mend the mesh first", c.Name, ns.Name)
	}
	return spoil(c, &corev1.NamespaceList{}, client.MatchingFields{"metadata.name": istiod.Namespace}, loyal(ns.Labels[networkLabel]))
}

func loyal(network string) func(*corev1.Namespace) verdict {
	return func(ns *corev1.Namespace) verdict {
		if ns.Labels[networkLabel] == network {
			return leave
		}
		if ns.Labels == nil {
			ns.Labels = map[string]string{}
		}
		ns.Labels[networkLabel] = network
		return update
	}
}

func noOutlierDetection(_ context.Context, f *mesh.Fleet) (Undo, error) {
	return spoil(f.Clusters[0], &istio.DestinationRuleList{}, ofSpecs, withoutOutlierDetection)
}

func withoutOutlierDetection(r *istio.DestinationRule) verdict {
	if r.Spec.GetTrafficPolicy().GetOutlierDetection() == nil {
		return leave
	}
	r.Spec.TrafficPolicy.OutlierDetection = nil
	return update
}

// liars makes the servers of specs say that they are in another cluster. The standing ones are left alone.
func liars(_ context.Context, f *mesh.Fleet) (Undo, error) {
	return spoil(f.Clusters[1], &appsv1.DeploymentList{}, ofSpecs, lying(f.Clusters[1].Name, f.Clusters[0].Name))
}

func lying(truth, lie string) func(*appsv1.Deployment) verdict {
	return func(d *appsv1.Deployment) verdict {
		if d.Labels[workload.LabelOwner] == "standing" || len(d.Spec.Template.Spec.Containers) != 1 {
			return leave
		}
		args := d.Spec.Template.Spec.Containers[0].Args
		i := slices.Index(args, "--cluster")
		if i < 0 || i+1 == len(args) || args[i+1] != truth {
			return leave
		}
		args[i+1] = lie
		return update
	}
}
