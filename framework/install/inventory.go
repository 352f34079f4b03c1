package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"ambient.test/conformance/framework/mesh"
)

// snapshot is what each cluster of a fleet held at one moment, by the cluster's name.
type snapshot map[string]*inventory

// takeSnapshot lists what the clusters hold now.
func takeSnapshot(ctx context.Context, f *mesh.Fleet) (snapshot, error) {
	members := f.Members()
	all := make([]*inventory, len(members))
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range members {
		g.Go(func() error {
			if err := c.Connect(); err != nil {
				return err
			}
			var err error
			all[i], err = takeInventory(ctx, f, c)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	s := snapshot{}
	for i, c := range members {
		s[c.Name] = all[i]
	}
	return s, nil
}

// remnants lists what the clusters hold now and did not hold in the snapshot: objects without an
// owner, labels of namespaces and nodes, and on kind nodes CNI files, firewall rules and folders.
func (before snapshot) remnants(ctx context.Context, f *mesh.Fleet) ([]remnant, error) {
	now, err := takeSnapshot(ctx, f)
	if err != nil {
		return nil, err
	}
	var out []remnant
	for _, c := range f.Members() {
		if before[c.Name] == nil {
			return nil, fmt.Errorf("%s: %w", c.Name, errNoSnapshot)
		}
		for _, l := range before[c.Name].diff(now[c.Name]) {
			l.cluster = c.Name
			out = append(out, l)
		}
	}
	return out, nil
}

// remnant is one difference.
type remnant struct {
	cluster, namespace string // namespace of the object, or the one that it is; empty for others
	what               string
}

func (l remnant) String() string { return l.cluster + ": " + l.what }

// inventory records what a cluster held at one moment: the names of all objects, and the labels of
// a few, but no content.
type inventory struct {
	// Objects maps "kind.group namespace/name" to the object's labels, where labels count (namespaces
	// and nodes), else to "".
	Objects map[string]string `json:"objects"`
	// Nodes maps "node: thing" to a description, for kind nodes: CNI files, Istio's firewall rules and
	// address sets, its socket folders.
	Nodes map[string]string `json:"nodes,omitempty"`
}

// unwatched are kinds whose objects come and go by themselves.
var unwatched = map[schema.GroupResource]bool{
	{Resource: "events"}: true, {Group: "events.k8s.io", Resource: "events"}: true,
	{Group: "coordination.k8s.io", Resource: "leases"}: true,
	{Resource: "endpoints"}:                            true, // follow their service; endpoint slices have an owner
	{Resource: "componentstatuses"}:                    true,
	{Group: "metrics.k8s.io", Resource: "pods"}:        true, {Group: "metrics.k8s.io", Resource: "nodes"}: true,
	{Group: "networking.k8s.io", Resource: "ipaddresses"}: true, // follow their service
}

// byKubernetes reports whether a controller of Kubernetes itself creates the object, in each
// namespace or for itself. This may happen some seconds after the cluster was created, so an object
// that was missing before the first install need not belong to the mesh. The service accounts of
// these controllers have no label; those of a chart carry Helm's.
func byKubernetes(gr schema.GroupResource, o metav1.Object) bool {
	switch gr {
	case schema.GroupResource{Resource: "configmaps"}:
		return o.GetName() == "kube-root-ca.crt"
	case schema.GroupResource{Resource: "serviceaccounts"}:
		return o.GetName() == "default" || o.GetNamespace() == metav1.NamespaceSystem && len(o.GetLabels()) == 0
	}
	return false
}

// redirected reports whether istio-cni has added rules to the pod that send its traffic to ztunnel.
func redirected(o metav1.Object) bool {
	return o.GetAnnotations()["ambient.istio.io/redirection"] == "enabled"
}

// redirectedMark follows the name of a redirected pod.
const redirectedMark = " (redirected to ztunnel)"

// labeled are the kinds that an install may leave labels on.
var labeled = map[schema.GroupResource]bool{{Resource: "namespaces"}: true, {Resource: "nodes"}: true}

// takeInventory lists everything in a cluster that has no owner. What has one is its owner's
// business: it goes with it.
func takeInventory(ctx context.Context, f *mesh.Fleet, c *mesh.Cluster) (*inventory, error) {
	config := c.REST()
	disc, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	lists, err := disc.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("%s: discovery: %w", c.Name, err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	s := &inventory{Objects: map[string]string{}}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range l.APIResources {
			gr := schema.GroupResource{Group: gv.Group, Resource: r.Name}
			if !slices.Contains(r.Verbs, "list") || unwatched[gr] {
				continue
			}
			g.Go(func() error {
				items, err := meta.Resource(gv.WithResource(r.Name)).List(gctx, metav1.ListOptions{ResourceVersion: "0"})
				if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
					return nil // the kind went away meanwhile
				}
				if err != nil {
					return fmt.Errorf("%s: list %s: %w", c.Name, gr, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, o := range items.Items {
					if gr == (schema.GroupResource{Resource: "pods"}) && redirected(&o) {
						s.Objects["pods "+o.Namespace+"/"+o.Name+redirectedMark] = ""
					}
					if len(o.OwnerReferences) > 0 || byKubernetes(gr, &o) {
						continue
					}
					labels := ""
					if labeled[gr] {
						labels = joinLabels(o.Labels)
					}
					s.Objects[gr.String()+" "+strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")] = labels
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	s.Nodes, err = nodes(ctx, f, c)
	return s, err
}

func joinLabels(m map[string]string) string {
	var l []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		l = append(l, k+"="+m[k])
	}
	return strings.Join(l, ",")
}

// nodeProbe prints what Istio may leave on a node, one thing per line as "thing<TAB>description". A
// missing tool is skipped: without it Istio cannot have left that kind of thing.
const nodeProbe = `
for f in /etc/cni/net.d/* /opt/cni/bin/*; do
  [ -f "$f" ] || continue
  case $f in
  *.conf|*.conflist) printf 'file %s\tjson %s\n' "$f" "$(base64 -w0 "$f")";;
  *) printf 'file %s\t%s\n' "$f" "$(sha256sum < "$f" | cut -c1-16)";;
  esac
done
for t in iptables-save ip6iptables-save; do
  command -v $t >/dev/null && $t 2>/dev/null | grep -E 'ISTIO_|istio-inpod' | sed "s/^/$t rule /; s/$/\t/"
done
command -v nft >/dev/null && nft list tables 2>/dev/null | grep -i istio | sed 's/^/nft /; s/$/\t/'
command -v ipset >/dev/null && ipset list -n 2>/dev/null | grep -i istio | sed 's/^/ipset /; s/$/\t/'
for d in /var/run/istio-cni /var/run/ztunnel /etc/ambient-config; do [ -e $d ] && printf 'folder %s\t\n' $d; done
ip rule 2>/dev/null | grep -iE 'lookup (100|101|133)$' | sed 's/^/ip rule /; s/$/\t/'
true`

// nodes inspects the nodes of a kind cluster. Of other clusters it can inspect only the API server,
// so it returns nothing.
func nodes(ctx context.Context, f *mesh.Fleet, c *mesh.Cluster) (map[string]string, error) {
	if c.Kind == nil || f.Kind == nil {
		return nil, nil
	}
	out := map[string]string{}
	for _, node := range c.Kind.Nodes {
		b, err := onNode(ctx, f, node, nodeProbe)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(b) {
			thing, description, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
			if b64, is := strings.CutPrefix(description, "json "); is {
				description = canonical(b64)
			}
			out[node+": "+thing] = description
		}
	}
	return out, nil
}

// canonical returns a hash of a JSON file that does not depend on its formatting, because istio-cni
// writes the configuration back in its own.
func canonical(b64 string) string {
	b, err := base64.StdEncoding.DecodeString(b64)
	var v any
	if err == nil && json.Unmarshal(b, &v) == nil {
		b, _ = json.Marshal(v) // v was just decoded from JSON, so encoding cannot fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// onNode runs a shell script on a node of ours.
func onNode(ctx context.Context, f *mesh.Fleet, node, script string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", node, "sh")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+f.Kind.DockerHost)
	cmd.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("node %s: %w: %s", node, err, strings.TrimSpace(stderr.String()))
	}
	return string(b), nil
}

// diff lists what is in now and was not in before, and labels and files that changed or are gone;
// sorted.
func (before *inventory) diff(now *inventory) []remnant {
	var out []remnant
	add := func(namespace, format string, args ...any) {
		out = append(out, remnant{namespace: namespace, what: fmt.Sprintf(format, args...)})
	}
	for k, l := range now.Objects {
		was, known := before.Objects[k]
		kind, name, _ := strings.Cut(k, " ")
		ns, _, namespaced := strings.Cut(name, "/")
		if !namespaced && kind != "namespaces" {
			ns = ""
		}
		switch {
		case !known:
			add(ns, "%s is left", k)
		case was != l:
			add(ns, "%s has labels %q, it had %q", k, l, was)
		}
	}
	for k, l := range now.Nodes {
		was, known := before.Nodes[k]
		switch {
		case !known:
			add("", "%s is left", k)
		case was != l:
			add("", "%s was changed and not put back", k)
		}
	}
	for k := range before.Nodes {
		if _, still := now.Nodes[k]; !still {
			add("", "%s is gone", k)
		}
	}
	slices.SortFunc(out, func(a, b remnant) int { return strings.Compare(a.what, b.what) })
	return out
}

func snapshotPath(f *mesh.Fleet, c *mesh.Cluster) string {
	return filepath.Join(filepath.Dir(f.Path()), "before-mesh", c.Name+".json")
}

// undonePath is where Undo moves the snapshot. It still serves to find leaks, and the next install
// takes a new one.
func undonePath(f *mesh.Fleet, c *mesh.Cluster) string {
	return strings.TrimSuffix(snapshotPath(f, c), ".json") + ".undone.json"
}

// snapshotOnce records what the cluster held before the first install. A later install must not
// mistake the first one's objects for the original state.
func snapshotOnce(ctx context.Context, f *mesh.Fleet, c *mesh.Cluster) error {
	path := snapshotPath(f, c)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	s, err := takeInventory(ctx, f, c)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writePrivate(path, b)
}

// errNoSnapshot is what readSnapshot returns for a cluster on which nothing was ever installed.
var errNoSnapshot = errors.New("no record of what the cluster held before the install")

func readSnapshot(f *mesh.Fleet, c *mesh.Cluster) (*inventory, error) {
	path := snapshotPath(f, c)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = os.ReadFile(undonePath(f, c))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w (%s is missing)", c.Name, errNoSnapshot, path)
	}
	if err != nil {
		return nil, err
	}
	s := &inventory{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s is malformed: %w", path, err)
	}
	return s, nil
}

// beforeMesh returns the snapshot that the first call of Mesh took.
func beforeMesh(f *mesh.Fleet) (snapshot, error) {
	s := snapshot{}
	for _, c := range f.Members() {
		h, err := readSnapshot(f, c)
		if err != nil {
			return nil, err
		}
		s[c.Name] = h
	}
	return s, nil
}
