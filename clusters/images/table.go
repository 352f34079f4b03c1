package images

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ambient.test/conformance/clusters/images/build"
)

// DefaultIstio is the version of Istio's module unless told otherwise.
const DefaultIstio = "v0.0.0-20260827124520-eed52ebb66ad"

// release is one version of Istio that can be built.
type release struct {
	Module  string // folder of modules/
	Version string // what its binaries say of themselves: the name of Istio's own development builds
	// Tag is the one of Istio's published images nearest to it; empty when none is known. They are
	// named by tag, because no registry could be asked for digests where this was written. The
	// fleet file and the report name what was pulled by digest.
	Tag string
}

// releases are by version of the module istio.io/istio.
var releases = map[string]release{
	DefaultIstio:                         {Module: "istio", Version: "1.31-alpha.eed52ebb66ad", Tag: "1.31.4"},
	"v0.0.0-20260423205519-b01690e6db7d": {Module: "istio-20260423", Version: "1.31-alpha.b01690e6db7d"},
}

// Releases are the versions of Istio's module that can be built, newest first.
func Releases() []string {
	all := slices.Sorted(maps.Keys(releases))
	slices.Reverse(all)
	return all
}

// Image is one row of the table: everything that is known of an image before it is there.
type Image struct {
	Name string
	What string
	// Pull is the reference it is pulled from where registries can be reached; %s is Istio's tag. It is
	// empty for what no registry has, which is built everywhere.
	Pull string
	// StandIn says what runs in its place when it is built; empty for real parts.
	StandIn string
	// recipe makes it of its parts; nil for the node image, which is made of all others.
	recipe *build.Recipe
}

// Names of the images that the mesh runs.
const (
	Node              = build.NodeImage
	Pilot             = "pilot"
	InstallCNI        = "install-cni"
	Ztunnel           = "ztunnel"
	Proxy             = "proxyv2"
	App               = "app"
	Peer              = "peer"
	MetalLBController = "metallb-controller"
	MetalLBSpeaker    = "metallb-speaker"
)

// table is the one list of images: the build graph, the loader, `amc images list` and the report
// read it.
var table = []Image{
	{
		Name: Node,
		What: "Kubernetes " + build.Kubernetes + " node of kind, with every other image in its containerd",
		Pull: "docker.io/kindest/node:" + build.Kubernetes,
	},
	{Name: Pilot, What: "istiod", Pull: "docker.io/istio/pilot:%s-distroless", recipe: &build.Recipe{
		Files:      map[string]string{"usr/local/bin/pilot-discovery": "istio/pilot-discovery"},
		Entrypoint: []string{"/usr/local/bin/pilot-discovery"}, User: "1337:1337"}},
	{Name: InstallCNI, What: "istio-cni", Pull: "docker.io/istio/install-cni:%s-distroless", recipe: &build.Recipe{Base: true,
		Files:   map[string]string{"opt/cni/bin/istio-cni": "istio/istio-cni", "usr/local/bin/install-cni": "istio/install-cni"},
		Command: []string{"/usr/local/bin/install-cni"}, WorkDir: "/opt/cni/bin",
		Path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/cni/bin"}},
	{Name: Ztunnel, What: "node proxy", Pull: "docker.io/istio/ztunnel:%s-distroless",
		StandIn: "standins/nodeproxy, our implementation of ztunnel's protocols", recipe: &build.Recipe{
			Files:      map[string]string{"usr/local/bin/ztunnel": "nodeproxy/nodeproxy"},
			Entrypoint: []string{"/usr/local/bin/ztunnel"}}},
	{
		Name: Proxy,
		What: "east-west gateways and waypoints",
		Pull: "docker.io/istio/proxyv2:%s-distroless",
		StandIn: "Istio's pilot-agent with upstream Envoy " + build.Envoy + " behind standins/envoyrelay, " +
			"which takes out the extensions that only Istio's Envoy has",
		recipe: &build.Recipe{Base: true,
			Files: map[string]string{
				"usr/local/bin/pilot-agent":                     "istio/pilot-agent",
				"usr/local/bin/envoy":                           "envoyrelay/envoyrelay",
				"usr/local/bin/envoy.real":                      "envoy/envoy",
				"var/lib/istio/envoy/envoy_bootstrap_tmpl.json": "istio/envoy_bootstrap_tmpl.json",
			},
			Entrypoint: []string{"/usr/local/bin/pilot-agent"}},
	},
	{
		Name: App,
		What: "Istio's echo application, client and server of all traffic; when built it keeps idle connections for 2 h, not 5 s",
		Pull: "docker.io/istio/app:%s",
		recipe: &build.Recipe{
			Files:      map[string]string{"usr/local/bin/client": "echo/client", "usr/local/bin/server": "echo/server"},
			Entrypoint: []string{"/usr/local/bin/server"}},
	},
	{Name: Peer, What: "client and server of the suite's own, for what the echo application cannot do", recipe: &build.Recipe{
		Files:      map[string]string{"usr/local/bin/peer": "peer/peer"},
		Entrypoint: []string{"/usr/local/bin/peer"}}},
	{
		Name: MetalLBController,
		What: "MetalLB, addresses of gateways",
		Pull: "quay.io/metallb/controller:" + build.MetalLB,
		recipe: &build.Recipe{
			Files: map[string]string{"controller": "metallb/controller"}, Entrypoint: []string{"/controller"}},
	},
	{Name: MetalLBSpeaker, What: "MetalLB, announces them", Pull: "quay.io/metallb/speaker:" + build.MetalLB, recipe: &build.Recipe{
		Files: map[string]string{"speaker": "metallb/speaker"}, Entrypoint: []string{"/speaker"}}},
}

// Names are those of all images that can be overridden, in the table's order.
func Names() []string {
	var names []string
	for _, i := range table {
		names = append(names, i.Name)
	}
	return names
}

// ParseOverrides reads NAME=REF pairs. Unknown names, names given twice and empty references are
// refused, all together.
func ParseOverrides(pairs []string) (map[string]string, error) {
	over := map[string]string{}
	var bad []string
	for _, p := range pairs {
		name, ref, ok := strings.Cut(p, "=")
		switch {
		case !ok || ref == "":
			bad = append(bad, fmt.Sprintf("%q is not NAME=REFERENCE", p))
		case !slices.Contains(Names(), name):
			bad = append(bad, fmt.Sprintf("there is no image %q", name))
		case over[name] != "":
			bad = append(bad, fmt.Sprintf("%q is given twice", name))
		}
		over[name] = ref
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("--image: %s: the images are %s (`amc images list`)", strings.Join(bad, "; "), strings.Join(Names(), ", "))
	}
	return over, nil
}
