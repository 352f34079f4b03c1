// Package build makes the suite's images where no image registry can be reached: from package
// registries alone (Go modules, Debian, PyPI) and this suite's own sources.
//
// It is a graph of nodes in a content-addressed cache; see package dag. The result is one node
// image whose containerd holds all other images, so that no cluster has to load any.
package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	reference "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images/build/dag"
	"ambient.test/conformance/internal/module"
	"ambient.test/conformance/internal/progress"
)

// Options say what is built.
type Options struct {
	// Module is the build module that pins Istio, a folder of modules/.
	Module string
	// Version is what Istio's binaries say of themselves: the name of Istio's own development
	// builds.
	Version string
	// Recipes are the images of the mesh by name.
	Recipes map[string]*Recipe
	// CacheDir is the suite's cache folder.
	CacheDir string
	Progress progress.Reporter
}

// Graph is what has to be built for a set of images. Making one builds nothing.
type Graph struct {
	o     Options
	nodes []dag.Node
	keys  map[string]string
	refs  map[string]string // by image name
}

// Pools limit how many nodes of a kind are built at once.
const (
	poolGo    = "go"    // one at a time: a go build uses all cores by itself
	poolImage = "image" // short work on the disk
	poolOther = "other" // downloads and package managers
)

func arch() string { return runtime.GOARCH }

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// imageNode is the name of the node that builds an image.
func imageNode(image string) string { return "image-" + image }

// New makes the graph. It reads nothing but what amc has in itself and the version of the go
// command, so that it works from any folder.
func New(ctx context.Context, o Options) (*Graph, error) {
	gov, err := goVersion(ctx)
	if err != nil {
		return nil, err
	}
	g := &Graph{o: o, refs: map[string]string{}}
	add := func(n ...dag.Node) { g.nodes = append(g.nodes, n...) }
	// The longest first: they decide when all is done.
	add(kubernetes(gov), istio(o, gov), echo(o, gov), rootfs(), envoy())
	for _, p := range others {
		add(p.node(gov))
	}
	add(pause(), ociwrap(gov))
	for _, name := range slices.Sorted(maps.Keys(standinSums)) {
		add(standin(name, "", gov))
	}
	add(standin("nodeproxy", mutantTag, gov))
	add(certs(), base())
	inStore := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(o.Recipes)) {
		add(assembled(imageNode(name), o.Recipes[name]))
	}
	for _, ref := range slices.Sorted(maps.Keys(kubernetesImages)) {
		short, _, _ := strings.Cut(ref[strings.LastIndexByte(ref, '/')+1:], ":")
		add(assembled(imageNode(short), kubernetesImages[ref]))
		inStore[ref] = imageNode(short)
	}
	keys, err := dag.Keys(g.nodes)
	if err != nil {
		return nil, err
	}
	for name := range o.Recipes {
		g.refs[name] = tag(name, keys[imageNode(name)])
		inStore[g.refs[name]] = imageNode(name)
	}
	add(store(inStore), extra())
	add(
		dag.Node{
			Name:  NodeImage,
			Needs: []string{rootfsNode, extraNode, storeNode},
			Pool:  poolImage,
			Build: func(context.Context, *dag.Task) error {
				return nil // its parts are streamed into the engine by Load; kept whole they would be there twice
			},
		},
	)
	if g.keys, err = dag.Keys(g.nodes); err != nil {
		return nil, err
	}
	g.refs[NodeImage] = tag(NodeImage, g.keys[NodeImage])
	return g, nil
}

// tag is the reference of a built image: the same parts have the same tag, on any machine.
func tag(name, key string) string { return module.Registry + name + ":" + key[:12] }

func (g *Graph) cache() *dag.Store {
	return &dag.Store{
		Dir:      filepath.Join(g.o.CacheDir, "images"),
		Pools:    map[string]int{poolGo: 1, poolImage: 2},
		Keep:     3,
		Phase:    "images",
		Progress: g.o.Progress,
	}
}

// path is where a node's result is, or will be.
func (g *Graph) path(node string) string { return g.cache().Path(node, g.keys[node]) }

func (g *Graph) has(node string) bool { return g.cache().Has(node, g.keys[node]) }

// Ref is the reference of an image, which is the same wherever the same parts are built.
func (g *Graph) Ref(image string) string { return g.refs[image] }

// Has reports whether an image is in the cache. Of the node image it says so when all its parts
// are.
func (g *Graph) Has(image string) bool {
	if image == NodeImage {
		return g.has(rootfsNode) && g.has(storeNode) && g.has(extraNode)
	}
	return g.has(imageNode(image))
}

// parts are the nodes that must be in the cache for the fleet to run.
func (g *Graph) parts() []string {
	parts := []string{rootfsNode, extraNode, storeNode}
	for _, name := range slices.Sorted(maps.Keys(g.o.Recipes)) {
		parts = append(parts, imageNode(name))
	}
	return parts
}

// Build makes sure that these images are in the cache; none named = every one, and the node image.
// Where a stand-in must be built and its sources cannot be found, it says so before it builds
// anything, which would take minutes.
func (g *Graph) Build(ctx context.Context, images ...string) error {
	parts := prefixed(imageNode(""), images...)
	if len(images) == 0 {
		parts = g.parts()
	}
	missing, err := g.cache().Missing(g.nodes, parts...)
	if err != nil {
		return err
	}
	for _, n := range missing {
		if _, is := standinSums[n.Name]; !is {
			continue
		}
		if _, err := standinSources(n.Name); err != nil {
			return err
		}
	}
	_, err = g.cache().Run(ctx, g.nodes, parts...)
	return err
}

