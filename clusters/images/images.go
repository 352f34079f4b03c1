// Package images knows every image the suite runs, once: pulled from its own registry, or built from package registries alone (Go modules, Debian, PyPI).
//
// Building is a graph of nodes in a content-addressed cache (see dag). The result is one node image whose containerd holds all other images, so that no
// cluster has to load any.
package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images/dag"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

// Modes: where images come from.
const (
	Auto  = "auto"  // pulled when a registry answers, else built
	Pull  = "pull"  // pulled from their own registries
	Build = "build" // built from package registries
)

// Sources of an image, as the fleet file and the report name them.
const (
	Pulled   = "pulled"
	Built    = "built"
	Override = "override"
)

// Options say which images are wanted, from where.
type Options struct {
	// Mode is Auto, Pull or Build; default Auto.
	Mode string
	// Istio is one of Releases; default DefaultIstio.
	Istio string
	// Overrides are references by image name, see ParseOverrides. They are pulled unless the engine has them.
	Overrides map[string]string
	// CacheDir is the suite's cache folder.
	CacheDir string
	// SourceDir is a checkout of this repository, from which stand-ins are built; empty looks in and above the working directory.
	SourceDir string
	Engine    *engine.Engine
	// Progress may be nil.
	Progress progress.Reporter
}

// Set is a decided set of images. Nothing was made yet.
type Set struct {
	o     Options
	mode  string
	nodes []dag.Node
	keys  map[string]string
	refs  map[string]string // by image name
}

const (
	laneGo    = "go"    // one at a time: a go build uses all cores by itself
	laneImage = "image" // short work on the disk
	laneOther = "other" // downloads and package managers
)

func arch() string { return runtime.GOARCH }

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func (o *Options) defaults() {
	if o.Istio == "" {
		o.Istio = DefaultIstio
	}
	if o.Mode == "" {
		o.Mode = Auto
	}
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
}

// Check refuses options that can never work; it asks nobody.
func Check(o Options) error {
	o.defaults()
	r, err := releaseOf(o.Istio)
	if err != nil {
		return err
	}
	switch o.Mode {
	case Auto:
	case Pull:
		if r.Tag == "" {
			return fmt.Errorf("--istio %s has no published images that we know: use --images build", o.Istio)
		}
	case Build:
		if runtime.GOOS != "linux" {
			return fmt.Errorf("--images build needs a Linux machine, this is %s: use --images pull", runtime.GOOS)
		}
	default:
		return fmt.Errorf("--images %s: expected %s, %s or %s", o.Mode, Auto, Pull, Build)
	}
	for n, ref := range o.Overrides {
		if _, err := name.ParseReference(ref); err != nil {
			return fmt.Errorf("--image %s=%s: %w", n, ref, err)
		}
	}
	return nil
}

// Plan decides where each image comes from, without making any.
func Plan(ctx context.Context, o Options) (*Set, error) {
	if err := Check(o); err != nil {
		return nil, err
	}
	o.defaults()
	r, err := releaseOf(o.Istio)
	if err != nil {
		return nil, err
	}
	s := &Set{o: o, mode: o.Mode, refs: map[string]string{}}
	switch {
	case o.Mode == Auto:
		if s.mode, err = decide(ctx, r, o.Engine); err != nil {
			return nil, err
		}
	case o.Mode == Pull && o.Engine != nil && o.Engine.NeedsWrapper():
		return nil, errors.New("--images pull: the container engine lacks CAP_SYS_RESOURCE and a pulled node image has no way around it: use --images build")
	}
	if s.mode == Pull {
		for _, i := range table {
			s.refs[i.Name] = i.Pull
			if strings.Contains(i.Pull, "%s") {
				s.refs[i.Name] = fmt.Sprintf(i.Pull, r.Tag)
			}
		}
	} else if err := s.graph(ctx, r); err != nil {
		return nil, err
	}
	maps.Copy(s.refs, o.Overrides)
	return s, nil
}

// decide answers for Auto: a registry that answers within 3 s decides for pulling.
func decide(ctx context.Context, r release, e *engine.Engine) (string, error) {
	if r.Tag == "" || e != nil && e.NeedsWrapper() {
		return Build, nil
	}
	ref, err := name.ParseReference(fmt.Sprintf(table[slices.IndexFunc(table, func(i Image) bool { return i.Name == Ztunnel })].Pull, r.Tag))
	if err != nil {
		return "", err
	}
	quick, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := remote.Head(ref, remote.WithContext(quick), remote.WithTransport(http.DefaultTransport)); err == nil {
		return Pull, nil
	}
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("the image registry of %s does not answer, and images can be built on Linux only: run `amc images build` there", ref)
	}
	return Build, nil
}

// Mode is Pull or Build.
func (s *Set) Mode() string { return s.mode }

// kindVersion is the version of the library that makes clusters, whose files go into the node image.
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

