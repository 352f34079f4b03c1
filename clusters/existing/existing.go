// Package existing describes clusters that somebody else made and owns.
//
// It learns everything from the API servers and changes nothing, neither in the clusters nor in the
// user's kubeconfig. It writes only a fleet file and a private copy of each context. The plan skips
// the specs that would change what is not ours to change.
package existing

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/preflight"
	"ambient.test/conformance/internal/wholefile"
)

// Options of Discover.
type Options struct {
	// Contexts of the kubeconfig, one per cluster of the mesh.
	Contexts []string
	// Kubeconfig is a file, which is only read. Empty follows kubectl's rules: KUBECONFIG, then the
	// file in the home folder.
	Kubeconfig string
	// Dir is the folder for the fleet file fleet.yaml and for kubeconfigs/ (0600).
	Dir string
	// AppImage is a reference of Istio's echo application that the nodes can pull. Default:
	// [AppImage].
	AppImage string
	// MeshAdmin lets specs change istio-system; they put back what they change.
	MeshAdmin bool
	// GatewayClass and WaypointClass are the classes of the mesh's east-west gateways and waypoints.
	// Default: Istio's.
	GatewayClass, WaypointClass string
}

// discovered holds what Discover reads from one cluster.
type discovered struct {
	context string
	*inspect.Cluster
	cluster *mesh.Cluster // as the fleet file describes it
}

// Usage is an error in what the user asked for, not in the clusters.
type Usage struct{ error }

func (u Usage) Unwrap() error { return u.error }

func misuse(format string, args ...any) error { return Usage{fmt.Errorf(format, args...)} }

// Contexts are those that a kubeconfig has, for a shell to complete.
func Contexts(kubeconfig string) []string {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(config.Contexts))
}

