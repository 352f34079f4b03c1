package mutants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/api/annotation"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	securityapi "istio.io/api/security/v1"
	istio "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	"istio.io/istio/pkg/config/constants"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/internal/sleep"
)

// verdict says what to do with an object that has appeared or changed.
type verdict int

const (
	leave  verdict = iota
	update         // as the judge has changed it
	remove
)

// ofSpecs selects the objects in the namespace of the specs.
const ofSpecs = client.InNamespace(fixture.MeshNamespace)

// interfere changes or removes objects of one type in a cluster, as judge decides: those that exist
// at once, and any other as soon as it appears or changes. Undo stops this. It does not restore the
// objects, because the specs that made them remove them.
func interfere[T client.Object](
	ctx context.Context, c *mesh.Cluster, list client.ObjectList, which client.ListOption, judge func(T) verdict,
) (Undo, error) {
	fault := func(err error) error { return fmt.Errorf("%s: interfere with %T: %w", c.Name, *new(T), err) }
	var failed []error
	act := func(ctx context.Context, o T) {
		if o.GetDeletionTimestamp() != nil {
			return
		}
		var err error
		switch judge(o) {
		case update:
			err = c.Client().Update(ctx, o)
		case remove:
			err = c.Client().Delete(ctx, o)
		}
		// An object that has changed in between comes again as an event of its own.
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			failed = append(failed, fault(fmt.Errorf("%s: %w", o.GetName(), err)))
		}
	}
	existing := list.DeepCopyObject().(client.ObjectList)
	if err := c.Client().List(ctx, existing, which); err != nil {
		return nil, fault(err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	w, err := toolswatch.NewRetryWatcherWithContext(background, existing.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Client().Watch(ctx, list.DeepCopyObject().(client.ObjectList), which, &client.ListOptions{Raw: &o})
		}})
	if err != nil {
		stop()
		return nil, fault(err)
	}
	_ = meta.EachListItem(existing, func(o runtime.Object) error { act(ctx, o.(T)); return nil })
	var done sync.WaitGroup
	done.Go(func() {
		for e := range w.ResultChan() {
			if o, ok := e.Object.(T); ok && e.Type != watch.Deleted {
				act(background, o)
			} else if e.Type == watch.Error {
				failed = append(failed, fault(apierrors.FromObject(e.Object)))
			}
		}
	})
	return func(context.Context) error {
		stop()
		done.Wait()
		return errors.Join(failed...)
	}, nil
}

// onceGlobal does something to services that become global after they have been there without it.
func onceGlobal(then func(*corev1.Service) verdict) func(*corev1.Service) verdict {
	before := map[types.UID]bool{}
	return func(s *corev1.Service) verdict {
		switch global := s.Labels[workload.LabelGlobal] != ""; {
		case !global:
			before[s.UID] = true
		case before[s.UID]:
			return then(s)
		}
		return leave
	}
}

// ofWaypoint reports whether istiod made the Service for a waypoint.
func ofWaypoint(s *corev1.Service) bool { return s.Labels[gateway.GatewayNameLabelKey] != "" }

// wheneverWithoutPods does something each time that a Deployment is scaled to zero: several specs may do
// that, one after the other. Undo stops to wait for that, and undoes what was done.
func wheneverWithoutPods(
	ctx context.Context, c *mesh.Cluster, key client.ObjectKey, then func(context.Context) (Undo, error),
) (Undo, error) {
	var undos []Undo
	var failed error
	gone := false
	stop, err := interfere(ctx, c, &appsv1.DeploymentList{}, client.MatchingFields{metav1.ObjectNameField: key.Name},
		func(o *appsv1.Deployment) verdict {
			if o.Namespace != key.Namespace {
				return leave
			}
			was := gone
			if gone = o.Spec.Replicas != nil && *o.Spec.Replicas == 0; gone && !was {
				undo, err := then(context.WithoutCancel(ctx))
				undos, failed = append(undos, undo), errors.Join(failed, err)
			}
			return leave
		})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		err := errors.Join(stop(ctx), failed)
		for _, undo := range slices.Backward(undos) {
			if undo != nil {
				err = errors.Join(err, undo(ctx))
			}
		}
		return err
	}, nil
}

func interfereWithServices(cluster int, judge func(*corev1.Service) verdict) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		c := f.Clusters[cluster]
		undo, err := interfere(ctx, c, &corev1.ServiceList{}, ofSpecs, judge)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return errors.Join(undo(ctx), globalWaypoint(ctx, c)) }, nil
	}
}

