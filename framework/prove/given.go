package prove

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// Name is a name of the spec's own: its id and a word.
func (s *Spec) Name(word string) string { return strings.ToLower(s.Behavior.ID) + "-" + word }

// Apply writes an object to sites' clusters and deletes it after the spec. make is called once per site.
func (s *Spec) Apply(sites []*Site, make func(at *Site) client.Object) {
	for _, at := range sites {
		o := make(at)
		l := o.GetLabels()
		if l == nil {
			l = map[string]string{}
		}
		l[workload.LabelOwner] = strings.ToLower(s.Behavior.ID)
		o.SetLabels(l)
		s.Must(apply.Objects(s.Ctx, at.Cluster, o))
		s.Cleanup(func(ctx context.Context) error { return deleted(ctx, at, o) })
	}
	s.Changed()
}

// Delete removes an object from sites' clusters.
func (s *Spec) Delete(sites []*Site, o client.Object) {
	for _, at := range sites {
		s.Must(deleted(s.Ctx, at, o.DeepCopyObject().(client.Object)))
	}
	s.Changed()
}

func deleted(ctx context.Context, at *Site, o client.Object) error {
	if err := at.Cluster.Client().Delete(ctx, o); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: delete %s: %w", at.Name, client.ObjectKeyFromObject(o), err)
	}
	return nil
}

// Service is a Service of the spec's own: an object of the same name in every cluster.
type Service struct {
	spec            *Spec
	labels          map[string]map[string]string // by key and cluster, see seen.go
	Namespace, Name string
}

// Service makes a Service that selects the standing echo in every cluster, of local scope.
func (s *Spec) Service(word string) *Service { return s.ServiceOf(word, EchoApp) }

// ServiceOf makes a Service that selects pods by their app label in every cluster, of local scope.
func (s *Spec) ServiceOf(word, app string) *Service {
	v := &Service{spec: s, Namespace: MeshNamespace, Name: s.Name(word)}
	v.labeled(s.Sites, workload.LabelGlobal, "")
	s.Apply(s.Sites, func(*Site) client.Object { return workload.Service(v.Namespace, v.Name, app, "") })
	return v
}

// Echo deploys an echo server of the spec's own, with its Service, in every cluster and waits for its pods.
func (s *Spec) Echo(word string) *Service {
	e := workload.Echo{Namespace: MeshNamespace, Name: s.Name(word), Owner: strings.ToLower(s.Behavior.ID), Image: s.Fleet.Images["app"].Ref, Replicas: 1}
	for _, at := range s.Sites {
		for _, o := range e.Objects(at.Cluster) {
			s.Cleanup(func(ctx context.Context) error { return deleted(ctx, at, o) })
		}
	}
	s.Each(func(at *Site) { s.Must(e.Deploy(s.Ctx, at.Cluster)) })
	return s.ServiceOf(word, e.Name)
}

// Scale sets the replicas of the spec's own echo of that word in one cluster and waits for it.
func (s *Spec) Scale(at *Site, word string, replicas int32) {
	s.Must(workload.Scale(s.Ctx, at.Cluster, MeshNamespace, s.Name(word), replicas))
	s.Changed()
}

// Host is the service's full name.
func (v *Service) Host() string { return v.Name + "." + v.Namespace + ".svc.cluster.local" }

// Calls is how many calls take the place of n in this fleet: n where two clusters may answer, and more where more may, so that the chance of
// missing one of them is no larger. Fewer than 40 are for claims of one side and stay as they are.
func (s *Spec) Calls(n int) int {
	k := float64(len(s.Sites))
	if n < 40 || k <= 2 {
		return n
	}
	return int(math.Ceil((float64(n-1)*math.Ln2 + math.Log(k)) / -math.Log1p(-1/k))) // k*(1-1/k)^calls = 2^(1-n)
}

