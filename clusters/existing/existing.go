// Package existing describes clusters that somebody else made and owns.
//
// Everything is learnt through the API servers: which networks, gateways and versions there are. Nothing is changed, neither in the clusters nor in the
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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

// patience bounds each question to a cluster: a laptop may be far from a cloud, but an unreachable cluster should be named soon.
const patience = 20 * time.Second

const (
	networkLabel = "topology.istio.io/network" // on the namespace of the control plane: the cluster's network
	regionLabel  = "topology.kubernetes.io/region"
	zoneLabel    = "topology.kubernetes.io/zone"
	// GatewayClass is Istio's for east-west gateways of ambient.
	GatewayClass = "istio-east-west"
)

// Options of Discover.
type Options struct {
	// Contexts of the kubeconfig, one per cluster of the mesh.
	Contexts []string
	// Kubeconfig is a file; empty follows kubectl's rules (KUBECONFIG, then the file in the home folder). It is read only.
	Kubeconfig string
	// Dir is where the fleet file fleet.yaml and kubeconfigs/ go (0600).
	Dir string
}

// Facts are what was learnt of a cluster and has no place in the fleet file.
type Facts struct {
	Context    string
	Cluster    string            // Istio's name
	Kubernetes string            // version, for example v1.36.3
	Istio      string            // version that istiod says of itself
	Nodes      int               // how many
	Flags      map[string]string // environment of istiod, where given as plain values
}

// Discover describes the clusters and writes the fleet file. All that is wrong with any of them is reported together, and then nothing is written.
func Discover(ctx context.Context, o Options) (*mesh.Fleet, []Facts, error) {
	path := filepath.Join(o.Dir, "fleet.yaml")
	if _, err := os.Lstat(path); err == nil {
		return nil, nil, fmt.Errorf("%s exists already: use that fleet, or delete the file to describe another", path)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil, nil, fmt.Errorf("kubeconfig cannot be read: %w", err)
	}
	copies, err := minimal(config, o.Contexts)
	if err != nil {
		return nil, nil, err
	}
	tmp, err := os.MkdirTemp("", "amc-kubeconfigs-") // 0700: credentials
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	f := &mesh.Fleet{RunID: strings.ToLower(rand.Text()[:6]), Provider: mesh.ProviderExisting, Created: time.Now().UTC().Truncate(time.Second)}
	found := make([]finding, len(o.Contexts))
	failed := make([]error, len(o.Contexts))
	var all errgroup.Group
	for i, name := range o.Contexts {
		all.Go(func() error {
			found[i], failed[i] = visit(ctx, name, filepath.Join(tmp, fileName(name)), copies[i])
			return nil
		})
	}
	_ = all.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, nil, err
	}
	var facts []Facts
	for _, x := range found {
		x.cluster.Kubeconfig = filepath.Join(o.Dir, "kubeconfigs", fileName(x.Context))
		f.Clusters = append(f.Clusters, x.cluster)
		facts = append(facts, x.Facts)
	}
	if err := agree(f, found); err != nil {
		return nil, nil, err
	}
	for i, c := range f.Clusters {
		if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), 0o700); err != nil {
			return nil, nil, err
		}
		if err := clientcmd.WriteToFile(*copies[i], c.Kubeconfig); err != nil { // 0600
			return nil, nil, err
		}
	}
	if err := f.Save(path); err != nil {
		return nil, nil, err
	}
	return f, facts, nil
}

var unsafeInFileName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func fileName(context string) string {
	return unsafeInFileName.ReplaceAllString(context, "_") + ".yaml"
}