// Discover describes the clusters and writes the fleet file. It reports the faults of all clusters
// together, and then writes nothing.
func Discover(ctx context.Context, o Options) (*mesh.Fleet, error) {
	dir, err := filepath.Abs(o.Dir) // the fleet file names kubeconfigs, and is read from anywhere
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "fleet.yaml")
	if _, err := os.Lstat(path); err == nil {
		return nil, misuse("%s exists already: use that fleet, or delete the file to describe another, or name another folder with --artifacts",
			path)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	config, err := rules.Load()
	switch missing := (*fs.PathError)(nil); {
	case errors.As(err, &missing):
		return nil, misuse("the kubeconfig cannot be read: %w: name one with --kubeconfig", missing)
	case err != nil: // what client-go says of the content are types of Go
		return nil, misuse("%s is not a kubeconfig: name one with --kubeconfig", strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	if len(config.Contexts) == 0 {
		return nil, misuse("there is no kubeconfig with a context in %s: name one with --kubeconfig",
			strings.Join(rules.GetLoadingPrecedence(), ", "))
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
	f := &mesh.Fleet{RunID: strings.ToLower(rand.Text()[:6]), Provider: mesh.ProviderExisting,
		Created: time.Now().UTC().Truncate(time.Second), MeshAdmin: o.MeshAdmin}
	found := make([]discovered, len(o.Contexts))
	failed := make([]error, len(o.Contexts))
	var all errgroup.Group
	for i, name := range o.Contexts {
		all.Go(func() error {
			found[i], failed[i] = discover(ctx, o, name, filepath.Join(tmp, fileName(name)), copies[i])
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
		c.Kubeconfig = filepath.Join(dir, kubeconfigs, fileName(found[i].context))
	}
	if err := writeCopies(dir, found, copies); err != nil {
		return nil, err
	}
	if err := f.Save(path); err != nil {
		return nil, err
	}
	return f, nil
}

// kubeconfigs is the folder of the private copies, beside the fleet file.
const kubeconfigs = "kubeconfigs"

// writeCopies writes the private copy of each context (0600). It follows no link that lies in the
// folder already, because the copies hold credentials.
func writeCopies(dir string, found []discovered, copies []*clientcmdapi.Config) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Mkdir(kubeconfigs, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if st, err := root.Lstat(kubeconfigs); err != nil || !st.IsDir() {
		return fmt.Errorf("%s is not a plain folder: look at it and remove it, or name another folder with --artifacts",
			filepath.Join(dir, kubeconfigs))
	}
	for i, x := range found {
		data, err := clientcmd.Write(*copies[i])
		if err != nil {
			return err
		}
		if err := wholefile.Write(root, kubeconfigs+"/"+fileName(x.context), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

var unsafeInFileName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func fileName(context string) string {
	return unsafeInFileName.ReplaceAllString(context, "_") + ".yaml"
}

// minimal copies each context out of a kubeconfig, with its cluster and its user and nothing of the
// others. Files that the context names are put inside the copy.
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

// discover reads one cluster and refuses it if no mesh of several networks can be tested there.
func discover(ctx context.Context, o Options, name, path string, config *clientcmdapi.Config) (discovered, error) {
	at := byContext(name, o.Kubeconfig)
	fault := func(err error) (discovered, error) { return discovered{}, fmt.Errorf("%s: %w", at.Name, err) }
	ctx, cancel := context.WithTimeout(ctx, inspect.Limit)
	defer cancel()
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return discovered{}, err
	}
	c := &mesh.Cluster{Name: name, Kubeconfig: path, APIServer: config.Clusters[config.Contexts[name].Cluster].Server,
		GatewayClass: o.GatewayClass, WaypointClass: o.WaypointClass}
	facts, err := inspect.ReadAt(ctx, at, c)
	if err != nil {
		return fault(err)
	}
	if err := preflight.Usable(facts); err != nil {
		return fault(err)
	}
	found, err := inspect.StandInsOf(ctx, c)
	if err != nil {
		return fault(err)
	}
	facts.MarkStandIns(found)
	return discovered{name, facts, describe(facts, c)}, nil
}

// describe is a cluster as the fleet file describes it.
func describe(f *inspect.Cluster, c *mesh.Cluster) *mesh.Cluster {
	revision := f.Revision
	if revision == istiod.DefaultRevision {
		revision = ""
	}
	return &mesh.Cluster{
		Revision: revision, Name: f.Name, Network: f.Network, Region: f.Region(), Zone: f.Zone(), APIServer: c.APIServer,
		GatewayClass: c.GatewayClass, WaypointClass: c.WaypointClass,
		ServiceCIDR: f.ServiceCIDR, GatewayAddresses: f.GatewayAddresses(), Kubernetes: f.Kubernetes, Istio: f.Istio,
		Nodes: len(f.Nodes), Flags: f.Flags,
	}
}

// byContext names a context of the kubeconfig file, or of the one that kubectl finds.
func byContext(name, kubeconfig string) inspect.Where {
	at := inspect.Where{Name: fmt.Sprintf("context %q", name), Kubectl: "kubectl --context " + name}
	if kubeconfig != "" {
		at.Kubectl = "kubectl --kubeconfig " + kubeconfig + " --context " + name
	}
	return at
}

// agree checks that the clusters can be one mesh, and fills in what they share.
func agree(f *mesh.Fleet, found []discovered) error {
	first := found[0]
	f.TrustDomain, f.Domain, f.Istio = first.TrustDomain, first.Domain, first.Istio
	names, uids := map[string]string{}, map[types.UID]string{}
	var all []error
	for _, x := range found {
		if other, twice := uids[x.UID]; twice {
			all = append(all,
				misuse("contexts %q and %q lead to the same cluster (%s): name each cluster of the mesh once", other, x.context, x.Name))
		} else if other, twice := names[x.Name]; twice {
			all = append(all, fmt.Errorf("contexts %q and %q are two clusters that both call themselves %q: "+
				"install each with a global.multiCluster.clusterName of its own", other, x.context, x.Name))
		}
		names[x.Name], uids[x.UID] = x.context, x.context
		if x.TrustDomain != first.TrustDomain {
			all = append(all, fmt.Errorf("context %q has trust domain %q, context %q has %q: the clusters of a mesh share one",
				first.context, first.TrustDomain, x.context, x.TrustDomain))
		}
		if x.Domain != first.Domain {
			all = append(all, fmt.Errorf("context %q has DNS domain %q, context %q has %q: the clusters of a mesh share one",
				first.context, first.Domain, x.context, x.Domain))
		}
		// The oldest control plane decides which promises apply to the mesh.
		if older(x.Istio, f.Istio) {
			f.Istio = x.Istio
		}
	}
	return errors.Join(all...)
}

// older compares the versions of two istiods. A build without a version is not older than any.
func older(a, b string) bool {
	v, errA := behaviors.ParseVersion(a)
	w, errB := behaviors.ParseVersion(b)
	return errA == nil && errB == nil && slices.Compare([]int{v.Major, v.Minor, v.Patch}, []int{w.Major, w.Minor, w.Patch}) < 0
}

// images are the images of all clusters by part. Where clusters differ, the first image has the
// plain name and each further one the name of its cluster. A stand-in goes before the real
// component, so that nobody overlooks it.
func images(found []discovered) map[string]mesh.ImageRef {
	all := map[string]mesh.ImageRef{}
	for _, standIns := range []bool{true, false} {
		for _, x := range found {
			for _, r := range x.Images {
				if (r.StandIn != "") != standIns {
					continue
				}
				key := r.Part
				for n := 1; all[key] != (mesh.ImageRef{}) && all[key] != r.ImageRef; n++ {
					if key = r.Part + "@" + x.Name; n > 1 {
						key = fmt.Sprintf("%s@%s.%d", r.Part, x.Name, n)
					}
				}
				all[key] = r.ImageRef
			}
		}
	}
	return all
}

var (
	release     = regexp.MustCompile(`^v?(\d+\.\d+\.\d+)`)
	development = regexp.MustCompile(`^(\d+\.\d+-alpha\.[0-9a-f]+)`)
)

// AppImage is where Istio publishes its echo application for a version of istiod, which is a
// release or a development build.
func AppImage(istio string) string {
	if m := development.FindStringSubmatch(istio); m != nil {
		return "gcr.io/istio-testing/app:" + m[1]
	}
	if m := release.FindStringSubmatch(istio); m != nil {
		return "docker.io/istio/app:" + m[1]
	}
	return "docker.io/istio/app:latest"
}
