// Package install installs a mesh in a fleet and removes it again: certificates, charts, gateways,
// remote secrets.
//
// It follows the documented install of multi-primary, multi-network ambient with Istio's own
// charts; the function charts lists the differences. Steps run side by side wherever they can,
// because a fleet should be up in a minute. A step waits only for what it needs; all rollouts are
// waited for together at the end.
package install

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"istio.io/api/annotation"
	"istio.io/api/label"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/pkg/consts"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/remotesecret"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/internal/progress"
)

const (
	namespace      = istiod.Namespace
	rootBundleName = "istio-ca-root-cert"
)

// MeshID is the ID of the mesh, the same as in Istio's documentation.
const MeshID = "mesh1"

// Budget bounds Mesh and Undo when their context has no deadline. With images at hand, a mesh takes
// half a minute on two cores.
const Budget = 5 * time.Minute

var smallCPU, smallMemory = resource.MustParse("10m"), resource.MustParse("32Mi")

// Options of Mesh and Undo.
type Options struct {
	// Images by name: pilot, install-cni, ztunnel, proxyv2, and for kind fleets metallb-controller and
	// metallb-speaker. References must have a slash in them, or the charts would complete them.
	Images map[string]mesh.ImageRef
	// Istio is the version of Istio's module, for the fleet file.
	Istio string
	// ChartsDir is the folder manifests/charts of Istio's module.
	ChartsDir string
	// GatewayCRDs and MetalLB are the folders of the modules sigs.k8s.io/gateway-api and
	// go.universe.tf/metallb.
	GatewayCRDs, MetalLB string
	// Progress may be nil.
	Progress progress.Reporter
}

// plan says what will be installed. Making it touches no cluster.
type plan struct {
	fleet        *mesh.Fleet
	options      Options
	root         *authority
	intermediate map[string]*authority
	gatewayAPI   []client.Object
	metallb      []client.Object // nil if the fleet's load balancers are not ours
	charts       map[string][]chart
	digest       string
}

// newPlan checks everything that can be checked before the first cluster is touched.
func newPlan(f *mesh.Fleet, o Options) (*plan, error) {
	if f.Path() == "" {
		return nil, errors.New("the fleet has no file yet: save it first")
	}
	if f.Provider != mesh.ProviderKind {
		return nil, fmt.Errorf("the mesh of a fleet of provider %q is not ours to change: install Istio there by its own means", f.Provider)
	}
	need := []string{"pilot", "install-cni", "ztunnel", "proxyv2", "metallb-controller", "metallb-speaker"}
	for _, n := range need {
		if ref := o.Images[n].Ref; !full(ref) {
			return nil, fmt.Errorf("image %s needs a whole reference with a slash in it, got %q: run `amc images list`", n, ref)
		}
	}
	for _, c := range f.Members() {
		switch {
		case c.APIServer == "":
			return nil, fmt.Errorf("%s: the fleet file does not say at which address other clusters reach its API server (apiServer)", c.Name)
		case c.Kind == nil || c.Kind.GatewayPool == "":
			return nil, fmt.Errorf("%s: the fleet file does not say which addresses its gateways may have (kind.gatewayPool)", c.Name)
		}
	}
	p := &plan{fleet: f, options: o, charts: map[string][]chart{}}
	var err error
	if p.gatewayAPI, err = gatewayAPI(o.GatewayCRDs); err != nil {
		return nil, err
	}
	if p.metallb, err = metallb(o.MetalLB, o.Images["metallb-controller"].Ref, o.Images["metallb-speaker"].Ref); err != nil {
		return nil, err
	}
	var names []string
	for _, c := range f.Members() {
		names = append(names, c.Name)
		p.charts[c.Name] = charts(f, c, o.Images)
		for _, ch := range p.charts[c.Name] {
			if _, err := loadChart(filepath.Join(o.ChartsDir, filepath.FromSlash(ch.path))); err != nil {
				return nil, err
			}
		}
	}
	f.CADir = filepath.Join(filepath.Dir(f.Path()), "ca")
	if p.root, p.intermediate, err = authorities(f.CADir, names, time.Now()); err != nil {
		return nil, err
	}
	p.digest, err = p.sum()
	return p, err
}

