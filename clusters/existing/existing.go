// Package existing describes clusters that somebody else made and owns.
//
// Everything is learned through the API servers: which networks, gateways and versions there are. Nothing is changed, neither in the clusters nor in the
// user's kubeconfig; only a fleet file and a private copy of each context are written. What is not ours to change is skipped by the plan.
package existing

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

// patience bounds each question to a cluster: a laptop may be far from a cloud, but an unreachable cluster should be named soon.
const patience = 10 * time.Second

const (
	networkLabel = "topology.istio.io/network" // on the namespace of the control plane: the cluster's network
	regionLabel  = "topology.kubernetes.io/region"
	zoneLabel    = "topology.kubernetes.io/zone"
	// defaultServiceCIDR is the object that the API server makes of its own --service-cluster-ip-range.
	defaultServiceCIDR = "kubernetes"
	// GatewayClass is Istio's for east-west gateways of ambient.
	GatewayClass = "istio-east-west"
	// gatewayClassLabel is what istiod puts on the pods of a gateway.
	gatewayClassLabel = "gateway.networking.k8s.io/gateway-class-name"
)

// Options of Discover.
type Options struct {
	// Contexts of the kubeconfig, one per cluster of the mesh.
	Contexts []string
	// Kubeconfig is a file; empty follows kubectl's rules (KUBECONFIG, then the file in the home folder). It is read only.
	Kubeconfig string
	// Dir is where the fleet file fleet.yaml and kubeconfigs/ go (0600).
	Dir string
	// AppImage is the reference of Istio's echo application, as the clusters' nodes can pull it; default see [AppImage].
	AppImage string
	// MeshAdmin says that specs may change istio-system; they put back what they change. Default: they may not.
	MeshAdmin bool
}

// finding is what a visit brings home: the cluster as the fleet file describes it, and what all clusters must agree on.
type finding struct {
	context     string
	cluster     *mesh.Cluster
	uid         types.UID // of the cluster's kube-system, which no two clusters share
	trustDomain string
	domain      string
	images      []running
}

// Usage is an error of what was asked for, rather than of the clusters.
type Usage struct{ error }

func (u Usage) Unwrap() error { return u.error }

func misuse(format string, args ...any) error { return Usage{fmt.Errorf(format, args...)} }

// Discover describes the clusters and writes the fleet file. All that is wrong with any of them is reported together, and then nothing is written.
func Discover(ctx context.Context, o Options) (*mesh.Fleet, error) {
	dir, err := filepath.Abs(o.Dir) // the fleet file names kubeconfigs, and is read from anywhere
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "fleet.yaml")
	if _, err := os.Lstat(path); err == nil {
		return nil, misuse("%s exists already: use that fleet, or delete the file to describe another, or name another folder with --artifacts", path)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil, misuse("kubeconfig cannot be read: %w: name one with --kubeconfig", err)
	}
	copies, err := minimal(config, o.Contexts)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "amc-kubeconfigs-") // 0700: credentials
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	f := &mesh.Fleet{RunID: strings.ToLower(rand.Text()[:6]), Provider: mesh.ProviderExisting, Created: time.Now().UTC().Truncate(time.Second), MeshAdmin: o.MeshAdmin}
	found := make([]finding, len(o.Contexts))
	failed := make([]error, len(o.Contexts))
	var all errgroup.Group
	for i, name := range o.Contexts {
		all.Go(func() error {
			found[i], failed[i] = visit(ctx, byContext(name, o.Kubeconfig), name, filepath.Join(tmp, fileName(name)), copies[i])
			return nil
		})
	}
	_ = all.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	for _, x := range found {
		f.Clusters = append(f.Clusters, x.cluster)
	}
	if err := agree(f, found); err != nil {
		return nil, err
	}
	f.Images = images(found)
	app := mesh.ImageRef{Ref: o.AppImage, Source: "override"}
	if app.Ref == "" {
		app = mesh.ImageRef{Ref: AppImage(f.Istio), Source: "pulled"}
	}
	f.Images["app"] = app
	for i, c := range f.Clusters {
		c.Kubeconfig = filepath.Join(dir, "kubeconfigs", fileName(found[i].context))
		if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), 0o700); err != nil {
			return nil, err
		}
		if err := clientcmd.WriteToFile(*copies[i], c.Kubeconfig); err != nil { // 0600
			return nil, err
		}
	}
	if err := f.Save(path); err != nil {
		return nil, err
	}
	return f, nil
}

var unsafeInFileName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func fileName(context string) string {
	return unsafeInFileName.ReplaceAllString(context, "_") + ".yaml"
}