// usual is what takes longer than a second or two on two cores with nothing cached, as measured; only estimates rest on it.
var usual = map[string]time.Duration{
	"k8s": 260 * time.Second, "istio": 180 * time.Second, "metallb": 80 * time.Second, rootfsNode: 65 * time.Second, "containerd": 45 * time.Second, "coredns": 45 * time.Second,
	"etcd": 20 * time.Second, "runc": 10 * time.Second, "nodeproxy": 10 * time.Second, "pause": 6 * time.Second, storeNode: 5 * time.Second, "cni-plugins": 5 * time.Second, "envoy": 5 * time.Second,
}

// graph makes the build graph and the references that follow from its keys.
func (s *Set) graph(ctx context.Context, r release) error {
	gov, err := goVersion(ctx)
	if err != nil {
		return err
	}
	src := s.o.SourceDir
	if src == "" {
		if src, err = checkout(); err != nil {
			return err
		}
	}
	add := func(n ...dag.Node) { s.nodes = append(s.nodes, n...) }
	// The longest first: they decide when all is done.
	k8sVersion := "k8s.io/component-base/version"
	minor := strings.Split(Kubernetes, ".")[1]
	add(programs{module: "k8s", packages: prefixed("k8s.io/kubernetes/cmd/", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet"),
		ldflags: fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=%[3]s -X %[1]s.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=%[2]s", k8sVersion, Kubernetes, minor),
	}.node("k8s", gov))
	istioVersion := "istio.io/istio/pkg/version"
	add(programs{module: r.Module, packages: prefixed("istio.io/istio/", "pilot/cmd/pilot-discovery", "pilot/cmd/pilot-agent", "cni/cmd/install-cni", "cni/cmd/istio-cni", "pkg/test/echo/cmd/client", "pkg/test/echo/cmd/server"),
		ldflags: fmt.Sprintf("-s -w -X %[1]s.buildVersion=%[2]s -X %[1]s.buildStatus=Clean -X %[1]s.buildTag=%[2]s", istioVersion, r.Version),
		after: func(ctx context.Context, t *dag.Task, _ string) error {
			dir, err := pinnedDir(ctx, r.Module, "istio.io/istio")
			if err != nil {
				return err
			}
			return copyFile(filepath.Join(dir, "tools", "packaging", "common", "envoy_bootstrap.json"), filepath.Join(t.Out, "envoy_bootstrap_tmpl.json"))
		}}.node("istio", gov))
	add(rootfs(), envoy())
	for name, p := range map[string]programs{
		"containerd":  {module: "containerd", packages: prefixed("github.com/containerd/containerd/v2/cmd/", "containerd", "containerd-shim-runc-v2", "ctr"), ldflags: "-s -w", tags: "no_btrfs"},
		"etcd":        {module: "etcd", packages: []string{"go.etcd.io/etcd/server/v3"}, ldflags: "-s -w", after: rename("server", "etcd")},
		"coredns":     {module: "coredns", packages: []string{"."}, ldflags: "-s -w"},
		"cni-plugins": {module: "cni-plugins", packages: prefixed("github.com/containernetworking/plugins/plugins/", "ipam/host-local", "main/loopback", "main/ptp", "meta/portmap"), ldflags: "-s -w"},
		"metallb":     {module: "metallb", packages: prefixed("go.universe.tf/metallb/", "controller", "speaker"), ldflags: "-s -w"},
		"runc": {module: "runc", packages: []string{"github.com/opencontainers/runc"}, ldflags: "-s -w -X main.version=1.3.5", tags: "seccomp", cgo: true,
			before: compiler},
	} {
		add(p.node(name, gov))
	}
	slices.SortStableFunc(s.nodes[4:], func(a, b dag.Node) int { return strings.Compare(a.Name, b.Name) })
	add(pause(), ociwrap(gov))
	for _, name := range []string{"nodeproxy", "envoyrelay"} {
		n, err := standin(name, src, gov)
		if err != nil {
			return err
		}
		add(n)
	}
	add(certs(), base())
	for _, i := range table {
		if i.build != nil {
			add(imageNode("image-"+i.Name, i.build))
		}
	}
	inStore := map[string]string{}
	for _, ref := range slices.Sorted(maps.Keys(inNode)) {
		short, _, _ := strings.Cut(ref[strings.LastIndexByte(ref, '/')+1:], ":")
		add(imageNode("image-"+short, inNode[ref]))
		inStore[ref] = "image-" + short
	}
	keys, err := dag.Keys(s.nodes)
	if err != nil {
		return err
	}
	for _, i := range table {
		if i.build != nil {
			s.refs[i.Name] = tag(i.Name, keys["image-"+i.Name])
			inStore[s.refs[i.Name]] = "image-" + i.Name
		}
	}
	add(store(inStore), extra())
	add(dag.Node{Name: Node, Needs: []string{rootfsNode, extraNode, storeNode}, Lane: laneImage, Build: func(context.Context, *dag.Task) error {
		return nil // its parts are streamed into the engine, see load; kept whole it would be there twice
	}})
	if s.keys, err = dag.Keys(s.nodes); err != nil {
		return err
	}
	s.refs[Node] = tag(Node, s.keys[Node])
	for i := range s.nodes {
		s.nodes[i].Usual = usual[s.nodes[i].Name]
	}
	return nil
}

// tag is the reference of a built image: the same parts have the same tag, on any machine.
func tag(name, key string) string { return "ambient.test/" + name + ":" + key[:12] }

func prefixed(prefix string, names ...string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = prefix + n
	}
	return all
}