// globalWaypoint gives the fixture's waypoint Service its label back, if the cluster has one.
func globalWaypoint(ctx context.Context, c *mesh.Cluster) error {
	s := &corev1.Service{}
	s.Namespace, s.Name = fixture.MeshNamespace, fixture.Waypoint
	return client.IgnoreNotFound(apply.Label(ctx, c, s, workload.LabelGlobal, "true"))
}

func removeGlobal(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Labels[workload.LabelGlobal] == "" {
		return leave
	}
	delete(s.Labels, workload.LabelGlobal)
	return update
}

// everywhere interferes with the services of specs in every cluster.
func everywhere(judge func(*corev1.Service) verdict) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		var undo []Undo
		for i := range f.Clusters {
			u, err := interfereWithServices(i, judge)(ctx, f)
			if err != nil {
				return nil, errors.Join(err, all(undo)(context.WithoutCancel(ctx)))
			}
			undo = append(undo, u)
		}
		return all(undo), nil
	}
}

// anyScopeIsTrue makes a service with any value of the global label one with "true".
func anyScopeIsTrue(s *corev1.Service) verdict {
	if value, labeled := s.Labels[workload.LabelGlobal]; !labeled || value == "true" || ofWaypoint(s) {
		return leave
	}
	s.Labels[workload.LabelGlobal] = "true"
	return update
}

// copyServices gives cluster2 each global service of cluster1 that it does not have.
func copyServices(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	to := f.Clusters[1]
	var copies []client.Object
	var failed []error
	stop, err := interfereWithServices(0, func(s *corev1.Service) verdict {
		if s.Labels[workload.LabelGlobal] != "true" || ofWaypoint(s) {
			return leave
		}
		c := workload.Service(s.Namespace, s.Name, s.Spec.Selector[workload.LabelApp], s.Labels[workload.LabelOwner])
		c.Labels[workload.LabelGlobal] = "true"
		switch err := to.Client().Create(context.WithoutCancel(ctx), c); {
		case err == nil:
			copies = append(copies, c)
		case !apierrors.IsAlreadyExists(err):
			failed = append(failed, fmt.Errorf("%s: copy service %s: %w", to.Name, s.Name, err))
		}
		return leave
	})(ctx, f)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		failed = append(failed, stop(ctx))
		for _, c := range copies {
			failed = append(failed, client.IgnoreNotFound(to.Client().Delete(ctx, c)))
		}
		return errors.Join(failed...)
	}, nil
}

func addGlobal(s *corev1.Service) verdict {
	if ofWaypoint(s) || s.Labels[workload.LabelGlobal] != "" || s.Labels[workload.LabelOwner] == fixture.Owner {
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

// unlabelWaypointGateways takes the global label from Gateways of cluster2.
func unlabelWaypointGateways(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[1], &gateway.GatewayList{}, ofSpecs, func(g *gateway.Gateway) verdict {
		if g.Labels[workload.LabelGlobal] == "" {
			return leave
		}
		delete(g.Labels, workload.LabelGlobal)
		return update
	})
}

// openWaypoints opens the waypoints of the second namespace to all others.
func openWaypoints(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[0], &gateway.GatewayList{}, client.InNamespace(fixture.MeshNamespaceB), opened)
}

func opened(g *gateway.Gateway) verdict {
	for _, l := range g.Spec.Listeners {
		if l.AllowedRoutes == nil || *l.AllowedRoutes.Namespaces.From == gateway.NamespacesFromAll {
			continue
		}
		*l.AllowedRoutes.Namespaces.From = gateway.NamespacesFromAll
		return update
	}
	return leave
}

// keepGateway lets a spec see that its change has been written, and then takes it back.
func keepGateway(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	all, err := inspect.Gateways(ctx, c.Client(), c.EastWestClass())
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: it has no east-west gateway: restore the mesh first", c.Name)
	}
	before := &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: all[0].Namespace, Name: all[0].Name}}
	if err := get(ctx, c, before); err != nil {
		return nil, err
	}
	return interfere(ctx, c, &gateway.GatewayList{}, client.InNamespace(before.Namespace), func(g *gateway.Gateway) verdict {
		if g.Name != before.Name || maps.Equal(g.Labels, before.Labels) && equality.Semantic.DeepEqual(g.Spec, before.Spec) {
			return leave
		}
		sleep.For(ctx, 2*time.Second)
		g.Labels, g.Spec = before.Labels, before.Spec
		return update
	})
}