// sum is the digest over what the plan installs: images, values, topology, CA.
func (p *plan) sum() (string, error) {
	type cluster struct {
		Name, Network, APIServer, Pool, CA string
		Nodes                              []string
		Primary, IstiodAddress             string `json:",omitempty"`
	}
	var clusters []cluster
	values := map[string]map[string]any{}
	for _, c := range p.fleet.Members() {
		sum := sha256.Sum256(p.intermediate[c.Name].certPEM)
		clusters = append(clusters, cluster{c.Name, c.Network, c.APIServer, c.Kind.GatewayPool, hex.EncodeToString(sum[:]), c.Kind.Nodes,
			c.Primary, c.IstiodAddress})
		for _, ch := range p.charts[c.Name] {
			values[c.Name+"/"+ch.release] = ch.values
		}
	}
	b, err := json.Marshal(struct {
		Istio    string
		Bundle   string
		Images   map[string]mesh.ImageRef
		Clusters []cluster
		Values   map[string]map[string]any
		MetalLB  []client.Object
		Strict   bool
		Replicas int32
	}{p.options.Istio, p.gatewayAPI[0].GetAnnotations()[consts.BundleVersionAnnotation], p.options.Images, clusters, values, p.metallb,
		p.fleet.Strict, p.fleet.Replicas})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Mesh installs the mesh. It changes nothing if a mesh with the same images, values and topology is
// installed and ready. It fills in the fleet's CADir, GatewayAddresses and MeshReady, and saves the
// fleet file. It accepts only fleets of provider kind.
func Mesh(ctx context.Context, f *mesh.Fleet, o Options) (err error) {
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	p, err := newPlan(f, o)
	if err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	ctx, cancel := wait.Give(ctx, Budget)
	defer cancel()
	if f.MeshReady == p.digest {
		look, stop := context.WithTimeout(ctx, 3*time.Second)
		err := p.each(look, progress.Discard.Phase("", 0), (*target).ready)
		stop()
		if err == nil {
			return f.Save(f.Path())
		}
		// Something is missing or not ready: installing it again repairs it or says why it cannot.
	}
	phase := o.Progress.Phase("mesh", len(f.Members()))
	defer func() { phase.Close(err) }()
	f.MeshReady, f.Istio, f.Images = "", o.Istio, o.Images
	// Save first: a run that is killed must not leave a fleet file that claims to have a mesh.
	if err := f.Save(f.Path()); err != nil {
		return err
	}
	if err := p.each(ctx, phase, (*target).install); err != nil {
		return err
	}
	f.MeshReady = p.digest
	return f.Save(f.Path())
}

// target is one cluster while the mesh is installed in it.
type target struct {
	*plan
	cluster  *mesh.Cluster
	item     progress.Item
	helm     *helm
	peers    []*target     // the other clusters
	receives chan struct{} // closed when the namespace exists, which the others' remote secrets need
	exposed  chan struct{} // closed when clusters that its istiod serves can reach it
}

// each runs a step in all clusters side by side. The first error ends the others.
func (p *plan) each(ctx context.Context, phase progress.Phase, do func(*target, context.Context) error) error {
	members := p.fleet.Members()
	targets := make([]*target, len(members))
	for i, c := range members {
		targets[i] = &target{plan: p, cluster: c, receives: make(chan struct{}), exposed: make(chan struct{})}
	}
	for i, s := range targets {
		s.peers = append(slices.Clone(targets[:i]), targets[i+1:]...)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range targets {
		s.item = phase.Item(s.cluster.Name)
		g.Go(func() error {
			err := s.cluster.Connect()
			if err == nil {
				err = do(s, wait.Saying(gctx, s.item.Note))
			}
			if err != nil && gctx.Err() != nil && ctx.Err() == nil {
				err = fmt.Errorf("%s: stopped, because another cluster failed", s.cluster.Name)
			}
			s.item.Done(err)
			return err
		})
	}
	return g.Wait()
}

// install installs everything in one cluster, side by side but for a few dependencies: the
// namespace comes before everything in it, CRDs before their objects, and the base chart with its
// ServiceAccount before the token for the other clusters.
//
// Two more orders save time, as measured. Some 35 CRDs keep an API server busy for seconds, so they
// come after the charts whose pods take longest; istiod waits for CRDs by itself. A ztunnel that
// finds no istiod backs off for up to 15 seconds, so it comes after istiod.
func (s *target) install(ctx context.Context) error {
	c := s.cluster
	if err := snapshotOnce(ctx, s.fleet, c); err != nil {
		return err
	}
	// The network label comes before istiod: it is the only place that istiod reads the network from.
	if err := apply.Objects(ctx, c, s.prerequisites()...); err != nil {
		return err
	}
	close(s.receives)
	var err error
	if s.helm, err = newHelm(c); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	run := func(steps ...func(context.Context) error) {
		g.Go(func() error {
			for _, do := range steps {
				if err := do(gctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	started, up := make(chan struct{}), make(chan struct{}) // istiod's chart is applied; istiod is ready
	reached := func(c chan struct{}) func(context.Context) error {
		return func(context.Context) error { close(c); return nil }
	}
	after := func(c chan struct{}) func(context.Context) error {
		return func(ctx context.Context) error {
			select {
			case <-c:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	serving := up                // the istiod that serves the cluster can be reached
	based := make(chan struct{}) // Istio's CRDs are there
	if p := s.primary(); p != nil {
		serving = p.exposed
	}
	run(s.release("istiod"), reached(started), s.istiodReady, reached(up))
	run(s.release("istio-cni"), s.cniReady)
	run(after(started), s.applyGateway, s.gatewayReady)
	run(after(started), s.applyMetalLB, s.metallbReady)
	run(after(started), s.release("istio-base"), reached(based), s.createRemoteSecrets)
	run(after(based), after(serving), s.applyStrict)
	if c.IstiodAddress != "" {
		run(after(up), s.release(IstiodGateway), after(based), s.exposeIstiod, s.istiodGatewayReady, reached(s.exposed))
	}
	run(after(serving), s.release("ztunnel"), s.ztunnelReady)
	if err := g.Wait(); err != nil {
		return err
	}
	return s.synced(ctx)
}

// prerequisites are what is there before any chart: a namespace that says on which network the
// cluster is, and whose istiod may take it over; the CA, where there is an istiod; and the root
// that all trust.
func (s *target) prerequisites() []client.Object {
	c := s.cluster
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{label.TopologyNetwork.Name: c.Network}}}
	if !c.IsPrimary() {
		ns.Annotations = map[string]string{annotation.TopologyControlPlaneClusters.Name: c.Primary}
		return []client.Object{ns, rootBundle(s.root)}
	}
	return []client.Object{ns, cacerts(s.root, s.intermediate[c.Name]), rootBundle(s.root)}
}

// primary is the cluster whose istiod serves this one; nil for a primary.
func (s *target) primary() *target {
	i := slices.IndexFunc(s.peers, func(p *target) bool { return p.cluster.Name == s.cluster.Primary })
	if i < 0 {
		return nil
	}
	return s.peers[i]
}

// ready checks that everything that install makes exists and is ready. It changes nothing.
func (s *target) ready(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, look := range []func(context.Context) error{s.istiodReady, s.cniReady, s.ztunnelReady, s.gatewayReady, s.metallbReady,
		s.istiodGatewayReady, s.synced} {
		g.Go(func() error { return look(ctx) })
	}
	return g.Wait()
}

// release is the step that installs one of Istio's charts.
func (s *target) release(name string) func(context.Context) error {
	charts := s.charts[s.cluster.Name]
	i := slices.IndexFunc(charts, func(c chart) bool { return c.release == name })
	return func(ctx context.Context) error { return s.helm.install(ctx, s.options.ChartsDir, charts[i]) }
}

// applyGateway applies the Gateway API, and the gateway that a cluster on a network of its own
// needs.
func (s *target) applyGateway(ctx context.Context) error {
	if err := applyGatewayAPI(ctx, s.cluster, s.gatewayAPI); err != nil {
		return err
	}
	if s.fleet.OneNetwork() {
		return nil
	}
	return apply.Objects(ctx, s.cluster, eastWest(s.fleet, s.cluster)...)
}

func (s *target) applyMetalLB(ctx context.Context) error {
	return applyMetalLB(ctx, s.cluster, s.metallb)
}

// applyStrict makes the whole mesh demand mutual TLS, if the fleet says so. It comes after the base
// chart, which brings the CRD and does not wait until the API server serves it, and after istiod: while
// that starts, it lets the API server ask it about policies before it answers.
func (s *target) applyStrict(ctx context.Context) error {
	if !s.fleet.Strict {
		return nil
	}
	if err := wait.Established(ctx, s.cluster, "peerauthentications."+security.GroupName); err != nil {
		return err
	}
	return apply.Objects(ctx, s.cluster, strict())
}

// createRemoteSecrets gives every other primary a secret with which its istiod can read this one.
func (s *target) createRemoteSecrets(ctx context.Context) error {
	token, ca, err := readerCredentials(ctx, s.cluster)
	if err != nil {
		return err
	}
	secret, err := remotesecret.New(s.cluster, token, ca)
	if err != nil {
		return err
	}
	for _, peer := range s.peers {
		if !peer.cluster.IsPrimary() {
			continue // nobody there would read it
		}
		select {
		case <-peer.receives:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := apply.Objects(ctx, peer.cluster, secret); err != nil {
			return err
		}
	}
	return nil
}

func (s *target) istiodReady(ctx context.Context) error {
	if !s.cluster.IsPrimary() {
		return nil
	}
	return wait.Deployment(ctx, s.cluster, namespace, istiod.Deployment(s.cluster.Revision), 0)
}

func (s *target) cniReady(ctx context.Context) error {
	return wait.DaemonSet(ctx, s.cluster, namespace, "istio-cni-node", 0)
}

func (s *target) ztunnelReady(ctx context.Context) error {
	return wait.DaemonSet(ctx, s.cluster, namespace, "ztunnel", 0)
}

func (s *target) metallbReady(ctx context.Context) error {
	if err := wait.Deployment(ctx, s.cluster, metallbNamespace, "controller", 0); err != nil {
		return err
	}
	return wait.DaemonSet(ctx, s.cluster, metallbNamespace, "speaker", 0)
}

// gatewayReady waits for the east-west gateway. In a cluster without an istiod nobody promises that
// one is ever deployed.
func (s *target) gatewayReady(ctx context.Context) error {
	if s.fleet.OneNetwork() || !s.cluster.IsPrimary() {
		return nil
	}
	gw, err := wait.Gateway(ctx, s.cluster, namespace, EastWestGateway)
	if err != nil {
		return err
	}
	s.cluster.GatewayAddresses = addresses(gw)
	return nil
}

// exposeIstiod lets the classic gateway pass on what clusters without an istiod ask this one's for.
// The API server may not serve the CRDs yet.
func (s *target) exposeIstiod(ctx context.Context) error {
	if err := wait.Established(ctx, s.cluster, "gateways."+networking.GroupName, "virtualservices."+networking.GroupName); err != nil {
		return err
	}
	host := fmt.Sprintf("%s.%s.svc.%s", istiod.Deployment(s.cluster.Revision), namespace, cmp.Or(s.fleet.Domain, mesh.DefaultDomain))
	return apply.Objects(ctx, s.cluster, ExposeIstiod(namespace, IstiodGateway, IstiodGateway, host, IstiodPorts)...)
}

// istiodGatewayReady waits for the classic gateway, if there is one.
func (s *target) istiodGatewayReady(ctx context.Context) error {
	if s.cluster.IstiodAddress == "" {
		return nil
	}
	if err := wait.Deployment(ctx, s.cluster, namespace, IstiodGateway, 0); err != nil {
		return err
	}
	return wait.Object(ctx, s.cluster, &corev1.ServiceList{}, namespace, IstiodGateway, func(svc *corev1.Service, exists bool) (bool, string) {
		return exists && slices.ContainsFunc(svc.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool {
			return i.IP == s.cluster.IstiodAddress
		}), "it does not have the address " + s.cluster.IstiodAddress
	})
}

// synced asks istiod whether it has read every cluster of the mesh.
func (s *target) synced(ctx context.Context) error {
	if !s.cluster.IsPrimary() {
		return nil
	}
	names := []string{s.cluster.Name}
	for _, p := range s.peers {
		names = append(names, p.cluster.Name)
	}
	return istiod.WaitSynced(ctx, s.cluster, names)
}
