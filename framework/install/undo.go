package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/internal/progress"
)

// Undo takes the mesh away again, in all clusters side by side, and fails with a list if anything of it is left (see Leaks). It may run on a fleet
// without a mesh or with half of one. The CA files stay, so that the next Mesh has the same root.
//
// The order matters in four places: pods leave the mesh while istio-cni is there to take its rules out of them, so namespaces lose their label first
// (those that had it before the install get it back in the end); objects that istiod acts on go while it lives; istio-cni goes before its rights do, since it takes
// its plugin out of the nodes' configuration only while it can see that its DaemonSet is gone; CRDs go last.
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
	phase := o.Progress.Phase("undo mesh", len(f.Clusters))
	defer func() { phase.Close(err) }()

	f.MeshReady = ""
	if err := f.Save(f.Path()); err != nil { // first: a run killed in the middle must not leave a fleet that says it has a mesh
		return err
	}
	if err := p.each(ctx, phase, "undo", (*site).undo); err != nil {
		return err
	}
	for _, c := range f.Clusters {
		c.GatewayAddresses = nil
	}
	before, err := beforeMesh(f)
	if errors.Is(err, errNoSnapshot) {
		return f.Save(f.Path()) // nothing was ever installed
	}
	if err != nil {
		return err
	}
	leaks, err := before.leaks(ctx, f)
	if err != nil {
		return err
	}
	var ours []string
	for _, l := range leaks {
		if !foreign(l, before[l.cluster]) {
			ours = append(ours, l.String())
		}
	}
	if len(ours) > 0 {
		return fmt.Errorf("undo mesh left %d things behind: %s: run `amc down` to remove the clusters", len(ours), strings.Join(ours, "; "))
	}
	for _, c := range f.Clusters {
		if err := os.Rename(snapshotPath(f, c), undonePath(f, c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.Save(f.Path())
}

// foreign tells what the mesh did not make: namespaces that appeared after the install, other than its own, and what is in them but for istiod's config maps.
func foreign(l leak, before *holding) bool {
	if l.namespace == "" || l.namespace == namespace || l.namespace == metallbNamespace || strings.Contains(l.what, "/istio-ca-") || strings.Contains(l.what, redirectedMark) {
		return false
	}
	_, old := before.Objects["namespaces "+l.namespace]
	return !old
}

func (s *site) undo(ctx context.Context) error {
	c := s.cluster
	var err error
	if s.helm, err = newHelm(c); err != nil {
		return err
	}
	before := map[string]string{} // what was there before the install
	if snap, err := readSnapshot(s.fleet, c); err == nil {
		before = snap.Objects
	} else if !errors.Is(err, errNoSnapshot) {
		return err
	}
	if err := s.leaveMesh(ctx); err != nil {
		return err
	}
	// Gateways: their Deployments and Services are theirs, and MetalLB takes the addresses back while it runs.
	if err := ignoreNoKind(c.Client().DeleteAllOf(ctx, &gateway.Gateway{}, client.InNamespace(namespace))); err != nil {
		return fmt.Errorf("%s: delete gateways: %w", c.Name, err)
	}
	if err := wait.Gone(ctx, c, &corev1.PodList{}, client.InNamespace(namespace), client.HasLabels{"gateway.networking.k8s.io/gateway-name"}); err != nil {
		return err
	}
	// The nodes: ztunnel, then istio-cni, and its pods must be gone before its rights are.
	for _, app := range []struct{ name, label string }{{"ztunnel", "app=ztunnel"}, {"istio-cni-node", "k8s-app=istio-cni-node"}} {
		if err := remove(ctx, c, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app.name}}); err != nil {
			return err
		}
		k, v, _ := strings.Cut(app.label, "=")
		if err := wait.Gone(ctx, c, &corev1.PodList{}, client.InNamespace(namespace), client.MatchingLabels{k: v}); err != nil {
			return err
		}
	}
	for _, r := range []string{"ztunnel", "istio-cni", "istiod", "istio-base"} {
		if err := s.step("uninstall "+r, func() error { return s.helm.uninstall(r) }); err != nil {
			return err
		}
	}
	if err := wait.Gone(ctx, c, &corev1.PodList{}, client.InNamespace(namespace), client.MatchingLabels{"app": "istiod"}); err != nil {
		return err // a live istiod writes its config maps and webhooks again
	}
	// What istiod itself wrote outside its namespace: the root bundle in every namespace.
	var namespaces corev1.NamespaceList
	if err := c.Client().List(ctx, &namespaces); err != nil {
		return fmt.Errorf("%s: list namespaces: %w", c.Name, err)
	}
	for _, ns := range namespaces.Items {
		for _, name := range []string{rootBundleName, "istio-ca-crl"} {
			if err := remove(ctx, c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: name}}); err != nil {
				return err
			}
		}
	}
	// MetalLB's rights and pods go with its namespace and the objects of its manifest; the CRDs of all three last, with what is left of their objects.
	crds, rest, _ := split(append(s.metallb[:len(s.metallb):len(s.metallb)], s.gatewayAPI...))
	if err := remove(ctx, c, rest...); err != nil {
		return err
	}
	if err := remove(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	var all apiext.CustomResourceDefinitionList
	if err := c.Client().List(ctx, &all); err != nil {
		return fmt.Errorf("%s: list custom resource definitions: %w", c.Name, err)
	}
	hadCRD := func(name string) bool {
		_, had := before["customresourcedefinitions.apiextensions.k8s.io "+name]
		return had
	}
	for _, crd := range all.Items {
		if strings.HasSuffix(crd.Name, ".istio.io") && !hadCRD(crd.Name) { // the base chart tells helm to keep them
			crds = append(crds, &crd)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, crd := range crds {
		if !hadCRD(crd.GetName()) {
			g.Go(func() error { return remove(gctx, c, crd) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, ns := range []string{namespace, metallbNamespace} {
		if err := wait.Gone(ctx, c, &corev1.NamespaceList{}, client.MatchingFields{"metadata.name": ns}); err != nil {
			return err
		}
	}
	for _, crd := range crds {
		if !hadCRD(crd.GetName()) {
			if err := wait.Gone(ctx, c, &apiext.CustomResourceDefinitionList{}, client.MatchingFields{"metadata.name": crd.GetName()}); err != nil {
				return err
			}
		}
	}
	for o, labels := range before {
		ns, is := strings.CutPrefix(o, "namespaces ")
		for _, l := range strings.Split(labels, ",") {
			if k, v, _ := strings.Cut(l, "="); is && k == dataplaneLabel {
				if err := setLabel(ctx, c, ns, k, v); err != nil {
					return err
				}
			}
		}
	}
	return s.tidyNodes(ctx)
}

// leaveMesh takes all pods out of the mesh: the namespaces' labels go, and the wait ends when no pod is redirected any more.
func (s *site) leaveMesh(ctx context.Context) error {
	c := s.cluster
	var cni appsv1.DaemonSet
	if err := c.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: "istio-cni-node"}, &cni); err != nil {
		return client.IgnoreNotFound(err) // nobody is there to do it
	}
	var namespaces corev1.NamespaceList
	if err := c.Client().List(ctx, &namespaces, client.HasLabels{dataplaneLabel}); err != nil {
		return fmt.Errorf("%s: list namespaces: %w", c.Name, err)
	}
	for _, ns := range namespaces.Items {
		if err := setLabel(ctx, c, ns.Name, dataplaneLabel, ""); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return wait.None(ctx, c, "leaving the mesh", &corev1.PodList{}, func(o client.Object) bool { return redirected(o) && o.GetDeletionTimestamp() == nil })
}

// setLabel sets a label of a namespace, or removes it if value is empty; a namespace that is gone is fine.
func setLabel(ctx context.Context, c *mesh.Cluster, ns, key, value string) error {
	var v any
	if value != "" {
		v = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{key: v}}})
	if err != nil {
		return err
	}
	o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	if err := c.Client().Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s: label %s of namespace %s: %w", c.Name, key, ns, err)
	}
	return nil
}

// dataplaneLabel puts a namespace's pods into the mesh.
const dataplaneLabel = "istio.io/dataplane-mode"

// tidyNodes removes the folders that the kubelet made for Istio's DaemonSets (host paths of type DirectoryOrCreate); nothing else would ever remove them.
// The CNI configuration and firewall are not touched: taking those back is Istio's own promise, and Leaks shows whether it kept it.
func (s *site) tidyNodes(ctx context.Context) error {
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