// HTTP are n calls (more in fleets of more than two clusters, see [Spec.Calls]) from a client to the service, each on a connection of its own.
func (v *Service) HTTP(from *traffic.Client, n int) Calls {
	return Calls{from, traffic.Call{URL: "http://" + v.Host() + ":80/", Times: v.spec.Calls(n)}, v.Host()}
}

// TCP are n raw TCP calls.
func (v *Service) TCP(from *traffic.Client, n int) Calls {
	return Calls{from, traffic.Call{URL: "tcp://" + v.Host() + ":" + strconv.Itoa(workload.TCP), Times: v.spec.Calls(n)}, v.Host()}
}

// Label sets a label of the Service object in the given clusters; an empty value removes it.
func (v *Service) Label(sites []*Site, key, value string) {
	v.labeled(sites, key, value)
	v.spec.Label(sites, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: v.Namespace, Name: v.Name}}, key, value)
}

// Global makes the service global in the given clusters.
func (v *Service) Global(sites ...*Site) { v.Label(sites, workload.LabelGlobal, "true") }

// Local takes the global label away in the given clusters.
func (v *Service) Local(sites ...*Site) { v.Label(sites, workload.LabelGlobal, "") }

// Behind puts the service behind a waypoint of the same namespace in every cluster.
func (v *Service) Behind(waypoint string) { v.Label(v.spec.Sites, workload.LabelWaypoint, waypoint) }

// Label sets a label of an object in the given clusters; an empty value removes it.
func (s *Spec) Label(sites []*Site, o client.Object, key, value string) {
	for _, at := range sites {
		s.Must(label(s.Ctx, at, o, key, value))
	}
	s.Changed()
}

// LabelFor is Label that is undone after the spec: the label gets the value it had.
func (s *Spec) LabelFor(at *Site, o client.Object, key, value string) {
	s.Must(at.Cluster.Client().Get(s.Ctx, client.ObjectKeyFromObject(o), o))
	before := o.GetLabels()[key]
	s.Cleanup(func(ctx context.Context) error { return label(ctx, at, o, key, before) })
	s.Label([]*Site{at}, o, key, value)
}

func label(ctx context.Context, at *Site, o client.Object, key, value string) error {
	var v any
	if value != "" {
		v = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{key: v}}})
	if err != nil {
		return err
	}
	x := o.DeepCopyObject().(client.Object)
	if err := at.Cluster.Client().Patch(ctx, x, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("%s: label %s with %s=%q: %w", at.Name, client.ObjectKeyFromObject(o), key, value, err)
	}
	return nil
}

// Pair is a site and another, for what needs no more; there may be more, which then are as they always are.
func (s *Spec) Pair() (a, b *Site) { return s.Sites[0], s.Sites[1] }

// One is a site and all others, for what happens to one cluster and must show in each of the others.
func (s *Spec) One() (a *Site, others Sites) { return s.Sites[0], s.Others(s.Sites[0]) }

// Others are all sites but one: "the other cluster" of a promise is every other in a fleet of three.
func (s *Spec) Others(than *Site) Sites {
	return slices.DeleteFunc(slices.Clone(s.Sites), func(x *Site) bool { return x == than })
}

// Meanwhile makes calls from every site over and over until stop is called; stop says how many failed of how many.
func (s *Spec) Meanwhile(calls func(from *Site) Calls) (stop func() (lost, made int)) {
	ctx, cancel := context.WithCancel(s.Ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all traffic.Outcomes
	for _, from := range s.Sites {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				c := calls(from)
				os, err := c.From.Do(s.Ctx, c.Call) // not ctx: a call under way when stop comes is still a call
				if err != nil {
					return
				}
				mu.Lock()
				all = append(all, os...)
				mu.Unlock()
			}
		}()
	}
	return func() (int, int) {
		cancel()
		wg.Wait()
		lost := all.Count(func(o traffic.Outcome) bool { return o.Kind != traffic.Reached || o.Code >= 500 })
		s.Note("meanwhile: %s", all)
		return lost, len(all)
	}
}