// LoadImage brings an image that Build has made into the engine, by itself.
func (g *Graph) LoadImage(ctx context.Context, e *engine.Engine, name string) error {
	img, err := g.Image(name)
	if err != nil {
		return err
	}
	if img, err = Gzipped(img); err != nil {
		return err
	}
	ref, err := reference.NewTag(g.refs[name])
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(tarball.Write(ref, img, w)) }() // nil ends the stream
	_, err = e.Feed(ctx, r, "load")
	_ = r.Close()
	return err
}

// Load makes the node image in the engine, of parts that Build has made.
func (g *Graph) Load(ctx context.Context, e *engine.Engine) error {
	return load(ctx, e, g.refs[NodeImage], g.path(rootfsNode), g.path(extraNode), g.path(storeNode))
}

// Image is an image that Build has made; there is none of the node image, see Load.
func (g *Graph) Image(name string) (v1.Image, error) { return readLayout(g.path(imageNode(name))) }

// Tag is the tag of an image, as in Ref.
func (g *Graph) Tag(image string) string {
	return g.refs[image][strings.LastIndexByte(g.refs[image], ':')+1:]
}

// Kubectl is the kubectl that was built for the nodes; empty when none was.
func (g *Graph) Kubectl() string {
	p := filepath.Join(g.path("k8s"), "kubectl")
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}

// kindVersion is the version of the library that makes clusters, whose files go into the node
// image.
func kindVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "sigs.k8s.io/kind" {
				return d.Version
			}
		}
	}
	return "unknown"
}

// goVersion is the toolchain that builds: part of every key, as another one makes other programs.
func goVersion(ctx context.Context) (string, error) {
	out, err := goCommand(ctx, os.TempDir(), goEnv(), "env", "GOVERSION")
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("images are built with Go, and there is no go command in PATH: install Go 1.26 or newer")
	}
	return strings.TrimSpace(string(out)), err
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

func prefixed(prefix string, names ...string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = prefix + n
	}
	return all
}

func rename(from, to string) func(context.Context, *dag.Task) error {
	return func(_ context.Context, t *dag.Task) error {
		return os.Rename(filepath.Join(t.Out, from), filepath.Join(t.Out, to))
	}
}

const versionFlags = "-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=%[3]s -X %[1]s.gitTreeState=clean " +
	"-X k8s.io/client-go/pkg/version.gitVersion=%[2]s"

func kubernetes(goVersion string) dag.Node {
	minor := strings.Split(Kubernetes, ".")[1]
	return programs{name: "k8s", module: "k8s", ldflags: fmt.Sprintf(versionFlags, "k8s.io/component-base/version", Kubernetes, minor),
		packages: prefixed("k8s.io/kubernetes/cmd/",
			"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet"),
	}.node(goVersion)
}

func istio(o Options, goVersion string) dag.Node {
	return programs{
		name:   "istio",
		module: o.Module,
		ldflags: fmt.Sprintf(
			"-s -w -X %[1]s.buildVersion=%[2]s -X %[1]s.buildStatus=Clean -X %[1]s.buildTag=%[2]s", "istio.io/istio/pkg/version",
			o.Version,
		),
		packages: prefixed("istio.io/istio/",
			"pilot/cmd/pilot-discovery", "pilot/cmd/pilot-agent", "cni/cmd/install-cni", "cni/cmd/istio-cni"),
		after: func(ctx context.Context, t *dag.Task) error {
			dir, err := PinnedDir(ctx, o.Module, "istio.io/istio")
			if err != nil {
				return err
			}
			return copyFile(
				filepath.Join(dir, "tools", "packaging", "common", "envoy_bootstrap.json"),
				filepath.Join(t.Out, "envoy_bootstrap_tmpl.json"),
			)
		},
	}.node(goVersion)
}

// echo are the programs of the echo application, which as they are close an idle connection after 5 s.
// That is also how long specs hold: a waypoint that uses the connection again just then answers 503,
// and the mesh is not to blame. They keep it for longer than a proxy does, which is an hour.
func echo(o Options, goVersion string) dag.Node {
	return programs{
		name: "echo", module: o.Module, ldflags: "-s -w",
		packages: prefixed("istio.io/istio/pkg/test/echo/cmd/", "client", "server"),
		edit: edit{
			module: "istio.io/istio", file: "pkg/test/echo/server/endpoint/util.go",
			old: "idleTimeout    = 5 * time.Second", new: "idleTimeout    = 2 * time.Hour",
		},
	}.node(goVersion)
}

// others are the programs that are built quickly, by name.
var others = []programs{
	{name: "cni-plugins", module: "cni-plugins", ldflags: "-s -w",
		packages: prefixed("github.com/containernetworking/plugins/plugins/", "ipam/host-local", "main/loopback", "main/ptp", "meta/portmap")},
	{name: "containerd", module: "containerd", ldflags: "-s -w", tags: "no_btrfs",
		packages: prefixed("github.com/containerd/containerd/v2/cmd/", "containerd", "containerd-shim-runc-v2", "ctr")},
	{name: "coredns", module: "coredns", ldflags: "-s -w", packages: []string{"."}},
	{name: "etcd", module: "etcd", ldflags: "-s -w", packages: []string{"go.etcd.io/etcd/server/v3"}, after: rename("server", "etcd")},
	{name: "metallb", module: "metallb", ldflags: "-s -w", packages: prefixed("go.universe.tf/metallb/", "controller", "speaker")},
	{name: "runc", module: "runc", ldflags: "-s -w -X main.version=1.3.5", tags: "seccomp", cgo: true, before: compiler,
		packages: []string{"github.com/opencontainers/runc"}},
}
