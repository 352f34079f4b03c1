package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"istio.io/api/label"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/internal/progress"
)

// Undo removes the mesh from all clusters side by side, and fails with a list if anything of it is
// left. It may run on a fleet without a mesh or with half of one. The CA files stay, so that the
// next mesh has the same root.
func Undo(ctx context.Context, f *mesh.Fleet, o Options) (err error) {
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	p, err := newPlan(f, o)
	if err != nil {
		return fmt.Errorf("undo mesh: %w", err)
	}
	ctx, cancel := wait.Give(ctx, Budget)
	defer cancel()
	phase := o.Progress.Phase("undo mesh", len(f.Members()))
	defer func() { phase.Close(err) }()

	f.MeshReady = ""
	// Save first: a run that is killed must not leave a fleet file that claims to have a mesh.
	if err := f.Save(f.Path()); err != nil {
		return err
	}
	if err := p.each(ctx, phase, (*target).uninstall); err != nil {
		return err
	}
	for _, c := range f.Members() {
		c.GatewayAddresses = nil
	}
	before, err := beforeMesh(f)
	if errors.Is(err, errNoSnapshot) {
		return f.Save(f.Path()) // nothing was ever installed
	}
	if err != nil {
		return err
	}
	left, err := before.remnants(ctx, f)
	if err != nil {
		return err
	}
	var ours []string
	for _, l := range left {
		if !foreign(l, before[l.cluster]) {
			ours = append(ours, l.String())
		}
	}
	if len(ours) > 0 {
		return fmt.Errorf("undo mesh left %d things behind: %s: run `amc down` to remove the clusters", len(ours), strings.Join(ours, "; "))
	}
	for _, c := range f.Members() {
		if err := os.Rename(snapshotPath(f, c), undonePath(f, c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.Save(f.Path())
}

// foreign tells what the mesh did not make: namespaces that appeared after the install, other than
// its own, and what is in them except istiod's config maps.
func foreign(l remnant, before *inventory) bool {
	if slices.Contains([]string{"", namespace, metallbNamespace}, l.namespace) ||
		strings.Contains(l.what, "/istio-ca-") || strings.Contains(l.what, redirectedMark) {
		return false
	}
	_, old := before.Objects["namespaces "+l.namespace]
	return !old
}

// removal is one cluster while the mesh is removed from it.
type removal struct {
	*target
	before map[string]string // objects that were there before the install, with their labels
	crds   []client.Object   // that the mesh brought
}

// uninstall removes the mesh from one cluster, step by step. The order matters in four places:
//   - Pods leave the mesh while istio-cni can still take its rules out of them.
//   - Objects that istiod acts on go while it lives.
//   - istio-cni goes before its rights do: it takes its plugin out of the nodes' configuration only
//     while it can see that its DaemonSet is gone.
//   - CRDs go last, with what is left of their objects.
func (s *target) uninstall(ctx context.Context) error {
	var err error
	if s.helm, err = newHelm(s.cluster); err != nil {
		return err
	}
	r := &removal{target: s, before: map[string]string{}}
	if snap, err := readSnapshot(s.fleet, s.cluster); err == nil {
		r.before = snap.Objects
	} else if !errors.Is(err, errNoSnapshot) {
		return err
	}
	for _, step := range []struct {
		removing string
		do       func(context.Context) error
	}{
		{"pods from the mesh", r.leaveMesh},
		{"gateways", r.gateways},
		{"ztunnel and istio-cni", r.nodeAgents},
		{"charts", r.releases},
		{"root certificates", r.rootBundles},
		{"MetalLB and istio-system", r.manifests},
		{"custom resource definitions", r.definitions},
		{"remains, until they are gone", r.gone},
		{"changes of labels", r.restoreLabels},
		{"folders of nodes", r.tidyNodes},
	} {
		s.item.Note("removing %s", step.removing)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// gateways removes the gateways, and waits for their pods: the Deployments and Services belong to
// them, and MetalLB takes the addresses back while it runs.
func (r *removal) gateways(ctx context.Context) error {
	if err := ignoreNoKind(r.cluster.Client().DeleteAllOf(ctx, &gateway.Gateway{}, client.InNamespace(namespace))); err != nil {
		return fmt.Errorf("%s: delete gateways: %w", r.cluster.Name, err)
	}
	return wait.Gone(ctx, r.cluster, &corev1.PodList{}, client.InNamespace(namespace), client.HasLabels{gateway.GatewayNameLabelKey})
}

// nodeAgents removes ztunnel, then istio-cni. The pods must be gone before their rights are.
func (r *removal) nodeAgents(ctx context.Context) error {
	for _, app := range []struct {
		name string
		pods client.MatchingLabels
	}{
		{"ztunnel", client.MatchingLabels{"app": "ztunnel"}},
		{"istio-cni-node", client.MatchingLabels{"k8s-app": "istio-cni-node"}},
	} {
		if err := remove(ctx, r.cluster, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app.name}}); err != nil {
			return err
		}
		if err := wait.Gone(ctx, r.cluster, &corev1.PodList{}, client.InNamespace(namespace), app.pods); err != nil {
			return err
		}
	}
	return nil
}

// releases uninstalls the charts. A live istiod would write its config maps and webhooks again, so
// it waits for istiod's pods.
func (r *removal) releases(ctx context.Context) error {
	for _, release := range []string{IstiodGateway, "ztunnel", "istio-cni", "istiod", "istio-base"} {
		if err := r.helm.uninstall(release); err != nil {
			return err
		}
	}
	return wait.Gone(ctx, r.cluster, &corev1.PodList{}, client.InNamespace(namespace), client.MatchingLabels{"app": "istiod"})
}

// rootBundles removes what istiod writes into every namespace.
func (r *removal) rootBundles(ctx context.Context) error {
	var namespaces corev1.NamespaceList
	if err := r.cluster.Client().List(ctx, &namespaces); err != nil {
		return fmt.Errorf("%s: list namespaces: %w", r.cluster.Name, err)
	}
	for _, ns := range namespaces.Items {
		for _, name := range []string{rootBundleName, "istio-ca-crl"} {
			if err := remove(ctx, r.cluster, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: name}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// manifests removes what came from manifests, but for the CRDs, and the mesh's namespace. The
// rights and pods of MetalLB go with its namespace.
func (r *removal) manifests(ctx context.Context) error {
	_, rest, _ := split(r.applied())
	if err := remove(ctx, r.cluster, rest...); err != nil {
		return err
	}
	return remove(ctx, r.cluster, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (r *removal) applied() []client.Object { return slices.Concat(r.metallb, r.gatewayAPI) }

// definitions deletes the CRDs that the mesh brought. The base chart tells helm to keep Istio's.
func (r *removal) definitions(ctx context.Context) error {
	var all apiext.CustomResourceDefinitionList
	if err := r.cluster.Client().List(ctx, &all); err != nil {
		return fmt.Errorf("%s: list custom resource definitions: %w", r.cluster.Name, err)
	}
	r.crds, _, _ = split(r.applied())
	for _, crd := range all.Items {
		if strings.HasSuffix(crd.Name, ".istio.io") {
			r.crds = append(r.crds, &crd)
		}
	}
	r.crds = slices.DeleteFunc(r.crds, func(crd client.Object) bool {
		_, had := r.before["customresourcedefinitions.apiextensions.k8s.io "+crd.GetName()]
		return had
	})
	g, ctx := errgroup.WithContext(ctx)
	for _, crd := range r.crds {
		g.Go(func() error { return remove(ctx, r.cluster, crd) })
	}
	return g.Wait()
}

// gone waits until the namespaces and the CRDs are really gone.
func (r *removal) gone(ctx context.Context) error {
	for _, ns := range []string{namespace, metallbNamespace} {
		if err := wait.Gone(ctx, r.cluster, &corev1.NamespaceList{}, client.MatchingFields{"metadata.name": ns}); err != nil {
			return err
		}
	}
	for _, crd := range r.crds {
		named := client.MatchingFields{"metadata.name": crd.GetName()}
		if err := wait.Gone(ctx, r.cluster, &apiext.CustomResourceDefinitionList{}, named); err != nil {
			return err
		}
	}
	return nil
}

// restoreLabels gives namespaces their dataplane label back if they had it before the install.
func (r *removal) restoreLabels(ctx context.Context) error {
	for o, labels := range r.before {
		ns, is := strings.CutPrefix(o, "namespaces ")
		for _, l := range strings.Split(labels, ",") {
			if k, v, _ := strings.Cut(l, "="); is && k == label.IoIstioDataplaneMode.Name {
				if err := r.setDataplane(ctx, ns, v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// setDataplane sets the dataplane label of a namespace; empty removes it. The namespace may be
// gone.
func (s *target) setDataplane(ctx context.Context, ns, value string) error {
	o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	return client.IgnoreNotFound(apply.Label(ctx, s.cluster, o, label.IoIstioDataplaneMode.Name, value))
}

// leaveMesh takes all pods out of the mesh: it removes the label of their namespaces, and waits
// until no pod is redirected any more.
func (s *target) leaveMesh(ctx context.Context) error {
	c := s.cluster
	var cni appsv1.DaemonSet
	if err := c.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: "istio-cni-node"}, &cni); err != nil {
		return client.IgnoreNotFound(err) // nothing is there that would take the rules out
	}
	var namespaces corev1.NamespaceList
	if err := c.Client().List(ctx, &namespaces, client.HasLabels{label.IoIstioDataplaneMode.Name}); err != nil {
		return fmt.Errorf("%s: list namespaces: %w", c.Name, err)
	}
	for _, ns := range namespaces.Items {
		if err := s.setDataplane(ctx, ns.Name, ""); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return wait.None(ctx, c, "leaving the mesh", &corev1.PodList{},
		func(o client.Object) bool { return redirected(o) && o.GetDeletionTimestamp() == nil })
}

// tidyNodes removes the folders that the kubelet made for Istio's DaemonSets (host paths of type
// DirectoryOrCreate), because nothing else would ever remove them. It leaves CNI configuration and
// firewall alone: taking those back is Istio's own promise, and the comparison with the snapshot
// shows whether Istio kept it.
func (s *target) tidyNodes(ctx context.Context) error {
	if s.cluster.Kind == nil || s.fleet.Kind == nil {
		return nil
	}
	for _, node := range s.cluster.Kind.Nodes {
		if _, err := onNode(ctx, s.fleet, node, "rm -rf /var/run/istio-cni /var/run/ztunnel"); err != nil {
			return err
		}
	}
	return nil
}

// ignoreNoKind passes over the error of a cluster that does not know the kind (any more).
func ignoreNoKind(err error) error {
	if meta.IsNoMatchError(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}