func rename(from, to string) func(context.Context, *dag.Task, string) error {
	return func(_ context.Context, t *dag.Task, _ string) error {
		return os.Rename(filepath.Join(t.Out, from), filepath.Join(t.Out, to))
	}
}

func (s *Set) cache() *dag.Store {
	return &dag.Store{Dir: filepath.Join(s.o.CacheDir, "images"), Lanes: map[string]int{laneGo: 1, laneImage: 2}, Keep: 3, Phase: "images", Progress: s.o.Progress}
}

// Realize makes sure that the engine has the node image, and returns every image as the fleet will run it.
func (s *Set) Realize(ctx context.Context) (map[string]mesh.ImageRef, error) {
	out := map[string]mesh.ImageRef{}
	if s.mode == Build && !s.ready(ctx) {
		parts := []string{rootfsNode, extraNode, storeNode}
		for _, i := range table {
			if i.build != nil {
				parts = append(parts, "image-"+i.Name)
			}
		}
		res, err := s.cache().Run(ctx, s.nodes, parts...)
		if err != nil {
			return nil, err
		}
		if _, given := s.o.Overrides[Node]; !given {
			phase := s.o.Progress.Phase("node image", 1)
			item := phase.Item("into the container engine")
			err := load(ctx, s.o.Engine, s.refs[Node], res[rootfsNode].Dir, res[extraNode].Dir, res[storeNode].Dir)
			item.Done(err)
			phase.Close(err)
			if err != nil {
				return nil, err
			}
		}
	}
	var foreign []string
	for _, i := range table {
		ref := s.refs[i.Name]
		switch _, given := s.o.Overrides[i.Name]; {
		case given:
			out[i.Name] = mesh.ImageRef{Ref: ref, Source: Override}
			foreign = append(foreign, i.Name)
		case s.mode == Pull:
			out[i.Name] = mesh.ImageRef{Ref: ref, Source: Pulled}
			foreign = append(foreign, i.Name)
		default:
			d, err := s.digest(ctx, i)
			if err != nil {
				return nil, err
			}
			out[i.Name] = mesh.ImageRef{Ref: ref, Digest: d, Source: Built, StandIn: i.StandIn}
		}
	}
	if err := s.pull(ctx, foreign, out); err != nil {
		return nil, err
	}
	return out, nil
}

// ready says whether everything was built before and the engine has it.
func (s *Set) ready(ctx context.Context) bool {
	c := s.cache()
	for _, i := range table {
		if i.build != nil && !c.Has("image-"+i.Name, s.keys["image-"+i.Name]) {
			return false
		}
	}
	if _, given := s.o.Overrides[Node]; given {
		return true
	}
	_, err := s.o.Engine.Output(ctx, "image", "inspect", "-f", "{{.Id}}", s.refs[Node])
	return err == nil
}

func (s *Set) digest(ctx context.Context, i Image) (string, error) {
	if i.build == nil {
		return s.o.Engine.Output(ctx, "image", "inspect", "-f", "{{.Id}}", s.refs[i.Name])
	}
	return digestOf(s.cache().Path("image-"+i.Name, s.keys["image-"+i.Name]))
}

// Row is one line of `amc images list`.
type Row struct {
	Name    string `json:"name"`
	Ref     string `json:"ref"`
	Source  string `json:"source"`
	Here    bool   `json:"here"` // in the cache; not known of what is pulled
	What    string `json:"what"`
	StandIn string `json:"standIn,omitempty"`
}

// List is the table as it stands for these options.
func (s *Set) List() []Row {
	var rows []Row
	for _, i := range table {
		r := Row{Name: i.Name, Ref: s.refs[i.Name], Source: Built, What: i.What, StandIn: i.StandIn}
		_, given := s.o.Overrides[i.Name]
		switch {
		case given:
			r.Source, r.StandIn = Override, ""
		case s.mode == Pull:
			r.Source, r.StandIn = Pulled, ""
		case i.build != nil:
			r.Here = s.cache().Has("image-"+i.Name, s.keys["image-"+i.Name])
		default:
			r.Here = s.cache().Has(storeNode, s.keys[storeNode]) && s.cache().Has(extraNode, s.keys[extraNode])
		}
		rows = append(rows, r)
	}
	return rows
}

// checkout finds this repository in or above the working directory.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		b, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module ambient.test/conformance\n") {
			return d, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if filepath.Dir(d) == d {
			return "", fmt.Errorf("stand-ins are built from this suite's sources, and %s is not in a checkout of it: change into one", dir)
		}
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// Kubectl is the kubectl that was built for the nodes; empty when none was.
func (s *Set) Kubectl() string {
	p := filepath.Join(s.cache().Path("k8s", s.keys["k8s"]), "kubectl")
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}