// minimal takes each context out of a kubeconfig, with its cluster and its user and nothing of the others; files that it names are put inside.
func minimal(config *clientcmdapi.Config, contexts []string) ([]*clientcmdapi.Config, error) {
	if len(contexts) == 0 {
		return nil, misuse("no context is named: use --contexts a,b; the kubeconfig has: %s", known(config))
	}
	files := map[string]string{}
	var all []*clientcmdapi.Config
	for _, name := range contexts {
		if _, ok := config.Contexts[name]; !ok {
			return nil, misuse("context %q is not in the kubeconfig; it has: %s", name, known(config))
		}
		if other, twice := files[fileName(name)]; twice {
			return nil, misuse("contexts %q and %q: each cluster can be named once, by a name of its own", other, name)
		}
		files[fileName(name)] = name
		one := config.DeepCopy()
		one.CurrentContext = name
		if err := clientcmdapi.MinifyConfig(one); err != nil {
			return nil, misuse("context %q of the kubeconfig is broken: %w", name, err)
		}
		if err := clientcmdapi.FlattenConfig(one); err != nil {
			return nil, misuse("context %q of the kubeconfig names a file that cannot be read: %w", name, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func known(config *clientcmdapi.Config) string {
	names := slices.Sorted(maps.Keys(config.Contexts))
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// visit learns all about one cluster.
func visit(ctx context.Context, at place, name, path string, config *clientcmdapi.Config) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return finding{}, err
	}
	c := &mesh.Cluster{Name: name, Kubeconfig: path, APIServer: config.Clusters[config.Contexts[name].Cluster].Server}
	version, err := serverVersion(ctx, c)
	if err != nil {
		return finding{}, unreachable(at, c.APIServer, err)
	}
	if err := c.Connect(); err != nil {
		return finding{}, err
	}
	f, err := look(ctx, at, c.Client())
	if err != nil {
		return finding{}, err
	}
	f.context = name
	f.cluster.Kubernetes, f.cluster.APIServer = version, c.APIServer
	if f.cluster.Istio, err = istiod.Version(ctx, c); err != nil {
		return finding{}, fmt.Errorf("%s: istiod does not say its version: %w", at.name, err)
	}
	found, err := standIns(ctx, c)
	if err != nil {
		return finding{}, fmt.Errorf("%s: %w", at.name, err)
	}
	f.mark(found)
	return f, nil
}

// unreachable says why an API server did not answer a question that needs no rights.
func unreachable(at place, server string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: API server %s does not know our credentials: %w: log in anew, then try `%s version`", at.name, server, err, at.kubectl)
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return fmt.Errorf("%s: API server %s does not answer within %s: see whether the cluster runs and can be reached from here: `%s version`", at.name, server, patience, at.kubectl)
	}
	return fmt.Errorf("%s: API server %s cannot be reached: %w: see whether the cluster runs: `%s version`", at.name, server, err, at.kubectl)
}

// clientConfig is what the cluster's kubeconfig and context say.
func clientConfig(c *mesh.Cluster) (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: c.Context}).ClientConfig()
}