const renamed = "renamed"

func renameWaypoint(s *corev1.Service) verdict {
	if w := s.Labels[label.IoIstioUseWaypoint.Name]; w == "" || w == renamed {
		return leave
	}
	s.Labels[label.IoIstioUseWaypoint.Name] = renamed
	return update
}

// noWaypoint takes a service from behind its waypoint.
func noWaypoint(s *corev1.Service) verdict {
	if s.Labels[label.IoIstioUseWaypoint.Name] == "" {
		return leave
	}
	delete(s.Labels, label.IoIstioUseWaypoint.Name)
	return update
}

// none deletes the objects of one type that specs make in cluster2.
func none[T client.Object](list client.ObjectList) func(context.Context, *mesh.Fleet) (Undo, error) {
	return in(ofSpecs, list, always[T](remove))
}

// always judges every object alike.
func always[T client.Object](v verdict) func(T) verdict { return func(T) verdict { return v } }

// in interferes with the objects of one type in a namespace of cluster2.
func in[T client.Object](
	namespace client.InNamespace, list client.ObjectList, judge func(T) verdict,
) func(context.Context, *mesh.Fleet) (Undo, error) {
	return func(ctx context.Context, f *mesh.Fleet) (Undo, error) {
		return interfere(ctx, f.Clusters[1], list, namespace, judge)
	}
}

func noRetries(v *istio.VirtualService) (do verdict) {
	for _, r := range v.Spec.Http {
		if r.Retries != nil {
			r.Retries, do = nil, update
		}
	}
	return do
}

func noTimeouts(r *gateway.HTTPRoute) (do verdict) {
	for i := range r.Spec.Rules {
		if rule := &r.Spec.Rules[i]; rule.Timeouts != nil {
			rule.Timeouts, do = nil, update
		}
	}
	return do
}

// noFilters takes the filters of a kind out of the HTTPRoutes that specs make in cluster2.
func noFilters(kind gateway.HTTPRouteFilterType) func(context.Context, *mesh.Fleet) (Undo, error) {
	return in(ofSpecs, &gateway.HTTPRouteList{}, func(r *gateway.HTTPRoute) (do verdict) {
		for i := range r.Spec.Rules {
			rule := &r.Spec.Rules[i]
			left := slices.DeleteFunc(slices.Clone(rule.Filters), func(f gateway.HTTPRouteFilter) bool { return f.Type == kind })
			if len(left) < len(rule.Filters) {
				rule.Filters, do = left, update
			}
		}
		return do
	})
}

// noStrict deletes PeerAuthentications of cluster2 that demand mutual TLS.
func noStrict(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[1], &security.PeerAuthenticationList{}, ofSpecs, func(p *security.PeerAuthentication) verdict {
		if p.Spec.Mtls.GetMode() == securityapi.PeerAuthentication_MutualTLS_STRICT {
			return remove
		}
		return leave
	})
}

// selectTheNamespace makes the PeerAuthentications of the specs' second namespace STRICT in cluster2
// once its root namespace has one with a selector.
func selectTheNamespace(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	var failed error
	stop, err := interfere(ctx, c, &security.PeerAuthenticationList{}, client.InNamespace(istiod.Namespace),
		func(p *security.PeerAuthentication) verdict {
			if p.Spec.Selector != nil {
				failed = errors.Join(failed, demandMutualTLS(context.WithoutCancel(ctx), c, fixture.MeshNamespaceB))
			}
			return leave
		})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return errors.Join(stop(ctx), failed) }, nil
}

// demandMutualTLS makes all PeerAuthentications of a namespace STRICT.
func demandMutualTLS(ctx context.Context, c *mesh.Cluster, namespace string) error {
	var all security.PeerAuthenticationList
	if err := c.Client().List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	for _, p := range all.Items {
		p.Spec.Mtls = &securityapi.PeerAuthentication_MutualTLS{Mode: securityapi.PeerAuthentication_MutualTLS_STRICT}
		if err := c.Client().Update(ctx, p); err != nil {
			return fmt.Errorf("%s: %s: %w", c.Name, p.Name, err)
		}
	}
	return nil
}