// minimal takes each context out of a kubeconfig, with its cluster and its user and nothing of the others; files that it names are put inside.
func minimal(config *clientcmdapi.Config, contexts []string) ([]*clientcmdapi.Config, error) {
	if len(contexts) == 0 {
		return nil, errors.New("no context is named: use --contexts a,b; the kubeconfig has: " + known(config))
	}
	files := map[string]string{}
	var all []*clientcmdapi.Config
	for _, name := range contexts {
		if _, ok := config.Contexts[name]; !ok {
			return nil, fmt.Errorf("context %q is not in the kubeconfig; it has: %s", name, known(config))
		}
		if other, twice := files[fileName(name)]; twice {
			return nil, fmt.Errorf("contexts %q and %q: each cluster can be named once, by a name of its own", other, name)
		}
		files[fileName(name)] = name
		one := config.DeepCopy()
		one.CurrentContext = name
		if err := clientcmdapi.MinifyConfig(one); err != nil {
			return nil, fmt.Errorf("context %q: %w", name, err)
		}
		if err := clientcmdapi.FlattenConfig(one); err != nil {
			return nil, fmt.Errorf("context %q: %w", name, err)
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

// finding is what a visit brings home.
type finding struct {
	Facts
	cluster     *mesh.Cluster
	trustDomain string
	domain      string
}

// visit learns all about one cluster.
func visit(ctx context.Context, name, path string, config *clientcmdapi.Config) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return finding{}, err
	}
	c := &mesh.Cluster{Name: name, Kubeconfig: path, APIServer: config.Clusters[config.Contexts[name].Cluster].Server}
	version, err := serverVersion(ctx, c)
	if err != nil {
		return finding{}, fmt.Errorf("context %q: API server %s cannot be reached or does not let us in: %w: run `kubectl --context %s version`", name, c.APIServer, err, name)
	}
	if err := c.Connect(); err != nil {
		return finding{}, err
	}
	f, err := look(ctx, name, c.Client())
	if err != nil {
		return finding{}, err
	}
	f.Context, f.Kubernetes, f.cluster.APIServer = name, version, c.APIServer
	if f.Istio, err = istiod.Version(ctx, c); err != nil {
		return finding{}, fmt.Errorf("context %q: istiod does not say its version: %w", name, err)
	}
	return f, nil
}

// serverVersion asks the API server for its version, which needs no rights.
func serverVersion(ctx context.Context, c *mesh.Cluster) (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
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

// look reads what a cluster's objects say. Errors say which context, what was expected and what to type.
func look(ctx context.Context, name string, r client.Reader) (finding, error) {
	fault := func(format string, args ...any) (finding, error) {
		return finding{}, fmt.Errorf("context %q: "+format, append([]any{name}, args...)...)
	}
	read := func(what string, err error) error {
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("context %q: no right to read %s: %w: give it the rights that `amc rbac` prints", name, what, err)
		}
		return fmt.Errorf("context %q: %s: %w", name, what, err)
	}
	var ns corev1.Namespace
	if err := r.Get(ctx, client.ObjectKey{Name: istiod.Namespace}, &ns); apierrors.IsNotFound(err) {
		return fault("there is no namespace %s: Istio is not installed there, or not where this suite looks", istiod.Namespace)
	} else if err != nil {
		return finding{}, read("namespace "+istiod.Namespace, err)
	}
	f := finding{cluster: &mesh.Cluster{Network: ns.Labels[networkLabel]}, trustDomain: "cluster.local", domain: "cluster.local"}
	if f.cluster.Network == "" {
		return fault("namespace %s has no label %s, which names the cluster's network: multi-network needs it: run `kubectl --context %s label namespace %s %s=<network>`",
			istiod.Namespace, networkLabel, name, istiod.Namespace, networkLabel)
	}
	var pods corev1.PodList
	if err := r.List(ctx, &pods, client.InNamespace(istiod.Namespace)); err != nil {
		return finding{}, read("pods in "+istiod.Namespace, err)
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
		return fault("no pod of istiod runs in %s: run `kubectl --context %s -n %s get pods`", istiod.Namespace, name, istiod.Namespace)
	}
	f.Flags, f.cluster.Name = flags(control)
	if d := argument(control, "--domain"); d != "" {
		f.domain = d
	}
	f.Cluster = f.cluster.Name
	switch {
	case f.Flags["PILOT_ENABLE_AMBIENT"] != "true":
		return fault("its istiod is not set up for ambient (PILOT_ENABLE_AMBIENT is %q): install Istio with the ambient profile", f.Flags["PILOT_ENABLE_AMBIENT"])
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
	f.Nodes = len(nodes.Items)
	for _, n := range nodes.Items {
		f.cluster.Region = cmp.Or(f.cluster.Region, n.Labels[regionLabel])
		f.cluster.Zone = cmp.Or(f.cluster.Zone, n.Labels[zoneLabel])
	}
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
		return fault("its east-west gateway has no address yet: run `kubectl --context %s get gateways -A` and see whether the load balancer works", name)
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
	f.TrustDomain, f.Domain, f.Istio = first.trustDomain, first.domain, first.Istio
	names := map[string]string{}
	var all []error
	for _, x := range found {
		if other, twice := names[x.Cluster]; twice {
			all = append(all, fmt.Errorf("contexts %q and %q are both cluster %q to Istio: two contexts of the same cluster, or two clusters installed with the same global.multiCluster.clusterName", other, x.Context, x.Cluster))
		}
		names[x.Cluster] = x.Context
		if x.trustDomain != first.trustDomain {
			all = append(all, fmt.Errorf("context %q has trust domain %q, context %q has %q: the clusters of a mesh share one", first.Context, first.trustDomain, x.Context, x.trustDomain))
		}
		if x.domain != first.domain {
			all = append(all, fmt.Errorf("context %q has DNS domain %q, context %q has %q: the clusters of a mesh share one", first.Context, first.domain, x.Context, x.domain))
		}
	}
	return errors.Join(all...)
}

// Health says whether a fleet can be used: each API server answers, its istiod runs, and it is still the cluster and network that the fleet file says.
func Health(ctx context.Context, f *mesh.Fleet) error {
	failed := make([]error, len(f.Clusters))
	var all errgroup.Group
	for i, c := range f.Clusters {
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if _, err := serverVersion(ctx, c); err != nil {
				failed[i] = fmt.Errorf("%s: its API server %s does not answer: %w: run `kubectl --kubeconfig %s version`", c.Name, c.APIServer, err, c.Kubeconfig)
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
	now, err := look(ctx, c.Name, r)
	if err != nil {
		return err
	}
	if now.cluster.Name != c.Name || now.cluster.Network != c.Network {
		return fmt.Errorf("%s: it is now cluster %q on network %q, the fleet file says %q on %q: delete the fleet file and run `amc fleet init` again", c.Name, now.cluster.Name, now.cluster.Network, c.Name, c.Network)
	}
	return nil
}