// serverVersion asks the API server for its version, which needs no rights.
func serverVersion(ctx context.Context, c *mesh.Cluster) (string, error) {
	config, err := clientConfig(c)
	if err != nil {
		return "", err
	}
	config.Timeout = patience
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return "", err
	}
	type answer struct {
		version string
		err     error
	}
	done := make(chan answer, 1) // the call takes no context
	go func() {
		v, err := d.ServerVersion()
		if err != nil {
			done <- answer{err: err}
			return
		}
		done <- answer{version: v.GitVersion}
	}()
	select {
	case a := <-done:
		return a.version, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// place is how a cluster is called in messages, and how kubectl is told of it.
type place struct{ name, kubectl string }

// byContext is a context of the kubeconfig file, or of the one that kubectl finds.
func byContext(name, kubeconfig string) place {
	p := place{fmt.Sprintf("context %q", name), "kubectl --context " + name}
	if kubeconfig != "" {
		p.kubectl = "kubectl --kubeconfig " + kubeconfig + " --context " + name
	}
	return p
}

func byFile(c *mesh.Cluster) place {
	p := place{c.Name, "kubectl --kubeconfig " + c.Kubeconfig}
	if c.Context != "" {
		p.kubectl += " --context " + c.Context
	}
	return p
}

// look reads what a cluster's objects say. Errors say which cluster, what was expected and what to type.
func look(ctx context.Context, at place, r client.Reader) (finding, error) {
	fault := func(format string, args ...any) (finding, error) {
		return finding{}, fmt.Errorf("%s: "+format, append([]any{at.name}, args...)...)
	}
	read := func(what string, err error) error {
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("%s: no right to read %s: %w: give it the rights that `amc rbac` prints", at.name, what, err)
		}
		return fmt.Errorf("%s: %s: %w", at.name, what, err)
	}
	var ns corev1.Namespace
	if err := r.Get(ctx, client.ObjectKey{Name: istiod.Namespace}, &ns); apierrors.IsNotFound(err) {
		return fault("there is no namespace %s: Istio is not installed there, or not where this suite looks", istiod.Namespace)
	} else if err != nil {
		return finding{}, read("namespace "+istiod.Namespace, err)
	}
	f := finding{cluster: &mesh.Cluster{Network: ns.Labels[networkLabel]}, trustDomain: "cluster.local", domain: "cluster.local"}
	if f.cluster.Network == "" {
		return fault("namespace %s has no label %s, which names the cluster's network: multi-network needs it: run `%s label namespace %s %s=<network>`",
			istiod.Namespace, networkLabel, at.kubectl, istiod.Namespace, networkLabel)
	}
	var system corev1.Namespace
	if err := r.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return finding{}, read("namespace "+metav1.NamespaceSystem, err)
	}
	f.uid = system.UID
	var pods, gatewayPods corev1.PodList
	if err := r.List(ctx, &pods, client.InNamespace(istiod.Namespace)); err != nil {
		return finding{}, read("pods in "+istiod.Namespace, err)
	}
	if err := r.List(ctx, &gatewayPods, client.MatchingLabels{gatewayClassLabel: GatewayClass}); err != nil {
		return finding{}, read("pods of east-west gateways", err)
	}
	control, proxies := (*corev1.Pod)(nil), 0
	for i, p := range pods.Items {
		switch {
		case p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil:
		case p.Labels["app"] == "istiod":
			control = &pods.Items[i]
		case p.Labels["app"] == "ztunnel":
			proxies++
		}
	}
	if control == nil {
		return fault("no pod of istiod runs in %s: run `%s -n %s get pods`", istiod.Namespace, at.kubectl, istiod.Namespace)
	}
	f.cluster.Flags, f.cluster.Name = flags(control)
	if d := argument(control, "--domain"); d != "" {
		f.domain = d
	}
	switch {
	case f.cluster.Flags["PILOT_ENABLE_AMBIENT"] != "true":
		return fault("its istiod is not set up for ambient (PILOT_ENABLE_AMBIENT is %q): install Istio with the ambient profile", f.cluster.Flags["PILOT_ENABLE_AMBIENT"])
	case proxies == 0:
		return fault("no ztunnel runs in %s, so its mesh is not an ambient one: install the ztunnel chart", istiod.Namespace)
	case f.cluster.Name == "":
		return fault("its istiod has no CLUSTER_ID, so its cluster has no name in the mesh: install it with global.multiCluster.clusterName")
	}
	var config corev1.ConfigMap
	key := client.ObjectKey{Namespace: istiod.Namespace, Name: configName(control)}
	if err := r.Get(ctx, key, &config); err != nil {
		return finding{}, read("ConfigMap "+key.String(), err)
	}
	var settings struct {
		TrustDomain string `json:"trustDomain"`
	}
	if err := yaml.Unmarshal([]byte(config.Data["mesh"]), &settings); err != nil {
		return fault("the mesh configuration in ConfigMap %s is malformed: %w", key, err)
	}
	if settings.TrustDomain != "" {
		f.trustDomain = settings.TrustDomain
	}
	var nodes corev1.NodeList
	if err := r.List(ctx, &nodes); err != nil {
		return finding{}, read("nodes", err)
	}
	f.cluster.Nodes = len(nodes.Items)
	for _, n := range nodes.Items {
		f.cluster.Region = cmp.Or(f.cluster.Region, n.Labels[regionLabel])
		f.cluster.Zone = cmp.Or(f.cluster.Zone, n.Labels[zoneLabel])
	}
	// Told from Kubernetes 1.33 on, and only to those who may ask: otherwise it stays unknown.
	var services networkingv1.ServiceCIDR
	if err := r.Get(ctx, client.ObjectKey{Name: defaultServiceCIDR}, &services); err == nil {
		f.cluster.ServiceCIDR = strings.Join(services.Spec.CIDRs, ",")
	} else if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		return finding{}, read("ServiceCIDR "+defaultServiceCIDR, err)
	}
	f.images = imagesOf(append(pods.Items, gatewayPods.Items...), nodes.Items)
	var gateways gateway.GatewayList
	if err := r.List(ctx, &gateways); meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return fault("it has no Gateway API: install its CRDs and an east-west gateway (class %s)", GatewayClass)
	} else if err != nil {
		return finding{}, read("gateways", err)
	}
	seen := 0
	for _, g := range gateways.Items {
		if g.Spec.GatewayClassName != GatewayClass {
			continue
		}
		seen++
		for _, a := range g.Status.Addresses {
			f.cluster.GatewayAddresses = append(f.cluster.GatewayAddresses, a.Value)
		}
	}
	switch {
	case seen == 0:
		return fault("it has no east-west gateway (class %s): other networks cannot reach it: install one as the multi-network guide says", GatewayClass)
	case len(f.cluster.GatewayAddresses) == 0:
		return fault("its east-west gateway has no address yet: run `%s get gateways -A` and see whether the load balancer works", at.kubectl)
	}
	return f, nil
}