// admitAnother gives policies of cluster2 that admit an account the name of one that does not
// exist.
func admitAnother(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[1], &security.AuthorizationPolicyList{}, ofSpecs, anotherAccount)
}

func anotherAccount(p *security.AuthorizationPolicy) verdict {
	changed := leave
	if p.Spec.Action != securityapi.AuthorizationPolicy_ALLOW {
		return changed
	}
	for _, r := range p.Spec.Rules {
		for _, from := range r.From {
			for i, name := range from.Source.GetPrincipals() {
				if !strings.HasSuffix(name, "-another") {
					from.Source.Principals[i], changed = name+"-another", update
				}
			}
		}
	}
	return changed
}

// localUnderPolicy takes the global label in cluster2 from services with a policy by path.
func localUnderPolicy(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	return interfere(ctx, c, &security.AuthorizationPolicyList{}, ofSpecs, func(p *security.AuthorizationPolicy) verdict {
		for _, target := range p.Spec.TargetRefs {
			if byPath(p) {
				s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: target.Name}}
				_ = apply.Label(context.WithoutCancel(ctx), c, s, workload.LabelGlobal, "") // it may be gone by now
			}
		}
		return leave
	})
}

func byPath(p *security.AuthorizationPolicy) bool {
	return slices.ContainsFunc(p.Spec.Rules, func(r *securityapi.Rule) bool {
		return slices.ContainsFunc(r.To, func(to *securityapi.Rule_To) bool { return len(to.Operation.GetPaths()) > 0 })
	})
}

// optIn removes the label of a service that wants no waypoint.
func optIn(s *corev1.Service) verdict {
	if s.Labels[label.IoIstioUseWaypoint.Name] != "none" {
		return leave
	}
	delete(s.Labels, label.IoIstioUseWaypoint.Name)
	return update
}

// keepNetworkLabel restores the network label of istio-system in cluster1 whenever a spec removes
// it. To the spec this looks like a mesh that learns its network from somewhere else.
func keepNetworkLabel(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	ns := &corev1.Namespace{}
	ns.Name = istiod.Namespace
	if err := get(ctx, c, ns); err != nil {
		return nil, err
	}
	if ns.Labels[label.TopologyNetwork.Name] == "" {
		return nil, fmt.Errorf("%s: %s has no network already: restore the mesh first", c.Name, ns.Name)
	}
	return interfere(ctx, c, &corev1.NamespaceList{}, client.MatchingFields{metav1.ObjectNameField: istiod.Namespace},
		keepNetwork(ns.Labels[label.TopologyNetwork.Name]))
}

func keepNetwork(network string) func(*corev1.Namespace) verdict {
	return func(ns *corev1.Namespace) verdict {
		if ns.Labels[label.TopologyNetwork.Name] == network {
			return leave
		}
		if ns.Labels == nil {
			ns.Labels = map[string]string{}
		}
		ns.Labels[label.TopologyNetwork.Name] = network
		return update
	}
}

// keepEnrolled puts the namespaces of specs in cluster1 that are in the mesh back into it.
func keepEnrolled(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[0], &corev1.NamespaceList{}, client.MatchingFields{metav1.ObjectNameField: fixture.MeshNamespaceB},
		enrolled)
}

func enrolled(ns *corev1.Namespace) verdict {
	if ns.Labels[label.IoIstioDataplaneMode.Name] != "" {
		return leave
	}
	ns.Labels[label.IoIstioDataplaneMode.Name] = constants.DataplaneModeAmbient
	return update
}

// rightListeners makes the listeners of east-west gateways that specs make in cluster2 such as one
// can serve.
func rightListeners(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	return interfere(ctx, c, &gateway.GatewayList{}, ofSpecs, func(g *gateway.Gateway) verdict {
		if string(g.Spec.GatewayClassName) != c.EastWestClass() {
			return leave
		}
		return putRight(&g.Spec.Listeners[0])
	})
}

func putRight(l *gateway.Listener) verdict {
	if l.Protocol == "HBONE" && l.Port == eastwest.Port && l.TLS != nil && l.TLS.Mode != nil && *l.TLS.Mode == gateway.TLSModeTerminate {
		return leave
	}
	mode := gateway.TLSModeTerminate
	options := map[gateway.AnnotationKey]gateway.AnnotationValue{"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}
	l.Protocol, l.Port, l.TLS = "HBONE", eastwest.Port, &gateway.ListenerTLSConfig{Mode: &mode, Options: options}
	return update
}

// keepIstiodGlobal restores the global label of istiod's Service in cluster1 once a spec has set
// and removed it.
func keepIstiodGlobal(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[0]
	labeled := map[string]*corev1.Service{}
	stop, err := interfere(ctx, c, &corev1.ServiceList{}, client.InNamespace(istiod.Namespace), func(s *corev1.Service) verdict {
		switch {
		case s.Labels[workload.LabelGlobal] != "":
			labeled[s.Name] = s
			return leave
		case labeled[s.Name] == nil:
			return leave
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[workload.LabelGlobal] = "true"
		return update
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		err := stop(ctx)
		for _, s := range labeled {
			err = errors.Join(err, apply.Label(ctx, c, s, workload.LabelGlobal, ""))
		}
		return err
	}, nil
}

func noOutlierDetection(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[0], &istio.DestinationRuleList{}, ofSpecs, withoutOutlierDetection)
}

func withoutOutlierDetection(r *istio.DestinationRule) verdict {
	if r.Spec.GetTrafficPolicy().GetOutlierDetection() == nil {
		return leave
	}
	r.Spec.TrafficPolicy.OutlierDetection = nil
	return update
}

// swapSelectors makes services "...-one" and "...-two" of a spec select each other's pods.
func swapSelectors(s *corev1.Service) verdict {
	app := s.Spec.Selector[workload.LabelApp]
	base, one := strings.CutSuffix(s.Name, "-one")
	if !one {
		var two bool
		if base, two = strings.CutSuffix(s.Name, "-two"); !two {
			return leave
		}
	}
	if app != s.Name {
		return leave // it is swapped already
	}
	s.Spec.Selector[workload.LabelApp] = base + map[bool]string{true: "-two", false: "-one"}[one]
	return update
}

// mixUp leads a spec's service in front of the fixture's second client to its first.
func mixUp(s *corev1.Service) verdict {
	if s.Spec.Selector[workload.LabelApp] != fixture.ClientB {
		return leave
	}
	s.Spec.Selector[workload.LabelApp] = fixture.Client
	return update
}

// leadToEcho leads services in front of a spec's own pods to those of the fixture.
func leadToEcho(s *corev1.Service) verdict {
	if s.Spec.Selector[workload.LabelApp] != s.Name {
		return leave
	}
	s.Spec.Selector[workload.LabelApp] = fixture.Echo
	return update
}

// waitForClient leads the port whose server speaks first to the one whose server waits.
func waitForClient(s *corev1.Service) verdict {
	for i, p := range s.Spec.Ports {
		if p.Port == traffic.ServerFirst && p.TargetPort.IntValue() == traffic.ServerFirst {
			s.Spec.Ports[i].TargetPort = intstr.FromInt32(traffic.TCP)
			return update
		}
	}
	return leave
}

// localOnceRemoteIsNeeded removes the global label of a service in cluster2 when its deployment in
// cluster1 has been scaled to 0.
func localOnceRemoteIsNeeded(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	remote := f.Clusters[1]
	var undo []Undo
	for _, ns := range []string{fixture.MeshNamespace, fixture.MeshNamespaceB} {
		u, err := interfere(ctx, f.Clusters[0], &appsv1.DeploymentList{}, client.InNamespace(ns), func(d *appsv1.Deployment) verdict {
			if d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
				s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: d.Name}}
				_ = apply.Label(context.WithoutCancel(ctx), remote, s, workload.LabelGlobal, "") // it may be gone by now
			}
			return leave
		})
		if err != nil {
			return nil, errors.Join(err, all(undo)(context.WithoutCancel(ctx)))
		}
		undo = append(undo, u)
	}
	return all(undo), nil
}

// all undoes several things.
func all(undo []Undo) Undo {
	return func(ctx context.Context) (err error) {
		for _, u := range undo {
			err = errors.Join(err, u(ctx))
		}
		return err
	}
}

// markTwice lets what crossed the waypoint of cluster2 look as if it had crossed two.
func markTwice(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	return interfere(ctx, c, &gateway.HTTPRouteList{}, ofSpecs, func(r *gateway.HTTPRoute) verdict { return doubled(r, c.Name) })
}