// flags are the plain environment variables of istiod, and the cluster's name among them.
func flags(p *corev1.Pod) (map[string]string, string) {
	all := map[string]string{}
	for _, c := range p.Spec.Containers {
		if c.Name != "discovery" {
			continue
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				all[e.Name] = e.Value
			}
		}
	}
	return all, all["CLUSTER_ID"]
}

// argument is the value of a command line argument of istiod.
func argument(p *corev1.Pod, name string) string {
	for _, c := range p.Spec.Containers {
		for i, a := range c.Args {
			if v, ok := strings.CutPrefix(a, name+"="); ok {
				return v
			}
			if a == name && i+1 < len(c.Args) {
				return c.Args[i+1]
			}
		}
	}
	return ""
}

// configName is the name of the mesh configuration, which a revision other than the default one has in it.
func configName(p *corev1.Pod) string {
	if rev := p.Labels["istio.io/rev"]; rev != "" && rev != "default" {
		return "istio-" + rev
	}
	return "istio"
}

// agree checks that the clusters can be one mesh, and fills in what they share.
func agree(f *mesh.Fleet, found []finding) error {
	first := found[0]
	f.TrustDomain, f.Domain, f.Istio = first.trustDomain, first.domain, first.cluster.Istio
	names, uids := map[string]string{}, map[types.UID]string{}
	var all []error
	for _, x := range found {
		if other, twice := uids[x.uid]; twice {
			all = append(all, misuse("contexts %q and %q lead to the same cluster (%s): name each cluster of the mesh once", other, x.context, x.cluster.Name))
		} else if other, twice := names[x.cluster.Name]; twice {
			all = append(all, fmt.Errorf("contexts %q and %q are two clusters that both call themselves %q: install each with a global.multiCluster.clusterName of its own", other, x.context, x.cluster.Name))
		}
		names[x.cluster.Name], uids[x.uid] = x.context, x.context
		if x.trustDomain != first.trustDomain {
			all = append(all, fmt.Errorf("context %q has trust domain %q, context %q has %q: the clusters of a mesh share one", first.context, first.trustDomain, x.context, x.trustDomain))
		}
		if x.domain != first.domain {
			all = append(all, fmt.Errorf("context %q has DNS domain %q, context %q has %q: the clusters of a mesh share one", first.context, first.domain, x.context, x.domain))
		}
		// What is promised of the mesh is promised by its oldest control plane.
		if older(x.cluster.Istio, f.Istio) {
			f.Istio = x.cluster.Istio
		}
	}
	return errors.Join(all...)
}

// older compares what two istiods say of themselves; a build without a version is no older than any.
func older(a, b string) bool {
	v, errA := behaviors.ParseVersion(a)
	w, errB := behaviors.ParseVersion(b)
	return errA == nil && errB == nil && slices.Compare([]int{v.Major, v.Minor, v.Patch}, []int{w.Major, w.Minor, w.Patch}) < 0
}

// Health says whether a fleet can be used: each API server answers, its istiod runs, and it is still the cluster and network that the fleet file says.
func Health(ctx context.Context, f *mesh.Fleet) error {
	failed := make([]error, len(f.Clusters))
	var all errgroup.Group
	for i, c := range f.Clusters {
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			config, err := clientConfig(c)
			if err != nil {
				failed[i] = fmt.Errorf("%s: kubeconfig %s: %w: run `amc fleet init` again", c.Name, c.Kubeconfig, err)
				return nil
			}
			if _, err := serverVersion(ctx, c); err != nil {
				failed[i] = unreachable(byFile(c), config.Host, err) // the fleet file may name the address that the other clusters use
				return nil
			}
			if failed[i] = c.Connect(); failed[i] != nil {
				return nil
			}
			failed[i] = same(ctx, c, c.Client())
			return nil
		})
	}
	_ = all.Wait()
	return errors.Join(failed...)
}

// same says whether a cluster is still the one that was described.
func same(ctx context.Context, c *mesh.Cluster, r client.Reader) error {
	now, err := look(ctx, byFile(c), r)
	if err != nil {
		return err
	}
	if now.cluster.Name != c.Name || now.cluster.Network != c.Network {
		return fmt.Errorf("%s: it is now cluster %q on network %q, the fleet file says %q on %q: delete the fleet file and run `amc fleet init` again", c.Name, now.cluster.Name, now.cluster.Network, c.Name, c.Network)
	}
	return nil
}