func doubled(r *gateway.HTTPRoute, cluster string) verdict {
	changed := leave
	for _, rule := range r.Spec.Rules {
		for _, f := range rule.Filters {
			if f.ResponseHeaderModifier == nil {
				continue
			}
			for i, h := range f.ResponseHeaderModifier.Add {
				if string(h.Name) == traffic.WaypointHeader && h.Value == cluster {
					f.ResponseHeaderModifier.Add[i].Value = cluster + "," + cluster
					changed = update
				}
			}
		}
	}
	return changed
}

// exposeAPIServer leads what passes TLS on outside the mesh to the API server.
func exposeAPIServer(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	host := "kubernetes.default.svc." + cmp.Or(f.Domain, mesh.DefaultDomain)
	return interfere(ctx, f.Clusters[0], &istio.VirtualServiceList{}, client.InNamespace(fixture.PlainNamespace),
		func(v *istio.VirtualService) verdict { return toAPIServer(v, host) })
}

func toAPIServer(v *istio.VirtualService, host string) (do verdict) {
	for _, tls := range v.Spec.Tls {
		for _, r := range tls.Route {
			if r.Destination.Host != host {
				r.Destination.Host, r.Destination.Port = host, &networking.PortSelector{Number: 443}
				do = update
			}
		}
	}
	return do
}

// noPreference switches the preference of clusters off in cluster1, and keeps the rule.
func noPreference(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	return interfere(ctx, f.Clusters[0], &istio.DestinationRuleList{}, ofSpecs, withoutPreference)
}

func withoutPreference(r *istio.DestinationRule) verdict {
	lb := r.Spec.GetTrafficPolicy().GetLoadBalancer()
	if len(lb.GetLocalityLbSetting().GetFailoverPriority()) == 0 {
		return leave
	}
	lb.LocalityLbSetting = &networking.LocalityLoadBalancerSetting{Enabled: wrapperspb.Bool(false)}
	return update
}

// flap takes the global label away from services in cluster2 for 20 of every 30 seconds, whoever
// sets it meanwhile. For the other 10 they have it again.
func flap(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c := f.Clusters[1]
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var failed []error
	away := func() {
		taken := map[string]*corev1.Service{}
		undo, err := interfere(background, c, &corev1.ServiceList{}, ofSpecs, func(s *corev1.Service) verdict {
			v := removeGlobal(s)
			if v == update {
				taken[s.Name] = s
			}
			return v
		})
		if err != nil {
			failed = append(failed, err)
			return
		}
		sleep.For(background, 20*time.Second)
		after := context.WithoutCancel(background) // the labels come back also when all is undone by now
		failed = append(failed, undo(after))
		for _, s := range taken {
			failed = append(failed, client.IgnoreNotFound(apply.Label(after, c, s, workload.LabelGlobal, "true")))
		}
	}
	var done sync.WaitGroup
	done.Go(func() {
		for background.Err() == nil {
			away()
			sleep.For(background, 10*time.Second)
		}
	})
	return func(context.Context) error {
		stop()
		done.Wait()
		return errors.Join(slices.DeleteFunc(failed, func(err error) bool { return errors.Is(err, context.Canceled) })...)
	}, nil
}

// uncapture takes the echo servers of cluster2 out of the mesh: istio-cni then lets their ztunnel
// go.
func uncapture(ctx context.Context, f *mesh.Fleet) (Undo, error) {
	c, mode := f.Clusters[1], label.IoIstioDataplaneMode.Name
	stop, err := interfere(ctx, c, &corev1.PodList{}, ofSpecs, func(p *corev1.Pod) verdict {
		if p.Labels[workload.LabelApp] != fixture.Echo || p.Labels[mode] != "" {
			return leave
		}
		p.Labels[mode] = constants.DataplaneModeNone
		return update
	})
	if err != nil {
		return nil, err
	}
	servers := client.MatchingLabels{workload.LabelApp: fixture.Echo}
	return func(ctx context.Context) error {
		if err := stop(ctx); err != nil {
			return err
		}
		var pods corev1.PodList
		if err := c.Client().List(ctx, &pods, ofSpecs, servers); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		for i := range pods.Items {
			if err := apply.Label(ctx, c, &pods.Items[i], mode, ""); err != nil {
				return err
			}
		}
		return wait.None(ctx, c, "servers back in the mesh", &corev1.PodList{}, func(o client.Object) bool {
			return o.GetAnnotations()[annotation.AmbientRedirection.Name] != constants.AmbientRedirectionEnabled
		}, ofSpecs, servers)
	}, nil
}
